//! `gatehouse test`: the `[[expect]]` rows of a configuration.

use super::{INPUT, Usable, complain, count, say, usable};
use crate::cli::TestArgs;
use gatehouse_control::config::{Expect, ask, differences};
use gatehouse_core::plan::Plan;
use std::process::ExitCode;

/// Asks every row and prints those that do not hold.
pub(crate) fn run(args: TestArgs) -> ExitCode {
    let Usable { loaded, lowered } = match usable(&args.file.config) {
        Ok(usable) => usable,
        Err(code) => return code,
    };
    let mut failed = 0;
    for expect in &lowered.expects {
        let lines = wrong(&lowered.plan, expect);
        if lines.is_empty() {
            continue;
        }
        failed += 1;
        let question = &expect.question;
        let query = question.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let place = loaded.sources.show(expect.place);
        complain(&format!(
            "{place}: {} {}{}{query}\n",
            question.method, question.authority, question.path
        ));
        lines.iter().for_each(|line| complain(&format!("  {line}\n")));
    }
    let all = lowered.expects.len();
    if all == 0 {
        complain(&format!(
            "error: {} has no [[expect]] row, so nothing was tested\n  hint: write [[expect]] with \
             request = \"GET http://example.com/\" and route, upstream, sends, location or status\n",
            args.file.config.display()
        ));
        return ExitCode::from(INPUT);
    }
    say(&match (all, failed) {
        (all, 0) => format!("{} passed\n", count(all, "expectation")),
        (all, failed) => {
            format!("{} of {} passed, {failed} failed\n", all - failed, count(all, "expectation"))
        }
    });
    if failed > 0 { ExitCode::from(INPUT) } else { ExitCode::SUCCESS }
}

fn wrong(plan: &Plan, expect: &Expect) -> Vec<String> {
    match ask(plan, &expect.question) {
        Ok(answer) => differences(&expect.expected, &answer),
        Err(fault) => vec![fault.to_string()],
    }
}

//! `gatehouse proxy`: a load balancer with no file.

use super::run::serve;
use super::{complain, exit_code, say};
use crate::cli::ProxyArgs;
use gatehouse_control::config::{
    CommandLine, Loaded, ProcessEnv, command_line_flag, command_line_text, load_text,
};
use std::process::ExitCode;

/// Runs until SIGTERM or SIGINT, then drains.
pub(crate) fn run(args: &ProxyArgs) -> ExitCode {
    let line = CommandLine {
        listen: args.listen.clone(),
        tls: args.tls_cert.clone().zip(args.tls_key.clone()),
        to: args.to.clone(),
        balance: args.balance.clone(),
        admin: args.admin.clone(),
        workers: args.workers,
    };
    let text = command_line_text(&line);
    if args.print_config {
        say(&text);
        return ExitCode::SUCCESS;
    }
    let mut loaded = load_text("the command line", &text, &ProcessEnv);
    complain(&problems(&line, &loaded));
    if loaded.lowered.is_none() {
        return exit_code(&loaded);
    }
    loaded.problems.clear();
    serve(loaded, None, None)
}

/// What is wrong, each with the flag that it is about: nobody has seen the file it stands in.
fn problems(line: &CommandLine, loaded: &Loaded) -> String {
    let mut out = String::new();
    for problem in &loaded.problems {
        let word = problem.severity.word();
        let at = |start| command_line_flag(line, start).map(|flag| format!("{flag}: "));
        let flag = at(problem.place.start).unwrap_or_default();
        out.push_str(&format!("{word}: {flag}{}\n", problem.reason));
        for related in &problem.related {
            let flag = at(related.place.start).unwrap_or_default();
            out.push_str(&format!("  {flag}{}\n", related.text));
        }
        if let Some(hint) = &problem.hint {
            out.push_str(&format!("  hint: {hint}\n"));
        }
    }
    out
}

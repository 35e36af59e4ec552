//! `gatehouse explain`: what would become of a request, and why.

use super::{USAGE, Usable, complain, say, usable};
use crate::cli::ExplainArgs;
use gatehouse_control::config::{
    Answer, Forwarded, Outcome, Question, QuestionFault, ask, parse_request,
};
use gatehouse_core::route::Verdict;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// With more routes than this, those of other hosts and paths are counted only.
const LISTED_MAX: usize = 50;

/// Prints it.
pub(crate) fn run(args: ExplainArgs) -> ExitCode {
    let question = match question(&args) {
        Ok(question) => question,
        Err(fault) => return misused(&fault),
    };
    let Usable { lowered, .. } = match usable(&args.file.config) {
        Ok(usable) => usable,
        Err(code) => return code,
    };
    match ask(&lowered.plan, &question) {
        Ok(answer) if args.json => say(&format!("{}\n", answer.json())),
        Ok(answer) => say(&text(&args, &question, &answer)),
        Err(fault) => return misused(&fault),
    }
    ExitCode::SUCCESS
}

fn misused(fault: &QuestionFault) -> ExitCode {
    complain(&format!("{fault}\n"));
    ExitCode::from(USAGE)
}

fn question(args: &ExplainArgs) -> Result<Question, QuestionFault> {
    let question = parse_request(&args.method, &args.url)?;
    let (headers, listener) = (args.headers.clone(), args.listener.clone());
    Ok(Question { headers, listener, client: args.client, ..question })
}

fn text(args: &ExplainArgs, question: &Question, answer: &Answer) -> String {
    let mut out = format!("{} {} from {}\n", args.method, args.url, args.client);
    line(&mut out, "listener", &format!("{}: {}", answer.listener, answer.listener_why.text()));
    line(&mut out, "host", &answer.host);
    match (&answer.path, answer.path_fault) {
        (Some(path), _) if *path == question.path => line(&mut out, "path", path),
        (Some(path), _) => {
            line(&mut out, "path", &format!("{path}, the normal form of {}", question.path));
        }
        (None, Some(fault)) => line(&mut out, "path", &format!("ambiguous: {}", fault.text())),
        (None, None) => {}
    }
    routes(args, answer, &mut out);
    line(&mut out, "then", &answer.outcome.summary());
    match &answer.outcome {
        Outcome::Forward(forwarded) => forward(forwarded, &mut out),
        Outcome::Redirect { response_edits, .. } | Outcome::Respond { response_edits, .. } => {
            lines(&mut out, "answer", response_edits);
        }
        Outcome::MethodNotAllowed { .. }
        | Outcome::NoRoute
        | Outcome::PathAmbiguous
        | Outcome::RewriteInvalid { .. } => {}
    }
    out
}

fn routes(args: &ExplainArgs, answer: &Answer, out: &mut String) {
    let few = args.all || answer.routes.len() <= LISTED_MAX;
    let mut hidden = 0;
    for route in &answer.routes {
        let far = matches!(route.verdict, Verdict::Host | Verdict::Path | Verdict::Listener);
        if far && !few {
            hidden += 1;
            continue;
        }
        line(out, "route", &format!("{}: {}", route.route, route.text));
    }
    if hidden > 0 {
        let text = format!("and {hidden} of other listeners, hosts and paths; --all lists them");
        line(out, "route", &text);
    }
}

fn forward(forwarded: &Forwarded, out: &mut String) {
    lines(out, "request", &forwarded.request_edits);
    line(out, "sends", &forwarded.sends);
    let all: u64 = forwarded.upstreams.iter().map(|choice| u64::from(choice.weight)).sum();
    for choice in &forwarded.upstreams {
        let share = match forwarded.upstreams.len() {
            1 => String::new(),
            _ => format!(", {} of {all} requests", choice.weight),
        };
        line(out, "upstream", &format!("{}{share}", choice.upstream));
        let endpoint = choice.endpoint.as_deref().unwrap_or("none");
        line(out, "endpoint", &format!("{endpoint}: {}", choice.why));
        if let Some(path) = choice.path.as_ref().filter(|path| **path != forwarded.sends) {
            line(out, "asked for", path);
        }
    }
    let time = &forwarded.timeouts;
    let show = |limit: Duration| format!("{limit:?}");
    let total = time.total.map_or_else(|| "no limit".to_owned(), show);
    let (connect, first_byte) = (show(time.connect), show(time.first_byte));
    let idle = show(time.idle);
    line(
        out,
        "timeout",
        &format!("total {total}, connect {connect}, first byte {first_byte}, idle {idle}"),
    );
    lines(out, "answer", &forwarded.response_edits);
}

fn line(out: &mut String, what: &str, text: &str) {
    let _ = writeln!(out, "  {what:<9} {text}");
}

fn lines(out: &mut String, what: &str, texts: &[String]) {
    texts.iter().for_each(|text| line(out, what, text));
}

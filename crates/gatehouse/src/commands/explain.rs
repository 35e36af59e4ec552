//! `gatehouse explain`: what would become of a request, and why.

use super::{USAGE, Usable, complain, say, usable};
use crate::cli::ExplainArgs;
use gatehouse_control::config::{
    About, Answer, Carried, Choice, Forwarded, Outcome, Question, QuestionFault, ask, parse_request,
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
    host_and_path(question, answer, &mut out);
    routes(args, answer, &mut out);
    line(&mut out, "then", &answer.outcome.summary());
    match &answer.outcome {
        Outcome::Forward(forwarded) => forward(forwarded, &mut out),
        Outcome::Carry(carried) => carry(carried, &mut out),
        Outcome::Redirect { response_edits, .. } | Outcome::Respond { response_edits, .. } => {
            lines(&mut out, "answer", response_edits);
        }
        Outcome::MethodNotAllowed { .. }
        | Outcome::NoRoute
        | Outcome::Closed
        | Outcome::PathAmbiguous
        | Outcome::RewriteInvalid { .. } => {}
    }
    out
}

fn host_and_path(question: &Question, answer: &Answer, out: &mut String) {
    if question.about == About::Connection {
        let name = if answer.host.is_empty() { "none, or no TLS" } else { &*answer.host };
        return line(out, "name", name);
    }
    line(out, "host", &answer.host);
    match (&answer.path, answer.path_fault) {
        (Some(path), _) if *path == question.path => line(out, "path", path),
        (Some(path), _) => {
            line(out, "path", &format!("{path}, the normal form of {}", question.path));
        }
        (None, Some(fault)) => line(out, "path", &format!("ambiguous: {}", fault.text())),
        (None, None) => {}
    }
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
    upstreams(&forwarded.upstreams, "requests", Some(&forwarded.sends), out);
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

fn carry(carried: &Carried, out: &mut String) {
    upstreams(&carried.upstreams, "connections", None, out);
    let time = &carried.timeouts;
    let total = time.total.map_or_else(|| "no limit".to_owned(), |limit| format!("{limit:?}"));
    let text = format!("total {total}, connect {:?}, tunnel {:?}", time.connect, time.tunnel);
    line(out, "timeout", &text);
}

fn upstreams(choices: &[Choice], what: &str, sends: Option<&str>, out: &mut String) {
    let all: u64 = choices.iter().map(|choice| u64::from(choice.weight)).sum();
    for choice in choices {
        let share = match choices.len() {
            1 => String::new(),
            _ => format!(", {} of {all} {what}", choice.weight),
        };
        line(out, "upstream", &format!("{}{share}", choice.upstream));
        let endpoint = choice.endpoint.as_deref().unwrap_or("none");
        line(out, "endpoint", &format!("{endpoint}: {}", choice.why));
        let differs = |path: &&String| sends.is_some_and(|sends| *path != sends);
        if let Some(path) = choice.path.as_ref().filter(differs) {
            line(out, "asked for", path);
        }
    }
}

fn line(out: &mut String, what: &str, text: &str) {
    let _ = writeln!(out, "  {what:<9} {text}");
}

fn lines(out: &mut String, what: &str, texts: &[String]) {
    texts.iter().for_each(|text| line(out, what, text));
}

//! `gatehouse reload`, `diff`, `apply`, `confirm`, `status`, `drain`, `undrain`, `discovery`: what
//! a running gateway is told and asked through its admin interface.

use super::client::{Answer, Question, address, ask, encoded};
use super::{INPUT, WORLD, complain, say};
use crate::cli::{
    AdminArgs, ApplyArgs, DiffArgs, DiscoveryArgs, DiscoveryCommand, DrainArgs, EndpointArgs,
    ReloadArgs,
};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long an order may take: a little longer than the gateway itself waits.
const LIMIT: Duration = Duration::from_secs(35);

/// How often a drain is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Has the gateway put its file in force.
pub(crate) fn reload(args: &ReloadArgs) -> ExitCode {
    order(&args.admin, "POST", "/reload", args.json)
}

/// Says what a reload would change.
pub(crate) fn diff(args: &DiffArgs) -> ExitCode {
    match &args.with {
        None => order(&args.admin, "GET", "/diff", args.json),
        Some(file) => match absolute(file) {
            Ok(file) => {
                let target = format!("/diff?file={}", encoded(&file));
                order(&args.admin, "GET", &target, args.json)
            }
            Err(code) => code,
        },
    }
}

/// Prints what the gateway shows of itself.
pub(crate) fn status(args: &AdminArgs) -> ExitCode {
    order(args, "GET", "/status", false)
}

/// Puts a file in force.
pub(crate) fn apply(args: &ApplyArgs) -> ExitCode {
    let file = match absolute(&args.with) {
        Ok(file) => file,
        Err(code) => return code,
    };
    let mut target = format!("/apply?file={}", encoded(&file));
    if let Some(confirm) = args.confirm {
        target.push_str(&format!("&confirm={}ms", confirm.as_millis()));
    }
    order(&args.admin, "POST", &target, args.json)
}

/// Keeps what was applied on trial.
pub(crate) fn confirm(args: &AdminArgs) -> ExitCode {
    order(args, "POST", "/confirm", false)
}

/// Takes an endpoint out, and watches it empty where that is asked for.
pub(crate) fn drain(args: &DrainArgs) -> ExitCode {
    let DrainArgs { of, watch: watched } = args;
    let code = order(&of.admin, "POST", &target("drain", of), false);
    if code != ExitCode::SUCCESS || !watched {
        return code;
    }
    match address(&of.admin) {
        Ok(address) => watch(address, &target("drain", of)),
        Err(code) => code,
    }
}

/// Takes what is held back of an upstream's endpoints.
pub(crate) fn discovery(args: &DiscoveryArgs) -> ExitCode {
    let DiscoveryCommand::Accept(args) = &args.command;
    let target = format!("/discovery/accept?upstream={}", encoded(&args.upstream));
    order(&args.admin, "POST", &target, false)
}

/// Gives an endpoint requests again.
pub(crate) fn undrain(args: &EndpointArgs) -> ExitCode {
    order(&args.admin, "POST", &target("undrain", args), false)
}

fn target(what: &str, args: &EndpointArgs) -> String {
    format!("/{what}?upstream={}&endpoint={}", encoded(&args.upstream), encoded(&args.endpoint))
}

/// Prints a line whenever it has changed, until the endpoint is empty.
fn watch(address: SocketAddr, target: &str) -> ExitCode {
    let question = Question { method: "GET", target, fields: "", limit: LIMIT };
    let mut said = String::new();
    loop {
        let answer = match ask(address, question) {
            Ok(answer) => answer,
            Err(code) => return code,
        };
        if answer.body != said {
            say(&answer.body);
            said.clone_from(&answer.body);
        }
        match answer.status {
            202 => std::thread::park_timeout(LOOK),
            200 => return ExitCode::SUCCESS,
            _ => return ExitCode::from(INPUT),
        }
    }
}

fn absolute(file: &Path) -> Result<String, ExitCode> {
    let path = std::path::absolute(file).ok().and_then(|path| path.to_str().map(str::to_owned));
    path.ok_or_else(|| {
        complain(&format!("error: {} is no path that can be sent\n", file.display()));
        ExitCode::from(INPUT)
    })
}

/// Asks and prints the answer: to standard output where it is done.
fn order(args: &AdminArgs, method: &str, target: &str, json: bool) -> ExitCode {
    let fields = if json { "Accept: application/json\r\n" } else { "" };
    let question = Question { method, target, fields, limit: LIMIT };
    match address(args).and_then(|address| ask(address, question)) {
        Ok(Answer { status: 200, body }) => {
            say(&body);
            ExitCode::SUCCESS
        }
        Ok(Answer { status, body }) => {
            if json {
                say(&body)
            } else {
                complain(&body)
            }
            ExitCode::from(if status >= 500 { WORLD } else { INPUT })
        }
        Err(code) => code,
    }
}

//! `gatehouse health`: what the admin interface of a running gateway says of itself.

use super::client::{Question, address, ask};
use super::{INPUT, complain, say};
use crate::cli::AdminArgs;
use std::process::ExitCode;
use std::time::Duration;

/// How long the whole of it may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks, prints the answer, and ends with 0 where it is good.
pub(crate) fn run(args: &AdminArgs) -> ExitCode {
    let question = Question { method: "GET", target: "/healthz", fields: "", limit: LIMIT };
    match address(args).and_then(|address| ask(address, question)) {
        Ok(answer) if answer.status == 200 => {
            say(&answer.body);
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            complain(&format!("{} {}", answer.status, answer.body));
            ExitCode::from(INPUT)
        }
        Err(code) => code,
    }
}

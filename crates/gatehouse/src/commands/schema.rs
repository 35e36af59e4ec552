//! `gatehouse schema`: the JSON Schema of the configuration.

use super::say;
use gatehouse_control::config::json_schema;
use std::process::ExitCode;

/// Prints it.
pub(crate) fn run() -> ExitCode {
    say(&json_schema());
    ExitCode::SUCCESS
}

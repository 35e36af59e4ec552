//! Runs: the binary and its commands. What a command decides is decided elsewhere.

mod cli;
mod commands;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => commands::check::run(args),
        Command::Fmt(args) => commands::fmt::run(args),
        Command::Schema => commands::schema::run(),
        Command::Explain(args) => commands::explain::run(args),
        Command::Test(args) => commands::test::run(args),
    }
}

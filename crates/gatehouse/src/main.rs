//! Runs: the binary and its commands. What a command decides is decided elsewhere.

mod cli;
mod commands;
mod pid_file;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Bench(args) => commands::bench::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Proxy(args) => commands::proxy::run(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Check(args) => commands::check::run(args),
        Command::Fmt(args) => commands::fmt::run(args),
        Command::Schema => commands::schema::run(),
        Command::Explain(args) => commands::explain::run(args),
        Command::Test(args) => commands::test::run(args),
        Command::Health(args) => commands::health::run(&args),
        Command::Status(args) => commands::steer::status(&args),
        Command::Reload(args) => commands::steer::reload(&args),
        Command::Diff(args) => commands::steer::diff(&args),
        Command::Apply(args) => commands::steer::apply(&args),
        Command::Push(args) => commands::push::run(&args),
        Command::Registry(args) => commands::registry::run(args.action),
        Command::Confirm(args) => commands::steer::confirm(&args),
        Command::Drain(args) => commands::steer::drain(&args),
        Command::Discovery(args) => commands::steer::discovery(&args),
        Command::Undrain(args) => commands::steer::undrain(&args),
    }
}

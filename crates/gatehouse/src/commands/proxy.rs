//! `gatehouse proxy`: a load balancer with no file.

use super::run::serve;
use super::say;
use crate::cli::ProxyArgs;
use gatehouse_control::config::{CommandLine, ProcessEnv, command_line_text, load_text};
use std::process::ExitCode;

/// Runs until SIGTERM or SIGINT, then drains.
pub(crate) fn run(args: &ProxyArgs) -> ExitCode {
    let text = command_line_text(&CommandLine {
        listen: args.listen.clone(),
        tls: args.tls_cert.clone().zip(args.tls_key.clone()),
        to: args.to.clone(),
        balance: args.balance.clone(),
        admin: args.admin.clone(),
        workers: args.workers,
    });
    if args.print_config {
        say(&text);
        return ExitCode::SUCCESS;
    }
    serve(load_text("(command line)", &text, &ProcessEnv), None)
}

//! `gatehouse proxy`: a load balancer with no file.

use super::run::serve;
use clap::Args;
use gatehouse_control::config::{CommandLine, ProcessEnv, command_line_text, load_text};
use std::num::NonZeroUsize;
use std::process::ExitCode;

/// What `proxy` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gatehouse proxy --listen :8080 --to 127.0.0.1:9001 --to 127.0.0.1:9002"
)]
pub struct ProxyArgs {
    /// Where to listen: an address, a port, or unix:PATH.
    #[arg(long, value_name = "ADDRESS", required = true)]
    listen: Vec<String>,
    /// An endpoint: host:port, http://host:port/base, or unix:PATH.
    #[arg(long, value_name = "ENDPOINT", required = true)]
    to: Vec<String>,
    /// How an endpoint is chosen, such as least-request.
    #[arg(long, value_name = "NAME")]
    balance: Option<String>,
    /// Where the admin interface listens: a loopback address.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Threads that serve; one per core without it.
    #[arg(long, value_name = "COUNT")]
    workers: Option<NonZeroUsize>,
    /// Write the equivalent configuration to standard output and end.
    #[arg(long)]
    print_config: bool,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(args: &ProxyArgs) -> ExitCode {
    let text = command_line_text(&CommandLine {
        listen: args.listen.clone(),
        to: args.to.clone(),
        balance: args.balance.clone(),
        admin: args.admin.clone(),
        workers: args.workers,
    });
    if args.print_config {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    serve(load_text("(command line)", &text, &ProcessEnv))
}

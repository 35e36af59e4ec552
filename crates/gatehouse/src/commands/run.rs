//! `gatehouse run`: the gateway, from a file.

use clap::Args;
use gatehouse_control::config::{Loaded, Paint, ProcessEnv, Verdict, load, render};
use gatehouse_control::gateway::Gateway;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `run` is told.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gatehouse run -c gatehouse.toml")]
pub struct RunArgs {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = "gatehouse.toml")]
    config: PathBuf,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(args: &RunArgs) -> ExitCode {
    serve(load(&args.config, &ProcessEnv))
}

/// Serves a loaded configuration, or says what is wrong with it.
pub fn serve(loaded: Loaded) -> ExitCode {
    if !loaded.problems.is_empty() {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        eprint!("{}", render(&loaded, if colour { Paint::Colour } else { Paint::Plain }));
    }
    let verdict = loaded.verdict();
    let Some(lowered) = loaded.lowered else {
        return ExitCode::from(if verdict == Verdict::Unreadable { 3 } else { 1 });
    };
    raise_descriptors();
    let gateway = match Gateway::start(lowered) {
        Ok(gateway) => gateway,
        Err(fault) => {
            eprintln!("error: {fault}");
            return ExitCode::from(3);
        }
    };
    for line in gateway.addresses() {
        eprintln!("{line}");
    }
    eprintln!("ready");
    end(gateway)
}

/// Serves to the end and says how it went.
pub fn end(gateway: Gateway) -> ExitCode {
    match gateway.serve() {
        Ok(0) => {
            eprintln!("drained");
            ExitCode::SUCCESS
        }
        Ok(cut) => {
            eprintln!("warn: drained; {cut} connections took longer than the drain limit and were cut");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: signals cannot be waited for: {error}");
            ExitCode::from(3)
        }
    }
}

/// Takes as many descriptors as the system gives without asking anyone.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        eprintln!("warn: the limit on open files stays at {:?}: {error}", now.current);
    }
}

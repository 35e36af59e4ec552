//! `gatehouse push`: a configuration into a registry, once it was checked as `check` does it.

use super::{INPUT, USAGE, WORLD, complain, exit_code, load, paint, say};
use crate::cli::registry::PushArgs;
use gatehouse_control::config::{ProcessEnv, render};
use gatehouse_control::remote::{NotPut, Remote};
use std::process::ExitCode;

/// Writes a file that is right, if the version that is expected stands there.
pub(crate) fn run(args: &PushArgs) -> ExitCode {
    let Some(remote) = Remote::of(&args.to, &ProcessEnv) else {
        let to = args.to.display();
        complain(&format!("error: {to} is no registry's URL: write zk://HOST:2181/PATH\n"));
        return ExitCode::from(USAGE);
    };
    let loaded = load(&args.file);
    if !loaded.problems.is_empty() {
        complain(&render(&loaded, paint()));
    }
    if loaded.lowered.is_none() {
        return exit_code(&loaded);
    }
    if !loaded.includes.is_empty() {
        let file = args.file.display();
        complain(&format!(
            "error: {file} includes other files, and a registry holds one text\n  hint: put \
             everything into one file\n"
        ));
        return ExitCode::from(INPUT);
    }
    let Some(source) = loaded.sources.files().first() else { return exit_code(&loaded) };
    let to = args.to.display();
    match remote.put(&source.text, args.version) {
        Ok(version) => {
            say(&format!("pushed {} to {to}: version {version}\n", args.file.display()));
            ExitCode::SUCCESS
        }
        Err(NotPut::Asked(why)) => {
            complain(&format!("error: {to}: {why}\n"));
            ExitCode::from(INPUT)
        }
        Err(NotPut::World(why)) => {
            complain(&format!("error: {to}: {why}\n"));
            ExitCode::from(WORLD)
        }
    }
}

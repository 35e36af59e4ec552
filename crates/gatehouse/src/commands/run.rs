//! `gatehouse run`: the gateway, from a file.

use super::{WORLD, complain, count, exit_code, load, paint};
use crate::cli::RunArgs;
use crate::pid_file::PidFile;
use gatehouse_control::certificates::prepare;
use gatehouse_control::config::{Loaded, ProcessEnv, render};
use gatehouse_control::gateway::{ConfigFile, Follow, Gateway, Program, Source};
use gatehouse_control::remote::Remote;
use gatehouse_control::supervisor::Supervisor;
use std::path::Path;
use std::process::ExitCode;

/// Runs until SIGTERM or SIGINT, then drains.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let path = args.file.config.clone();
    if let Some(remote) = Remote::of(&path, &ProcessEnv) {
        let remote = remote.keeping(&ProcessEnv);
        let loaded = remote.load();
        let file = ConfigFile::remote(path, &loaded, remote);
        return serve(loaded, Some(file), args.pid_file.as_deref());
    }
    let loaded = load(&path);
    let follow = if args.watch { Follow::Changes } else { Follow::Asked };
    let file = ConfigFile::new(path, &loaded, follow);
    serve(loaded, Some(file), args.pid_file.as_deref())
}

/// Serves a loaded configuration, or says what is wrong with it. `file` is read again when the
/// gateway is told to reload; into `pid_file` goes the process's id.
pub(crate) fn serve(
    mut loaded: Loaded,
    file: Option<ConfigFile>,
    pid_file: Option<&Path>,
) -> ExitCode {
    let prepared = prepare(&mut loaded, None);
    if !loaded.problems.is_empty() {
        complain(&render(&loaded, paint()));
    }
    let Some((lowered, prepared)) = loaded.lowered.take().zip(prepared) else {
        return exit_code(&loaded);
    };
    raise_descriptors();
    let supervisor =
        Supervisor::from_env(&ProcessEnv, std::process::id(), std::os::unix::process::parent_id());
    let source = Source { file, program: program() };
    let gateway = match Gateway::start(lowered, prepared, source, supervisor) {
        Ok(gateway) => gateway,
        Err(fault) => {
            eprintln!("error: {fault}");
            return ExitCode::from(WORLD);
        }
    };
    for line in gateway.addresses() {
        eprintln!("{line}");
    }
    let mut written = None;
    end(gateway, || {
        written = pid_file.and_then(|path| match PidFile::write(path) {
            Ok(written) => Some(written),
            Err(error) => {
                eprintln!("warn: pid file {}: {error}", path.display());
                None
            }
        });
        eprintln!("ready");
    })
}

/// What this process was started by.
fn program() -> Option<Program> {
    let mut words = std::env::args_os();
    let name = words.next()?;
    Some(Program { name, arguments: words.collect() })
}

/// Serves to the end and says how it went.
pub(crate) fn end(gateway: Gateway, ready: impl FnOnce()) -> ExitCode {
    match gateway.serve(ready) {
        Ok(0) => {
            eprintln!("drained");
            ExitCode::SUCCESS
        }
        Ok(cut) => {
            let (connections, were) =
                (count(cut, "connection"), if cut == 1 { "was" } else { "were" });
            eprintln!(
                "warn: drained; {connections} took longer than the drain limit and {were} cut"
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: signals cannot be waited for: {error}");
            ExitCode::from(WORLD)
        }
    }
}

/// Takes as many descriptors as the system gives without asking anyone.
pub(super) fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        eprintln!("warn: the limit on open files stays at {:?}: {error}", now.current);
    }
}

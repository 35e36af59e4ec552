//! The commands, a file each, and what they share: exit codes, colour, loading.

pub(crate) mod bench;
pub(crate) mod check;
mod client;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod fmt;
pub(crate) mod health;
pub(crate) mod proxy;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod steer;
pub(crate) mod test;

use gatehouse_control::config::{Kind, Loaded, Lowered, Paint, ProcessEnv, Verdict, render};
use gatehouse_control::remote::Remote;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// What the operator wrote is wrong.
pub(crate) const INPUT: u8 = 1;
/// The command was called wrongly.
pub(crate) const USAGE: u8 = 2;
/// The world failed: no such file, port in use.
pub(crate) const WORLD: u8 = 3;

/// Whether standard error is coloured.
pub(crate) fn paint() -> Paint {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match std::io::stderr().is_terminal() && !refused {
        true => Paint::Colour,
        false => Paint::Plain,
    }
}

/// Writes to standard output; a reader that has gone away is no trouble of ours.
pub(crate) fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes to standard error.
pub(crate) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The exit code of a configuration that was loaded.
pub(crate) fn exit_code(loaded: &Loaded) -> ExitCode {
    match loaded.verdict() {
        Verdict::Fine => ExitCode::SUCCESS,
        Verdict::Refused => ExitCode::from(INPUT),
        Verdict::Unreadable => ExitCode::from(WORLD),
    }
}

/// A configuration that is to be used: where it cannot be, its problems are printed.
pub(crate) struct Usable {
    /// As it was read.
    pub loaded: Loaded,
    /// What it means.
    pub lowered: Lowered,
}

/// Loads a configuration, from a file or a registry; where the file is not there, says what can be
/// done without it.
pub(crate) fn load(path: &Path) -> Loaded {
    if let Some(remote) = Remote::of(path, &ProcessEnv) {
        return remote.load();
    }
    let mut loaded = gatehouse_control::config::load(path, &ProcessEnv);
    if let Some(problem) = loaded.problems.iter_mut().find(|one| one.kind == Kind::Unreadable) {
        let hint = "name the file with -c FILE; `gatehouse demo` and `gatehouse proxy` need none";
        problem.hint.get_or_insert_with(|| hint.to_owned());
    }
    loaded
}

/// Loads a configuration that is to be used.
///
/// # Errors
/// The exit code, where it cannot be.
pub(crate) fn usable(path: &Path) -> Result<Usable, ExitCode> {
    let mut loaded = load(path);
    match loaded.lowered.take() {
        Some(lowered) => Ok(Usable { loaded, lowered }),
        None => {
            complain(&render(&loaded, paint()));
            Err(exit_code(&loaded))
        }
    }
}

/// `3 routes`, `1 route`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

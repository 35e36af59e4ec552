//! `gatehouse registry`: ZooKeeper for people at a terminal.

use super::{INPUT, USAGE, WORLD, complain, say};
use crate::cli::registry::RegistryAction;
use gatehouse_control::config::{NodeUrl, ProcessEnv};
use gatehouse_control::terminal::{self, Expected, Failed, Listed, Written};
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::process::ExitCode;

/// Why a command ends without having done it.
enum Ended {
    Usage(String),
    Failed(Failed),
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Ended {
        Ended::Failed(failed)
    }
}

/// Does what was asked for.
pub(crate) fn run(action: RegistryAction) -> ExitCode {
    let (why, code) = match act(action) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Ended::Usage(why)) => (why, USAGE),
        Err(Ended::Failed(Failed::Asked(why))) => (why, INPUT),
        Err(Ended::Failed(Failed::World(why))) => (why, WORLD),
    };
    complain(&format!("error: {why}\n"));
    ExitCode::from(code)
}

fn act(action: RegistryAction) -> Result<(), Ended> {
    match action {
        RegistryAction::Ls { url, long } => {
            let listed = terminal::list(&node(&url)?)?;
            let line = if long { long_line } else { short_line };
            listed.iter().for_each(|node| say(&line(node)));
        }
        RegistryAction::Get { url } => {
            let (content, _) = terminal::get(&node(&url)?)?;
            // A reader that has gone away is no trouble of ours.
            let _ = std::io::stdout().lock().write_all(&content);
        }
        RegistryAction::Set { url, value, version } => set(&node(&url)?, &value, version)?,
        RegistryAction::Watch { url, lines } => watch(&node(&url)?, lines)?,
        RegistryAction::Register { url, address, weight, zone } => {
            terminal::announce(&node(&url)?, &address, weight, zone.as_deref())?;
        }
    }
    Ok(())
}

fn node(url: &str) -> Result<NodeUrl, Ended> {
    NodeUrl::parse(url, &ProcessEnv).map_err(Ended::Usage)
}

fn short_line(node: &Listed) -> String {
    format!("{}\n", node.name.escape_debug())
}

fn long_line(node: &Listed) -> String {
    let Listed { name, version, bytes, children, owner } = node;
    let owner = if *owner == 0 { "-".to_owned() } else { format!("{owner:#x}") };
    let name = name.escape_debug();
    format!("version {version}  bytes {bytes}  children {children}  session {owner}  {name}\n")
}

fn set(url: &NodeUrl, value: &str, version: Option<i32>) -> Result<(), Ended> {
    let content = match value {
        "-" => input()?,
        value => value.as_bytes().to_vec(),
    };
    let expected = version.map_or(Expected::Current, Expected::Version);
    let said = match terminal::set(url, &content, expected)? {
        Written::Created => "created, version 0".to_owned(),
        Written::Changed(version) => format!("changed, version {version}"),
        Written::Same(version) => format!("the same already, version {version}"),
    };
    say(&format!("{said}\n"));
    Ok(())
}

fn input() -> Result<Vec<u8>, Ended> {
    let mut content = Vec::new();
    let most = terminal::CONTENT_BYTES_MAX as u64 + 1;
    let read = std::io::stdin().lock().take(most).read_to_end(&mut content);
    read.map_err(|error| Failed::World(format!("standard input: {error}")))?;
    Ok(content)
}

fn watch(url: &NodeUrl, lines: Option<NonZeroU64>) -> Result<(), Ended> {
    let mut left = lines.map_or(u64::MAX, NonZeroU64::get);
    terminal::watch(url, &mut |line| {
        say(&format!("{line}\n"));
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(())
}

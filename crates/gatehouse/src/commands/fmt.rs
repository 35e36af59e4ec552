//! `gatehouse fmt`: one way to write a file down.

use super::{INPUT, WORLD, complain, paint, say};
use crate::cli::FmtArgs;
use gatehouse_control::config::{Kind, ProcessEnv, layout, load_text, render};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What became of one file.
enum Done {
    Same,
    Changed,
    NotToml,
    Failed,
}

/// Lays out the files, or says which would change.
pub(crate) fn run(args: FmtArgs) -> ExitCode {
    let mut code = 0;
    for path in &args.files {
        let done = match path.as_os_str() == "-" {
            true => standard_input(args.check),
            false => file(path, args.check),
        };
        code = code.max(match done {
            Done::Same => 0,
            Done::Changed if args.check => {
                complain(&format!("{}: gatehouse fmt would change it\n", path.display()));
                INPUT
            }
            Done::Changed => 0,
            Done::NotToml => INPUT,
            Done::Failed => WORLD,
        });
    }
    ExitCode::from(code)
}

fn standard_input(check: bool) -> Done {
    let mut text = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut text) {
        complain(&format!("standard input: cannot be read: {error}\n"));
        return Done::Failed;
    }
    let Some(laid) = laid_out("standard input", &text) else { return Done::NotToml };
    if !check {
        say(&laid);
    }
    if laid == text { Done::Same } else { Done::Changed }
}

fn file(path: &Path, check: bool) -> Done {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            complain(&format!("{name}: it is not UTF-8\n"));
            return Done::NotToml;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            complain(&format!("{name}: there is no such file\n"));
            return Done::Failed;
        }
        Err(error) => {
            complain(&format!("{name}: cannot be read: {error}\n"));
            return Done::Failed;
        }
    };
    let Some(laid) = laid_out(&name, &text) else { return Done::NotToml };
    if laid == text {
        return Done::Same;
    }
    if check {
        return Done::Changed;
    }
    match replace(path, &laid) {
        Ok(()) => Done::Changed,
        Err(error) => {
            complain(&format!("{name}: cannot be written: {error}\n"));
            Done::Failed
        }
    }
}

fn laid_out(name: &str, text: &str) -> Option<String> {
    let laid = layout(text).ok();
    if laid.is_none() {
        let mut loaded = load_text(name, text, &ProcessEnv);
        let syntax = |kind| matches!(kind, Kind::Syntax | Kind::Duplicate);
        loaded.problems.retain(|problem| syntax(problem.kind));
        complain(&render(&loaded, paint()));
    }
    laid
}

/// Puts a text in place of a file's, whole or not at all, with the same permissions.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside: PathBuf = path.with_file_name(name);
    let permissions = std::fs::metadata(&path)?.permissions();
    let written = std::fs::write(&beside, text)
        .and_then(|()| std::fs::set_permissions(&beside, permissions))
        .and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

//! What stands in `packaging/` says what the binary does: the manual page and the completions are
//! written from the command line's own description, and every command of the image, the units and
//! the documents is one that it takes.
//!
//! `UPDATE_GOLDEN=1` writes the generated files again.

use clap::{Command, CommandFactory, Parser};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::path::{Path, PathBuf};

#[allow(dead_code, reason = "what commands are told is read by the commands")]
#[path = "../../src/cli.rs"]
mod cli;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the repository.
#[track_caller]
pub fn file(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares a text with a file of `packaging`, or writes the file where that is asked for.
#[track_caller]
fn compare(name: &str, got: &[u8]) {
    let path = root().join("packaging").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, got).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    assert!(
        fs::read(&path).is_ok_and(|expected| expected == got),
        "packaging/{name} is not what the command line says; write it again with\n  \
         UPDATE_GOLDEN=1 cargo nextest run -p gatehouse packaging"
    );
}

/// The value of an instruction of the Dockerfile; of several the last, as it is for the image.
#[track_caller]
fn instruction(name: &str) -> String {
    let text = file("Dockerfile").replace("\\\n", " ");
    let found = text.lines().rev().find_map(|line| line.strip_prefix(&format!("{name} ")));
    found.unwrap_or_else(|| panic!("no {name} in the Dockerfile")).trim().to_owned()
}

/// A command of the Dockerfile: `["a", "b"]`.
#[track_caller]
fn words(list: &str) -> Vec<String> {
    let list = list.strip_prefix("[\"").and_then(|list| list.strip_suffix("\"]"));
    let list = list.expect("a list, so that no shell is needed");
    list.split("\", \"").map(str::to_owned).collect()
}

/// Who the image runs as: `USER:GROUP`.
pub fn image_user() -> String {
    instruction("USER")
}

/// What the image runs.
pub fn image_command() -> Vec<String> {
    [words(&instruction("ENTRYPOINT")), words(&instruction("CMD"))].concat()
}

/// How an engine asks for the image's health.
pub fn image_health() -> Vec<String> {
    let check = instruction("HEALTHCHECK");
    words(check.split_once(" CMD ").expect("a command").1)
}

/// Only what an operator is shown: clap would offer hidden arguments too.
fn visible(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    // clap keeps only texts that last as long as the process; there are a dozen.
    let lasting = |text: &str| -> &'static str { text.to_owned().leak() };
    let mut visible = Command::new(lasting(command.get_name())).disable_help_subcommand(true);
    if let Some(about) = command.get_about() {
        visible = visible.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        visible = visible.version(lasting(version));
    }
    visible.args(arguments.cloned()).subcommands(commands.map(self::visible))
}

/// The page of one command, its sections one level down.
fn subcommand_page(command: &Command) -> Vec<u8> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_synopsis_section(&mut page).expect("room");
    man.render_description_section(&mut page).expect("room");
    man.render_options_section(&mut page).expect("room");
    man.render_extra_section(&mut page).expect("room");
    let text = String::from_utf8(page).expect("a text").replace(".SH EXTRA", ".SH EXAMPLES");
    let name = command.get_display_name().unwrap_or(command.get_name()).replace('-', " ");
    format!(".SH {}\n{}", name.to_uppercase(), text.replace(".SH ", ".SS ")).into_bytes()
}

/// All of the manual: the command itself, then each of its commands.
fn manual() -> Vec<u8> {
    let mut command = cli::Cli::command();
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page).expect("room");
    man.render_name_section(&mut page).expect("room");
    man.render_synopsis_section(&mut page).expect("room");
    man.render_description_section(&mut page).expect("room");
    man.render_extra_section(&mut page).expect("room");
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        page.extend(subcommand_page(subcommand));
    }
    man.render_version_section(&mut page).expect("room");
    let text = String::from_utf8(page).expect("a text").replace(".SH EXTRA", ".SH EXAMPLES");
    text.into_bytes()
}

#[test]
fn the_manual_page_is_what_the_command_line_says() {
    compare("gatehouse.1", &manual());
}

#[test]
fn completions_are_what_the_command_line_says() {
    let files = [
        (Shell::Bash, "gatehouse.bash"),
        (Shell::Zsh, "_gatehouse"),
        (Shell::Fish, "gatehouse.fish"),
    ];
    for (shell, name) in files {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut visible(&cli::Cli::command()), "gatehouse", &mut text);
        compare(&format!("completions/{name}"), &text);
    }
}

/// The command line of a unit's line, checked to be one that the binary takes.
#[track_caller]
fn takes(command: &[String]) {
    assert_eq!(command[0], "/usr/bin/gatehouse", "{command:?}");
    if let Err(error) = cli::Cli::try_parse_from(command) {
        panic!("{command:?}: {error}");
    }
}

#[test]
fn every_command_of_the_image_and_of_the_unit_is_one_that_there_is() {
    takes(&image_command());
    takes(&image_health());
    let unit = file("packaging/gatehouse.service");
    let starts: Vec<&str> =
        unit.lines().filter_map(|line| line.strip_prefix("ExecStart=")).collect();
    assert_eq!(starts.len(), 1, "{unit}");
    takes(&starts[0].split(' ').map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn the_image_is_of_numbers_and_of_nothing_that_is_not_its_own() {
    let user = image_user();
    let numbers: Vec<u32> = user.split(':').filter_map(|id| id.parse().ok()).collect();
    assert!(numbers.len() == 2 && !numbers.contains(&0), "{user}: there are no names in there");
    assert!(instruction("FROM").starts_with("scratch"), "{}", instruction("FROM"));
    let ignored = file(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "what is not named is left out");
    for kept in lines {
        let path = kept.strip_prefix('!').expect("what is left out is left out already");
        assert!(root().join(path).exists(), "{path}");
    }
}

#[test]
fn the_socket_unit_and_the_image_name_the_listener_that_the_examples_have() {
    assert!(file("packaging/gatehouse.socket").contains("\nFileDescriptorName=web\n"));
    for name in ["packaging/container.toml", "examples/minimal.toml"] {
        assert!(file(name).contains("[listeners.web]\nbind = \":8080\""), "{name}");
    }
    assert_eq!(instruction("EXPOSE"), "8080");
}

//! What newcomers copy works.

use crate::golden::{ENV, files, root};
use gatehouse_control::config::{Loaded, Paint, ask, differences, load, render};
use std::fs;
use std::path::PathBuf;

pub(crate) fn examples() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("examples")).expect("examples are there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut examples: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    examples.sort();
    assert!(examples.len() >= 5, "{examples:?}");
    examples
}

pub(crate) fn expectations_hold(loaded: &Loaded) {
    let lowered = loaded.lowered.as_ref().expect("it loads");
    for expect in &lowered.expects {
        let answer = ask(&lowered.plan, &expect.question).expect("a question that can be asked");
        let place = loaded.sources.show(expect.place);
        let differences = differences(&expect.expected, &answer);
        assert!(differences.is_empty(), "{place}: {differences:?}\n{answer:#?}");
    }
}

#[test]
fn every_example_loads_without_problems_and_keeps_its_promises() {
    for path in examples() {
        let loaded = load(&path, &[]);
        let problems = render(&loaded, Paint::Plain);
        assert!(loaded.problems.is_empty() && loaded.lowered.is_some(), "{problems}");
        let lowered = loaded.lowered.as_ref().expect("it loads");
        assert!(!lowered.expects.is_empty(), "{} expects nothing", path.display());
        expectations_hold(&loaded);
    }
}

#[test]
fn every_good_golden_file_keeps_its_promises() {
    for path in files("good") {
        expectations_hold(&load(&path, &ENV));
    }
}

//! Files beside their expected output: `good/NAME.toml` with what is understood, `bad/NAME.toml`
//! with every problem as it is printed. `UPDATE_GOLDEN=1` writes the outputs again.

use gatehouse_control::config::{Loaded, Lowered, Paint, Place, load, render};
use gatehouse_core::plan::RouteId;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The environment of the golden files.
pub(crate) const ENV: [(&str, &str); 4] =
    [("PORT", "8080"), ("WORKERS", "3"), ("ENDPOINTS", "10.0.0.1:1, 10.0.0.2:2"), ("WORD", "soon")];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a text with a file, or writes the file where that is asked for.
pub(crate) fn compare(path: &Path, got: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(path, got).map_err(|error| format!("{}: {error}", path.display()));
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == got {
        return Ok(());
    }
    let line = expected.lines().zip(got.lines()).take_while(|(a, b)| a == b).count() + 1;
    Err(format!(
        "{}: line {line} differs; if that is right, write it again with\n  \
         UPDATE_GOLDEN=1 cargo nextest run -p gatehouse-control\n--- got ---\n{got}",
        path.display()
    ))
}

/// The golden files of a folder, included ones left out.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let entries = fs::read_dir(&folder).expect("the golden folder is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

fn shown(path: &Path, text: &str) -> String {
    let folder = format!("{}/", path.parent().expect("a folder").display());
    text.replace(&folder, "")
}

/// Everything a configuration means; of the router the rules only.
fn understood(lowered: &Lowered) -> String {
    let plan = &lowered.plan;
    let mut out = String::new();
    let _ = writeln!(out, "workers {:?}, drain {:?}", lowered.workers, plan.drain);
    let _ = writeln!(out, "admin {:?}", lowered.admin);
    let _ = writeln!(out, "access log {:?} to {:?}", plan.access_log, lowered.access_log);
    for listener in &plan.listeners {
        let _ = writeln!(out, "\n{listener:#?}");
    }
    for (at, route) in plan.routes.iter().enumerate() {
        let rule = plan.router.rule(RouteId(at as u32));
        let _ = writeln!(out, "\n{rule:#?}\n{route:#?}");
    }
    for upstream in &plan.upstreams {
        let _ = writeln!(out, "\n{upstream:#?}");
    }
    let tls = &lowered.tls;
    for listener in tls.listeners.iter().flatten() {
        let _ = writeln!(out, "\n{listener:#?}");
    }
    for upstream in tls.upstreams.iter().flatten() {
        let _ = writeln!(out, "\n{upstream:#?}");
    }
    for discovery in lowered.discovery.iter().flatten() {
        let _ = writeln!(out, "\n{discovery:#?}");
    }
    for register in &lowered.register {
        let _ = writeln!(out, "\n{register:#?}");
    }
    for order in &tls.acme {
        let _ = writeln!(out, "\n{order:#?}");
    }
    for expect in &lowered.expects {
        let _ = writeln!(out, "\n{:#?}\n{:#?}", expect.question, expect.expected);
    }
    out
}

/// Every place lies inside its file.
pub(crate) fn places_are_inside(loaded: &Loaded) {
    let inside = |place: Place| {
        let text = &loaded.sources.file(place.file).text;
        assert!(place.start <= place.end, "{place:?}");
        assert!(place.end as usize <= text.len(), "{place:?} of {}", text.len());
        loaded.sources.show(place);
    };
    for problem in &loaded.problems {
        inside(problem.place);
        problem.related.iter().for_each(|related| inside(related.place));
        assert!(!problem.reason.ends_with('.'), "{}", problem.reason);
    }
}

#[test]
fn a_bad_file_is_told_all_its_problems() {
    let mut wrong = Vec::new();
    for path in files("bad") {
        let loaded = load(&path, &ENV);
        places_are_inside(&loaded);
        let refused = loaded.lowered.is_none();
        let text = shown(&path, &render(&loaded, Paint::Plain));
        let text = format!("{text}{}\n", if refused { "refused" } else { "accepted" });
        wrong.extend(compare(&path.with_extension("expected"), &text).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_good_file_is_understood() {
    let mut wrong = Vec::new();
    for path in files("good") {
        let loaded = load(&path, &ENV);
        let problems = shown(&path, &render(&loaded, Paint::Plain));
        let text = match &loaded.lowered {
            Some(lowered) => shown(&path, &understood(lowered)),
            None => "refused\n".to_owned(),
        };
        if !loaded.problems.is_empty() || loaded.lowered.is_none() {
            wrong.push(format!("{}\n{problems}", path.display()));
        }
        wrong.extend(compare(&path.with_extension("expected"), &text).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

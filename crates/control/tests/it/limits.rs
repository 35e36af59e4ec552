//! Large configurations, and files that cannot be read.

use crate::golden::places_are_inside;
use gatehouse_control::config::{Kind, PROBLEMS_MAX, Verdict, load, load_text};
use std::fmt::Write;
use std::path::Path;

fn many_routes(count: usize) -> String {
    let mut text = "[listeners.web]\nbind = \":8080\"\n".to_owned();
    for at in 0..count {
        let _ = write!(
            text,
            "[[routes]]\nname = \"route-{at}-x\"\nhost = \"h{}.example.com\"\npath = \"/p{at}/*\"\n\
             methods = [\"GET\"]\nheaders = {{ x-a = \"1\" }}\nrewrite = {{ strip = \"/p{at}\" }}\n\
             upstream = \"u{}\"\n",
            at % 100,
            at % 50
        );
    }
    for at in 0..50 {
        let _ = write!(text, "[upstreams.u{at}]\nendpoints = [\"10.0.0.{at}:9000\"]\n");
    }
    text
}

/// 20,000 take less than a second in release; there this test measures it.
#[test]
fn a_large_configuration_loads() {
    let count = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
    let text = many_routes(count);
    let started = std::time::Instant::now();
    let loaded = load_text("large", &text, &[]);
    let took = started.elapsed();
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.lowered.expect("it loads").plan.routes.len(), count);
    println!("{count} routes, {} bytes: {took:?}", text.len());
    assert!(cfg!(debug_assertions) || took.as_millis() < 1_000, "{count} routes took {took:?}");
}

#[test]
fn no_more_problems_are_kept_than_anybody_reads() {
    let text: String = (0..2_000).map(|at| format!("key-{at} = 1\n")).collect();
    let loaded = load_text("many", &text, &[]);
    places_are_inside(&loaded);
    assert_eq!(loaded.problems.len(), PROBLEMS_MAX);
    // All the keys, and that there is no listener.
    assert_eq!(loaded.left_out, 2_001 - PROBLEMS_MAX);
}

#[test]
fn a_file_that_is_not_there_is_the_worlds_fault() {
    let loaded = load(Path::new("/nowhere/gatehouse.toml"), &[]);
    assert_eq!(loaded.verdict(), Verdict::Unreadable);
    assert_eq!(loaded.problems[0].kind, Kind::Unreadable);
    places_are_inside(&loaded);
}

#[test]
fn bytes_that_are_no_text_are_placed() {
    let path = std::env::temp_dir().join(format!("gatehouse-{}-latin.toml", std::process::id()));
    std::fs::write(&path, b"[listeners.web]\nbind = \":80\" # caf\xe9\n").expect("a file");
    let loaded = load(&path, &[]);
    std::fs::remove_file(&path).expect("the file is there");
    assert_eq!(loaded.problems[0].reason, "not UTF-8");
    assert_eq!(loaded.sources.line_column(loaded.problems[0].place).line, 2);
    places_are_inside(&loaded);
}

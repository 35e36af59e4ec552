//! Each rule catches a violation planted for it, and lets the right way pass.

use crate::rules::{FILE_LINES_MAX, FUNCTION_LINES, FUNCTION_LINES_MAX, Weight, findings};
use crate::source::Source;

/// The broken rules of a file, without warnings.
fn broken(path: &str, text: &str) -> Vec<(usize, &'static str)> {
    let found = findings(&Source::new(path, text));
    let errors = found.into_iter().filter(|finding| finding.weight == Weight::Error);
    errors.map(|finding| (finding.line, finding.rule)).collect()
}

#[track_caller]
fn catches(path: &str, text: &str, line: usize, rule: &'static str) {
    assert_eq!(broken(path, text), [(line, rule)]);
}

#[track_caller]
fn passes(path: &str, text: &str) {
    assert_eq!(broken(path, text), []);
}

fn function_of(lines: usize) -> String {
    format!("\nfn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
}

#[test]
fn a_function_over_its_limit_fails_and_a_long_one_warns() {
    catches("crates/wire/src/a.rs", &function_of(FUNCTION_LINES_MAX + 1), 2, "function-length");
    passes("crates/wire/src/a.rs", &function_of(FUNCTION_LINES_MAX));
    let long = findings(&Source::new("crates/wire/src/a.rs", &function_of(FUNCTION_LINES + 1)));
    assert_eq!(long.len(), 1);
    assert_eq!(long[0].weight, Weight::Warning);
    let short = findings(&Source::new("crates/wire/src/a.rs", &function_of(FUNCTION_LINES)));
    assert!(short.is_empty());
}

#[test]
fn a_function_is_measured_to_its_own_brace() {
    let text =
        format!("trait T {{ fn none(&self, x: [u8; 2]);\n}}\n{}", "const A: u8 = 1;\n".repeat(90));
    passes("crates/wire/src/a.rs", &text);
}

#[test]
fn a_file_over_its_limit_is_caught() {
    let text = "const A: u8 = 1;\n".repeat(FILE_LINES_MAX + 1);
    catches("crates/wire/src/a.rs", &text, FILE_LINES_MAX + 1, "file-length");
    passes("crates/wire/src/a.rs", &"const A: u8 = 1;\n".repeat(FILE_LINES_MAX));
}

#[test]
fn a_line_over_its_limit_is_caught() {
    catches("crates/wire/src/a.rs", &format!("\n// {}", "a".repeat(98)), 2, "columns");
    passes("crates/wire/src/a.rs", &format!("\n// {}", "\u{e9}".repeat(97)));
    passes("crates/wire/src/a.rs", &format!("const A: &str = \"\n{}\n\";", "a".repeat(101)));
}

#[test]
fn unsafe_outside_its_file_is_caught() {
    catches("crates/wire/src/head.rs", "fn a() { unsafe { b() } }", 1, "unsafe-place");
    passes("crates/wire/src/head.rs", "// unsafe\nfn a() { b(\"unsafe\", unsafe_code) }");
}

#[test]
fn unsafe_without_its_reason_is_caught() {
    let bare = "fn a() {\n    unsafe { b() }\n}";
    catches("crates/wire/src/sys.rs", bare, 2, "unsafe-reason");
    let explained = "fn a() {\n    // SAFETY: b has no\n    // condition.\n    unsafe { b() }\n}";
    passes("crates/wire/src/sys.rs", explained);
}

#[test]
fn tokio_outside_its_files_is_caught() {
    catches("crates/proxy/src/send.rs", "use tokio::net::TcpStream;", 1, "tokio-place");
    passes("crates/proxy/src/send.rs", "// tokio\n/// tokio\nfn a() {}");
    passes("crates/proxy/src/gate.rs", "use tokio::net::TcpStream;");
    passes("crates/proxy/tests/drain.rs", "use tokio::net::TcpStream;");
}

#[test]
fn a_crate_that_looks_upwards_is_caught() {
    let upwards = "[dependencies]\ngatehouse-proxy = { workspace = true }\n";
    catches("crates/core/Cargo.toml", upwards, 2, "crate-directions");
    catches("crates/wire/Cargo.toml", upwards, 2, "crate-directions");
    catches("crates/rig/Cargo.toml", upwards, 2, "crate-directions");
    passes("crates/control/Cargo.toml", upwards);
    let table = "[dependencies.gatehouse-control]\nworkspace = true\n";
    catches("crates/proxy/Cargo.toml", table, 1, "crate-directions");
    let build = "[build-dependencies]\ngatehouse-control.workspace = true\n";
    catches("crates/proxy/Cargo.toml", build, 2, "crate-directions");
}

#[test]
fn a_test_may_use_the_rig_and_a_new_crate_needs_a_direction() {
    let test = "[dependencies]\ngatehouse-core = 1\n[dev-dependencies]\ngatehouse-rig = 1\n";
    passes("crates/proxy/Cargo.toml", test);
    catches("crates/extra/Cargo.toml", "[dependencies]\n", 1, "crate-directions");
}

#[test]
fn what_core_must_not_see_is_caught() {
    let words = [
        "std::net::TcpStream",
        "UdpSocket",
        "std::fs::read",
        "SystemTime",
        "Instant::now",
        "rand::thread_rng",
        "serde::Serialize",
    ];
    for word in words {
        catches("crates/core/src/pick.rs", &format!("\nuse {word};"), 2, "core-promise");
        passes("crates/control/src/pick.rs", &format!("\nuse {word};"));
    }
    assert_eq!(broken("crates/core/src/pick.rs", "use tokio;").len(), 2);
    catches("crates/core/src/pick.rs", "async fn pick() {}", 1, "core-promise");
}

#[test]
fn an_ignored_test_is_caught() {
    catches("crates/core/src/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}", 2, "ignored-test");
}

#[test]
fn a_sleeping_test_is_caught() {
    let text = "fn a() { std::thread::sleep(limit); }";
    catches("crates/gatehouse/tests/a.rs", text, 1, "sleeping");
    catches("crates/rig/src/origin.rs", text, 1, "sleeping");
    passes("crates/rig/src/wait.rs", text);
    passes("crates/control/src/watch.rs", text);
    let inside = format!("#[cfg(test)]\nmod tests {{\n{text}\n}}");
    catches("crates/control/src/watch.rs", &inside, 3, "sleeping");
}

#[test]
fn unfinished_work_is_caught() {
    catches("crates/core/src/a.rs", "fn a() { todo!() }", 1, "unfinished");
    catches("crates/core/src/a.rs", "fn a() { unimplemented!() }", 1, "unfinished");
    for mark in [concat!("FIX", "ME"), concat!("TO", "DO")] {
        catches("crates/core/src/a.rs", &format!("fn a() {{}} // {mark} later"), 1, "unfinished");
    }
}

#[test]
fn unwrapping_on_the_data_path_is_caught() {
    catches("crates/proxy/src/a.rs", "fn a() { b().unwrap(); }", 1, "unwrapping");
    catches("crates/proxy/src/a.rs", "fn a() { b()\n.expect(\"c\"); }", 2, "unwrapping");
    passes("crates/proxy/src/a.rs", "fn a() { b().unwrap_or(1); }");
    passes("crates/proxy/src/a.rs", "#[cfg(test)]\nmod tests { fn a() { b().unwrap(); } }");
    passes("crates/control/src/a.rs", "fn a() { b().unwrap(); }");
}

#[test]
fn a_select_that_is_not_biased_is_caught() {
    let path = "crates/proxy/src/gate.rs";
    catches(path, "fn a() {\n  select! { x = b() => {} }\n}", 2, "biased");
    passes(path, "fn a() {\n  select! {\n    biased;\n    x = b() => {}\n  }\n}");
}

#[test]
fn names_that_say_nothing_are_caught() {
    catches("crates/core/src/utils.rs", "", 1, "names");
    catches("crates/core/src/a.rs", "\nmod utils;", 2, "names");
    catches("crates/core/src/a.rs", "\n\nstruct PoolManager;", 3, "names");
    catches("crates/core/src/a.rs", "\nfn get_pool() {}", 2, "names");
    catches("crates/core/src/a.rs", "fn handle_request() {}", 1, "names");
    passes("crates/core/src/a.rs", "fn a() { b.get_mut(0); get_x(); }");
    passes("crates/core/tests/a.rs", "fn get_includes_head() {}");
}

#[test]
fn a_place_of_one_machine_is_caught() {
    for place in [concat!("/ho", "me/me/x"), concat!("/wo", "rk/x"), concat!("/ro", "ot/.cargo")] {
        catches("docs/a.md", &format!("\nsee {place}"), 2, "machine-path");
        passes("docs/a.md", &format!("\nsee https://example.com{place}"));
    }
}

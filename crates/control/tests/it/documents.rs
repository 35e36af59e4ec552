//! What is written from the schema says what the code does.

use crate::examples::{examples, expectations_hold};
use crate::golden::{compare, root};
use crate::json_schema::{Schema, toml_value};
use gatehouse_control::config::{json_schema, layout, load_text, markdown};
use gatehouse_core::plan::{ClientLimits, Keepalive, Retry, Timeouts};
use std::fs;
use std::path::Path;

#[test]
fn the_page_of_the_configuration_is_what_the_schema_says() {
    if let Err(message) = compare(&root().join("docs/configuration.md"), &markdown()) {
        panic!("{message}");
    }
}

/// The configurations that a page shows.
fn configurations(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or("").to_owned()).collect()
}

#[test]
fn the_readmes_configurations_load_keep_their_promises_and_are_laid_out() {
    let shown = configurations("README.md");
    assert!(shown.len() >= 2, "{shown:?}");
    for text in shown {
        let loaded = load_text("README.md", &text, &[]);
        assert_eq!(loaded.problems, [], "{text}");
        expectations_hold(&loaded);
        assert_eq!(layout(&text).as_deref(), Ok(&*text));
    }
}

/// The defaults of a section as its page lists them.
fn documented_defaults(heading: &str) -> Vec<(String, String)> {
    let page = markdown();
    let start = page.find(&format!("## `{heading}`")).expect("the section is there");
    let section = page[start + 3..].split("\n## ").next().expect("a section");
    let row = |line: &str| {
        let mut cells = line.split(" | ");
        let key = cells.next()?.strip_prefix("| `")?.strip_suffix('`')?.to_owned();
        let default = cells.nth(1)?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        Some((key, default))
    };
    section.lines().filter_map(row).collect()
}

fn keys(heading: &str) -> String {
    let pairs = documented_defaults(heading).into_iter();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key} = {value}")).collect();
    assert!(!pairs.is_empty(), "{heading} has defaults");
    pairs.join(", ")
}

#[test]
fn documented_defaults_are_those_of_the_data_plane() {
    let text = format!(
        "[listeners.web]\nbind = \":80\"\nprotocols = [\"h1\", \"h2\"]\n\
         tls = {{ cert = \"a\", key = \"b\" }}\n\
         limits = {{ {} }}\n[[routes]]\ntimeout = {{ {} }}\n\
         upstream = {{ endpoints = [\"a:1\"], retry = {{ {} }}, keepalive = {{ {} }} }}\n",
        keys("[listeners.NAME.limits]"),
        keys("timeout = { … }"),
        keys("retry = { … }"),
        keys("keepalive = { … }"),
    );
    let loaded = load_text("defaults", &text, &[]);
    let plan = &loaded.lowered.unwrap_or_else(|| panic!("{text}\n{:?}", loaded.problems)).plan;
    assert_eq!(plan.listeners[0].limits, ClientLimits::default());
    assert_eq!(plan.upstreams[0].retry, Retry::default());
    assert_eq!(plan.upstreams[0].keepalive, Keepalive::default());
    let gatehouse_core::plan::Action::Forward(forward) = &plan.routes[0].action else {
        panic!("{:?}", plan.routes[0]);
    };
    assert_eq!(forward.timeouts, Timeouts::default());
}

#[test]
fn the_json_schema_agrees_with_the_loader() {
    let schema = Schema::read(&json_schema());
    let mut good: Vec<_> = examples();
    good.extend(crate::golden::files("good"));
    for path in good {
        let text = fs::read_to_string(&path).expect("the file is there");
        let faults = schema.faults(&toml_value(&text));
        assert!(faults.is_empty(), "{}: {faults:?}", path.display());
    }
    for name in ["unknown-keys", "wrong-types", "not-in-this-version", "missing"] {
        let path = format!("tests/golden/bad/{name}.toml");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = fs::read_to_string(&path).expect("the file is there");
        assert!(!schema.faults(&toml_value(&text)).is_empty(), "{name} passes");
    }
}

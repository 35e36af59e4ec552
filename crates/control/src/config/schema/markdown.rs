//! The schema as a page for people.

use super::{Default, Key, ROOT, Section, Shape, Status, sections};
use crate::config::understand::expected;
use std::fmt::Write;

const OPENING: &str = "# Configuration

<!-- Written from the schema in crates/control/src/config/schema; do not edit. To write it again:
     UPDATE_GOLDEN=1 cargo nextest run -p gatehouse-control -->

One TOML file, by default `./gatehouse.toml`. `gatehouse check` says everything that is wrong with
it at once; `gatehouse schema` prints the JSON Schema for editors. Unknown keys are errors. A key
marked *not in this version* is part of the contract and refused until it is built: no option is
accepted and does nothing.

The shortest useful file:

```toml
[listeners.web]
bind = \":8080\"

[[routes]]
upstream = { endpoints = [\"127.0.0.1:9001\", \"127.0.0.1:9002\"] }
```

## Values

| Value | Written as |
|---|---|
| Duration | `\"250ms\"`, `\"2s\"`, `\"5m\"`, `\"1h\"`, `\"1d\"`: a whole number and a unit |
| Size | `\"512B\"`, `\"16KiB\"`, `\"10MiB\"`, `\"1GiB\"`, also `kB`, `MB`, `GB`; a number is bytes |
| Rate of bytes | `\"128B/s\"`, `\"1KiB/s\"` |
| Path of a file | relative to the file it stands in |

**Environment.** `\"${NAME}\"` and `\"${NAME:-default}\"` inside any string are replaced after the file
was parsed. A string that is nothing but a reference takes the type of its key:
`workers = \"${WORKERS:-4}\"` is a number, and a list is split at commas. `$$` is a dollar. A variable
that is not set and has no default is an error.

**Patterns** are regular expressions of Rust's `regex` crate: no look-around, no back-references,
linear time. They find anywhere in the path unless they start with `^` and end with `$`.

";

/// `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = OPENING.to_owned();
    for section in sections() {
        write_section(section, &mut out);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn write_section(section: &'static Section, out: &mut String) {
    let title = match std::ptr::eq(section, &ROOT) {
        true => "Top of the file".to_owned(),
        false => format!("`{}`", section.heading),
    };
    let _ = writeln!(out, "## {title}\n\n{}\n", section.doc);
    let _ = writeln!(out, "| Key | Value | Default | What it is |\n|---|---|---|---|");
    for key in section.keys.iter().filter(|key| key.status == Status::Built) {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} For example `{}`. |",
            key.name,
            cell(&value(&key.shape)),
            cell(&default(key)),
            cell(key.doc),
            cell(key.example)
        );
    }
    let later: Vec<&Key> = section.keys.iter().filter(|key| key.status == Status::Later).collect();
    if !later.is_empty() {
        let names: Vec<String> = later.iter().map(|key| format!("`{}`", key.name)).collect();
        let _ = writeln!(out, "\n*Not in this version:* {}.", names.join(", "));
    }
    for key in section.keys {
        words(key.name, &key.shape, out);
    }
    out.push('\n');
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Duration { min, max } => {
            let show = crate::config::units::show_duration;
            format!("duration, {} to {}", show(*min), show(*max))
        }
        Shape::Bytes { min, max } => {
            let show = crate::config::units::show_size;
            format!("size, {} to {}", show(*min), show(*max))
        }
        Shape::Share => "share".to_owned(),
        Shape::ByteRate { .. } => "rate of bytes".to_owned(),
        Shape::Text { noun } => (*noun).to_owned(),
        Shape::Words(_) => "one of the words below".to_owned(),
        Shape::Table(section) => format!("table: {}", section.noun),
        Shape::Map { key, value: of } => format!("table: {key} = {}", value(of)),
        Shape::List { of } => format!("list: {}", value(of)),
        Shape::Many { of } => format!("{}, or a list", value(of)),
        Shape::Either(shapes) => shapes.iter().map(value).collect::<Vec<_>>().join("; or "),
        Shape::Flag | Shape::Count { .. } | Shape::Number { .. } | Shape::Later => expected(shape),
    }
}

fn default(key: &Key) -> String {
    match key.default {
        Default::Absent => String::new(),
        Default::Required => "required".to_owned(),
        Default::Value(value) => format!("`{value}`"),
        Default::Prose(prose) => prose.to_owned(),
    }
}

fn words(name: &str, shape: &Shape, out: &mut String) {
    let words = match shape {
        Shape::Words(words) => words,
        Shape::List { of } | Shape::Many { of } => return self::words(name, of, out),
        _ => return,
    };
    let _ = writeln!(out, "\n`{name}`:\n");
    for word in words.iter().filter(|word| word.status == Status::Built) {
        let _ = writeln!(out, "- `\"{}\"`: {}", word.text, word.doc);
    }
    let later = words.iter().filter(|word| word.status == Status::Later);
    let later: Vec<String> = later.map(|word| format!("`\"{}\"`", word.text)).collect();
    if !later.is_empty() {
        let _ = writeln!(out, "- *not in this version:* {}", later.join(", "));
    }
}

/// A text that can stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

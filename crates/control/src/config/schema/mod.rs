//! Every key of the configuration, once: its name, type, bounds, default, words and example.
//!
//! This table reads a file, refuses what is not in it, and writes `docs/configuration.md` and the
//! JSON Schema. A key that is not here does not exist; what it means is said in `lower`.

mod discovery;
mod json_schema;
mod markdown;
mod registries;
mod resilience;
mod root;
mod route;
mod tls;
mod upstream;
mod zookeeper;

pub use json_schema::json_schema;
pub use markdown::markdown;
pub(crate) use root::ROOT;

use std::time::Duration;

/// Whether a key or word can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It can.
    Built,
    /// It is part of the contract and not built yet: refused with `not in this version`.
    Later,
}

/// What stands where a key is left out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Default {
    /// Nothing.
    Absent,
    /// It may not be left out.
    Required,
    /// This value, written as TOML.
    Value(&'static str),
    /// What these words say.
    Prose(&'static str),
}

/// A word out of a closed set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) text: &'static str,
    pub(crate) status: Status,
    pub(crate) doc: &'static str,
    /// What it is called elsewhere: refused, and answered with this word.
    pub(crate) elsewhere: &'static [&'static str],
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count { min: u64, max: u64 },
    /// A number.
    Number { min: f64, max: f64 },
    /// A text; `noun` says what it is. Its meaning is checked where it is lowered.
    Text { noun: &'static str },
    /// A word out of a closed set.
    Words(&'static [Word]),
    /// `"250ms"`, `"2s"`, `"5m"`.
    Duration { min: Duration, max: Duration },
    /// `"16KiB"`, or a whole number of bytes.
    Bytes { min: u64, max: u64 },
    /// `"20%"`: a share, 0 to 100 percent.
    Share,
    /// `"128B/s"`.
    ByteRate { max: u64 },
    /// A table of these keys.
    Table(&'static Section),
    /// A table whose keys the operator chooses.
    Map { key: &'static str, value: &'static Shape },
    /// A list.
    List { of: &'static Shape },
    /// A list, or one of it alone.
    Many { of: &'static Shape },
    /// Any of these, told apart by their TOML type.
    Either(&'static [Shape]),
    /// Whatever: a key that is refused before its value is looked at.
    Later,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) status: Status,
    pub(crate) default: Default,
    /// A value, written as TOML.
    pub(crate) example: &'static str,
    pub(crate) doc: &'static str,
}

/// A table of keys.
#[derive(Debug)]
pub(crate) struct Section {
    /// How it is called in a sentence: `a route`.
    pub(crate) noun: &'static str,
    /// How it is written in a file: `[[routes]]`.
    pub(crate) heading: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
}

impl Section {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, shape: Shape, example: &'static str, doc: &'static str) -> Key {
    Key { name, shape, status: Status::Built, default: Default::Absent, example, doc }
}

const fn later(name: &'static str, doc: &'static str) -> Key {
    let (shape, status, default) = (Shape::Later, Status::Later, Default::Absent);
    Key { name, shape, status, default, example: "", doc }
}

impl Key {
    const fn required(self) -> Key {
        Key { default: Default::Required, ..self }
    }

    const fn default(self, value: &'static str) -> Key {
        Key { default: Default::Value(value), ..self }
    }

    const fn otherwise(self, prose: &'static str) -> Key {
        Key { default: Default::Prose(prose), ..self }
    }
}

const fn word(text: &'static str, doc: &'static str) -> Word {
    Word { text, status: Status::Built, doc, elsewhere: &[] }
}

const fn later_word(text: &'static str) -> Word {
    Word { text, status: Status::Later, doc: "", elsewhere: &[] }
}

impl Word {
    const fn elsewhere(self, elsewhere: &'static [&'static str]) -> Word {
        Word { elsewhere, ..self }
    }
}

const fn text(noun: &'static str) -> Shape {
    Shape::Text { noun }
}

/// From a millisecond to `max_seconds`.
const fn duration(max_seconds: u64) -> Shape {
    Shape::Duration { min: Duration::from_millis(1), max: Duration::from_secs(max_seconds) }
}

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every section, in the order of a depth-first walk from the root, each once.
pub(crate) fn sections() -> Vec<&'static Section> {
    fn walk(shape: &'static Shape, found: &mut Vec<&'static Section>) {
        match shape {
            Shape::Table(section) => visit(section, found),
            Shape::Map { value: of, .. } | Shape::List { of } | Shape::Many { of } => {
                walk(of, found);
            }
            Shape::Either(shapes) => shapes.iter().for_each(|shape| walk(shape, found)),
            Shape::Flag
            | Shape::Count { .. }
            | Shape::Number { .. }
            | Shape::Text { .. }
            | Shape::Words(_)
            | Shape::Duration { .. }
            | Shape::Bytes { .. }
            | Shape::Share
            | Shape::ByteRate { .. }
            | Shape::Later => {}
        }
    }
    fn visit(section: &'static Section, found: &mut Vec<&'static Section>) {
        if !found.iter().any(|known| std::ptr::eq(*known, section)) {
            found.push(section);
            section.keys.iter().for_each(|key| walk(&key.shape, found));
        }
    }
    let mut found = Vec::new();
    visit(&ROOT, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::{Kind, Report};
    use crate::config::source::{FileId, Place};
    use crate::config::understand::Understand;
    use toml::de::DeTable;

    /// What is wrong with `name = value` in a section, but for the keys it lacks.
    fn faults(section: &'static Section, name: &str, value: &str) -> Vec<String> {
        let text = format!("{name} = {value}\n");
        let (table, faults) = DeTable::parse_recoverable(&text);
        assert!(faults.is_empty(), "{text}: {faults:?}");
        let mut report = Report::default();
        let file = FileId(0);
        let mut understand = Understand { file, text: &text, env: &[], report: &mut report };
        understand.table(section, table.get_ref(), Place::default());
        let (problems, _) = report.finish();
        let kept = problems.into_iter().filter(|problem| problem.kind != Kind::Missing);
        kept.map(|problem| format!("{text}: {}", problem.reason)).collect()
    }

    #[test]
    fn every_example_and_every_default_is_what_its_key_takes() {
        for section in sections() {
            for key in section.keys.iter().filter(|key| key.status == Status::Built) {
                assert!(!key.doc.is_empty() && !key.example.is_empty(), "{}", key.name);
                assert_eq!(faults(section, key.name, key.example), [] as [String; 0]);
                if let Default::Value(value) = key.default {
                    assert_eq!(faults(section, key.name, value), [] as [String; 0]);
                }
            }
        }
    }

    #[test]
    fn every_key_stands_once_in_its_section() {
        for section in sections() {
            for (at, key) in section.keys.iter().enumerate() {
                let later = &section.keys[at + 1..];
                assert!(!later.iter().any(|other| other.name == key.name), "{}", key.name);
            }
        }
    }
}

//! A file as the schema understood it: every value of the type its key takes, every key known.

use super::schema::{Key, Section};
use super::source::Place;
use std::time::Duration;

/// A value that agrees with the schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Flag(bool),
    Count(u64),
    Number(f64),
    Text(Box<str>),
    Word(&'static str),
    Duration(Duration),
    Bytes(u64),
    Table(Table),
    Map(Vec<Named>),
    List(Vec<Item>),
    /// It did not agree, and that was reported.
    Broken,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// A value under a name the operator chose.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: Box<str>,
    /// Where the name stands.
    pub(crate) place: Place,
    pub(crate) item: Item,
}

/// A value under a key of the schema.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: &'static Key,
    /// Where the key stands.
    pub(crate) place: Place,
    pub(crate) item: Item,
}

/// A table of the schema.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) section: &'static Section,
    /// Its header, or its braces.
    pub(crate) place: Place,
    pub(crate) entries: Vec<Entry>,
    /// Keys that unknown ones are close to: what their absence leads to is said already.
    pub(crate) mistyped: Vec<&'static str>,
}

/// A text and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'t> {
    pub(crate) text: &'t str,
    pub(crate) place: Place,
}

impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        let of = |entry: &Entry| (entry.key.name, entry.item.value.clone());
        self.entries.iter().map(of).eq(other.entries.iter().map(of))
    }
}

impl Item {
    /// Its text, where it is one.
    pub(crate) fn text(&self) -> Option<Text<'_>> {
        match &self.value {
            Value::Text(text) => Some(Text { text, place: self.place }),
            Value::Word(text) => Some(Text { text, place: self.place }),
            _ => None,
        }
    }

    /// Its table, where it is one.
    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl Table {
    /// The entry of a key that the schema of this table has.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        debug_assert!(self.section.key(name).is_some(), "{} has no {name}", self.section.noun);
        self.entries.iter().find(|entry| entry.key.name == name)
    }

    /// Whether the key is there, understood or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Whether the key was meant to be there: it is, or one that is close to it.
    pub(crate) fn means(&self, name: &str) -> bool {
        self.has(name) || self.mistyped.contains(&name)
    }

    /// Whether the key was meant to be there and was not understood.
    pub(crate) fn is_broken(&self, name: &str) -> bool {
        let broken = self.item(name).is_some_and(|item| item.value == Value::Broken);
        broken || self.mistyped.contains(&name)
    }

    /// The value of a key.
    pub(crate) fn item(&self, name: &str) -> Option<&Item> {
        self.entry(name).map(|entry| &entry.item)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.item(name)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        match self.item(name)?.value {
            Value::Count(count) => Some(count),
            _ => None,
        }
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.item(name)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.item(name)?.value {
            Value::Duration(duration) => Some(duration),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        match self.item(name)?.value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<Text<'_>> {
        self.item(name)?.text()
    }

    pub(crate) fn word(&self, name: &str) -> Option<&'static str> {
        match self.item(name)?.value {
            Value::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.item(name)?.table()
    }

    /// The members of a list; a value that stands alone is a list of one.
    pub(crate) fn list(&self, name: &str) -> &[Item] {
        match self.item(name) {
            Some(Item { value: Value::List(items), .. }) => items,
            Some(Item { value: Value::Broken, .. }) | None => &[],
            Some(item) => std::slice::from_ref(item),
        }
    }

    /// The members of a list of texts; those that are none were reported.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = Text<'_>> {
        self.list(name).iter().filter_map(Item::text)
    }

    /// The members of a list of tables; those that are none were reported.
    pub(crate) fn tables(&self, name: &str) -> impl Iterator<Item = &Table> {
        self.list(name).iter().filter_map(Item::table)
    }

    /// The members of a map, in file order.
    pub(crate) fn map(&self, name: &str) -> &[Named] {
        match self.item(name) {
            Some(Item { value: Value::Map(named), .. }) => named,
            _ => &[],
        }
    }
}

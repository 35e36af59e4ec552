//! TOML understood by the schema: unknown keys, wrong types, bad units and words, values out of
//! bounds and references that lead nowhere are found here. What values mean is `lower`'s.

use super::env::{self, Env, RefFault};
use super::near::{nearest, one_of};
use super::problem::{Kind, Problem, Report};
use super::schema::{Default, Key, Section, Shape, Status, Word, sections};
use super::source::{FileId, Place};
use super::tree::{Entry, Item, Named, Table, Value};
use super::units::{self, UnitFault};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The longest text any key takes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Understands one file.
pub(crate) struct Understand<'a> {
    pub(crate) file: FileId,
    /// The file's text.
    pub(crate) text: &'a str,
    pub(crate) env: &'a dyn Env,
    pub(crate) report: &'a mut Report,
}

/// A value that is not what its key takes.
struct Mismatch {
    kind: Kind,
    reason: String,
    hint: Option<String>,
    /// The part of the text that is wrong, where not all of it is.
    part: Option<String>,
}

impl From<UnitFault> for Mismatch {
    fn from(fault: UnitFault) -> Mismatch {
        Mismatch { kind: Kind::BadValue, reason: fault.reason, hint: fault.hint, part: None }
    }
}

impl Understand<'_> {
    /// A table of the schema.
    pub(crate) fn table(
        &mut self,
        section: &'static Section,
        table: &DeTable<'_>,
        place: Place,
    ) -> Table {
        let mut entries = Vec::with_capacity(table.len());
        let mut mistyped: Vec<&str> = Vec::new();
        // Whether what is missing may be what is not in this version.
        let mut later = false;
        for (name, value) in table {
            let key_place = self.place(name.span());
            let Some(key) = section.key(name.get_ref()) else {
                mistyped.extend(nearest(name.get_ref(), section.keys.iter().map(|key| key.name)));
                self.report.add(unknown_key(section, name.get_ref(), key_place));
                continue;
            };
            let item = match key.status {
                Status::Built => self.value(key, &key.shape, value),
                Status::Later => {
                    later = true;
                    self.report.add(later_key(key, key_place));
                    Item { place: key_place, value: Value::Broken }
                }
            };
            entries.push(Entry { key, place: key_place, item });
        }
        entries.sort_by_key(|entry| entry.place.start);
        for key in section.keys.iter().filter(|key| matches!(key.default, Default::Required)) {
            let given = entries.iter().any(|entry| entry.key.name == key.name);
            if !given && !later && !mistyped.contains(&key.name) {
                let reason = format!("{} needs `{}`", section.noun, key.name);
                let hint = format!("add `{} = {}`", key.name, key.example);
                self.report.add(Problem::error(Kind::Missing, place, reason).hint(hint));
            }
        }
        Table { section, place, entries, mistyped }
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place { file: self.file, start: span.start as u32, end: span.end as u32 }
    }

    fn value(
        &mut self,
        key: &'static Key,
        shape: &'static Shape,
        value: &Spanned<DeValue<'_>>,
    ) -> Item {
        let place = self.place(value.span());
        let understood = match value.get_ref() {
            DeValue::String(text) => self.string(shape, text, place),
            DeValue::Array(_) | DeValue::Table(_) => return self.nested(key, shape, value, place),
            other => scalar(shape, other).ok_or_else(|| {
                let number = matches!(other, DeValue::Integer(_) | DeValue::Float(_));
                let mismatch = mismatch(shape, found(other));
                let kind =
                    if number && takes_number(shape) { Kind::BadValue } else { mismatch.kind };
                Mismatch { kind, ..mismatch }
            }),
        };
        self.item(key, place, understood)
    }

    fn item(&mut self, key: &Key, place: Place, value: Result<Value, Mismatch>) -> Item {
        let value = value.unwrap_or_else(|Mismatch { kind, reason, hint, part }| {
            let reason = match kind {
                Kind::Reference => reason,
                _ => format!("`{}`: {reason}", key.name),
            };
            let example = || format!("such as `{} = {}`", key.name, key.example);
            let hint = hint.or_else(|| (kind == Kind::WrongType).then(example));
            let place = part.map_or(place, |part| self.within(place, &part));
            self.report.add(Problem::error(kind, place, reason).hint_if(hint));
            Value::Broken
        });
        Item { place, value }
    }

    /// The place of a part of a text, where the file shows it as written.
    fn within(&self, place: Place, part: &str) -> Place {
        let text = self.text.get(place.start as usize..place.end as usize).unwrap_or("");
        match text.find(part) {
            Some(at) => {
                let start = place.start + at as u32;
                Place { start, end: start + part.len() as u32, ..place }
            }
            None => place,
        }
    }

    fn string(
        &mut self,
        shape: &'static Shape,
        text: &str,
        place: Place,
    ) -> Result<Value, Mismatch> {
        if text.len() > TEXT_BYTES_MAX {
            let reason = format!("{} bytes of text; {TEXT_BYTES_MAX} is the most", text.len());
            return Err(Mismatch { kind: Kind::BadValue, reason, hint: None, part: None });
        }
        match env::resolve(text, self.env) {
            Ok(None) => written(shape, text),
            Ok(Some(resolved)) if resolved.whole => referred(shape, &resolved.text, place),
            Ok(Some(resolved)) => written(shape, &resolved.text),
            Err(RefFault { written, reason, hint }) => {
                let (hint, part) = (Some(hint), Some(written));
                Err(Mismatch { kind: Kind::Reference, reason, hint, part })
            }
        }
    }

    fn nested(
        &mut self,
        key: &'static Key,
        shape: &'static Shape,
        value: &Spanned<DeValue<'_>>,
        place: Place,
    ) -> Item {
        let understood = match (shape, value.get_ref()) {
            (Shape::Either(shapes), of) => {
                let fits = |shape: &&Shape| match of {
                    DeValue::Table(_) => matches!(shape, Shape::Table(_) | Shape::Map { .. }),
                    _ => matches!(shape, Shape::List { .. }),
                };
                match shapes.iter().find(fits) {
                    Some(shape) => return self.nested(key, shape, value, place),
                    None => Err(mismatch(shape, found(of))),
                }
            }
            (Shape::List { of } | Shape::Many { of }, DeValue::Array(members)) => {
                Ok(Value::List(members.iter().map(|each| self.value(key, of, each)).collect()))
            }
            (Shape::Table(section), DeValue::Table(table)) => {
                Ok(Value::Table(self.table(section, table, place)))
            }
            (Shape::Map { value: of, .. }, DeValue::Table(table)) => {
                let mut named: Vec<Named> =
                    table.iter().map(|(name, value)| self.named(key, of, name, value)).collect();
                named.sort_by_key(|named| named.place.start);
                Ok(Value::Map(named))
            }
            (shape, other) => Err(mismatch(shape, found(other))),
        };
        self.item(key, place, understood)
    }

    fn named(
        &mut self,
        key: &'static Key,
        of: &'static Shape,
        name: &Spanned<toml::de::DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Named {
        let (place, item) = (self.place(name.span()), self.value(key, of, value));
        Named { name: name.get_ref().as_ref().into(), place, item }
    }
}

fn unknown_key(section: &'static Section, name: &str, place: Place) -> Problem {
    let near = nearest(name, section.keys.iter().map(|key| key.name));
    let elsewhere = || {
        let home = sections().into_iter().find(|other| other.key(name).is_some())?;
        Some(format!("`{name}` belongs to {}: {}", home.noun, home.heading))
    };
    let hint = near.map(|near| format!("did you mean `{near}`?")).or_else(elsewhere);
    let keys = format!("it has {}", one_of(section.keys.iter().map(|key| key.name)));
    let reason = format!("{} has no key `{}`", section.noun, name.escape_debug());
    Problem::error(Kind::UnknownKey, place, reason).hint(hint.unwrap_or(keys))
}

fn later_key(key: &Key, place: Place) -> Problem {
    let reason = format!("`{}` is not in this version", key.name);
    Problem::error(Kind::NotInThisVersion, place, reason).hint("take it out")
}

/// A value that is neither a string nor nested.
fn scalar(shape: &Shape, value: &DeValue<'_>) -> Option<Value> {
    if let Shape::Either(shapes) = shape {
        return shapes.iter().find_map(|shape| scalar(shape, value));
    }
    match (shape, value) {
        (Shape::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
        (Shape::Number { .. }, DeValue::Float(number)) => {
            let number: f64 = number.as_str().parse().ok()?;
            number_in(shape, number)
        }
        (shape, DeValue::Integer(digits)) => {
            let number = u64::from_str_radix(digits.as_str(), digits.radix()).ok()?;
            match *shape {
                Shape::Count { min, max } => {
                    (min..=max).contains(&number).then_some(Value::Count(number))
                }
                Shape::Bytes { min, max } => {
                    (min..=max).contains(&number).then_some(Value::Bytes(number))
                }
                Shape::Number { .. } => number_in(shape, number as f64),
                _ => None,
            }
        }
        (Shape::Many { of }, value) => scalar(of, value),
        _ => None,
    }
}

fn number_in(shape: &Shape, number: f64) -> Option<Value> {
    match *shape {
        Shape::Number { min, max } => {
            (min..=max).contains(&number).then_some(Value::Number(number))
        }
        _ => None,
    }
}

/// A string, read as what its key takes.
fn written(shape: &'static Shape, text: &str) -> Result<Value, Mismatch> {
    let bad = |reason| Mismatch { kind: Kind::BadValue, reason, hint: None, part: None };
    match *shape {
        Shape::Text { .. } => Ok(Value::Text(text.into())),
        Shape::Words(words) => one_word(words, text),
        Shape::Duration { min, max } => match units::duration(text)? {
            value if value < min || value > max => {
                let (min, max) = (units::show_duration(min), units::show_duration(max));
                Err(bad(format!("{text} is out of bounds: {min} to {max}")))
            }
            value => Ok(Value::Duration(value)),
        },
        Shape::Bytes { min, max } => match units::size(text)? {
            value if value < min || value > max => {
                let (min, max) = (units::show_size(min), units::show_size(max));
                Err(bad(format!("{text} is out of bounds: {min} to {max}")))
            }
            value => Ok(Value::Bytes(value)),
        },
        Shape::Share => Ok(Value::Number(units::share(text)?)),
        Shape::ByteRate { max } => match units::byte_rate(text)? {
            value if value > max => {
                Err(bad(format!("{text} is out of bounds: at most {}/s", units::show_size(max))))
            }
            value => Ok(Value::Bytes(value)),
        },
        Shape::Many { of } => written(of, text),
        Shape::Either(shapes) => match shapes.iter().find(|shape| takes_string(shape)) {
            Some(shape) => written(shape, text),
            None => Err(mismatch(shape, found_text(text))),
        },
        Shape::Flag
        | Shape::Count { .. }
        | Shape::Number { .. }
        | Shape::Table(_)
        | Shape::Map { .. }
        | Shape::List { .. }
        | Shape::Later => {
            let mut mismatch = mismatch(shape, found_text(text));
            if matches!(shape, Shape::List { of } if takes_string(of)) {
                mismatch.hint = Some(format!("write [\"{}\"]", text.escape_default()));
            }
            Err(mismatch)
        }
    }
}

/// The value of a reference that stands alone, read as what its key takes.
fn referred(shape: &'static Shape, text: &str, place: Place) -> Result<Value, Mismatch> {
    let number = || text.trim().parse::<u64>().ok();
    let value = match *shape {
        Shape::Flag => text.trim().parse().ok().map(Value::Flag),
        Shape::Count { min, max } => {
            number().filter(|number| (min..=max).contains(number)).map(Value::Count)
        }
        Shape::Number { .. } => {
            text.trim().parse().ok().and_then(|number| number_in(shape, number))
        }
        Shape::Bytes { min, max } => match number() {
            Some(bytes) => (min..=max).contains(&bytes).then_some(Value::Bytes(bytes)),
            None => return written(shape, text),
        },
        Shape::List { of } | Shape::Many { of } => {
            let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
            let items: Result<Vec<Item>, Mismatch> = members
                .map(|member| Ok(Item { place, value: referred(of, member, place)? }))
                .collect();
            return items.map(Value::List);
        }
        Shape::Either(shapes) => {
            let counted = shapes.iter().find(|shape| matches!(shape, Shape::Count { .. }));
            return match counted.filter(|_| number().is_some()) {
                Some(shape) => referred(shape, text, place),
                None => written(shape, text),
            };
        }
        _ => return written(shape, text),
    };
    // What the environment holds may be a secret: it is not repeated.
    value.ok_or_else(|| Mismatch {
        kind: Kind::BadValue,
        reason: format!("what the reference stands for is not {}", expected(shape)),
        hint: None,
        part: None,
    })
}

fn one_word(words: &'static [Word], text: &str) -> Result<Value, Mismatch> {
    let bad = |kind, reason, hint| Err(Mismatch { kind, reason, hint, part: None });
    let built = words.iter().filter(|word| word.status == Status::Built).map(|word| word.text);
    match words.iter().find(|word| word.text == text) {
        Some(Word { status: Status::Built, text, .. }) => Ok(Value::Word(text)),
        Some(Word { status: Status::Later, .. }) => {
            let reason = format!("\"{text}\" is not in this version");
            let hint = format!("write {}", expected(&Shape::Words(words)));
            bad(Kind::NotInThisVersion, reason, Some(hint))
        }
        None => {
            let all = expected(&Shape::Words(words));
            let reason = format!("\"{}\" is none of {all}", text.escape_debug());
            let near = called_elsewhere(words, text).or_else(|| nearest(text, built));
            let hint = near.map(|near| format!("did you mean \"{near}\"?"));
            bad(Kind::BadValue, reason, hint)
        }
    }
}

/// The word for what other programs call so.
fn called_elsewhere(words: &'static [Word], text: &str) -> Option<&'static str> {
    let plain = text.to_ascii_lowercase().replace(['_', ' '], "-");
    let called = |word: &&Word| word.elsewhere.contains(&&*plain) && word.status == Status::Built;
    words.iter().find(called).map(|word| word.text)
}

fn takes_string(shape: &Shape) -> bool {
    match shape {
        Shape::Text { .. }
        | Shape::Words(_)
        | Shape::Duration { .. }
        | Shape::Bytes { .. }
        | Shape::Share
        | Shape::ByteRate { .. } => true,
        Shape::Either(shapes) => shapes.iter().any(takes_string),
        Shape::Many { of } => takes_string(of),
        _ => false,
    }
}

fn takes_number(shape: &Shape) -> bool {
    match shape {
        Shape::Count { .. } | Shape::Number { .. } | Shape::Bytes { .. } => true,
        Shape::Either(shapes) => shapes.iter().any(takes_number),
        Shape::Many { of } => takes_number(of),
        _ => false,
    }
}

fn mismatch(shape: &Shape, found: String) -> Mismatch {
    let reason = format!("expected {}, found {found}", expected(shape));
    Mismatch { kind: Kind::WrongType, reason, hint: None, part: None }
}

/// What a shape is called in a sentence.
pub(crate) fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Flag => "true or false".to_owned(),
        Shape::Count { min, max } => format!("a whole number from {min} to {max}"),
        Shape::Number { min, max } => format!("a number from {min} to {max}"),
        Shape::Text { noun } => format!("{noun} in quotes"),
        Shape::Words(words) => {
            let built = words.iter().filter(|word| word.status == Status::Built);
            let quoted: Vec<String> = built.map(|word| format!("\"{}\"", word.text)).collect();
            one_of(quoted.iter().map(String::as_str))
        }
        Shape::Duration { .. } => "a duration in quotes".to_owned(),
        Shape::Bytes { .. } => "a size".to_owned(),
        Shape::Share => "a share in quotes".to_owned(),
        Shape::ByteRate { .. } => "a rate of bytes in quotes".to_owned(),
        Shape::Table(section) => format!("{} (a table)", section.noun),
        Shape::Map { .. } => "a table".to_owned(),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Many { of } => format!("{} or a list", expected(of)),
        Shape::Either(shapes) => {
            let each: Vec<String> = shapes.iter().map(expected).collect();
            one_of(each.iter().map(String::as_str))
        }
        Shape::Later => "nothing".to_owned(),
    }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => found_text(text),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => format!("{flag}"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Strings may hold secrets that came out of the environment: they are not repeated.
fn found_text(text: &str) -> String {
    if text.is_empty() { "an empty string".to_owned() } else { "a string".to_owned() }
}

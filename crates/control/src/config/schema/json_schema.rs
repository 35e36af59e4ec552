//! The schema as JSON Schema, draft 2020-12, for editors.

use super::{Default, Key, ROOT, Section, Shape, Status, sections};
use crate::config::json::Json;

/// What a string has to look like to stand for a value of another type.
const REFERENCE: &str = "^\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}$";
const DURATION: &str = "^([0-9]+ *(ms|s|m|h|d)|.*\\$\\{.*)$";
const SIZE: &str = "^([0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)|.*\\$\\{.*)$";
const BYTE_RATE: &str = "^([0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)/s|.*\\$\\{.*)$";
const SHARE: &str = "^([0-9]+(\\.[0-9]+)?%|.*\\$\\{.*)$";

/// The JSON Schema of a configuration file.
pub fn json_schema() -> String {
    let defs = sections().into_iter().filter(|section| !std::ptr::eq(*section, &ROOT));
    let defs = defs.map(|section| (id(section), object(section))).collect();
    let mut members = vec![
        ("$schema".to_owned(), Json::text("https://json-schema.org/draft/2020-12/schema")),
        ("title".to_owned(), Json::text("Gatehouse configuration")),
    ];
    if let Json::Object(root) = object(&ROOT) {
        members.extend(root);
    }
    members.push(("$defs".to_owned(), Json::Object(defs)));
    format!("{}\n", Json::Object(members))
}

/// A section's name among the definitions: `a-route`.
fn id(section: &Section) -> String {
    section.noun.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

fn object(section: &Section) -> Json {
    let properties = section.keys.iter().map(|key| (key.name.to_owned(), property(key)));
    let required = section.keys.iter().filter(|key| matches!(key.default, Default::Required));
    Json::object([
        ("type", Json::text("object")),
        ("description", Json::text(section.doc)),
        ("properties", Json::Object(properties.collect())),
        ("required", Json::list(required.map(|key| Json::text(key.name)))),
        ("additionalProperties", Json::Flag(false)),
    ])
}

fn property(key: &Key) -> Json {
    if key.status == Status::Later {
        return Json::object([
            ("description", Json::text(format!("Not in this version. {}", key.doc))),
            ("not", Json::object([])),
        ]);
    }
    let default = match key.default {
        Default::Value(value) => format!(" Default: {value}."),
        Default::Prose(prose) => format!(" Default: {prose}."),
        Default::Absent | Default::Required => String::new(),
    };
    let mut members = vec![("description".to_owned(), Json::text(format!("{}{default}", key.doc)))];
    if let Json::Object(shape) = shape(&key.shape) {
        members.extend(shape);
    }
    Json::Object(members)
}

fn shape(shape: &Shape) -> Json {
    let pattern = |pattern: &str| {
        Json::object([("type", Json::text("string")), ("pattern", Json::text(pattern))])
    };
    let whole = |min: u64, max: u64| {
        Json::object([
            ("type", Json::text("integer")),
            ("minimum", Json::Count(min)),
            ("maximum", Json::Count(max)),
        ])
    };
    let any = |of: Vec<Json>| Json::object([("anyOf", Json::list(of))]);
    match shape {
        Shape::Flag => {
            any(vec![Json::object([("type", Json::text("boolean"))]), pattern(REFERENCE)])
        }
        Shape::Count { min, max } => any(vec![whole(*min, *max), pattern(REFERENCE)]),
        Shape::Number { min, max } => any(vec![
            Json::object([
                ("type", Json::text("number")),
                ("minimum", Json::Number(*min)),
                ("maximum", Json::Number(*max)),
            ]),
            pattern(REFERENCE),
        ]),
        Shape::Text { .. } => Json::object([("type", Json::text("string"))]),
        Shape::Words(words) => {
            let built = words.iter().filter(|word| word.status == Status::Built);
            let names = Json::list(built.map(|word| Json::text(word.text)));
            any(vec![Json::object([("enum", names)]), pattern(REFERENCE)])
        }
        Shape::Duration { .. } => pattern(DURATION),
        Shape::Bytes { min, max } => any(vec![whole(*min, *max), pattern(SIZE)]),
        Shape::Share => pattern(SHARE),
        Shape::ByteRate { .. } => pattern(BYTE_RATE),
        Shape::Table(section) => {
            Json::object([("$ref", Json::text(format!("#/$defs/{}", id(section))))])
        }
        Shape::Map { value, .. } => Json::object([
            ("type", Json::text("object")),
            ("additionalProperties", self::shape(value)),
        ]),
        Shape::List { of } => any(vec![list(of), pattern(REFERENCE)]),
        Shape::Many { of } => any(vec![self::shape(of), list(of)]),
        Shape::Either(shapes) => any(shapes.iter().map(self::shape).collect()),
        Shape::Later => Json::object([("not", Json::object([]))]),
    }
}

fn list(of: &Shape) -> Json {
    Json::object([("type", Json::text("array")), ("items", shape(of))])
}

//! A reader of JSON and a judge of the few schema words we write: enough to hold the schema against
//! files without a crate that knows them all.

use gatehouse_control::config::Json;
use std::collections::HashMap;
use toml::de::{DeTable, DeValue};

/// A TOML text as the JSON an editor judges.
pub(crate) fn toml_value(text: &str) -> Json {
    let table = DeTable::parse(text).expect("TOML");
    table_value(table.get_ref())
}

fn table_value(table: &DeTable<'_>) -> Json {
    let member = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        (name.to_string(), value_of(value.get_ref()))
    };
    Json::Object(table.iter().map(member).collect())
}

fn value_of(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::text(text.as_ref()),
        DeValue::Integer(number) => number.as_str().parse().map_or(Json::Number(-1.0), Json::Count),
        DeValue::Float(number) => Json::Number(number.as_str().parse().expect("a number")),
        DeValue::Boolean(flag) => Json::Flag(*flag),
        DeValue::Datetime(date) => Json::text(date.to_string()),
        DeValue::Array(members) => Json::list(members.iter().map(|each| value_of(each.get_ref()))),
        DeValue::Table(table) => table_value(table),
    }
}

/// A schema.
pub(crate) struct Schema(Json);

impl Schema {
    pub(crate) fn read(text: &str) -> Schema {
        let mut rest = text.trim();
        let schema = read(&mut rest);
        assert!(rest.is_empty(), "text behind the schema: {rest}");
        Schema(schema)
    }

    pub(crate) fn faults(&self, value: &Json) -> Vec<String> {
        self.judge(&self.0, value, "")
    }

    fn judge(&self, schema: &Json, value: &Json, at: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (word, rule) in members(schema) {
            let fault = match (word.as_str(), rule) {
                ("$ref", Json::Text(reference)) => {
                    faults.extend(self.judge(self.definition(reference), value, at));
                    false
                }
                ("type", Json::Text(kind)) => !is_a(value, kind),
                ("enum", Json::List(words)) => !words.contains(value),
                ("minimum", least) => number(value) < number(least),
                ("maximum", most) => number(value) > number(most),
                ("pattern", Json::Text(pattern)) => match value {
                    Json::Text(text) => !regex::Regex::new(pattern).expect(pattern).is_match(text),
                    _ => false,
                },
                ("not", _) => true,
                ("anyOf", Json::List(rules)) => {
                    !rules.iter().any(|rule| self.judge(rule, value, at).is_empty())
                }
                ("items", rule) => {
                    if let Json::List(each) = value {
                        each.iter().for_each(|each| faults.extend(self.judge(rule, each, at)));
                    }
                    false
                }
                ("required", Json::List(names)) => {
                    let has =
                        |name: &Json| members(value).iter().any(|(n, _)| Json::text(n) == *name);
                    !names.iter().all(has)
                }
                ("properties" | "additionalProperties", _) => false,
                ("$schema" | "$defs" | "title" | "description", _) => false,
                (other, _) => panic!("the schema has a word nobody knows: {other}"),
            };
            if fault {
                faults.push(format!("{at}: {word}"));
            }
        }
        faults.extend(self.judge_members(schema, value, at));
        faults
    }

    fn judge_members(&self, schema: &Json, value: &Json, at: &str) -> Vec<String> {
        let rules: HashMap<&String, &Json> = members(schema).iter().map(|(n, v)| (n, v)).collect();
        let rule = |name: &str| rules.get(&name.to_owned()).copied();
        let properties = rule("properties").map_or(&[][..], members);
        let further = rule("additionalProperties");
        let mut faults = Vec::new();
        for (name, member) in members(value) {
            let at = format!("{at}/{name}");
            let own = properties.iter().find(|(property, _)| property == name);
            match (own, further) {
                (Some((_, rule)), _) => faults.extend(self.judge(rule, member, &at)),
                (None, Some(Json::Flag(false))) => faults.push(format!("{at}: unknown")),
                (None, Some(rule)) => faults.extend(self.judge(rule, member, &at)),
                (None, None) => {}
            }
        }
        faults
    }

    fn definition(&self, reference: &str) -> &Json {
        let name = reference.strip_prefix("#/$defs/").expect(reference);
        let all = members(&self.0).iter().find(|(word, _)| word == "$defs");
        let (_, all) = all.expect("definitions");
        &members(all).iter().find(|(own, _)| own == name).expect(reference).1
    }
}

fn members(value: &Json) -> &[(String, Json)] {
    match value {
        Json::Object(members) => members,
        _ => &[],
    }
}

fn number(value: &Json) -> f64 {
    match value {
        Json::Count(count) => *count as f64,
        Json::Number(number) => *number,
        _ => f64::NAN,
    }
}

fn is_a(value: &Json, kind: &str) -> bool {
    match kind {
        "object" => matches!(value, Json::Object(_)),
        "array" => matches!(value, Json::List(_)),
        "string" => matches!(value, Json::Text(_)),
        "boolean" => matches!(value, Json::Flag(_)),
        "integer" => matches!(value, Json::Count(_)),
        "number" => matches!(value, Json::Count(_) | Json::Number(_)),
        other => panic!("the schema has a type nobody knows: {other}"),
    }
}

/// Reads the JSON our own writer writes.
fn read(rest: &mut &str) -> Json {
    *rest = rest.trim_start();
    match rest.as_bytes()[0] {
        b'{' => Json::Object(read_list(rest, '}', |rest| {
            let Json::Text(name) = read(rest) else { panic!("a name at {rest}") };
            *rest = rest.trim_start().strip_prefix(':').expect("a colon");
            (name, read(rest))
        })),
        b'[' => Json::List(read_list(rest, ']', read)),
        b'"' => Json::Text(read_text(rest)),
        _ => {
            let end = rest.find([',', '\n', '}', ']']).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            *rest = tail;
            match word.trim() {
                "true" => Json::Flag(true),
                "false" => Json::Flag(false),
                "null" => Json::Null,
                word => match word.parse() {
                    Ok(count) => Json::Count(count),
                    Err(_) => Json::Number(word.parse().expect("a number")),
                },
            }
        }
    }
}

fn read_list<T>(rest: &mut &str, close: char, each: impl Fn(&mut &str) -> T) -> Vec<T> {
    let mut all = Vec::new();
    loop {
        *rest = rest[1..].trim_start();
        if let Some(tail) = rest.strip_prefix(close) {
            *rest = tail;
            return all;
        }
        all.push(each(rest));
        *rest = rest.trim_start();
        if let Some(tail) = rest.strip_prefix(close) {
            *rest = tail;
            return all;
        }
    }
}

fn read_text(rest: &mut &str) -> String {
    let mut text = String::new();
    let mut chars = rest[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &rest[at + 2..];
                return text;
            }
            '\\' => text.push(match chars.next().expect("an escape").1 {
                'n' => '\n',
                other => other,
            }),
            c => text.push(c),
        }
    }
    panic!("a string without an end")
}

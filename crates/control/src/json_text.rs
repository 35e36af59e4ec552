//! Reads JSON (RFC 8259) that somebody else has written: registries, node contents, files. Bounded
//! in depth; how long a text may be is its caller's to say.

use crate::config::Json;
use std::str::Chars;

/// How deep values may stand in each other.
const DEPTH_MAX: usize = 32;

/// Reads one value, and nothing behind it.
///
/// # Errors
/// What is wrong, and at which byte.
pub(crate) fn read_json(text: &str) -> Result<Json, String> {
    let mut reader = Reader { text, rest: text.chars(), depth: 0 };
    let value = reader.value();
    let value = value.and_then(|value| match reader.next_past_space() {
        None => Ok(value),
        Some(_) => Err("something stands behind its end"),
    });
    value.map_err(|why| {
        let at = reader.at();
        format!("not JSON: {why}, near byte {at}")
    })
}

/// Reads a list and nothing behind it; gives each value with the byte it begins at.
///
/// # Errors
/// What is wrong, and at which byte.
pub(crate) fn read_json_list(text: &str) -> Result<Vec<(usize, Json)>, (usize, &'static str)> {
    let mut reader = Reader { text, rest: text.chars(), depth: 0 };
    reader.list().map_err(|why| (reader.at(), why))
}

struct Reader<'a> {
    text: &'a str,
    rest: Chars<'a>,
    depth: usize,
}

type Read<T> = Result<T, &'static str>;

impl Reader<'_> {
    /// The byte that is read next.
    fn at(&self) -> usize {
        self.text.len() - self.rest.as_str().len()
    }

    fn list(&mut self) -> Read<Vec<(usize, Json)>> {
        if self.next_past_space() != Some('[') {
            return Err("it is no list: it does not begin with [");
        }
        let mut items = Vec::new();
        loop {
            match self.next_past_space().ok_or("the list does not end")? {
                ']' if items.is_empty() => break,
                first => {
                    let at = self.at() - first.len_utf8();
                    items.push((at, self.value_from(first)?));
                }
            }
            match self.next_past_space() {
                Some(',') => {}
                Some(']') => break,
                _ => return Err("a list goes on with a comma, or ends"),
            }
        }
        match self.next_past_space() {
            None => Ok(items),
            Some(_) => Err("something stands behind its end"),
        }
    }

    fn next_past_space(&mut self) -> Option<char> {
        self.rest.find(|c| !matches!(c, ' ' | '\t' | '\r' | '\n'))
    }

    fn value(&mut self) -> Read<Json> {
        match self.next_past_space() {
            Some(first) => self.value_from(first),
            None => Err("it ends too early"),
        }
    }

    fn value_from(&mut self, first: char) -> Read<Json> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it is nested too deep");
        }
        let value = match first {
            '{' => self.members(),
            '[' => self.items(),
            '"' => self.string().map(Json::Text),
            't' => self.word("rue", Json::Flag(true)),
            'f' => self.word("alse", Json::Flag(false)),
            'n' => self.word("ull", Json::Null),
            '-' | '0'..='9' => self.number(),
            _ => Err("no value begins like this"),
        };
        self.depth -= 1;
        value
    }

    fn word(&mut self, rest: &str, value: Json) -> Read<Json> {
        match rest.chars().all(|c| self.rest.next() == Some(c)) {
            true => Ok(value),
            false => Err("no such word"),
        }
    }

    /// A number whose first character was taken.
    fn number(&mut self) -> Read<Json> {
        let start = self.text.len() - self.rest.as_str().len() - 1;
        let part = |c: char| matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E');
        let after = self.rest.as_str();
        let length = after.find(|c| !part(c)).unwrap_or(after.len());
        self.rest = after[length..].chars();
        let text = &self.text[start..=start + length];
        let text = &text[..=length];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let sound = digits.starts_with(|c: char| c.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0') || digits.starts_with("0."))
            && !digits.ends_with('.');
        let value = match text.parse::<u64>() {
            Ok(count) => Some(Json::Count(count)),
            Err(_) => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Json::Number),
        };
        value.filter(|_| sound).ok_or("no number is written like this")
    }

    /// A string behind its quote.
    fn string(&mut self) -> Read<String> {
        let mut text = String::new();
        loop {
            match self.rest.next().ok_or("a string does not end")? {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                c if c < ' ' => return Err("a control character in a string"),
                c => text.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Read<char> {
        Ok(match self.rest.next().ok_or("a string does not end")? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            c @ ('"' | '\\' | '/') => c,
            'u' => {
                let unit = self.unit()?;
                let code = match unit {
                    0xD800..=0xDBFF => {
                        let low = match (self.rest.next(), self.rest.next()) {
                            (Some('\\'), Some('u')) => self.unit()?,
                            _ => return Err("half a character"),
                        };
                        let low = low.checked_sub(0xDC00).filter(|low| *low < 0x400);
                        0x10000 + ((unit - 0xD800) << 10) + low.ok_or("half a character")?
                    }
                    unit => unit,
                };
                char::from_u32(code).ok_or("half a character")?
            }
            _ => return Err("no such escape"),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Read<u32> {
        (0..4).try_fold(0, |unit, _| {
            let digit = self.rest.next().and_then(|c| c.to_digit(16));
            digit.map(|digit| unit * 16 + digit).ok_or("\\u is followed by four hex digits")
        })
    }

    fn items(&mut self) -> Read<Json> {
        let mut items = Vec::new();
        loop {
            match self.next_past_space().ok_or("a list does not end")? {
                ']' if items.is_empty() => return Ok(Json::List(items)),
                first => items.push(self.value_from(first)?),
            }
            match self.next_past_space() {
                Some(',') => {}
                Some(']') => return Ok(Json::List(items)),
                _ => return Err("a list goes on with a comma, or ends"),
            }
            if self.rest.as_str().trim_start().starts_with(']') {
                return Err("a comma before the end of a list");
            }
        }
    }

    fn members(&mut self) -> Read<Json> {
        let mut members: Vec<(String, Json)> = Vec::new();
        loop {
            match self.next_past_space() {
                Some('}') if members.is_empty() => return Ok(Json::Object(members)),
                Some('"') => {}
                _ => return Err("a member begins with its name in quotes"),
            }
            let name = self.string()?;
            if self.next_past_space() != Some(':') {
                return Err("a colon follows the name of a member");
            }
            members.push((name, self.value()?));
            match self.next_past_space() {
                Some(',') => {}
                Some('}') => return Ok(Json::Object(members)),
                _ => return Err("an object goes on with a comma, or ends"),
            }
        }
    }
}

/// Looks into values.
impl Json {
    /// The member of an object, the last of those called so.
    pub(crate) fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => {
                members.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The text of a member.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        match self.member(name)? {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let text = "{\"a\": [1, -2.5e1, true, false, null, \"\\u00e9\\ud83d\\ude00\\n\"], \"\":{}}";
        let list = vec![
            Json::Count(1),
            Json::Number(-25.0),
            Json::Flag(true),
            Json::Flag(false),
            Json::Null,
            Json::text("é😀\n"),
        ];
        let wanted = Json::object([("a", Json::List(list)), ("", Json::object([]))]);
        assert_eq!(read_json(text), Ok(wanted));
    }

    #[test]
    fn a_list_is_read_with_the_places_of_its_values() {
        let text = " [ \"a\" ,\n {\"b\":1}, [2] ] ";
        let values = [
            (3, Json::text("a")),
            (10, Json::object([("b", Json::Count(1))])),
            (19, Json::List(vec![Json::Count(2)])),
        ];
        assert_eq!(read_json_list(text), Ok(values.to_vec()));
        assert_eq!(read_json_list("[]"), Ok(vec![]));
        for (text, at) in [("{}", 1), ("[1 2]", 4), ("[1,]", 4), ("[1] x", 5), ("[\"a", 3), ("", 0)]
        {
            assert_eq!(read_json_list(text).map_err(|(at, _)| at), Err(at), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(64);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            "+1",
            "tru",
            "\"a",
            "\"\\x\"",
            "\"\\ud800\"",
            "[1 2]",
            "{a:1}",
            "1 1",
            "\"\n\"",
            "nan",
            &deep,
        ] {
            assert!(read_json(text).is_err(), "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Flag),
            any::<u64>().prop_map(Json::Count),
            ".*".prop_map(Json::Text),
        ];
        leaf.prop_recursive(4, 32, 4, |of| {
            prop_oneof![
                proptest::collection::vec(of.clone(), 0..4).prop_map(Json::List),
                proptest::collection::vec((".*", of), 0..4).prop_map(Json::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_json()) {
            prop_assert_eq!(read_json(&value.to_string()), Ok(value));
        }

        #[test]
        fn no_text_is_too_much(text in ".*") {
            let _ = read_json(&text);
        }
    }
}

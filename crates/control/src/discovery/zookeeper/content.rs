//! What a node's content says of an endpoint: nothing, JSON, or properties. It was written by
//! somebody else: whatever it is, the worst that comes of it is a message.

use crate::config::Json;
use crate::discovery::found::{Found, weight};
use crate::json_text::read_json;
use std::collections::BTreeMap;

/// Bytes of a content that are looked at; a longer one is wrong.
pub(super) const CONTENT_BYTES_MAX: usize = 64 << 10;

/// What was said of an endpoint, as names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said(pub BTreeMap<String, String>);

/// Reads a content that is not a whole instance by itself.
pub(super) fn said(content: &[u8]) -> Result<Said, String> {
    let text = text(content)?;
    match text.trim_start().starts_with('{') {
        true => match read_json(text)? {
            Json::Object(members) => Ok(Said::of_members(members)),
            _ => Err("its JSON is no object".to_owned()),
        },
        false => properties(text),
    }
}

/// A content as a text.
pub(super) fn text(content: &[u8]) -> Result<&str, String> {
    if content.len() > CONTENT_BYTES_MAX {
        return Err(format!("its content has more than {CONTENT_BYTES_MAX} bytes"));
    }
    std::str::from_utf8(content).map_err(|_| "its content is not UTF-8".to_owned())
}

/// `name = value` or `name: value`, one a line; `#` and `!` begin remarks.
fn properties(text: &str) -> Result<Said, String> {
    let mut said = Said::default();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let Some((name, value)) = line.split_once(['=', ':']) else {
            return Err(format!("line {number} of its content is no `name = value`"));
        };
        said.0.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    Ok(said)
}

impl Said {
    /// The members of a JSON object that are plain values, and those of its `metadata`.
    pub fn of_members(members: Vec<(String, Json)>) -> Said {
        let mut said = Said::default();
        for (name, value) in members {
            match value {
                Json::Object(inside) if name == "metadata" => {
                    // What stands outside is the registry's own, and goes before.
                    let inside = Said::of_members(inside).0;
                    inside.into_iter().for_each(|(name, value)| {
                        said.0.entry(name).or_insert(value);
                    });
                }
                value => {
                    if let Some(text) = plain(value) {
                        said.0.insert(name, text);
                    }
                }
            }
        }
        said
    }

    /// Puts what was said into an endpoint. `Ok(false)` where it is to be given no requests.
    ///
    /// # Errors
    /// What of it is wrong; the rest was taken.
    pub fn apply(mut self, to: &mut Found) -> Result<bool, String> {
        let given = self.0.remove("weight");
        to.zone = self.0.remove("zone").filter(|zone| !zone.is_empty()).map(Into::into);
        to.backup = match self.0.remove("backup").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.keep(to);
                return Err(format!("backup \"{}\" is not true or false", short(other)));
            }
        };
        self.keep(to);
        let Some(given) = given else { return Ok(true) };
        match given.trim().parse::<u64>() {
            Ok(0) => Ok(false),
            Ok(count) => {
                to.weight = weight(count)?;
                Ok(true)
            }
            Err(_) => Err(format!("weight \"{}\" is no whole number", short(&given))),
        }
    }

    fn keep(self, to: &mut Found) {
        to.metadata.extend(self.0.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
}

/// A JSON value that is a text by itself.
pub(super) fn plain(value: Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text),
        Json::Flag(flag) => Some(flag.to_string()),
        Json::Count(count) => Some(count.to_string()),
        Json::Number(number) => Some(number.to_string()),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

/// A text that came from elsewhere, as a message may hold it.
pub(super) fn short(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let cut: String = text.chars().take(CHARS_MAX).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", cut.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(content: &str) -> (Result<bool, String>, Found) {
        let mut found = Found::parse("10.0.0.1:80").expect("an address");
        let result = said(content.as_bytes()).and_then(|said| said.apply(&mut found));
        (result, found)
    }

    #[test]
    fn json_and_properties_say_the_same() {
        let json = r#"{"weight": 3, "zone": "a", "backup": true, "version": "1.2",
                       "metadata": {"owner": "team", "weight": 9}, "list": [1], "none": null}"#;
        let lines = "# by hand\nweight=3\nzone: a\n\nbackup = true\nversion=1.2\nowner=team\n";
        let (result, found) = applied(json);
        assert_eq!(result, Ok(true));
        assert_eq!((found.weight, found.zone.as_deref(), found.backup), (3, Some("a"), true));
        let (other, same) = applied(lines);
        assert_eq!((other, same), (result, found.clone()));
        assert_eq!(found.metadata.len(), 2);
    }

    #[test]
    fn nothing_is_no_trouble_and_a_weight_of_0_takes_it_out() {
        assert_eq!(applied("").0, Ok(true));
        assert_eq!(applied(" \n").1.weight, 1);
        assert_eq!(applied("weight=0").0, Ok(false));
        assert_eq!(applied(r#"{"weight": "0"}"#).0, Ok(false));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (content, why) in [
            ("hello", "line 1 of its content is no `name = value`"),
            ("weight=heavy", "weight \"heavy\" is no whole number"),
            ("weight=70000", "weight 70000 is not from 1 to 65535"),
            ("backup=perhaps", "backup \"perhaps\" is not true or false"),
            ("{", "not JSON: "),
            ("weight=-1", "weight \"-1\" is no whole number"),
        ] {
            let said = applied(content).0.expect_err(content);
            assert!(said.starts_with(why), "{said}");
        }
        assert!(said(&[0xff]).is_err());
        assert!(said(&[b'a'; CONTENT_BYTES_MAX + 1]).is_err());
        assert_eq!(short(&"\u{1b}[2J".repeat(40)).matches('\u{1b}').count(), 0);
    }
}

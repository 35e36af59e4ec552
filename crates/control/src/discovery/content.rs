//! What an entry of a registry says of an endpoint: its name is `host:port`, and its content is
//! nothing, JSON, properties, or the address where the name is something else.

use super::found::{Found, weight};
use crate::config::Json;
use crate::json_text::read_json;
use std::collections::BTreeMap;

/// Bytes of an entry's content.
const CONTENT_BYTES_MAX: usize = 64 << 10;

/// Where an endpoint is, as somebody has put it into a registry: whoever may write there may send
/// requests to other machines, but not into sockets of this one.
fn found(text: &str) -> Result<Found, String> {
    match text.starts_with("unix:") {
        true => Err("a registry cannot name a socket of this machine".to_owned()),
        false => Found::parse(text),
    }
}

/// The endpoint that an entry is.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn endpoint(name: &str, content: &[u8]) -> Result<Found, String> {
    if content.len() > CONTENT_BYTES_MAX {
        return Err(format!("{} bytes; {CONTENT_BYTES_MAX} is the most", content.len()));
    }
    let text = std::str::from_utf8(content).map_err(|_| "what it holds is no text")?.trim();
    if text.is_empty() {
        return found(name);
    }
    if text.starts_with('{') {
        return described(Some(name), &read_json(text)?);
    }
    // Where it is under a name of its own: `users-1` holds `10.0.0.1:80`.
    if !text.contains(['\n', '=']) && found(name).is_err() {
        return found(text);
    }
    described(Some(name), &properties(text)?)
}

/// The same of an object with `address` (or the entry's name), `weight`, `backup`, `zone` and
/// `metadata`. Members that nobody knows are somebody else's.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn described(name: Option<&str>, of: &Json) -> Result<Found, String> {
    // `Addr` is what the endpoints of etcd's own client call it.
    let written = of.text_of("address").or_else(|| of.text_of("Addr"));
    let address = written.or(name).ok_or("it has no `address`")?;
    let mut one = found(address)?;
    match of.member("weight") {
        None | Some(Json::Null) => {}
        Some(Json::Count(count)) => one.weight = weight(*count)?,
        Some(Json::Text(text)) => {
            let count = text.parse().map_err(|_| no_weight(text))?;
            one.weight = weight(count)?;
        }
        Some(other) => return Err(no_weight(&other.to_string())),
    }
    match of.member("backup") {
        None | Some(Json::Null) => {}
        Some(Json::Flag(flag)) => one.backup = *flag,
        Some(Json::Text(text)) if text == "true" || text == "false" => {
            one.backup = text == "true";
        }
        Some(_) => return Err("`backup` is neither true nor false".to_owned()),
    }
    one.zone = of.text_of("zone").filter(|zone| !zone.is_empty()).map(Into::into);
    let metadata = of.member("metadata").or_else(|| of.member("Metadata"));
    if let Some(Json::Object(members)) = metadata {
        one.metadata = metadata_of(members);
    }
    Ok(one)
}

fn no_weight(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("weight {} is no number from 1 to 65535", shown.escape_debug())
}

fn metadata_of(members: &[(String, Json)]) -> BTreeMap<Box<str>, Box<str>> {
    let text = |(name, value): &(String, Json)| {
        let value: Box<str> = match value {
            Json::Text(text) => text.as_str().into(),
            Json::Flag(_) | Json::Count(_) | Json::Number(_) => value.to_string().into(),
            Json::Null | Json::List(_) | Json::Object(_) => return None,
        };
        Some((name.as_str().into(), value))
    };
    members.iter().filter_map(text).collect()
}

/// Lines of `name=value`, as an object; `metadata.name` is a member of `metadata`.
fn properties(text: &str) -> Result<Json, String> {
    let (mut own, mut metadata) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| {
            let shown: String = line.chars().take(40).collect();
            format!("what it holds is neither JSON nor name=value: {}", shown.escape_debug())
        })?;
        let (name, value) = (name.trim_end(), Json::text(value.trim_start()));
        match name.strip_prefix("metadata.") {
            Some(name) => metadata.push((name.to_owned(), value)),
            None => own.push((name.to_owned(), value)),
        }
    }
    own.push(("metadata".to_owned(), Json::Object(metadata)));
    Ok(Json::Object(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str, content: &str) -> Result<Found, String> {
        endpoint(name, content.as_bytes())
    }

    fn full() -> Found {
        Found {
            weight: 3,
            backup: true,
            zone: Some("z1".into()),
            metadata: [("version".into(), "2".into())].into(),
            ..Found::parse("10.0.0.1:80").expect("an address")
        }
    }

    #[test]
    fn an_entry_is_an_endpoint_by_its_name_and_what_it_holds() {
        let plain = Found::parse("10.0.0.1:80");
        for (name, content) in [
            ("10.0.0.1:80", ""),
            ("10.0.0.1:80", " \n"),
            ("10.0.0.1:80", "{}"),
            ("users-1", "10.0.0.1:80"),
            ("users-1", "{\"Op\": 0, \"Addr\": \"10.0.0.1:80\", \"Metadata\": null}"),
            ("users-1", "address=10.0.0.1:80"),
            ("10.0.0.1:80", "# nothing\n"),
            ("10.0.0.1:80", "{\"weight\": null, \"other\": [1]}"),
        ] {
            assert_eq!(of(name, content), plain, "{name} {content}");
        }
        for content in [
            "{\"weight\": 3, \"backup\": true, \"zone\": \"z1\", \"metadata\": {\"version\": 2}}",
            "{\"weight\": \"3\", \"backup\": \"true\", \"zone\": \"z1\", \
             \"metadata\": {\"version\": \"2\", \"more\": {}}}",
            "weight=3\nbackup = true\nzone=z1\nmetadata.version=2",
        ] {
            assert_eq!(of("10.0.0.1:80", content), Ok(full()), "{content}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_said() {
        let long = " ".repeat(CONTENT_BYTES_MAX + 1);
        for (name, content, why) in [
            ("users-1", "", "users-1"),
            ("users-1", "{}", "users-1"),
            ("10.0.0.1:80", "{", "not JSON"),
            ("10.0.0.1:80", "{\"weight\": 0}", "weight 0"),
            ("10.0.0.1:80", "{\"weight\": 70000}", "weight 70000"),
            ("10.0.0.1:80", "{\"weight\": 1.5}", "weight 1.5"),
            ("10.0.0.1:80", "weight=many", "weight many"),
            ("10.0.0.1:80", "{\"backup\": 1}", "neither true nor false"),
            ("10.0.0.1:80", "{\"address\": \"10.0.0.1\"}", "10.0.0.1"),
            ("unix:/run/x", "", "cannot name a socket"),
            ("users-1", "unix:/run/x", "cannot name a socket"),
            ("10.0.0.1:80", "hello", "neither JSON nor name=value: hello"),
            ("10.0.0.1:80", &long, "65536 is the most"),
        ] {
            let said = of(name, content).expect_err(content);
            assert!(said.contains(why), "{name} {content}: {said}");
        }
        assert!(endpoint("10.0.0.1:80", &[0xff]).is_err());
    }

    proptest! {
        #[test]
        fn no_content_is_too_much(name in ".*", content: Vec<u8>) {
            let _ = endpoint(&name, &content);
        }

        #[test]
        fn no_text_is_too_much(content in "[{}\\[\\]\":,=a-z0-9 \\n]*") {
            let _ = of("10.0.0.1:80", &content);
        }
    }
}

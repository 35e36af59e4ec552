//! Dubbo's provider URLs: the names of nodes, percent-encoded, such as
//! `dubbo%3A%2F%2F10.0.0.1%3A20880%2Fcom.example.Users%3Fweight%3D200`.

use super::content::{Said, short};
use super::node::{Node, found, with_said};

/// What a provider that gives no weight has.
const WEIGHT_USUAL: u16 = 100;

/// Whether a name is a URL, encoded or not.
pub(super) fn is_url(name: &str) -> bool {
    name.contains("://") || decoded(name).is_some_and(|name| name.contains("://"))
}

/// Reads a provider.
pub(super) fn provider(name: &str) -> Node {
    let useless = |why: &str| Node::Useless(format!("\"{}\" {why}", short(name)));
    let Some(url) = decoded(name) else { return useless("is not percent-encoded as it should be") };
    let Some((scheme, rest)) = url.split_once("://") else { return useless("is no URL") };
    // Dubbo says so that there is nobody.
    if scheme == "empty" {
        return Node::Off;
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, service) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let mut found = match found(host) {
        Ok(found) => found,
        Err(why) => return useless(&format!("has no address: {why}")),
    };
    found.weight = WEIGHT_USUAL;
    let mut said = Said::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Values are encoded once more where they need it.
        let value = decoded(value).unwrap_or_else(|| value.to_owned());
        said.0.insert(name.to_owned(), value);
    }
    if said.0.get("enabled").is_some_and(|value| value == "false")
        || said.0.get("disabled").is_some_and(|value| value == "true")
    {
        return Node::Off;
    }
    said.0.insert("protocol".to_owned(), scheme.to_owned());
    if !service.is_empty() {
        said.0.insert("service".to_owned(), service.to_owned());
    }
    said.0.remove("backup");
    with_said(found, Ok(said))
}

/// A text without its percent-encoding; `None` where that is broken, or no text comes of it.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || (rest.next()? as char).to_digit(16);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::found::Found;

    fn endpoint(name: &str) -> Found {
        match provider(name) {
            Node::Endpoint(found, None) => found,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn providers_are_read_encoded_or_not() {
        let name = "dubbo%3A%2F%2F10.0.0.1%3A20880%2Fcom.example.Users%3Fanyhost%3Dtrue\
                    %26application%3Dusers%26weight%3D200%26zone%3Db";
        assert!(is_url(name));
        let found = endpoint(name);
        assert_eq!(format!("{:?}", found.address), "Ip(10.0.0.1:20880)");
        assert_eq!((found.weight, found.zone.as_deref()), (200, Some("b")));
        let said = |name: &str| found.metadata.get(name).map(|value| value.to_string());
        assert_eq!(said("protocol").as_deref(), Some("dubbo"));
        assert_eq!(said("service").as_deref(), Some("com.example.Users"));
        assert_eq!(said("application").as_deref(), Some("users"));
        let found = endpoint("tri://u:p@[2001:db8::1]:50051/com.example.Users");
        assert_eq!(format!("{:?}", found.address), "Ip([2001:db8::1]:50051)");
        assert_eq!(found.weight, 100);
    }

    #[test]
    fn those_that_are_off_are_left_out() {
        for query in ["weight=0", "enabled=false", "disabled=true"] {
            assert_eq!(provider(&format!("dubbo://10.0.0.1:1/x?{query}")), Node::Off, "{query}");
        }
        assert_eq!(provider("empty://0.0.0.0/x?category=providers"), Node::Off);
    }

    #[test]
    fn broken_ones_are_said() {
        let useless = |name| match provider(name) {
            Node::Useless(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(useless("dubbo%3A%2F%2").contains("percent-encoded"));
        assert!(useless("dubbo://10.0.0.1/x").contains("has no address: "));
        assert!(useless("dubbo:///x").contains("has no address: "));
    }
}

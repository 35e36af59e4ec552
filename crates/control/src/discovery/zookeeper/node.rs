//! One node: its name and content as an endpoint. The forms that registries have are told apart by
//! themselves: an address as the name, a Curator `ServiceInstance` as the content, a Dubbo URL as
//! the name.

use super::content::{Said, said, short, text};
use super::dubbo;
use crate::config::Json;
use crate::discovery::found::Found;
use crate::json_text::read_json;

/// Which of two ports counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Plain,
    Secure,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// An endpoint, and what of its content could not be used.
    Endpoint(Found, Option<String>),
    /// One that is to be given no requests.
    Off,
    /// Nothing that can be used, and why.
    Useless(String),
}

/// Reads a node.
pub(super) fn node(name: &str, content: &[u8], port: Port) -> Node {
    if dubbo::is_url(name) {
        return dubbo::provider(name);
    }
    match found(name) {
        Ok(found) => with_said(found, said(content)),
        Err(why) => instance(content, port).unwrap_or_else(|| {
            let name = short(name);
            Node::Useless(format!("\"{name}\" is no address ({why}) and its content has none"))
        }),
    }
}

/// An endpoint where a text says: whoever may write into a registry may send requests to other
/// machines, but not into sockets of this one.
pub(super) fn found(text: &str) -> Result<Found, String> {
    match text.starts_with("unix:") {
        true => Err("a registry cannot name a socket of this machine".to_owned()),
        false => Found::parse(text),
    }
}

pub(super) fn with_said(mut found: Found, said: Result<Said, String>) -> Node {
    match said.and_then(|said| said.apply(&mut found)) {
        Ok(true) => Node::Endpoint(found, None),
        Ok(false) => Node::Off,
        // The address is good: it is there, whatever else is said of it.
        Err(why) => Node::Endpoint(found, Some(why)),
    }
}

/// A content that says where the endpoint is, such as Curator's: `address`, and `port` or
/// `sslPort`.
fn instance(content: &[u8], port: Port) -> Option<Node> {
    let text = text(content).ok()?;
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let members = match read_json(text) {
        Ok(Json::Object(members)) => members,
        Ok(_) => return None,
        Err(why) => return Some(Node::Useless(format!("its content is {why}"))),
    };
    let member = |name: &str| members.iter().find(|(own, _)| own == name).map(|(_, value)| value);
    let Some(Json::Text(host)) = member("address") else { return None };
    if member("enabled") == Some(&Json::Flag(false)) {
        return Some(Node::Off);
    }
    let number = |name| match member(name) {
        Some(Json::Count(number)) => Some(*number),
        _ => None,
    };
    let number = match port {
        Port::Plain => number("port").or_else(|| number("sslPort")),
        Port::Secure => number("sslPort").or_else(|| number("port")),
    };
    let address = match number {
        Some(number) if host.contains(':') && !host.starts_with('[') => {
            format!("[{host}]:{number}")
        }
        Some(number) => format!("{host}:{number}"),
        None => host.clone(),
    };
    let found = match found(&address) {
        Ok(found) => found,
        Err(why) => {
            return Some(Node::Useless(format!("its address \"{}\": {why}", short(&address))));
        }
    };
    Some(with_said(found, Ok(payload(members))))
}

/// What an instance says besides: by itself, and in its payload, which may be an object, as Spring
/// Cloud writes it, or a text.
fn payload(members: Vec<(String, Json)>) -> Said {
    const OWN: [&str; 10] = [
        "address",
        "port",
        "sslPort",
        "enabled",
        "payload",
        "uriSpec",
        "registrationTimeUTC",
        "serviceType",
        "@class",
        "name",
    ];
    let mut rest = Vec::new();
    let mut said = Said::default();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("payload", Json::Object(inside)) => {
                let inside = inside.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
                said = Said::of_members(inside.collect());
            }
            (own, _) if OWN.contains(&own) => {}
            (_, value) => rest.push((name, value)),
        }
    }
    said.0.extend(Said::of_members(rest).0);
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(name: &str, content: &str) -> String {
        shown_by(name, content, Port::Plain)
    }

    fn shown_by(name: &str, content: &str, port: Port) -> String {
        match node(name, content.as_bytes(), port) {
            Node::Endpoint(found, wrong) => {
                let zone = found.zone.as_deref().unwrap_or("-");
                let wrong = wrong.map(|why| format!(" ({why})")).unwrap_or_default();
                format!("{:?} {} {zone}{wrong}", found.address, found.weight)
            }
            Node::Off => "off".to_owned(),
            Node::Useless(why) => why,
        }
    }

    #[test]
    fn a_name_may_be_an_address_of_any_family() {
        assert_eq!(shown("10.0.0.1:80", ""), "Ip(10.0.0.1:80) 1 -");
        assert_eq!(shown("[2001:db8::1]:80", "weight=3"), "Ip([2001:db8::1]:80) 3 -");
        assert!(shown("app.internal:80", "zone=b").starts_with("Name"));
    }

    #[test]
    fn a_content_that_is_wrong_costs_its_own_words_alone() {
        let wrong = "Ip(10.0.0.1:80) 1 - (weight \"x\" is no whole number)";
        assert_eq!(shown("10.0.0.1:80", "weight=x"), wrong);
        assert!(shown("10.0.0.1:80", "{\"weight\":").contains("(not JSON: "));
        assert_eq!(shown("10.0.0.1:80", "{\"weight\": 0}"), "off");
    }

    #[test]
    fn a_name_that_is_no_address_is_said_with_what_it_is() {
        let said = shown("worker-\u{1b}1", "");
        assert!(said.starts_with("\"worker-\\u{1b}1\" is no address ("), "{said}");
        assert!(said.ends_with(") and its content has none"), "{said}");
    }

    #[test]
    fn curators_instances_are_read() {
        let id = "4b0e5b45-2f5f-4f4b-9d2e-3a9b0a7d1b1f";
        let with = |more: &str| {
            format!(
                r#"{{"name":"users","id":"{id}","address":"10.0.0.9","port":8080,"sslPort":8443,
                   "payload":null,"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC",
                   "uriSpec":null{more}}}"#
            )
        };
        assert_eq!(shown(id, &with("")), "Ip(10.0.0.9:8080) 1 -");
        assert_eq!(shown_by(id, &with(""), Port::Secure), "Ip(10.0.0.9:8443) 1 -");
        assert_eq!(shown(id, &with(",\"enabled\":false")), "off");
        let spring = r#"{"name":"users","id":"1","address":"10.0.0.9","port":80,"sslPort":null,
            "payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
            "id":"users-1","name":"users","metadata":{"weight":"7","zone":"b"}},"enabled":true}"#;
        assert_eq!(shown("1", spring), "Ip(10.0.0.9:80) 7 b");
        let v6 = r#"{"address":"2001:db8::1","port":80}"#;
        assert_eq!(shown("1", v6), "Ip([2001:db8::1]:80) 1 -");
        assert!(shown("1", r#"{"address":"10.0.0.9"}"#).starts_with("its address \"10.0.0.9\": "));
        assert!(shown("1", "{\"address\":").starts_with("its content is not JSON"));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_registry_is_read_without_a_panic(name: String, content: Vec<u8>) {
            let read = node(&name, &content, Port::Plain);
            if let Node::Useless(why) = read {
                prop_assert!(!why.chars().any(char::is_control), "{why:?}");
            }
        }

        #[test]
        fn whatever_looks_like_a_form_is_read_without_a_panic(
            name in "(dubbo%3A%2F%2F|tri://)?[a-z0-9.:%\\[\\]/?&=]{0,40}",
            content in "(\\{\"(address|port|weight)\":)?[\\{\\}\\[\\]\",:a-z0-9 ]{0,60}\\}?",
        ) {
            let read = node(&name, content.as_bytes(), Port::Secure);
            if let Node::Endpoint(found, _) = read {
                prop_assert!(found.weight > 0);
            }
        }
    }
}

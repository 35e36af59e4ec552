//! Whom to ask, and what.

use std::net::SocketAddr;

use super::answer::Expected;
use crate::secured::Security;

/// A request as it is to be sent. Its parts have been checked: nothing here looks for line breaks.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// Host and port, as in the URL.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Names and values; a `host` among them takes the place of the authority.
    pub fields: &'a [(String, String)],
    /// The body; with it comes a Content-Length.
    pub body: &'a [u8],
}

/// Whom to ask, and what.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) name: String,
    pub(super) to: SocketAddr,
    pub(super) request: Vec<u8>,
    pub(super) expected: Expected,
    pub(super) security: Option<Security>,
}

impl Target {
    /// A target under the name it is to have in the report.
    #[must_use]
    pub fn new(name: &str, to: SocketAddr, message: &Message<'_>) -> Self {
        let expected = if message.method == "HEAD" { Expected::HeadOnly } else { Expected::Body };
        let request = written(message);
        Self { name: name.to_owned(), to, request, expected, security: None }
    }

    /// The same, spoken to under TLS.
    #[must_use]
    pub fn secured(self, security: Security) -> Self {
        Self { security: Some(security), ..self }
    }
}

fn written(message: &Message<'_>) -> Vec<u8> {
    let Message { method, authority, target, fields, body } = *message;
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let named = |name: &str| fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut add = |name: &str, value: &str| {
        for part in [name, ": ", value, "\r\n"] {
            head.push_str(part);
        }
    };
    if !named("host") {
        add("host", authority);
    }
    for (name, value) in fields {
        add(name, value);
    }
    // A method that usually has a body says so when it has none (RFC 9110, section 8.6).
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        add("content-length", &body.len().to_string());
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Message<'_> =
        Message { method: "GET", authority: "h:1", target: "/a?b", fields: &[], body: b"" };

    #[test]
    fn a_request_has_a_host_and_says_how_long_its_body_is() {
        assert_eq!(written(&PLAIN), b"GET /a?b HTTP/1.1\r\nhost: h:1\r\n\r\n");
        let fields = [("host".to_owned(), "x".to_owned()), ("a".to_owned(), "b".to_owned())];
        let message = Message { method: "PUT", fields: &fields, body: b"xyz", ..PLAIN };
        let expected = b"PUT /a?b HTTP/1.1\r\nhost: x\r\na: b\r\ncontent-length: 3\r\n\r\nxyz";
        assert_eq!(written(&message), expected);
        let empty = Message { method: "POST", ..PLAIN };
        assert!(written(&empty).ends_with(b"content-length: 0\r\n\r\n"));
    }
}

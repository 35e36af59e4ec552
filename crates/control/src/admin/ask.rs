//! What a request asks of the admin interface, and whether it may.
//!
//! Nothing is changed by GET. A browser says where a page came from (`Origin`, RFC 6454 section 7);
//! a change that a page of another origin asks for is refused, and so is every host that is no
//! loopback name, so that no page can reach this through a name of its own.

use crate::config::duration;
use crate::registry::Duty;
use crate::steer::orders::{Cause, Order};
use crate::steer::trial::{CONFIRM_MAX, CONFIRM_MIN};
use gatehouse_core::message::{Method, RequestHead};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What is asked for.
#[derive(Debug)]
pub(super) enum Ask {
    Index,
    Metrics,
    Health,
    Status,
    /// Whether a drained endpoint is empty.
    Drain {
        upstream: String,
        endpoint: String,
    },
    /// Something the control thread does.
    Order(Order),
}

/// Why it is not answered: a status and a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied(pub u16, pub String, pub &'static str);

/// What may be asked for.
pub(super) const INDEX: &str = "GET /healthz\nGET /metrics\nGET /status\nGET /diff\nPOST /reload\n\
                                POST /apply?file=&confirm=60s\nPOST /confirm\n\
                                GET, POST /drain?upstream=&endpoint=\n\
                                POST /undrain?upstream=&endpoint=\n\
                                POST /discovery/accept?upstream=\n";

/// Understands a request.
pub(super) fn ask(head: &RequestHead) -> Result<Ask, Denied> {
    let host = String::from_utf8_lossy(head.text(head.host)).into_owned();
    if !is_loopback(&host) {
        let text = format!("host {host} is not a loopback name; ask by 127.0.0.1 or localhost");
        return Err(Denied(421, text, ""));
    }
    let path = String::from_utf8_lossy(head.path_text()).into_owned();
    let allow = match &*path {
        "/" | "/metrics" | "/healthz" | "/status" | "/diff" => "GET, HEAD",
        "/drain" => "GET, HEAD, POST",
        "/reload" | "/apply" | "/confirm" | "/undrain" | "/discovery/accept" => "POST",
        _ => {
            let text = "not here; see /".to_owned();
            return Err(Denied(404, text, ""));
        }
    };
    let posted = head.method() == Method::Post;
    let right = match head.method() {
        Method::Get | Method::Head => allow.starts_with("GET"),
        Method::Post => allow.ends_with("POST"),
        _ => false,
    };
    if !right {
        return Err(Denied(405, format!("{path} is asked by {allow}"), allow));
    }
    if posted {
        own_origin(head)?;
    }
    let query = Query(head.query.map(|query| head.text(query)).unwrap_or_default());
    let set = |duty| -> Result<Ask, Denied> {
        let upstream = query.need("upstream")?;
        let endpoint = query.need("endpoint")?;
        Ok(Ask::Order(Order::Duty { upstream, endpoint, duty }))
    };
    match &*path {
        "/" => Ok(Ask::Index),
        "/metrics" => Ok(Ask::Metrics),
        "/healthz" => Ok(Ask::Health),
        "/status" => Ok(Ask::Status),
        "/diff" => Ok(Ask::Order(Order::Diff(query.find("file").map(PathBuf::from)))),
        "/reload" => Ok(Ask::Order(Order::Reload(Cause::Admin))),
        "/confirm" => Ok(Ask::Order(Order::Confirm)),
        "/apply" => {
            let (file, confirm) = (query.need("file")?.into(), query.confirm()?);
            Ok(Ask::Order(Order::Apply { file, confirm }))
        }
        "/discovery/accept" => Ok(Ask::Order(Order::AcceptFound(query.need("upstream")?))),
        "/drain" if posted => set(Duty::Off),
        "/drain" => {
            let (upstream, endpoint) = (query.need("upstream")?, query.need("endpoint")?);
            Ok(Ask::Drain { upstream, endpoint })
        }
        _ => set(Duty::On),
    }
}

/// Refuses what a page of another origin sends.
fn own_origin(head: &RequestHead) -> Result<(), Denied> {
    let own = [b"http://", head.text(head.authority)].concat();
    for origin in head.fields.named(b"origin") {
        if !origin.eq_ignore_ascii_case(&own) {
            let text = format!("a page of {} may not change this", String::from_utf8_lossy(origin));
            return Err(Denied(403, text, ""));
        }
    }
    for site in head.fields.named(b"sec-fetch-site") {
        if site != b"same-origin" && site != b"none" {
            return Err(Denied(403, "a page of another site may not change this".to_owned(), ""));
        }
    }
    Ok(())
}

struct Query<'a>(&'a [u8]);

impl Query<'_> {
    fn find(&self, name: &str) -> Option<String> {
        self.0.split(|byte| *byte == b'&').find_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (own, value) = (&pair[..at], &pair[at + 1..]);
            (own == name.as_bytes()).then(|| decoded(value))
        })
    }

    fn need(&self, name: &str) -> Result<String, Denied> {
        let value = self.find(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Denied(400, format!("say which: ?{name}=..."), ""))
    }
}

impl Query<'_> {
    fn confirm(&self) -> Result<Option<Duration>, Denied> {
        let Some(text) = self.find("confirm") else { return Ok(None) };
        let confirm = duration(&text).map_err(|fault| Denied(400, fault.reason, ""))?;
        if !(CONFIRM_MIN..=CONFIRM_MAX).contains(&confirm) {
            let text = format!("confirm={text}: write 1s to 1h");
            return Err(Denied(400, text, ""));
        }
        Ok(Some(confirm))
    }
}

/// Percent-decoded; a `%` without two hex digits is a `%`.
fn decoded(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = &tail[2..];
            }
            _ => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("example.com", false),
            ("127.0.0.1.example.com", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Query(b"endpoint=http%3A%2F%2F10.0.0.1%2Fbase&upstream=a%zz");
        assert_eq!(query.find("endpoint").as_deref(), Some("http://10.0.0.1/base"));
        assert_eq!(query.find("upstream").as_deref(), Some("a%zz"));
        assert_eq!(query.find("stream"), None);
    }
}

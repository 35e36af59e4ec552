//! Who asked, for whom, over what: the forwarding fields (RFC 7239, and the `X-Forwarded-*` that
//! came before it).
//!
//! What a client writes into them is believed only behind a trusted proxy; otherwise it never
//! reaches an upstream.

use crate::client::Client;
use gatehouse_core::message::{Fields, Known, RequestHead, Span, tokens};
use std::net::IpAddr;
use std::ops::Range;

/// The client's address as text: the peer's, or behind a trusted proxy the nearest one that is
/// no trusted proxy itself.
pub(crate) fn client_text<'a>(client: &'a Client, head: &'a RequestHead) -> &'a [u8] {
    let own = client.peer_text.bytes();
    if !client.trusted {
        return own;
    }
    let mut nearest = own;
    for value in head.fields.all(Known::XForwardedFor) {
        for hop in tokens(value) {
            match address_of(hop) {
                Some((_, address)) if client.trusts(address) => {}
                Some((text, _)) => nearest = text,
                // A trusted proxy did not know who spoke to it: what stands before is hearsay.
                None => nearest = own,
            }
        }
    }
    nearest
}

/// A hop's address, without the port that some proxies write behind it.
fn address_of(hop: &[u8]) -> Option<(&[u8], IpAddr)> {
    let parse = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<IpAddr>().ok();
    if let Some(address) = parse(hop) {
        return Some((hop, address));
    }
    let text = match hop.strip_prefix(b"[") {
        Some(rest) => rest.split(|byte| *byte == b']').next()?,
        None => hop.split(|byte| *byte == b':').next()?,
    };
    parse(text).map(|address| (text, address))
}

/// Writes the forwarding fields of one request. `authority` stands in the head's own buffer.
pub(crate) fn write(client: &Client, fields: &mut Fields, authority: Span) {
    let forwarding = [
        Known::XForwardedFor,
        Known::XForwardedProto,
        Known::XForwardedHost,
        Known::XForwardedOther,
        Known::Forwarded,
    ];
    if !client.trusted && forwarding.into_iter().any(|known| fields.has(known)) {
        forwarding.into_iter().for_each(|known| fields.remove(known));
    }
    let peer = client.peer_text.bytes();
    let host = authority.start as usize..authority.end as usize;
    fields.join(Known::XForwardedFor, b"X-Forwarded-For: ", |line| line.extend_from_slice(peer));
    if !fields.has(Known::XForwardedProto) {
        let scheme = |line: &mut Vec<u8>| line.extend_from_slice(client.scheme().as_bytes());
        fields.append_known(Known::XForwardedProto, b"X-Forwarded-Proto: ", scheme);
    }
    if !fields.has(Known::XForwardedHost) && !host.is_empty() {
        let own = |line: &mut Vec<u8>| line.extend_from_within(host.clone());
        fields.append_known(Known::XForwardedHost, b"X-Forwarded-Host: ", own);
    }
    fields.join(Known::Forwarded, b"Forwarded: ", |line| write_element(client, line, host));
}

/// `for=…;proto=…;host=…`.
fn write_element(client: &Client, line: &mut Vec<u8>, host: Range<usize>) {
    let peer = client.peer_text.bytes();
    let (before, after): (&[u8], &[u8]) = match client.ip() {
        Some(IpAddr::V4(_)) => (b"for=", b""),
        Some(IpAddr::V6(_)) => (b"for=\"[", b"]\""),
        None => (b"for=_", b""),
    };
    line.extend_from_slice(before);
    line.extend_from_slice(peer);
    line.extend_from_slice(after);
    line.extend_from_slice(b";proto=");
    line.extend_from_slice(client.scheme().as_bytes());
    if !host.is_empty() {
        line.extend_from_slice(b";host=\"");
        line.extend_from_within(host);
        line.push(b'"');
    }
}

//! Who asked, for whom, over what: the forwarding fields (RFC 7239, and the `X-Forwarded-*` that
//! came before it).
//!
//! What a client writes into them is believed only behind a trusted proxy; otherwise it never
//! reaches an upstream.

use crate::client::Client;
use gatehouse_core::message::{Fields, Known, RequestHead, Span, tokens};
use std::net::IpAddr;

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

/// Writes the forwarding fields of one request.
pub(crate) fn write(client: &Client, fields: &mut Fields, authority: Span) {
    let peer = client.peer_text.bytes();
    if client.trusted {
        fields.join(Known::XForwardedFor, b"X-Forwarded-For", peer);
        if !fields.has(Known::XForwardedProto) {
            fields.append(b"X-Forwarded-Proto", b"http");
        }
        if !fields.has(Known::XForwardedHost) && !authority.is_empty() {
            fields.append_copy(b"X-Forwarded-Host", authority);
        }
    } else {
        let forwarding = [
            Known::XForwardedFor,
            Known::XForwardedProto,
            Known::XForwardedHost,
            Known::XForwardedOther,
            Known::Forwarded,
        ];
        if forwarding.into_iter().any(|known| fields.has(known)) {
            forwarding.into_iter().for_each(|known| fields.remove(known));
        }
        fields.append(b"X-Forwarded-For", peer);
        fields.append(b"X-Forwarded-Proto", b"http");
        if !authority.is_empty() {
            fields.append_copy(b"X-Forwarded-Host", authority);
        }
    }
    write_forwarded(client, fields, authority);
}

/// `Forwarded: for=…;proto=…;host=…`, behind what a trusted proxy has written.
fn write_forwarded(client: &Client, fields: &mut Fields, authority: Span) {
    let peer = client.peer_text.bytes();
    let mut element = [0_u8; 320];
    let mut used = 0;
    let mut put = |text: &[u8]| {
        if let Some(room) = element.get_mut(used..used + text.len()) {
            room.copy_from_slice(text);
            used += text.len();
        }
    };
    match client.ip() {
        Some(IpAddr::V4(_)) => {
            put(b"for=");
            put(peer);
        }
        Some(IpAddr::V6(_)) => {
            put(b"for=\"[");
            put(peer);
            put(b"]\"");
        }
        None => put(b"for=unknown"),
    }
    put(b";proto=http");
    let host = authority.of(fields.bytes());
    if !host.is_empty() && host.len() < 256 {
        put(b";host=\"");
        put(host);
        put(b"\"");
    }
    fields.join(Known::Forwarded, b"Forwarded", &element[..used]);
}

//! What a message loses from one connection to the next (RFC 9110 section 7.6.1).

use gatehouse_core::message::{Fields, Known, lists_token, tokens};

/// Whether a message may still ask to leave HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// It may: `Upgrade` stays, and whoever calls puts a `Connection` back.
    Keep,
    /// It may not.
    Drop,
}

/// Takes out hop-by-hop fields, and what `Connection` lists. Fields that frame, route, forward
/// or authenticate stay, whatever it lists.
pub(crate) fn strip(fields: &mut Fields, upgrade: Upgrade) {
    const HOP: [Known; 5] = [
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::Te,
        Known::TransferEncoding,
    ];
    if HOP.into_iter().any(|known| fields.has(known)) {
        strip_connection(fields);
        HOP.into_iter().for_each(|known| fields.remove(known));
    }
    if upgrade == Upgrade::Drop && fields.has(Known::Upgrade) {
        fields.remove(Known::Upgrade);
        fields.remove_named(b"http2-settings");
    }
}

/// Takes out what `Connection` lists.
fn strip_connection(fields: &mut Fields) {
    let named = |fields: &Fields, name: &[u8]| {
        fields.all(Known::Connection).any(|value| lists_token(value, name))
    };
    let plain = |value: &[u8]| {
        tokens(value).all(|token| {
            [&b"close"[..], b"keep-alive", b"upgrade"]
                .iter()
                .any(|word| token.eq_ignore_ascii_case(word))
        })
    };
    if !fields.has(Known::Connection) || fields.all(Known::Connection).all(plain) {
        return;
    }
    // Rare: a few allocations, bounded by the head's size.
    let listed: Vec<Vec<u8>> = fields
        .iter()
        .filter(|(name, _)| named(fields, name) && !survives(Known::of(name)))
        .map(|(name, _)| name.to_vec())
        .collect();
    listed.iter().for_each(|name| fields.remove_named(name));
}

/// End-to-end fields that `Connection` may not take out.
fn survives(known: Known) -> bool {
    matches!(
        known,
        Known::Host
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Connection
            | Known::Upgrade
            | Known::Expect
            | Known::Via
            | Known::Forwarded
            | Known::XForwardedFor
            | Known::XForwardedProto
            | Known::XForwardedHost
            | Known::XForwardedOther
            | Known::Authorization
            | Known::ProxyAuthorization
            | Known::Cookie
            | Known::SetCookie
            | Known::Date
            | Known::ContentType
    )
}

//! Names of fields the gateway acts on, and what may stand in a name.

/// A field name the gateway acts on; everything else is [`Known::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the field of that name")]
pub enum Known {
    Other,
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    Upgrade,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    Via,
    Forwarded,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    /// Any other `X-Forwarded-*`, `X-Real-IP`, `Client-Cert*` (RFC 9440) and `X-Client-Cert-*`:
    /// believed only behind a trusted proxy.
    XForwardedOther,
    Authorization,
    ProxyAuthorization,
    Cookie,
    SetCookie,
    Date,
    Server,
    Accept,
    UserAgent,
    Referer,
    ContentType,
    ProxyStatus,
    SecWebSocketKey,
}

impl Known {
    /// Which field `name` is, whatever its case.
    pub fn of(name: &[u8]) -> Known {
        let Some(first) = name.first() else { return Known::Other };
        match (name.len(), first | 0x20) {
            (2, b't') if same_word(name, b"te") => Known::Te,
            (3, b'v') if same_word(name, b"via") => Known::Via,
            (4, b'h') if same_word(name, b"host") => Known::Host,
            (4, b'd') if same_word(name, b"date") => Known::Date,
            (6, b'a') if same_word(name, b"accept") => Known::Accept,
            (6, b'e') if same_word(name, b"expect") => Known::Expect,
            (6, b'c') if same_word(name, b"cookie") => Known::Cookie,
            (6, b's') if same_word(name, b"server") => Known::Server,
            (7, b'u') if same_word(name, b"upgrade") => Known::Upgrade,
            (7, b't') if same_word(name, b"trailer") => Known::Trailer,
            (7, b'r') if same_word(name, b"referer") => Known::Referer,
            (9, b'f') if same_word(name, b"forwarded") => Known::Forwarded,
            (10, b'c') if same_word(name, b"connection") => Known::Connection,
            (10, b'k') if same_word(name, b"keep-alive") => Known::KeepAlive,
            (10, b's') if same_word(name, b"set-cookie") => Known::SetCookie,
            (10, b'u') if same_word(name, b"user-agent") => Known::UserAgent,
            (11, b'c') if same_word(name, b"client-cert") => Known::XForwardedOther,
            (12, b'c') if same_word(name, b"content-type") => Known::ContentType,
            (12, b'p') if same_word(name, b"proxy-status") => Known::ProxyStatus,
            (13, b'a') if same_word(name, b"authorization") => Known::Authorization,
            (14, b'c') if same_word(name, b"content-length") => Known::ContentLength,
            (16, b'p') if same_word(name, b"proxy-connection") => Known::ProxyConnection,
            (17, b't') if same_word(name, b"transfer-encoding") => Known::TransferEncoding,
            (17, b'c') if same_word(name, b"client-cert-chain") => Known::XForwardedOther,
            (17, b's') if same_word(name, b"sec-websocket-key") => Known::SecWebSocketKey,
            (19, b'p') if same_word(name, b"proxy-authorization") => Known::ProxyAuthorization,
            (_, b'x') => Known::of_x(name),
            _ => Known::Other,
        }
    }

    fn of_x(name: &[u8]) -> Known {
        const PREFIX: &[u8; 12] = b"x-forwarded-";
        const CLIENT: &[u8; 14] = b"x-client-cert-";
        let client = name.get(..CLIENT.len()).is_some_and(|start| same_word(start, CLIENT));
        if same_word(name, b"x-real-ip") || client {
            return Known::XForwardedOther;
        }
        match name.split_at_checked(PREFIX.len()) {
            Some((start, rest)) if same_word(start, PREFIX) => match rest {
                rest if same_word(rest, b"for") => Known::XForwardedFor,
                rest if same_word(rest, b"proto") => Known::XForwardedProto,
                rest if same_word(rest, b"host") => Known::XForwardedHost,
                _ => Known::XForwardedOther,
            },
            _ => Known::Other,
        }
    }

    pub(super) const fn bit(self) -> u64 {
        1 << (self as u8)
    }

    /// Whether every byte of `text` may stand in a token (RFC 9110 section 5.6.2).
    pub fn is_token(text: &[u8]) -> bool {
        classes(text) & NO_TOKEN == 0
    }
}

/// Whether `name` is `word`, any case; `word` is lower-case letters, digits and dashes. Its length
/// is a constant, so that the compiler compares many bytes at a time: a name is looked at for every
/// field of every message. Only where the word has a letter (bit 6) does setting bit 5 make one of
/// both cases; what is no letter has to be the same, so that no name but a token is ever a word.
#[inline(always)]
fn same_word<const N: usize>(name: &[u8], word: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    let mut different = 0;
    for at in 0..N {
        different |= (name[at] | (word[at] & 0x40) >> 1) ^ word[at];
    }
    different == 0
}

/// What may stand in a name (RFC 9110 section 5.6.2): a bit for what may not, one for underscores.
const NAME_CLASS: [u8; 256] = {
    let mut table = [NO_TOKEN; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = 0;
        }
        byte += 1;
    }
    let more = b"!#$%&'*+-.^`|~";
    let mut at = 0;
    while at < more.len() {
        table[more[at] as usize] = 0;
        at += 1;
    }
    table[b'_' as usize] = UNDERSCORE;
    table
};
pub(super) const NO_TOKEN: u8 = 1;
pub(super) const UNDERSCORE: u8 = 2;

/// The classes of all bytes of a name.
#[inline]
pub(super) fn classes(name: &[u8]) -> u8 {
    name.iter().fold(0, |all, byte| all | NAME_CLASS[usize::from(*byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_only_whole() {
        for (name, known) in [
            (&b"HOST"[..], Known::Host),
            (b"Content-Length", Known::ContentLength),
            (b"content_length", Known::Other),
            (b"content\rlength", Known::Other),
            (b"transfer-ENCODING", Known::TransferEncoding),
            (b"transfer-encodinh", Known::Other),
            (b"Hos", Known::Other),
            (b"Hostx", Known::Other),
            (b"te", Known::Te),
            (b"X-REAL-ip", Known::XForwardedOther),
            (b"proxy-authorization", Known::ProxyAuthorization),
            (b"Client-Cert", Known::XForwardedOther),
            (b"client-cert-chain", Known::XForwardedOther),
            (b"X-Client-Cert-SHA256", Known::XForwardedOther),
            (b"x-client-cert", Known::Other),
        ] {
            assert_eq!(Known::of(name), known);
        }
    }

    #[test]
    fn forwarding_fields_are_known_by_their_prefix() {
        assert_eq!(Known::of(b"X-FORWARDED-for"), Known::XForwardedFor);
        assert_eq!(Known::of(b"x-forwarded-port"), Known::XForwardedOther);
        assert_eq!(Known::of(b"x-real-ip"), Known::XForwardedOther);
        assert_eq!(Known::of(b"x-forward"), Known::Other);
    }
}

//! One exchange as a line of the access log. Written by hand rather than by `format!`: a line a
//! request is most of what logging costs.

use crate::client::Client;
use crate::date::Calendar;
use crate::forwarded::client_text;
use crate::hedge::Which;
use crate::trace::Trace;
use gatehouse_core::message::{Known, RequestHead, Version};
use gatehouse_core::moment::Moment;

/// What a line is made of.
pub(crate) struct Line<'a> {
    pub client: &'a Client,
    pub head: &'a RequestHead,
    pub trace: &'a Trace,
    pub ended: Moment,
    pub calendar: &'a Calendar,
}

impl Line<'_> {
    /// One JSON object.
    pub fn json(&self, out: &mut Vec<u8>) {
        let Line { client, head, trace, ended, calendar } = self;
        out.reserve(1024);
        out.extend_from_slice(b"{\"time\":\"");
        calendar.write_rfc3339(*ended, out);
        out.extend_from_slice(b"\",\"id\":\"");
        put_hex(out, trace.id);
        out.push(b'"');
        put_text(out, b",\"client\":\"", client_text(client, head));
        if let Some(tls) = client.io.stream.tls() {
            put_text(out, b",\"tls\":\"", tls.version.as_bytes());
            put_text(out, b",\"cipher\":\"", tls.cipher.as_bytes());
            if let Some(name) = &tls.name {
                put_text(out, b",\"sni\":\"", name.as_bytes());
            }
        }
        put_text(out, b",\"method\":\"", head.text(head.method_text));
        put_text(out, b",\"host\":\"", head.text(head.authority));
        put_text(out, b",\"path\":\"", head.text(head.raw_path));
        if let Some(query) = head.query {
            put_text(out, b",\"query\":\"", head.text(query));
        }
        put_number(out, b",\"status\":", trace.status.into());
        put_millis(out, b",\"duration_ms\":", ended.micros_since(trace.started));
        if let Some(answered) = trace.answered {
            let waited = answered.micros_since(trace.read.unwrap_or(trace.started));
            put_millis(out, b",\"upstream_ms\":", waited);
        }
        put_number(out, b",\"received\":", trace.received_bytes);
        put_number(out, b",\"sent\":", trace.sent_bytes);
        put_path(trace, out);
        put_failure(trace, out);
        if let Some(agent) = head.fields.get(Known::UserAgent) {
            put_text(out, b",\"user_agent\":\"", agent);
        }
        out.extend_from_slice(b"}\n");
    }

    /// The combined format of Apache and nginx.
    pub fn combined(&self, out: &mut Vec<u8>) {
        let Line { client, head, trace, ended, calendar } = self;
        out.extend_from_slice(client_text(client, head));
        out.extend_from_slice(b" - - [");
        calendar.write_combined(*ended, out);
        out.extend_from_slice(b"] \"");
        escape_hex(out, head.text(head.method_text));
        out.push(b' ');
        escape_hex(out, head.text(head.raw_path));
        if let Some(query) = head.query {
            out.push(b'?');
            escape_hex(out, head.text(query));
        }
        let version: &[u8] = match head.version {
            Version::Http10 => b" HTTP/1.0\" ",
            Version::Http11 => b" HTTP/1.1\" ",
            Version::Http2 => b" HTTP/2.0\" ",
        };
        put_number(out, version, trace.status.into());
        put_number(out, b" ", trace.sent_bytes);
        out.extend_from_slice(b" \"");
        escape_hex(out, head.fields.get(Known::Referer).unwrap_or(b"-"));
        out.extend_from_slice(b"\" \"");
        escape_hex(out, head.fields.get(Known::UserAgent).unwrap_or(b"-"));
        out.extend_from_slice(b"\"\n");
    }
}

/// Route, upstream and endpoint, as far as the exchange got.
pub(crate) fn put_path(trace: &Trace, out: &mut Vec<u8>) {
    let Some(view) = &trace.view else { return };
    if let Some(route) = trace.route {
        put_text(out, b",\"route\":\"", view.plan.route(route).name.as_bytes());
    }
    if let Some(upstream) = trace.upstream {
        put_text(out, b",\"upstream\":\"", view.plan.upstream(upstream).name.as_bytes());
        if let Some(endpoint) = trace.endpoint {
            let of = match &trace.renewed {
                None => view.upstream(upstream),
                Some(renewed) => renewed.view.upstream(renewed.upstream),
            };
            let endpoint = of.endpoints.get(endpoint);
            put_text(out, b",\"endpoint\":\"", endpoint.text.as_bytes());
        }
        put_number(out, b",\"attempts\":", trace.attempts.into());
        let reused: &[u8] = if trace.reused { b",\"reused\":true" } else { b",\"reused\":false" };
        out.extend_from_slice(reused);
        match trace.hedge {
            None => {}
            Some(Which::First) => out.extend_from_slice(b",\"hedge\":\"lost\""),
            Some(Which::Second) => out.extend_from_slice(b",\"hedge\":\"won\""),
        }
    }
}

/// What went wrong, if anything did.
pub(crate) fn put_failure(trace: &Trace, out: &mut Vec<u8>) {
    let Some(failure) = trace.failure else { return };
    let facts = failure.kind.facts();
    put_text(out, b",\"failure\":\"", facts.word.as_bytes());
    put_text(out, b",\"step\":\"", failure.step.word().as_bytes());
    put_text(out, b",\"side\":\"", facts.side.word().as_bytes());
    put_text(out, b",\"detail\":\"", failure.detail.as_bytes());
}

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(crate) fn put_hex(out: &mut Vec<u8>, value: u64) {
    let digit = |at: usize| HEX[(value >> (60 - 4 * at)) as usize & 15];
    out.extend_from_slice(&std::array::from_fn::<u8, 16, _>(digit));
}

/// A key and a number.
#[inline]
pub(crate) fn put_number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    put_digits(out, value);
}

fn put_digits(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A key and a duration in milliseconds with three decimals.
pub(crate) fn put_millis(out: &mut Vec<u8>, key: &[u8], us: u64) {
    put_number(out, key, us / 1000);
    let digit = |value: u64| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[b'.', digit(us / 100), digit(us / 10), digit(us)]);
}

/// A key with its opening quote, a text, its closing quote.
#[inline]
pub(crate) fn put_text(out: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    out.extend_from_slice(key);
    escape_json(out, text);
    out.push(b'"');
}

/// Bytes that stand for themselves in both formats: printable ASCII but for quote and backslash.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        table[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    table
};

/// Whether all bytes are plain, eight at a time: most texts are plain to their end. A byte that is
/// not marks one in its word, and no word of plain bytes has a mark.
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, rest) = text.as_chunks::<8>();
    let mut odd = 0;
    for word in words {
        let word = u64::from_ne_bytes(*word);
        let is = |byte: u8| zeros(word ^ (ONES * u64::from(byte)));
        let low = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
        odd |= word | low | is(b'"') | is(b'\\') | is(0x7f);
    }
    odd & HIGHS == 0 && rest.iter().all(|byte| PLAIN[usize::from(*byte)])
}

/// Appends runs of plain bytes as they are and lets `escape` write the others.
fn escape(out: &mut Vec<u8>, mut text: &[u8], escape: impl Fn(&mut Vec<u8>, u8)) {
    if is_plain(text) {
        return out.extend_from_slice(text);
    }
    while !text.is_empty() {
        let plain = text.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(text.len());
        out.extend_from_slice(&text[..plain]);
        if let Some(byte) = text.get(plain) {
            escape(out, *byte);
        }
        text = text.get(plain + 1..).unwrap_or(&[]);
    }
}

/// JSON's escapes (RFC 8259 section 7) for everything that is not plain ASCII; a byte that is
/// none becomes the code point of its value, so that no line can be broken or forged.
fn escape_json(out: &mut Vec<u8>, text: &[u8]) {
    escape(out, text, |out, byte| match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    });
}

/// nginx's `\xHH` for quotes, backslashes and everything that is not plain ASCII.
pub(crate) fn escape_hex(out: &mut Vec<u8>, text: &[u8]) {
    escape(out, text, |out, byte| {
        let digit = |nibble: u8| HEX[usize::from(nibble)].to_ascii_uppercase();
        out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_plain_or_escaped_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..16 {
                let mut text = *b"0123456789abcdef";
                text[at] = byte;
                assert_eq!(is_plain(&text), PLAIN[usize::from(byte)], "{byte} at {at}");
            }
        }
    }

    #[test]
    fn no_text_can_break_or_forge_a_line() {
        let mut out = Vec::new();
        escape_json(&mut out, b"a\"b\\c\r\n\x1b[31m\xff");
        assert_eq!(out, br#"a\"b\\c\u000d\u000a\u001b[31m\u00ff"#);
        out.clear();
        escape_hex(&mut out, b"a\"b\n\x1b");
        assert_eq!(out, br"a\x22b\x0A\x1B");
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for (value, expected) in [(0, "0"), (10, "10"), (u64::MAX, "18446744073709551615")] {
            let mut out = Vec::new();
            put_number(&mut out, b"", value);
            assert_eq!(out, expected.as_bytes());
        }
        let mut out = Vec::new();
        put_millis(&mut out, b"", 12_034);
        put_hex(&mut out, 0x1f);
        assert_eq!(out, b"12.034000000000000001f");
    }
}

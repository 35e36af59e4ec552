//! Heads as they are written: one pass over the runs that edits have left.

use gatehouse_core::message::{Fields, Known, RequestHead, ResponseHead, Version};

/// How a body is framed on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// As many bytes as the head says, or none, or until the connection ends.
    #[default]
    Plain,
    /// Chunked.
    Chunked,
    /// As DATA of an HTTP/2 stream, on which the head was sent already; the stream itself marks
    /// the end.
    Frames,
}

/// Appends a request head: method, `base` and `target` as one, `host` where the fields have none,
/// fields as edited, empty line.
pub fn request(head: &RequestHead, base: &[u8], target: &[u8], host: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(head.text(head.method_text));
    out.push(b' ');
    out.extend_from_slice(base);
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if !head.fields.has(Known::Host) {
        out.extend_from_slice(b"Host: ");
        out.extend_from_slice(host);
        out.extend_from_slice(b"\r\n");
    }
    fields(&head.fields, out);
}

/// Appends an answer's head: status line, fields as edited, empty line. The version written is
/// the gateway's own, 1.1, whatever the origin spoke (RFC 9110 section 2.5), also to a 1.0
/// client.
pub fn response(head: &ResponseHead, out: &mut Vec<u8>) {
    let bytes = head.fields.bytes();
    if head.line.is_empty() {
        status_line(head.status, head.reason.of(bytes), Version::Http11, out);
    } else {
        out.extend_from_slice(head.line.of(bytes));
    }
    fields(&head.fields, out);
}

/// Appends a status line.
pub fn status_line(status: u16, reason: &[u8], version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(match version {
        Version::Http10 => b"HTTP/1.0 ",
        Version::Http11 | Version::Http2 => b"HTTP/1.1 ",
    });
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Appends field lines as edited and the empty line.
pub fn fields(fields: &Fields, out: &mut Vec<u8>) {
    fields.write(out);
    out.extend_from_slice(b"\r\n");
}

/// The usual reason phrase of a status; empty for one without.
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Writes a chunk's size line and says how long it is.
pub(crate) fn chunk_size(size: usize, out: &mut [u8; 18]) -> usize {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = (size.ilog2() / 4 + 1) as usize;
    for (at, digit) in out.iter_mut().enumerate().take(digits) {
        *digit = HEX[size >> ((digits - 1 - at) * 4) & 15];
    }
    out[digits] = b'\r';
    out[digits + 1] = b'\n';
    digits + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_size_is_plain_hex() {
        for size in [1, 15, 16, 255, 256, 4096, 65_535, 262_144] {
            let mut out = [0; 18];
            let len = chunk_size(size, &mut out);
            assert_eq!(&out[..len], format!("{size:x}\r\n").as_bytes());
        }
    }
}

//! Reads a request head: only as much of it as an origin needs.

use super::upload::Upload;

/// A longer head is refused.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;

/// A request head, as it lies in the buffer.
pub(super) struct Request<'a> {
    pub method: &'a str,
    /// Path and query, as sent.
    pub target: &'a str,
    pub version: Version,
    /// Field lines, still in one piece.
    pub fields: &'a [u8],
    pub upload: Upload,
    pub keep_alive: bool,
    pub expects_continue: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

pub(super) enum Parsed<'a> {
    /// The head and its length in bytes.
    Whole(Request<'a>, usize),
    Partial,
    Malformed,
}

pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    let Some(end) = end_of_head(input) else {
        return if input.len() > HEAD_BYTES_MAX { Parsed::Malformed } else { Parsed::Partial };
    };
    match parse_head(&input[..end]) {
        Some(request) => Parsed::Whole(request, end),
        None => Parsed::Malformed,
    }
}

/// Where the first empty line ends.
fn end_of_head(input: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = input[from..].iter().position(|byte| *byte == b'\n') {
        let line_end = from + at + 1;
        if input[..line_end].ends_with(b"\r\n\r\n") {
            return Some(line_end);
        }
        from = line_end;
    }
    None
}

fn parse_head(head: &[u8]) -> Option<Request<'_>> {
    let line_end = head.iter().position(|byte| *byte == b'\n')? + 1;
    let line = std::str::from_utf8(head[..line_end].strip_suffix(b"\r\n")?).ok()?;
    let (method, rest) = line.split_once(' ')?;
    let (target, version) = rest.split_once(' ')?;
    let version = match version {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ => return None,
    };
    let fields = head[line_end..].strip_suffix(b"\r\n")?;
    let mut request = Request {
        method,
        target,
        version,
        fields,
        upload: Upload::None,
        keep_alive: version == Version::Http11,
        expects_continue: false,
    };
    for (name, value) in field_lines(fields) {
        request.note(name, value)?;
    }
    Some(request)
}

/// Name and value of each line; a line without a colon is all name.
pub(super) fn field_lines(fields: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        (&line[..colon], line[colon..].strip_prefix(b":").unwrap_or(b"").trim_ascii())
    })
}

impl Request<'_> {
    /// Takes in one field; nothing when it cannot be obeyed.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        match name.len() {
            14 if is("content-length") => {
                let length: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
                self.upload = Upload::of_length(length);
            }
            17 if is("transfer-encoding") => self.upload = Upload::chunked(),
            10 if is("connection") => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.keep_alive = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") {
                        self.keep_alive = true;
                    }
                }
            }
            6 if is("expect") => self.expects_continue = true,
            _ => {}
        }
        Some(())
    }

    /// The path, without query and, in absolute form, without scheme and authority.
    pub fn path(&self) -> &str {
        let target = match self.target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => self.target,
        };
        target.split('?').next().unwrap_or(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> (Request<'_>, usize) {
        match parse(text.as_bytes()) {
            Parsed::Whole(request, length) => (request, length),
            Parsed::Partial => panic!("partial"),
            Parsed::Malformed => panic!("malformed"),
        }
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        let text = "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Y:  z \r\n\r\nGET";
        let (request, length) = whole(text);
        assert_eq!((request.method, request.target, request.path()), ("GET", "/a?b", "/a"));
        assert_eq!(length, text.len() - 3);
        assert!(request.keep_alive);
        let fields: Vec<_> = field_lines(request.fields).collect();
        assert_eq!(fields, [(&b"Host"[..], &b"x"[..]), (&b"X-Y"[..], &b"z"[..])]);
    }

    #[test]
    fn a_head_without_fields_is_whole() {
        let (request, _) = whole("GET http://h:1 HTTP/1.0\r\n\r\n");
        assert_eq!(request.path(), "/");
        assert!(!request.keep_alive);
    }

    #[test]
    fn keep_alive_follows_version_and_connection() {
        let keeps = |text: &str| whole(text).0.keep_alive;
        assert!(keeps("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nCONNECTION: close\r\n\r\n"));
    }

    #[test]
    fn what_is_no_request_is_malformed() {
        for text in ["GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "\r\n\r\n"] {
            assert!(matches!(parse(text.as_bytes()), Parsed::Malformed), "{text:?}");
        }
        assert!(matches!(parse(b"GET / HTTP/1.1\r\nHost"), Parsed::Partial));
        assert!(matches!(parse(&vec![b'a'; HEAD_BYTES_MAX + 1]), Parsed::Malformed));
    }
}

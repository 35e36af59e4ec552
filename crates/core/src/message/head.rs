//! The heads of a request and of an answer.

use super::field::{Fields, Span};
use super::known::Known;
use super::method::Method;

/// The version a peer spoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no 1xx, closes unless told otherwise.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2.
    Http2,
}

/// How long a message's body is, as far as its head says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    #[default]
    None,
    /// This many bytes, more than 0.
    Known(u64),
    /// It ends where its framing says so (chunked).
    Chunked,
    /// It ends where the connection does (answers only).
    UntilClose,
}

impl BodyLength {
    /// Whether there is no body at all.
    pub const fn is_none(self) -> bool {
        matches!(self, BodyLength::None)
    }
}

/// A request head.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// Its fields, and the buffer all its spans refer to.
    pub fields: Fields,
    /// The method.
    pub method: Option<Method>,
    /// The method's text.
    pub method_text: Span,
    /// The version the client spoke.
    pub version: Version,
    /// The path as sent, `/` first, or `*` for `OPTIONS *`.
    pub raw_path: Span,
    /// The path with RFC 3986 section 6.2.2 applied; `None` where it could be read two ways.
    pub path: Option<Span>,
    /// Why `path` is `None`.
    pub path_fault: Option<super::path::PathFault>,
    /// The query without its `?`; `None` where the target has no `?`.
    pub query: Option<Span>,
    /// Host and port as the client wrote them; empty where an HTTP/1.0 client sent none.
    pub authority: Span,
    /// The host alone: lower case, no port, no trailing dot.
    pub host: Span,
    /// How long its body is.
    pub body: BodyLength,
    /// Whether the client keeps the connection open for another request.
    pub keep_alive: bool,
}

impl RequestHead {
    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        let RequestHead {
            fields,
            method,
            method_text,
            version,
            raw_path,
            path,
            path_fault,
            query,
            authority,
            host,
            body,
            keep_alive,
        } = self;
        fields.clear();
        (*method, *method_text, *version) = Default::default();
        (*raw_path, *path, *path_fault, *query) = Default::default();
        (*authority, *host) = Default::default();
        (*body, *keep_alive) = Default::default();
    }

    /// Becomes the same as another, in its own room.
    pub fn copy_from(&mut self, other: &RequestHead) {
        let RequestHead {
            fields,
            method,
            method_text,
            version,
            raw_path,
            path,
            path_fault,
            query,
            authority,
            host,
            body,
            keep_alive,
        } = self;
        fields.copy_from(&other.fields);
        (*method, *method_text, *version) = (other.method, other.method_text, other.version);
        (*raw_path, *path, *query) = (other.raw_path, other.path, other.query);
        (*path_fault, *body, *keep_alive) = (other.path_fault, other.body, other.keep_alive);
        (*authority, *host) = (other.authority, other.host);
    }

    /// The method, `Other` before one was read.
    pub fn method(&self) -> Method {
        self.method.unwrap_or(Method::Other)
    }

    /// The bytes of one of its spans.
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(self.fields.bytes())
    }

    /// The path routes and policies see; the raw one where it could be read two ways.
    pub fn path_text(&self) -> &[u8] {
        self.text(self.path.unwrap_or(self.raw_path))
    }

    /// Whether this asks to leave HTTP for another protocol: `Connection: upgrade` and `Upgrade`.
    pub fn asks_upgrade(&self) -> bool {
        self.fields.has(Known::Upgrade)
            && self.fields.all(Known::Connection).any(|value| lists_token(value, b"upgrade"))
    }
}

/// An answer's head.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// Its fields, and the buffer all its spans refer to.
    pub fields: Fields,
    /// The status, 100 to 999.
    pub status: u16,
    /// The status line as it was received and is written, with its CRLF; empty where one has to
    /// be made.
    pub line: Span,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// The version the origin spoke.
    pub version: Version,
    /// How long its body is, given the request it answers.
    pub body: BodyLength,
    /// Whether the origin keeps the connection open for another request.
    pub keep_alive: bool,
}

impl ResponseHead {
    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        let ResponseHead { fields, status, line, reason, version, body, keep_alive } = self;
        fields.clear();
        (*status, *line, *reason, *version) = Default::default();
        (*body, *keep_alive) = Default::default();
    }
}

/// Whether a comma-separated list (RFC 9110 section 5.6.1) has this token, any case.
pub fn lists_token(list: &[u8], token: &[u8]) -> bool {
    tokens(list).any(|member| member.eq_ignore_ascii_case(token))
}

/// The members of a comma-separated list, white space trimmed, empty ones left out.
pub fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

//! HTTP/1.1 messages as a test reads them: whole, in memory, nothing forgiven.

use super::pipe::{Arrived, Ending, Pipe, shown};

/// A head and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The first line, without its line break.
    pub line: String,
    /// Names as they were written, and values without the space around them.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head that ends with an empty line.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = bytes.strip_suffix(b"\r\n\r\n").ok_or("no empty line at the end")?;
        let text: String = text.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').ok_or(format!("no colon in {line:?}"))?;
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        });
        let fields = fields.collect::<Result<_, String>>()?;
        Ok(Self { line, fields })
    }

    /// The first value of a field, its name in any case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All values of a field, its name in any case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let same = move |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|field| field.1.as_str())
    }
}

/// A response, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and fields.
    pub head: Head,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Responses with a status of 1xx that came before.
    pub interim: Vec<Head>,
}

impl Response {
    /// The first value of a field, its name in any case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How long a body is.
enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

/// Whether the response has a body although its fields say so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Head,
    Other,
}

/// Reads from a pipe; errors say what is wrong and what was there instead.
impl Pipe {
    /// Takes the bytes up to and including `end`.
    pub fn take_through(&mut self, end: &[u8]) -> Result<Vec<u8>, String> {
        let mut looked = 0;
        loop {
            let found = self.ahead[looked..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.ahead.drain(..looked + at + end.len()).collect());
            }
            looked = self.ahead.len().saturating_sub(end.len() - 1);
            self.more(&format!("\"{}\"", end.escape_ascii()))?;
        }
    }

    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.ahead.len() < count {
            self.more(&format!("{count} bytes"))?;
        }
        Ok(self.ahead.drain(..count).collect())
    }

    /// Takes everything until the peer ends its side.
    pub fn take_rest(&mut self) -> Result<(Vec<u8>, Ending), String> {
        loop {
            match self.arrive() {
                Arrived::Bytes => {}
                Arrived::Ending(ending) => return Ok((std::mem::take(&mut self.ahead), ending)),
                Arrived::Nothing => {
                    let ahead = shown(&self.ahead);
                    return Err(format!(
                        "expected the end of the connection, it stayed open after {ahead}"
                    ));
                }
            }
        }
    }

    fn more(&mut self, expected: &str) -> Result<(), String> {
        let came = match self.arrive() {
            Arrived::Bytes => return Ok(()),
            Arrived::Ending(Ending::End) => "the connection ended",
            Arrived::Ending(Ending::Reset) => "the connection was reset",
            Arrived::Nothing => "nothing more came",
        };
        Err(format!("expected {expected}, {came} after {}", shown(&self.ahead)))
    }

    pub fn take_head(&mut self) -> Result<Head, String> {
        let bytes = self.take_through(b"\r\n\r\n")?;
        Head::parse(&bytes).map_err(|error| format!("{error}: {}", shown(&bytes)))
    }

    /// Takes a request's body as its head frames it.
    pub fn take_request_body(&mut self, head: &Head) -> Result<Vec<u8>, String> {
        match length(head)? {
            Length::UntilClose => Ok(Vec::new()),
            framed => Ok(self.take_body(framed)?.0),
        }
    }

    pub fn take_response(&mut self, asked: Asked) -> Result<Response, String> {
        let mut interim = Vec::new();
        loop {
            let head = self.take_head()?;
            let status = status(&head.line)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            let bare = asked == Asked::Head || matches!(status, 101 | 204 | 304);
            let (body, trailers) = match length(&head)? {
                _ if bare => (Vec::new(), Vec::new()),
                length => self.take_body(length)?,
            };
            return Ok(Response { status, head, body, trailers, interim });
        }
    }

    fn take_body(&mut self, length: Length) -> Result<Body, String> {
        match length {
            Length::Known(count) => Ok((self.take(count)?, Vec::new())),
            Length::Chunked => self.take_chunks(),
            Length::UntilClose => match self.take_rest()? {
                (body, Ending::End) => Ok((body, Vec::new())),
                (body, Ending::Reset) => {
                    Err(format!("the body was cut by a reset after {}", shown(&body)))
                }
            },
        }
    }

    fn take_chunks(&mut self) -> Result<Body, String> {
        let mut body = Vec::new();
        loop {
            let line = self.take_through(b"\r\n")?;
            let size =
                std::str::from_utf8(&line).ok().and_then(|line| line.trim_end().split(';').next());
            let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
            let size = size.ok_or(format!("expected the size of a chunk, got {}", shown(&line)))?;
            if size == 0 {
                break;
            }
            body.extend(self.take(size)?);
            let end = self.take(2)?;
            if end != b"\r\n" {
                return Err(format!("expected a line break after a chunk, got {}", shown(&end)));
            }
        }
        let mut section = b"\r\n".to_vec();
        loop {
            let line = self.take_through(b"\r\n")?;
            section.extend_from_slice(&line);
            if line == b"\r\n" {
                break;
            }
        }
        Ok((body, Head::parse(&section)?.fields))
    }
}

/// A body and its trailers.
type Body = (Vec<u8>, Vec<(String, String)>);

fn status(line: &str) -> Result<u16, String> {
    let status = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|rest| rest.split(' ').next()).and_then(|code| code.parse().ok());
    status.ok_or(format!("expected a status line, got {line:?}"))
}

fn length(head: &Head) -> Result<Length, String> {
    let lengths: Vec<&str> = head.values("content-length").collect();
    match (head.field("transfer-encoding"), lengths.as_slice()) {
        (Some(_), [_, ..]) => Err("both Transfer-Encoding and Content-Length".to_owned()),
        (Some(coding), []) if coding.eq_ignore_ascii_case("chunked") => Ok(Length::Chunked),
        (Some(coding), []) => Err(format!("unknown Transfer-Encoding {coding:?}")),
        (None, []) => Ok(Length::UntilClose),
        (None, [length]) => {
            let length = length.parse().map_err(|_| format!("Content-Length {length:?}"))?;
            Ok(Length::Known(length))
        }
        (None, _) => Err(format!("several Content-Length: {lengths:?}")),
    }
}

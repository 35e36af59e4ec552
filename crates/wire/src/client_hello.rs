//! The server name a TLS client asks for, and the protocol it insists on, read from its ClientHello
//! without decrypting anything (RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 7301).
//!
//! The bytes are only looked at: they stay where they are and are passed on as they came. What is
//! read of them is bounded, in however many records they come.

/// Bytes a ClientHello may take, its records' headers included: one full record and a little.
pub const CLIENT_HELLO_BYTES_MAX: usize = 16 * 1024;

/// The longest host name in bytes (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

const RECORD_HEADER: usize = 5;
const RECORD_PAYLOAD_MAX: usize = 1 << 14;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const PROTOCOLS: u16 = 16;

/// What the start of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// More bytes have to come before that can be said.
    More,
    /// Something else than TLS.
    NotTls,
    /// A ClientHello.
    Hello {
        /// The host name it asks for, in lower case; `None` where it asks for none.
        name: Option<&'a str>,
        /// The protocol it offers by ALPN, where it offers just one.
        sole_protocol: Option<&'a [u8]>,
    },
}

/// Why a ClientHello is none: the rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads a ClientHello as it comes. Each byte is looked at once.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// The handshake message, taken out of its records.
    message: Vec<u8>,
    /// Bytes of the connection that were looked at.
    seen: usize,
    /// The name that was found.
    name: String,
}

impl HelloReader {
    /// Looks at what has come. `bytes` start at the connection's first byte, each time.
    ///
    /// # Errors
    /// [`Malformed`]: it is TLS, and broken.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Start<'_>, Malformed> {
        match bytes {
            [] => return Ok(Start::More),
            [HANDSHAKE_RECORD] | [HANDSHAKE_RECORD, 3] => return Ok(Start::More),
            [HANDSHAKE_RECORD, 3, ..] => {}
            _ => return Ok(Start::NotTls),
        }
        while self.wanted().is_none_or(|wanted| self.message.len() < wanted) {
            if !self.take_record(bytes)? {
                return match bytes.len() >= CLIENT_HELLO_BYTES_MAX {
                    true => Err(Malformed("a ClientHello of more than 16 KiB")),
                    false => Ok(Start::More),
                };
            }
        }
        let wanted = self.wanted().unwrap_or(0);
        let hello = self.message.get(4..wanted).unwrap_or(&[]);
        let Extensions { name, sole_protocol } = extensions(hello)?;
        let some = name.is_some();
        self.name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        Ok(Start::Hello { name: some.then_some(&self.name), sole_protocol })
    }

    /// Bytes of the handshake message, once its header is there.
    fn wanted(&self) -> Option<usize> {
        let [_, high, middle, low, ..] = self.message[..] else { return None };
        Some(4 + (usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)))
    }

    /// Takes the next record whole; false where it is not there yet.
    fn take_record(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let rest = bytes.get(self.seen..).unwrap_or(&[]);
        let [kind, major, _, high, low, payload @ ..] = rest else { return Ok(false) };
        if *kind != HANDSHAKE_RECORD || *major != 3 {
            return Err(Malformed("a record within a ClientHello that is none of it"));
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 {
            return Err(Malformed("an empty handshake record"));
        }
        if length > RECORD_PAYLOAD_MAX {
            return Err(Malformed("a record of more than 16 KiB"));
        }
        // What it is, and that it can end in time, is known before it is there.
        let first = self.message.first().or(payload.first());
        if first.is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Malformed("a handshake that does not start with a ClientHello"));
        }
        let Some(payload) = payload.get(..length) else { return Ok(false) };
        self.message.extend_from_slice(payload);
        self.seen += RECORD_HEADER + length;
        let too_long = self.wanted().is_some_and(|wanted| wanted > CLIENT_HELLO_BYTES_MAX);
        if too_long || self.seen > CLIENT_HELLO_BYTES_MAX {
            return Err(Malformed("a ClientHello of more than 16 KiB"));
        }
        Ok(true)
    }
}

/// Takes a message apart from its front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or(Malformed("a ClientHello that is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, Malformed> {
        Ok(self.take(bytes)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    /// A vector whose length stands before it in `bytes` bytes.
    fn vector(&mut self, bytes: usize) -> Result<Reader<'a>, Malformed> {
        let length = self.number(bytes)?;
        self.take(length).map(Reader)
    }

    fn ended(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes behind the end")) }
    }
}

/// What is read of a ClientHello.
#[derive(Default)]
struct Extensions<'a> {
    name: Option<&'a str>,
    sole_protocol: Option<&'a [u8]>,
}

/// The extensions of a ClientHello's body.
fn extensions(body: &[u8]) -> Result<Extensions<'_>, Malformed> {
    let mut body = Reader(body);
    body.take(2 + 32)?;
    body.vector(1)?;
    body.vector(2)?;
    body.vector(1)?;
    if body.0.is_empty() {
        // TLS 1.2 without extensions.
        return Ok(Extensions::default());
    }
    let mut extensions = body.vector(2)?;
    body.ended()?;
    let mut found = Extensions::default();
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let content = extensions.vector(2)?;
        if kind == usize::from(PROTOCOLS) {
            // What is wrong with it is for whoever has to agree on one.
            found.sole_protocol = sole_protocol(content).ok();
        } else if kind == usize::from(SERVER_NAME)
            && found.name.replace(host_name(content)?).is_some()
        {
            return Err(Malformed("two server_name extensions"));
        }
    }
    Ok(found)
}

/// The one protocol of the extension.
fn sole_protocol(mut content: Reader<'_>) -> Result<&[u8], Malformed> {
    let mut list = content.vector(2)?;
    content.ended()?;
    let first = list.vector(1)?.0;
    list.ended()?;
    Ok(first)
}

/// The one host name of the extension; a list with another kind of name, or with two, has been
/// forbidden since RFC 6066.
fn host_name(mut content: Reader<'_>) -> Result<&str, Malformed> {
    let mut list = content.vector(2)?;
    content.ended()?;
    if list.number(1)? != 0 {
        return Err(Malformed("a server name that is no host name"));
    }
    let name = list.vector(2)?.0;
    list.ended()?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let sound = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.iter().all(plain)
        && !name.starts_with(b".")
        && !name.ends_with(b".");
    let name = std::str::from_utf8(name).ok().filter(|_| sound);
    name.ok_or(Malformed("a server name that is no host name"))
}

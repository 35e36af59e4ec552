//! One end of a simulated connection. It reads and writes HTTP/1.1 by code of its own, so that a
//! fault of the gateway's cannot hide behind the same fault here.

use crate::talk::{pass, within};
use gatehouse_rig::storm::{Content, Dice, Reading};
use gatehouse_wire::Stream;
use gatehouse_wire::memory::MemoryStream;
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::socket::Probe;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// Heads that are none. `{}` is where the answer's number stands.
pub const GARBAGE: [&str; 8] = [
    "HTTP/1.1 200 OK\r\nX-Answer: {}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "HTTP/1.1 200 OK\r\nX-Answer: {}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
    "HTTP/1.1 200 OK\r\nX-Answer: {}\r\nContent-Length : 1\r\n\r\na",
    "HTTP/1.1 200 OK\r\nX-Answer: {}\r\nContent-Length: +1\r\n\r\na",
    "HTTP/1.1 200 OK\nX-Answer: {}\nContent-Length: 1\n\na",
    "HTTP/1.1 999999 OK\r\nX-Answer: {}\r\n\r\n",
    "nothing of the kind\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nX-Answer: {}\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
];

/// What has not come after this long will not come.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Why a message went no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The other end has closed.
    Closed,
    /// The other end has reset the connection.
    Reset,
    /// Nothing came, or nothing was taken, for [`PATIENCE`].
    Late,
    /// What came is no HTTP.
    Malformed(String),
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// How fast a body goes, either way.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes of one piece at most.
    pub piece: usize,
    /// How long is waited behind a piece.
    pub pause: Duration,
    /// How often that is done: so many times, then never again.
    pub pauses: u32,
}

impl Pace {
    /// As fast as it goes.
    pub const FULL: Pace = Pace { piece: usize::MAX, pause: Duration::ZERO, pauses: 0 };

    /// Some pace that no limit of the simulated plan forbids.
    pub fn some(dice: &mut Dice) -> Pace {
        if dice.one_in(2) {
            return Pace::FULL;
        }
        Pace {
            piece: 1 + dice.below(20_000),
            pause: dice.millis(1..400),
            pauses: dice.below(4) as u32,
        }
    }

    async fn rest(&mut self) {
        if self.pauses > 0 {
            self.pauses -= 1;
            pass(self.pause).await;
        }
    }
}

/// One end of a simulated connection.
pub struct End {
    stream: Stream,
    held: Vec<u8>,
    /// Whether it reads while it writes, so that two who both write do not wait for each other.
    duplex: bool,
    ended: Option<Broken>,
}

/// Bytes read at once.
const READ_BYTES: usize = 8 * 1024;

impl End {
    pub fn new(stream: MemoryStream, duplex: bool) -> End {
        End { stream: Stream::Memory(stream), held: Vec::new(), duplex, ended: None }
    }

    /// Bytes that have come and were not asked for yet.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether it reads while it writes.
    pub fn is_duplex(&self) -> bool {
        self.duplex
    }

    /// Whether nothing has come that was not read.
    pub fn is_quiet(&mut self) -> bool {
        self.held.is_empty() && self.stream.probe() == Probe::Quiet
    }

    /// Reads more, as long as it comes within `patience`.
    pub async fn fill(&mut self, patience: Duration) -> Result<(), Broken> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let mut room = [0; READ_BYTES];
        let stream = &mut self.stream;
        let read = within(patience, poll_fn(|cx| stream.poll_read(cx, &mut room))).await;
        let ended = match read {
            Some(Ok(count @ 1..)) => {
                self.held.extend_from_slice(&room[..count]);
                return Ok(());
            }
            Some(Ok(0)) => Broken::Closed,
            Some(Err(_)) => Broken::Reset,
            None => return Err(Broken::Late),
        };
        self.ended = Some(ended.clone());
        Err(ended)
    }

    /// Writes all of it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut written = 0;
        let End { stream, held, ended, duplex } = self;
        let wrote = poll_fn(|cx| {
            let mut room = [0; READ_BYTES];
            while *duplex && ended.is_none() {
                match stream.poll_read(cx, &mut room) {
                    Poll::Ready(Ok(0)) => *ended = Some(Broken::Closed),
                    Poll::Ready(Ok(count)) => held.extend_from_slice(&room[..count]),
                    Poll::Ready(Err(_)) => *ended = Some(Broken::Reset),
                    Poll::Pending => break,
                }
            }
            poll_write_all(cx, stream, bytes, &mut written)
        });
        match within(PATIENCE, wrote).await {
            None => Err(Broken::Late),
            Some(Err(_)) => Err(Broken::Reset),
            Some(Ok(())) => Ok(()),
        }
    }

    /// Takes a line, without its CRLF.
    pub async fn line(&mut self) -> Result<String, Broken> {
        let mut searched = 0;
        loop {
            let found = self.held[searched..].windows(2).position(|two| two == b"\r\n");
            if let Some(at) = found {
                let rest = self.held.split_off(searched + at + 2);
                let line = std::mem::replace(&mut self.held, rest);
                return Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned());
            }
            searched = self.held.len().saturating_sub(1);
            self.fill(PATIENCE).await?;
        }
    }

    /// Takes a head: its first line and its fields. Closed before its first byte is `Closed`; cut
    /// within is `Malformed`.
    pub async fn head(&mut self) -> Result<Head, Broken> {
        if self.held.is_empty() {
            self.fill(PATIENCE).await?;
        }
        let within = |broken| match broken {
            Broken::Closed => Broken::Malformed("the end of the connection in a head".to_owned()),
            other => other,
        };
        let first = self.line().await.map_err(within)?;
        let mut fields = Vec::new();
        loop {
            let line = self.line().await.map_err(within)?;
            if line.is_empty() {
                return Ok(Head { first, fields });
            }
            let field = line.split_once(": ").or_else(|| line.split_once(':'));
            let (name, value) =
                field.ok_or_else(|| Broken::Malformed(format!("a field line {line:?}")))?;
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// Takes a body and holds each byte against what it has to be. Bytes after `stop` are left.
    pub async fn body(
        &mut self,
        framing: Framing,
        reading: &mut Reading,
        mut pace: Pace,
        stop: usize,
    ) -> Result<(), Broken> {
        match framing {
            Framing::None => Ok(()),
            Framing::Length(length) => self.bytes(length.min(stop), reading, &mut pace).await,
            Framing::UntilClose => match self.bytes(stop, reading, &mut pace).await {
                Err(Broken::Closed) => Ok(()),
                other => other,
            },
            Framing::Chunked => loop {
                let line = self.line().await?;
                let digits = line.split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(digits, 16)
                    .map_err(|_| Broken::Malformed(format!("a chunk line {line:?}")))?;
                if size == 0 {
                    while !self.line().await?.is_empty() {}
                    return Ok(());
                }
                self.bytes(size, reading, &mut pace).await?;
                if reading.taken() >= stop {
                    return Ok(());
                }
                let end = self.line().await?;
                if !end.is_empty() {
                    return Err(Broken::Malformed(format!("{end:?} behind a chunk")));
                }
            },
        }
    }

    /// Takes so many bytes of a body.
    async fn bytes(
        &mut self,
        count: usize,
        reading: &mut Reading,
        pace: &mut Pace,
    ) -> Result<(), Broken> {
        let mut left = count;
        while left > 0 {
            if self.held.is_empty() {
                self.fill(PATIENCE).await?;
            }
            let piece = left.min(self.held.len()).min(pace.piece);
            reading.take(&self.held[..piece]);
            self.held.drain(..piece);
            left -= piece;
            if left > 0 {
                pace.rest().await;
            }
        }
        Ok(())
    }

    /// Writes a body from its beginning up to `stop`, framed; its end only where `stop` is behind.
    pub async fn write_body(
        &mut self,
        chunked: bool,
        content: Content,
        mut pace: Pace,
        stop: usize,
    ) -> Result<(), Broken> {
        let end = content.length.min(stop);
        let mut at = 0;
        let mut text = Vec::new();
        while at < end {
            let piece = (end - at).min(pace.piece).min(32 * 1024);
            text.clear();
            if chunked {
                text.extend_from_slice(format!("{piece:x}\r\n").as_bytes());
            }
            content.append(at, piece, &mut text);
            if chunked {
                text.extend_from_slice(b"\r\n");
            }
            self.write(&text).await?;
            at += piece;
            if at < end || stop <= content.length {
                pace.rest().await;
            }
        }
        if chunked && stop > content.length {
            self.write(b"0\r\n\r\n").await?;
        }
        Ok(())
    }

    /// Reads to the end, and says how many bytes came and how it ended.
    pub async fn rest(&mut self, patience: Duration) -> (usize, Broken) {
        let mut count = 0;
        loop {
            count += std::mem::take(&mut self.held).len();
            if let Err(broken) = self.fill(patience).await {
                return (count, broken);
            }
        }
    }

    /// Sends a FIN and goes on listening.
    pub async fn half_close(&mut self) {
        drop(poll_fn(|cx| self.stream.poll_shutdown(cx)).await);
    }

    /// Resets the connection.
    pub fn reset(mut self) {
        self.stream.reset_on_close();
    }
}

/// A head as it came.
#[derive(Clone, Debug)]
pub struct Head {
    /// The first line.
    pub first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A number in a field.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.field(name)?.parse().ok()
    }

    /// Whether a field lists this word.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.field(name).is_some_and(|value| value.split(", ").any(|one| one == word))
    }

    /// The framing that its fields declare, if any.
    pub fn framing(&self) -> Option<Framing> {
        if self.lists("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        self.number("content-length").map(Framing::Length)
    }
}

//! One end of a connection of the storm's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::content::{Content, Reading};
use super::dice::Dice;
use crate::wait::pause;

/// What has not come after this long will not come: more than the gateway waits for anybody.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Why a message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Closed,
    Reset,
    Late,
    Malformed,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// How an actor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Closes,
    Resets,
    HalfCloses,
}

pub(super) const LEAVES: [Leave; 3] = [Leave::Closes, Leave::Resets, Leave::HalfCloses];

/// A head as it came, its names in lower case.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.field(name)?.parse().ok()
    }

    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.field(name).is_some_and(|value| value.split(", ").any(|one| one == word))
    }

    /// The framing its fields declare, if any.
    pub fn framing(&self) -> Option<Framing> {
        if self.lists("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        self.number("content-length").map(Framing::Length)
    }

    /// The status of an answer; 0 where it has none.
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

/// One end.
pub(super) struct End {
    stream: TcpStream,
    held: Vec<u8>,
}

impl End {
    pub fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, held: Vec::new() })
    }

    /// Whether nothing has come that was not read, and the other end is still there.
    pub fn is_quiet(&mut self) -> bool {
        let stream = &self.stream;
        let looks = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let quiet = looks.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).is_ok() && quiet && self.held.is_empty()
    }

    pub fn fill(&mut self) -> Result<(), Broken> {
        let mut room = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return Err(Broken::Closed),
                Ok(count) => {
                    self.held.extend_from_slice(&room[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(Broken::Late),
                Err(_) => return Err(Broken::Reset),
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.stream.write_all(bytes).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Broken::Late,
            _ => Broken::Reset,
        })
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(at) = self.held.windows(2).position(|two| two == b"\r\n") {
                let line = self.held.drain(..at + 2).collect::<Vec<u8>>();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill()?;
        }
    }

    /// Takes a head. Cut within it is malformed.
    pub fn head(&mut self) -> Result<Head, Broken> {
        if self.held.is_empty() {
            self.fill()?;
        }
        let within = |broken| if broken == Broken::Closed { Broken::Malformed } else { broken };
        let first = self.line().map_err(within)?;
        let mut fields = Vec::new();
        loop {
            let line = self.line().map_err(within)?;
            if line.is_empty() {
                return Ok(Head { first, fields });
            }
            let (name, value) = line.split_once(':').ok_or(Broken::Malformed)?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Takes a body and holds each byte against what it has to be; not beyond `stop`.
    pub fn body(
        &mut self,
        framing: Framing,
        reading: &mut Reading,
        stop: usize,
    ) -> Result<(), Broken> {
        match framing {
            Framing::None => Ok(()),
            Framing::Length(length) => self.bytes(length.min(stop), reading),
            Framing::UntilClose => match self.bytes(stop, reading) {
                Err(Broken::Closed) => Ok(()),
                other => other,
            },
            Framing::Chunked => loop {
                let line = self.line()?;
                let size = usize::from_str_radix(&line, 16).map_err(|_| Broken::Malformed)?;
                self.bytes(size, reading)?;
                if reading.taken() >= stop {
                    return Ok(());
                }
                if !self.line()?.is_empty() {
                    return Err(Broken::Malformed);
                }
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    fn bytes(&mut self, count: usize, reading: &mut Reading) -> Result<(), Broken> {
        let mut left = count;
        while left > 0 {
            if self.held.is_empty() {
                self.fill()?;
            }
            let piece = left.min(self.held.len());
            reading.take(&self.held[..piece]);
            self.held.drain(..piece);
            left -= piece;
        }
        Ok(())
    }

    /// Writes a body up to `stop`, in pieces; its end only where `stop` is behind it. `behind` is
    /// written with the last of it.
    pub fn write_body(
        &mut self,
        chunked: bool,
        content: Content,
        dice: &mut Dice,
        (stop, behind): (usize, &[u8]),
    ) -> Result<(), Broken> {
        let end = content.length.min(stop);
        let most = if dice.one_in(2) { usize::MAX } else { 1 + dice.below(20_000) };
        let mut pauses = if most == usize::MAX { 0 } else { dice.below(3) };
        let mut text = Vec::new();
        let mut at = 0;
        while at < end {
            let piece = (end - at).min(most);
            if chunked {
                text.extend_from_slice(format!("{piece:x}\r\n").as_bytes());
            }
            content.append(at, piece, &mut text);
            if chunked {
                text.extend_from_slice(b"\r\n");
            }
            at += piece;
            if at < end {
                self.write(&text)?;
                text.clear();
                if pauses > 0 {
                    pauses -= 1;
                    pause(dice.millis(1..30));
                }
            }
        }
        if chunked && stop > content.length {
            text.extend_from_slice(b"0\r\n\r\n");
        }
        text.extend_from_slice(behind);
        self.write(&text)
    }

    /// Reads to the end: how many bytes came, and how it ended.
    pub fn rest(&mut self) -> (usize, Broken) {
        let mut count = 0;
        loop {
            count += std::mem::take(&mut self.held).len();
            if let Err(broken) = self.fill() {
                return (count, broken);
            }
        }
    }

    /// Goes; half closed it reads on to the end.
    pub fn leave(mut self, leave: Leave) {
        match leave {
            Leave::Closes => {}
            Leave::Resets => {
                let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
            }
            Leave::HalfCloses => {
                let _ = self.stream.shutdown(Shutdown::Write);
                self.rest();
            }
        }
    }
}

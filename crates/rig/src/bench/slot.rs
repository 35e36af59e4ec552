//! One connection, and the request that is under way on it. It moves bytes and says what came of
//! them; which request comes when is the worker's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::socket_error;

use super::answer::{After, Answer, Expected, Taken, Whole};
use super::tally::Fault;
use crate::poller::{Poller, Ready};
use crate::secured::{Pipe, Security};
use crate::socket::{self, Moved};

/// A request, from the time it takes a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// When it was to be sent.
    pub intended: u64,
    /// When it was, or when its connection began to be opened.
    pub started: u64,
    /// Bytes of it that are written.
    pub sent: usize,
    /// Bytes of the answer that came.
    pub received: u64,
}

enum Link {
    None,
    Opening(OwnedFd),
    Open(Pipe),
}

/// What a turn came to.
pub(super) enum Turn {
    /// A change of the socket must come first.
    Waits,
    /// The connection is there, with no request on it yet.
    Opened,
    /// The request is answered; a connection that cannot be used again is closed.
    Answered(u16),
    /// The request failed, and the connection is closed.
    Failed(Fault),
    /// The peer closed a connection that was idle.
    Gone,
}

/// A place for a connection.
pub(super) struct Slot {
    link: Link,
    generation: u32,
    readable: bool,
    writable: bool,
    ending: bool,
    /// When the connection began to be opened.
    opening_since: u64,
    pub exchange: Option<Exchange>,
    answer: Answer,
    security: Option<Security>,
}

impl Slot {
    pub fn new(expected: Expected, security: Option<Security>) -> Self {
        Self {
            link: Link::None,
            generation: 0,
            readable: false,
            writable: false,
            ending: false,
            opening_since: 0,
            exchange: None,
            answer: Answer::new(expected),
            security,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.link, Link::None)
    }

    /// Since when something is being waited for, if anything is.
    pub fn waits_since(&self) -> Option<u64> {
        let opening = matches!(self.link, Link::Opening(_)).then_some(self.opening_since);
        self.exchange.map(|exchange| exchange.started).or(opening)
    }

    /// What it is to say when the wait took too long.
    pub fn overdue(&self) -> Fault {
        match self.link {
            Link::Opening(_) => Fault::Connect("no answer in time".to_owned()),
            Link::Open(_) | Link::None => Fault::Timeout,
        }
    }

    /// Begins to open a connection; its events will carry the token of `at`.
    pub fn dial(&mut self, to: SocketAddr, poller: &Poller, at: u32, now: u64) -> io::Result<()> {
        let socket = socket::dial(to)?;
        poller.watch(&socket, u64::from(self.generation) << 32 | u64::from(at))?;
        self.link = Link::Opening(socket);
        self.opening_since = now;
        Ok(())
    }

    /// Closes the connection, if there is one. Events that are on their way find nothing.
    pub fn close(&mut self) {
        if !self.is_closed() {
            self.generation = self.generation.wrapping_add(1);
        }
        self.link = Link::None;
        (self.readable, self.writable, self.ending) = (false, false, false);
    }

    /// Takes in what became possible; false where that is about a former connection.
    pub fn note(&mut self, ready: Ready) -> bool {
        let current = ready.token >> 32 == u64::from(self.generation);
        if current {
            self.readable |= ready.readable;
            self.writable |= ready.writable;
            self.ending |= ready.ended;
        }
        current
    }

    /// Puts a request on it, which the next turn sends.
    pub fn begin(&mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
        self.answer.restart();
    }

    /// Does what can be done now.
    pub fn turn(&mut self, request: &[u8], buffer: &mut [u8]) -> Turn {
        let link = std::mem::replace(&mut self.link, Link::None);
        let (mut pipe, opened) = match link {
            Link::None => return Turn::Waits,
            Link::Open(pipe) => (pipe, false),
            Link::Opening(socket) if !self.writable => {
                self.link = Link::Opening(socket);
                return Turn::Waits;
            }
            Link::Opening(socket) => match socket_error(&socket) {
                Ok(Ok(())) => match Pipe::new(socket, self.security.as_ref()) {
                    Ok(pipe) => (pipe, true),
                    Err(error) => return self.fail(Fault::Connect(error.to_string())),
                },
                Ok(Err(error)) | Err(error) => {
                    self.link = Link::Opening(socket);
                    return self.fail(Fault::Connect(connect_reason(error.into())));
                }
            },
        };
        let Some(mut exchange) = self.exchange else {
            let quiet = self.listen(&mut pipe, buffer);
            self.link = Link::Open(pipe);
            return match quiet {
                Turn::Waits if opened => Turn::Opened,
                Turn::Waits => Turn::Waits,
                turn => {
                    self.close();
                    turn
                }
            };
        };
        self.send(&mut pipe, request, &mut exchange);
        let turn = self.receive(&mut pipe, buffer, &mut exchange);
        self.link = Link::Open(pipe);
        self.exchange = Some(exchange);
        match turn {
            Ok(None) => Turn::Waits,
            Ok(Some(whole)) => {
                // A peer that has ended its side without a word of it will not answer again.
                let over = whole.after == After::Close || self.ending;
                if over || exchange.sent < request.len() {
                    self.close();
                }
                Turn::Answered(whole.status)
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Fault) -> Turn {
        self.close();
        Turn::Failed(fault)
    }

    /// Sends what there is room for. A peer that takes no more may have answered all the same.
    fn send(&mut self, pipe: &mut Pipe, request: &[u8], exchange: &mut Exchange) {
        if self.writable && pipe.flush() == Moved::Blocked {
            self.writable = false;
        }
        while self.writable && exchange.sent < request.len() {
            match pipe.write(&request[exchange.sent..]) {
                Moved::Bytes(count) => exchange.sent += count,
                Moved::Blocked => self.writable = false,
                Moved::Ended | Moved::Broken => {
                    self.writable = false;
                    self.readable = true;
                }
            }
        }
    }

    fn receive(
        &mut self,
        pipe: &mut Pipe,
        buffer: &mut [u8],
        exchange: &mut Exchange,
    ) -> Result<Option<Whole>, Fault> {
        while self.readable {
            match pipe.read(buffer) {
                Moved::Bytes(count) => {
                    // A short read has emptied the socket; an end that follows is a new event.
                    let short = count < buffer.len() && pipe.is_drained_by_a_short_read();
                    self.readable = !short || self.ending;
                    exchange.received += count as u64;
                    match self.answer.take(&buffer[..count]) {
                        Taken::More => {}
                        Taken::Whole(whole) => return Ok(Some(whole)),
                        Taken::Malformed => return Err(Fault::Malformed),
                    }
                }
                Moved::Blocked => self.readable = false,
                Moved::Ended => return self.answer.end().map(Some).ok_or(Fault::Closed),
                Moved::Broken => return Err(Fault::Reset),
            }
        }
        Ok(None)
    }

    /// Looks what an idle connection has to say.
    fn listen(&mut self, pipe: &mut Pipe, buffer: &mut [u8]) -> Turn {
        // The first flight of a handshake goes out before anything is asked.
        if self.writable && pipe.flush() == Moved::Blocked {
            self.writable = false;
        }
        while self.readable {
            match pipe.read(buffer) {
                Moved::Bytes(_) => return Turn::Failed(Fault::Malformed),
                Moved::Blocked => self.readable = false,
                Moved::Ended | Moved::Broken => return Turn::Gone,
            }
        }
        Turn::Waits
    }
}

/// Why there is no connection.
pub(super) fn connect_reason(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        _ => error.to_string(),
    }
}

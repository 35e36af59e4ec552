//! One connection: reads requests in order, answers each before it looks at the next, and keeps the
//! framing right whatever the answer is.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::answer::{Answer, Closing, HeadOnly, Pending, echo_head};
use super::asked::{self, Asked, Delay, Stall};
use super::engine::Service;
use super::output::Output;
use super::request::{self, Parsed, Request, Version};
use super::upload::{Taken, Upload};
use crate::checksum;
use crate::poller::Ready;
use crate::socket::{self, Moved};

/// Reads and writes before other connections have their turn.
const TURNS_MAX: usize = 8;
/// How long a closing connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a connection needs next.
pub(super) enum Progress {
    /// A change of its socket.
    Waits,
    /// Another turn.
    Again,
    /// That time.
    Until(Instant),
    /// Nothing: it can be dropped.
    Over,
}

/// What comes after the answer that is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Request,
    Close,
    /// Everything is written and said; what still arrives is thrown away, so that the peer gets the
    /// answer instead of a reset.
    Goodbye(Instant),
    Reset,
}

pub(super) struct Connection {
    socket: Option<OwnedFd>,
    readable: bool,
    writable: bool,
    /// The peer's end is there to be read, behind what else is.
    ending: bool,
    /// The peer's end was read.
    ended: bool,
    /// Input that is not used up yet.
    held: Vec<u8>,
    upload: Upload,
    pending: Option<Pending>,
    output: Output,
    after: After,
}

impl Connection {
    pub fn new() -> Self {
        Self {
            socket: None,
            readable: false,
            writable: false,
            ending: false,
            ended: false,
            held: Vec::new(),
            upload: Upload::None,
            pending: None,
            output: Output::new(),
            after: After::Request,
        }
    }

    /// Takes the socket, once it is watched.
    pub fn take(&mut self, socket: OwnedFd) {
        self.socket = Some(socket);
    }

    /// Closes with a reset.
    pub fn reset(mut self) {
        self.socket.take().into_iter().for_each(socket::reset);
    }

    /// Does what can be done now, for a bounded number of turns.
    pub fn advance(&mut self, ready: Option<Ready>, service: &mut Service) -> Progress {
        if let Some(ready) = ready {
            self.readable |= ready.readable;
            self.writable |= ready.writable;
            self.ending |= ready.ended;
        }
        let Some(socket) = self.socket.take() else { return Progress::Over };
        for _ in 0..TURNS_MAX {
            let written = self.write(&socket);
            let answered = self.answer_when_due(service);
            if self.output.is_empty() && self.pending.is_none() {
                if self.after == After::Reset {
                    socket::reset(socket);
                    return Progress::Over;
                }
                if self.after == After::Close {
                    socket::end(&socket);
                    self.after = After::Goodbye(service.now + GOODBYE);
                }
            }
            let read =
                if self.wants_input() { self.read(&socket, service) } else { Moved::Blocked };
            self.ended |= read == Moved::Ended;
            if written == Moved::Broken || read == Moved::Broken {
                return Progress::Over;
            }
            let moved = |moved| matches!(moved, Moved::Bytes(_));
            if !moved(written) && !moved(read) && !answered {
                return self.rest(socket, service.now);
            }
        }
        self.socket = Some(socket);
        Progress::Again
    }

    /// Writes once, if there is something to write and room for it.
    fn write(&mut self, socket: &OwnedFd) -> Moved {
        if self.output.is_empty() || !self.writable {
            return Moved::Blocked;
        }
        let moved = self.output.write(socket);
        self.writable = moved != Moved::Blocked;
        moved
    }

    /// Nothing can be done now: what is being waited for?
    fn rest(&mut self, socket: OwnedFd, now: Instant) -> Progress {
        if let After::Goodbye(until) = self.after {
            if self.ended || until <= now {
                return Progress::Over;
            }
            self.socket = Some(socket);
            return Progress::Until(until);
        }
        let due = self.pending.as_ref().and_then(|pending| pending.due);
        if self.ended && due.is_none() && self.output.is_empty() {
            return Progress::Over;
        }
        self.socket = Some(socket);
        due.map_or(Progress::Waits, Progress::Until)
    }

    /// Whether a byte of input has somewhere to go.
    fn wants_input(&self) -> bool {
        match self.after {
            After::Goodbye(_) => true,
            After::Close | After::Reset => !self.upload.is_over(),
            After::Request if !self.upload.is_over() => true,
            After::Request => self.pending.is_none() && self.output.has_room(),
        }
    }

    /// Uses up what is held, then reads once.
    fn read(&mut self, socket: &OwnedFd, service: &mut Service) -> Moved {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let used = self.process(&held, service);
            self.held = held;
            self.held.drain(..used);
            if used > 0 {
                return Moved::Bytes(used);
            }
        }
        if !self.readable {
            return Moved::Blocked;
        }
        let mut scratch = std::mem::take(&mut service.scratch);
        let moved = socket::read(socket, &mut scratch);
        match moved {
            Moved::Bytes(count) => {
                // A short read has emptied the socket; an end that follows is a new event.
                self.readable = count == scratch.len() || self.ending;
                if self.held.is_empty() {
                    let used = self.process(&scratch[..count], service);
                    self.held.extend_from_slice(&scratch[used..count]);
                } else {
                    self.held.extend_from_slice(&scratch[..count]);
                }
            }
            _ => self.readable = false,
        }
        service.scratch = scratch;
        moved
    }

    /// Reads requests from `input` for as long as they may be answered; says how much it used.
    fn process(&mut self, input: &[u8], service: &Service) -> usize {
        let mut used = 0;
        while used < input.len() && self.wants_input() {
            let rest = &input[used..];
            if matches!(self.after, After::Goodbye(_)) {
                return input.len();
            }
            if !self.upload.is_over() {
                match self.take_body(rest) {
                    Some(count) => used += count,
                    None => self.refuse(service),
                }
                self.answer_when_due(service);
                continue;
            }
            match request::parse(rest) {
                Parsed::Partial => break,
                Parsed::Malformed => self.refuse(service),
                Parsed::Whole(request, length) => {
                    used += length;
                    self.begin(request, service);
                    self.answer_when_due(service);
                }
            }
        }
        used
    }

    /// Takes a piece of the body; nothing when it is malformed.
    fn take_body(&mut self, input: &[u8]) -> Option<usize> {
        match self.upload.take(input) {
            Taken::Framing(count) => Some(count),
            Taken::Malformed => None,
            Taken::Data(data) => {
                if let Some(pending) = &mut self.pending {
                    pending.bytes += data.len() as u64;
                    if matches!(pending.asked, Asked::Sink | Asked::Echo) {
                        pending.checksum = checksum::extend(pending.checksum, data);
                    }
                }
                Some(data.len())
            }
        }
    }

    /// Starts a request: what must be said before its body, and what it asks for.
    fn begin(&mut self, request: Request<'_>, service: &Service) {
        let number = service.counts.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = asked_of(&request, service);
        let mut echo = Vec::new();
        if asked == Asked::Echo {
            echo_head(&mut echo, &request, &service.name);
        }
        let closes = match asked {
            Asked::Close | Asked::Truncate(_) | Asked::UntilClose(_) => true,
            Asked::Chunked(_) | Asked::Trailers(_) => request.version == Version::Http10,
            _ => false,
        };
        if closes || !request.keep_alive {
            self.after = After::Close;
        }
        let waits = request.expects_continue && !request.upload.is_over();
        match asked {
            Asked::Reset => self.after = After::Reset,
            // A client that waits for 100 and gets its answer may or may not send the body.
            Asked::Early if waits => self.after = After::Close,
            _ if waits => self.output.head().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"),
            _ => {}
        }
        self.upload = match asked {
            Asked::Reset => Upload::None,
            Asked::Early if waits => Upload::None,
            _ => request.upload,
        };
        let due = due(asked, number, service);
        let head_only = if request.method == "HEAD" { HeadOnly::Yes } else { HeadOnly::No };
        let version = request.version;
        let pending = Pending { asked, head_only, version, echo, due, bytes: 0, checksum: 0 };
        self.pending = (asked != Asked::Reset).then_some(pending);
    }

    /// Writes the answer if nothing stands in its way any more; says whether it did.
    fn answer_when_due(&mut self, service: &Service) -> bool {
        let Some(pending) = &self.pending else { return false };
        let read = self.upload.is_over() || pending.asked == Asked::Early;
        if !read || pending.due.is_some_and(|due| due > service.now) {
            return false;
        }
        let Some(pending) = self.pending.take() else { return false };
        self.answer(&service.name).write(&pending);
        true
    }

    fn answer<'a>(&'a mut self, name: &'a str) -> Answer<'a> {
        let closing = if self.after == After::Close { Closing::Yes } else { Closing::No };
        Answer { output: &mut self.output, name, closing }
    }

    /// Answers what cannot be read and closes.
    fn refuse(&mut self, service: &Service) {
        self.upload = Upload::None;
        self.pending = None;
        self.after = After::Close;
        self.answer(&service.name).refuse();
    }
}

/// What is to be answered: what the path asks for, or what its temper makes of every request but
/// one that changes it.
fn asked_of(request: &Request<'_>, service: &Service) -> Asked {
    let asked = asked::parse(request.path());
    match (asked, service.desk.borrow().status()) {
        (Asked::Temper(_), _) | (_, None) => asked,
        (_, Some(status)) => Asked::Status(status),
    }
}

/// When the request of that number is answered, if not at once.
fn due(asked: Asked, number: u64, service: &Service) -> Option<Instant> {
    let mut desk = service.desk.borrow_mut();
    if let Asked::Temper(temper) = asked {
        desk.change(temper);
        return None;
    }
    delayed(asked, number, service).max(desk.done(service.now))
}

/// When its path has it answered, if not at once.
fn delayed(asked: Asked, number: u64, service: &Service) -> Option<Instant> {
    let delay = match asked {
        Asked::Slow(delay) => delay,
        Asked::Delay(Delay { slow, every, .. }) if number.is_multiple_of(every) => slow,
        Asked::Delay(Delay { usual, .. }) => usual,
        Asked::Stall(Stall { pause, at }) => {
            if number == at {
                let end = service.now + Duration::from_millis(pause);
                service.stalled_until.set(Some(end));
            }
            return service.stalled_until.get().filter(|end| *end > service.now);
        }
        _ => return None,
    };
    Some(service.now + Duration::from_millis(delay))
}

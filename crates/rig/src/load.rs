//! A closed-loop client: so many connections, each asking again as soon as it is answered, so many
//! requests in all. It always does the same work, so that instructions can be counted per request.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::poller::{Events, Poller, Ready};
use crate::slab::Slab;
use crate::socket::{self, Moved};

/// The shared buffer answers are read into.
const BUFFER_BYTES: usize = 256 << 10;
/// A longer answer head is an error.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long nothing at all may happen.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What to ask, and how often.
#[derive(Clone, Debug)]
pub struct Load {
    /// Whom.
    pub to: SocketAddr,
    /// For which path.
    pub path: String,
    /// Over how many connections at once.
    pub connections: usize,
    /// How often in all.
    pub requests: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Answers with status 200, whole.
    pub answered: u64,
    /// Requests that were not answered, or not with 200.
    pub errors: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Load {
    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// When no connection can be made, or nothing happens for 10 s.
    pub fn run(&self) -> io::Result<Outcome> {
        let path = &self.path;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.to);
        let mut run = Run {
            to: self.to,
            request: request.into_bytes(),
            poller: Poller::new()?,
            sessions: Slab::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            left: self.requests,
            running: 0,
            answered: 0,
            errors: 0,
        };
        let start = Instant::now();
        for _ in 0..self.connections {
            run.open()?;
        }
        let mut events = Events::new();
        while run.running > 0 {
            run.poller.wait(&mut events, Some(SILENCE_MAX))?;
            if events.len() == 0 {
                let reason = format!("no answer for {} s", SILENCE_MAX.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            for at in 0..events.len() {
                if let Some(ready) = run.poller.ready(&events, at) {
                    run.advance(ready)?;
                }
            }
        }
        let elapsed = start.elapsed();
        Ok(Outcome { answered: run.answered, errors: run.errors, elapsed })
    }
}

struct Run {
    to: SocketAddr,
    request: Vec<u8>,
    poller: Poller,
    sessions: Slab<Session>,
    buffer: Box<[u8]>,
    /// Requests not taken by a session yet.
    left: u64,
    /// Sessions that are open.
    running: usize,
    answered: u64,
    errors: u64,
}

/// One connection with one request under way.
struct Session {
    socket: OwnedFd,
    readable: bool,
    writable: bool,
    ending: bool,
    /// Bytes of the request that are written.
    sent: usize,
    /// The answer as far as it came.
    answer: Answer,
}

enum Answer {
    Head(Vec<u8>),
    /// Body bytes still to come.
    Body(u64),
}

/// Where a session stands after a turn.
enum Turn {
    Waits,
    Answered,
    Failed,
}

impl Run {
    /// Opens a session, if there is a request left for it.
    fn open(&mut self) -> io::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let socket = socket::dial(self.to)?;
        let answer = Answer::Head(Vec::new());
        let session =
            Session { socket, readable: false, writable: false, ending: false, sent: 0, answer };
        let token = self.sessions.insert(session);
        self.running += 1;
        let session = self.sessions.find(token).expect("just inserted");
        self.poller.watch(&session.socket, token)
    }

    fn advance(&mut self, ready: Ready) -> io::Result<()> {
        let Some(session) = self.sessions.find(ready.token) else { return Ok(()) };
        session.readable |= ready.readable;
        session.writable |= ready.writable;
        session.ending |= ready.ended;
        loop {
            match session.turn(&self.request, &mut self.buffer) {
                Turn::Waits => return Ok(()),
                Turn::Answered => self.answered += 1,
                Turn::Failed => {
                    self.errors += 1;
                    self.close(ready.token);
                    return self.open();
                }
            }
            if self.left == 0 {
                self.close(ready.token);
                return Ok(());
            }
            self.left -= 1;
            session.sent = 0;
            session.answer = Answer::Head(Vec::new());
        }
    }

    fn close(&mut self, token: u64) {
        self.sessions.remove(token);
        self.running -= 1;
    }
}

impl Session {
    /// Sends the request and reads its answer as far as that is possible now.
    fn turn(&mut self, request: &[u8], buffer: &mut [u8]) -> Turn {
        while self.sent < request.len() {
            if !self.writable {
                return Turn::Waits;
            }
            match socket::write(&self.socket, &request[self.sent..]) {
                Moved::Bytes(count) => self.sent += count,
                Moved::Blocked => self.writable = false,
                Moved::Ended | Moved::Broken => return Turn::Failed,
            }
        }
        while self.readable {
            match socket::read(&self.socket, buffer) {
                Moved::Bytes(count) => {
                    self.readable = count == buffer.len() || self.ending;
                    match self.take(&buffer[..count]) {
                        Turn::Waits => {}
                        turn => return turn,
                    }
                }
                Moved::Blocked => self.readable = false,
                Moved::Ended | Moved::Broken => return Turn::Failed,
            }
        }
        Turn::Waits
    }

    /// Takes a piece of the answer.
    fn take(&mut self, bytes: &[u8]) -> Turn {
        let (left, bytes) = match &mut self.answer {
            Answer::Body(left) => (*left, bytes.len() as u64),
            Answer::Head(head) => {
                head.extend_from_slice(bytes);
                let end = head.windows(4).position(|window| window == b"\r\n\r\n");
                let Some(end) = end.map(|at| at + 4) else {
                    return if head.len() > HEAD_BYTES_MAX { Turn::Failed } else { Turn::Waits };
                };
                let Some(length) = content_length(&head[..end]) else { return Turn::Failed };
                (length, (head.len() - end) as u64)
            }
        };
        // More than the answer is an answer to nothing.
        let Some(left) = left.checked_sub(bytes) else { return Turn::Failed };
        self.answer = Answer::Body(left);
        if left == 0 { Turn::Answered } else { Turn::Waits }
    }
}

/// The length of the body behind a head with status 200.
fn content_length(head: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    if !lines.next()?.starts_with("HTTP/1.1 200") {
        return None;
    }
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    lines.find_map(field)
}

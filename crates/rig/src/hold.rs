//! Idle connections: opened one after another, each after one answer, and kept. What a server has
//! for each of them is then to be seen in its memory.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::load::{Question, Questions, Session, Turn};
use crate::poller::Ready;
use crate::socket;

/// How long one connection may wait for its answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The shared buffer answers are read into.
const BUFFER_BYTES: usize = 64 << 10;

/// Which connections to open.
#[derive(Clone, Debug)]
pub struct Hold {
    /// To whom.
    pub to: SocketAddr,
    /// What each asks once.
    pub question: Question,
    /// How many.
    pub count: usize,
    /// From so many loopback addresses in turn, `127.0.0.1` and up; at least one.
    pub sources: u8,
}

/// Connections that are open and idle.
pub struct Held(Vec<Session>);

impl Held {
    /// Opens all of them.
    ///
    /// # Errors
    ///
    /// When one cannot be opened, or is not answered whole and with 200 within 10 s.
    pub fn open(hold: &Hold) -> io::Result<Self> {
        let mut questions = Questions::of(&hold.question, hold.to);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut sessions = Vec::with_capacity(hold.count);
        for number in 0..hold.count {
            let source = (number % usize::from(hold.sources.max(1))) as u8;
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, source.saturating_add(1)));
            let socket = socket::connect_from(from, hold.to, ANSWER_MAX)?;
            let mut session = Session::new(socket, questions.next(), Instant::now());
            answer(&mut session, &questions, &mut buffer)?;
            sessions.push(session);
        }
        Ok(Self(sessions))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many the server has neither closed nor sent anything to.
    #[must_use]
    pub fn still_open(&self) -> usize {
        self.0.iter().filter(|session| socket::is_quiet(session.socket())).count()
    }
}

/// Waits for the answer, on a socket that waits.
fn answer(session: &mut Session, questions: &Questions, buffer: &mut [u8]) -> io::Result<()> {
    let end = Instant::now() + ANSWER_MAX;
    while Instant::now() < end {
        session.note(Ready { token: 0, readable: true, writable: true, ended: false });
        match session.turn(questions, buffer) {
            Turn::Waits => {}
            Turn::Answered(..) => return Ok(()),
            Turn::Wrong(wrong) => return Err(io::Error::other(wrong.to_string())),
        }
    }
    let reason = format!("no answer for {} s", ANSWER_MAX.as_secs());
    Err(io::Error::new(ErrorKind::TimedOut, reason))
}

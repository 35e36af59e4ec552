//! A closed-loop client: so many connections, each asking again as soon as it is answered. It ends
//! after a number of requests, always the same work, so that instructions can be counted per
//! request; or after a time, with every request that was begun answered. Each answer is held to its
//! status and length: what is measured is what was asked for, never an error page.

mod outcome;
mod question;
mod session;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use outcome::{Errors, Outcome, Wrong};
pub(crate) use question::Questions;
pub use question::{Afterwards, Question};
pub(crate) use session::{Session, Turn};

use crate::bench::Latency;
use crate::poller::{Events, Poller, Ready};
use crate::slab::Slab;
use crate::socket;

/// The shared buffer answers are read into.
const BUFFER_BYTES: usize = 256 << 10;
/// How long nothing at all may happen.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// So many wrong answers, and asking on shows nothing more.
const ERRORS_MAX: u64 = 10_000;

/// What to ask, and how often.
#[derive(Clone, Debug)]
pub struct Load {
    /// Whom.
    pub to: SocketAddr,
    /// For what.
    pub question: Question,
    /// Over how many connections at once.
    pub connections: usize,
    /// Until when.
    pub end: End,
}

/// When no further request is begun. 10,000 wrong answers end a run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After so many.
    Requests(u64),
    /// After so long.
    After(Duration),
}

impl Load {
    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// When no socket can be had, or nothing happens for 10 s.
    pub fn run(&self) -> io::Result<Outcome> {
        let mut run = Run {
            to: self.to,
            questions: Questions::of(&self.question, self.to),
            poller: Poller::new()?,
            sessions: Slab::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            end: self.end,
            begun: 0,
            running: 0,
            start: Instant::now(),
            outcome: Outcome::none(),
        };
        for _ in 0..self.connections {
            run.open(Instant::now())?;
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
        run.outcome.elapsed = run.start.elapsed();
        Ok(run.outcome)
    }
}

struct Run {
    to: SocketAddr,
    questions: Questions,
    poller: Poller,
    sessions: Slab<Session>,
    buffer: Box<[u8]>,
    end: End,
    /// Requests taken by a session.
    begun: u64,
    /// Sessions that are open.
    running: usize,
    start: Instant,
    outcome: Outcome,
}

impl Run {
    /// Takes a request, if one is still to be asked.
    fn take(&mut self, now: Instant) -> Option<usize> {
        let goes_on = match self.end {
            End::Requests(requests) => self.begun < requests,
            End::After(time) => now.duration_since(self.start) < time,
        };
        if !goes_on || self.outcome.errors.sum() >= ERRORS_MAX {
            return None;
        }
        self.begun += 1;
        Some(self.questions.next())
    }

    /// Opens a session, if there is a request for it.
    fn open(&mut self, now: Instant) -> io::Result<()> {
        let Some(question) = self.take(now) else { return Ok(()) };
        let socket = socket::dial(self.to)?;
        let token = self.sessions.insert(Session::new(socket, question, now));
        self.running += 1;
        let session = self.sessions.find(token).expect("just inserted");
        self.poller.watch(session.socket(), token)
    }

    fn advance(&mut self, ready: Ready) -> io::Result<()> {
        let Some(session) = self.sessions.find(ready.token) else { return Ok(()) };
        session.note(ready);
        loop {
            let Some(session) = self.sessions.find(ready.token) else { return Ok(()) };
            let turn = session.turn(&self.questions, &mut self.buffer);
            let since = session.since();
            let (now, afterwards) = match turn {
                Turn::Waits => return Ok(()),
                Turn::Answered(body, afterwards) => {
                    let now = Instant::now();
                    self.outcome.answer(body, now.duration_since(since));
                    (now, afterwards)
                }
                Turn::Wrong(wrong) => {
                    self.outcome.wrong(wrong);
                    self.close(ready.token);
                    return self.open(Instant::now());
                }
            };
            if afterwards.or(self.questions.afterwards()) == Afterwards::Close {
                self.close(ready.token);
                return self.open(now);
            }
            let Some(question) = self.take(now) else {
                self.close(ready.token);
                return Ok(());
            };
            if let Some(session) = self.sessions.find(ready.token) {
                session.ask(question, now);
            }
        }
    }

    fn close(&mut self, token: u64) {
        self.sessions.remove(token);
        self.running -= 1;
    }
}

impl Outcome {
    fn none() -> Self {
        Self {
            answered: 0,
            body_bytes: 0,
            errors: Errors::default(),
            first: None,
            elapsed: Duration::ZERO,
            latency: Latency::new(),
        }
    }

    fn answer(&mut self, body_bytes: u64, took: Duration) {
        self.answered += 1;
        self.body_bytes += body_bytes;
        self.latency.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn wrong(&mut self, wrong: Wrong) {
        let count = match wrong {
            Wrong::Broken => &mut self.errors.broken,
            Wrong::Status(_) => &mut self.errors.status,
            Wrong::Length { .. } => &mut self.errors.length,
            Wrong::Malformed => &mut self.errors.malformed,
        };
        *count += 1;
        self.first.get_or_insert(wrong);
    }
}

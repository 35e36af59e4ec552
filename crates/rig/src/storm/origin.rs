//! The storm's origins: each can die, and do everything wrong that an origin can.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::book::{Book, Given};
use super::content::Content;
use super::dice::Dice;
use super::end::{Broken, End, Framing, Head, LEAVES, Leave};
use crate::wait::pause;

/// What an origin does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    LeavesUnread(Leave),
    LeavesUnanswered(Leave),
    LeavesInBody(Leave),
    Long,
    Speaks,
    Stalls,
    Garbage,
}

/// What the connections of one origin share.
struct State {
    address: SocketAddr,
    seed: u64,
    book: Arc<Book>,
    /// Requests it does wrong by, in percent.
    wrongs: AtomicU32,
    dead: AtomicBool,
    connections: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// One origin. Dropping it ends it.
pub(super) struct Origin(Arc<State>);

impl Origin {
    pub fn start(book: &Arc<Book>, seed: u64, number: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let state = Arc::new(State {
            address: listener.local_addr()?,
            seed: seed ^ (number + 1) << 40,
            book: Arc::clone(book),
            wrongs: AtomicU32::new(0),
            dead: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            open: Mutex::default(),
        });
        serve(&state, listener);
        Ok(Self(state))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// How many of a hundred requests it does wrong by from now on.
    pub fn err(&self, percent: u32) {
        self.0.wrongs.store(percent, Ordering::Relaxed);
    }

    /// Cuts all of its connections and listens no more.
    pub fn die(&self) {
        if !self.0.dead.swap(true, Ordering::SeqCst) {
            // Whoever waits for a connection is woken by one.
            drop(TcpStream::connect(self.0.address));
        }
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again at its address.
    pub fn revive(&self) -> io::Result<()> {
        if self.0.dead.load(Ordering::SeqCst) {
            let listener = TcpListener::bind(self.0.address)?;
            self.0.dead.store(false, Ordering::SeqCst);
            serve(&self.0, listener);
        }
        Ok(())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.die();
    }
}

fn serve(state: &Arc<State>, listener: TcpListener) {
    let state = Arc::clone(state);
    thread::spawn(move || {
        for stream in listener.incoming() {
            if state.dead.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            if let Ok(known) = stream.try_clone() {
                let mut open = state.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.push(known);
            }
            let number = state.connections.fetch_add(1, Ordering::Relaxed);
            let state = Arc::clone(&state);
            thread::spawn(move || {
                let known = stream.peer_addr().ok();
                if let Ok(end) = End::new(stream) {
                    let dice = Dice::of(state.seed, number);
                    let _ = Line { state: &state, end: Some(end), dice }.serve();
                }
                let mut open = state.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.retain(|other| other.peer_addr().ok() != known);
            });
        }
    });
}

/// One connection.
struct Line<'a> {
    state: &'a State,
    end: Option<End>,
    dice: Dice,
}

impl Line<'_> {
    fn serve(&mut self) -> Option<()> {
        loop {
            let end = self.end.as_mut()?;
            // Kept connections may be idle for longer than a message may.
            let head = loop {
                match end.head() {
                    Err(Broken::Late) if !self.state.dead.load(Ordering::SeqCst) => {}
                    other => break other.ok()?,
                }
            };
            self.exchange(&head)?;
        }
    }

    fn exchange(&mut self, head: &Head) -> Option<()> {
        let number = self.enter(head)?;
        let share = self.state.wrongs.load(Ordering::Relaxed);
        let leave = self.dice.pick(&LEAVES);
        let all = [
            Wrong::LeavesUnread(leave),
            Wrong::LeavesUnanswered(leave),
            Wrong::LeavesInBody(leave),
            Wrong::Long,
            Wrong::Speaks,
            Wrong::Stalls,
            Wrong::Garbage,
        ];
        let wrong = self.dice.percent(share).then(|| self.dice.pick(&all));
        if let Some(Wrong::LeavesUnread(leave)) = wrong {
            return self.leave(leave);
        }
        self.take_body(head, number)?;
        if self.dice.one_in(5) {
            pause(self.dice.millis(1..40));
        }
        match wrong {
            Some(Wrong::LeavesUnanswered(leave)) => return self.leave(leave),
            Some(Wrong::Stalls) => return self.leave(Leave::HalfCloses).filter(|()| false),
            _ => {}
        }
        self.answer(number, head.first.starts_with("HEAD "), wrong)?;
        if wrong == Some(Wrong::Speaks) {
            pause(self.dice.millis(1..30));
            let poison = self.poison("speaks unasked");
            self.end.as_mut()?.write(&poison).ok()?;
        }
        if matches!(wrong, Some(Wrong::Speaks | Wrong::Long)) {
            // Nobody asks here again. Who does all the same is not answered twice.
            let _ = self.end.as_mut()?.fill();
            return None;
        }
        Some(())
    }

    fn leave(&mut self, leave: Leave) -> Option<()> {
        self.state.book.note("an origin leaves");
        self.end.take()?.leave(leave);
        None
    }

    /// Holds a request's head against the book.
    fn enter(&self, head: &Head) -> Option<u32> {
        let mut pages = self.state.book.open();
        let mut parts = head.first.split(' ');
        let (method, target) = (parts.next()?, parts.next()?);
        let number: Option<usize> = target.strip_prefix("/r/").and_then(|text| text.parse().ok());
        let Some(asked) = number.and_then(|number| pages.asked.get_mut(number)) else {
            pages.violations.push(format!("a request nobody made: {head:?}"));
            return None;
        };
        asked.given += 1;
        let asked = asked.clone();
        let right = match (asked.body, head.framing()) {
            (Some(length), Some(Framing::Length(declared))) => length == declared,
            (Some(_), Some(Framing::Chunked)) | (None, None) => true,
            _ => false,
        };
        if asked.method != method || asked.refused || !right {
            pages.violations.push(format!("{asked:?} came as {head:?}"));
        }
        if asked.given > 1 && !asked.is_repeatable() {
            pages.violations.push(format!("sent twice, and may not be: {head:?}, {asked:?}"));
        }
        number.map(|number| number as u32)
    }

    fn take_body(&mut self, head: &Head, number: u32) -> Option<()> {
        let framing = head.framing().unwrap_or(Framing::None);
        let length = self.state.book.open().asked[number as usize].body.unwrap_or(0);
        let mut reading = Content { kind: b'q', number, length }.read();
        let read = self.end.as_mut()?.body(framing, &mut reading, usize::MAX);
        let mut pages = self.state.book.open();
        if let Some(wrong) = reading.wrong() {
            pages.violations.push(format!("the body of r{number} is not itself: {wrong}"));
        }
        let whole = pages.asked[number as usize].sent && reading.taken() == length;
        if read.is_ok() && !whole && framing != Framing::None {
            let taken = reading.taken();
            pages.violations.push(format!("{taken} bytes of {length} of r{number} look whole"));
        }
        read.ok()
    }

    fn give(&self, given: Given) -> u32 {
        self.state.book.give(given)
    }

    /// What looks like an answer, and is none of anything.
    fn poison(&self, kind: &'static str) -> Vec<u8> {
        self.state.book.note(kind);
        let given = self.give(Given {
            request: None,
            status: 200,
            framing: Framing::Length(0),
            body: 0,
            sent: true,
            seen: 0,
            at: Instant::now(),
        });
        format!("HTTP/1.1 200 OK\r\nX-Answer: {given}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    }

    fn answer(&mut self, number: u32, to_head: bool, wrong: Option<Wrong>) -> Option<()> {
        let statuses = [200, 200, 200, 200, 201, 204, 304, 404];
        let lies = matches!(wrong, Some(Wrong::Long | Wrong::LeavesInBody(_)));
        let status = if lies { 200 } else { self.dice.pick(&statuses) };
        let bodiless = to_head || matches!(status, 204 | 304);
        let body = self.dice.length() + usize::from(lies);
        let framing = match self.dice.below(8) {
            _ if status == 204 => Framing::None,
            _ if lies || bodiless || wrong == Some(Wrong::Speaks) => Framing::Length(body),
            0..4 => Framing::Length(body),
            4..7 => Framing::Chunked,
            _ => Framing::UntilClose,
        };
        let cut = matches!(wrong, Some(Wrong::LeavesInBody(_)));
        let request = Some(number).filter(|_| wrong != Some(Wrong::Garbage));
        let (at, sent) = (Instant::now(), !cut);
        let given = self.give(Given { request, status, framing, body, sent, seen: 0, at });
        if wrong == Some(Wrong::Garbage) {
            let text = format!("HTTP/1.1 200 OK\r\nX-Answer: {given}\r\nContent-Length: 1\r\n");
            let text = text + "Content-Length: 2\r\n\r\nab";
            self.end.as_mut()?.write(text.as_bytes()).ok()?;
            return self.leave(Leave::Closes);
        }
        let closes = framing == Framing::UntilClose || self.dice.one_in(12);
        let head = answer_head(given, status, framing, closes);
        let content = Content { kind: b'a', number: given, length: body };
        let behind = if wrong == Some(Wrong::Long) && !bodiless {
            self.poison("says too much")
        } else {
            vec![]
        };
        let stop = if cut { self.dice.below(body) } else { usize::MAX };
        let end = self.end.as_mut()?;
        end.write(head.as_bytes()).ok()?;
        if !bodiless {
            let chunked = framing == Framing::Chunked;
            end.write_body(chunked, content, &mut self.dice, (stop, &behind)).ok()?;
        }
        match wrong {
            Some(Wrong::LeavesInBody(leave)) if !bodiless => self.leave(leave),
            _ if closes => None,
            _ => Some(()),
        }
    }
}

fn answer_head(given: u32, status: u16, framing: Framing, closes: bool) -> String {
    let mut head = format!("HTTP/1.1 {status} Some\r\nX-Answer: {given}\r\n");
    match framing {
        Framing::Length(length) => head += &format!("Content-Length: {length}\r\n"),
        Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
        Framing::None | Framing::UntilClose => {}
    }
    if closes {
        head += "Connection: close\r\n";
    }
    head + "\r\n"
}

//! The storm's clients.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::book::{Asked, Book};
use super::content::Content;
use super::dice::Dice;
use super::end::{Broken, End, Framing, Head, LEAVES, Leave};
use crate::wait::pause;

/// What a client does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    LeavesAsking(Leave),
    LeavesWaiting(Leave),
    LeavesReading(Leave),
    Ambiguous,
    BrokenChunk,
}

/// What is asked of a client.
pub(super) struct Client<'a> {
    pub book: &'a Book,
    pub to: SocketAddr,
    /// Requests it does wrong by, in percent.
    pub wrongs: u32,
    /// Whether nothing at all may fail.
    pub calm: bool,
}

/// How long bytes may be on their way to whoever looks for them.
const UNDER_WAY: Duration = Duration::from_millis(50);

/// One request, as it is sent.
struct Question {
    number: u32,
    method: &'static str,
    content: Option<Content>,
    chunked: bool,
    wrong: Option<Wrong>,
    at: Instant,
}

impl Client<'_> {
    /// Asks until it is told to stop, or so many times.
    pub fn run(&self, dice: &mut Dice, stop: &AtomicBool, most: usize) {
        let mut left = most;
        while left > 0 && !stop.load(Ordering::Relaxed) {
            let end = TcpStream::connect(self.to).and_then(End::new);
            let Ok(mut end) = end else {
                self.book.violate("the gateway refused a connection".to_owned());
                return;
            };
            for _ in 0..=dice.below(8) {
                left = left.saturating_sub(1);
                match self.one(dice, end) {
                    Some(back) if left > 0 && !stop.load(Ordering::Relaxed) => end = back,
                    _ => break,
                }
                if dice.one_in(20) {
                    pause(dice.millis(1..300));
                }
                if !end.is_quiet() {
                    self.silent(end);
                    break;
                }
            }
        }
    }

    /// Nothing may come where no answer is owed.
    fn silent(&self, mut end: End) {
        let (more, broken) = end.rest();
        if more > 0 || broken == Broken::Late {
            self.book.violate(format!("{more} bytes and {broken:?} that nobody asked for"));
        }
    }

    fn question(&self, dice: &mut Dice) -> Question {
        let methods = ["GET", "GET", "GET", "HEAD", "DELETE", "PUT", "POST", "POST"];
        let method = dice.pick(&methods);
        let has_body = matches!(method, "PUT" | "POST" | "DELETE") && !dice.one_in(4);
        let chunked = dice.one_in(2);
        let leave = dice.pick(&LEAVES);
        let wrongs = [
            Wrong::LeavesAsking(leave),
            Wrong::LeavesWaiting(leave),
            Wrong::LeavesReading(leave),
            Wrong::Ambiguous,
            Wrong::BrokenChunk,
        ];
        let wrong = dice.percent(self.wrongs).then(|| dice.pick(&wrongs));
        let wrong = wrong.filter(|wrong| *wrong != Wrong::BrokenChunk || has_body && chunked);
        let length = dice.length();
        let number = self.book.ask(Asked {
            method,
            body: has_body.then_some(length),
            refused: wrong == Some(Wrong::Ambiguous),
            sent: !has_body || length == 0 && !chunked,
            ..Asked::default()
        });
        let content = has_body.then_some(Content { kind: b'q', number, length });
        Question { number, method, content, chunked, wrong, at: Instant::now() }
    }

    /// One request and its answer; the connection where it goes on.
    fn one(&self, dice: &mut Dice, mut end: End) -> Option<End> {
        let question = self.question(dice);
        self.book.note("asked");
        let mut head = question.head().into_bytes();
        let length = question.content.map_or(0, |content| content.length);
        if let Some(Wrong::LeavesAsking(leave)) = question.wrong.filter(|_| dice.one_in(2)) {
            head.truncate(1 + dice.below(head.len() - 1));
            let _ = end.write(&head);
            end.leave(leave);
            return None;
        }
        let partly = matches!(question.wrong, Some(Wrong::LeavesAsking(_) | Wrong::BrokenChunk));
        let stop = if partly { dice.below(length) } else { usize::MAX };
        let mut sent = end.write(&head);
        if let Some(content) = question.content.filter(|_| sent.is_ok()) {
            if !partly {
                // Before its last byte is: an origin may have read it before this goes on.
                self.book.open().asked[question.number as usize].sent = true;
            }
            let behind: &[u8] = if partly && question.chunked { b"x\r\n" } else { b"" };
            sent = end.write_body(question.chunked, content, dice, (stop, behind));
        }
        match question.wrong {
            Some(Wrong::LeavesAsking(leave)) => {
                end.leave(leave);
                return None;
            }
            Some(Wrong::LeavesWaiting(leave)) => {
                pause(dice.millis(0..30));
                end.leave(leave);
                return None;
            }
            _ => {}
        }
        // Whoever takes no more of a request may have answered it.
        self.answer(&question, dice, end).filter(|_| sent.is_ok() && question.wrong.is_none())
    }

    fn answer(&self, question: &Question, dice: &mut Dice, mut end: End) -> Option<End> {
        let number = question.number;
        let head = loop {
            match end.head() {
                Ok(head) if head.status() / 100 == 1 => {}
                Ok(head) => break head,
                Err(broken) => {
                    self.book.note("unanswered");
                    let fair = matches!(broken, Broken::Closed | Broken::Reset);
                    if !fair || self.calm {
                        self.book.violate(format!("r{number} was not answered: {broken:?}"));
                    }
                    return None;
                }
            }
        };
        let given = head.number("x-answer");
        self.book.open().asked[number as usize].status = Some(head.status());
        let closes = head.lists("connection", "close");
        let read = match given {
            None => self.own(question, &head, &mut end),
            Some(given) => self.given(question, &head, given, dice, &mut end),
        };
        if read != Some(()) {
            return None;
        }
        self.book.open().asked[number as usize].whole = true;
        if closes {
            self.silent(end);
            return None;
        }
        Some(end)
    }

    /// An answer of the gateway's own.
    fn own(&self, question: &Question, head: &Head, end: &mut End) -> Option<()> {
        let (number, status) = (question.number, head.status());
        self.book.note("own answer");
        let explained = match status {
            400 => matches!(question.wrong, Some(Wrong::Ambiguous | Wrong::BrokenChunk)),
            502..=504 => !self.calm,
            _ => false,
        };
        if !explained {
            self.book.violate(format!("r{number} was answered {status}: {head:?}"));
        }
        let length = head.number("content-length").unwrap_or(0);
        let length = if question.method == "HEAD" { 0 } else { length };
        let mut reading = Content { kind: b'o', number, length }.read();
        end.body(Framing::Length(length), &mut reading, usize::MAX).ok()
    }

    /// An origin's answer.
    fn given(
        &self,
        question: &Question,
        head: &Head,
        given: usize,
        dice: &mut Dice,
        end: &mut End,
    ) -> Option<()> {
        let (number, status) = (question.number, head.status());
        self.book.note("answer");
        let known = {
            let mut pages = self.book.open();
            let known = pages.given.get_mut(given)?;
            known.seen += 1;
            known.clone()
        };
        // What comes while a request is on its way cannot be known from its answer; and of one that
        // may be repeated the gateway does not ask the kernel what has come since it last looked.
        let grace = if question.is_repeatable() { UNDER_WAY } else { Duration::ZERO };
        if known.request.is_none() && question.at <= known.at + grace {
            self.book.note("excused");
            return None;
        }
        if known.request != Some(number) || known.status != status || known.seen > 1 {
            let after = question.at.saturating_duration_since(known.at);
            self.book.violate(format!(
                "{} r{number}, asked {after:?} after, was given a{given}: {known:?}",
                question.method
            ));
            return None;
        }
        let bodiless = question.method == "HEAD" || matches!(status, 204 | 304);
        let framing = match head.framing() {
            _ if bodiless => Framing::None,
            Some(framing) => framing,
            None => Framing::UntilClose,
        };
        let leaves = match question.wrong {
            Some(Wrong::LeavesReading(leave)) => Some(leave),
            _ => None,
        };
        let stop = if leaves.is_some() { dice.below(known.body) } else { usize::MAX };
        if dice.one_in(10) {
            pause(dice.millis(1..200));
        }
        let mut reading = Content { kind: b'a', number: given as u32, length: known.body }.read();
        let read = end.body(framing, &mut reading, stop);
        if let Some(wrong) = reading.wrong() {
            self.book.violate(format!("r{number}: a{given} is not itself: {wrong}"));
        }
        if leaves.is_some() {
            return None;
        }
        let sent = self.book.open().given[given].sent;
        let unknowable = bodiless || known.framing == Framing::UntilClose;
        let part = !unknowable && (!sent || reading.taken() != known.body);
        self.ended(number, given, read, part.then(|| reading.taken()))
    }

    /// Judges how the body of the answer `given` ended, of which only `part` came by its framing.
    fn ended(
        &self,
        number: u32,
        given: usize,
        read: Result<(), Broken>,
        part: Option<usize>,
    ) -> Option<()> {
        match read {
            Ok(()) => {
                if let Some(taken) = part {
                    self.book.violate(format!("r{number}: {taken} bytes of a{given} look whole"));
                }
            }
            Err(broken) if self.calm || broken == Broken::Late => {
                self.book.violate(format!("r{number}: a{given} was cut: {broken:?}"));
            }
            Err(_) => self.book.note("cut"),
        }
        read.ok()
    }
}

impl Question {
    fn is_repeatable(&self) -> bool {
        self.method != "POST" && self.content.is_none_or(|content| content.length == 0)
    }

    fn head(&self) -> String {
        let Self { number, method, .. } = self;
        let mut head = format!("{method} /r/{number:07} HTTP/1.1\r\nHost: storm\r\n");
        match self.content {
            Some(_) if self.chunked => head += "Transfer-Encoding: chunked\r\n",
            Some(content) => head += &format!("Content-Length: {}\r\n", content.length),
            None => {}
        }
        if self.wrong == Some(Wrong::Ambiguous) {
            head += "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        }
        head + "\r\n"
    }
}

//! What clients ask, and what they do wrong.

use super::ledger::Asked;
use super::world::World;
use gatehouse_rig::storm::{Content, Dice};

/// What a client does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Goes away within the head, or within the body.
    LeavesAsking(Leave),
    /// Goes away once it has asked.
    LeavesWaiting(Leave),
    /// Goes away in the middle of the answer.
    LeavesReading(Leave),
    /// Sends a part of its body, and waits.
    StallsSending,
    /// Reads a part of its answer, and waits.
    StallsReading,
    /// Frames its request in a way that could be read two ways.
    Ambiguous,
    /// Breaks the framing of its body.
    BrokenChunk,
}

/// How a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    Closes,
    Resets,
    HalfCloses,
}

const LEAVES: [Leave; 3] = [Leave::Closes, Leave::Resets, Leave::HalfCloses];

/// One request, as it will be sent.
pub struct Question {
    pub number: u32,
    pub method: &'static str,
    pub http10: bool,
    pub content: Option<Content>,
    pub chunked: bool,
    pub expects: bool,
    pub last: bool,
    pub wrong: Option<Wrong>,
}

impl Question {
    /// Some request, entered in the book; several are asked at once where it is not `alone`. A
    /// `duplex` client reads while it writes.
    pub fn some(world: &World, dice: &mut Dice, alone: bool, duplex: bool) -> Question {
        let methods = ["GET", "GET", "GET", "HEAD", "OPTIONS", "DELETE", "PUT", "POST", "POST"];
        let method = dice.pick(&methods);
        let has_body = alone && matches!(method, "PUT" | "POST" | "DELETE") && !dice.one_in(4);
        let http10 = alone && dice.one_in(10);
        let chunked = !http10 && dice.one_in(2);
        let weather = world.weather.get();
        let wrongs = [
            Wrong::LeavesAsking(dice.pick(&LEAVES)),
            Wrong::LeavesWaiting(dice.pick(&LEAVES)),
            Wrong::LeavesReading(dice.pick(&LEAVES)),
            Wrong::StallsSending,
            Wrong::StallsReading,
            Wrong::Ambiguous,
            Wrong::BrokenChunk,
        ];
        let wrong = dice.percent(weather.clients).then(|| dice.pick(&wrongs)).filter(|wrong| {
            alone
                && match wrong {
                    Wrong::StallsSending => has_body,
                    Wrong::BrokenChunk => has_body && chunked,
                    _ => true,
                }
        });
        let length = dice.length() + usize::from(wrong == Some(Wrong::BrokenChunk));
        let mut ledger = world.ledger.borrow_mut();
        let number = ledger.ask(Asked {
            method,
            body: has_body.then_some(length),
            refused: wrong == Some(Wrong::Ambiguous),
            duplex,
            // Where there is nothing to send, the head says so.
            sent: !has_body || length == 0 && !chunked,
            received: 0,
            given: 0,
            crossed: false,
            status: None,
            read: 0,
            whole: false,
            own: false,
        });
        Question {
            number,
            method,
            http10,
            content: has_body.then_some(Content { kind: b'q', number, length }),
            chunked,
            expects: has_body && !http10 && dice.one_in(5),
            last: dice.one_in(10),
            wrong,
        }
    }

    /// Its head as it is sent.
    pub fn head(&self) -> String {
        let Question { number, method, .. } = self;
        let version = if self.http10 { "1.0" } else { "1.1" };
        let mut head = format!("{method} /r/{number:07} HTTP/{version}\r\nHost: example.com\r\n");
        match self.content {
            Some(_) if self.chunked => head += "Transfer-Encoding: chunked\r\n",
            Some(content) => head += &format!("Content-Length: {}\r\n", content.length),
            None => {}
        }
        if self.wrong == Some(Wrong::Ambiguous) {
            head += "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        }
        if self.expects {
            head += "Expect: 100-continue\r\n";
        }
        match (self.last, self.http10) {
            (true, false) => head += "Connection: close\r\n",
            (false, true) => head += "Connection: keep-alive\r\n",
            _ => {}
        }
        head + "\r\n"
    }
}

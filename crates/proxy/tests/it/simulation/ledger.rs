//! What was asked, what was answered, and by whom: the book that both sides of the gateway are held
//! against. Also the trace, which is the same for the same seed.

use super::end::Framing;
use super::world::BUFFER_BYTES;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::now;
use std::collections::BTreeMap;

/// One request as its client means it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: &'static str,
    /// Bytes of its body; `None` has none.
    pub body: Option<usize>,
    /// Whether its framing is such that no origin may ever see it.
    pub refused: bool,
    /// Whether its client reads while it writes.
    pub duplex: bool,
    /// Whether the client has sent its last byte.
    pub sent: bool,
    /// Bytes of its body that an origin has read.
    pub received: usize,
    /// How often origins were given its head.
    pub given: u32,
    /// Whether it crossed the end of a connection that was idle for too long.
    pub crossed: bool,
    /// The status its client was given.
    pub status: Option<u16>,
    /// Body bytes of the answer its client read, and whether it has ended whole.
    pub read: usize,
    pub whole: bool,
    /// Whether the answer was the gateway's own.
    pub own: bool,
}

/// One answer as its origin means it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The request it is for; none for bytes that nobody may take for an answer.
    pub request: Option<u32>,
    pub status: u16,
    pub framing: Framing,
    /// Bytes of its body.
    pub body: usize,
    /// Whether all of it was handed to the network, its end included.
    pub sent: bool,
    /// Whether it was told so late that nobody could have known it from an answer.
    pub excused: bool,
    /// Clients that were given it.
    pub seen: u32,
}

/// The book.
#[derive(Default)]
pub struct Ledger {
    pub asked: Vec<Asked>,
    pub given: Vec<Given>,
    /// Connections that clients opened.
    pub connected: u64,
    /// Connections that origins hold.
    pub held: usize,
    /// What the access log says.
    pub log: String,
    /// Whether a plan has had bodies read before an endpoint is asked.
    pub buffers: bool,
    /// How often each thing happened: a storm that never rains proves nothing.
    pub events: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
    pub trace: Vec<String>,
    begun: Option<Moment>,
}

impl Ledger {
    /// Notes what happened.
    pub fn note(&mut self, event: &'static str, text: impl FnOnce() -> String) {
        *self.events.entry(event).or_default() += 1;
        let begun = *self.begun.get_or_insert_with(now);
        let since = now().since(begun).as_micros();
        self.trace.push(format!("{since:>10} {event}: {}", text()));
    }

    /// Notes what must not happen.
    pub fn violate(&mut self, text: String) {
        self.note("VIOLATION", || text.clone());
        self.violations.push(text);
    }

    /// Enters a request; its number.
    pub fn ask(&mut self, asked: Asked) -> u32 {
        self.asked.push(asked);
        (self.asked.len() - 1) as u32
    }

    /// Enters an answer; its number.
    pub fn give(&mut self, given: Given) -> u32 {
        self.given.push(given);
        (self.given.len() - 1) as u32
    }

    pub fn request(&mut self, number: u32) -> &mut Asked {
        &mut self.asked[number as usize]
    }

    pub fn answer(&mut self, number: u32) -> &mut Given {
        &mut self.given[number as usize]
    }
}

impl Asked {
    /// Whether it may be sent twice, where bodies may or may not be read before it is sent.
    pub fn is_repeatable(&self, buffers: bool) -> bool {
        let most = if buffers { BUFFER_BYTES as usize } else { 0 };
        self.body.unwrap_or(0) <= most && self.method != "POST"
    }
}

/// The number of the request for this path: seven digits, so that none is the beginning of another.
pub fn numbered(path: &str) -> Option<u32> {
    path.strip_prefix("/r/").filter(|digits| digits.len() == 7)?.parse().ok()
}

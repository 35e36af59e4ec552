//! What was asked and answered in a storm, by whom, and what must not have been.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::end::Framing;

/// One request as its client means it.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub method: &'static str,
    /// Bytes of its body; `None` has none.
    pub body: Option<usize>,
    /// Whether no origin may ever see it.
    pub refused: bool,
    /// Whether its client has sent its last byte.
    pub sent: bool,
    /// How often origins were given it.
    pub given: u32,
    /// What its client was given.
    pub status: Option<u16>,
    pub whole: bool,
}

impl Asked {
    /// Whether it may be sent twice.
    pub fn is_repeatable(&self) -> bool {
        self.body.unwrap_or(0) == 0 && self.method != "POST"
    }
}

/// One answer as its origin means it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The request it is for; none for what nobody may take for an answer.
    pub request: Option<u32>,
    pub status: u16,
    pub framing: Framing,
    pub body: usize,
    /// Whether all of it was written, or is about to be.
    pub sent: bool,
    pub seen: u32,
    pub at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Pages {
    pub asked: Vec<Asked>,
    pub given: Vec<Given>,
    /// How often each thing happened.
    pub events: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
}

/// The book that all actors write in.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<Pages>);

impl Book {
    pub fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, event: &'static str) {
        *self.open().events.entry(event).or_default() += 1;
    }

    pub fn violate(&self, text: String) {
        self.open().violations.push(text);
    }

    /// Enters a request; its number.
    pub fn ask(&self, asked: Asked) -> u32 {
        let mut pages = self.open();
        pages.asked.push(asked);
        (pages.asked.len() - 1) as u32
    }

    /// Enters an answer; its number.
    pub fn give(&self, given: Given) -> u32 {
        let mut pages = self.open();
        pages.given.push(given);
        (pages.given.len() - 1) as u32
    }
}

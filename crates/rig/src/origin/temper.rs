//! How an origin is, whatever it is asked: busy, slow, or broken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// How an origin is. As it is by default it answers at once what it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Temper {
    /// The status it gives to every request, if always the same.
    pub status: Option<u16>,
    /// How long it works on a request.
    pub work: Duration,
    /// Requests it works on at once; the others wait in the order they came, for as long as that
    /// takes, and are worked on even where nobody waits for them any more. 0 is no limit.
    pub slots: u32,
    /// Bytes of answers, the kernel's own share included, that are kept for each connection whose
    /// other end reads nothing; 0 is as many as the kernel likes. Read when it starts.
    pub unread: usize,
}

/// When an origin is done with what it has been asked.
#[derive(Debug)]
pub(super) struct Desk {
    temper: Temper,
    /// When each slot is free again.
    free: BinaryHeap<Reverse<Instant>>,
}

impl Desk {
    pub fn new(temper: Temper) -> Self {
        Self { temper, free: BinaryHeap::new() }
    }

    /// Is like that from now on. What it works on already is done when it was to be.
    pub fn change(&mut self, temper: Temper) {
        *self = Self::new(temper);
    }

    /// The status of every answer, if always the same.
    pub fn status(&self) -> Option<u16> {
        self.temper.status
    }

    /// When a request that comes now is done; `None` is at once.
    pub fn done(&mut self, now: Instant) -> Option<Instant> {
        let Temper { work, slots, .. } = self.temper;
        if work.is_zero() {
            return None;
        }
        if slots == 0 {
            return Some(now + work);
        }
        let busy = self.free.len() >= slots as usize;
        let earliest = if busy { self.free.pop() } else { None };
        let begins = earliest.map_or(now, |Reverse(free)| free.max(now));
        self.free.push(Reverse(begins + work));
        Some(begins + work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_beyond_the_slots_wait_in_turn() {
        let work = Duration::from_millis(10);
        let mut desk = Desk::new(Temper { work, slots: 2, ..Temper::default() });
        let now = Instant::now();
        let done: Vec<Duration> =
            (0..5).filter_map(|_| desk.done(now)).map(|done| done - now).collect();
        assert_eq!(done, [work, work, 2 * work, 2 * work, 3 * work]);
        assert_eq!(desk.done(now + 9 * work), Some(now + 10 * work));
    }
}

//! Who waits for a place at an upstream that is full, and in which order they are called: the more
//! important first, and first come, first served among those that are equally important.
//!
//! What is kept here is the order alone. Whoever gives a place back calls the first; whoever is
//! called tries, and stays the first if somebody was faster.

use std::collections::VecDeque;
use std::time::Duration;

/// How many may wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRule {
    /// Requests waiting at once, over all workers.
    pub waiting_max: u32,
    /// How long each may wait.
    pub timeout: Duration,
}

/// How important a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Served before all others, and the last to be turned away.
    High,
    /// Neither.
    #[default]
    Normal,
    /// Served when no other waits, and the first to be turned away.
    Low,
}

impl Priority {
    /// All, the most important first.
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    /// The word an operator writes.
    pub const fn word(self) -> &'static str {
        match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }
}

/// A place in a line. Numbers rise, and none comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    number: u64,
    priority: Priority,
}

/// What became of somebody who wanted to wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined<T> {
    /// It waits.
    Waits(Ticket),
    /// It waits in the place of the newest of the least important, who is to be told so.
    Instead(Ticket, T),
    /// The line is full of those that are at least as important.
    Full,
}

/// How somebody in a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may try.
    Called,
    /// It waits.
    Waits,
    /// It does not wait any more: another took its place.
    Displaced,
}

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    called: bool,
    bell: T,
}

/// A line of those that wait; `T` is what each is told by that it is called.
#[derive(Debug)]
pub struct Line<T> {
    lanes: [VecDeque<Waiting<T>>; Priority::ALL.len()],
    next: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { lanes: Default::default(), next: 0 }
    }
}

impl<T> Line<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Joins a line of at most `most`. Who finds it empty is called at once: the place it looked
    /// for may have come free before it could be told.
    pub fn join(&mut self, priority: Priority, most: usize, bell: T) -> Joined<T> {
        let full = self.len() >= most;
        let last = self.lanes.iter().rposition(|lane| !lane.is_empty());
        let displaced = match last {
            Some(last) if full && last > priority as usize => self.lanes[last].pop_back(),
            _ if full => return Joined::Full,
            _ => None,
        };
        let (number, called) = (self.next, self.is_empty());
        self.next += 1;
        self.lanes[priority as usize].push_back(Waiting { number, called, bell });
        let ticket = Ticket { number, priority };
        match displaced {
            Some(displaced) => Joined::Instead(ticket, displaced.bell),
            None => Joined::Waits(ticket),
        }
    }

    /// Calls the first; gives what it is told by.
    pub fn call(&mut self) -> Option<&T> {
        let first = self.lanes.iter_mut().find_map(VecDeque::front_mut)?;
        first.called = true;
        Some(&first.bell)
    }

    /// How the holder of this ticket stands; a call is answered by asking. What it is told by from
    /// now on is what `renew` makes of what it was told by.
    pub fn turn(&mut self, ticket: Ticket, renew: impl FnOnce(&mut T)) -> Turn {
        let Some(at) = self.find(ticket) else { return Turn::Displaced };
        let waiting = &mut self.lanes[ticket.priority as usize][at];
        renew(&mut waiting.bell);
        match std::mem::take(&mut waiting.called) {
            true => Turn::Called,
            false => Turn::Waits,
        }
    }

    /// Leaves the line, whether it was called or not.
    pub fn leave(&mut self, ticket: Ticket) {
        if let Some(at) = self.find(ticket) {
            self.lanes[ticket.priority as usize].remove(at);
        }
    }

    fn find(&self, ticket: Ticket) -> Option<usize> {
        let lane = &self.lanes[ticket.priority as usize];
        lane.binary_search_by_key(&ticket.number, |waiting| waiting.number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket<T>(joined: Joined<T>) -> Ticket {
        match joined {
            Joined::Waits(ticket) | Joined::Instead(ticket, _) => ticket,
            Joined::Full => panic!("it is full"),
        }
    }

    #[test]
    fn the_more_important_go_first_and_the_others_in_the_order_they_came() {
        let mut line = Line::default();
        let tickets: Vec<Ticket> = [
            (Priority::Low, "low"),
            (Priority::Normal, "one"),
            (Priority::Normal, "two"),
            (Priority::High, "high"),
        ]
        .map(|(priority, name)| ticket(line.join(priority, 9, name)))
        .to_vec();
        let mut order = Vec::new();
        while let Some(name) = line.call().copied() {
            order.push(name);
            let at = ["low", "one", "two", "high"].iter().position(|one| *one == name).unwrap();
            assert_eq!(line.turn(tickets[at], |_| {}), Turn::Called);
            line.leave(tickets[at]);
        }
        assert_eq!(order, ["high", "one", "two", "low"]);
    }

    #[test]
    fn a_full_line_turns_away_whoever_is_least_important_and_of_those_the_newest() {
        let mut line = Line::default();
        let old = ticket(line.join(Priority::Low, 3, "old"));
        let new = ticket(line.join(Priority::Low, 3, "new"));
        ticket(line.join(Priority::Normal, 3, "normal"));
        assert_eq!(line.join(Priority::Low, 3, "late"), Joined::Full);
        let Joined::Instead(_, displaced) = line.join(Priority::High, 3, "high") else {
            panic!("nobody was displaced")
        };
        assert_eq!(displaced, "new");
        assert_eq!(line.turn(new, |_| {}), Turn::Displaced);
        assert_eq!(line.turn(old, |_| {}), Turn::Called, "it had found an empty line");
        assert!(matches!(line.join(Priority::Normal, 3, "n"), Joined::Instead(_, "old")));
        assert_eq!(line.join(Priority::Normal, 3, "n"), Joined::Full);
        assert_eq!(line.len(), 3);
    }

    #[test]
    fn a_call_is_answered_once() {
        let mut line = Line::default();
        let one = ticket(line.join(Priority::Normal, 9, ()));
        let two = ticket(line.join(Priority::Normal, 9, ()));
        assert_eq!(line.turn(one, |()| {}), Turn::Called);
        assert_eq!(line.turn(one, |()| {}), Turn::Waits);
        assert_eq!(line.turn(two, |()| {}), Turn::Waits);
        line.leave(one);
        line.call();
        assert_eq!(line.turn(two, |()| {}), Turn::Called);
    }

    proptest! {
        /// Whatever happens, a line is never longer than it may be, and whoever is in it is found.
        #[test]
        fn whoever_waits_is_found_and_no_more_wait_than_may(
            moves in prop::collection::vec((0..3_usize, 0..4_u8, 0..20_usize), 1..200),
        ) {
            let mut line = Line::default();
            let mut inside: Vec<(Ticket, usize)> = Vec::new();
            for (at, (priority, kind, who)) in moves.into_iter().enumerate() {
                match kind {
                    0 | 1 => match line.join(Priority::ALL[priority], 5, at) {
                        Joined::Waits(ticket) => inside.push((ticket, at)),
                        Joined::Instead(ticket, gone) => {
                            inside.retain(|(_, other)| *other != gone);
                            inside.push((ticket, at));
                        }
                        Joined::Full => prop_assert_eq!(line.len(), 5),
                    },
                    2 if !inside.is_empty() => {
                        let (ticket, _) = inside.remove(who % inside.len());
                        line.leave(ticket);
                    }
                    _ => {
                        let first = inside.iter().min_by_key(|(one, _)| (one.priority, one.number));
                        prop_assert_eq!(line.call().copied(), first.map(|(_, at)| *at));
                    }
                }
                prop_assert!(line.len() <= 5 && line.len() == inside.len());
                for (ticket, _) in &inside {
                    let turn = line.turn(*ticket, |_| {});
                    prop_assert_ne!(turn, Turn::Displaced);
                }
            }
        }
    }
}

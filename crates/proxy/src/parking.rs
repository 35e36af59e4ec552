//! Idle client connections of one worker: without a task, a buffer, a room or a timer of their own.
//!
//! They stand in lines, one for each door and kind of silence; all in a line may be silent
//! equally long, so that the first is the next whose time is over.

use crate::client::{Client, Silence};
use crate::handshake::HandshakeEnd;
use crate::rooms;
use crate::worker::Worker;
use gatehouse_core::moment::Moment;
use gatehouse_wire::driver;
use gatehouse_wire::timer::{Timer, now};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Connections that are given a room before answers that have come meanwhile go first: what is
/// begun is brought to its end, and few rooms are in use at once.
const ROUND_MAX: usize = 32;

/// As many of them at least have never been served: a crowd of newcomers does not keep waiting who
/// was here before, nor the other way round.
const NEWCOMERS_MIN: usize = 8;

const _: () = assert!(NEWCOMERS_MIN < ROUND_MAX);

/// Nobody.
const NONE: u32 = u32::MAX;

const NEVER: Moment = Moment::from_nanos(u64::MAX);

/// One worker's idle connections.
pub(crate) struct Parking {
    places: RefCell<Places>,
    /// When the porter looks at the lines again.
    look: Cell<Moment>,
    porter: OnceCell<Waker>,
}

impl Default for Parking {
    fn default() -> Parking {
        Parking { places: RefCell::default(), look: Cell::new(NEVER), porter: OnceCell::new() }
    }
}

#[derive(Default)]
struct Places {
    all: Vec<Place>,
    free: Vec<u32>,
    lines: Vec<Line>,
}

struct Place {
    client: Option<Box<Client>>,
    before: u32,
    after: u32,
}

#[derive(Clone, Copy)]
struct Line {
    first: u32,
    last: u32,
}

impl Parking {
    /// Keeps a connection that waits for a request; gives it back where one has begun already.
    pub fn park(&self, mut client: Box<Client>) -> Option<Box<Client>> {
        let mut places = self.places.borrow_mut();
        let number = places.free.pop().unwrap_or(places.all.len() as u32);
        if client.io.stream.park(number).is_ready() {
            if (number as usize) < places.all.len() {
                places.free.push(number);
            }
            return Some(client);
        }
        let until = client.silent_until();
        places.put(number, client);
        drop(places);
        if until < self.look.get() {
            self.look.set(until);
            self.porter.get().inspect(|porter| porter.wake_by_ref());
        }
        None
    }

    /// Takes a connection out.
    fn take(&self, number: u32) -> Option<Box<Client>> {
        self.places.borrow_mut().take(number)
    }

    /// Takes out one that was silent for too long.
    fn take_silent(&self, now: Moment) -> Option<Box<Client>> {
        let mut places = self.places.borrow_mut();
        let mut firsts = places.lines.iter().map(|line| line.first);
        let silent = firsts.find(|first| places.until(*first).is_some_and(|until| until <= now))?;
        places.take(silent)
    }

    fn next_look(&self) -> Option<Moment> {
        let places = self.places.borrow();
        places.lines.iter().filter_map(|line| places.until(line.first)).min()
    }

    /// Connections that are idle.
    #[cfg(feature = "memory")]
    pub fn len(&self) -> usize {
        let places = self.places.borrow();
        places.all.len() - places.free.len()
    }

    /// Drops all: they hold the worker that holds them.
    pub fn clear(&self) {
        drop(std::mem::take(&mut *self.places.borrow_mut()));
    }

    /// Has those looked at whose listener is closed: such as have said nothing are ended.
    pub fn wake_closed(&self) {
        let places = self.places.borrow();
        let client = |number: u32| places.all[number as usize].client.as_ref();
        let closed = |number: &u32| client(*number).is_some_and(|one| one.door().is_closed());
        (0..places.all.len() as u32).filter(closed).for_each(driver::wake_parked);
    }
}

impl Places {
    fn until(&self, number: u32) -> Option<Moment> {
        Some(self.all.get(number as usize)?.client.as_ref()?.silent_until())
    }

    /// Whether that connection has been served before.
    fn is_known(&self, number: u32) -> bool {
        let client = self.all.get(number as usize).and_then(|place| place.client.as_ref());
        client.is_some_and(|client| client.served > 0)
    }

    /// The line a connection stands in.
    fn line(&mut self, client: &Client) -> &mut Line {
        let at = client.door().line * Silence::KINDS + client.silence() as usize;
        if self.lines.len() <= at {
            self.lines.resize(at + 1, Line { first: NONE, last: NONE });
        }
        &mut self.lines[at]
    }

    fn put(&mut self, number: u32, client: Box<Client>) {
        let line = self.line(&client);
        let before = std::mem::replace(&mut line.last, number);
        if before == NONE {
            line.first = number;
        } else {
            self.all[before as usize].after = number;
        }
        let place = Place { client: Some(client), before, after: NONE };
        match self.all.get_mut(number as usize) {
            Some(free) => *free = place,
            None => self.all.push(place),
        }
    }

    fn take(&mut self, number: u32) -> Option<Box<Client>> {
        let place = self.all.get_mut(number as usize)?;
        let client = place.client.take()?;
        let (before, after) = (place.before, place.after);
        let line = self.line(&client);
        if before == NONE {
            line.first = after;
        }
        if after == NONE {
            line.last = before;
        }
        if let Some(place) = self.all.get_mut(before as usize) {
            place.after = after;
        }
        if let Some(place) = self.all.get_mut(after as usize) {
            place.before = before;
        }
        self.free.push(number);
        Some(client)
    }
}

/// Those that have something to say, in the order they were heard.
#[derive(Default)]
struct Woken {
    heard: Vec<u32>,
    known: VecDeque<u32>,
    newcomers: VecDeque<u32>,
}

impl Woken {
    fn hear(&mut self, cx: &mut Context<'_>, parking: &Parking) {
        while driver::poll_woken(cx, &mut self.heard).is_ready() {}
        let places = parking.places.borrow();
        for number in self.heard.drain(..) {
            match places.is_known(number) {
                true => self.known.push_back(number),
                false => self.newcomers.push_back(number),
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty() && self.newcomers.is_empty()
    }

    /// Takes those whose turn it is.
    fn next_round(&mut self) -> impl Iterator<Item = u32> {
        let kept = self.newcomers.len().min(NEWCOMERS_MIN);
        let known = self.known.len().min(ROUND_MAX - kept);
        let newcomers = self.newcomers.len().min(ROUND_MAX - known);
        self.known.drain(..known).chain(self.newcomers.drain(..newcomers))
    }
}

/// Gives those that speak a room, and closes those that were silent for too long.
pub(crate) async fn porter(worker: Rc<Worker>) {
    let parking = &worker.parking;
    let mut woken = Woken::default();
    let mut timer = Timer::default();
    loop {
        poll_fn(|cx| {
            loop {
                woken.hear(cx, parking);
                if !woken.is_empty() {
                    return Poll::Ready(());
                }
                if parking.look.get() <= now() {
                    while let Some(mut silent) = parking.take_silent(now()) {
                        silent.io.stream.unpark();
                        if silent.silence() == Silence::Handshake {
                            worker.meters.handshakes[HandshakeEnd::Timeout as usize].add(1);
                        }
                    }
                    parking.look.set(parking.next_look().unwrap_or(NEVER));
                }
                parking.porter.get_or_init(|| cx.waker().clone());
                let look = parking.look.get();
                if look == NEVER || timer.poll_until(cx, look).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        for number in woken.next_round() {
            if let Some(mut client) = parking.take(number) {
                client.io.stream.unpark();
                if client.door().is_closed() {
                    client.io.stream.doubt();
                }
                rooms::serve(&worker, client);
            }
        }
        if !woken.is_empty() {
            worker.tasks.next_round().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an allocation costs beside its bytes, at most.
    const ALLOCATION_BYTES: usize = 24;

    #[test]
    fn a_crowd_of_newcomers_keeps_nobody_waiting_and_is_not_kept_waiting_for_ever() {
        let mut woken = Woken::default();
        woken.newcomers.extend(0..100);
        assert_eq!(woken.next_round().collect::<Vec<_>>(), (0..32).collect::<Vec<_>>());
        woken.known.extend(200..300);
        let round: Vec<u32> = woken.next_round().collect();
        assert_eq!(round, (200..224).chain(32..40).collect::<Vec<_>>());
        woken.newcomers.truncate(3);
        assert_eq!(woken.next_round().filter(|number| *number >= 200).count(), 29);
    }

    #[test]
    fn an_idle_connection_is_made_of_few_bytes() {
        let client = size_of::<Client>() + ALLOCATION_BYTES;
        let bytes = client + size_of::<Place>() + driver::SOCKET_BYTES;
        assert!(bytes <= 400, "{bytes} bytes, {client} of them the client");
    }
}

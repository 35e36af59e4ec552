//! Doors: a listener as the connections of one worker know it, from accept to close.
//!
//! A reload may give a listener another place in the plan, other rules, or take it away. A
//! connection keeps the rules it came in by; its requests are asked of the plan of now, in which
//! the listener has its place of now; and where it has none any more, of the last one that had it.

use crate::addresses::{Addresses, Counted};
use crate::worker::{View, Worker};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{ListenerId, ListenerPlan};
use gatehouse_core::rate::RateCell;
use gatehouse_core::vitals::Padded;
use gatehouse_wire::Peer;
use gatehouse_wire::timer::now;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// How long idle connections may ask once more before they are closed: what a client had sent by
/// the time it could have known is answered.
pub(crate) const AWAIT: Duration = Duration::from_secs(5);

/// A listener as all workers share it. It keeps its number and what is counted across reloads.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub number: u32,
    counts: Arc<Counts>,
}

/// What is counted of a listener over all workers.
#[derive(Debug, Default)]
struct Counts {
    /// Connections open.
    clients: Padded<AtomicU32>,
    /// Connections taken lately.
    rate: Padded<RateCell>,
    /// Connections open, by address.
    addresses: Addresses,
}

impl Seat {
    pub fn new(number: u32) -> Seat {
        Seat { number, counts: Arc::default() }
    }
}

/// A client has as many connections open as it may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverLimit;

/// Whether connections may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stance {
    Open,
    /// Each may ask once more; since this moment.
    Leaving(Moment),
    /// Whoever has said nothing is closed.
    Closed,
}

/// What a connection came in by.
#[derive(Debug)]
pub(crate) struct Door {
    seat: Seat,
    pub rules: ListenerPlan,
    /// Where its idle connections stand: all that stand there wait equally long.
    pub line: usize,
    place: Cell<ListenerId>,
    stance: Cell<Stance>,
    /// The last view in which it has a place.
    last: OnceCell<Rc<View>>,
}

impl Door {
    /// Connections open, over all workers.
    pub fn clients(&self) -> &AtomicU32 {
        &self.seat.counts.clients.0
    }

    /// Whether one more connection may be taken now, by the listener's rate.
    pub fn within_rate(&self) -> bool {
        let cell = &self.seat.counts.rate.0;
        self.rules.limits.connection_rate.is_none_or(|rate| cell.take(&rate, now()))
    }

    /// Counts a connection of this client's in, where the listener counts them; an error where it
    /// has as many as it may.
    pub fn enter_address(&self, peer: Peer) -> Result<Option<Counted>, OverLimit> {
        let Some(most) = self.rules.limits.address_connections_max else { return Ok(None) };
        let Peer::Ip(address) = peer else { return Ok(None) };
        if self.rules.trusts(address.ip()) {
            return Ok(None);
        }
        let counted = Counted::of(address.ip());
        match self.seat.counts.addresses.try_enter(counted, most) {
            true => Ok(Some(counted)),
            false => Err(OverLimit),
        }
    }

    /// Counts it out.
    pub fn leave_address(&self, counted: Counted) {
        self.seat.counts.addresses.leave(counted);
    }

    /// Its place in [`Door::view`].
    pub fn place(&self) -> ListenerId {
        self.place.get()
    }

    /// The snapshot that a request of one of its connections obeys.
    pub fn view(&self, worker: &Worker) -> Rc<View> {
        let view = worker.view();
        self.last.get().map_or(view, Rc::clone)
    }

    /// Whether its connections are closed behind the answer they wait for.
    pub fn is_leaving(&self) -> bool {
        self.stance.get() != Stance::Open
    }

    /// Whether those that have said nothing are closed.
    pub fn is_closed(&self) -> bool {
        self.stance.get() == Stance::Closed
    }

    fn leave(&self, now: Moment) {
        if self.stance.get() == Stance::Open {
            self.stance.set(Stance::Leaving(now));
        }
    }
}

/// When a worker takes no more connections from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Not yet.
    Told,
    /// Once nothing is queued: nobody else has the socket.
    Empty,
    /// Now: another process has it too, and takes what is queued.
    Now,
}

/// Where a worker takes new connections of a listener.
#[derive(Debug)]
pub(crate) struct Entrance {
    door: RefCell<Rc<Door>>,
    until: Cell<Until>,
}

impl Entrance {
    /// What a connection that comes now came in by.
    pub fn door(&self) -> Rc<Door> {
        Rc::clone(&self.door.borrow())
    }

    /// When it ends.
    pub fn until(&self) -> Until {
        self.until.get()
    }
}

/// One worker's doors.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// Those that are open, and those through which connections came that still are.
    all: RefCell<Vec<Rc<Door>>>,
    entrances: RefCell<Vec<Rc<Entrance>>>,
}

impl Doors {
    /// The entrance of the listener of this number; `None` where the view has no such listener.
    pub fn enter(&self, number: u32, view: &View) -> Option<Rc<Entrance>> {
        let mut entrances = self.entrances.borrow_mut();
        let known = entrances.iter().find(|known| known.door.borrow().seat.number == number);
        if let Some(known) = known {
            return Some(Rc::clone(known));
        }
        let at = view.seats.iter().position(|seat| seat.number == number)?;
        let door = RefCell::new(self.open(&view.seats[at], at, view));
        let entrance = Rc::new(Entrance { door, until: Cell::new(Until::Told) });
        entrances.push(Rc::clone(&entrance));
        Some(entrance)
    }

    fn open(&self, seat: &Seat, at: usize, view: &View) -> Rc<Door> {
        let mut all = self.all.borrow_mut();
        // Those that only this list knows have no connection left.
        all.retain(|door| Rc::strong_count(door) > 1);
        let free = (0..=all.len()).find(|line| all.iter().all(|door| door.line != *line));
        let door = Rc::new(Door {
            seat: seat.clone(),
            rules: view.plan.listeners[at].clone(),
            line: free.unwrap_or(all.len()),
            place: Cell::new(ListenerId(at as u8)),
            stance: Cell::new(Stance::Open),
            last: OnceCell::new(),
        });
        all.push(Rc::clone(&door));
        door
    }

    /// Follows another plan. Says whether a listener is gone; its tasks are to be woken then.
    pub fn follow(&self, view: &Rc<View>, before: &Rc<View>, now: Moment) -> bool {
        let place = |door: &Door| {
            let mut seats = view.seats.iter();
            seats.position(|seat| seat.number == door.seat.number)
        };
        let mut gone = false;
        for door in self.all.borrow().iter().filter(|door| door.last.get().is_none()) {
            match place(door) {
                Some(at) => door.place.set(ListenerId(at as u8)),
                None => {
                    gone = true;
                    door.leave(now);
                    let _ = door.last.set(Rc::clone(before));
                }
            }
        }
        self.entrances.borrow_mut().retain(|entrance| {
            let door = entrance.door();
            let Some(at) = place(&door) else {
                entrance.until.set(Until::Empty);
                return false;
            };
            if door.rules != view.plan.listeners[at] {
                entrance.door.replace(self.open(&view.seats[at], at, view));
            }
            true
        });
        gone
    }

    /// Leaves all listeners to another process.
    pub fn leave(&self, now: Moment) {
        self.all.borrow().iter().for_each(|door| door.leave(now));
        self.entrances.borrow().iter().for_each(|entrance| entrance.until.set(Until::Now));
    }

    /// Closes all.
    pub fn close(&self) {
        self.all.borrow().iter().for_each(|door| door.stance.set(Stance::Closed));
        for entrance in self.entrances.borrow().iter() {
            if entrance.until() == Until::Told {
                entrance.until.set(Until::Empty);
            }
        }
    }

    /// Closes those that were left for long enough; says whether there were any.
    pub fn look(&self, now: Moment) -> bool {
        let mut any = false;
        // One that only this list knows has no connection left, and may hold an old plan.
        self.all.borrow_mut().retain(|door| Rc::strong_count(door) > 1);
        for door in self.all.borrow().iter() {
            if let Stance::Leaving(since) = door.stance.get()
                && now.since(since) >= AWAIT
            {
                door.stance.set(Stance::Closed);
                any = true;
            }
        }
        any
    }
}

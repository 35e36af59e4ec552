//! Rooms for running exchanges: an idle connection keeps none.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Rooms kept for later; more are given back to the allocator.
const KEPT_MAX: usize = 4096;

type Room<F> = Pin<Box<Option<F>>>;

/// One worker's rooms for futures of one type.
pub(crate) struct Rooms<F> {
    free: RefCell<Vec<Room<F>>>,
}

impl<F: Future> Rooms<F> {
    pub fn new() -> Rooms<F> {
        Rooms { free: RefCell::new(Vec::new()) }
    }

    /// Puts what `make` makes into a room. Not async: a future that held the other one as an
    /// argument would be as large as it.
    fn enter(&self, make: impl FnOnce() -> F) -> Room<F> {
        let mut room = self.free.borrow_mut().pop().unwrap_or_else(|| Box::pin(None));
        room.set(Some(make()));
        room
    }

    fn leave(&self, mut room: Room<F>) {
        room.set(None);
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT_MAX {
            free.push(room);
        }
    }

    /// Runs what `make` makes to its end in a room.
    pub fn run(&self, make: impl FnOnce() -> F) -> impl Future<Output = F::Output> {
        let mut room = Some(self.enter(make));
        poll_fn(move |cx| {
            let Some(running) = room.as_mut().and_then(|room| room.as_mut().as_pin_mut()) else {
                return Poll::Pending;
            };
            let output = running.poll(cx);
            if output.is_ready()
                && let Some(room) = room.take()
            {
                self.leave(room);
            }
            output
        })
    }
}

/// Bytes of the room of what `make` would make.
#[cfg(feature = "memory")]
pub(crate) fn bytes_of_room<A, B, F: Future>(_make: impl FnOnce(A, B) -> F) -> usize {
    size_of::<Option<F>>()
}

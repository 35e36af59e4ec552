//! Idle upstream connections of one worker to one endpoint: last in, first out.

use crate::sessions::Sessions;
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::Keepalive;
use gatehouse_core::vitals::EndpointVitals;
use gatehouse_wire::socket::Probe;
use gatehouse_wire::{Inbox, Stream};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// A connection to an endpoint, counted while it is open.
#[derive(Debug)]
pub(crate) struct Origin {
    pub stream: Stream,
    pub inbox: Inbox,
    /// Where it is counted; one stream of a connection that is counted already is not.
    vitals: Option<Arc<EndpointVitals>>,
    /// When its last exchange ended.
    idle_since: Moment,
}

impl Origin {
    pub fn new(stream: Stream, inbox: Inbox, vitals: Arc<EndpointVitals>) -> Box<Origin> {
        vitals.connection_opened();
        Box::new(Origin { stream, inbox, vitals: Some(vitals), idle_since: Moment::START })
    }

    /// One stream of a connection that carries many.
    pub fn one_of_many(stream: Stream, inbox: Inbox) -> Box<Origin> {
        Box::new(Origin { stream, inbox, vitals: None, idle_since: Moment::START })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(vitals) = &self.vitals {
            vitals.connection_closed();
        }
    }
}

/// How sure a caller must be that a kept connection is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// What the driver knows is enough: the request can be repeated.
    Known,
    /// The kernel is asked: the request cannot be repeated.
    Asked,
}

/// Idle connections to one endpoint.
#[derive(Debug)]
#[allow(clippy::vec_box, reason = "the box is what a lease takes along")]
pub(crate) struct Pool {
    idle: RefCell<Vec<Box<Origin>>>,
    keepalive: Cell<Keepalive>,
    /// Those that carry many exchanges at once.
    pub sessions: Rc<Sessions>,
}

impl Pool {
    pub fn new(keepalive: Keepalive) -> Rc<Pool> {
        Rc::new(Pool {
            idle: RefCell::default(),
            keepalive: Cell::new(keepalive),
            sessions: Rc::default(),
        })
    }

    /// Follows a new plan: closes what it would not have kept.
    pub fn adopt(&self, keepalive: Keepalive) {
        self.keepalive.set(keepalive);
        let mut idle = self.idle.borrow_mut();
        let surplus = idle.len().saturating_sub(keepalive.idle_per_worker as usize);
        // The oldest stand first.
        idle.drain(..surplus);
    }

    /// The connection that was used last and is still as it was left. Those found closed, spoken
    /// to unasked or too old are dropped on the way.
    pub fn take(&self, now: Moment, certainty: Certainty) -> Option<Box<Origin>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut found) = idle.pop() {
            if now.since(found.idle_since) >= self.keepalive.get().idle_timeout {
                // All below it are older still.
                idle.clear();
                return None;
            }
            let seen = match certainty {
                Certainty::Known => found.stream.glance(),
                Certainty::Asked => found.stream.probe(),
            };
            if seen == Probe::Quiet {
                return Some(found);
            }
        }
        None
    }

    /// Whether a connection that has been idle since then may still be used.
    pub fn is_young(&self, since: Moment, now: Moment) -> bool {
        now.since(since) < self.keepalive.get().idle_timeout
    }

    /// Keeps a connection whose exchange has ended whole, if there is room.
    pub fn put(&self, mut origin: Box<Origin>, now: Moment) {
        if origin.stream.is_h2() {
            // Its connection is kept, and has been all the while.
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if origin.inbox.is_empty() && idle.len() < self.keepalive.get().idle_per_worker as usize {
            origin.idle_since = now;
            idle.push(origin);
        }
    }

    /// Drops what the origin has closed and what is too old.
    pub fn sweep(&self, now: Moment) {
        let most = self.keepalive.get().idle_timeout;
        self.idle.borrow_mut().retain_mut(|idle| {
            now.since(idle.idle_since) < most && idle.stream.glance() == Probe::Quiet
        });
        self.sessions.sweep(now, most);
    }

    /// Drops all.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.sessions.clear();
    }

    /// Idle connections kept.
    #[cfg(feature = "memory")]
    pub fn len(&self) -> usize {
        self.idle.borrow().len() + self.sessions.len()
    }
}

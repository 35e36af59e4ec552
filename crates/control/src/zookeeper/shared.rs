//! What the users of a session and the task that keeps it share.

use super::events::Inbox;
use super::link::{Call, Desk, Refusal};
use super::message::Happened;
use super::trouble::Trouble;
use crate::config::ZooKeeperServers;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;
use std::sync::Arc;
use std::task::Waker;

/// How it stands with the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody has been asked yet.
    Beginning,
    /// There is one.
    Up {
        /// The session; another than before where that has expired.
        session: i64,
    },
    /// There is none.
    Away(Trouble),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub servers: Arc<ZooKeeperServers>,
    pub state: RefCell<State>,
    /// How many [`Client`]s there are.
    pub users: Cell<usize>,
    pub wants_end: Cell<bool>,
    /// Whoever drives the connection.
    task: RefCell<Option<Waker>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub phase: Phase,
    /// Grows with each change of the phase.
    pub changes: u64,
    pub ended: bool,
    pub calls: VecDeque<Call>,
    pub inboxes: Vec<Weak<Inbox>>,
    /// Whoever waits for another phase.
    pub waiting: Vec<Waker>,
}

impl State {
    fn new() -> State {
        State {
            phase: Phase::Beginning,
            changes: 0,
            ended: false,
            calls: VecDeque::new(),
            inboxes: Vec::new(),
            waiting: Vec::new(),
        }
    }
}

impl Shared {
    pub fn new(servers: Arc<ZooKeeperServers>) -> Shared {
        Shared {
            servers,
            state: RefCell::new(State::new()),
            users: Cell::new(0),
            wants_end: Cell::new(false),
            task: RefCell::default(),
        }
    }

    /// Wakes whoever drives the connection.
    pub fn wake(&self) {
        if let Some(waker) = self.task.take() {
            waker.wake();
        }
    }

    /// Has the session closed.
    pub fn end(&self) {
        self.wants_end.set(true);
        self.wake();
    }

    pub fn set_phase(&self, phase: Phase) {
        let mut state = self.state.borrow_mut();
        if let Phase::Away(trouble) = &phase {
            for call in state.calls.drain(..) {
                call.slot.put(Err(Refusal::Lost(trouble.clone())));
            }
        }
        state.phase = phase;
        state.changes += 1;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Desk for Shared {
    fn next_call(&self) -> Option<Call> {
        self.state.borrow_mut().calls.pop_front()
    }

    fn tell(&self, happened: Happened, path: &str) {
        let Some(path) = path.strip_prefix(&*self.servers.chroot) else { return };
        let path = if path.is_empty() { "/" } else { path };
        self.state.borrow_mut().inboxes.retain(|inbox| match inbox.upgrade() {
            Some(inbox) => {
                inbox.put(happened, path);
                true
            }
            None => false,
        });
    }

    fn wants_end(&self) -> bool {
        self.wants_end.get()
    }

    fn wakes(&self, waker: &Waker) {
        self.task.replace(Some(waker.clone()));
    }
}

//! The loop: accepts, advances what became ready, keeps the time of delayed answers. It knows
//! nothing of HTTP.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::Counts;
use super::connection::{Connection, Progress};
use super::temper::{Desk, Temper};
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::poller::{Events, Poller, Ready, Waker};
use crate::slab::Slab;
use crate::socket;

/// The token of the listener; connections have smaller ones.
const LISTENER: u64 = u64::MAX - 1;
/// The shared buffer everything is read into.
const READ_BYTES: usize = 256 << 10;
/// Connections accepted before others are served again.
const ACCEPTS_MAX: usize = 64;

const RUN: u8 = 0;
const STOP: u8 = 1;
const KILL: u8 = 2;

/// What the owner wants.
#[derive(Debug, Default)]
pub(super) struct Order(AtomicU8);

impl Order {
    pub fn stop(&self) {
        self.0.store(STOP, Ordering::Release);
    }

    pub fn kill(&self) {
        self.0.store(KILL, Ordering::Release);
    }
}

/// What every connection of one origin shares.
pub(super) struct Service {
    pub name: String,
    pub counts: Arc<Counts>,
    /// What was read last; a connection copies what it must keep.
    pub scratch: Box<[u8]>,
    /// The time at the last return of the poller.
    pub now: Instant,
    /// When the pause that `/stall` asked for is over.
    pub stalled_until: Cell<Option<Instant>>,
    /// How busy it is.
    pub desk: RefCell<Desk>,
}

pub(super) struct Engine {
    poller: Poller,
    listener: OwnedFd,
    connections: Slab<Connection>,
    /// Connections that used up their turn.
    again: VecDeque<u64>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    service: Service,
    order: Arc<Order>,
}

impl Engine {
    pub fn start(
        name: &str,
        address: SocketAddr,
        counts: Arc<Counts>,
        order: Arc<Order>,
        temper: Temper,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        let (listener, _) = socket::listen(address)?;
        if temper.unread > 0 {
            // Accepted sockets inherit it; the kernel doubles it, for what it needs itself.
            set_socket_send_buffer_size(&listener, temper.unread / 2)?;
        }
        poller.watch_listener(&listener, LISTENER)?;
        let scratch = vec![0; READ_BYTES].into_boxed_slice();
        let (name, now) = (name.to_owned(), Instant::now());
        let desk = RefCell::new(Desk::new(temper));
        let stalled_until = Cell::new(None);
        let service = Service { name, counts, scratch, now, stalled_until, desk };
        Ok(Self {
            poller,
            listener,
            connections: Slab::new(),
            again: VecDeque::new(),
            timers: BinaryHeap::new(),
            service,
            order,
        })
    }

    pub fn waker(&self) -> Waker {
        self.poller.waker()
    }

    pub fn run(mut self) {
        let mut events = Events::new();
        while self.order.0.load(Ordering::Acquire) == RUN {
            // epoll fails only for arguments that are wrong, which a test should hear of.
            self.poller.wait(&mut events, self.limit()).expect("epoll_wait");
            self.service.now = Instant::now();
            for at in 0..events.len() {
                match self.poller.ready(&events, at) {
                    Some(Ready { token: LISTENER, .. }) => self.accept(),
                    Some(ready) => self.advance(ready.token, Some(ready)),
                    None => {}
                }
            }
            for _ in 0..self.again.len() {
                let Some(token) = self.again.pop_front() else { break };
                self.advance(token, None);
            }
            self.ring();
        }
        if self.order.0.load(Ordering::Acquire) == KILL {
            self.connections.drain().for_each(Connection::reset);
        }
        self.service.counts.open.store(0, Ordering::Relaxed);
    }

    /// How long nothing needs to be done unless a socket changes.
    fn limit(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let Reverse((due, _)) = self.timers.peek()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let Some(socket) = socket::accept(&self.listener) else { return };
            let counts = &self.service.counts;
            counts.connections.fetch_add(1, Ordering::Relaxed);
            let token = self.connections.insert(Connection::new());
            if self.poller.watch(&socket, token).is_ok() {
                counts.open.fetch_add(1, Ordering::Relaxed);
                self.connections.find(token).expect("just inserted").take(socket);
            } else {
                self.connections.remove(token);
            }
        }
    }

    fn advance(&mut self, token: u64, ready: Option<Ready>) {
        let Some(connection) = self.connections.find(token) else { return };
        match connection.advance(ready, &mut self.service) {
            Progress::Waits => {}
            Progress::Again => self.again.push_back(token),
            Progress::Until(due) => self.timers.push(Reverse((due, token))),
            Progress::Over => {
                self.connections.remove(token);
                self.service.counts.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Advances the connections whose time has come.
    fn ring(&mut self) {
        while let Some(Reverse((due, token))) = self.timers.peek().copied() {
            if due > self.service.now {
                return;
            }
            self.timers.pop();
            self.advance(token, None);
        }
    }
}

//! A plain TCP relay: reads here, writes there, looks at nothing. It is the practical limit that a
//! proxy on epoll is measured against: one thread, one shared buffer, no call that is not needed.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::poller::{Events, Poller, Ready};
use crate::slab::Slab;
use crate::socket::{self, Moved};

const LISTENER: u64 = u64::MAX - 1;
/// Set in the token of a pair's upstream side. Places in the slab stay far below.
const UPSTREAM: u64 = 1 << 31;
/// The shared buffer.
const BUFFER_BYTES: usize = 64 << 10;
/// Connections accepted before others are served again.
const ACCEPTS_MAX: usize = 64;
/// Reads of one direction before others have their turn.
const TURNS_MAX: usize = 16;

/// A relay that listens.
pub struct Relay {
    poller: Poller,
    listener: OwnedFd,
    address: SocketAddr,
    to: SocketAddr,
    pairs: Slab<Pair>,
    /// Pairs that used up their turn.
    again: Vec<u64>,
    buffer: Box<[u8]>,
}

impl Relay {
    /// Listens on `address`, to relay each connection to one of its own to `to`.
    ///
    /// # Errors
    ///
    /// When the address is in use.
    pub fn bind(address: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let poller = Poller::new()?;
        let (listener, address) = socket::listen(address)?;
        poller.watch_listener(&listener, LISTENER)?;
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        let (pairs, again) = (Slab::new(), Vec::new());
        Ok(Self { poller, listener, address, to, pairs, again, buffer })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Relays until the process ends.
    ///
    /// # Errors
    ///
    /// When the kernel takes its readiness away.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::new();
        loop {
            let limit = (!self.again.is_empty()).then_some(std::time::Duration::ZERO);
            self.poller.wait(&mut events, limit)?;
            for token in std::mem::take(&mut self.again) {
                self.advance(token);
            }
            for at in 0..events.len() {
                match self.poller.ready(&events, at) {
                    Some(Ready { token: LISTENER, .. }) => self.accept(),
                    Some(ready) => self.note(ready),
                    None => {}
                }
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let Some(client) = socket::accept(&self.listener) else { return };
            let Ok(upstream) = socket::dial(self.to) else { continue };
            let token = self.pairs.insert(Pair::new());
            let client_watched = self.poller.watch(&client, token);
            let upstream_watched = self.poller.watch(&upstream, token | UPSTREAM);
            match self.pairs.find(token) {
                Some(pair) if client_watched.and(upstream_watched).is_ok() => {
                    pair.client.socket = Some(client);
                    pair.upstream.socket = Some(upstream);
                }
                _ => drop(self.pairs.remove(token)),
            }
        }
    }

    fn note(&mut self, ready: Ready) {
        let token = ready.token & !UPSTREAM;
        let Some(pair) = self.pairs.find(token) else { return };
        let side = if ready.token == token { &mut pair.client } else { &mut pair.upstream };
        side.readable |= ready.readable;
        side.writable |= ready.writable;
        side.ending |= ready.ended;
        self.advance(token);
    }

    fn advance(&mut self, token: u64) {
        let Some(pair) = self.pairs.find(token) else { return };
        match pair.advance(&mut self.buffer) {
            Progress::Waits => {}
            Progress::Again => self.again.push(token),
            Progress::Over => drop(self.pairs.remove(token)),
            Progress::Broken => {
                let pair = self.pairs.remove(token);
                let sockets = pair.into_iter().flat_map(|pair| [pair.client, pair.upstream]);
                sockets.filter_map(|side| side.socket).for_each(socket::reset);
            }
        }
    }
}

enum Progress {
    Waits,
    Again,
    Over,
    Broken,
}

/// A client's connection and its upstream connection.
struct Pair {
    client: Side,
    upstream: Side,
}

#[derive(Default)]
struct Side {
    socket: Option<OwnedFd>,
    readable: bool,
    writable: bool,
    /// Its end is there to be read, behind what else is.
    ending: bool,
    /// Its end was read.
    ended: bool,
    /// Read on the other side, and not written here yet.
    backlog: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        Self { client: Side::default(), upstream: Side::default() }
    }

    fn advance(&mut self, buffer: &mut [u8]) -> Progress {
        let up = pump(&mut self.client, &mut self.upstream, buffer);
        let down = pump(&mut self.upstream, &mut self.client, buffer);
        match (up, down) {
            (Progress::Broken, _) | (_, Progress::Broken) => Progress::Broken,
            (Progress::Over, Progress::Over) => Progress::Over,
            (Progress::Again, _) | (_, Progress::Again) => Progress::Again,
            _ => Progress::Waits,
        }
    }
}

/// Moves bytes in one direction, for a bounded number of turns.
fn pump(from: &mut Side, to: &mut Side, buffer: &mut [u8]) -> Progress {
    for _ in 0..TURNS_MAX {
        if !to.backlog.is_empty() {
            if !to.writable {
                return Progress::Waits;
            }
            let backlog = std::mem::take(&mut to.backlog);
            match to.write(&backlog) {
                None => return Progress::Broken,
                Some(count) => to.backlog.extend_from_slice(&backlog[count..]),
            }
            continue;
        }
        if from.ended {
            return Progress::Over;
        }
        match from.read(buffer) {
            Moved::Blocked => return Progress::Waits,
            Moved::Broken => return Progress::Broken,
            Moved::Ended => {
                from.ended = true;
                to.socket.iter().for_each(socket::end);
            }
            Moved::Bytes(count) => match to.write(&buffer[..count]) {
                None => return Progress::Broken,
                Some(written) => to.backlog.extend_from_slice(&buffer[written..count]),
            },
        }
    }
    Progress::Again
}

impl Side {
    fn read(&mut self, buffer: &mut [u8]) -> Moved {
        let Some(socket) = self.socket.as_ref().filter(|_| self.readable) else {
            return Moved::Blocked;
        };
        let moved = socket::read(socket, buffer);
        self.readable = match moved {
            // A short read has emptied the socket; an end that follows is a new event.
            Moved::Bytes(count) => count == buffer.len() || self.ending,
            _ => false,
        };
        moved
    }

    /// How much of `bytes` was written; nothing when the connection is gone.
    fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let Some(socket) = self.socket.as_ref().filter(|_| self.writable) else {
            return Some(0);
        };
        match socket::write(socket, bytes) {
            Moved::Bytes(count) => {
                self.writable = count == bytes.len();
                Some(count)
            }
            Moved::Blocked => {
                self.writable = false;
                Some(0)
            }
            Moved::Ended | Moved::Broken => None,
        }
    }
}

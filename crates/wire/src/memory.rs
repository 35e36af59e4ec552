//! The tests' network: streams that are two bounded queues, addresses that are a table. No
//! socket, no descriptor, no clock of its own. A rough one moves bytes in pieces of any size, wakes
//! for nothing and takes its time to connect, as a seed decides.

use crate::net::Peer;
use crate::socket::{Probe, Stream};
use crate::timer::sleep;
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Bytes one direction of a stream holds before a writer waits.
const PIPE_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    closed: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What makes a network rough: a generator all of its streams share (Marsaglia's xorshift64).
#[derive(Debug)]
struct Roughness(Mutex<u64>);

impl Roughness {
    fn below(&self, bound: usize) -> usize {
        let mut state = lock(&self.0);
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 16) as usize % bound.max(1)
    }

    /// How many of `count` bytes move at once: at least one, every other time all.
    fn share(&self, count: usize) -> usize {
        match self.below(4) {
            0 => (1 + self.below(16)).min(count),
            1 => (1 + self.below(count)).min(count),
            _ => count,
        }
    }

    /// Whether whoever asks is told to wait, and woken at once.
    fn falters(&self, cx: &Context<'_>) -> bool {
        let falters = self.below(8) == 0;
        if falters {
            cx.waker().wake_by_ref();
        }
        falters
    }
}

/// One end of an in-memory connection.
#[derive(Debug)]
pub struct MemoryStream {
    inward: Arc<Mutex<Pipe>>,
    outward: Arc<Mutex<Pipe>>,
    rough: Option<Arc<Roughness>>,
    /// What wakes it where it was last parked.
    parked: Option<(u32, Waker)>,
}

impl MemoryStream {
    /// Two ends of one connection.
    pub fn pair() -> (MemoryStream, MemoryStream) {
        MemoryStream::pair_over(None)
    }

    fn pair_over(rough: Option<&Arc<Roughness>>) -> (MemoryStream, MemoryStream) {
        let (one, two) = (Arc::default(), Arc::default());
        let rough = rough.cloned();
        let (inward, outward) = (Arc::clone(&one), Arc::clone(&two));
        let first = MemoryStream { inward, outward, rough: rough.clone(), parked: None };
        (first, MemoryStream { inward: two, outward: one, rough, parked: None })
    }

    /// Whether this call is put off.
    fn falters(&self, cx: &Context<'_>) -> bool {
        self.rough.as_ref().is_some_and(|rough| rough.falters(cx))
    }

    /// How many of `count` bytes move in this call.
    fn share(&self, count: usize) -> usize {
        self.rough.as_ref().filter(|_| count > 0).map_or(count, |rough| rough.share(count))
    }

    /// See [`Stream::poll_read_ready`].
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.inward);
        if pipe.bytes.is_empty() && !pipe.closed && !pipe.reset {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// See [`Stream::park`].
    pub fn park(&mut self, number: u32) -> Poll<()> {
        let known = self.parked.take().filter(|(known, _)| *known == number);
        let parked = known.unwrap_or_else(|| (number, Waker::from(Arc::new(Parked(number)))));
        let ready = self.poll_read_ready(&mut Context::from_waker(&parked.1)).map(drop);
        self.parked = Some(parked);
        ready
    }

    /// See [`Stream::poll_read`].
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.falters(cx) {
            return Poll::Pending;
        }
        let mut pipe = lock(&self.inward);
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.bytes.is_empty() {
            if pipe.closed {
                return Poll::Ready(Ok(0));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = self.share(room.len().min(pipe.bytes.len()));
        let (front, back) = pipe.bytes.as_slices();
        let (near, far) = room[..count].split_at_mut(front.len().min(count));
        near.copy_from_slice(&front[..near.len()]);
        far.copy_from_slice(&back[..far.len()]);
        pipe.bytes.drain(..count);
        pipe.wake();
        Poll::Ready(Ok(count))
    }

    /// See [`Stream::poll_peek`].
    pub fn poll_peek(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.inward);
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.bytes.is_empty() && !pipe.closed {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.len().min(pipe.bytes.len());
        for (slot, byte) in room.iter_mut().zip(&pipe.bytes) {
            *slot = *byte;
        }
        Poll::Ready(Ok(count))
    }

    /// See [`Stream::poll_write_vectored`].
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.falters(cx) {
            return Poll::Pending;
        }
        let mut pipe = lock(&self.outward);
        if pipe.reset || pipe.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut room = PIPE_BYTES - pipe.bytes.len();
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        room = self.share(room);
        let mut written = 0;
        for slice in slices {
            let count = room.min(slice.len());
            pipe.bytes.extend(&slice[..count]);
            room -= count;
            written += count;
        }
        pipe.wake();
        Poll::Ready(Ok(written))
    }

    /// Sends a FIN.
    pub fn shutdown(&mut self) {
        let mut pipe = lock(&self.outward);
        pipe.closed = true;
        pipe.wake();
    }

    /// Sends a reset: what is under way is lost.
    pub fn reset(&mut self) {
        for pipe in [&self.inward, &self.outward] {
            let mut pipe = lock(pipe);
            pipe.reset = true;
            pipe.bytes.clear();
            pipe.wake();
        }
    }

    /// See [`Stream::probe`].
    pub fn probe(&self) -> Probe {
        let pipe = lock(&self.inward);
        let quiet = pipe.bytes.is_empty() && !pipe.closed && !pipe.reset;
        if quiet { Probe::Quiet } else { Probe::Stale }
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        // As the kernel does: closing with bytes unread is a reset, without is a FIN.
        let unread = !lock(&self.inward).bytes.is_empty();
        if unread {
            return self.reset();
        }
        self.shutdown();
        let mut inward = lock(&self.inward);
        inward.reset = true;
        inward.wake();
    }
}

struct Parked(u32);

impl Wake for Parked {
    fn wake(self: Arc<Parked>) {
        crate::driver::wake_parked(self.0);
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(MemoryStream, SocketAddr)>,
    acceptor: Option<Waker>,
    closed: bool,
}

/// A table of addresses that somebody listens on.
#[derive(Clone, Debug, Default)]
pub struct MemoryNet {
    table: Arc<Mutex<HashMap<SocketAddr, Arc<Mutex<Queue>>>>>,
    swallowed: Arc<Mutex<Vec<SocketAddr>>>,
    /// Dials that fail for want of a descriptor.
    poor: Arc<AtomicU32>,
    rough: Option<Arc<Roughness>>,
}

impl MemoryNet {
    /// A network that moves bytes in pieces of any size, tells whoever asks to wait for nothing,
    /// and takes up to 20 ms for a dial: all as `seed` decides.
    pub fn rough(seed: u64) -> MemoryNet {
        let rough = Some(Arc::new(Roughness(Mutex::new(seed | 1))));
        MemoryNet { rough, ..MemoryNet::default() }
    }

    /// Listens on `address`, in place of whoever did.
    pub fn listen(&self, address: SocketAddr) -> MemoryListener {
        let queue: Arc<Mutex<Queue>> = Arc::default();
        lock(&self.table).insert(address, Arc::clone(&queue));
        MemoryListener { queue }
    }

    /// Lets every dial of `address` wait for ever from now on, as a network that drops packets.
    pub fn swallow(&self, address: SocketAddr) {
        lock(&self.swallowed).push(address);
    }

    /// Lets dials of `address` through again; those that wait go on waiting.
    pub fn deliver(&self, address: SocketAddr) {
        lock(&self.swallowed).retain(|swallowed| *swallowed != address);
    }

    /// Lets so many dials fail as those of a process that has no descriptor left.
    pub fn exhaust(&self, dials: u32) {
        self.poor.store(dials, Ordering::Relaxed);
    }

    /// Connects to whoever listens on `address`.
    ///
    /// # Errors
    /// `ConnectionRefused` where nobody does.
    pub async fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        let wait = self.rough.as_ref().map_or(0, |rough| rough.below(80).saturating_sub(60));
        if wait > 0 {
            sleep(Duration::from_millis(wait as u64)).await;
        }
        let less = |left: u32| left.checked_sub(1);
        if self.poor.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            const EMFILE: i32 = 24;
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        if lock(&self.swallowed).contains(&address) {
            std::future::pending::<()>().await;
        }
        self.connect(address).map(Stream::Memory)
    }

    /// The same, at once.
    ///
    /// # Errors
    /// `ConnectionRefused` where nobody does.
    pub fn connect(&self, address: SocketAddr) -> io::Result<MemoryStream> {
        let queue = lock(&self.table).get(&address).cloned();
        let Some(queue) = queue else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        let mut queue = lock(&queue);
        if queue.closed {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = MemoryStream::pair_over(self.rough.as_ref());
        queue.waiting.push_back((far, SocketAddr::from(([192, 0, 2, 1], 40_000))));
        queue.acceptor.take().into_iter().for_each(Waker::wake);
        Ok(near)
    }
}

/// Takes the connections of one address.
#[derive(Debug)]
pub struct MemoryListener {
    queue: Arc<Mutex<Queue>>,
}

impl MemoryListener {
    /// Takes the next connection.
    ///
    /// # Errors
    /// None; the signature is that of a socket.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        let mut queue = lock(&self.queue);
        match queue.waiting.pop_front() {
            Some((stream, peer)) => Poll::Ready(Ok((Stream::Memory(stream), Peer::Ip(peer)))),
            None => {
                queue.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl MemoryListener {
    /// See [`crate::Listener::take_queued`].
    pub fn take_queued(&mut self) -> Option<(Stream, Peer)> {
        let (stream, peer) = lock(&self.queue).waiting.pop_front()?;
        Some((Stream::Memory(stream), Peer::Ip(peer)))
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        queue.waiting.clear();
    }
}

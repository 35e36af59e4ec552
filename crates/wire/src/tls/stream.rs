//! A stream under TLS. It reads and writes plaintext; what it holds of ciphertext is bounded by two
//! rooms, and both go back whenever nothing is in them.
//!
//! The end of the peer's data is its close_notify (RFC 8446 section 6.1). A socket that ends
//! without one may have been cut by anybody: reading it is an error.

use super::facts::Facts;
use super::room::Room;
use super::session::{OVERHEAD_BYTES, Ports, Session, Step, Task};
use crate::socket::{Probe, Stream};
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker, ready};

/// Plaintext bytes of one record (RFC 8446 section 5.1).
pub(super) const RECORD_PLAIN_MAX: usize = 16 * 1024;

/// Bytes of one record on the wire (RFC 8446 section 5.2).
pub(super) const RECORD_BYTES_MAX: usize = RECORD_PLAIN_MAX + 256 + 5;

/// Plaintext that one write takes.
const WRITE_BYTES_MAX: usize = 4 * RECORD_PLAIN_MAX;

const _: () = assert!(WRITE_BYTES_MAX + 4 * OVERHEAD_BYTES <= super::room::LARGE_BYTES);

/// Reads that a look at an idle connection may cost: tickets are few and small.
const LOOKS_MAX: usize = 8;

/// Reads of the socket that one read may cost.
const READS_MAX: usize = 16;

/// How the reading side stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// The peer has sent its close_notify.
    Ended,
    /// The peer broke the protocol.
    Broken,
}

/// A stream under TLS.
#[derive(Debug)]
pub struct TlsStream {
    socket: Stream,
    session: Session,
    /// Received, not yet understood.
    input: Room,
    /// Protected, not yet sent.
    output: Room,
    /// Understood, not yet read.
    plain: Vec<u8>,
    plain_read: usize,
    reading: Reading,
    /// The socket takes no more for now.
    blocked: bool,
    close_sent: bool,
    /// Full reads in a row: whoever sends so much earns a larger room.
    full_reads: u8,
    facts: Option<Box<Facts>>,
}

impl TlsStream {
    pub(super) fn new(socket: Stream, session: Session, input: Room) -> TlsStream {
        TlsStream {
            socket,
            session,
            input,
            output: Room::default(),
            plain: Vec::new(),
            plain_read: 0,
            reading: Reading::Open,
            blocked: false,
            close_sent: false,
            full_reads: 0,
            facts: None,
        }
    }

    pub(super) fn settle(&mut self, facts: Facts) {
        self.facts = Some(Box::new(facts));
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The stream that carries the ciphertext.
    pub(crate) fn beneath(&self) -> &Stream {
        &self.socket
    }

    /// What the handshake has settled.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_deref()
    }

    /// Goes on with the handshake; ready once data may be sent. What it ends with leaves with what
    /// is written first: for a client at once, for a server where a request is there already.
    pub(super) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), rustls::Error>> {
        loop {
            match self.step(&mut [], Task::Nothing) {
                Ok(Step::Open) if !self.session.is_handshaking() => {
                    let waits = self.input.is_empty() && !self.has_plain();
                    if waits && matches!(self.session, Session::Server(_)) {
                        drop(self.poll_flush(cx));
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(Step::Open | Step::Handshaking) => {
                    let sent = self.poll_flush(cx);
                    if let Poll::Ready(Err(error)) = sent {
                        return Poll::Ready(Err(broken(error)));
                    }
                    ready!(self.poll_more(cx)).map_err(broken)?;
                }
                Ok(Step::Plain(_) | Step::Again) => {}
                Ok(Step::PeerClosed) if !self.session.is_handshaking() => {
                    // It has said all it had to say with the end of the handshake.
                    self.reading = Reading::Ended;
                    return Poll::Ready(Ok(()));
                }
                Ok(Step::PeerClosed) => return Poll::Ready(Err(closed())),
                Err(error) => {
                    self.tell_why(cx);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// See [`Stream::poll_read_ready`].
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_plain() || self.reading != Reading::Open || !self.input.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        self.socket.poll_read_ready(cx)
    }

    /// See [`Stream::poll_read`].
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.has_plain() {
            return Poll::Ready(Ok(self.take_plain(room)));
        }
        let (mut filled, mut reads) = (0, 0);
        loop {
            match self.reading {
                _ if filled == room.len() => {
                    self.input.release_if_empty();
                    return Poll::Ready(Ok(filled));
                }
                Reading::Open => {}
                // What came before the end is read before the end is told.
                Reading::Ended | Reading::Broken if filled > 0 => return Poll::Ready(Ok(filled)),
                Reading::Ended => return Poll::Ready(Ok(0)),
                Reading::Broken => return Poll::Ready(Err(broken_protocol())),
            }
            match self.step(&mut room[filled..], Task::Nothing) {
                Ok(Step::Plain(count)) => filled += count,
                Ok(Step::Again) => {}
                Ok(Step::PeerClosed) => self.reading = Reading::Ended,
                Ok(Step::Open | Step::Handshaking) if filled > 0 => {
                    self.input.release_if_empty();
                    return Poll::Ready(Ok(filled));
                }
                Ok(Step::Open | Step::Handshaking) if reads == READS_MAX => {
                    // Much has come and none of it is data: others have their turn.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Step::Open | Step::Handshaking) => {
                    reads += 1;
                    let more = self.poll_more(cx);
                    if more.is_pending() {
                        // A ticket, a key update, the end of a handshake: nobody else sends it.
                        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                            return Poll::Ready(Err(error));
                        }
                    }
                    ready!(more)?;
                }
                Err(_) => self.tell_why(cx),
            }
        }
    }

    /// See [`Stream::poll_write_vectored`]. What is taken is protected and may still wait for the
    /// socket; [`TlsStream::poll_flush`] says when it has left.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.blocked {
            ready!(self.poll_flush(cx))?;
        }
        let taken = self.seal(slices)?;
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    /// Ready once everything that was written has been handed to the socket.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let bytes = [IoSlice::new(self.output.bytes())];
            match self.socket.poll_write_vectored(cx, &bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.output.consume(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.blocked = true;
                    return Poll::Pending;
                }
            }
        }
        self.blocked = false;
        self.output.release_if_empty();
        Poll::Ready(Ok(()))
    }

    /// Sends close_notify, then a FIN; reading goes on.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        ready!(self.poll_flush(cx))?;
        self.socket.poll_shutdown(cx)
    }

    /// See [`Stream::reset_on_close`]: no close_notify is sent.
    pub fn reset_on_close(&mut self) {
        self.close_sent = true;
        self.socket.reset_on_close();
    }

    /// See [`Stream::widen`].
    pub fn widen(&mut self) {
        self.socket.widen();
    }

    /// See [`Stream::yields`].
    pub fn yields(&mut self, yields: bool) {
        self.socket.yields(yields);
    }

    /// See [`Stream::is_narrow`].
    pub fn is_narrow(&self) -> bool {
        self.socket.is_narrow()
    }

    /// See [`Stream::note_unhindered`].
    pub fn note_unhindered(&mut self, bytes: u64) {
        self.socket.note_unhindered(bytes);
    }

    /// See [`Stream::park`]. One that has something to send still is not left alone.
    pub fn park(&mut self, number: u32) -> Poll<()> {
        let read = !self.has_plain() && self.reading == Reading::Open && self.input.is_empty();
        if read && self.output.is_empty() { self.socket.park(number) } else { Poll::Ready(()) }
    }

    /// See [`Stream::unpark`].
    pub fn unpark(&mut self) {
        self.socket.unpark();
    }

    /// See [`Stream::doubt`].
    pub fn doubt(&mut self) {
        self.socket.doubt();
    }

    /// See [`Stream::glance`]. A ticket or a key update that came meanwhile is taken in; it is no
    /// answer, and no reason to throw the connection away.
    pub fn glance(&mut self) -> Probe {
        if self.has_plain() || self.reading != Reading::Open {
            return Probe::Stale;
        }
        if self.input.is_empty() && self.socket.glance() == Probe::Quiet {
            return Probe::Quiet;
        }
        self.look()
    }

    /// See [`Stream::probe`].
    pub fn probe(&mut self) -> Probe {
        if self.has_plain() || self.reading != Reading::Open {
            return Probe::Stale;
        }
        if self.input.is_empty() && self.socket.probe() == Probe::Quiet {
            return Probe::Quiet;
        }
        if self.look() == Probe::Quiet { self.socket.probe() } else { Probe::Stale }
    }

    /// Takes in what came on an idle connection without being asked for.
    fn look(&mut self) -> Probe {
        let mut cx = Context::from_waker(Waker::noop());
        let mut reads = 0;
        loop {
            match self.step(&mut [], Task::Nothing) {
                Ok(Step::Again | Step::Plain(0)) if !self.has_plain() => {}
                Ok(Step::Open | Step::Handshaking) => {
                    reads += 1;
                    match self.poll_more(&mut cx) {
                        Poll::Ready(Ok(())) if reads < LOOKS_MAX => {}
                        Poll::Ready(_) => return Probe::Stale,
                        Poll::Pending => {
                            let flushed = self.poll_flush(&mut cx);
                            let failed = matches!(flushed, Poll::Ready(Err(_)));
                            return if failed { Probe::Stale } else { Probe::Quiet };
                        }
                    }
                }
                Ok(Step::Again | Step::Plain(_) | Step::PeerClosed) | Err(_) => {
                    self.reading = Reading::Broken;
                    return Probe::Stale;
                }
            }
        }
    }

    fn step(&mut self, room: &mut [u8], task: Task<'_>) -> Result<Step, rustls::Error> {
        let (input, output, spill) = (&mut self.input, &mut self.output, &mut self.plain);
        self.session.step(&mut Ports { input, output, room, spill }, task)
    }

    /// The peer broke the protocol: it is told how, as far as the socket takes it at once.
    fn tell_why(&mut self, cx: &mut Context<'_>) {
        self.reading = Reading::Broken;
        // rustls must not look at what it has refused once more; while it has something to send it
        // does not look at anything.
        while self.session.wants_write() && self.step(&mut [], Task::Nothing).is_ok() {}
        drop(self.poll_flush(cx));
    }

    /// Reads more ciphertext; pending holds no room it does not need.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let bytes = if self.full_reads > 2 { RECORD_BYTES_MAX * 2 } else { RECORD_BYTES_MAX };
        let held = self.input.bytes().len();
        // A record is completed in the room it stands in; only a long flight needs a larger one.
        let room = self.input.free(bytes.saturating_sub(held).max(512));
        let size = room.len();
        match self.socket.poll_read(cx, room) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(count)) => {
                self.input.commit(count);
                self.full_reads = if count == size { self.full_reads.saturating_add(1) } else { 0 };
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.input.release_if_empty();
                Poll::Pending
            }
        }
    }

    fn has_plain(&self) -> bool {
        self.plain_read < self.plain.len()
    }

    fn take_plain(&mut self, room: &mut [u8]) -> usize {
        let waiting = &self.plain[self.plain_read..];
        let count = waiting.len().min(room.len());
        room[..count].copy_from_slice(&waiting[..count]);
        self.plain_read += count;
        if !self.has_plain() {
            self.plain = Vec::new();
            self.plain_read = 0;
        }
        count
    }

    /// Protects the first bytes of these slices in records as full as they can be.
    fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        let mut joined = Room::default();
        let parts = slices.iter().filter(|slice| !slice.is_empty());
        let mut parts = parts.map(|slice| &**slice).peekable();
        while let Some(mut part) = parts.next() {
            while !part.is_empty() && taken < WRITE_BYTES_MAX {
                let room = WRITE_BYTES_MAX - taken;
                let held = joined.bytes().len();
                let count = if held == 0
                    && (part.len() >= RECORD_PLAIN_MAX || parts.peek().is_none())
                {
                    // Whole records are protected where they stand, and so is what comes last.
                    let last = parts.peek().is_none();
                    let whole = part.len() - part.len() % RECORD_PLAIN_MAX;
                    let count = if last { part.len() } else { whole }.min(room);
                    self.seal_one(&part[..count])?;
                    count
                } else {
                    let count = part.len().min(RECORD_PLAIN_MAX - held).min(room);
                    joined.free(RECORD_PLAIN_MAX - held)[..count].copy_from_slice(&part[..count]);
                    joined.commit(count);
                    if held + count == RECORD_PLAIN_MAX {
                        self.seal_one(joined.bytes())?;
                        joined.consume(RECORD_PLAIN_MAX);
                    }
                    count
                };
                part = &part[count..];
                taken += count;
            }
        }
        if !joined.is_empty() {
            self.seal_one(joined.bytes())?;
        }
        Ok(taken)
    }

    fn seal_one(&mut self, data: &[u8]) -> io::Result<()> {
        if self.reading == Reading::Broken {
            return Err(broken_protocol());
        }
        loop {
            match self.step(&mut [], Task::Seal(data)) {
                Ok(Step::Open) => return Ok(()),
                // What was understood on the way waits for whoever reads; there is no more of it
                // than one room held.
                Ok(Step::Again | Step::Plain(_)) => {}
                Ok(Step::PeerClosed) => self.reading = Reading::Ended,
                Ok(Step::Handshaking) => return Err(io::ErrorKind::NotConnected.into()),
                Err(_) => {
                    self.reading = Reading::Broken;
                    return Err(broken_protocol());
                }
            }
        }
    }

    /// Protects a close_notify, once, where the handshake has come to an end.
    fn close(&mut self) {
        if std::mem::replace(&mut self.close_sent, true) || self.reading == Reading::Broken {
            return;
        }
        loop {
            match self.step(&mut [], Task::Close) {
                Ok(Step::Again | Step::Plain(_)) => {}
                Ok(Step::PeerClosed) => self.reading = Reading::Ended,
                Ok(Step::Open | Step::Handshaking) => return,
                Err(_) => {
                    self.reading = Reading::Broken;
                    return;
                }
            }
        }
    }
}

impl Drop for TlsStream {
    /// Says the end where the socket takes it at once; nobody waits for more.
    fn drop(&mut self) {
        if self.close_sent || self.reading == Reading::Broken {
            return;
        }
        self.close();
        drop(self.poll_flush(&mut Context::from_waker(Waker::noop())));
    }
}

/// The peer did what TLS forbids.
fn broken_protocol() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn broken(error: io::Error) -> rustls::Error {
    rustls::Error::General(match error.kind() {
        io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        _ => "the connection broke".to_owned(),
    })
}

fn closed() -> rustls::Error {
    rustls::Error::General(CLOSED.to_owned())
}

const CLOSED: &str = "the connection was closed";

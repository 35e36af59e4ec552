//! What the h2 crate reads from and writes to: a connection whose bytes are counted on the way
//! in, and collected on the way out, so that the frames of many streams leave in one write. One
//! of the few files that name the driver.

use super::guard::{Fault, Guard};
use super::{End, PREFACE};
use crate::buffer::{Buffers, Inbox};
use crate::socket::Stream;
use gatehouse_core::moment::Moment;
use std::cell::{Ref, RefCell, RefMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes collected before they are written: what a slow peer may leave unread of each connection
/// beside what its streams hold.
const OUT_BYTES: usize = 64 * 1024;

/// Payloads from here on are written from where they stand; copying shorter ones is cheaper.
const DIRECT_BYTES: usize = 8 * 1024;

/// The two ends of a connection share it: the h2 crate, and whoever drives that.
#[derive(Clone, Debug)]
pub(crate) struct Link(Rc<RefCell<LinkIo>>);

/// The connection itself.
#[derive(Debug)]
pub(crate) struct LinkIo {
    stream: Stream,
    inbox: Inbox,
    /// Bytes of the client's preface that are still to come: it is no frame.
    preface_in: usize,
    /// Bytes of it that are still to be sent.
    preface_out: usize,
    guard: Guard,
    pool: Rc<Buffers>,
    out: Vec<u8>,
    written: usize,
    /// Since when what was collected cannot be written; `None` while it can.
    stalled_since: Option<Moment>,
    fault: Option<Fault>,
    /// When the peer was heard last.
    heard_at: Moment,
}

impl Link {
    /// A connection; `inbox` holds what was read of it before it was known which protocol it
    /// speaks.
    pub fn new(stream: Stream, inbox: Inbox, end: End, now: Moment) -> Link {
        let pool = Rc::clone(inbox.pool());
        let (preface_in, preface_out) = match end {
            End::Server => (PREFACE.len(), 0),
            End::Client => (0, PREFACE.len()),
        };
        Link(Rc::new(RefCell::new(LinkIo {
            stream,
            inbox,
            preface_in,
            preface_out,
            guard: Guard::new(end, now),
            out: Vec::new(),
            pool,
            written: 0,
            stalled_since: None,
            fault: None,
            heard_at: now,
        })))
    }

    pub fn look(&self) -> Ref<'_, LinkIo> {
        self.0.borrow()
    }

    fn io(&self) -> RefMut<'_, LinkIo> {
        self.0.borrow_mut()
    }

    /// The connection itself, from the last of those who share it.
    pub fn into_stream(self) -> Stream {
        Rc::try_unwrap(self.0).map_or(Stream::Gone, |io| io.into_inner().stream)
    }

    /// Says why the connection ends, to a peer whose fault it is (RFC 9113 section 6.8), as far as
    /// it can be written at once.
    pub fn say_farewell(&self, cx: &mut Context<'_>) {
        let code = match self.look().fault {
            None => return,
            Some(Fault::Flood(_)) => h2::Reason::ENHANCE_YOUR_CALM,
            Some(Fault::NoSettings) => h2::Reason::PROTOCOL_ERROR,
        };
        let mut io = self.io();
        io.out.extend_from_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
        io.out.extend_from_slice(&u32::from(code).to_be_bytes());
        // There is nobody to tell that it was not read.
        drop(io.poll_push(cx, &[]));
    }

    /// Writes what was collected.
    pub fn poll_push(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_push(cx, &[]).map_ok(drop)
    }
}

impl LinkIo {
    /// Why the connection goes no further, if it does not.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// When the peer was heard last.
    pub fn heard_at(&self) -> Moment {
        self.heard_at
    }

    /// Since when a head is under way and not complete.
    pub fn head_since(&self) -> Option<Moment> {
        self.guard.head_since()
    }

    /// Since when the peer takes nothing of what was collected.
    pub fn stalled_since(&self) -> Option<Moment> {
        self.stalled_since
    }

    /// Counts the first `count` bytes of what was read.
    fn count(&mut self, count: usize) -> io::Result<()> {
        let preface = self.preface_in.min(count);
        self.preface_in -= preface;
        self.heard_at = crate::timer::now();
        let bytes = &self.inbox.bytes()[preface..count];
        if let Err(fault) = self.guard.received(bytes, self.heard_at) {
            // Nothing more of it is read: the frames that came with the last one too many are
            // never looked at.
            self.fault = Some(fault);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.fault.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.inbox.is_empty() && ready!(self.inbox.poll_fill(cx, &mut self.stream))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let count = self.inbox.bytes().len().min(room.remaining());
        self.count(count)?;
        room.put_slice(&self.inbox.bytes()[..count]);
        self.inbox.consume(count);
        Poll::Ready(Ok(()))
    }

    /// Takes `slices`: collects them, or writes them with what was collected before.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        let held = self.out.len() - self.written;
        if size >= DIRECT_BYTES {
            let taken = ready!(self.poll_push(cx, slices))?;
            return Poll::Ready(Ok(taken));
        }
        if held + size > OUT_BYTES {
            ready!(self.poll_push(cx, &[]))?;
        }
        if self.out.capacity() == 0 {
            self.out = self.pool.take_text();
        }
        slices.iter().for_each(|slice| self.out.extend_from_slice(slice));
        self.sent(slices, size);
        Poll::Ready(Ok(size))
    }

    /// Counts the first `count` bytes of `slices` as sent.
    fn sent(&mut self, slices: &[IoSlice<'_>], mut count: usize) {
        for slice in slices {
            let part = count.min(slice.len());
            let preface = self.preface_out.min(part);
            self.preface_out -= preface;
            self.guard.sent(&slice[preface..part]);
            count -= part;
        }
    }

    /// Writes what was collected and `more` behind it. Ready once everything collected, and at
    /// least one byte of `more`, was taken; how many of `more` were.
    fn poll_push(&mut self, cx: &mut Context<'_>, more: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        const SLICES: usize = 8;
        loop {
            let held = self.out.len() - self.written;
            let mut parts = [IoSlice::new(&[]); SLICES];
            let mut used = usize::from(held > 0);
            parts[0] = IoSlice::new(&self.out[self.written..]);
            for slice in more.iter().filter(|slice| !slice.is_empty()).take(SLICES - 1) {
                parts[used] = IoSlice::new(slice);
                used += 1;
            }
            if used == 0 {
                self.release();
                return self.poll_flush(cx).map_ok(|()| 0);
            }
            let Poll::Ready(wrote) = self.stream.poll_write_vectored(cx, &parts[..used]) else {
                return self.stall();
            };
            let count = wrote?;
            self.stalled_since = None;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count.min(held);
            if let Some(taken) = count.checked_sub(held).filter(|taken| *taken > 0) {
                self.release();
                self.sent(more, taken);
                return Poll::Ready(Ok(taken));
            }
        }
    }

    /// What TLS holds of it goes to the kernel.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream.poll_flush(cx);
        if flushed.is_pending() {
            return self.stall();
        }
        self.stalled_since = None;
        flushed
    }

    fn stall<T>(&mut self) -> Poll<T> {
        self.stalled_since = self.stalled_since.or_else(|| Some(crate::timer::now()));
        Poll::Pending
    }

    /// Gives the room of what was written back.
    fn release(&mut self) {
        if self.out.capacity() > 0 {
            self.pool.give_text(std::mem::take(&mut self.out));
        }
        self.written = 0;
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_push(cx, &[]))?;
        self.stream.poll_shutdown(cx)
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io().poll_read(cx, room)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_take(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is written here: the h2 crate asks for it after every frame. Whoever drives it
    /// pushes once it has nothing more to say.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}

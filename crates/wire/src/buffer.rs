//! Pooled read buffers. An idle connection holds none.

use crate::socket::Stream;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Bytes of an ordinary buffer.
pub const SMALL_BYTES: usize = 16 * 1024;

/// Bytes of the buffer a body earns that keeps filling the ordinary one.
pub const LARGE_BYTES: usize = 256 * 1024;

/// Buffers of each size that one worker keeps for later; more are given back to the allocator.
const KEPT_SMALL_MAX: usize = 1024;
const KEPT_LARGE_MAX: usize = 16;

/// Reads in a row that fill the buffer before a body earns a large one.
const FULL_READS: u8 = 3;

/// The same, of a connection that has not proven yet that its sinks take all they are given: more
/// than goes to a client that reads nothing, which is to hold no more than an ordinary buffer.
const FULL_READS_NARROW: u8 = 12;

/// One worker's buffers.
#[derive(Debug, Default)]
pub struct Buffers {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
    text: RefCell<Vec<Vec<u8>>>,
    /// Whether memory is short: no buffer grows, and none is kept for later.
    saves: Cell<bool>,
    #[cfg(feature = "memory")]
    lent: Cell<usize>,
}

impl Buffers {
    /// A pool with nothing in it yet.
    pub fn new() -> Rc<Buffers> {
        Rc::default()
    }

    fn take(&self, large: bool) -> Box<[u8]> {
        #[cfg(feature = "memory")]
        self.lent.set(self.lent.get() + 1);
        let (kept, bytes) =
            if large { (&self.large, LARGE_BYTES) } else { (&self.small, SMALL_BYTES) };
        kept.borrow_mut().pop().unwrap_or_else(|| vec![0; bytes].into_boxed_slice())
    }

    fn give(&self, buffer: Box<[u8]>) {
        #[cfg(feature = "memory")]
        self.lent.set(self.lent.get() - 1);
        let (kept, most) = if buffer.len() == SMALL_BYTES {
            (&self.small, KEPT_SMALL_MAX)
        } else {
            (&self.large, KEPT_LARGE_MAX)
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < most && !self.saves.get() {
            kept.push(buffer);
        }
    }

    /// Says whether memory is short. While it is, no body earns a large buffer, and what is given
    /// back is not kept.
    pub fn save(&self, saves: bool) {
        self.saves.set(saves);
        if saves {
            self.small.take();
            self.large.take();
            self.text.take();
        }
    }

    /// Read buffers that connections hold at this moment: tests ask that idle ones hold none.
    #[cfg(feature = "memory")]
    pub fn lent(&self) -> usize {
        self.lent.get()
    }

    /// An empty text to write a head into.
    pub fn take_text(&self) -> Vec<u8> {
        self.text.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a text back; its room is kept unless it grew past a large buffer.
    pub fn give_text(&self, mut text: Vec<u8>) {
        let mut kept = self.text.borrow_mut();
        if text.capacity() <= LARGE_BYTES && kept.len() < KEPT_SMALL_MAX {
            text.clear();
            kept.push(text);
        }
    }
}

/// What a connection has received and nobody has consumed yet.
#[derive(Debug)]
pub struct Inbox {
    pool: Rc<Buffers>,
    data: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    full_reads: u8,
}

impl Inbox {
    /// An inbox without a buffer.
    pub fn new(pool: Rc<Buffers>) -> Inbox {
        Inbox { pool, data: None, start: 0, end: 0, full_reads: 0 }
    }

    /// The pool its buffer comes from.
    pub fn pool(&self) -> &Rc<Buffers> {
        &self.pool
    }

    /// What has been received.
    pub fn bytes(&self) -> &[u8] {
        self.data.as_deref().map_or(&[], |data| &data[self.start..self.end])
    }

    /// The same, for decoding in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.data.as_deref_mut().map_or(&mut [], |data| &mut data[self.start..self.end])
    }

    /// Puts `bytes` back in front of what is there. They came out of it: with them it holds no
    /// more than it did.
    pub fn put_back(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let held = self.end - self.start;
        let mut room = self.pool.take(bytes.len() + held > SMALL_BYTES);
        room[..bytes.len()].copy_from_slice(bytes);
        room[bytes.len()..bytes.len() + held].copy_from_slice(self.bytes());
        self.release();
        self.data = Some(room);
        self.end = bytes.len() + held;
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Consumes the first `count` bytes; gives the buffer back once nothing is left.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.release();
        }
    }

    /// Takes the first `count` bytes off and keeps the buffer even when nothing is left: the
    /// caller still writes from it.
    pub fn advance(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Gives the buffer back where nothing is left in it.
    pub fn release_if_empty(&mut self) {
        if self.start == self.end {
            self.release();
        }
    }

    #[inline]
    fn release(&mut self) {
        if let Some(data) = self.data.take() {
            self.start = 0;
            self.end = 0;
            self.pool.give(data);
        }
    }

    /// Whether `poll_fill` would have room without growing.
    pub fn has_room(&self) -> bool {
        self.data.as_deref().is_none_or(|data| self.start > 0 || self.end < data.len())
    }

    /// Moves to a large buffer. Its room is the bound on what one connection may hold unread.
    pub fn grow(&mut self) {
        let mut larger = self.pool.take(true);
        let held = self.end - self.start;
        larger[..held].copy_from_slice(self.bytes());
        self.release();
        self.data = Some(larger);
        self.end = held;
    }

    /// Whether the buffer is a large one.
    pub fn is_large(&self) -> bool {
        self.data.as_deref().is_some_and(|data| data.len() == LARGE_BYTES)
    }

    /// What is read is waited for to be taken: a large buffer has to be earned again.
    pub fn note_hindered(&mut self) {
        self.full_reads = 0;
    }

    /// Reads once, behind what is there. While nothing comes, an empty inbox holds no buffer.
    /// 0 is the end of the stream.
    ///
    /// # Errors
    /// What the socket says, or `OutOfMemory` where even a large buffer is full.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        let earned = self.full_reads >= FULL_READS
            && (self.full_reads >= FULL_READS_NARROW || !stream.is_narrow())
            && !self.pool.saves.get();
        // A buffer that is taken for nothing costs more than being told twice.
        ready!(stream.poll_read_ready(cx))?;
        if self.data.is_none() {
            self.data = Some(self.pool.take(earned));
        } else if earned && !self.is_large() {
            self.grow();
        }
        let Some(data) = self.data.as_deref_mut() else { return Poll::Pending };
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.end == data.len() {
            data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == data.len() {
            if data.len() == LARGE_BYTES {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            self.grow();
        }
        let Some(data) = self.data.as_deref_mut() else { return Poll::Pending };
        let room = data.len() - self.end;
        let result = stream.poll_read_told(cx, &mut data[self.end..]);
        match &result {
            Poll::Ready(Ok(count)) => {
                self.end += count;
                let full = *count == room || *count >= SMALL_BYTES;
                self.full_reads = if full { self.full_reads.saturating_add(1) } else { 0 };
                self.release_if_empty();
            }
            Poll::Ready(Err(_)) | Poll::Pending => self.release_if_empty(),
        }
        result
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.release();
    }
}

//! Bytes that the kernel moves from one TCP connection to another by itself, through a pipe
//! (splice(2)): they are never copied into this process.

use crate::socket::Stream;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Bytes one pipe may hold: what the kernel allows without privilege. With a quarter of it moving
/// costs as much as copying does, because a pipe's slots fill before its bytes do.
pub const PIPE_BYTES: usize = 1024 * 1024;

/// Pipes of one worker, those in use included: what its slow readers may keep in the kernel is
/// this many times [`PIPE_BYTES`]. Whoever finds none left copies.
pub const PIPES_MAX: usize = 16;

/// After so many bytes for which their sink was not waited, a source may send ahead as far as it
/// likes ([`Stream::widen`]). More than goes to a client that reads nothing: what the kernels of
/// both sides keep of it.
pub const UNHINDERED_BYTES: u64 = 512 * 1024;

/// A pipe and what is in it.
#[derive(Debug)]
pub struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    held: usize,
    made: Rc<Cell<usize>>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.made.set(self.made.get() - 1);
    }
}

/// One worker's pipes.
#[derive(Debug, Default)]
pub struct Pipes {
    free: RefCell<Vec<Pipe>>,
    made: Rc<Cell<usize>>,
}

impl Pipes {
    /// An empty pipe; `None` where there are too many, or the system gives none.
    pub fn take(&self) -> Option<Pipe> {
        if let Some(pipe) = self.free.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.made.get() >= PIPES_MAX {
            return None;
        }
        let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Refused where the pipes of this user hold too much already: copying is better then.
        fcntl_setpipe_size(&input, PIPE_BYTES).ok()?;
        self.made.set(self.made.get() + 1);
        Some(Pipe { output, input, held: 0, made: Rc::clone(&self.made) })
    }

    /// Gives a pipe back. One that still holds something is closed: nothing of one connection
    /// may come out on another.
    pub fn give(&self, pipe: Pipe) {
        if pipe.held == 0 {
            self.free.borrow_mut().push(pipe);
        }
    }

    /// Closes the pipes nobody uses: their descriptors are needed.
    pub fn clear(&self) {
        self.free.borrow_mut().clear();
    }
}

impl Pipe {
    /// Bytes that are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves what has come on `source` into the empty pipe, at most `most` bytes. 0 is the end of
    /// the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        // Into an empty pipe it can only be the socket that would block.
        debug_assert!(self.held == 0, "a pipe that is not empty");
        let count = ready!(source.poll_read_with(cx, |socket| {
            moved(splice(socket, None, &self.input, None, most.min(PIPE_BYTES), flags()))
        }))?;
        self.held = count;
        Poll::Ready(Ok(count))
    }

    /// Moves what is in the pipe on to `sink`: how much it took.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        let held = self.held;
        let count = ready!(sink.poll_write_with(cx, |socket| {
            moved(splice(&self.output, None, socket, None, held, flags()))
        }))?;
        self.held -= count.min(held);
        Poll::Ready(Ok(count))
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::NONBLOCK | SpliceFlags::MOVE
}

fn moved(result: Result<usize, Errno>) -> io::Result<usize> {
    result.map_err(io::Error::from)
}

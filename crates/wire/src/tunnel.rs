//! Raw bytes both ways, each direction ended by itself.

use crate::buffer::Inbox;
use crate::pump::poll_write_all;
use crate::socket::Stream;
use std::task::{Context, Poll, ready};

/// One end of a tunnel.
#[derive(Debug)]
pub struct End<'a> {
    /// Its connection.
    pub stream: &'a mut Stream,
    /// What it has sent already.
    pub inbox: &'a mut Inbox,
}

/// Why a tunnel broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The first end's connection.
    First,
    /// The second end's.
    Second,
}

/// Carries bytes both ways until both ends have sent their FIN.
#[derive(Debug, Default)]
pub struct Tunnel {
    forth: Flow,
    back: Flow,
}

impl Tunnel {
    /// Bytes carried from the first end to the second, and back.
    pub fn carried(&self) -> (u64, u64) {
        (self.forth.carried, self.back.carried)
    }

    /// Moves what can be moved; ready once both directions have ended.
    ///
    /// # Errors
    /// [`Broken`]: which connection failed.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        first: &mut End<'_>,
        second: &mut End<'_>,
    ) -> Poll<Result<(), Broken>> {
        let forth = self.forth.poll(cx, first, second).map_err(|side| match side {
            Fault::Source => Broken::First,
            Fault::Sink => Broken::Second,
        })?;
        let back = self.back.poll(cx, second, first).map_err(|side| match side {
            Fault::Source => Broken::Second,
            Fault::Sink => Broken::First,
        })?;
        if forth.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

enum Fault {
    Source,
    Sink,
}

#[derive(Debug, Default)]
struct Flow {
    source_ended: bool,
    sink_shut: bool,
    written: usize,
    carried: u64,
}

impl Flow {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut End<'_>,
        sink: &mut End<'_>,
    ) -> Poll<Result<(), Fault>> {
        while !self.sink_shut {
            if !source.inbox.is_empty() {
                let text = source.inbox.bytes();
                let wrote = poll_write_all(cx, sink.stream, text, &mut self.written);
                ready!(wrote).map_err(|_| Fault::Sink)?;
                self.carried += self.written as u64;
                source.inbox.consume(self.written);
                self.written = 0;
            } else if self.source_ended {
                // A peer that is gone already needs no FIN.
                drop(ready!(sink.stream.poll_shutdown(cx)));
                self.sink_shut = true;
            } else {
                source.inbox.release_if_empty();
                let read = ready!(source.inbox.poll_fill(cx, source.stream));
                self.source_ended = read.map_err(|_| Fault::Source)? == 0;
            }
        }
        Poll::Ready(Ok(()))
    }
}

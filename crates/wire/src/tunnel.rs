//! Raw bytes both ways, each direction ended by itself.

use crate::buffer::{Inbox, SMALL_BYTES};
use crate::pump::poll_write_all;
use crate::socket::Stream;
use crate::splice::{PIPE_BYTES, Pipe, Pipes, UNHINDERED_BYTES};
use std::task::{Context, Poll, ready};

/// Bytes one direction may move before everything else has its turn.
const TURN_BYTES_MAX: usize = 1024 * 1024;

/// One end of a tunnel.
#[derive(Debug)]
pub struct End<'a> {
    /// Its connection.
    pub stream: &'a mut Stream,
    /// What it has sent already.
    pub inbox: &'a mut Inbox,
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    First,
    /// The second.
    Second,
}

/// A tunnel broke: this end's connection failed. Whoever owns the ends resets both, so that
/// neither takes what it has for whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub Side);

/// Carries bytes both ways until both ends have sent their FIN.
#[derive(Debug, Default)]
pub struct Tunnel {
    forth: Flow,
    back: Flow,
    ended_first: Option<Side>,
}

impl Tunnel {
    /// Bytes carried from the first end to the second, and back.
    pub fn carried(&self) -> (u64, u64) {
        let written = |flow: &Flow| flow.carried + flow.written as u64;
        (written(&self.forth), written(&self.back))
    }

    /// Which end sent its FIN first; `None` while neither has.
    pub fn ended_first(&self) -> Option<Side> {
        self.ended_first
    }

    /// Moves what can be moved; ready once both directions have ended. What an end sent before
    /// it failed to take more is still carried.
    ///
    /// # Errors
    /// [`Broken`]: which connection failed.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Pipes,
        first: &mut End<'_>,
        second: &mut End<'_>,
    ) -> Poll<Result<(), Broken>> {
        let forth = self.forth.poll(cx, pipes, first, second);
        let back = self.back.poll(cx, pipes, second, first);
        if self.ended_first.is_none() {
            self.ended_first = match (self.forth.source_ended, self.back.source_ended) {
                (true, _) => Some(Side::First),
                (false, true) => Some(Side::Second),
                (false, false) => None,
            };
        }
        match (forth, back) {
            (Poll::Ready(Ended::SourceBroke), _)
            | (Poll::Ready(_), Poll::Ready(Ended::SinkBroke)) => {
                Poll::Ready(Err(Broken(Side::First)))
            }
            (_, Poll::Ready(Ended::SourceBroke))
            | (Poll::Ready(Ended::SinkBroke), Poll::Ready(_)) => {
                Poll::Ready(Err(Broken(Side::Second)))
            }
            (Poll::Ready(Ended::Whole), Poll::Ready(Ended::Whole)) => Poll::Ready(Ok(())),
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    }

    /// Gives back what the tunnel has borrowed; it carries nothing any more.
    pub fn give_back(&mut self, pipes: &Pipes) {
        for flow in [&mut self.forth, &mut self.back] {
            flow.pipe.take().into_iter().for_each(|pipe| pipes.give(pipe));
        }
    }
}

/// How one direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All of it was carried, the FIN included.
    Whole,
    /// The connection it comes from failed.
    SourceBroke,
    /// The connection it goes to takes no more.
    SinkBroke,
}

#[derive(Debug, Default)]
struct Flow {
    source_ended: bool,
    ended: Option<Ended>,
    written: usize,
    /// Whether the sink may still hold some of what it took.
    unflushed: bool,
    carried: u64,
    /// What `carried` was when the sink was last waited for.
    hindered: u64,
    /// Whether much comes at once, so that the kernel had better move it by itself.
    bulk: bool,
    pipe: Option<Pipe>,
}

/// What one move did.
enum Moved {
    /// This many bytes reached the sink.
    Out(usize),
    /// Something else; there may be more to do.
    On,
    /// The direction has ended.
    Ended(Ended),
}

impl Flow {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Pipes,
        source: &mut End<'_>,
        sink: &mut End<'_>,
    ) -> Poll<Ended> {
        let mut left = TURN_BYTES_MAX;
        loop {
            if let Some(ended) = self.ended {
                return Poll::Ready(ended);
            }
            let Poll::Ready(moved) = self.step(cx, pipes, source, sink) else {
                self.note_wait(source);
                return Poll::Pending;
            };
            match moved {
                Moved::Out(count) => {
                    self.carried += count as u64;
                    left = left.saturating_sub(count);
                    if left == 0 {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Moved::On => {}
                Moved::Ended(ended) => {
                    self.ended = Some(ended);
                    self.pipe.take().into_iter().for_each(|pipe| pipes.give(pipe));
                }
            }
        }
    }

    /// Remembers whom it waits for now. A source that is waited for while the sink takes all it is
    /// given may send ahead.
    fn note_wait(&mut self, source: &mut End<'_>) {
        let moving = self.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0);
        if moving || self.unflushed || !source.inbox.is_empty() {
            self.hindered = self.carried;
        } else if self.carried - self.hindered >= UNHINDERED_BYTES {
            source.stream.widen();
        }
    }

    /// Moves once.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Pipes,
        source: &mut End<'_>,
        sink: &mut End<'_>,
    ) -> Poll<Moved> {
        if !source.inbox.is_empty() {
            let text = source.inbox.bytes();
            if ready!(poll_write_all(cx, sink.stream, text, &mut self.written)).is_err() {
                return Poll::Ready(Moved::Ended(Ended::SinkBroke));
            }
            let count = std::mem::take(&mut self.written);
            source.inbox.consume(count);
            self.unflushed = true;
            return Poll::Ready(Moved::Out(count));
        }
        if self.unflushed {
            if ready!(sink.stream.poll_flush(cx)).is_err() {
                return Poll::Ready(Moved::Ended(Ended::SinkBroke));
            }
            self.unflushed = false;
        }
        if let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
            return Poll::Ready(match ready!(pipe.poll_drain(cx, sink.stream)) {
                Ok(count) => Moved::Out(count),
                Err(_) => Moved::Ended(Ended::SinkBroke),
            });
        }
        if self.source_ended {
            // A peer that is gone already needs no FIN.
            drop(ready!(sink.stream.poll_shutdown(cx)));
            return Poll::Ready(Moved::Ended(Ended::Whole));
        }
        self.fill(cx, pipes, source, sink)
    }

    /// Takes what has come: into a pipe where much comes, else into the inbox.
    fn fill(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Pipes,
        source: &mut End<'_>,
        sink: &mut End<'_>,
    ) -> Poll<Moved> {
        if self.bulk
            && self.pipe.is_none()
            && source.stream.is_plain_tcp()
            && sink.stream.is_plain_tcp()
        {
            self.pipe = pipes.take();
        }
        let read = match &mut self.pipe {
            Some(pipe) => pipe.poll_fill(cx, source.stream, PIPE_BYTES),
            None => {
                source.inbox.release_if_empty();
                source.inbox.poll_fill(cx, source.stream)
            }
        };
        match read {
            Poll::Ready(Ok(0)) => self.source_ended = true,
            Poll::Ready(Ok(count)) => self.bulk = count >= SMALL_BYTES,
            Poll::Ready(Err(_)) => return Poll::Ready(Moved::Ended(Ended::SourceBroke)),
            Poll::Pending => {}
        }
        // A direction in which nothing is under way holds no pipe.
        if self.pipe.as_ref().is_some_and(|pipe| pipe.held() == 0) {
            self.pipe.take().into_iter().for_each(|pipe| pipes.give(pipe));
        }
        read.map(|_| Moved::On)
    }
}

//! Large bodies that the kernel moves by itself, because nothing of them is to be looked at.

use super::{Pump, PumpError};
use crate::h1::encode::Framing;
use crate::socket::Stream;
use crate::splice::Pipes;
use std::task::{Context, Poll, ready};

/// Bytes still to come of a body that the kernel had better move by itself: below that, filling a
/// pipe and emptying it costs as much as copying does.
const SPLICE_BYTES_MIN: u64 = 256 * 1024;

impl Pump {
    /// Gives back what was borrowed of `pipes`; nothing more is moved.
    pub fn give_back(&mut self, pipes: &Pipes) {
        self.pipe.take().into_iter().for_each(|pipe| pipes.give(pipe));
    }

    /// Whether the kernel had better move what comes next by itself: nothing of it is to be looked
    /// at, and there is much of it. Takes a pipe for that.
    pub(super) fn may_splice(&mut self, pipes: &Pipes, source: &Stream, sink: &Stream) -> bool {
        if self.pipe.is_some() {
            return true;
        }
        let much = match self.decoder.remaining() {
            Some(left) => left >= SPLICE_BYTES_MIN,
            None => self.decoder.ends_with_connection() && self.payload >= SPLICE_BYTES_MIN,
        };
        let plain = self.framing == Framing::Plain && source.is_plain_tcp() && sink.is_plain_tcp();
        if much && plain {
            self.pipe = pipes.take();
        }
        self.pipe.is_some()
    }

    /// Moves once: out of the pipe what is in it, else into it what has come.
    pub(super) fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Pipes,
        source: &mut Stream,
        sink: &mut Stream,
    ) -> Poll<Result<(), PumpError>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        if pipe.held() > 0 {
            let Ok(count) = ready!(pipe.poll_drain(cx, sink)) else {
                return Poll::Ready(Err(PumpError::Sink));
            };
            self.progress += count as u64;
        } else {
            let most = self.decoder.remaining().map_or(usize::MAX, |left| left as usize);
            match pipe.poll_fill(cx, source, most) {
                // A body of which nothing is under way holds no pipe.
                Poll::Pending => {
                    self.give_back(pipes);
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(PumpError::Reset)),
                Poll::Ready(Ok(0)) => self.end_of_source(source)?,
                Poll::Ready(Ok(count)) => {
                    self.decoder.skip(count as u64);
                    self.payload += count as u64;
                    self.progress += count as u64;
                    self.source += count as u64;
                }
            }
        }
        if self.decoder.is_done() && self.pipe.as_ref().is_some_and(|pipe| pipe.held() == 0) {
            self.give_back(pipes);
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

//! Takes a PROXY header off a connection, and not one byte more: what follows it may be TLS.

use crate::proxy_header::{Ends, Malformed, Progress, read};
use crate::socket::Stream;
use std::task::{Context, Poll, ready};

/// Bytes that are looked at in one go: more than all but the largest headers have.
const LOOK_BYTES: usize = 512;

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// The bytes are none: the rule that was broken.
    Malformed(&'static str),
    /// The connection ended or broke before the header did.
    Gone,
}

/// A header on its way.
#[derive(Debug, Default)]
pub struct HeaderReader {
    /// What was taken off the connection: all of it belongs to the header.
    held: Vec<u8>,
}

impl HeaderReader {
    /// Ready with both ends of the connection that is passed on, once the header is taken;
    /// `None` where it speaks of nobody.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<Result<Option<Ends>, HeaderFault>> {
        loop {
            let mut room = [0; LOOK_BYTES];
            let seen = match ready!(stream.poll_peek(cx, &mut room)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(HeaderFault::Gone)),
                Ok(seen) => seen,
            };
            let before = self.held.len();
            self.held.extend_from_slice(&room[..seen]);
            let progress = read(&self.held);
            self.held.truncate(before);
            let progress = progress.map_err(|Malformed(why)| HeaderFault::Malformed(why))?;
            let end = match progress {
                Progress::More => before + seen,
                Progress::Done { bytes, .. } => bytes,
            };
            let taken = ready!(stream.poll_read(cx, &mut room[..end - before]));
            let taken = taken.map_err(|_| HeaderFault::Gone)?;
            self.held.extend_from_slice(&room[..taken]);
            if let Progress::Done { bytes, ends } = progress
                && self.held.len() == bytes
            {
                return Poll::Ready(Ok(ends));
            }
        }
    }
}

//! One stream of an HTTP/2 connection, as a stream of bytes with heads and trailers beside it.

use super::chunk::Chunk;
use super::client::Slot;
use super::{inward, outward};
use crate::buffer::Buffers;
use crate::h1::{AnswerError, ReadError, RequestLimits};
use crate::tls::Facts;
use bytes::Bytes;
use gatehouse_core::message::{Fields, Method, RequestHead, ResponseHead};
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use http::request::Parts;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Bytes taken from a writer at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// What is the stream's head, and where it stands.
enum Role {
    /// A client's request.
    Server { request: Option<Box<Parts>>, respond: SendResponse<Chunk> },
    /// A request of ours, not sent yet.
    Idle(Slot),
    /// A request of ours.
    Client { response: Option<ResponseFuture>, _slot: Slot },
}

/// One stream. Dropping it before both its messages have ended resets it.
pub struct H2Stream {
    role: Role,
    receive: Option<RecvStream>,
    send: Option<SendStream<Chunk>>,
    pool: Rc<Buffers>,
    /// DATA that came and was not read yet.
    data: Bytes,
    received_end: bool,
    /// Why nothing more can be read.
    fault: Option<io::ErrorKind>,
    trailers: Option<Box<Fields>>,
    sent_end: bool,
    /// What the handshake of its connection has settled.
    tls: Option<Rc<Facts>>,
}

impl fmt::Debug for H2Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Server { .. } => "server",
            Role::Idle(_) => "idle",
            Role::Client { .. } => "client",
        };
        f.debug_struct("H2Stream")
            .field("role", &role)
            .field("received_end", &self.received_end)
            .field("sent_end", &self.sent_end)
            .finish_non_exhaustive()
    }
}

/// The stream can take no more: its peer or its connection is gone, or its message has ended.
fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

/// What a message that cannot be written as HTTP/2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsendable(pub &'static str);

impl H2Stream {
    pub(super) fn server(
        request: http::Request<RecvStream>,
        respond: SendResponse<Chunk>,
        pool: Rc<Buffers>,
        tls: Option<Rc<Facts>>,
    ) -> H2Stream {
        let (parts, receive) = request.into_parts();
        let role = Role::Server { request: Some(Box::new(parts)), respond };
        H2Stream::new(role, Some(receive), pool, tls)
    }

    pub(super) fn idle(slot: Slot, pool: Rc<Buffers>) -> H2Stream {
        H2Stream::new(Role::Idle(slot), None, pool, None)
    }

    fn new(
        role: Role,
        receive: Option<RecvStream>,
        pool: Rc<Buffers>,
        tls: Option<Rc<Facts>>,
    ) -> H2Stream {
        H2Stream {
            role,
            receive,
            send: None,
            pool,
            data: Bytes::new(),
            received_end: false,
            fault: None,
            trailers: None,
            sent_end: false,
            tls,
        }
    }

    /// What the handshake of its connection has settled, where that is under TLS.
    pub fn tls(&self) -> Option<&Facts> {
        self.tls.as_deref()
    }

    /// Fills `head` with the request this stream carries. It is there at once, and once.
    ///
    /// # Errors
    /// [`ReadError`]; the stream can still be answered.
    pub fn read_request(
        &mut self,
        limits: &RequestLimits,
        head: &mut RequestHead,
    ) -> Result<(), ReadError> {
        let Role::Server { request, .. } = &mut self.role else { return Err(ReadError::Closed) };
        let parts = request.take().ok_or(ReadError::Closed)?;
        let ended = self.receive.as_ref().is_none_or(RecvStream::is_end_stream);
        inward::request(&parts, ended, limits, head)
    }

    /// Sends an interim answer's head.
    ///
    /// # Errors
    /// [`Unsendable`]; nothing is sent then.
    pub fn send_interim(&mut self, head: &ResponseHead) -> Result<(), Unsendable> {
        let Role::Server { respond, .. } = &mut self.role else { return Err(NO_ANSWER) };
        let answer = outward::answer(head)?;
        // A client that is gone is noticed where the answer is.
        drop(respond.send_informational(answer));
        Ok(())
    }

    /// Sends the answer's head; with `ends` it is the whole answer.
    ///
    /// # Errors
    /// [`Unsendable`]; nothing is sent then, and another answer may be. A client that is gone is
    /// no error here: writing and [`H2Stream::poll_reset`] tell.
    pub fn send_answer(&mut self, head: &ResponseHead, ends: Last) -> Result<(), Unsendable> {
        let Role::Server { respond, .. } = &mut self.role else { return Err(NO_ANSWER) };
        let answer = outward::answer(head)?;
        self.sent_end = ends == Last::Yes;
        self.send = respond.send_response(answer, self.sent_end).ok();
        Ok(())
    }

    /// Sends the request; with `ends` it is the whole of it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub fn send_request(&mut self, ask: &outward::Ask<'_>, ends: Last) -> Result<(), OpenError> {
        let Role::Idle(slot) = &mut self.role else { return Err(OpenError::Refused) };
        let request = outward::request(ask).map_err(OpenError::Unsendable)?;
        let (response, send) =
            slot.open(request, ends == Last::Yes).map_err(|_| OpenError::Refused)?;
        self.sent_end = ends == Last::Yes;
        self.send = Some(send);
        let slot = slot.take();
        self.role = Role::Client { response: Some(response), _slot: slot };
        Ok(())
    }

    /// Fills `head` with the next head of the answer, interim or final, to a request of this
    /// method.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        asked: Method,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), AnswerError>> {
        let Role::Client { response, .. } = &mut self.role else {
            return Poll::Ready(Err(AnswerError::Closed));
        };
        let Some(waiting) = response else { return Poll::Ready(Err(AnswerError::Closed)) };
        match waiting.poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => {
                let (parts, ()) = interim.into_parts();
                return Poll::Ready(inward::answer(&parts, true, asked, head));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(lost(&error))),
            Poll::Ready(None) | Poll::Pending => {}
        }
        let answer = match ready!(Pin::new(waiting).poll(cx)) {
            Ok(answer) => answer,
            Err(error) => return Poll::Ready(Err(lost(&error))),
        };
        *response = None;
        let (parts, receive) = answer.into_parts();
        let ended = receive.is_end_stream();
        self.received_end = ended;
        self.receive = Some(receive);
        Poll::Ready(inward::answer(&parts, ended, asked, head))
    }

    /// Waits until there is something to read: bytes, the end, or an error.
    fn poll_load(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.data.is_empty() && !self.received_end && self.fault.is_none() {
            let Some(receive) = &mut self.receive else { return Poll::Pending };
            match ready!(receive.poll_data(cx)) {
                Some(Ok(data)) => self.data = data,
                Some(Err(_)) => self.fault = Some(io::ErrorKind::ConnectionReset),
                None => match ready!(receive.poll_trailers(cx)) {
                    Ok(trailers) => self.note_end(trailers.as_ref()),
                    Err(_) => self.fault = Some(io::ErrorKind::ConnectionReset),
                },
            }
        }
        // What came before a fault is read before it.
        Poll::Ready(
            self.fault.filter(|_| self.data.is_empty()).map_or(Ok(()), |kind| Err(kind.into())),
        )
    }

    /// The body has ended, with these trailers.
    fn note_end(&mut self, trailers: Option<&HeaderMap>) {
        match trailers.map(inward::trailers).transpose() {
            Ok(trailers) => {
                self.trailers = trailers;
                self.received_end = true;
            }
            // They are gone: whoever reads again must not take this for an end without any.
            Err(error) => self.fault = Some(error.kind()),
        }
    }

    /// See [`crate::Stream::poll_read_ready`].
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An error is found by whoever reads.
        self.poll_load(cx).map(|_| Ok(()))
    }

    /// Reads what has come of the body; 0 is its end, after which its trailers are known. What is
    /// read, the peer may send more of.
    ///
    /// # Errors
    /// `ConnectionReset` where the peer reset the stream, broke a rule with it, or is gone;
    /// `InvalidData` where its trailers may not be passed on.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_load(cx))?;
        let count = self.data.len().min(room.len());
        room[..count].copy_from_slice(&self.data[..count]);
        if count == self.data.len() {
            self.data = Bytes::new();
        } else {
            drop(self.data.split_to(count));
        }
        if let Some(receive) = self.receive.as_mut().filter(|_| count > 0) {
            // Fails only where the stream is gone, which the next read tells.
            drop(receive.flow_control().release_capacity(count));
        }
        Poll::Ready(Ok(count))
    }

    /// Whether everything of the body was read, its end included.
    pub fn is_drained(&mut self, cx: &mut Context<'_>) -> bool {
        matches!(self.poll_load(cx), Poll::Ready(Ok(())))
            && self.received_end
            && self.data.is_empty()
    }

    /// The trailers of the message that was read to its end.
    pub fn take_trailers(&mut self) -> Option<Box<Fields>> {
        self.trailers.take()
    }

    /// Writes as much of `slices` as the peer lets us send now. Where all of it was taken and
    /// `ends` says so, the message has ended.
    ///
    /// # Errors
    /// `BrokenPipe` where the peer takes no more.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        ends: Last,
    ) -> Poll<io::Result<usize>> {
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        let Some(send) = self.send.as_mut().filter(|_| !self.sent_end) else {
            return Poll::Ready(Err(gone()));
        };
        if size == 0 {
            if ends == Last::Yes {
                self.sent_end = true;
                send.send_data(Chunk::EMPTY, true).map_err(|_| gone())?;
            }
            return Poll::Ready(Ok(0));
        }
        send.reserve_capacity(size.min(WRITE_BYTES_MAX));
        let mut room = send.capacity();
        while room == 0 {
            room = match ready!(send.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => return Poll::Ready(Err(gone())),
            };
        }
        let count = room.min(size);
        let last = ends == Last::Yes && count == size;
        let chunk = Chunk::copy(&self.pool, slices, count);
        send.send_data(chunk, last).map_err(|_| gone())?;
        self.sent_end = last;
        Poll::Ready(Ok(count))
    }

    /// Last the message with these trailers.
    ///
    /// # Errors
    /// `BrokenPipe` where the peer takes no more, `InvalidData` where they cannot be written.
    pub fn send_trailers(&mut self, trailers: &Fields) -> io::Result<()> {
        let map = outward::trailers(trailers).map_err(|_| io::ErrorKind::InvalidData)?;
        let send = self.send.as_mut().filter(|_| !self.sent_end).ok_or_else(gone)?;
        self.sent_end = true;
        send.send_trailers(map).map_err(|_| gone())
    }

    /// Last what is sent; reading goes on.
    pub fn shutdown(&mut self) {
        if let Some(send) = self.send.as_mut().filter(|_| !self.sent_end) {
            self.sent_end = true;
            // A peer that is gone needs no end.
            drop(send.send_data(Chunk::EMPTY, true));
        }
    }

    /// Ready once the peer has reset the stream or is gone.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let seen = match (&mut self.send, &mut self.role) {
            (Some(send), _) => send.poll_reset(cx),
            (None, Role::Server { respond, .. }) => respond.poll_reset(cx),
            (None, Role::Idle(_) | Role::Client { .. }) => return Poll::Pending,
        };
        seen.map(drop)
    }

    /// Breaks the stream off, so that the peer cannot take what it has for whole.
    pub fn reset(&mut self) {
        if self.sent_end {
            return;
        }
        self.sent_end = true;
        match (&mut self.send, &mut self.role) {
            (Some(send), Role::Server { .. }) => send.send_reset(Reason::INTERNAL_ERROR),
            (Some(send), Role::Idle(_) | Role::Client { .. }) => send.send_reset(Reason::CANCEL),
            (None, Role::Server { respond, .. }) => respond.send_reset(Reason::INTERNAL_ERROR),
            (None, Role::Idle(_) | Role::Client { .. }) => {}
        }
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        // The h2 crate resets what is left open with CANCEL; a server's half of an exchange that
        // did not end is the server's fault.
        if matches!(self.role, Role::Server { .. }) {
            self.reset();
        }
    }
}

/// Whether a message ends with what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It does.
    Yes,
    /// More of it follows.
    No,
}

/// Why a request could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The connection takes no more requests: it is going away, or gone.
    Refused,
    /// The request cannot be written as HTTP/2.
    Unsendable(Unsendable),
}

const NO_ANSWER: Unsendable = Unsendable("this stream takes no answer");

/// What an error in place of an answer means. A stream that the origin refused, or that is above
/// the last one its GOAWAY names, was not processed (RFC 9113 sections 8.7 and 6.8).
fn lost(error: &h2::Error) -> AnswerError {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (refused || error.is_go_away()) {
        return AnswerError::Unprocessed;
    }
    if error.is_library() {
        return AnswerError::Malformed("the answer breaks a rule of HTTP/2");
    }
    AnswerError::Reset { begun: false }
}

//! A connection of ours to an endpoint that speaks HTTP/2: many requests at once.

use super::chunk::Chunk;
use super::link::Link;
use super::stream::H2Stream;
use super::{
    BROKEN_STREAMS_MAX, ENDPOINT_STREAM_WINDOW, ENDPOINT_STREAMS_MAX, ENDPOINT_WINDOW, End,
    SEND_BUFFER_BYTES,
};
use crate::buffer::{Buffers, Inbox};
use crate::h1::response::HEAD_BYTES_MAX;
use crate::socket::Stream;
use crate::timer::now;
use gatehouse_core::moment::Moment;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What requests, and the driver of their connection, share.
struct Shared {
    send: RefCell<Option<SendRequest<Chunk>>>,
    open: Cell<usize>,
    idle_since: Cell<Moment>,
    pool: Rc<Buffers>,
}

/// A connection that requests are sent on. It lives as long as its driver is polled.
#[derive(Clone)]
pub struct Session(Rc<Shared>);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("open", &self.0.open.get()).finish_non_exhaustive()
    }
}

impl Session {
    /// Speaks HTTP/2 on a fresh connection. Nothing is waited for: the endpoint's settings may
    /// come after the first requests were sent (RFC 9113 section 3.4).
    ///
    /// # Errors
    /// `None` where the connection broke at once.
    pub async fn start(stream: Stream, pool: &Rc<Buffers>) -> Option<(Session, SessionDriver)> {
        let link = Link::new(stream, Inbox::new(Rc::clone(pool)), End::Client, now());
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(ENDPOINT_STREAMS_MAX)
            .initial_window_size(ENDPOINT_STREAM_WINDOW)
            .initial_connection_window_size(ENDPOINT_WINDOW)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_local_error_reset_streams(Some(BROKEN_STREAMS_MAX));
        let (send, mut connection) = builder.handshake(link.clone()).await.ok()?;
        let ping = connection.ping_pong();
        let shared = Rc::new(Shared {
            send: RefCell::new(Some(send)),
            open: Cell::new(0),
            idle_since: Cell::new(now()),
            pool: Rc::clone(pool),
        });
        let session = Session(Rc::clone(&shared));
        Some((session, SessionDriver { connection, link, shared, ping, pinged: None }))
    }

    /// A stream for one more request; `None` where the endpoint takes no more for now, or at all.
    pub fn lease(&self) -> Option<Stream> {
        if self.is_over() || self.0.open.get() >= self.streams_max() {
            return None;
        }
        self.0.open.set(self.0.open.get() + 1);
        let slot = Slot(Some(Rc::clone(&self.0)));
        Some(Stream::H2(Box::new(H2Stream::idle(slot, Rc::clone(&self.0.pool)))))
    }

    fn streams_max(&self) -> usize {
        let taken = self.0.send.borrow().as_ref().map_or(0, SendRequest::current_max_send_streams);
        taken.min(ENDPOINT_STREAMS_MAX)
    }

    /// Whether no request can be sent on it any more: the endpoint has said so or is gone, or it
    /// was closed.
    pub fn is_over(&self) -> bool {
        let mut send = self.0.send.borrow_mut();
        let Some(ready) = send.as_mut() else { return true };
        let over = matches!(
            ready.poll_ready(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(Err(_))
        );
        if over {
            *send = None;
        }
        over
    }

    /// Requests under way.
    pub fn open(&self) -> usize {
        self.0.open.get()
    }

    /// Since when there is none.
    pub fn idle_since(&self) -> Option<Moment> {
        (self.0.open.get() == 0).then(|| self.0.idle_since.get())
    }

    /// Sends no more requests; the connection ends after the last one that is under way.
    pub fn close(&self) {
        drop(self.0.send.borrow_mut().take());
    }
}

/// A place among a session's open streams.
pub(super) struct Slot(Option<Rc<Shared>>);

impl Slot {
    /// Sends a request's head.
    pub fn open(
        &self,
        request: http::Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Chunk>), ()> {
        let shared = self.0.as_ref().ok_or(())?;
        let mut send = shared.send.borrow_mut();
        send.as_mut().ok_or(())?.send_request(request, ends).map_err(drop)
    }

    /// The place itself, leaving none behind.
    pub fn take(&mut self) -> Slot {
        Slot(self.0.take())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.open.set(shared.open.get() - 1);
            if shared.open.get() == 0 {
                shared.idle_since.set(now());
            }
        }
    }
}

/// Carries what the streams of a session read and write.
pub struct SessionDriver {
    connection: Connection<Link, Chunk>,
    link: Link,
    shared: Rc<Shared>,
    ping: Option<PingPong>,
    pinged: Option<Moment>,
}

impl SessionDriver {
    /// Ready once the connection has ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ended = Pin::new(&mut self.connection).poll(cx).is_ready();
        let pushed = self.link.poll_push(cx);
        if let (Some(ping), Some(_)) = (&mut self.ping, self.pinged)
            && ping.poll_pong(cx).is_ready()
        {
            self.pinged = None;
        }
        if ended || matches!(pushed, Poll::Ready(Err(_))) {
            drop(self.shared.send.borrow_mut().take());
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Asks whether the endpoint is still there. It must be polled after this.
    pub fn ping(&mut self) {
        if self.pinged.is_none()
            && let Some(ping) = &mut self.ping
            && ping.send_ping(Ping::opaque()).is_ok()
        {
            self.pinged = Some(now());
        }
    }

    /// Since when it was asked and has not answered.
    pub fn pinged_since(&self) -> Option<Moment> {
        self.pinged
    }

    /// Since when the endpoint takes nothing of what is to be written.
    pub fn stalled_since(&self) -> Option<Moment> {
        self.link.look().stalled_since()
    }

    /// When the endpoint was heard last.
    pub fn heard_at(&self) -> Moment {
        self.link.look().heard_at()
    }

    /// Requests under way.
    pub fn open(&self) -> usize {
        self.shared.open.get()
    }
}

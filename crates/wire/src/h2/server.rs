//! A client's HTTP/2 connection: requests come out of it as streams.

use super::chunk::Chunk;
use super::link::Link;
use super::stream::H2Stream;
use super::{
    BROKEN_STREAMS_MAX, CLIENT_STREAM_WINDOW, CLIENT_WINDOW, End, RESET_BURST_MAX,
    SEND_BUFFER_BYTES,
};
use crate::buffer::{Buffers, Inbox};
use crate::h1::RequestLimits;
use crate::socket::Stream;
use crate::timer::now;
use crate::tls::Facts;
use gatehouse_core::moment::Moment;
use h2::server::{Builder, Connection, Handshake};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What HPACK's accounting adds to each field (RFC 7541 section 4.1).
const FIELD_OVERHEAD: usize = 32;

/// The connection of one client.
pub struct Server {
    state: State,
    link: Link,
    pool: Rc<Buffers>,
    since: Moment,
    tls: Option<Rc<Facts>>,
}

enum State {
    Handshake(Box<Handshake<Link, Chunk>>),
    Open(Box<Connection<Link, Chunk>>),
    Closed,
}

/// What a connection that has nothing to say waits for, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerWaits {
    /// The rest of the preface, or of a head.
    Head(Moment),
    /// The client takes nothing of what is to be written.
    Write(Moment),
    /// Whatever comes.
    Any,
}

impl Server {
    /// A connection of which `inbox` holds what was read already: the preface, or a part of it.
    /// At most `streams_max` requests are under way on it at once.
    pub fn new(stream: Stream, inbox: Inbox, limits: &RequestLimits, streams_max: u32) -> Server {
        let pool = Rc::clone(inbox.pool());
        let since = now();
        let tls = stream.tls().map(|facts| Rc::new(facts.clone()));
        let link = Link::new(stream, inbox, End::Server, since);
        let list = limits.head_bytes_max + limits.fields_max * FIELD_OVERHEAD;
        let mut builder = Builder::new();
        builder
            .initial_window_size(CLIENT_STREAM_WINDOW)
            .initial_connection_window_size(CLIENT_WINDOW)
            .max_concurrent_streams(streams_max)
            .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_local_error_reset_streams(Some(BROKEN_STREAMS_MAX))
            .max_pending_accept_reset_streams(RESET_BURST_MAX)
            .enable_connect_protocol();
        let state = State::Handshake(Box::new(builder.handshake(link.clone())));
        Server { state, link, pool, since, tls }
    }

    /// The next request; `None` once the connection has ended. Must be polled as long as one of
    /// its streams lives: it carries what they read and write.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        let next = self.poll_state(cx);
        if next.is_pending() {
            return match self.link.poll_push(cx) {
                Poll::Ready(Err(_)) => self.close(),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            };
        }
        if matches!(next, Poll::Ready(None)) {
            self.link.say_farewell(cx);
        }
        next
    }

    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        loop {
            match &mut self.state {
                State::Handshake(handshake) => match Pin::new(&mut **handshake).poll(cx) {
                    Poll::Ready(Ok(open)) => self.state = State::Open(Box::new(open)),
                    Poll::Ready(Err(_)) => return self.close(),
                    Poll::Pending => return Poll::Pending,
                },
                State::Open(open) => {
                    return match open.poll_accept(cx) {
                        Poll::Ready(Some(Ok((request, respond)))) => {
                            let pool = Rc::clone(&self.pool);
                            let stream = H2Stream::server(request, respond, pool, self.tls.clone());
                            Poll::Ready(Some(Stream::H2(Box::new(stream))))
                        }
                        Poll::Ready(Some(Err(_)) | None) => self.close(),
                        Poll::Pending => Poll::Pending,
                    };
                }
                State::Closed => return Poll::Ready(None),
            }
        }
    }

    fn close(&mut self) -> Poll<Option<Stream>> {
        self.state = State::Closed;
        Poll::Ready(None)
    }

    /// Tells the client to open no more streams, and ends the connection after the last.
    pub fn drain(&mut self) {
        match &mut self.state {
            State::Open(open) => open.graceful_shutdown(),
            State::Handshake(_) | State::Closed => self.state = State::Closed,
        }
    }

    /// The connection itself, once nothing more is to be said on it.
    pub fn into_stream(mut self) -> Stream {
        self.state = State::Closed;
        self.link.into_stream()
    }

    /// Whether requests are under way.
    pub fn has_streams(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.has_streams())
    }

    /// What it waits for.
    pub fn waits(&self) -> ServerWaits {
        let io = self.link.look();
        if let Some(since) = io.stalled_since() {
            return ServerWaits::Write(since);
        }
        if matches!(self.state, State::Handshake(_)) {
            return ServerWaits::Head(self.since);
        }
        io.head_since().map_or(ServerWaits::Any, ServerWaits::Head)
    }

    /// What the client did that has ended the connection.
    pub fn fault(&self) -> Option<super::Fault> {
        self.link.look().fault()
    }
}

//! A client's HTTP/2 connection: every stream of it is a client of its own for one exchange, with
//! a room of its own, on the worker that took the connection.

use crate::client::Client;
use crate::read;
use crate::rooms;
use crate::worker::Worker;
use gatehouse_core::moment::Moment;
use gatehouse_wire::h2::{Preface, Server, ServerWaits};
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::{Inbox, Stream};
use std::future::poll_fn;
use std::mem::replace;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a client that was told that the connection ends may take to end it.
const FAREWELL: Duration = Duration::from_secs(2);

const NEVER: Moment = Moment::from_nanos(u64::MAX);

/// What a connection's first bytes have shown it to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
    /// Something that this listener does not, or nothing in time.
    Neither,
}

/// Reads as much as it takes to know what a connection speaks. At least one byte is there.
pub(crate) async fn spoken(client: &mut Client) -> Spoken {
    let versions = client.rules().versions;
    // What TLS has settled is settled (RFC 9113 section 3.2).
    let agreed = match client.io.stream.tls() {
        None => None,
        Some(tls) if tls.protocol.as_deref() == Some(b"h2") => Some(Spoken::Http2),
        Some(_) if versions.has_http1() => return Spoken::Http1,
        Some(_) => return Spoken::Neither,
    };
    let deadline = client.silent_until();
    let (io, timer) = (&mut client.io, &mut client.timer);
    let preface = poll_fn(|cx| {
        loop {
            match Preface::of(io.inbox.bytes()) {
                Preface::Begun => {}
                known => return Poll::Ready(known),
            }
            match io.inbox.poll_fill(cx, &mut io.stream) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Preface::Begun),
                Poll::Pending => return timer.poll_until(cx, deadline).map(|()| Preface::Begun),
            }
        }
    });
    match preface.await {
        Preface::Whole => Spoken::Http2,
        Preface::Other if versions.has_http1() && agreed.is_none() => Spoken::Http1,
        Preface::Other | Preface::Begun => Spoken::Neither,
    }
}

/// Serves a connection that speaks HTTP/2 to its end.
pub(crate) fn serve(worker: &Rc<Worker>, client: Box<Client>) {
    worker.tasks.spawn(carry(Rc::clone(worker), client));
}

async fn carry(worker: Rc<Worker>, mut client: Box<Client>) {
    let stream = replace(&mut client.io.stream, Stream::Gone);
    if client.destination.is_none() {
        client.destination = stream.local_address().map(Rc::new);
    }
    let inbox = replace(&mut client.io.inbox, Inbox::new(Rc::clone(&worker.buffers)));
    let limits = client.limits();
    let server = Server::new(stream, inbox, &read::limits(limits), limits.streams_max);
    let mut connection =
        Connection { server, timer: Timer::default(), idle_since: None, end: NEVER };
    let mut told = None;
    poll_fn(|cx| {
        told.get_or_insert_with(|| worker.tell_of_drain(cx.waker()));
        connection.poll(cx, &worker, &client)
    })
    .await;
    // What it still sends must not destroy what it was told.
    client.io.stream = connection.server.into_stream();
    client.linger().await;
}

struct Connection {
    server: Server,
    timer: Timer,
    /// Since when no request is under way.
    idle_since: Option<Moment>,
    /// When it is closed, once the client was told that it ends and nothing is under way.
    end: Moment,
}

impl Connection {
    /// Ready once the connection is to be closed.
    fn poll(&mut self, cx: &mut Context<'_>, worker: &Rc<Worker>, client: &Client) -> Poll<()> {
        loop {
            match self.server.poll_next(cx) {
                Poll::Ready(Some(stream)) => {
                    rooms::serve(worker, client.for_stream(worker, stream));
                    continue;
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            let (since, deadline) = self.deadline(client);
            let leaves = worker.draining.get() || client.door().is_leaving();
            if leaves && self.end == NEVER {
                self.end = now().after(FAREWELL);
                self.server.drain();
                continue;
            }
            if self.timer.poll_until(cx, deadline).is_pending() {
                return Poll::Pending;
            }
            if since != Waited::Idle || self.end != NEVER {
                return Poll::Ready(());
            }
            // It has been idle for as long as it may: it ends politely.
            self.end = now().after(FAREWELL);
            self.server.drain();
        }
    }

    /// Until when it may stay as it is, and what it waits for.
    fn deadline(&mut self, client: &Client) -> (Waited, Moment) {
        let limits = client.limits();
        match self.server.waits() {
            ServerWaits::Head(since) => return (Waited::Peer, since.after(limits.head_timeout)),
            ServerWaits::Write(since) => return (Waited::Peer, since.after(limits.idle_timeout)),
            ServerWaits::Any => {}
        }
        if self.server.has_streams() {
            // They have limits of their own.
            self.idle_since = None;
            return (Waited::Streams, NEVER);
        }
        let since = *self.idle_since.get_or_insert_with(now);
        (Waited::Idle, since.after(limits.idle_timeout).min(self.end))
    }
}

/// What a connection has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// Its client, in the middle of something.
    Peer,
    /// Its streams.
    Streams,
    /// A request.
    Idle,
}

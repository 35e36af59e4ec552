//! One client connection between its exchanges.

use crate::accept::Open;
use crate::door::Door;
use crate::lease::Kept;
use crate::proxied::Caller;
use crate::trace::Until;
use crate::worker::Worker;
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{ClientLimits, ListenerPlan, Transport};
use gatehouse_wire::h2::{H2Stream, Last};
use gatehouse_wire::proxy_header::Ends;
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::{Inbox, Peer, Stream};
use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long a connection that is being closed may go on sending what nobody reads.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes read and thrown away so that a last answer is not lost to a reset.
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// The connection itself.
#[derive(Debug)]
pub(crate) struct ClientIo {
    pub stream: Stream,
    pub inbox: Inbox,
    /// The client has sent its FIN: it asks no more, but its answer still comes.
    pub half_closed: bool,
}

impl ClientIo {
    /// Ready once the client has reset the connection. What it sends meanwhile is kept: one
    /// buffer of what comes next and no more. Behind a full buffer a reset shows only later.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.half_closed && self.inbox.has_room() {
            match self.inbox.poll_fill(cx, &mut self.stream) {
                Poll::Ready(Ok(0)) => self.half_closed = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        // A stream whose client has said all may still be reset.
        match self.stream.as_h2() {
            Some(stream) => stream.poll_reset(cx),
            None => Poll::Pending,
        }
    }

    /// Whether no further request can come.
    pub fn has_ended(&self) -> bool {
        self.half_closed && self.inbox.is_empty()
    }

    /// Writes `text` whole, or says that the client is gone or took longer than `deadline`.
    /// `last` says whether an answer ends with it, which only HTTP/2 is told.
    pub async fn write(
        &mut self,
        timer: &mut Timer,
        text: &[u8],
        last: Last,
        deadline: Moment,
    ) -> Wrote {
        let mut written = 0;
        poll_fn(|cx| {
            let polled = match self.stream.as_h2() {
                None => poll_write_all(cx, &mut self.stream, text, &mut written),
                Some(stream) => poll_write_stream(cx, stream, text, &mut written, last),
            };
            match polled {
                Poll::Ready(Ok(())) => return Poll::Ready(Wrote::All),
                Poll::Ready(Err(_)) => return Poll::Ready(Wrote::Gone),
                Poll::Pending => {}
            }
            timer.poll_until(cx, deadline).map(|()| Wrote::TooSlow)
        })
        .await
    }
}

/// Writes `text` whole, from `written` on.
fn poll_write_stream(
    cx: &mut Context<'_>,
    stream: &mut H2Stream,
    text: &[u8],
    written: &mut usize,
    last: Last,
) -> Poll<io::Result<()>> {
    while *written < text.len() {
        *written += ready!(stream.poll_write(cx, &[IoSlice::new(&text[*written..])], last))?;
    }
    Poll::Ready(Ok(()))
}

/// What became of a write to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    All,
    Gone,
    TooSlow,
}

/// A client's address as text, written once a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerText {
    bytes: [u8; 47],
    len: u8,
}

impl PeerText {
    fn new(peer: Peer) -> PeerText {
        let mut bytes = [0; 47];
        let room = bytes.len();
        let mut rest = &mut bytes[..];
        // 47 bytes hold any address; a text cut short is still no other client's address.
        drop(match peer {
            Peer::Ip(address) => write!(rest, "{}", address.ip()),
            Peer::Local => write!(rest, "unix"),
        });
        let len = (room - rest.len()) as u8;
        PeerText { bytes, len }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What a connection says nothing before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The handshake of its listener.
    Handshake,
    /// Its first request.
    First,
    /// Another one.
    Next,
}

impl Silence {
    /// How many there are.
    pub const KINDS: usize = 3;
}

/// A client connection.
pub(crate) struct Client {
    pub io: ClientIo,
    /// Lent by the room it is in; an idle connection has none armed.
    pub timer: Timer,
    pub peer: Peer,
    pub peer_text: PeerText,
    /// What it connected to, where a proxy in front says so.
    pub destination: Option<Rc<SocketAddr>>,
    /// A connection to an endpoint that told of this client, and may carry nobody else's requests.
    pub kept: Option<Box<Kept>>,
    /// Whether its forwarding fields are believed.
    pub trusted: bool,
    pub served: u64,
    /// When the current wait for a request began.
    pub since: Moment,
    door: Rc<Door>,
    /// `None` for one stream of a connection that is counted already.
    _open: Option<Open>,
}

impl Client {
    pub fn new(worker: &Worker, stream: Stream, caller: Caller, open: Open) -> Client {
        let inbox = Inbox::new(Rc::clone(&worker.buffers));
        let since = now();
        let Caller { peer, destination } = caller;
        let trusted = match peer {
            Peer::Ip(address) => open.door.rules.trusts(address.ip()),
            Peer::Local => false,
        };
        Client {
            io: ClientIo { stream, inbox, half_closed: false },
            timer: Timer::default(),
            peer,
            peer_text: PeerText::new(peer),
            destination: destination.map(Rc::new),
            kept: None,
            trusted,
            served: 0,
            since,
            door: Rc::clone(&open.door),
            _open: Some(open),
        }
    }

    /// What it speaks: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self.rules().transport {
            Transport::Clear => "http",
            Transport::Tls => "https",
        }
    }

    /// The same client, for the one exchange of one stream of its HTTP/2 connection.
    pub fn for_stream(&self, worker: &Worker, stream: Stream) -> Box<Client> {
        let inbox = Inbox::new(Rc::clone(&worker.buffers));
        Box::new(Client {
            io: ClientIo { stream, inbox, half_closed: false },
            timer: Timer::default(),
            peer: self.peer,
            peer_text: self.peer_text,
            destination: self.destination.clone(),
            kept: None,
            trusted: self.trusted,
            served: 0,
            since: self.since,
            door: Rc::clone(&self.door),
            _open: None,
        })
    }

    /// The same client, for an attempt beside the one that speaks with it: here nothing is read
    /// from it, and nothing written to it.
    pub fn beside(&self, worker: &Worker) -> Box<Client> {
        let mut client = self.for_stream(worker, Stream::Gone);
        client.io.half_closed = true;
        client
    }

    /// Its address, where it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.peer {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Local => None,
        }
    }

    /// Both ends of its connection, as they are told to an endpoint; `None` where it has no
    /// address.
    pub fn ends(&self) -> Option<Ends> {
        let Peer::Ip(source) = self.peer else { return None };
        let own = || self.io.stream.local_address();
        let destination = self.destination.as_deref().copied().or_else(own)?;
        Some(Ends { source, destination })
    }

    /// What it came in by.
    pub fn door(&self) -> &Rc<Door> {
        &self.door
    }

    /// The rules it came in by.
    pub fn rules(&self) -> &ListenerPlan {
        &self.door.rules
    }

    /// What it may cost.
    pub fn limits(&self) -> &ClientLimits {
        &self.rules().limits
    }

    /// Whether this address is a proxy whose forwarding fields are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.rules().trusts(address)
    }

    /// What it may be silent before, now that it is.
    pub fn silence(&self) -> Silence {
        let shaken = match self.rules().transport {
            Transport::Clear => true,
            Transport::Tls => self.io.stream.tls().is_some(),
        };
        match (shaken, self.served) {
            (false, _) => Silence::Handshake,
            (true, 0) => Silence::First,
            (true, _) => Silence::Next,
        }
    }

    /// Until when it may be silent.
    pub fn silent_until(&self) -> Moment {
        let limits = self.limits();
        self.since.after(match self.silence() {
            Silence::Handshake => limits.tls_handshake_timeout,
            Silence::First => limits.head_timeout,
            Silence::Next => limits.idle_timeout,
        })
    }

    /// Whether nothing of another request has come yet, and some may.
    pub fn is_idle(&self) -> bool {
        self.io.inbox.is_empty() && !self.io.half_closed
    }

    /// Waits for the first byte of a request, holding no buffer. False where none will come: the
    /// client closed, was silent for too long, or its listener is closed.
    pub async fn awaits_request(&mut self, worker: &Worker) -> bool {
        if !self.io.inbox.is_empty() {
            return true;
        }
        if self.io.half_closed {
            return false;
        }
        let (mut told, mut deadline) = (None, None);
        poll_fn(|cx| match self.io.inbox.poll_fill(cx, &mut self.io.stream) {
            Poll::Ready(read) => Poll::Ready(read.is_ok_and(|count| count > 0)),
            Poll::Pending if self.door.is_closed() => Poll::Ready(false),
            Poll::Pending => {
                told.get_or_insert_with(|| worker.tell_of_drain(cx.waker()));
                let deadline = *deadline.get_or_insert_with(|| self.silent_until());
                self.timer.poll_until(cx, deadline).map(|()| false)
            }
        })
        .await
    }

    /// Waits before another attempt, while the client is still there and there is time left.
    pub async fn pauses(&mut self, pause: Duration, total: Option<Until>) -> Result<(), Failure> {
        let until = now().after(pause);
        let late = total.filter(|total| total.at < until);
        let (io, timer) = (&mut self.io, &mut self.timer);
        poll_fn(|cx| {
            if io.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failure::new(Step::Receive, Kind::ClientGone)));
            }
            let over = match late {
                Some(total) => Err(Failure::new(Step::Receive, total.late)),
                None => Ok(()),
            };
            timer.poll_until(cx, late.map_or(until, |total| total.at)).map(|()| over)
        })
        .await
    }

    /// Closes politely: a FIN, then what the client still sends is thrown away for a while, so
    /// that the answer under way is not destroyed by a reset.
    pub async fn linger(&mut self) {
        let deadline = now().after(LINGER);
        let mut thrown = 0;
        let (io, timer) = (&mut self.io, &mut self.timer);
        poll_fn(|cx| {
            if io.stream.poll_shutdown(cx).is_pending() {
                return timer.poll_until(cx, deadline);
            }
            loop {
                let held = io.inbox.bytes().len();
                io.inbox.consume(held);
                match io.inbox.poll_fill(cx, &mut io.stream) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(count)) => thrown += count as u64,
                    Poll::Pending => return timer.poll_until(cx, deadline),
                }
                if thrown > LINGER_BYTES_MAX {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }
}

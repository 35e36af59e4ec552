//! A TCP connection from accept to its record: steps 2, 4, 5, 7 and 8, a tunnel, 12. No byte of
//! the gateway's own is ever written to a client: what fails is reset.

use crate::accept::Open;
use crate::admit::{self, Admitted, Decision};
use crate::attempts::{Attempts, Lost};
use crate::buffer::Whole;
use crate::client::Client;
use crate::handshake::handshake;
use crate::lease::Lease;
use crate::pick::Caller;
use crate::trace::Trace;
use crate::tunnel::{self, Carrying};
use crate::worker::Worker;
use crate::{lease, pick, proxied, queue, record, route};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{Method, RequestHead};
use gatehouse_wire::client_hello::{HelloReader, Malformed, Start};
use gatehouse_wire::timer::now;
use gatehouse_wire::tunnel::Side;
use gatehouse_wire::{Peer, Stream};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// What a connection was about, for its record.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The server name that its TLS asks for, where it was looked at.
    pub name: Option<Box<str>>,
    /// Which end sent its FIN first.
    pub ended_first: Option<Side>,
}

/// Serves one connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, open: Open, mut stream: Stream, peer: Peer) {
    let started = now();
    let told = proxied::caller(&worker, &open.door.rules, &mut stream, peer);
    let Ok(caller) = told.await else { return };
    let Some(open) = open.of(caller.peer) else { return };
    let mut client = Client::new(&worker, stream, caller, open);
    if handshake(&worker, &mut client).await.is_none() {
        return;
    }
    let mut trace = Trace::new(worker.next_id(), started);
    let mut connection = Connection::default();
    if let Err(failure) = carry(&worker, &mut client, &mut connection, &mut trace).await {
        trace.failure = Some(failure);
        client.io.stream.reset_on_close();
    }
    record::connection(&worker, &client, &connection, &trace);
}

async fn carry(
    worker: &Rc<Worker>,
    client: &mut Client,
    connection: &mut Connection,
    trace: &mut Trace,
) -> Result<(), Failure> {
    let view = client.door().view(worker);
    trace.view = Some(Rc::clone(&view));
    if view.plan.asks_name(client.door().place()) {
        connection.name = server_name(client).await?;
    }
    // The router knows connections as requests for nothing but a host.
    let head = Box::new(asking(connection.name.as_deref().unwrap_or("")));
    let routed = route::route(&view, client, &head, trace)?;
    let admitted = match admit::admit(worker, client, &head, routed)? {
        Decision::Forward(admitted) => admitted,
        // The configuration has no such route for TCP.
        Decision::Answer(_) => return Err(Failure::new(Step::Admit, Kind::NoRoute)),
    };
    let mut attempts = Attempts::new(&admitted, &head, &Whole::default());
    let mut lease = loop {
        match attempt(worker, client, &head, &admitted, &attempts, trace).await {
            Ok(lease) => break lease,
            Err(lost) => attempts.allow(lost, admitted.upstream_view().endpoints.vitals())?,
        }
    };
    drop(head);
    let timeouts = &admitted.forward().timeouts;
    let carrying = Carrying {
        idle: timeouts.tunnel,
        until: trace.total_deadline(timeouts),
        meter: Some(view.meter(&worker.meters, trace.route)),
    };
    let carried = tunnel::carry(worker, client, &mut lease, carrying, trace).await;
    if let Err(failure) = carried.outcome {
        if failure.kind == Kind::UpstreamReset && trace.sent_bytes == 0 {
            lease.pick().count_failure();
        }
        // What either side has received is not whole, and must not look so.
        lease.origin.stream.reset_on_close();
    }
    connection.ended_first = carried.ended_first;
    carried.outcome
}

/// Steps 7 and 8: one try at one endpoint.
async fn attempt(
    worker: &Rc<Worker>,
    client: &mut Client,
    head: &RequestHead,
    admitted: &Admitted<'_>,
    attempts: &Attempts<'_>,
    trace: &mut Trace,
) -> Result<Lease, Lost> {
    let pick = match pick::pick(worker, client, head, admitted, attempts, trace, Caller::New) {
        Err(lost) if queue::is_for(&lost, admitted, Caller::New) => {
            Box::pin(queue::wait(worker, client, head, admitted, attempts, trace)).await?
        }
        picked => picked?,
    };
    trace.tried = now();
    let lease = match lease::kept(client, admitted, attempts, pick, trace) {
        Ok(lease) => lease,
        Err(pick) => lease::fresh(worker, client, admitted, pick, trace).await?,
    };
    let ended = now();
    trace.answered = Some(ended);
    // To take a connection is all the answer that TCP knows.
    lease.pick().count_answer(200);
    lease.pick().endpoint().vitals.observe(ended.since(trace.tried), ended);
    Ok(lease)
}

fn asking(name: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.method = Some(Method::Other);
    head.host = head.fields.note(name.as_bytes());
    head.raw_path = head.fields.note(b"/");
    head.path = Some(head.raw_path);
    head
}

/// The server name that the client's TLS asks for; `None` for a client that asks for none, or
/// speaks something else. The bytes stay where they are.
async fn server_name(client: &mut Client) -> Result<Option<Box<str>>, Failure> {
    if let Some(facts) = client.io.stream.tls() {
        return Ok(facts.name.as_deref().map(Box::from));
    }
    let failure = |kind, why| Failure::because(Step::Handshake, kind, why);
    let deadline = client.since.after(client.limits().head_timeout);
    let mut reader = HelloReader::default();
    let (io, timer) = (&mut client.io, &mut client.timer);
    poll_fn(|cx| {
        loop {
            match reader.read(io.inbox.bytes()) {
                Ok(Start::More) => {}
                Ok(Start::NotTls) => return Poll::Ready(Ok(None)),
                Ok(Start::Hello { name, .. }) => return Poll::Ready(Ok(name.map(Box::from))),
                Err(Malformed(why)) => {
                    return Poll::Ready(Err(failure(Kind::ClientHelloInvalid, why)));
                }
            }
            match io.inbox.poll_fill(cx, &mut io.stream) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Err(failure(Kind::ClientGone, "before a ClientHello")));
                }
                Poll::Pending => {
                    let late = || Err(failure(Kind::HandshakeTimeout, "ClientHello"));
                    return timer.poll_until(cx, deadline).map(|()| late());
                }
            }
        }
    })
    .await
}

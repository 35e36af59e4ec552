//! Step 11 where the protocol is switched, and what follows step 8 for TCP: raw bytes both ways
//! until both sides have ended.

use crate::admit::Admitted;
use crate::client::{Client, Wrote};
use crate::hop::{self, Upgrade};
use crate::lease::Lease;
use crate::meters::RouteMeter;
use crate::receive::Answered;
use crate::respond::After;
use crate::trace::{Trace, Until};
use crate::worker::{Heads, Worker};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{Known, ResponseHead};
use gatehouse_wire::h1::encode;
use gatehouse_wire::h2::{H2Stream, Last, Unsendable};
use gatehouse_wire::timer::now;
use gatehouse_wire::tunnel::{Broken, End, Side, Tunnel};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// What bounds a tunnel, and where its bytes are counted as they pass.
#[derive(Debug)]
pub(crate) struct Carrying<'a> {
    /// How long nothing may move, either way.
    pub idle: Duration,
    /// When it ends whatever moves.
    pub until: Option<Until>,
    /// `None` where the record counts them.
    pub meter: Option<&'a RouteMeter>,
}

/// What became of a tunnel.
#[derive(Debug)]
pub(crate) struct Carried {
    pub outcome: Result<(), Failure>,
    /// Which end sent its FIN first.
    pub ended_first: Option<Side>,
}

/// Passes the 101 on, then carries bytes.
pub(crate) async fn switch(
    worker: &Worker,
    client: &mut Client,
    heads: &mut Heads,
    admitted: &Admitted<'_>,
    answered: Answered,
    trace: &mut Trace,
) -> Result<After, Failure> {
    let timeouts = &admitted.forward().timeouts;
    let fields = &mut heads.answer.fields;
    hop::strip(fields, Upgrade::Keep);
    fields.remove(Known::ContentLength);
    admitted.route().response_edits.apply(fields);
    fields.append(b"Connection", b"upgrade");
    let mut text = worker.buffers.take_text();
    match client.io.stream.as_h2() {
        None => encode::response(&heads.answer, &mut text),
        Some(stream) => send_connected(stream, &mut heads.answer)?,
    }
    let deadline = now().after(timeouts.idle);
    let wrote = client.io.write(&mut client.timer, &text, Last::No, deadline).await;
    worker.buffers.give_text(text);
    if wrote != Wrote::All {
        return Err(Failure::new(Step::Respond, Kind::ClientGone));
    }
    trace.status = heads.answer.status;
    let carrying =
        Carrying { idle: timeouts.tunnel, until: trace.total_deadline(timeouts), meter: None };
    let mut lease = answered.lease;
    trace.failure = carry(worker, client, &mut lease, carrying, trace).await.outcome.err();
    let broken = |kind| matches!(kind, Kind::ClientGone | Kind::UpstreamReset);
    if trace.failure.is_some_and(|failure| broken(failure.kind)) {
        lease.origin.stream.reset_on_close();
        return Ok(After::Reset);
    }
    // What ends by the gateway's clock ends with all that was said so far: the frames of a
    // WebSocket tell by themselves that there is no more.
    if let Some(stream) = client.io.stream.as_h2() {
        stream.shutdown();
    }
    Ok(After::Close)
}

/// Carries bytes until both ends have sent their FIN, one of them breaks, nothing moves for too
/// long, or a drain is over.
pub(crate) async fn carry(
    worker: &Worker,
    client: &mut Client,
    lease: &mut Lease,
    carrying: Carrying<'_>,
    trace: &mut Trace,
) -> Carried {
    let Carrying { idle, until, meter } = carrying;
    let (io, timer) = (&mut client.io, &mut client.timer);
    let mut tunnel = Tunnel::default();
    let mut carried = (0, 0);
    let mut quiet_since = now();
    let mut told = None;
    let outcome = poll_fn(|cx| {
        told.get_or_insert_with(|| worker.tell_of_drain(cx.waker()));
        let mut first = End { stream: &mut io.stream, inbox: &mut io.inbox };
        let origin = &mut lease.origin;
        let mut second = End { stream: &mut origin.stream, inbox: &mut origin.inbox };
        let polled = tunnel.poll(cx, &worker.pipes, &mut first, &mut second);
        let moved = tunnel.carried();
        if carried != moved {
            if let Some(meter) = meter {
                meter.received_bytes.add(moved.0 - carried.0);
                meter.sent_bytes.add(moved.1 - carried.1);
            }
            carried = moved;
            quiet_since = now();
        }
        if let Poll::Ready(outcome) = polled {
            return Poll::Ready(outcome.map_err(meaning));
        }
        if worker.cutting.get() {
            return Poll::Ready(Err(Failure::new(Step::Respond, Kind::DrainCut)));
        }
        let mut deadline = quiet_since.after(idle);
        let mut late = Kind::TunnelIdle;
        if let Some(until) = until.filter(|until| until.at < deadline) {
            deadline = until.at;
            late = until.late;
        }
        timer.poll_until(cx, deadline).map(|()| Err(Failure::new(Step::Respond, late)))
    })
    .await;
    tunnel.give_back(&worker.pipes);
    (trace.received_bytes, trace.sent_bytes) = carried;
    Carried { outcome, ended_first: tunnel.ended_first() }
}

/// What a 101 is to a client that came by CONNECT (RFC 8441 section 5.1).
fn send_connected(stream: &mut H2Stream, answer: &mut ResponseHead) -> Result<(), Failure> {
    answer.status = 200;
    answer.fields.remove_named(b"sec-websocket-accept");
    stream.send_answer(answer, Last::No).map_err(|Unsendable(detail)| {
        Failure::because(Step::Respond, Kind::UpstreamMalformed, detail)
    })
}

fn meaning(broken: Broken) -> Failure {
    match broken {
        Broken(Side::First) => Failure::new(Step::Respond, Kind::ClientGone),
        Broken(Side::Second) => Failure::new(Step::Respond, Kind::UpstreamReset),
    }
}

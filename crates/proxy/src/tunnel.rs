//! Step 11 where the protocol is switched: raw bytes both ways until both sides have ended.

use crate::admit::Admitted;
use crate::client::{Client, Wrote};
use crate::hop::{self, Upgrade};
use crate::receive::Answered;
use crate::respond::After;
use crate::trace::Trace;
use crate::worker::{Heads, Worker};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::Known;
use gatehouse_core::moment::Moment;
use gatehouse_wire::h1::encode;
use gatehouse_wire::timer::now;
use gatehouse_wire::tunnel::{Broken, End, Tunnel};
use std::future::poll_fn;
use std::task::Poll;

/// Passes the 101 on, then carries bytes.
pub(crate) async fn switch(
    worker: &Worker,
    client: &mut Client,
    heads: &mut Heads,
    admitted: &Admitted<'_>,
    answered: Answered,
    trace: &mut Trace,
) -> Result<After, Failure> {
    let idle = admitted.forward().timeouts.idle;
    let fields = &mut heads.answer.fields;
    hop::strip(fields, Upgrade::Keep);
    fields.remove(Known::ContentLength);
    admitted.route().response_edits.apply(fields);
    fields.append(b"Connection", b"upgrade");
    let mut text = worker.buffers.take_text();
    encode::response(&heads.answer, &mut text);
    let wrote = client.io.write(&mut client.timer, &text, now().after(idle)).await;
    worker.buffers.give_text(text);
    if wrote != Wrote::All {
        return Err(Failure::new(Step::Respond, Kind::ClientGone));
    }
    trace.status = 101;
    let mut origin = answered.lease;
    let (io, timer) = (&mut client.io, &mut client.timer);
    let mut tunnel = Tunnel::default();
    let mut carried = (0, 0);
    let mut quiet_since: Option<Moment> = None;
    let outcome = poll_fn(|cx| {
        let mut first = End { stream: &mut io.stream, inbox: &mut io.inbox };
        let origin = &mut origin.origin;
        let mut second = End { stream: &mut origin.stream, inbox: &mut origin.inbox };
        if let Poll::Ready(outcome) = tunnel.poll(cx, &mut first, &mut second) {
            return Poll::Ready(outcome.map_err(meaning));
        }
        if carried != tunnel.carried() || quiet_since.is_none() {
            carried = tunnel.carried();
            quiet_since = Some(now());
        }
        let deadline = quiet_since.unwrap_or_default().after(idle);
        timer
            .poll_until(cx, deadline)
            .map(|()| Err(Failure::because(Step::Respond, Kind::UpstreamIdleTimeout, "tunnel")))
    })
    .await;
    (trace.received_bytes, trace.sent_bytes) = tunnel.carried();
    trace.failure = outcome.err();
    Ok(After::Close)
}

fn meaning(broken: Broken) -> Failure {
    match broken {
        Broken::First => Failure::new(Step::Respond, Kind::ClientGone),
        Broken::Second => Failure::because(Step::Respond, Kind::UpstreamBodyCut, "tunnel"),
    }
}

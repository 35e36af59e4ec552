//! Between pick and lease: waiting for a place where all are taken, in the upstream's queue.
//! Never here: who is served before whom, which is the queue's own to say.

use crate::admit::Admitted;
use crate::attempts::{Attempts, Lost};
use crate::client::Client;
use crate::pick::{self, Caller, Pick};
use crate::trace::{Trace, Until};
use crate::worker::Worker;
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::RequestHead;
use gatehouse_core::queue::{Ticket, Turn};
use gatehouse_core::vitals::UpstreamVitals;
use gatehouse_wire::timer::now;
use std::future::poll_fn;
use std::task::Poll;

/// Whether an attempt that found no place is to wait for one.
pub(crate) fn is_for(lost: &Lost, admitted: &Admitted<'_>, caller: Caller) -> bool {
    let full = matches!(lost.failure.kind, Kind::UpstreamAtCap | Kind::EndpointsAtCap);
    full && caller != Caller::Hedge && admitted.upstream_plan().queue.is_some()
}

/// A place in the queue. Whoever leaves it calls the next: it may have been called itself.
struct Place<'a> {
    vitals: &'a UpstreamVitals,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.vitals.leave_queue(self.ticket);
    }
}

/// Waits for a place within the queue's time, while the client is still there.
pub(crate) async fn wait(
    worker: &Worker,
    client: &mut Client,
    head: &RequestHead,
    admitted: &Admitted<'_>,
    attempts: &Attempts<'_>,
    trace: &mut Trace,
) -> Result<Pick, Lost> {
    let Some(rule) = admitted.upstream_plan().queue else {
        return Err(turned_away(Kind::EndpointsAtCap));
    };
    let vitals = admitted.upstream_view().endpoints.vitals();
    let own = Until { at: now().after(rule.timeout), late: Kind::QueueTimeout };
    let total = trace.total_deadline(&admitted.forward().timeouts);
    let until = total.filter(|total| total.at < own.at).unwrap_or(own);
    let priority = admitted.route().priority;
    let mut place = None;
    let outcome = poll_fn(|cx| {
        let Place { ticket, .. } = match &mut place {
            Some(place) => place,
            None => match vitals.join_queue(priority, rule.waiting_max, cx.waker()) {
                Some(ticket) => place.insert(Place { vitals, ticket }),
                None => return Poll::Ready(Err(turned_away(Kind::QueueFull))),
            },
        };
        match vitals.turn(*ticket, cx.waker()) {
            Turn::Waits => {}
            Turn::Displaced => return Poll::Ready(Err(turned_away(Kind::QueueFull))),
            Turn::Called => {
                look_again(worker, admitted, attempts);
                trace.tried = now();
                let called = Caller::FromQueue;
                match pick::pick(worker, client, head, admitted, attempts, trace, called) {
                    Err(lost) if is_for(&lost, admitted, called) => {}
                    picked => return Poll::Ready(picked),
                }
            }
        }
        if client.io.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(turned_away(Kind::ClientGone)));
        }
        client.timer.poll_until(cx, until.at).map(|()| Err(turned_away(until.late)))
    })
    .await;
    if let Err(Lost { failure: Failure { kind, .. }, .. }) = &outcome {
        match kind {
            Kind::QueueFull => vitals.count_queue_full(),
            Kind::QueueTimeout => vitals.count_queue_timeout(),
            _ => {}
        }
    }
    outcome
}

/// Has the upstream seen as it is now: what was waited for may be an endpoint that was not there,
/// or a limit that was lower, when the exchange took its snapshot.
fn look_again(worker: &Worker, admitted: &Admitted<'_>, attempts: &Attempts<'_>) {
    let renewed = attempts.renewed();
    let seen = admitted.seen_in(renewed.as_deref());
    if let Some(renewed) = seen.renewed_by(worker.view()) {
        attempts.renew(&seen.upstream_view().endpoints, renewed);
    }
}

fn turned_away(kind: Kind) -> Lost {
    Lost::for_good(Failure::new(Step::Pick, kind))
}

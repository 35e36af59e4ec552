//! The spine: one request from its first byte to its record. Steps are called here, in this
//! order, and nowhere else does a step call a step.

use crate::attempts::{Attempts, Lost};
use crate::client::Client;
use crate::hedge::{self, Race, Stand, Worth};
use crate::receive::Answered;
use crate::respond::After;
use crate::trace::Trace;
use crate::worker::{Desk, Worker};
use crate::{admit, buffer, lease, pick, queue, read, receive, record, respond, route, send};
use gatehouse_core::failure::Failure;
use gatehouse_wire::timer::now;
use std::pin::pin;
use std::rc::Rc;

/// Runs one exchange; says what becomes of the connection.
pub(crate) async fn exchange(worker: &Rc<Worker>, client: &mut Client) -> After {
    let mut desk = worker.take_desk();
    let mut running = record::Running::begin(worker, client, &mut desk);
    let record::Running { client, desk: at, trace, .. } = &mut running;
    let after = match carry(worker, client, at, trace).await {
        Ok(after) => after,
        Err(failure) => respond::failure(worker, client, &mut at.heads, failure, trace).await,
    };
    running.record();
    drop(running);
    worker.give_desk(desk);
    after
}

/// Steps 3 to 11.
async fn carry(
    worker: &Rc<Worker>,
    client: &mut Client,
    desk: &mut Desk,
    trace: &mut Trace,
) -> Result<After, Failure> {
    let heads = &mut desk.heads;
    read::read(worker, client, &mut heads.request, trace).await?;
    let view = client.door().view(worker);
    trace.view = Some(Rc::clone(&view));
    if let Some(answer) = route::challenge(&view, &heads.request) {
        return Ok(respond::challenge(worker, client, heads, answer, trace).await);
    }
    let routed = route::route(&view, client, &heads.request, trace)?;
    let admitted = match admit::admit(worker, client, &heads.request, routed)? {
        admit::Decision::Forward(admitted) => admitted,
        admit::Decision::Answer(own) => {
            return Ok(respond::own(worker, client, heads, own, trace).await);
        }
    };
    if let Some(length) = buffer::wanted(&admitted, &heads.request, trace) {
        buffer::fill(client, desk, &admitted, length, trace).await?;
    }
    let heads = &mut desk.heads;
    let outbound = send::rewrite(worker, client, &mut heads.request, &admitted, trace.call)?;
    let mut attempts = Attempts::new(&admitted, &heads.request, &desk.whole);
    let answered = loop {
        let vitals = admitted.upstream_view().endpoints.vitals();
        let tried = match hedge::after(&admitted, &attempts) {
            None => attempt(worker, client, desk, &admitted, outbound, &attempts, trace).await,
            Some(after) => {
                let race = Race::new(worker, client, desk, &attempts, trace, after);
                // In a box of its own: who is alone has no room for it.
                Box::pin(race_of(worker, client, desk, &admitted, outbound, &attempts, race)).await
            }
        };
        match tried {
            Ok(answered) => {
                let endpoint = answered.lease.pick().id();
                let intact = desk.upload.is_intact();
                if !attempts.goes_on_after(&desk.heads.answer, intact, endpoint, vitals) {
                    break answered;
                }
            }
            Err(lost) => attempts.allow(lost, vitals)?,
        }
        desk.interims = None;
        desk.upload.rewind(&mut client.io);
        let pause = attempts.backoff(&mut worker.chance.borrow_mut());
        if !pause.is_zero() {
            client.pauses(pause, trace.total_deadline(&admitted.forward().timeouts)).await?;
        }
        trace.tried = now();
    };
    if desk.interims.is_some() {
        // In a box of its own: it is rare, and all would have room for it.
        let timeouts = &admitted.forward().timeouts;
        Box::pin(receive::pass_held(client, desk, timeouts)).await?;
    }
    respond::respond(worker, client, desk, &admitted, answered, trace).await
}

/// Steps 7 to 10: one try at one endpoint.
async fn attempt(
    worker: &Rc<Worker>,
    client: &mut Client,
    desk: &mut Desk,
    admitted: &admit::Admitted<'_>,
    outbound: send::Outbound,
    attempts: &Attempts<'_>,
    trace: &mut Trace,
) -> Result<Answered, Lost> {
    let head = &desk.heads.request;
    let caller = attempts.caller();
    let pick = match pick::pick(worker, client, head, admitted, attempts, trace, caller) {
        Err(lost) if queue::is_for(&lost, admitted, caller) => {
            // In a box of its own: who finds a place has no room for it.
            Box::pin(queue::wait(worker, client, head, admitted, attempts, trace)).await?
        }
        picked => picked?,
    };
    let mut lease = match lease::kept(client, admitted, attempts, pick, trace) {
        Ok(lease) => lease,
        Err(pick) => lease::fresh(worker, client, admitted, pick, trace).await?,
    };
    send::send(client, desk, admitted, outbound, &mut lease, trace)?;
    receive::receive(client, desk, admitted, lease, attempts, trace).await
}

/// The same at two endpoints, the second asked where the first is slow.
async fn race_of(
    worker: &Rc<Worker>,
    client: &mut Client,
    desk: &mut Desk,
    admitted: &admit::Admitted<'_>,
    outbound: send::Outbound,
    attempts: &Attempts<'_>,
    mut race: Race<'_, '_>,
) -> Result<Answered, Lost> {
    let after = race.after();
    let (which, tried) = {
        let hedge::Beside { client: other, desk: own, attempts: theirs } = &mut race.beside;
        let theirs = &*theirs;
        let second = one_of_two(worker, other, own, admitted, outbound, theirs, &mut race.second);
        let mut second = pin!(Some(second));
        let stand = {
            let first = &mut race.first;
            let first = one_of_two(worker, client, desk, admitted, outbound, attempts, first);
            hedge::run(pin!(first), second.as_mut(), (attempts, theirs), admitted, after).await
        };
        match stand {
            Stand::Over(which, tried) => (which, tried),
            Stand::Alone(first) => hedge::better(first, hedge::last(client, second).await),
        }
    };
    race.hear(which, desk, admitted, attempts);
    tried.map(|(answered, _)| answered)
}

/// One of two attempts, and what its answer is worth.
async fn one_of_two(
    worker: &Rc<Worker>,
    client: &mut Client,
    desk: &mut Desk,
    admitted: &admit::Admitted<'_>,
    outbound: send::Outbound,
    attempts: &Attempts<'_>,
    trace: &mut Trace,
) -> hedge::Tried {
    let answered = attempt(worker, client, desk, admitted, outbound, attempts, trace).await?;
    Ok((answered, Worth::of(desk.heads.answer.status, admitted)))
}

//! The spine: one request from its first byte to its record. Steps are called here, in this
//! order, and nowhere else does a step call a step.

use crate::attempts::{Attempts, Lost};
use crate::client::Client;
use crate::receive::Answered;
use crate::respond::After;
use crate::trace::Trace;
use crate::worker::{Heads, Worker};
use crate::{admit, lease, pick, read, receive, record, respond, route, send};
use gatehouse_core::failure::Failure;
use gatehouse_wire::timer::now;
use std::rc::Rc;

/// Runs one exchange. Gives the connection back where it can carry another.
pub(crate) async fn exchange(worker: Rc<Worker>, mut client: Client) -> Option<Client> {
    let mut trace = Trace::new(worker.next_id(), now());
    let mut heads = worker.take_heads();
    worker.meters.in_flight.add(1);
    let after = match carry(&worker, &mut client, &mut heads, &mut trace).await {
        Ok(after) => after,
        Err(failure) => {
            respond::failure(&worker, &mut client, &mut heads, failure, &mut trace).await
        }
    };
    record::record(&worker, &client, &heads.request, &trace);
    worker.meters.in_flight.sub(1);
    worker.give_heads(heads);
    client.served += 1;
    match after {
        After::Keep => return Some(client),
        After::Close => {}
        After::Linger => client.linger().await,
        After::Reset => client.io.stream.reset_on_close(),
    }
    None
}

/// Steps 3 to 11.
async fn carry(
    worker: &Rc<Worker>,
    client: &mut Client,
    heads: &mut Heads,
    trace: &mut Trace,
) -> Result<After, Failure> {
    read::read(client, &mut heads.request, trace).await?;
    let view = worker.view();
    trace.view = Some(Rc::clone(&view));
    let routed = route::route(&view, client, &heads.request, trace)?;
    let admitted = match admit::admit(worker, client, &heads.request, routed)? {
        admit::Decision::Forward(admitted) => admitted,
        admit::Decision::Answer(own) => {
            return Ok(respond::own(worker, client, heads, own, trace).await);
        }
    };
    let outbound = send::rewrite(worker, client, &mut heads.request, &admitted)?;
    let mut attempts = Attempts::new(&admitted, &heads.request);
    let answered = loop {
        match attempt(worker, client, heads, &admitted, &outbound, &attempts, trace).await {
            Ok(answered) => break answered,
            Err(lost) => attempts.allow(lost)?,
        }
    };
    outbound.give_back(worker);
    respond::respond(worker, client, heads, &admitted, answered, trace).await
}

/// Steps 7 to 10: one try at one endpoint.
async fn attempt(
    worker: &Rc<Worker>,
    client: &mut Client,
    heads: &mut Heads,
    admitted: &admit::Admitted,
    outbound: &send::Outbound,
    attempts: &Attempts,
    trace: &mut Trace,
) -> Result<Answered, Lost> {
    let pick = pick::pick(worker, client, &heads.request, admitted, attempts, trace)?;
    let lease = lease::lease(worker, client, admitted, attempts, pick, trace).await?;
    let upload = send::send(worker, client, &heads.request, admitted, outbound, &lease);
    receive::receive(client, heads, admitted, lease, upload, trace).await
}

//! Step 7, pick: balancer over ready endpoints, a place in flight -> `Pick`.

use crate::admit::Admitted;
use crate::attempts::{Attempts, Lost};
use crate::client::Client;
use crate::forwarded::client_text;
use crate::pool::Pool;
use crate::trace::Trace;
use crate::worker::{UpstreamView, Worker};
use gatehouse_core::balance_key::balance_key;
use gatehouse_core::breaker::Gate;
use gatehouse_core::endpoints::{Ask, Endpoint, EndpointId, NoPick};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::RequestHead;
use gatehouse_wire::timer::now;
use gatehouse_wire::tls::ClientSide;
use std::rc::Rc;
use std::sync::Arc;

/// Proof that an endpoint was chosen; its place in flight is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Pick {
    upstream: Rc<UpstreamView>,
    id: EndpointId,
}

impl Pick {
    pub fn id(&self) -> EndpointId {
        self.id
    }

    pub fn endpoint(&self) -> &Endpoint {
        self.upstream.endpoints.get(self.id)
    }

    /// How the endpoint is spoken to under TLS, where it is the upstream's.
    pub fn side(&self) -> Option<&Arc<ClientSide>> {
        self.upstream.tls.as_ref()
    }

    pub fn pool(&self) -> &Rc<Pool> {
        &self.upstream.pools[usize::from(self.id.0)]
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.endpoint().vitals.leave();
        self.upstream.endpoints.vitals().leave();
    }
}

fn none_to_pick(kind: Kind) -> Lost {
    Lost::for_good(Failure::new(Step::Pick, kind))
}

/// Who asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody who has just come, and may not go before those that wait.
    New,
    /// The first of those.
    FromQueue,
    /// Somebody whose request another endpoint has already; it waits for nothing.
    Hedge,
}

/// Counts the request into its upstream, where the breaker lets it.
fn enter(upstream: &UpstreamView, admitted: &Admitted<'_>, caller: Caller) -> Result<(), Lost> {
    let vitals = upstream.endpoints.vitals();
    let plan = admitted.upstream_plan();
    let goes_behind = caller != Caller::FromQueue && plan.queue.is_some();
    if goes_behind && vitals.waiting() > 0 {
        return Err(none_to_pick(Kind::UpstreamAtCap));
    }
    // The few that a half-open breaker lets pass are not for what somebody answers already.
    let barred = caller == Caller::Hedge && vitals.gate() != Gate::Closed;
    if barred || !vitals.passes_gate() {
        return Err(none_to_pick(Kind::BreakerOpen));
    }
    let most = plan.in_flight_max(|| vitals.concurrency());
    if vitals.try_enter(most) { Ok(()) } else { Err(none_to_pick(Kind::UpstreamAtCap)) }
}

/// Chooses an endpoint.
pub(crate) fn pick(
    worker: &Worker,
    client: &Client,
    head: &RequestHead,
    admitted: &Admitted<'_>,
    attempts: &Attempts<'_>,
    trace: &mut Trace,
    caller: Caller,
) -> Result<Pick, Lost> {
    let upstream = admitted.upstream_view();
    trace.upstream = Some(admitted.upstream());
    enter(upstream, admitted, caller)?;
    if caller == Caller::Hedge {
        trace.tried = now();
    }
    let mut chance = worker.chance.borrow_mut();
    let ip = client_text(client, head);
    let mut ask = Ask {
        now: trace.tried,
        chance: &mut chance,
        key: balance_key(&admitted.upstream_plan().hash, head, ip),
        tried: attempts.tried(),
    };
    let picked = match caller {
        Caller::New | Caller::FromQueue => upstream.endpoints.pick(&mut ask),
        Caller::Hedge => upstream.endpoints.pick_untried(&mut ask).ok_or(NoPick::AtCap),
    };
    let id = picked.map_err(|none| {
        upstream.endpoints.vitals().withdraw();
        none_to_pick(match none {
            NoPick::Empty => Kind::NoEndpoint,
            NoPick::AtCap => Kind::EndpointsAtCap,
        })
    })?;
    let pick = Pick { upstream: Rc::clone(upstream), id };
    if caller == Caller::Hedge {
        // A place that nothing pays for is given back.
        pay_for_hedge(&pick)?;
    }
    pick.endpoint().vitals.count_pick();
    attempts.goes_to(id);
    trace.endpoint = Some(id);
    trace.attempts += 1;
    Ok(pick)
}

/// Takes a hedge from the budget that it shares with retries, and counts it.
fn pay_for_hedge(pick: &Pick) -> Result<(), Lost> {
    let vitals = pick.upstream.endpoints.vitals();
    if !vitals.try_retry() {
        return Err(none_to_pick(Kind::EndpointsAtCap));
    }
    vitals.count_hedge();
    Ok(())
}

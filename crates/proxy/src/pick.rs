//! Step 7, pick: balancer over ready endpoints, a place in flight -> `Pick`.

use crate::admit::Admitted;
use crate::attempts::{Attempts, Lost};
use crate::client::Client;
use crate::forwarded::client_text;
use crate::pool::Pool;
use crate::trace::Trace;
use crate::worker::{UpstreamView, Worker};
use gatehouse_core::balance_key::balance_key;
use gatehouse_core::endpoints::{Ask, Endpoint, EndpointId, NoPick};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::RequestHead;
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
}

/// Counts the request into its upstream, where the breaker lets it.
fn enter(upstream: &UpstreamView, admitted: &Admitted<'_>, caller: Caller) -> Result<(), Lost> {
    let vitals = upstream.endpoints.vitals();
    let waits = caller == Caller::New && admitted.upstream_plan().queue.is_some();
    if waits && vitals.waiting() > 0 {
        return Err(none_to_pick(Kind::UpstreamAtCap));
    }
    if !vitals.passes_gate() {
        return Err(none_to_pick(Kind::BreakerOpen));
    }
    let most = admitted.upstream_plan().breaker.and_then(|breaker| breaker.in_flight_max);
    if vitals.try_enter(most) { Ok(()) } else { Err(none_to_pick(Kind::UpstreamAtCap)) }
}

/// Chooses an endpoint.
pub(crate) fn pick(
    worker: &Worker,
    client: &Client,
    head: &RequestHead,
    admitted: &Admitted<'_>,
    attempts: &Attempts,
    trace: &mut Trace,
    caller: Caller,
) -> Result<Pick, Lost> {
    let upstream = admitted.upstream_view();
    trace.upstream = Some(admitted.upstream());
    enter(upstream, admitted, caller)?;
    let mut chance = worker.chance.borrow_mut();
    let ip = client_text(client, head);
    let mut ask = Ask {
        now: trace.tried,
        chance: &mut chance,
        key: balance_key(&admitted.upstream_plan().hash, head, ip),
        tried: attempts.tried(),
    };
    let id = upstream.endpoints.pick(&mut ask).map_err(|none| {
        upstream.endpoints.vitals().withdraw();
        none_to_pick(match none {
            NoPick::Empty => Kind::NoEndpoint,
            NoPick::AtCap => Kind::EndpointsAtCap,
        })
    })?;
    let pick = Pick { upstream: Rc::clone(upstream), id };
    pick.endpoint().vitals.count_pick();
    trace.endpoint = Some(id);
    trace.attempts += 1;
    Ok(pick)
}

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
use gatehouse_wire::timer::now;
use std::rc::Rc;

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

/// Chooses an endpoint.
pub(crate) fn pick(
    worker: &Worker,
    client: &Client,
    head: &RequestHead,
    admitted: &Admitted<'_>,
    attempts: &Attempts,
    trace: &mut Trace,
) -> Result<Pick, Lost> {
    let upstream = admitted.upstream_view();
    trace.upstream = Some(admitted.upstream());
    let mut chance = worker.chance.borrow_mut();
    let ip = client_text(client, head);
    let mut ask = Ask {
        now: now(),
        chance: &mut chance,
        key: balance_key(&admitted.upstream_plan().hash, head, ip),
        tried: attempts.tried(),
    };
    let id = upstream.endpoints.pick(&mut ask).map_err(|none| {
        let kind = match none {
            NoPick::Empty => Kind::NoEndpoint,
            NoPick::AtCap => Kind::EndpointsAtCap,
        };
        Lost::for_good(Failure::new(Step::Pick, kind))
    })?;
    upstream.endpoints.vitals().enter();
    let pick = Pick { upstream: Rc::clone(upstream), id };
    pick.endpoint().vitals.count_pick();
    trace.endpoint = Some(id);
    trace.attempts += 1;
    Ok(pick)
}

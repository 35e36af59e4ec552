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
use gatehouse_core::endpoints::{Ask, Endpoint, EndpointId, NoPick, Standing};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::RequestHead;
use gatehouse_core::vitals::Probe;
use gatehouse_wire::timer::now;
use gatehouse_wire::tls::ClientSide;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// Proof that an endpoint was chosen; its place in flight is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Pick {
    upstream: Rc<UpstreamView>,
    id: EndpointId,
    /// What it is to its upstream's breaker, and to its endpoint's.
    probes: [Probe; 2],
    /// Whether something was learnt by it.
    has_taught: Cell<bool>,
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

    /// The endpoint has answered, with this status.
    pub fn count_answer(&self, status: u16) {
        self.endpoint().vitals.count_answer(status);
        if self.is_probe() {
            self.teach(status < 500);
        }
    }

    /// A call's answer has begun with a message: what its end says of the endpoint may come much
    /// later, and a probe does not wait for it.
    pub fn count_begun(&self) {
        if self.is_probe() {
            self.teach(true);
        }
    }

    /// A call's answer that may have begun so has ended, with what is as much as this status.
    pub fn count_end(&self, status: u16) {
        self.endpoint().vitals.count_answer(status);
        if self.is_probe() && (status >= 500 || !self.has_taught.get()) {
            self.teach(status < 500);
        }
    }

    /// The exchange has failed by the endpoint's fault.
    pub fn count_failure(&self) {
        self.endpoint().vitals.count_failure();
        if self.is_probe() {
            self.teach(false);
        }
    }

    /// A connection to the endpoint could not be opened.
    pub fn count_connect_failure(&self) {
        self.endpoint().vitals.count_connect_failure();
        if self.is_probe() {
            self.teach(false);
        }
    }

    fn is_probe(&self) -> bool {
        self.probes != [Probe::NONE; 2]
    }

    #[cold]
    fn teach(&self, went_well: bool) {
        self.has_taught.set(true);
        let [of_upstream, of_endpoint] = self.probes;
        let breaker = self.upstream.endpoints.vitals().probing();
        let vitals = &self.endpoint().vitals;
        if went_well {
            breaker.went_well(of_upstream);
            vitals.went_well(of_endpoint);
        } else {
            breaker.has_failed(of_upstream);
            vitals.has_failed(of_endpoint);
        }
    }

    #[cold]
    fn give_probes_back(&self) {
        let [of_upstream, of_endpoint] = self.probes;
        self.upstream.endpoints.vitals().probing().give_back(of_upstream);
        self.endpoint().vitals.probing().give_back(of_endpoint);
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if self.is_probe() && !self.has_taught.get() {
            self.give_probes_back();
        }
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
fn enter(upstream: &UpstreamView, admitted: &Admitted<'_>, caller: Caller) -> Result<Probe, Lost> {
    let vitals = upstream.endpoints.vitals();
    let plan = admitted.upstream_plan();
    let goes_behind = caller != Caller::FromQueue && plan.queue.is_some();
    if goes_behind && vitals.waiting() > 0 {
        return Err(none_to_pick(Kind::UpstreamAtCap));
    }
    // The few that a half-open breaker lets pass are not for what somebody answers already.
    let barred = caller == Caller::Hedge && vitals.probing().gate() != Gate::Closed;
    let passed = if barred { None } else { vitals.probing().pass() };
    let probe = passed.ok_or_else(|| none_to_pick(Kind::BreakerOpen))?;
    let most = plan.in_flight_max(|| vitals.concurrency());
    if vitals.try_enter(most) {
        return Ok(probe);
    }
    vitals.probing().give_back(probe);
    Err(none_to_pick(Kind::UpstreamAtCap))
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
    trace.upstream = Some(admitted.upstream());
    let renewed = attempts.renewed();
    let admitted = &admitted.seen_in(renewed.as_deref());
    let upstream = admitted.upstream_view();
    let probe = enter(upstream, admitted, caller)?;
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
        let vitals = upstream.endpoints.vitals();
        vitals.withdraw();
        vitals.probing().give_back(probe);
        none_to_pick(match none {
            NoPick::Empty => Kind::NoEndpoint,
            NoPick::AtCap => Kind::EndpointsAtCap,
        })
    })?;
    let pick = Pick {
        upstream: Rc::clone(upstream),
        id,
        probes: [probe, endpoint_probe(upstream.endpoints.get(id))],
        has_taught: Cell::new(false),
    };
    if caller == Caller::Hedge {
        // A place that nothing pays for is given back.
        pay_for_hedge(&pick)?;
    }
    pick.endpoint().vitals.count_pick();
    attempts.goes_to(id);
    trace.endpoint = Some(id);
    trace.renewed = renewed;
    trace.attempts += 1;
    Ok(pick)
}

/// What somebody who has a place at this endpoint is to its breaker.
fn endpoint_probe(endpoint: &Endpoint) -> Probe {
    match endpoint.standing {
        Standing::Probing => endpoint.vitals.probing().probe(),
        _ => Probe::NONE,
    }
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

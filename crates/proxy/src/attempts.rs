//! Which attempts may follow one that failed.

use crate::admit::{Admitted, Renewed};
use crate::buffer::Whole;
use crate::grpc;
use crate::pick::Caller;
use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{EndpointId, Endpoints, Tried};
use gatehouse_core::failure::{Failure, Kind};
use gatehouse_core::message::{BodyLength, RequestHead, ResponseHead};
use gatehouse_core::plan::Retry;
use gatehouse_core::vitals::UpstreamVitals;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// An attempt that failed before an answer began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    pub failure: Failure,
    /// Where; `None` where no endpoint could be picked.
    pub endpoint: Option<EndpointId>,
    /// Whether it may be repeated as far as this attempt knows: no byte of a body was taken from
    /// the client, no answer begun.
    pub intact: bool,
}

impl Lost {
    /// An attempt after which nothing can be tried.
    pub fn for_good(failure: Failure) -> Lost {
        Lost { failure, endpoint: None, intact: false }
    }
}

/// Endpoints that are tried one after another where each refuses the connection at once. Nothing
/// was sent, so trying costs little, and giving up before a live one would fail for no reason.
const REFUSED_MAX: u8 = 8;

/// Counts attempts and says whether another may follow.
pub(crate) struct Attempts<'v> {
    retry: &'v Retry,
    left: u8,
    untried: u8,
    tried: Cell<Tried>,
    /// The snapshot that endpoints are of, where that is a later one than the exchange's.
    renewed: Cell<Option<Rc<Renewed>>>,
    /// Where the current attempt is made.
    at: Cell<Option<EndpointId>>,
    /// Who makes it.
    caller: Caller,
    /// Whether something of an answer was passed on, so that no other can take its place.
    committed: Cell<bool>,
    /// Whether a second endpoint was asked already.
    hedged: Cell<bool>,
    repeatable: bool,
    fresh: bool,
    /// Whether the next attempt is one to wait before.
    waits: bool,
    /// Retries after attempts that have reached an endpoint.
    reached: u8,
}

impl<'v> Attempts<'v> {
    pub fn new(admitted: &Admitted<'v>, head: &RequestHead, body: &Whole) -> Attempts<'v> {
        let retry = &admitted.upstream_plan().retry;
        let endpoints = admitted.upstream_view().endpoints.list().len();
        let whole = head.body == BodyLength::None || body.is_held();
        let repeatable = head.method().is_idempotent() && whole;
        Attempts {
            retry,
            left: retry.attempts,
            untried: endpoints.min(REFUSED_MAX.into()) as u8,
            tried: Cell::default(),
            renewed: Cell::default(),
            at: Cell::default(),
            caller: Caller::New,
            committed: Cell::default(),
            hedged: Cell::default(),
            repeatable: repeatable && !head.asks_upgrade(),
            fresh: false,
            waits: false,
            reached: 0,
        }
    }

    /// Endpoints that have failed this exchange already.
    pub fn tried(&self) -> Tried {
        self.tried.get()
    }

    /// The snapshot that endpoints are of, where that is a later one than the exchange's.
    pub fn renewed(&self) -> Option<Rc<Renewed>> {
        let renewed = self.renewed.take();
        self.renewed.set(renewed.clone());
        renewed
    }

    /// Endpoints are those of a later snapshot from now on, not `before`.
    pub fn renew(&self, before: &Endpoints, renewed: Renewed) {
        let after = &renewed.view.upstream(renewed.upstream).endpoints;
        self.tried.set(self.tried().moved(before, after));
        self.renewed.set(Some(Rc::new(renewed)));
    }

    /// Begins beside another attempt of the same request, which is made at this endpoint: that one
    /// may have waited since this was made.
    pub fn begin_beside(&self, first: &Attempts<'_>, at: EndpointId) {
        self.tried.set(first.tried());
        self.renewed.set(first.renewed());
        self.avoid(at);
    }

    /// Avoids this one from now on.
    pub fn avoid(&self, endpoint: EndpointId) {
        let mut tried = self.tried.get();
        tried.add(endpoint);
        self.tried.set(tried);
    }

    /// Notes where the current attempt is made.
    pub fn goes_to(&self, endpoint: EndpointId) {
        self.at.set(Some(endpoint));
    }

    /// Where the current attempt is made, once that is known.
    pub fn at(&self) -> Option<EndpointId> {
        self.at.get()
    }

    /// Who makes the current attempt.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// The same request, asked of a second endpoint beside the current attempt; nothing is begun.
    pub fn beside(&self) -> Attempts<'v> {
        self.at.set(None);
        Attempts {
            tried: self.tried.clone(),
            renewed: Cell::new(self.renewed()),
            at: Cell::default(),
            caller: Caller::Hedge,
            committed: Cell::default(),
            hedged: Cell::new(true),
            ..*self
        }
    }

    /// Notes that something of the answer is passed on.
    pub fn commit(&self) {
        self.committed.set(true);
    }

    /// Whether something of the answer was passed on.
    pub fn is_committed(&self) -> bool {
        self.committed.get()
    }

    /// Whether a second endpoint may be asked beside the current attempt: once an exchange, and for
    /// what may be sent twice.
    pub fn may_hedge(&self) -> bool {
        self.repeatable && !self.hedged.get() && !self.committed.get()
    }

    /// Notes that a second endpoint is asked.
    pub fn hedge(&self) {
        self.hedged.set(true);
    }

    /// Whether the request may be sent twice: idempotent, and without a body or with one that was
    /// read whole.
    pub fn repeatable(&self) -> bool {
        self.repeatable
    }

    /// Whether kept connections are to be passed over: one of them has just died.
    pub fn fresh_only(&self) -> bool {
        self.fresh
    }

    /// Allows another attempt, or gives the failure back. A refused connection does not count
    /// while there is an endpoint that was not tried yet, and never against the budget: it has
    /// cost the upstream nothing.
    pub fn allow(&mut self, lost: Lost, upstream: &UpstreamVitals) -> Result<(), Failure> {
        self.untried = self.untried.saturating_sub(1);
        let kind = lost.failure.kind;
        let refused = matches!(kind, Kind::ConnectRefused | Kind::ConnectFailed);
        let free = refused && self.untried > 0 && self.retry.attempts > 0;
        let allowed = lost.intact
            && (free || self.left > 0)
            && match kind {
                Kind::ConnectRefused | Kind::ConnectFailed | Kind::ConnectTimeout => {
                    self.retry.on_connect
                }
                // The same endpoint would fail in the same way.
                Kind::UpstreamCertificate | Kind::UpstreamTlsAlert | Kind::UpstreamTlsProtocol => {
                    self.retry.on_connect && self.untried > 0
                }
                Kind::UpstreamClosed | Kind::UpstreamWriteFailed => {
                    self.retry.on_reset && self.repeatable
                }
                Kind::UpstreamFirstByteTimeout => self.retry.on_timeout && self.repeatable,
                // Nothing was done about it, whatever it asks for.
                Kind::UpstreamRefused => self.retry.on_reset,
                _ => false,
            }
            && (refused || upstream.try_retry());
        let Some(endpoint) = lost.endpoint.filter(|_| allowed) else { return Err(lost.failure) };
        // After a refusal another endpoint is asked at once, and a timeout was a wait already.
        self.follow(endpoint, matches!(kind, Kind::UpstreamClosed | Kind::UpstreamWriteFailed));
        // One kept connection has died: the others are likely to be as old.
        self.fresh |= kind == Kind::UpstreamClosed;
        Ok(())
    }

    /// Whether this answer is thrown away for another attempt. `intact` says that the whole request
    /// can be sent again.
    pub fn goes_on_after(
        &mut self,
        answer: &ResponseHead,
        intact: bool,
        endpoint: EndpointId,
        upstream: &UpstreamVitals,
    ) -> bool {
        let by_status = self.retry.on_statuses.contain(answer.status) && self.repeatable;
        // Whoever wrote it says that calls may be repeated.
        let by_call = self.retry.on_unavailable && intact && grpc::is_unavailable(answer);
        let goes_on = (by_status || by_call) && self.left > 0 && upstream.try_retry();
        if goes_on {
            self.follow(endpoint, true);
        }
        goes_on
    }

    fn follow(&mut self, endpoint: EndpointId, waits: bool) {
        self.left = self.left.saturating_sub(1);
        self.avoid(endpoint);
        self.waits = waits;
        self.reached = self.reached.saturating_add(u8::from(waits));
    }

    /// How long to wait before the attempt that was allowed last: exponential, the upper half of
    /// it drawn by lot, so that those who failed together do not come again together. The first
    /// to go after a dead kept connection goes at once: that says little of the endpoint.
    pub fn backoff(&self, chance: &mut Chance) -> Duration {
        let doublings = self.reached.saturating_sub(1).min(DOUBLINGS_MAX);
        let most = self.retry.backoff * (1 << doublings);
        if !self.waits || most.is_zero() || (self.fresh && self.reached == 1) {
            return Duration::ZERO;
        }
        let micros = u32::try_from(most.as_micros() / 2).unwrap_or(u32::MAX);
        most / 2 + Duration::from_micros(u64::from(chance.below(micros.max(1))))
    }
}

/// How often a backoff doubles.
const DOUBLINGS_MAX: u8 = 10;

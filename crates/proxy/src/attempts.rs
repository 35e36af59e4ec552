//! Which attempts may follow one that failed.

use crate::admit::Admitted;
use gatehouse_core::endpoints::{EndpointId, Tried};
use gatehouse_core::failure::{Failure, Kind};
use gatehouse_core::message::{BodyLength, RequestHead};
use gatehouse_core::plan::Retry;

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
const REFUSED_MAX: usize = 8;

/// Counts attempts and says whether another may follow.
#[derive(Debug)]
pub(crate) struct Attempts {
    retry: Retry,
    left: u8,
    untried: usize,
    tried: Tried,
    repeatable: bool,
    fresh: bool,
}

impl Attempts {
    pub fn new(admitted: &Admitted<'_>, head: &RequestHead) -> Attempts {
        let retry = admitted.upstream_plan().retry;
        let endpoints = admitted.upstream_view().endpoints.list().len();
        let repeatable = head.method().is_idempotent() && head.body == BodyLength::None;
        Attempts {
            retry,
            left: retry.attempts,
            untried: endpoints.min(REFUSED_MAX),
            tried: Tried::default(),
            repeatable: repeatable && !head.asks_upgrade(),
            fresh: false,
        }
    }

    /// Endpoints that have failed this exchange already.
    pub fn tried(&self) -> Tried {
        self.tried
    }

    /// Whether the request may be sent twice: idempotent, and without a body.
    pub fn repeatable(&self) -> bool {
        self.repeatable
    }

    /// Whether kept connections are to be passed over: one of them has just died.
    pub fn fresh_only(&self) -> bool {
        self.fresh
    }

    /// Allows another attempt, or gives the failure back. A refused connection does not count
    /// while there is an endpoint that was not tried yet.
    pub fn allow(&mut self, lost: Lost) -> Result<(), Failure> {
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
                Kind::UpstreamClosed | Kind::UpstreamWriteFailed => {
                    self.retry.on_reset && self.repeatable
                }
                _ => false,
            };
        let Some(endpoint) = lost.endpoint.filter(|_| allowed) else { return Err(lost.failure) };
        self.left = self.left.saturating_sub(1);
        self.tried.add(endpoint);
        // One kept connection has died: the others are likely to be as old.
        self.fresh |= kind == Kind::UpstreamClosed;
        Ok(())
    }
}

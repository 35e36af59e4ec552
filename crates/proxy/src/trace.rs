//! What is remembered of one exchange until it is recorded.

use crate::admit::Renewed;
use crate::grpc::Call;
use crate::hedge::Which;
use crate::verdict::Verdict;
use crate::worker::View;
use gatehouse_core::endpoints::EndpointId;
use gatehouse_core::failure::{Failure, Kind, Side, Step};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{RouteId, Timeouts, UpstreamId};
use gatehouse_wire::timer::now;
use std::cell::Cell;
use std::rc::Rc;

/// When an exchange has to be at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Until {
    pub at: Moment,
    /// What it is when it is not.
    pub late: Kind,
}

/// What has kept an exchange from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// Its endpoint, or nobody in particular.
    Endpoint,
    /// A client that has not sent its body.
    Sender,
    /// A client that has not read its answer.
    Reader,
}

impl Until {
    /// What it is when it is not at its end in this step. What a client has held up is no fault of
    /// the endpoint's.
    pub fn failure(self, step: Step, blocker: Blocker) -> Failure {
        let kind = match (self.late, blocker) {
            (Kind::TotalTimeout, Blocker::Sender) => Kind::RequestBodyTimeout,
            (Kind::TotalTimeout, Blocker::Reader) => Kind::ClientTooSlow,
            (late, _) => return Failure::new(step, late),
        };
        Failure::because(step, kind, "the time that the route allows was over")
    }
}

/// What is remembered of one exchange.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// The exchange id: in `Proxy-Status` and in the log.
    pub id: u64,
    /// When the request's first byte was there.
    pub started: Moment,
    /// When its head was complete; `None` where it never was.
    pub read: Option<Moment>,
    /// When the current attempt began.
    pub tried: Moment,
    /// When the answer's head was there.
    pub answered: Option<Moment>,
    /// When the answer's last byte was written; what the connection does after is not the
    /// exchange's.
    pub ended: Option<Moment>,
    /// Whether the answer is on its way.
    pub streams: bool,
    pub view: Option<Rc<View>>,
    pub route: Option<RouteId>,
    pub upstream: Option<UpstreamId>,
    pub endpoint: Option<EndpointId>,
    /// The snapshot that the endpoint is of, where that is a later one than `view`.
    pub renewed: Option<Rc<Renewed>>,
    /// Attempts made, the first included.
    pub attempts: u8,
    /// Which of two attempts at once was heard, where there were two.
    pub hedge: Option<Which>,
    /// Interim answers, over all attempts.
    pub interim: u8,
    /// Whether the last attempt went over a kept connection.
    pub reused: bool,
    /// The status the client was given; 0 where it was given none.
    pub status: u16,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// The gRPC call it is, if it is one.
    pub call: Option<Call>,
    /// How far the answer was judged.
    pub verdict: Cell<Verdict>,
    pub failure: Option<Failure>,
}

impl Trace {
    pub fn new(id: u64, started: Moment) -> Trace {
        Trace {
            id,
            started,
            read: None,
            tried: started,
            answered: None,
            ended: None,
            streams: false,
            view: None,
            route: None,
            upstream: None,
            endpoint: None,
            renewed: None,
            attempts: 0,
            hedge: None,
            interim: 0,
            reused: false,
            status: 0,
            received_bytes: 0,
            sent_bytes: 0,
            call: None,
            verdict: Cell::default(),
            failure: None,
        }
    }

    /// The step it is in, as far as what is remembered tells.
    pub fn step(&self) -> Step {
        match self {
            Trace { streams: true, .. } => Step::Respond,
            Trace { read: None, .. } => Step::Read,
            Trace { endpoint: None, .. } => Step::Pick,
            Trace { .. } => Step::Receive,
        }
    }

    /// Whether a failure counts against the endpoint of the current attempt. That the time of the
    /// whole exchange was over does so only where that attempt had most of it.
    pub fn blames_endpoint(&self, failure: Failure, timeouts: &Timeouts) -> bool {
        let had_most = || {
            let total = timeouts.total.unwrap_or_default();
            2 * now().since(self.tried) >= total
        };
        failure.side() == Side::Upstream && (failure.kind != Kind::TotalTimeout || had_most())
    }

    /// When its whole time is over: the route's, which counts from the end of the head, or that
    /// of whoever made the call.
    pub fn total_deadline(&self, timeouts: &Timeouts) -> Option<Until> {
        let since = self.read.unwrap_or(self.started);
        let route =
            timeouts.total.map(|total| Until { at: since.after(total), late: Kind::TotalTimeout });
        let own = self.call.and_then(|call| call.until);
        match own.map(|at| Until { at, late: Kind::CallDeadline }) {
            Some(own) if route.is_none_or(|route| own.at < route.at) => Some(own),
            _ => route,
        }
    }
}

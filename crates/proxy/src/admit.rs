//! Step 5, admit: what a route answers by itself, and what it refuses -> `Admitted`.

use crate::client::Client;
use crate::route::Routed;
use crate::worker::{View, Worker};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{BodyLength, RequestHead};
use gatehouse_core::plan::{Action, Forward, RoutePlan, TemplateFacts, UpstreamId, UpstreamPlan};

/// What becomes of a request whose route is known.
pub(crate) enum Decision {
    /// It goes to an upstream.
    Forward(Admitted),
    /// The gateway answers by itself.
    Answer(Own),
}

/// Proof that the route's policies let the request through.
pub(crate) struct Admitted {
    routed: Routed,
    upstream: UpstreamId,
}

impl Admitted {
    pub fn view(&self) -> &View {
        self.routed.view()
    }

    pub fn route(&self) -> &RoutePlan {
        self.view().plan.route(self.routed.id())
    }

    pub fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    pub fn upstream_plan(&self) -> &UpstreamPlan {
        self.view().plan.upstream(self.upstream)
    }

    /// How to forward. Only [`admit`] makes an `Admitted`, and only for a route that forwards.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.route().action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    /// Bytes a request body may have.
    pub fn body_bytes_max(&self, client: &Client) -> Option<u64> {
        self.route().body_bytes_max.or(client.limits().body_bytes_max)
    }
}

/// An answer of the gateway's own that is no failure.
pub(crate) struct Own {
    pub routed: Routed,
    pub status: u16,
    /// `Location`, in the worker's scratch text.
    pub location: bool,
}

/// Applies the route's policies.
pub(crate) fn admit(
    worker: &Worker,
    client: &Client,
    head: &RequestHead,
    routed: Routed,
) -> Result<Decision, Failure> {
    let route = routed.view().plan.route(routed.id());
    let body_max = route.body_bytes_max.or(client.limits().body_bytes_max);
    if let (BodyLength::Known(length), Some(most)) = (head.body, body_max)
        && length > most
    {
        return Err(Failure::new(Step::Admit, Kind::RequestBodyTooLarge));
    }
    let (status, location) = match &route.action {
        Action::Forward(forward) => {
            let upstream = forward.target.choose(&mut worker.chance.borrow_mut());
            return Ok(Decision::Forward(Admitted { routed, upstream }));
        }
        Action::Redirect(redirect) => {
            let mut scratch = worker.scratch.borrow_mut();
            scratch.text.clear();
            let facts = TemplateFacts {
                scheme: "http",
                authority: head.text(head.authority),
                path: head.path_text(),
                query: head.query.map(|query| head.text(query)),
            };
            redirect.to.write(facts, &mut scratch.text);
            (redirect.status, true)
        }
        Action::Respond(respond) => (respond.status, false),
    };
    Ok(Decision::Answer(Own { routed, status, location }))
}

//! Step 5, admit: what a route answers by itself, and what it refuses -> `Admitted`.

use crate::client::Client;
use crate::route::Routed;
use crate::worker::{UpstreamView, View, Worker};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{BodyLength, RequestHead};
use gatehouse_core::overload::Pressure;
use gatehouse_core::plan::{
    Action, Forward, RoutePlan, Speaks, TemplateFacts, UpstreamId, UpstreamPlan,
};
use std::rc::Rc;

/// What becomes of a request whose route is known.
pub(crate) enum Decision<'v> {
    /// It goes to an upstream.
    Forward(Admitted<'v>),
    /// The gateway answers by itself.
    Answer(Own<'v>),
}

/// Proof that the route's policies let the request through to an upstream.
#[derive(Clone, Copy)]
pub(crate) struct Admitted<'v> {
    view: &'v View,
    route: &'v RoutePlan,
    forward: &'v Forward,
    upstream: UpstreamId,
}

impl<'v> Admitted<'v> {
    pub fn route(&self) -> &'v RoutePlan {
        self.route
    }

    pub fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    pub fn upstream_plan(&self) -> &'v UpstreamPlan {
        self.view.plan.upstream(self.upstream)
    }

    /// Who can answer for the upstream, and this worker's connections to each.
    pub fn upstream_view(&self) -> &'v Rc<UpstreamView> {
        self.view.upstream(self.upstream)
    }

    /// The same, with what a later snapshot says of the upstream.
    pub fn seen_in<'a>(&'a self, renewed: Option<&'a Renewed>) -> Admitted<'a> {
        match renewed {
            None => *self,
            Some(Renewed { view, upstream }) => Admitted { view, upstream: *upstream, ..*self },
        }
    }

    /// What a snapshot says of the upstream, where it is another one, and has that upstream still,
    /// spoken to in the same way.
    pub fn renewed_by(&self, view: Rc<View>) -> Option<Renewed> {
        if std::ptr::eq(self.view, &*view) {
            return None;
        }
        let vitals = self.upstream_view().endpoints.vitals();
        let same = |one: &Rc<UpstreamView>| std::ptr::eq(one.endpoints.vitals(), vitals);
        let upstream = UpstreamId(view.upstreams.iter().position(same)? as u32);
        let plan = view.plan.upstream(upstream);
        let spoken_to = (plan.speaks, plan.announce);
        let alike = spoken_to == (self.speaks(), self.upstream_plan().announce);
        alike.then_some(Renewed { view, upstream })
    }

    /// Whether endpoints are told whose connection each is: it carries that client's alone.
    pub fn announces(&self) -> bool {
        self.upstream_plan().announce.is_some()
    }

    /// What is spoken to endpoints.
    pub fn speaks(&self) -> Speaks {
        self.upstream_plan().speaks
    }

    /// Whether gRPC-Web is translated for endpoints, which speak gRPC.
    pub fn translates(&self) -> bool {
        self.speaks() == Speaks::Grpc
    }

    /// How to forward.
    pub fn forward(&self) -> &'v Forward {
        self.forward
    }

    /// Bytes a request body may have.
    pub fn body_bytes_max(&self, client: &Client) -> Option<u64> {
        self.route.body_bytes_max.or(client.limits().body_bytes_max)
    }
}

/// A later snapshot than the exchange's, and where its upstream stands there. Only whoever has
/// waited for a place looks at one.
#[derive(Clone, Debug)]
pub(crate) struct Renewed {
    pub view: Rc<View>,
    pub upstream: UpstreamId,
}

/// An answer of the gateway's own that is no failure.
pub(crate) struct Own<'v> {
    pub route: &'v RoutePlan,
    pub status: u16,
    /// `Location`, in the worker's scratch text.
    pub location: bool,
}

/// Refuses what is not important enough while memory is short.
fn turn_away(worker: &Worker, route: &RoutePlan) -> Result<(), Failure> {
    let pressure = worker.shared.load.pressure();
    if pressure == Pressure::None {
        return Ok(());
    }
    worker.buffers.save(true);
    if !pressure.sheds(route.priority) {
        return Ok(());
    }
    worker.meters.shed.add(1);
    Err(Failure::new(Step::Admit, Kind::Overloaded))
}

/// Applies the route's policies.
pub(crate) fn admit<'v>(
    worker: &Worker,
    client: &Client,
    head: &RequestHead,
    routed: Routed<'v>,
) -> Result<Decision<'v>, Failure> {
    let route = routed.plan();
    let body_max = route.body_bytes_max.or(client.limits().body_bytes_max);
    if let (BodyLength::Known(length), Some(most)) = (head.body, body_max)
        && length > most
    {
        return Err(Failure::new(Step::Admit, Kind::RequestBodyTooLarge));
    }
    let (status, location) = match &route.action {
        Action::Forward(forward) => {
            turn_away(worker, route)?;
            let upstream = forward.target.choose(&mut worker.chance.borrow_mut());
            let view = routed.view();
            return Ok(Decision::Forward(Admitted { view, route, forward, upstream }));
        }
        Action::Redirect(redirect) => {
            let mut scratch = worker.scratch.borrow_mut();
            scratch.text.clear();
            let facts = TemplateFacts {
                scheme: client.scheme(),
                authority: head.text(head.authority),
                path: head.path_text(),
                query: head.query.map(|query| head.text(query)),
            };
            redirect.to.write(facts, &mut scratch.text);
            (redirect.status, true)
        }
        Action::Respond(respond) => (respond.status, false),
    };
    Ok(Decision::Answer(Own { route, status, location }))
}

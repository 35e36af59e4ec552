//! Step 4, route: one Plan snapshot for the whole exchange -> `Routed`.

use crate::client::Client;
use crate::trace::Trace;
use crate::worker::View;
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{MethodSet, RequestHead};
use gatehouse_core::plan::{RouteId, RoutePlan};
use gatehouse_core::route::{Asked, Found};

/// Proof that a route was found.
#[derive(Clone, Copy)]
pub(crate) struct Routed<'v> {
    view: &'v View,
    id: RouteId,
}

impl<'v> Routed<'v> {
    pub fn view(&self) -> &'v View {
        self.view
    }

    pub fn plan(&self) -> &'v RoutePlan {
        self.view.plan.route(self.id)
    }
}

/// What a request of an ACME server is answered with, which goes before all routes.
pub(crate) fn challenge<'v>(view: &'v View, head: &RequestHead) -> Option<&'v str> {
    view.challenges.as_ref()?.answer(head)
}

/// Finds the route.
pub(crate) fn route<'v>(
    view: &'v View,
    client: &Client,
    head: &RequestHead,
    trace: &mut Trace,
) -> Result<Routed<'v>, Failure> {
    if client.io.stream.tls().is_some_and(|tls| !tls.admits(head.text(head.host))) {
        return Err(Failure::new(Step::Route, Kind::RequestMisdirected));
    }
    match view.plan.router.find(&asked(client, head)) {
        Found::Route(id) => {
            trace.route = Some(id);
            Ok(Routed { view, id })
        }
        Found::NoRoute => Err(Failure::new(Step::Route, Kind::NoRoute)),
        Found::MethodNotAllowed { .. } => Err(Failure::new(Step::Route, Kind::MethodNotAllowed)),
        Found::PathAmbiguous => {
            let detail = head.path_fault.map_or("", |fault| fault.text());
            Err(Failure::because(Step::Route, Kind::RequestPathAmbiguous, detail))
        }
    }
}

/// The methods that would have found a route: for `Allow`.
pub(crate) fn allowed(view: &View, client: &Client, head: &RequestHead) -> MethodSet {
    match view.plan.router.find(&asked(client, head)) {
        Found::MethodNotAllowed { allow } => allow,
        Found::Route(_) | Found::NoRoute | Found::PathAmbiguous => MethodSet::EMPTY,
    }
}

fn asked<'a>(client: &Client, head: &'a RequestHead) -> Asked<'a> {
    // `OPTIONS *` asks about the server: it takes the route of its root.
    let raw_path = head.text(head.raw_path);
    let star = raw_path == b"*";
    let path = head.path.map(|path| head.text(path));
    Asked {
        listener: client.door().place(),
        host: head.text(head.host),
        path: if star { Some(b"/") } else { path },
        raw_path: if star { b"/" } else { raw_path },
        query: head.query.map(|query| head.text(query)),
        method: head.method(),
        method_text: head.text(head.method_text),
        fields: &head.fields,
    }
}

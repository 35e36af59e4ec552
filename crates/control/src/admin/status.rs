//! `/status` as JSON, and `/healthz`, which tells the truth.

use super::Shown;
use crate::acme;
use crate::config::Json;
use crate::discovery;
use crate::register;
use gatehouse_core::address::{Address, Bind};
use gatehouse_core::endpoints::Standing;
use gatehouse_core::plan::{Action, Target};
use gatehouse_proxy::gate::Observation;
use std::fmt;
use std::time::Duration;

/// A worker that has not looked after its house for this long is stuck.
const BEAT_AGE_MAX: Duration = Duration::from_secs(3);

/// Whether the gateway can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Serving,
    /// It can, but some upstreams have nobody.
    Degraded(Vec<String>),
    /// No route that forwards has anybody to forward to.
    NoEndpoints,
    /// A worker is stuck.
    Stuck(usize),
}

impl Health {
    /// The status a health check is answered with.
    pub const fn status(&self) -> u16 {
        match self {
            Health::Serving | Health::Degraded(_) => 200,
            Health::NoEndpoints | Health::Stuck(_) => 503,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Health::Serving => writeln!(f, "serving"),
            Health::Degraded(names) => {
                writeln!(f, "serving; without endpoints: {}", names.join(", "))
            }
            Health::NoEndpoints => writeln!(f, "not serving: no upstream has an endpoint"),
            Health::Stuck(worker) => writeln!(f, "not serving: worker {worker} is stuck"),
        }
    }
}

/// Whether the gateway can serve.
pub fn health(shown: &Shown) -> Health {
    let seen = shown.handle.observe();
    let stuck = seen.workers.iter().position(|worker| worker.beat_age() > BEAT_AGE_MAX);
    if let Some(worker) = stuck {
        return Health::Stuck(worker);
    }
    let empty: Vec<String> = seen
        .plan
        .upstreams
        .iter()
        .zip(&seen.endpoints)
        .filter(|(_, endpoints)| !endpoints.has_members())
        .map(|(upstream, _)| upstream.name.to_string())
        .collect();
    match empty.len() {
        0 => Health::Serving,
        some if some == seen.plan.upstreams.len() => Health::NoEndpoints,
        _ => Health::Degraded(empty),
    }
}

/// Everything that `/status` shows.
pub fn status(shown: &Shown) -> Json {
    let seen = shown.handle.observe();
    let total = |count: fn(&gatehouse_proxy::meters::WorkerMeters) -> u64| -> Json {
        Json::Count(seen.workers.iter().map(|worker| count(worker)).sum())
    };
    let uptime = shown.started.elapsed().unwrap_or_default().as_secs();
    let listeners = shown.listeners.borrow().clone();
    let listeners = listeners.into_iter().map(|(name, bind)| {
        let bind = match bind {
            Bind::Ip(address) => address.to_string(),
            Bind::Unix(path) => format!("unix:{}", path.display()),
        };
        Json::object([("name", Json::text(name)), ("bind", Json::text(bind))])
    });
    Json::object([
        ("version", Json::text(env!("CARGO_PKG_VERSION"))),
        ("health", Json::text(health(shown).to_string().trim_end())),
        ("uptime_seconds", Json::Count(uptime)),
        ("workers", Json::Count(seen.workers.len() as u64)),
        ("client_connections", total(|worker| worker.clients.get())),
        ("requests_in_flight", total(|worker| worker.in_flight.get())),
        ("config", shown.facts.borrow().json()),
        ("listeners", Json::list(listeners)),
        ("acme", acme::json(&shown.acme)),
        ("discovery", discovery::json(&shown.discovery)),
        ("names", discovery::names_json(&shown.discovery)),
        ("register", register::json(&shown.register)),
        ("routes", routes(&seen)),
        ("upstreams", upstreams(&seen)),
    ])
}

/// Whether a drained endpoint is empty, and a line that says so: 200 where it is, 202 while it has
/// requests, 409 where it was not drained.
pub(super) fn drain(shown: &Shown, upstream: &str, endpoint: &str) -> (u16, String) {
    let seen = shown.handle.observe();
    let mut each = seen.plan.upstreams.iter().zip(&seen.endpoints);
    let Some((_, endpoints)) = each.find(|(plan, _)| *plan.name == *upstream) else {
        return (404, format!("there is no upstream {upstream}\n"));
    };
    let found = endpoints.list().iter().filter(|other| *other.text == *endpoint);
    let found: Vec<&gatehouse_core::endpoints::Endpoint> = found.collect();
    let in_flight: u32 = found.iter().map(|endpoint| endpoint.vitals.in_flight()).sum();
    let connections: u32 = found.iter().map(|endpoint| endpoint.vitals.connections()).sum();
    let what = format!("upstream {upstream}, endpoint {endpoint}");
    match found.first().map(|endpoint| endpoint.standing) {
        None => (404, format!("upstream {upstream} has no endpoint {endpoint}\n")),
        Some(Standing::Ready | Standing::Unhealthy | Standing::Ejected | Standing::Probing) => {
            (409, format!("{what}: not drained\n"))
        }
        Some(Standing::Drained) if in_flight > 0 => {
            (202, format!("{what}: {in_flight} in flight, {connections} connections\n"))
        }
        Some(Standing::Drained) => (200, format!("{what}: empty, {connections} connections\n")),
    }
}

fn routes(seen: &Observation) -> Json {
    Json::list(seen.plan.routes.iter().map(|route| {
        let name = |id: gatehouse_core::plan::UpstreamId| &*seen.plan.upstream(id).name;
        let (action, to) = match &route.action {
            Action::Forward(forward) => match &forward.target {
                Target::One(id) => ("forward", vec![Json::text(name(*id))]),
                Target::Split(split) => {
                    ("split", split.parts().map(|(id, _)| Json::text(name(id))).collect())
                }
            },
            Action::Redirect(_) => ("redirect", vec![]),
            Action::Respond(_) => ("respond", vec![]),
        };
        Json::object([
            ("name", Json::text(&*route.name)),
            ("action", Json::text(action)),
            ("upstreams", Json::List(to)),
        ])
    }))
}

fn upstreams(seen: &Observation) -> Json {
    Json::list(seen.plan.upstreams.iter().zip(&seen.endpoints).map(|(plan, endpoints)| {
        let each = endpoints.list().iter().map(|endpoint| {
            let vitals = &endpoint.vitals;
            let address = match &endpoint.address {
                Address::Ip(address) => address.to_string(),
                Address::Unix(path) => format!("unix:{}", path.display()),
                Address::Name { host, port } => format!("{host}:{port}"),
            };
            Json::object([
                ("endpoint", Json::text(&*endpoint.text)),
                ("address", Json::text(address)),
                ("weight", Json::Count(endpoint.weight.into())),
                ("backup", Json::Flag(endpoint.backup)),
                ("standing", Json::text(endpoint.standing.word())),
                ("drained", Json::Flag(endpoint.standing == Standing::Drained)),
                ("warmth_percent", Json::Count(endpoint.warmth.into())),
                ("in_flight", Json::Count(vitals.in_flight().into())),
                ("connections", Json::Count(vitals.connections().into())),
                ("requests", Json::Count(vitals.picked())),
                ("failures", Json::Count(vitals.failed())),
                ("connect_failures", Json::Count(vitals.connect_failed())),
                ("error_statuses", Json::Count(vitals.error_statuses())),
            ])
        });
        let vitals = endpoints.vitals();
        let most = plan.in_flight_max(|| vitals.concurrency());
        Json::object([
            ("name", Json::text(&*plan.name)),
            ("in_flight", Json::Count(vitals.in_flight().into())),
            ("in_flight_max", most.map_or(Json::Null, |most| Json::Count(most.into()))),
            ("breaker", Json::text(vitals.probing().gate().word())),
            ("panics", Json::Flag(endpoints.panics())),
            ("waiting", Json::Count(vitals.waiting().into())),
            ("retries", Json::Count(vitals.retries())),
            ("retries_denied", Json::Count(vitals.retries_denied())),
            ("hedges", Json::Count(vitals.hedges())),
            ("hedges_won", Json::Count(vitals.hedges_won())),
            ("endpoints", Json::list(each)),
        ])
    }))
}

//! The endpoint of a request, chosen by the balancer the data path uses, over idle endpoints.

use super::Question;
use gatehouse_core::balance_key::balance_key;
use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{Ask, Endpoint, Endpoints, Standing, Tried};
use gatehouse_core::message::{Known, RequestHead, tokens};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{
    Address, Balance, EndpointSpec, HashBy, ListenerPlan, Ring, UpstreamPlan,
};
use gatehouse_core::vitals::{EndpointVitals, UpstreamVitals};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// An upstream the request may go to, and the endpoint it would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The upstream.
    pub upstream: String,
    /// Its weight in a split; 1 where there is none.
    pub weight: u32,
    /// The endpoint; `None` where there is none.
    pub endpoint: Option<String>,
    /// The path and query that endpoint is asked for, its base path included.
    pub path: Option<String>,
    /// Why this one.
    pub why: String,
    /// How many endpoints there are.
    pub endpoints: usize,
}

/// Chooses an endpoint of an upstream nobody has asked yet.
pub(super) fn choose(
    upstream: &UpstreamPlan,
    weight: u32,
    head: &RequestHead,
    client: &str,
    sends: &str,
) -> Choice {
    let list: Vec<Endpoint> = upstream.endpoints.iter().map(endpoint).collect();
    let endpoints = Endpoints::new(upstream.balance, list, Arc::new(UpstreamVitals::default()));
    let key = balance_key(&upstream.hash, head, client.as_bytes());
    let mut chance = Chance::seeded(0);
    let mut ask = Ask { now: Moment::START, chance: &mut chance, key, tried: Tried::default() };
    let picked = endpoints.pick(&mut ask).ok().map(|id| endpoints.get(id));
    Choice {
        upstream: upstream.name.to_string(),
        weight,
        endpoint: picked.map(|endpoint| endpoint.text.to_string()),
        path: picked.map(|endpoint| format!("{}{sends}", endpoint.base_path)),
        why: why(upstream, key),
        endpoints: upstream.endpoints.len(),
    }
}

/// The endpoint as if its name had been resolved: no balancer looks at addresses.
fn endpoint(spec: &EndpointSpec) -> Endpoint {
    let address = match &spec.address {
        Address::Name { port, .. } => {
            Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port))
        }
        Address::Ip(_) | Address::Unix(_) => spec.address.clone(),
    };
    Endpoint {
        text: Arc::clone(&spec.text),
        address,
        authority: Arc::clone(&spec.text),
        tls: spec.tls.clone(),
        base_path: Arc::clone(&spec.base_path),
        weight: spec.weight,
        connections_max: spec.connections_max,
        backup: spec.backup,
        standing: Standing::Ready,
        warmth: 100,
        vitals: Arc::new(EndpointVitals::default()),
    }
}

fn why(upstream: &UpstreamPlan, key: &[u8]) -> String {
    if upstream.endpoints.len() == 1 {
        return "the only one".to_owned();
    }
    let hashed = |by: &str| {
        let from = match &upstream.hash {
            HashBy::ClientIp => "the client's address".to_owned(),
            HashBy::Header(name) => format!("header {name}"),
            HashBy::Cookie(name) => format!("cookie {name}"),
            HashBy::Path => "the path".to_owned(),
            HashBy::Query(name) => format!("query parameter {name}"),
        };
        let key = String::from_utf8_lossy(key);
        format!("{by} of {from}, \"{}\": always this one", key.escape_debug())
    };
    match upstream.balance {
        Balance::Random => "random: one of many".to_owned(),
        Balance::RoundRobin => "round robin: the first turn".to_owned(),
        Balance::WeightedRoundRobin => "weighted round robin: the first turn".to_owned(),
        Balance::LeastRequest => "least request: nobody has any".to_owned(),
        Balance::PeakEwma => "peak EWMA: no latency is known yet".to_owned(),
        Balance::ConsistentHash(Ring::Default { .. }) => hashed("consistent hash"),
        Balance::ConsistentHash(Ring::Crc32) => hashed("consistent hash (crc32)"),
        Balance::Maglev => hashed("maglev hash"),
    }
}

/// The client's address as text: the peer's, or behind a trusted proxy the nearest one that is no
/// trusted proxy itself.
pub(super) fn client_text(
    listener: &ListenerPlan,
    question: &Question,
    head: &RequestHead,
) -> String {
    let mut nearest = question.client;
    if listener.trusts(question.client) {
        let hops = head.fields.all(Known::XForwardedFor).flat_map(tokens);
        let parse = |hop: &[u8]| std::str::from_utf8(hop).ok()?.parse::<IpAddr>().ok();
        for address in hops.filter_map(parse).filter(|address| !listener.trusts(*address)) {
            nearest = address;
        }
    }
    nearest.to_canonical().to_string()
}

//! What `core` decides for each request: the route, and the endpoint.

use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{Ask, ENDPOINTS_MAX, Endpoint, Endpoints, Standing, Tried};
use gatehouse_core::message::{Fields, Method};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{Address, Balance, ListenerId, PathMode, Ring};
use gatehouse_core::route::{Asked, Found, HostRule, ListenerSet, PathRule, RouteRule, Router};
use gatehouse_core::vitals::UpstreamVitals;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// So many prefix routes of one host.
pub fn paths(count: u32, times: usize) -> Option<String> {
    let rules = (0..count).map(|at| rule(None, &format!("/service-{at}/v1"))).collect();
    let targets = (0..TARGETS).map(|at| {
        let at = mixed(at, count);
        ("www.example.com".into(), format!("/service-{at}/v1/items/17"))
    });
    find(rules, targets.collect(), times)
}

/// So many hosts of ten routes each.
pub fn hosts(count: u32, times: usize) -> Option<String> {
    let rules = (0..10 * count).map(|at| {
        let host = format!("shop-{}.example.com", at / 10);
        rule(Some(&host), &format!("/part-{}", at % 10))
    });
    let targets = (0..TARGETS).map(|at| {
        let at = mixed(at, 10 * count);
        (format!("shop-{}.example.com", at / 10), format!("/part-{}/items/17", at % 10))
    });
    find(rules.collect(), targets.collect(), times)
}

/// How many different requests are asked in turn.
const TARGETS: u32 = 1_024;

/// One of `count`, far from the one before.
fn mixed(at: u32, count: u32) -> u32 {
    Chance::seeded(u64::from(at)).below(count)
}

fn rule(host: Option<&str>, prefix: &str) -> RouteRule {
    RouteRule {
        listeners: ListenerSet::ALL,
        hosts: host.map(|host| HostRule::Exact(host.into())).into_iter().collect(),
        path: PathRule::Prefix(prefix.into()),
        path_mode: PathMode::Normal,
        methods: None,
        headers: Vec::new(),
        query: Vec::new(),
    }
}

fn find(rules: Vec<RouteRule>, targets: Vec<(String, String)>, times: usize) -> Option<String> {
    let router = Router::new(rules).ok()?;
    let fields = Fields::default();
    let mut found = 0_usize;
    for (host, path) in targets.iter().cycle().take(times) {
        let asked = Asked {
            listener: ListenerId(0),
            host: host.as_bytes(),
            path: Some(path.as_bytes()),
            raw_path: path.as_bytes(),
            query: None,
            method: Method::Get,
            method_text: b"GET",
            fields: &fields,
        };
        found += usize::from(matches!(router.find(black_box(&asked)), Found::Route(_)));
    }
    Some(format!("{found} of {times} found"))
}

fn balance_of(word: &str) -> Option<Balance> {
    Some(match word {
        "random" => Balance::Random,
        "round-robin" => Balance::RoundRobin,
        "weighted-round-robin" => Balance::WeightedRoundRobin,
        "least-request" => Balance::LeastRequest,
        "peak-ewma" => Balance::PeakEwma,
        "consistent-hash" => Balance::ConsistentHash(Ring::Default { load_bound: Some(1.25) }),
        "crc32" => Balance::ConsistentHash(Ring::Crc32),
        "maglev" => Balance::Maglev,
        _ => return None,
    })
}

/// So many endpoints, every other one of twice the weight.
pub fn pick(balance: &str, count: u32, times: usize) -> Option<String> {
    let count = usize::try_from(count).ok().filter(|count| *count <= ENDPOINTS_MAX)?;
    let endpoint = |at: usize| Endpoint {
        text: format!("10.0.{}.{}:8080", at / 256, at % 256).into(),
        address: Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
        authority: "".into(),
        tls: None,
        base_path: "".into(),
        weight: 1 + (at % 2) as u16,
        connections_max: None,
        backup: false,
        standing: Standing::Ready,
        warmth: 100,
        vitals: Arc::default(),
    };
    let vitals = Arc::new(UpstreamVitals::default());
    let all = (0..count).map(endpoint).collect();
    let endpoints = Endpoints::new(balance_of(balance)?, all, vitals);
    let mut chance = Chance::seeded(1);
    let mut picked = 0_usize;
    for at in 0..times {
        let key = [10, 0, (at >> 8) as u8, at as u8];
        let mut ask = Ask {
            now: Moment::START,
            chance: &mut chance,
            key: black_box(&key),
            tried: Tried::default(),
        };
        if let Ok(id) = endpoints.pick(&mut ask) {
            endpoints.get(id).vitals.leave();
            picked += 1;
        }
    }
    Some(format!("{picked} of {times} picked"))
}

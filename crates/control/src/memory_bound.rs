//! How much memory the limits of a configuration imply at most: every connection that may be open
//! is, and each costs what it can at worst. Nearly all cost far less; where this is more than the
//! process is to use, load is shed before.

use crate::config::Lowered;
use gatehouse_core::balance::{POINTS_MAX, POINTS_MEAN_MIN, TABLE_SIZES};
use gatehouse_core::endpoints::ENDPOINTS_MAX;
use gatehouse_core::plan::{
    Action, Address, Balance, Carries, ListenerPlan, Ring, Transport, UpstreamPlan,
};
use gatehouse_wire::buffer::{LARGE_BYTES, SMALL_BYTES};
use gatehouse_wire::h1::response::HEAD_BYTES_MAX;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The program itself, its configuration, and what its threads keep: stacks, timers, log batches.
const BASE: u64 = 64 * MIB;

/// What a worker keeps for later: buffers of both sizes, texts and desks.
const WORKER: u64 = 1024 * (SMALL_BYTES as u64 + 16 * KIB) + 16 * LARGE_BYTES as u64;

/// A connection that waits: itself, its place, its socket's registration.
const CONNECTION: u64 = KIB;

/// The room and the desk of an exchange, without its texts.
const EXCHANGE: u64 = 8 * KIB;

/// Records, handshake and secrets of one connection under TLS.
const TLS: u64 = 128 * KIB;

/// What HTTP/2 keeps of a connection, and of a stream beside its exchange: the client's window, and
/// what is waiting to be written.
const HTTP2: u64 = 256 * KIB;
const STREAM: u64 = 256 * KIB + 64 * KIB;

/// The session and the secrets of one connection under TLS that waits: it holds no record.
const TLS_IDLE: u64 = 32 * KIB;

/// Connections of one worker to one endpoint that speaks HTTP/2.
const SESSIONS_MAX: u64 = 64;

/// Interim answers of a second endpoint that wait until it is known who is heard, each with its
/// fields.
const INTERIMS_MAX: u64 = 16;
const INTERIM: u64 = 2 * HEAD_BYTES_MAX as u64;

/// Balancers of one upstream at once: that in force, one before it that exchanges hold, and one
/// that is being made.
const BALANCERS: u64 = 3;

/// An endpoint that is found: itself in the sets of now and of before, what is known of it, and its
/// share of what its balancer is made of. Of 10,000 addresses that 10,000 others replaced at once
/// each cost 3.3 KiB; names are longer.
const FOUND: u64 = 8 * KIB;

/// How often a text of a head stands in memory: as received, as edited and as written, and the room
/// that a text has beyond what it holds.
const HEAD_TEXTS: u64 = 6;

/// The most memory that the limits imply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    /// Client connections that may be open.
    pub connections: u64,
    /// Bytes of the one that costs most.
    pub connection_bytes: u64,
    /// Bytes of all together, and of the process beside them; of endpoints, those that are written.
    pub bytes: u64,
    /// Bytes of each endpoint beyond those: one that discovery finds, or a further address of a
    /// name. `None` where there can be none.
    pub found_bytes: Option<u64>,
}

/// What the limits of a configuration imply for a process of so many workers.
pub fn memory_bound(lowered: &Lowered, workers: usize) -> MemoryBound {
    let plan = &lowered.plan;
    let buffers = plan.routes.iter().filter_map(|route| match &route.action {
        Action::Forward(forward) => Some(u64::from(forward.buffer_bytes_max)),
        Action::Redirect(_) | Action::Respond(_) => None,
    });
    // Once as it was read, once behind the head it is sent with, and the room beyond.
    let buffered = buffers.max().unwrap_or(0) * 4;
    let costs = Costs {
        // A second attempt has all that the first has.
        attempts: 1 + u64::from(plan.upstreams.iter().any(|upstream| upstream.hedge.is_some())),
        buffered,
        stream: if plan.upstreams.iter().any(|one| one.speaks.is_http2()) { STREAM } else { 0 },
    };
    let waiting = plan.upstreams.iter().filter_map(|upstream| upstream.queue);
    let queued: u64 = waiting.map(|queue| u64::from(queue.waiting_max) * KIB).sum();
    let mut left = plan.ceilings.connections.map_or(u64::MAX, u64::from);
    let (mut connections, mut exchanges, mut sum, mut most) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut each: Vec<(u64, u64, u64)> = plan
        .listeners
        .iter()
        .map(|one| {
            let open = u64::from(one.limits.connections_max);
            (costs.connection(one), exchanges_of(one), open)
        })
        .collect();
    each.sort_unstable_by(|one, other| other.cmp(one));
    for (bytes, carries, open) in each {
        let open = open.min(left);
        left -= open;
        connections += open;
        exchanges = exchanges.saturating_add(carries * costs.attempts * open);
        most = most.max(bytes);
        sum = sum.saturating_add(bytes.saturating_mul(open));
    }
    let workers = workers as u64;
    let kept = plan.upstreams.iter().map(|one| {
        let idle = idle_max(one, workers, exchanges);
        let each = one.endpoints.iter().map(|endpoint| idle_bytes(one, endpoint.tls.is_some()));
        idle.saturating_mul(each.sum()).saturating_add(BALANCERS * table_bytes(one))
    });
    let kept = kept.fold(0_u64, u64::saturating_add);
    let secured = lowered.tls.upstreams.iter().map(Option::is_some);
    let found = plan.upstreams.iter().zip(secured).filter(|(upstream, _)| may_find(upstream));
    let found = found.map(|(upstream, secured)| {
        let idle = idle_max(upstream, workers, exchanges);
        let kept = idle.saturating_mul(idle_bytes(upstream, secured));
        kept.saturating_add(FOUND + BALANCERS * points_bytes(upstream))
    });
    let process = BASE + WORKER * workers + queued;
    let bytes = sum.saturating_add(process).saturating_add(kept);
    MemoryBound { connections, connection_bytes: most, bytes, found_bytes: found.max() }
}

/// Exchanges that one connection of a listener carries at once.
fn exchanges_of(listener: &ListenerPlan) -> u64 {
    match listener.carries {
        Carries::Http if listener.versions.has_http2() => u64::from(listener.limits.streams_max),
        Carries::Http | Carries::Tcp => 1,
    }
}

/// Whether endpoints may come to an upstream that are not written.
fn may_find(upstream: &UpstreamPlan) -> bool {
    let is_name = |address: &Address| matches!(address, Address::Name { .. });
    upstream.discovery.is_some() || upstream.endpoints.iter().any(|one| is_name(&one.address))
}

/// Connections to one endpoint of an upstream that are kept while nobody asks.
fn idle_max(upstream: &UpstreamPlan, workers: u64, exchanges: u64) -> u64 {
    let per_worker = match upstream.speaks.is_http2() {
        true => SESSIONS_MAX,
        false => u64::from(upstream.keepalive.idle_per_worker),
    };
    // There are no more than were needed at once.
    per_worker.saturating_mul(workers).min(exchanges)
}

/// What one of them costs.
fn idle_bytes(upstream: &UpstreamPlan, secured: bool) -> u64 {
    let session = if upstream.speaks.is_http2() { HTTP2 } else { 0 };
    CONNECTION + session + if secured { TLS_IDLE } else { 0 }
}

/// The table of an upstream's balancer, of the endpoints that are written.
fn table_bytes(upstream: &UpstreamPlan) -> u64 {
    let count = upstream.endpoints.len();
    let points = count as u64 * points_bytes(upstream);
    match upstream.balance {
        Balance::ConsistentHash(Ring::Default { .. }) => points.min(u64::from(POINTS_MAX) * 8),
        // One for those that are backups, too. It has its size however many are found.
        Balance::Maglev => {
            let count = if may_find(upstream) { ENDPOINTS_MAX } else { count };
            2 * 2 * u64::from(TABLE_SIZES[usize::from(count > 655)])
        }
        Balance::ConsistentHash(Ring::Crc32)
        | Balance::Random
        | Balance::RoundRobin
        | Balance::WeightedRoundRobin
        | Balance::LeastRequest
        | Balance::PeakEwma => points,
    }
}

/// What an endpoint has of the table of its upstream's balancer.
fn points_bytes(upstream: &UpstreamPlan) -> u64 {
    match upstream.balance {
        Balance::ConsistentHash(Ring::Default { .. }) => 2 * u64::from(POINTS_MEAN_MIN) * 8,
        Balance::ConsistentHash(Ring::Crc32) => 10 * 8,
        Balance::Maglev
        | Balance::Random
        | Balance::RoundRobin
        | Balance::WeightedRoundRobin
        | Balance::LeastRequest
        | Balance::PeakEwma => 0,
    }
}

/// What exchanges cost by what a plan's routes and upstreams ask for.
#[derive(Clone, Copy, Debug)]
struct Costs {
    attempts: u64,
    buffered: u64,
    /// Of an endpoint that speaks HTTP/2.
    stream: u64,
}

impl Costs {
    /// What one connection of a listener costs at worst.
    fn connection(self, listener: &ListenerPlan) -> u64 {
        let Costs { attempts, buffered, stream } = self;
        let beneath = match listener.transport {
            Transport::Clear => CONNECTION,
            Transport::Tls => CONNECTION + TLS,
        };
        // One buffer towards the client and one towards the endpoint, which may be under TLS.
        let carried = EXCHANGE + 2 * LARGE_BYTES as u64 + TLS;
        let heads = u64::from(listener.limits.head_bytes_max) + HEAD_BYTES_MAX as u64;
        let interims = (attempts - 1) * INTERIMS_MAX * INTERIM;
        let exchange = attempts * (carried + stream + HEAD_TEXTS * heads + buffered) + interims;
        match listener.carries {
            Carries::Tcp => beneath + carried,
            Carries::Http if listener.versions.has_http2() => {
                let streams = u64::from(listener.limits.streams_max);
                beneath + HTTP2 + streams * (exchange + STREAM)
            }
            Carries::Http => beneath + exchange,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    fn bound(listener: &str, more: &str) -> MemoryBound {
        let text = format!(
            "{more}\n[listeners.web]\nbind = \":80\"\n{listener}\n\
             [[routes]]\nrespond = {{ status = 204 }}\n"
        );
        let loaded = load_text("test.toml", &text, &[]);
        memory_bound(&loaded.lowered.expect("a good configuration"), 2)
    }

    #[test]
    fn the_bound_follows_the_limits() {
        let usual = bound("", "");
        assert_eq!(usual.connections, 20_000);
        let few = bound("limits = { connections = 100 }", "");
        assert_eq!(few.connections, 100);
        assert_eq!(usual.bytes - few.bytes, 19_900 * usual.connection_bytes);
        let all = bound("", "limits = { connections = 100 }");
        assert_eq!(all, few);
        let large = bound("limits = { connections = 100, head-bytes = \"1MiB\" }", "");
        assert!(large.bytes > few.bytes + 100 * MIB);
        let hedged = "upstream = { endpoints = [\"10.0.0.1:1\", \"10.0.0.2:1\"], hedge = \"p95\" }";
        let hedged =
            format!("limits = {{ connections = 100 }}\n[[routes]]\npath = \"/x\"\n{hedged}");
        let hedged = bound(&hedged, "");
        let twice = 2 * few.connection_bytes - CONNECTION;
        assert_eq!(hedged.connection_bytes, twice + INTERIMS_MAX * INTERIM);
        let streams = bound("limits = { connections = 100 }\nprotocols = [\"h2\"]", "");
        assert!(streams.connection_bytes > 99 * few.connection_bytes);
    }

    #[test]
    fn what_is_kept_towards_endpoints_counts_too() {
        let towards = |scheme: &str, count: usize, more: &str| {
            let each: Vec<String> = (0..count)
                .map(|at| format!("\"{scheme}10.0.{}.{}:1\"", at / 200, at % 200))
                .collect();
            let route = format!(
                "limits = {{ connections = 100 }}\n[[routes]]\npath = \"/x\"\n\
                 upstream = {{ endpoints = [{}], {more} }}\n",
                each.join(", ")
            );
            bound("", &route).bytes
        };
        let few = "keepalive = { idle-per-worker = 10 }";
        let (none, one, two) = (
            bound("limits = { connections = 100 }", "").bytes,
            towards("", 1, few),
            towards("", 2, few),
        );
        assert_eq!((one - none, two - none), (20 * KIB, 40 * KIB), "of two workers");
        let usual = towards("", 1, "retry = 0");
        assert_eq!(usual - none, 100 * KIB, "no more than there can be exchanges");
        assert_eq!(towards("https://", 1, few) - one, 20 * 32 * KIB);
        let ring = towards("", 1, "keepalive = { idle-per-worker = 10 }, balance = \"maglev\"");
        assert_eq!(ring - one, 3 * 4 * 65_537);
        let ring = format!("{few}, balance = \"consistent-hash\"");
        assert_eq!(towards("", 2, &ring) - two, 3 * 8 * 1600);
        assert!(towards("", 1, "protocol = \"h2c\"") > none + 100 * STREAM + 20 * HTTP2);
    }

    #[test]
    fn an_endpoint_that_is_found_costs_what_one_that_is_written_does_and_is_itself_counted() {
        let of = |upstream: &str| {
            let route = format!(
                "limits = {{ connections = 100 }}\n[[routes]]\npath = \"/x\"\n\
                 upstream = {{ keepalive = {{ idle-per-worker = 10 }}, {upstream} }}\n"
            );
            bound(&route, "")
        };
        let none = of("endpoints = [\"10.0.0.1:1\"]");
        assert_eq!(none.found_bytes, None);
        let file = "discovery = { file = { path = \"a.json\" } }";
        let found = of(file);
        assert_eq!(found.bytes, none.bytes - 20 * KIB, "of two workers");
        assert_eq!(found.found_bytes, Some(20 * KIB + FOUND));
        assert_eq!(of("endpoints = [\"a:1\"]").found_bytes, found.found_bytes);
        let secured = of("discovery = { file = { path = \"a.json\" }, scheme = \"https\" }");
        assert_eq!(secured.found_bytes, Some(20 * 33 * KIB + FOUND));
        let ring = of(&format!("{file}, balance = \"consistent-hash\""));
        assert_eq!(ring.found_bytes, Some(20 * KIB + FOUND + 3 * 8 * 800));
        let table = of(&format!("{file}, balance = \"maglev\""));
        assert_eq!(table.bytes - found.bytes, 3 * 4 * u64::from(TABLE_SIZES[1]));
        assert_eq!(table.found_bytes, found.found_bytes);
    }
}

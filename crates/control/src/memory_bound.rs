//! How much memory the limits of a configuration imply at most: every connection that may be open
//! is, and each costs what it can at worst. Nearly all cost far less; where this is more than the
//! process is to use, load is shed before.

use gatehouse_core::plan::{Action, Carries, ListenerPlan, Plan, Transport};
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
    /// Bytes of all together, and of the process beside them.
    pub bytes: u64,
}

/// What the limits of a plan imply for a process of so many workers.
pub fn memory_bound(plan: &Plan, workers: usize) -> MemoryBound {
    let buffers = plan.routes.iter().filter_map(|route| match &route.action {
        Action::Forward(forward) => Some(u64::from(forward.buffer_bytes_max)),
        Action::Redirect(_) | Action::Respond(_) => None,
    });
    // Once as it was read, once behind the head it is sent with, and the room beyond.
    let buffered = buffers.max().unwrap_or(0) * 4;
    // A second attempt has all that the first has.
    let attempts = 1 + u64::from(plan.upstreams.iter().any(|upstream| upstream.hedge.is_some()));
    let waiting = plan.upstreams.iter().filter_map(|upstream| upstream.queue);
    let queued: u64 = waiting.map(|queue| u64::from(queue.waiting_max) * KIB).sum();
    let mut left = plan.ceilings.connections.map_or(u64::MAX, u64::from);
    let (mut connections, mut sum, mut most) = (0_u64, 0_u64, 0_u64);
    let mut each: Vec<(u64, u64)> = plan
        .listeners
        .iter()
        .map(|one| {
            (connection_bytes(one, attempts, buffered), u64::from(one.limits.connections_max))
        })
        .collect();
    each.sort_unstable_by(|one, other| other.cmp(one));
    for (bytes, open) in each {
        let open = open.min(left);
        left -= open;
        connections += open;
        most = most.max(bytes);
        sum = sum.saturating_add(bytes.saturating_mul(open));
    }
    let process = BASE + WORKER * workers as u64 + queued;
    MemoryBound { connections, connection_bytes: most, bytes: sum.saturating_add(process) }
}

/// What one connection of a listener costs at worst.
fn connection_bytes(listener: &ListenerPlan, attempts: u64, buffered: u64) -> u64 {
    let beneath = match listener.transport {
        Transport::Clear => CONNECTION,
        Transport::Tls => CONNECTION + TLS,
    };
    // One buffer towards the client and one towards the endpoint, which may be under TLS.
    let carried = EXCHANGE + 2 * LARGE_BYTES as u64 + TLS;
    let heads = u64::from(listener.limits.head_bytes_max) + HEAD_BYTES_MAX as u64;
    let exchange = attempts * (carried + HEAD_TEXTS * heads + buffered);
    match listener.carries {
        Carries::Tcp => beneath + carried,
        Carries::Http if listener.versions.has_http2() => {
            let streams = u64::from(listener.limits.streams_max);
            beneath + HTTP2 + streams * (exchange + STREAM)
        }
        Carries::Http => beneath + exchange,
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
        let plan = load_text("test.toml", &text, &[]).lowered.expect("a good configuration").plan;
        memory_bound(&plan, 2)
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
        assert!(hedged.connection_bytes > 2 * few.connection_bytes - 2 * KIB);
        let streams = bound("limits = { connections = 100 }\nprotocols = [\"h2\"]", "");
        assert!(streams.connection_bytes > 99 * few.connection_bytes);
    }
}

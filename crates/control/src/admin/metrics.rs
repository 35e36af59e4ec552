//! `/metrics` in Prometheus' text format 0.0.4. Sums are made here, when somebody asks.
//!
//! Labels are routes, upstreams and endpoints: names the operator wrote, never a client's. At
//! most [`SERIES_MAX`] of each are shown; the rest are added up as `(other)`.

use super::Shown;
use crate::acme;
use crate::discovery;
use crate::overload;
use crate::register;
use crate::registry::Counts;
use gatehouse_core::breaker::Gate;
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::plan::Plan;
use gatehouse_core::vitals::UpstreamVitals;
use gatehouse_proxy::handshake::HandshakeEnd;
use gatehouse_proxy::meters::{LATENCY_BOUNDS_US, RouteMeter, WorkerMeters};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Routes, and endpoints, that have series of their own.
pub const SERIES_MAX: usize = 2_000;

const OTHER: &str = "(other)";

/// What was counted on one route, over all workers.
#[derive(Clone, Debug, Default)]
struct Sum {
    classes: [u64; 6],
    failures: [u64; 3],
    buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: u64,
    received: u64,
    sent: u64,
    retries: u64,
    breaker_refused: u64,
    connections: u64,
}

impl Sum {
    fn add(&mut self, meter: &RouteMeter) {
        for (sum, count) in self.classes.iter_mut().zip(&meter.classes) {
            *sum += count.get();
        }
        for (sum, count) in self.failures.iter_mut().zip(&meter.failures) {
            *sum += count.get();
        }
        for (sum, count) in self.buckets.iter_mut().zip(meter.latency.buckets()) {
            *sum += count;
        }
        self.sum_us += meter.latency.sum_us();
        self.received += meter.received_bytes.get();
        self.sent += meter.sent_bytes.get();
        self.retries += meter.retries.get();
        self.breaker_refused += meter.breaker_refused.get();
        self.connections += meter.connections.get();
    }
}

fn by_route(workers: &[Arc<WorkerMeters>]) -> BTreeMap<Box<str>, Sum> {
    let mut sums: BTreeMap<Box<str>, Sum> = BTreeMap::new();
    for (name, meter) in workers.iter().flat_map(|worker| worker.routes()) {
        let known = sums.len() < SERIES_MAX || sums.contains_key(&name);
        sums.entry(if known { name } else { OTHER.into() }).or_default().add(&meter);
    }
    sums
}

/// The text a scrape is answered with.
pub fn metrics(shown: &Shown) -> String {
    let seen = shown.handle.observe();
    let mut out = String::with_capacity(16 * 1024);
    routes(&by_route(&seen.workers), &mut out);
    let total = |count: fn(&WorkerMeters) -> u64| -> u64 {
        seen.workers.iter().map(|worker| count(worker)).sum()
    };
    let mut single = |name, kind, help, value| {
        family(&mut out, name, kind, help);
        let _ = writeln!(out, "gatehouse_{name} {value}");
    };
    single(
        "requests_in_flight",
        "gauge",
        "Exchanges running.",
        total(|worker| worker.in_flight.get()),
    );
    single(
        "client_connections",
        "gauge",
        "Client connections open.",
        total(|worker| worker.clients.get()),
    );
    single(
        "client_connections_max",
        "gauge",
        "Client connections that may be open at once, over all listeners.",
        u64::from(shown.handle.clients_max()),
    );
    single(
        "client_connections_accepted_total",
        "counter",
        "Client connections accepted.",
        total(|worker| worker.accepted.get()),
    );
    single(
        "client_connections_refused_total",
        "counter",
        "Client connections closed at once because of a limit.",
        total(|worker| worker.refused.get()),
    );
    single(
        "proxy_headers_refused_total",
        "counter",
        "Client connections closed because no trusted proxy said whose they are.",
        total(|worker| worker.proxy_headers_refused.get()),
    );
    single(
        "accept_errors_total",
        "counter",
        "Accepts that failed.",
        total(|worker| worker.accept_errors.get()),
    );
    single(
        "requests_shed_total",
        "counter",
        "Requests turned away because memory was short.",
        total(|worker| worker.shed.get()),
    );
    single(
        "access_log_lines_lost_total",
        "counter",
        "Access log lines that could not be written in time or at all.",
        total(|worker| worker.log_lines_lost.get()) + shown.log_lines_lost.load(Relaxed),
    );
    memory(shown, &seen.plan, &mut out);
    handshakes(&seen.workers, &mut out);
    shown.facts.borrow().metrics(&mut out);
    acme::metrics(&shown.acme, &mut out);
    discovery::metrics(&shown.discovery, label, &mut out);
    register::metrics(&shown.register, label, &mut out);
    upstreams(&seen, &mut out);
    judged(&seen, &shown.registry.counts(&seen.plan), &mut out);
    out
}

/// How much memory is used and may be.
fn memory(shown: &Shown, plan: &Plan, out: &mut String) {
    let mut single = |name, kind, help, value| {
        family(out, name, kind, help);
        let _ = writeln!(out, "gatehouse_{name} {value}");
    };
    single(
        "memory_pressure",
        "gauge",
        "0 where memory is not short, to 3 where every request is turned away.",
        shown.handle.pressure() as u64,
    );
    single("memory_bytes", "gauge", "Memory of the process, files left out.", overload::used());
    single(
        "memory_ceiling_bytes",
        "gauge",
        "Memory towards which load is shed.",
        overload::memory_ceiling(&plan.ceilings),
    );
    if let Some((limit, taken)) = overload::fullest_group() {
        let help = "Memory taken in the fullest cgroup around it, files left out.";
        single("memory_cgroup_bytes", "gauge", help, taken);
        let help = "What that cgroup is allowed.";
        single("memory_cgroup_limit_bytes", "gauge", help, limit);
    }
}

fn handshakes(workers: &[Arc<WorkerMeters>], out: &mut String) {
    let help = "TLS handshakes of clients by what became of them.";
    family(out, "tls_handshakes_total", "counter", help);
    for end in HandshakeEnd::ALL {
        let count: u64 = workers.iter().map(|worker| worker.handshakes[end as usize].get()).sum();
        let _ = writeln!(out, "gatehouse_tls_handshakes_total{{end={:?}}} {count}", end.word());
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP gatehouse_{name} {help}\n# TYPE gatehouse_{name} {kind}");
}

fn routes(sums: &BTreeMap<Box<str>, Sum>, out: &mut String) {
    family(out, "requests_total", "counter", "Exchanges by route and status class.");
    for (route, sum) in sums {
        for (class, count) in sum.classes.iter().enumerate().filter(|(_, count)| **count > 0) {
            let class = if class == 0 { "none".to_owned() } else { format!("{class}xx") };
            let _ = writeln!(
                out,
                "gatehouse_requests_total{{route={},status={class:?}}} {count}",
                label(route)
            );
        }
    }
    family(out, "failures_total", "counter", "Exchanges that failed, by whose fault it was.");
    for (route, sum) in sums {
        for (side, count) in ["client", "upstream", "gateway"].iter().zip(sum.failures) {
            if count > 0 {
                let route = label(route);
                let _ = writeln!(
                    out,
                    "gatehouse_failures_total{{route={route},side={side:?}}} {count}"
                );
            }
        }
    }
    family(
        out,
        "request_duration_seconds",
        "histogram",
        "From a request's first byte to its answer's last.",
    );
    for (route, sum) in sums {
        histogram(&label(route), sum, out);
    }
    type Pick = fn(&Sum) -> u64;
    let counters: [(&str, &str, Pick); 5] = [
        ("tcp_connections_total", "TCP connections that have ended.", |sum| sum.connections),
        ("request_body_bytes_total", "Bytes of request bodies, and of TCP, received.", |sum| {
            sum.received
        }),
        ("response_body_bytes_total", "Bytes of answers' bodies, and of TCP, sent.", |sum| {
            sum.sent
        }),
        ("retries_total", "Attempts after the first.", |sum| sum.retries),
        ("breaker_refused_total", "Requests refused because a breaker was open.", |sum| {
            sum.breaker_refused
        }),
    ];
    for (name, help, pick) in counters {
        family(out, name, "counter", help);
        for (route, sum) in sums {
            let _ = writeln!(out, "gatehouse_{name}{{route={}}} {}", label(route), pick(sum));
        }
    }
}

fn histogram(route: &str, sum: &Sum, out: &mut String) {
    let name = "gatehouse_request_duration_seconds";
    let mut running = 0;
    for (at, count) in sum.buckets.iter().enumerate() {
        running += count;
        let bound = LATENCY_BOUNDS_US.get(at).map_or("+Inf".to_owned(), |us| seconds(*us));
        let _ = writeln!(out, "{name}_bucket{{route={route},le=\"{bound}\"}} {running}");
    }
    let _ = writeln!(out, "{name}_sum{{route={route}}} {}", seconds(sum.sum_us));
    let _ = writeln!(out, "{name}_count{{route={route}}} {running}");
}

fn seconds(us: u64) -> String {
    format!("{}", us as f64 / 1e6)
}

fn upstreams(seen: &gatehouse_proxy::gate::Observation, out: &mut String) {
    type Pick = fn(&Endpoint) -> u64;
    let families: [(&str, &str, &str, Pick); 7] = [
        ("endpoint_requests_in_flight", "gauge", "Requests in flight.", |one| {
            u64::from(one.vitals.in_flight())
        }),
        ("endpoint_connections", "gauge", "Connections open, idle ones included.", |one| {
            u64::from(one.vitals.connections())
        }),
        (
            "endpoint_ready",
            "gauge",
            "1 where it has its share: neither unhealthy, ejected, probing nor drained.",
            |one| u64::from(one.standing == Standing::Ready),
        ),
        ("endpoint_requests_total", "counter", "Requests given to it, retries included.", |one| {
            one.vitals.picked()
        }),
        ("endpoint_failures_total", "counter", "Exchanges that failed by its fault.", |one| {
            one.vitals.failed()
        }),
        ("endpoint_connect_failures_total", "counter", "Connections not opened.", |one| {
            one.vitals.connect_failed()
        }),
        ("endpoint_error_statuses_total", "counter", "Answers with a status from 500 on.", |one| {
            one.vitals.error_statuses()
        }),
    ];
    for (name, kind, help, pick) in families {
        family(out, name, kind, help);
        let each = seen.plan.upstreams.iter().zip(&seen.endpoints).flat_map(|(plan, endpoints)| {
            endpoints.list().iter().map(|endpoint| (&plan.name, endpoint))
        });
        for (upstream, endpoint) in each.take(SERIES_MAX) {
            let (upstream, text) = (label(upstream), label(&endpoint.text));
            let value = pick(endpoint);
            let _ =
                writeln!(out, "gatehouse_{name}{{upstream={upstream},endpoint={text}}} {value}");
        }
    }
    whole_upstreams(seen, out);
}

/// Upstreams as a whole.
fn whole_upstreams(seen: &gatehouse_proxy::gate::Observation, out: &mut String) {
    type PickWhole = fn(&UpstreamVitals) -> u64;
    let families: [(&str, &str, &str, PickWhole); 9] = [
        ("upstream_breaker_open", "gauge", "1 where its breaker is open or half open.", |vitals| {
            u64::from(vitals.probing().gate() != Gate::Closed)
        }),
        ("upstream_retries_total", "counter", "Retries its budget has paid for.", |vitals| {
            vitals.retries()
        }),
        ("upstream_retries_denied_total", "counter", "Retries beyond its budget.", |vitals| {
            vitals.retries_denied()
        }),
        (
            "upstream_hedges_total",
            "counter",
            "Second endpoints asked because the first was slow.",
            |vitals| vitals.hedges(),
        ),
        ("upstream_hedges_won_total", "counter", "Those whose answer was the first.", |vitals| {
            vitals.hedges_won()
        }),
        ("upstream_queue_waiting", "gauge", "Requests that wait for a place.", |vitals| {
            u64::from(vitals.waiting())
        }),
        ("upstream_queued_total", "counter", "Requests that had to wait for a place.", |vitals| {
            vitals.queue_counts().joined
        }),
        (
            "upstream_queue_full_total",
            "counter",
            "Requests the full queue turned away.",
            |vitals| vitals.queue_counts().full,
        ),
        ("upstream_queue_timeouts_total", "counter", "Requests that waited in vain.", |vitals| {
            vitals.queue_counts().timeouts
        }),
    ];
    for (name, kind, help, pick) in families {
        family(out, name, kind, help);
        for (plan, endpoints) in seen.plan.upstreams.iter().zip(&seen.endpoints).take(SERIES_MAX) {
            let (upstream, value) = (label(&plan.name), pick(endpoints.vitals()));
            let _ = writeln!(out, "gatehouse_{name}{{upstream={upstream}}} {value}");
        }
    }
    in_flight_max(seen, out);
}

/// How upstreams are judged.
fn judged(seen: &gatehouse_proxy::gate::Observation, counts: &[Counts], out: &mut String) {
    type Pick = fn(&Endpoints, &Counts) -> u64;
    let families: [(&str, &str, &str, Pick); 5] = [
        ("upstream_requests_in_flight", "gauge", "Requests in flight.", |endpoints, _| {
            u64::from(endpoints.vitals().in_flight())
        }),
        (
            "upstream_panics",
            "gauge",
            "1 where none or too few endpoints are ready, and others are asked too.",
            |endpoints, _| u64::from(endpoints.panics()),
        ),
        (
            "upstream_ejections_total",
            "counter",
            "Times an endpoint was left out because requests to it failed.",
            |_, counts| counts.ejections,
        ),
        ("upstream_breaker_opened_total", "counter", "Times its breaker opened.", |_, counts| {
            counts.openings
        }),
        (
            "upstream_breaker_half_open",
            "gauge",
            "1 where its breaker lets a few requests try.",
            |_, counts| u64::from(counts.gate == Gate::HalfOpen),
        ),
    ];
    let each = || {
        let endpoints = seen.plan.upstreams.iter().zip(&seen.endpoints);
        endpoints.zip(counts).take(SERIES_MAX)
    };
    for (name, kind, help, pick) in families {
        family(out, name, kind, help);
        for ((plan, endpoints), counts) in each() {
            let (upstream, value) = (label(&plan.name), pick(endpoints, counts));
            let _ = writeln!(out, "gatehouse_{name}{{upstream={upstream}}} {value}");
        }
    }
    family(out, "upstream_checks_total", "counter", "Health checks by what they said.");
    for ((plan, _), counts) in each().filter(|((plan, _), _)| plan.health.is_some()) {
        let upstream = label(&plan.name);
        let results =
            [("passed", counts.passed), ("failed", counts.failed), ("skipped", counts.skipped)];
        for (result, value) in results {
            let _ = writeln!(
                out,
                "gatehouse_upstream_checks_total{{upstream={upstream},result={result:?}}} {value}"
            );
        }
    }
}

/// What limits requests in flight, where something does.
fn in_flight_max(seen: &gatehouse_proxy::gate::Observation, out: &mut String) {
    let help = "Requests that may be in flight at once.";
    family(out, "upstream_requests_in_flight_max", "gauge", help);
    for (plan, endpoints) in seen.plan.upstreams.iter().zip(&seen.endpoints).take(SERIES_MAX) {
        let Some(most) = plan.in_flight_max(|| endpoints.vitals().concurrency()) else { continue };
        let upstream = label(&plan.name);
        let _ = writeln!(
            out,
            "gatehouse_upstream_requests_in_flight_max{{upstream={upstream}}} {most}"
        );
    }
}

/// A label value with its quotes; backslash, quote and line feed escaped.
fn label(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_its_line() {
        assert_eq!(label("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }
}

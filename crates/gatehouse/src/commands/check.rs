//! `gatehouse check`: everything that is wrong with a configuration, or what it means.

use super::{complain, count, exit_code, load, paint, say};
use crate::cli::CheckArgs;
use gatehouse_control::access_log::unfit;
use gatehouse_control::certificates::prepare;
use gatehouse_control::config::{
    AccessTo, Json, Kind, Loaded, Lowered, Problem, problem_json, render,
};
use gatehouse_control::dns::look_up_now;
use gatehouse_control::memory_bound::{MemoryBound, memory_bound};
use gatehouse_core::endpoints::ENDPOINTS_MAX;
use gatehouse_core::plan::{Action, Address, Balance, Bind, Plan, RouteId, Target, Transport};
use gatehouse_core::route::{HostRule, PathRule, RouteRule};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// How long all names together may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The most names that are tried.
const NAMES_MAX: usize = 64;
/// The most routes and upstreams the summary lists.
const LISTED_MAX: usize = 50;

/// Prints all problems; where there is none that matters, what was understood.
pub(crate) fn run(args: CheckArgs) -> ExitCode {
    let mut loaded = load(&args.file.config);
    prepare(&mut loaded, None);
    if let Some(problem) = loaded.lowered.as_ref().and_then(unwritable_log) {
        loaded.problems.push(problem);
        loaded.lowered = None;
    }
    let unresolved = loaded.lowered.as_ref().map(unresolved_names).unwrap_or_default();
    loaded.problems.extend(unresolved);
    if args.json {
        say(&format!("{}\n", json(&loaded)));
        return exit_code(&loaded);
    }
    complain(&render(&loaded, paint()));
    if let Some(lowered) = &loaded.lowered {
        say(&summary(&loaded, lowered));
    }
    exit_code(&loaded)
}

/// Says where the access log can be no file. Whether it may be written is not asked: the gateway
/// may be run by somebody else.
fn unwritable_log(lowered: &Lowered) -> Option<Problem> {
    let AccessTo::File(path) = &lowered.access_log else { return None };
    let (reason, hint) = unfit(path)?;
    Some(Problem::error(Kind::Dangling, lowered.places.access_log, reason).hint(hint))
}

/// Warns of endpoints whose names do not resolve right now.
fn unresolved_names(lowered: &Lowered) -> Vec<Problem> {
    let mut waiting: BTreeMap<(Arc<str>, u16), usize> = BTreeMap::new();
    for (at, upstream) in lowered.plan.upstreams.iter().enumerate() {
        for endpoint in &upstream.endpoints {
            if let Address::Name { host, port } = &endpoint.address {
                waiting.entry((Arc::clone(host), *port)).or_insert(at);
            }
        }
    }
    let (answers, answered) = mpsc::channel();
    for name in waiting.keys().take(NAMES_MAX).cloned() {
        let answers = answers.clone();
        // A resolver that hangs is left behind: the process ends without it.
        std::thread::spawn(move || {
            let found = look_up_now(&name.0, name.1);
            let _ = answers.send((name, found));
        });
    }
    drop(answers);
    let unresolved = |(host, port): &(Arc<str>, u16), at: usize, why: String| {
        let upstream = &lowered.plan.upstreams[at].name;
        let reason = format!("upstream {upstream}, endpoint {host}:{port}: {why}");
        Problem::warning(Kind::Unresolved, lowered.places.upstreams[at], reason)
    };
    let mut problems = Vec::new();
    let until = Instant::now() + RESOLVE_TIMEOUT;
    while let Ok((name, found)) =
        answered.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        let at = waiting.remove(&name).unwrap_or(0);
        if let Err(why) = found {
            problems.push(unresolved(&name, at, format!("the name does not resolve: {why}")));
        }
    }
    for (name, at) in waiting.iter().take(NAMES_MAX) {
        let why = format!("the name did not resolve within {} s", RESOLVE_TIMEOUT.as_secs());
        problems.push(unresolved(name, *at, why));
    }
    problems.sort_by_key(|problem| (problem.place, problem.reason.clone()));
    problems
}

fn summary(loaded: &Loaded, lowered: &Lowered) -> String {
    let plan = &lowered.plan;
    let file = loaded.sources.files().first().map_or("", |file| &*file.name);
    let further = match loaded.sources.files().len() {
        0 | 1 => String::new(),
        files => format!(" and {}", count(files - 1, "included file")),
    };
    let endpoints: usize = plan.upstreams.iter().map(|upstream| upstream.endpoints.len()).sum();
    let mut out = format!(
        "{file}{further}: fine. {}, {}, {} with {}, {}\n",
        count(plan.listeners.len(), "listener"),
        count(plan.routes.len(), "route"),
        count(plan.upstreams.len(), "upstream"),
        count(endpoints, "endpoint"),
        count(lowered.expects.len(), "expectation"),
    );
    for listener in &plan.listeners {
        let beneath = match listener.transport {
            Transport::Clear => "",
            Transport::Tls => ", tls",
        };
        let _ = writeln!(out, "  listener {}: {}{beneath}", listener.name, bind(&listener.bind));
    }
    for (at, route) in plan.routes.iter().enumerate().take(LISTED_MAX) {
        let rule = plan.router.rule(RouteId(at as u32));
        let does = action(plan, &route.action);
        let _ = writeln!(out, "  route {}: {} -> {does}", route.name, asks(rule));
    }
    more(plan.routes.len(), &mut out);
    for upstream in plan.upstreams.iter().take(LISTED_MAX) {
        let endpoints = count(upstream.endpoints.len(), "endpoint");
        let balance = balance(upstream.balance);
        let _ = writeln!(out, "  upstream {}: {endpoints}, {balance}", upstream.name);
    }
    more(plan.upstreams.len(), &mut out);
    let bound = bound(lowered);
    let _ = writeln!(
        out,
        "  memory: at most {} by these limits: {} of at most {} each, and the process",
        size(bound.bytes),
        count(bound.connections as usize, "connection"),
        size(bound.connection_bytes),
    );
    if let Some(found) = bound.found_bytes {
        let _ = writeln!(
            out,
            "  memory: at most {} more for each endpoint that is found, and for each address but \
             the first of a name; an upstream takes {ENDPOINTS_MAX}",
            size(found),
        );
    }
    if let Some(ceiling) = plan.ceilings.memory_bytes.filter(|most| *most < bound.bytes) {
        let _ = writeln!(out, "  memory: load is shed before it uses {}", size(ceiling));
    }
    if let Some(admin) = lowered.admin {
        let _ = writeln!(out, "  admin: {admin}");
    }
    out
}

/// The most memory that the limits imply.
fn bound(lowered: &Lowered) -> MemoryBound {
    let workers = lowered.workers.or_else(|| std::thread::available_parallelism().ok());
    memory_bound(lowered, workers.map_or(1, std::num::NonZeroUsize::get))
}

/// Bytes as a person reads them, rounded up.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = units.into_iter().find(|(_, shift)| bytes >> shift >= 10);
    let (unit, shift) = fits.unwrap_or(("KiB", 10));
    format!("{} {unit}", bytes.div_ceil(1 << shift))
}

fn more(all: usize, out: &mut String) {
    if all > LISTED_MAX {
        let _ = writeln!(out, "  and {} more", all - LISTED_MAX);
    }
}

fn bind(bind: &Bind) -> String {
    match bind {
        Bind::Ip(address) => address.to_string(),
        Bind::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// What a route asks, as the file says it.
fn asks(rule: &RouteRule) -> String {
    let host = |host: &HostRule| match host {
        HostRule::Exact(name) => name.to_string(),
        HostRule::Wildcard(suffix) => format!("*{suffix}"),
    };
    let hosts: Vec<String> = rule.hosts.iter().map(host).collect();
    let mut out = match hosts.is_empty() {
        true => String::new(),
        false => format!("{} ", hosts.join(", ")),
    };
    match &rule.path {
        PathRule::Exact(path) => out.push_str(path),
        PathRule::Prefix(path) => out.push_str(&format!("{path}/*")),
        PathRule::Regex(pattern) => out.push_str(&format!("~ {pattern}")),
    }
    if let Some(methods) = rule.methods {
        let names: Vec<&str> = methods.iter().map(gatehouse_core::message::Method::text).collect();
        out.push_str(&format!(" {}", names.join(", ")));
    }
    let further = rule.headers.len() + rule.query.len();
    if further > 0 {
        out.push_str(&format!(" and {}", count(further, "further matcher")));
    }
    out
}

fn action(plan: &Plan, action: &Action) -> String {
    match action {
        Action::Forward(forward) => match &forward.target {
            Target::One(id) => format!("upstream {}", plan.upstream(*id).name),
            Target::Split(split) => {
                let part = |(id, weight)| format!("{} {weight}", plan.upstream(id).name);
                let parts: Vec<String> = split.parts().map(part).collect();
                format!("split {}", parts.join(", "))
            }
        },
        Action::Redirect(redirect) => format!("redirect {}", redirect.status),
        Action::Respond(respond) => format!("respond {}", respond.status),
    }
}

fn balance(balance: Balance) -> &'static str {
    match balance {
        Balance::Random => "random",
        Balance::RoundRobin => "round-robin",
        Balance::WeightedRoundRobin => "weighted-round-robin",
        Balance::LeastRequest => "least-request",
        Balance::PeakEwma => "peak-ewma",
        Balance::ConsistentHash(_) => "consistent-hash",
        Balance::Maglev => "maglev",
    }
}

fn json(loaded: &Loaded) -> Json {
    let problems = loaded.problems.iter().map(|problem| problem_json(&loaded.sources, problem));
    let files = loaded.sources.files().iter().map(|file| Json::text(&file.name));
    let understood = loaded.lowered.as_ref().map_or(Json::Null, |lowered| {
        let (plan, bound) = (&lowered.plan, bound(lowered));
        let count = |number: usize| Json::Count(number as u64);
        Json::object([
            ("listeners", count(plan.listeners.len())),
            ("routes", count(plan.routes.len())),
            ("upstreams", count(plan.upstreams.len())),
            ("expectations", count(lowered.expects.len())),
            ("memory-bound-bytes", Json::Count(bound.bytes)),
            ("memory-bound-bytes-per-found-endpoint", Json::Count(bound.found_bytes.unwrap_or(0))),
        ])
    });
    Json::object([
        ("ok", Json::Flag(loaded.lowered.is_some())),
        ("files", Json::list(files)),
        ("problems", Json::list(problems)),
        ("problems-left-out", Json::Count(loaded.left_out as u64)),
        ("understood", understood),
    ])
}

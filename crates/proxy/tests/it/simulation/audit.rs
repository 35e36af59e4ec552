//! After the storm: what each side counted is held against what the others did.

use super::ledger::{Asked, Ledger, numbered};
use super::world::World;
use gatehouse_proxy::meters::RouteMeter;
use std::collections::HashMap;
use std::sync::Arc;

/// One line of the access log, as far as the book knows about it.
#[derive(Debug, Default)]
struct Line<'a> {
    request: Option<u32>,
    status: u64,
    sent: u64,
    received: u64,
    attempts: u64,
    side: Option<&'a str>,
    hedge: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(text: &'a str) -> Line<'a> {
        let number = |key: &str| field(text, key).and_then(|text| text.parse().ok()).unwrap_or(0);
        let path = field(text, "\"path\":\"").unwrap_or("");
        Line {
            request: numbered(path),
            status: number("\"status\":"),
            sent: number("\"sent\":"),
            received: number("\"received\":"),
            attempts: number("\"attempts\":"),
            side: field(text, "\"side\":\""),
            hedge: field(text, "\"hedge\":\""),
        }
    }
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let from = text.find(key)? + key.len();
    let end = text[from..].find(['"', ',', '}'])?;
    Some(&text[from..from + end])
}

/// Holds everything against everything. Nothing is under way any more.
pub fn audit(world: &World) {
    world.tend();
    let mut ledger = std::mem::take(&mut *world.ledger.borrow_mut());
    let log = std::mem::take(&mut ledger.log);
    let lines: Vec<Line<'_>> = log.lines().map(Line::of).collect();
    exchanges(&mut ledger, &lines);
    meters(world, &mut ledger, &lines);
    events(world, &mut ledger);
    rest(world, &mut ledger);
    ledger.log = log;
    *world.ledger.borrow_mut() = ledger;
}

/// Each request has one line at most, which says what its client saw.
fn exchanges(ledger: &mut Ledger, lines: &[Line<'_>]) {
    let mut by_request: HashMap<u32, &Line<'_>> = HashMap::new();
    for line in lines {
        let Some(number) = line.request else { continue };
        if let Some(other) = by_request.insert(number, line) {
            ledger.violate(format!("r{number} has two lines: {line:?}, {other:?}"));
        }
    }
    for (number, asked) in (0..).zip(ledger.asked.clone()) {
        match by_request.get(&number) {
            Some(line) => one(ledger, number, &asked, line),
            None if asked.status.is_some() || asked.given > 0 => {
                ledger.violate(format!("r{number} has no line: {asked:?}"));
            }
            None => {}
        }
    }
}

fn one(ledger: &mut Ledger, number: u32, asked: &Asked, line: &Line<'_>) {
    let status = asked.status.map(u64::from);
    let same = status.is_none_or(|status| status == line.status);
    let read = !asked.whole || asked.own || line.sent == asked.read as u64;
    let received = line.received <= asked.body.unwrap_or(0) as u64
        && (asked.own || asked.status.is_none() || line.received >= asked.received as u64);
    // What a client was not given to see may still have begun.
    if !same || !read || !received {
        ledger.violate(format!("r{number} is {asked:?}, and its line says {line:?}"));
    }
    // A pick before each attempt, and no head without one.
    if u64::from(asked.given) > line.attempts {
        ledger.violate(format!("r{number}: {} heads, {} attempts", asked.given, line.attempts));
    }
}

/// Meters are the sums of the log.
fn meters(world: &World, ledger: &mut Ledger, lines: &[Line<'_>]) {
    let routes: Vec<Arc<RouteMeter>> =
        world.gate.meters.routes().into_iter().map(|(_, meter)| meter).collect();
    let sum = |of: &dyn Fn(&RouteMeter) -> u64| routes.iter().map(|one| of(one)).sum::<u64>();
    let logged = |of: &dyn Fn(&Line<'_>) -> u64| lines.iter().map(of).sum::<u64>();
    let mut hold = |what: &str, counted: u64, expected: u64| {
        if counted != expected {
            ledger.violate(format!("{what}: {counted} counted, {expected} seen"));
        }
    };
    for class in 0..6 {
        let counted = sum(&|route| route.classes[class].get());
        hold("status class", counted, logged(&|line| u64::from(line.status / 100 == class as u64)));
    }
    for (at, side) in ["client", "upstream", "gateway"].into_iter().enumerate() {
        let counted = sum(&|route| route.failures[at].get());
        hold(side, counted, logged(&|line| u64::from(line.side == Some(side))));
    }
    hold("sent", sum(&|route| route.sent_bytes.get()), logged(&|line| line.sent));
    hold("received", sum(&|route| route.received_bytes.get()), logged(&|line| line.received));
    let again = logged(&|line| line.attempts.saturating_sub(1));
    hold("retries", sum(&|route| route.retries.get()), again);
    let took = sum(&|route| route.latency.buckets().sum());
    hold("latencies", took, lines.len() as u64);
    let picked = world.vitals().iter().map(|vitals| vitals.picked()).sum();
    hold("picks", picked, logged(&|line| line.attempts));
    let upstream = world.upstream();
    hold("hedges", upstream.hedges(), logged(&|line| u64::from(line.hedge.is_some())));
    let won = logged(&|line| u64::from(line.hedge == Some("won")));
    hold("hedges won", upstream.hedges_won(), won);
    let meters = &world.gate.meters;
    hold("lost lines", meters.log_lines_lost.get(), 0);
    hold("refused connections", meters.refused.get(), 0);
    let connected = ledger.connected;
    if meters.accepted.get() != connected {
        let accepted = meters.accepted.get();
        ledger.violate(format!("{accepted} connections accepted, {connected} opened"));
    }
}

/// Notes what the worlds' plans have brought about.
fn events(world: &World, ledger: &mut Ledger) {
    let upstream = world.upstream();
    let queue = upstream.queue_counts();
    for (event, times) in [
        ("hedge", upstream.hedges()),
        ("hedge won", upstream.hedges_won()),
        ("hedge or retry denied", upstream.retries_denied()),
        ("queued", queue.joined),
        ("limit found out", u64::from(upstream.concurrency().is_some())),
    ] {
        *ledger.events.entry(event).or_default() += times;
    }
}

/// Nothing outlives its exchange.
fn rest(world: &World, ledger: &mut Ledger) {
    let idle = world.gate.idle_connections() as u64;
    let at_endpoints: u32 = world.vitals().iter().map(|vitals| vitals.in_flight()).sum();
    let open: u32 = world.vitals().iter().map(|vitals| vitals.connections()).sum();
    for (what, left, expected) in [
        ("tasks", world.gate.running() as u64, 1),
        ("exchanges in flight", world.gate.meters.in_flight.get(), 0),
        ("client connections", world.gate.meters.clients.get(), 0),
        ("parked connections", world.gate.parked() as u64, 0),
        ("lent buffers", world.gate.lent_buffers() as u64, 0),
        ("in flight at the upstream", world.upstream().in_flight().into(), 0),
        ("in flight at endpoints", at_endpoints.into(), 0),
        ("connections counted at endpoints", open.into(), idle),
        ("connections held by origins", ledger.held as u64, idle),
    ] {
        if left != expected {
            ledger.violate(format!("{what}: {left} left, not {expected}"));
        }
    }
}

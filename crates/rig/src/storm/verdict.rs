//! What a storm has shown.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::time::Duration;

use super::Storm;
use super::book::{Asked, Book};
use crate::process::Gateway;
use crate::script::Client;
use crate::wait::holds_within;

/// What was seen, and what of it must not be.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The storm's seed.
    pub seed: u64,
    /// Requests that clients have sent.
    pub requests: usize,
    /// How often each thing happened.
    pub events: BTreeMap<&'static str, u64>,
    /// What must not be; none is a storm that was weathered.
    pub violations: Vec<String>,
}

impl Display for Verdict {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let Self { seed, requests, events, violations } = self;
        writeln!(to, "seed {seed}: {requests} requests, {events:?}")?;
        for violation in violations.iter().take(20) {
            writeln!(to, "  {violation}")?;
        }
        let word = if violations.is_empty() { "weathered" } else { "VIOLATED" };
        write!(to, "verdict: {word}, {} violations", violations.len())
    }
}

/// The sum of a family of counters.
fn sum(text: &str, family: &str, label: &str) -> u64 {
    let lines = text.lines().filter(|line| {
        let rest = line.strip_prefix("gatehouse_").and_then(|line| line.strip_prefix(family));
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn metrics(gateway: &Gateway) -> String {
    let admin = gateway.admin();
    let text = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    Client::connect(admin).send(text).read_response().text()
}

/// Whether nothing is under way.
pub(super) fn at_rest(gateway: &Gateway) -> bool {
    let text = metrics(gateway);
    let busy = ["requests_in_flight", "endpoint_requests_in_flight", "client_connections"];
    busy.iter().all(|family| sum(&text, family, "") == 0)
}

/// Holds everything against everything, and ends the gateway.
pub(super) fn of(storm: &Storm, book: &Book, mut gateway: Gateway, calm: bool) -> Verdict {
    if !calm || !holds_within(Duration::from_secs(10), || at_rest(&gateway)) {
        let text = metrics(&gateway);
        let line = |line: &&str| line.contains("in_flight") || line.contains("_connections");
        let left: Vec<&str> = text.lines().filter(line).collect();
        book.violate(format!("something has outlived the storm: {left:?}"));
    }
    let counters = metrics(&gateway);
    let path = gateway.folder().join("access.log");
    let ended = gateway.terminate();
    if !ended.success() {
        book.violate(format!("the gateway ended with {ended}: {}", gateway.errors().join("\n")));
    }
    if let Some(line) = gateway.errors().iter().find(|line| line.contains("panicked")) {
        book.violate(format!("the gateway has panicked: {line}"));
    }
    let log = fs::read_to_string(path).unwrap_or_default();
    compare(book, &counters, &log);
    let mut pages = book.open();
    Verdict {
        seed: storm.seed,
        requests: pages.asked.len(),
        events: std::mem::take(&mut pages.events),
        violations: std::mem::take(&mut pages.violations),
    }
}

/// Clients, log and counters say the same.
fn compare(book: &Book, counters: &str, log: &str) {
    let mut pages = book.open();
    let mut wrong = Vec::new();
    let mut by_request: HashMap<usize, u16> = HashMap::new();
    let mut classes = [0_u64; 6];
    let field = |line: &str, key: &str| {
        let rest = line.split_once(key)?.1;
        Some(rest[..rest.find(['"', ',', '}'])?].to_owned())
    };
    for line in log.lines() {
        let status: u16 =
            field(line, "\"status\":").and_then(|text| text.parse().ok()).unwrap_or(0);
        classes[usize::from(status / 100).min(5)] += 1;
        let path = field(line, "\"path\":\"").unwrap_or_default();
        let digits = path.strip_prefix("/r/").filter(|digits| digits.len() == 7);
        if let Some(number) = digits.and_then(|digits| digits.parse().ok())
            && by_request.insert(number, status).is_some()
        {
            wrong.push(format!("r{number} has two lines"));
        }
    }
    for (number, asked) in pages.asked.iter().enumerate() {
        let Asked { status, given, .. } = asked;
        match (by_request.get(&number), status) {
            (Some(logged), Some(status)) if logged == status => {}
            (Some(_), None) => {}
            (None, None) if *given == 0 => {}
            (logged, _) => wrong.push(format!("r{number} is {asked:?}, and logged {logged:?}")),
        }
    }
    for (class, logged) in (1..).zip(&classes[1..]) {
        let counted = sum(counters, "requests_total", &format!("status=\"{class}xx\""));
        if counted != *logged {
            wrong.push(format!("{class}xx: {counted} counted, {logged} logged"));
        }
    }
    if sum(counters, "log_lines_lost_total", "") > 0 {
        wrong.push("lines of the log were lost".to_owned());
    }
    pages.violations.extend(wrong);
}

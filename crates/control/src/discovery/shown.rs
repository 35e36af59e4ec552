//! What is shown of discovery.

use super::found::Set;
use super::ledger::{Failing, Ledger};
use super::named::LookUps;
use crate::config::Json;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::now;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sources that have series of their own, and names; the rest are not shown.
const SERIES_MAX: usize = 2_000;

/// What is shown.
pub(crate) type Seen = Arc<Mutex<All>>;

/// All sources, and all names that are resolved.
#[derive(Clone, Debug, Default)]
pub(crate) struct All {
    pub(super) sources: Vec<Shown>,
    pub(super) names: Vec<ShownName>,
}

/// Looks at what the keeper may be changing just now.
pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One source.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(super) upstream: Arc<str>,
    pub(super) source: Arc<str>,
    /// The keeper's own: what is shown is what is.
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

/// One name.
#[derive(Clone, Debug)]
pub(crate) struct ShownName {
    /// With its port.
    pub(super) name: Box<str>,
    pub(super) look_ups: Arc<Mutex<LookUps>>,
}

impl Shown {
    fn json(&self, now: Moment) -> Json {
        let seconds = |at: Moment| Json::Count(now.since(at).as_secs());
        let ledger = lock(&self.ledger);
        let Ledger { last, remembered, held, vouched, failing, changes, failures, .. } = &*ledger;
        let remembered = remembered
            .map_or(Json::Null, |good| Json::Count(good.elapsed().unwrap_or_default().as_secs()));
        let held = held.as_ref().map_or(Json::Null, |held| {
            Json::object([
                ("endpoints", Json::Count(held.set.len() as u64)),
                ("for_seconds", seconds(held.since)),
            ])
        });
        let failing = failing_json(failing.as_ref(), now);
        let shown = ledger.held.as_ref().map(|held| &held.set).or(last.as_ref());
        let problems = shown.into_iter().flat_map(|set| &set.problems);
        Json::object([
            ("upstream", Json::text(&*self.upstream)),
            ("source", Json::text(&*self.source)),
            ("endpoints", Json::Count(last.as_ref().map_or(0, |last| last.len() as u64))),
            ("good_seconds_ago", vouched.map_or(Json::Null, seconds)),
            ("kept_from_seconds_ago", remembered),
            ("held_back", held),
            ("failing", failing),
            ("problems", Json::list(problems.map(|problem| Json::text(problem.to_string())))),
            ("changes", Json::Count(*changes)),
            ("failures", Json::Count(*failures)),
            ("found", last.as_deref().map_or_else(|| Json::List(vec![]), found)),
        ])
    }
}

/// What a source says of endpoints beyond what their upstream shows of them.
fn found(set: &Set) -> Json {
    let told = set.endpoints.iter();
    let told = told.filter(|(_, found)| found.zone.is_some() || !found.metadata.is_empty());
    Json::list(told.map(|(text, found)| {
        let metadata = found.metadata.iter();
        let metadata =
            metadata.map(|(name, value)| (name.to_string(), Json::text(value.to_string())));
        Json::object([
            ("endpoint", Json::text(text.to_string())),
            ("zone", Json::text_or_null(found.zone.as_deref())),
            ("metadata", Json::Object(metadata.collect())),
        ])
    }))
}

fn failing_json(failing: Option<&Failing>, now: Moment) -> Json {
    failing.map_or(Json::Null, |failing| {
        Json::object([
            ("message", Json::text(&*failing.why)),
            ("for_seconds", Json::Count(now.since(failing.since).as_secs())),
        ])
    })
}

impl ShownName {
    fn json(&self, now: Moment) -> Json {
        let look_ups = lock(&self.look_ups);
        let LookUps { addresses, good, failing, failures } = &*look_ups;
        let good = good.map_or(Json::Null, |good| Json::Count(now.since(good).as_secs()));
        Json::object([
            ("name", Json::text(&*self.name)),
            ("addresses", Json::Count(*addresses as u64)),
            ("good_seconds_ago", good),
            ("failing", failing_json(failing.as_ref(), now)),
            ("failures", Json::Count(*failures)),
        ])
    }
}

/// Sources, for `/status`.
pub(crate) fn json(seen: &Seen) -> Json {
    let now = now();
    Json::list(lock(seen).sources.iter().map(|shown| shown.json(now)))
}

/// Names, for `/status`.
pub(crate) fn names_json(seen: &Seen) -> Json {
    let now = now();
    Json::list(lock(seen).names.iter().map(|shown| shown.json(now)))
}

/// A family of series: its name, kind, help and the value of one of them.
type Family<T> = (&'static str, &'static str, &'static str, fn(&T, Moment) -> Option<u64>);

const SOURCES: [Family<Ledger>; 7] = [
    ("discovery_endpoints", "gauge", "Endpoints in force that were discovered.", |ledger, _| {
        Some(ledger.last.as_ref().map_or(0, |last| last.len() as u64))
    }),
    (
        "discovery_kept",
        "gauge",
        "1 where endpoints kept from before this start are in force.",
        |ledger, _| Some(u64::from(ledger.remembered.is_some())),
    ),
    (
        "discovery_held_back",
        "gauge",
        "1 where the newest set is held back because it is too small.",
        |ledger, _| Some(u64::from(ledger.held.is_some())),
    ),
    ("discovery_failing", "gauge", "1 where the source gives no answer.", |ledger, _| {
        Some(u64::from(ledger.failing.is_some()))
    }),
    (
        "discovery_good_age_seconds",
        "gauge",
        "Since the source last vouched for what it said.",
        |ledger, now| Some(now.since(ledger.vouched?).as_secs()),
    ),
    ("discovery_changes_total", "counter", "Sets of endpoints published.", |ledger, _| {
        Some(ledger.changes)
    }),
    ("discovery_failures_total", "counter", "Times a source began to fail.", |ledger, _| {
        Some(ledger.failures)
    }),
];

const NAMES: [Family<LookUps>; 4] = [
    ("name_addresses", "gauge", "Addresses in force of a name.", |look_ups, _| {
        Some(look_ups.addresses as u64)
    }),
    ("name_failing", "gauge", "1 where the name does not resolve.", |look_ups, _| {
        Some(u64::from(look_ups.failing.is_some()))
    }),
    ("name_good_age_seconds", "gauge", "Since the name last resolved.", |look_ups, now| {
        Some(now.since(look_ups.good?).as_secs())
    }),
    ("name_failures_total", "counter", "Times a name began not to resolve.", |look_ups, _| {
        Some(look_ups.failures)
    }),
];

/// For `/metrics`. `label` writes a label's value.
pub(crate) fn metrics(seen: &Seen, label: fn(&str) -> String, out: &mut String) {
    let seen = lock(seen);
    let sources = seen.sources.iter().take(SERIES_MAX);
    let sources: Vec<(String, &Mutex<Ledger>)> = sources
        .map(|shown| (format!("upstream={}", label(&shown.upstream)), &*shown.ledger))
        .collect();
    write(&SOURCES, &sources, out);
    let names = seen.names.iter().take(SERIES_MAX);
    let names: Vec<(String, &Mutex<LookUps>)> =
        names.map(|shown| (format!("name={}", label(&shown.name)), &*shown.look_ups)).collect();
    write(&NAMES, &names, out);
}

fn write<T>(families: &[Family<T>], all: &[(String, &Mutex<T>)], out: &mut String) {
    let now = now();
    if all.is_empty() {
        return;
    }
    for (name, kind, help, value) in families {
        let name = format!("gatehouse_{name}");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (label, of) in all {
            if let Some(value) = value(&lock(of), now) {
                let _ = writeln!(out, "{name}{{{label}}} {value}");
            }
        }
    }
}

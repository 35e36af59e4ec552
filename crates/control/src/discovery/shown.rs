//! What is shown of discovery.

use super::found::Set;
use super::ledger::Ledger;
use crate::config::Json;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::now;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sources that have series of their own; the rest are not shown.
const SERIES_MAX: usize = 2_000;

/// What is shown of all sources.
pub(crate) type Seen = Arc<Mutex<Vec<Shown>>>;

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

impl Shown {
    fn json(&self, now: Moment) -> Json {
        let seconds = |at: Moment| Json::Count(now.since(at).as_secs());
        let ledger = lock(&self.ledger);
        let Ledger { last, held, vouched, failing, changes, failures, .. } = &*ledger;
        let held = held.as_ref().map_or(Json::Null, |held| {
            Json::object([
                ("endpoints", Json::Count(held.set.len() as u64)),
                ("for_seconds", seconds(held.since)),
            ])
        });
        let failing = failing.as_ref().map_or(Json::Null, |failing| {
            Json::object([
                ("message", Json::text(&*failing.why)),
                ("for_seconds", seconds(failing.since)),
            ])
        });
        let shown = ledger.held.as_ref().map(|held| &held.set).or(last.as_ref());
        let problems = shown.into_iter().flat_map(|set| &set.problems);
        Json::object([
            ("upstream", Json::text(&*self.upstream)),
            ("source", Json::text(&*self.source)),
            ("endpoints", Json::Count(last.as_ref().map_or(0, |last| last.len() as u64))),
            ("good_seconds_ago", vouched.map_or(Json::Null, seconds)),
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

/// For `/status`.
pub(crate) fn json(seen: &Seen) -> Json {
    let now = now();
    let seen = lock(seen);
    Json::list(seen.iter().map(|shown| shown.json(now)))
}

/// For `/metrics`. `label` writes a label's value.
pub(crate) fn metrics(seen: &Seen, label: fn(&str) -> String, out: &mut String) {
    let now = now();
    let seen = lock(seen);
    if seen.is_empty() {
        return;
    }
    type Pick = fn(&Ledger, Moment) -> Option<u64>;
    let families: [(&str, &str, &str, Pick); 6] = [
        ("endpoints", "gauge", "Endpoints in force that were discovered.", |ledger, _| {
            Some(ledger.last.as_ref().map_or(0, |last| last.len() as u64))
        }),
        (
            "held_back",
            "gauge",
            "1 where the newest set is held back because it is too small.",
            |ledger, _| Some(u64::from(ledger.held.is_some())),
        ),
        ("failing", "gauge", "1 where the source gives no answer.", |ledger, _| {
            Some(u64::from(ledger.failing.is_some()))
        }),
        ("good_age_seconds", "gauge", "Since the source last vouched for what it said.", {
            |ledger, now| Some(now.since(ledger.vouched?).as_secs())
        }),
        ("changes_total", "counter", "Sets of endpoints published.", |ledger, _| {
            Some(ledger.changes)
        }),
        ("failures_total", "counter", "Times a source began to fail.", |ledger, _| {
            Some(ledger.failures)
        }),
    ];
    for (name, kind, help, pick) in families {
        let name = format!("gatehouse_discovery_{name}");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for shown in seen.iter().take(SERIES_MAX) {
            if let Some(value) = pick(&lock(&shown.ledger), now) {
                let _ = writeln!(out, "{name}{{upstream={}}} {value}", label(&shown.upstream));
            }
        }
    }
}

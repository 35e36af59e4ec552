//! What a reload changes, as people and scripts read it.

use super::orders::Answer;
use crate::config::Json;
use gatehouse_core::plan::{Changes, Sorted};
use std::fmt::Write;

/// Names listed of one kind; the rest are counted.
const NAMES_MAX: usize = 20;

/// What a reload changes, settings of the whole gateway included.
#[derive(Debug)]
pub(crate) struct Report {
    pub changes: Changes,
    /// `admin.bind 127.0.0.1:9900 -> 127.0.0.1:9901`.
    pub settings: Vec<String>,
}

impl Report {
    fn parts(&self) -> [(&'static str, &Sorted); 4] {
        [
            ("listeners", &self.changes.listeners),
            ("routes", &self.changes.routes),
            ("upstreams", &self.changes.upstreams),
            ("endpoints", &self.changes.endpoints),
        ]
    }

    /// Whether nothing is different.
    pub fn is_same(&self) -> bool {
        self.changes.is_same() && self.settings.is_empty()
    }

    /// One line, for the log.
    pub fn summary(&self) -> String {
        if self.is_same() {
            return "nothing has changed".to_owned();
        }
        let mut parts: Vec<String> = self.settings.clone();
        for (what, sorted) in self.parts() {
            let Sorted { kept: _, added, changed, drained } = sorted;
            for (word, names) in [("added", added), ("changed", changed), ("drained", drained)] {
                if !names.is_empty() {
                    parts.push(format!("{what} {word}: {}", listed(names)));
                }
            }
        }
        parts.join("; ")
    }

    /// The answer under this heading.
    pub fn answer(&self, heading: &str, generation: u64) -> Answer {
        let mut text = format!("{heading}\n");
        for (what, sorted) in self.parts() {
            let Sorted { kept, added, changed, drained } = sorted;
            let _ = write!(text, "  {what}: {} kept", kept.len());
            for (word, names) in [("added", added), ("changed", changed), ("drained", drained)] {
                if !names.is_empty() {
                    let _ = write!(text, ", {} {word} ({})", names.len(), listed(names));
                }
            }
            text.push('\n');
        }
        for setting in &self.settings {
            let _ = writeln!(text, "  {setting}");
        }
        let names = |names: &[String]| Json::list(names.iter().map(Json::text));
        let part = |sorted: &Sorted| {
            Json::object([
                ("kept", names(&sorted.kept)),
                ("added", names(&sorted.added)),
                ("changed", names(&sorted.changed)),
                ("drained", names(&sorted.drained)),
            ])
        };
        let json = Json::object([
            ("ok", Json::Flag(true)),
            ("generation", Json::Count(generation)),
            ("same", Json::Flag(self.is_same())),
            ("listeners", part(&self.changes.listeners)),
            ("routes", part(&self.changes.routes)),
            ("upstreams", part(&self.changes.upstreams)),
            ("endpoints", part(&self.changes.endpoints)),
            ("settings", names(&self.settings)),
        ]);
        Answer { status: 200, text, json }
    }
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_MAX {
        let _ = write!(text, " and {} more", names.len() - NAMES_MAX);
    }
    text
}

//! What can be run and is probably not what was meant.

use super::super::problem::{Kind, Problem};
use super::super::tree::{Entry, Table};
use super::super::units::show_duration;
use super::Lower;
use super::merge::Merged;

impl Lower<'_> {
    /// A gateway without a listener hears nobody; one without a route has nothing to say.
    pub(super) fn emptiness(&mut self, merged: &Merged<'_>) {
        if merged.listeners.is_empty() && !merged.listeners_broken {
            let reason = "there is no listener: nobody could come in";
            let hint = "add `[listeners.web]` with `bind = \":8080\"`";
            self.error_hint(Kind::Missing, merged.start, reason, hint);
        }
        if merged.routes.is_empty() && self.report.errors() == 0 {
            let reason = "there is no route: every request would be answered 404";
            let hint = "add `[[routes]]` with an `upstream`";
            self.report.add(Problem::warning(Kind::Unused, merged.start, reason).hint(hint));
        }
    }

    /// Upstreams no route sends to; not where an error may be the reason.
    pub(super) fn unused_upstreams(&mut self) {
        if self.report.errors() > 0 {
            return;
        }
        let places = self.upstreams.places();
        for (id, _) in self.upstream_used.iter().enumerate().filter(|(_, used)| !**used) {
            let name = &self.upstream_plans[id].name;
            let reason = format!("no route sends to upstream {name}");
            self.report.add(Problem::warning(Kind::Unused, places[id], reason));
        }
    }

    /// A part of an exchange that may take longer than the whole.
    pub(super) fn timeouts_that_contradict(&mut self, timeout: &Table) {
        let Some(total) = timeout.duration("total") else { return };
        for name in ["connect", "first-byte"] {
            let (Some(part), Some(entry)) = (timeout.duration(name), timeout.entry(name)) else {
                continue;
            };
            if part > total {
                let (part, total) = (show_duration(part), show_duration(total));
                let reason = format!("`{name}` of {part} is never reached: `total` is {total}");
                self.report.add(Problem::warning(Kind::Timeouts, entry.item.place, reason));
            }
        }
    }

    /// Options of an upstream that another of its options makes idle.
    pub(super) fn idle_options(&mut self, table: &Table) {
        let mut warn = |entry: &Entry, why: &str, hint: &str| {
            let reason = format!("`{}` does nothing{why}", entry.key.name);
            let problem = Problem::warning(Kind::NotApplicable, entry.place, reason);
            self.report.add(problem.hint(hint));
        };
        if let Some(retry) = table.table("retry").filter(|retry| retry.count("attempts") == Some(0))
        {
            // Who hedges asks twice, within the same budget.
            let names = ["on", "backoff", "budget"];
            let hedges = table.means("hedge");
            let idle = names.iter().filter(|name| **name != "budget" || !hedges);
            for entry in idle.filter_map(|name| retry.entry(name)) {
                let hint = "raise `attempts`, or take it out";
                warn(entry, " beside attempts = 0", hint);
            }
        }
        let panics =
            table.entry("panic-below").filter(|_| table.number("panic-below") == Some(0.0));
        if let Some(entry) = panics {
            let why = " at 0%: all are asked where none is ready, whatever it says";
            warn(entry, why, "write the share that must be ready, or take it out");
        }
        let by_hash = ["consistent-hash", "maglev"];
        let hashes = table.word("balance").filter(|word| by_hash.contains(word));
        if let (Some(word), Some(entry)) = (hashes, table.entry("slow-start")) {
            let why = format!(" beside balance = \"{word}\": keys would move as shares grow");
            warn(entry, &why, "take it out, or balance otherwise");
        }
    }
}

//! Routes: the rule and what it leads to.

use super::super::problem::{Kind, Problem};
use super::super::source::Place;
use super::super::tree::Table;
use super::edits::Of;
use super::merge::Merged;
use super::{Lower, matcher};
use gatehouse_core::plan::{Action, Carries, RoutePlan};
use gatehouse_core::queue::Priority;

/// What a route can do; each excludes the others.
const ACTIONS: [&str; 3] = ["upstream", "redirect", "respond"];

impl Lower<'_> {
    /// All routes, in file order.
    pub(super) fn all_routes(&mut self, merged: &Merged<'_>) {
        self.route_plans.reserve(merged.routes.len());
        self.rules.reserve(merged.routes.len());
        for (at, table) in merged.routes.iter().enumerate() {
            let (name, place) = match table.text("name") {
                Some(name) => (name.text.to_owned(), name.place),
                None => (format!("route-{}", at + 1), table.place),
            };
            self.routes.add(&name, place, self.report);
            self.route(&name, table);
        }
    }

    /// Lowers a route. One whose rule is sound takes part in ties and shadows even where what it
    /// does is wrong: there is no Plan then, and all is reported at once.
    fn route(&mut self, name: &str, table: &Table) {
        let rule = self.rule(table);
        let carries = match &rule {
            Some(rule) => self.route_carries(table, rule.listeners),
            None => Carries::Http,
        };
        let action = self.action(name, table);
        if let (Some(_), Some(action)) = (&rule, &action) {
            self.uses(table, carries, action);
        }
        let response_edits = self.edits(table.table("response-headers"), Of::Response);
        let body_bytes_max = table.bytes("body-bytes");
        let path_mode = matcher::path_mode(table);
        if let (Some(rule), Some(action)) = (rule, action) {
            let name = name.into();
            let priority = match table.word("priority") {
                Some("high") => Priority::High,
                Some("low") => Priority::Low,
                Some(_) | None => Priority::Normal,
            };
            let plan =
                RoutePlan { name, path_mode, action, response_edits, body_bytes_max, priority };
            self.route_plans.push(plan);
            self.rules.push(rule);
            self.rule_places.push(table.place);
        }
    }

    /// What the route does: exactly one thing.
    fn action(&mut self, name: &str, table: &Table) -> Option<Action> {
        let given: Vec<(&str, Place)> = ACTIONS
            .into_iter()
            .filter_map(|action| Some((action, table.entry(action)?.place)))
            .collect();
        let [(action, _)] = given[..] else {
            self.not_one_action(name, table, &given);
            return None;
        };
        if action != "upstream" {
            for key in ["rewrite", "request-headers", "timeout", "buffer"] {
                if let Some(entry) = table.entry(key) {
                    let reason = format!("`{key}` does not apply to a route with `{action}`");
                    let hint = "nothing is sent to an endpoint there";
                    self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
                }
            }
        }
        match action {
            "redirect" => self.redirect(table.table("redirect")?).map(Action::Redirect),
            "respond" => self.respond(table.table("respond")?).map(Action::Respond),
            _ => self.forward(name, table).map(Action::Forward),
        }
    }

    fn not_one_action(&mut self, name: &str, table: &Table, given: &[(&str, Place)]) {
        let Some(((first, place), rest)) = given.split_first() else {
            if ACTIONS.iter().any(|action| table.means(action)) {
                return;
            }
            let reason = format!("route {name} does nothing");
            let hint = "give it one of `upstream`, `redirect` and `respond`";
            return self.error_hint(Kind::Missing, table.place, reason, hint);
        };
        for (other, at) in rest {
            let reason = format!("`{other}` does not apply to a route with `{first}`");
            let problem = Problem::error(Kind::NotApplicable, *at, reason);
            self.report.add(problem.related(*place, format!("`{first}` is here")));
        }
    }
}

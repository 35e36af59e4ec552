//! Names of one kind of thing: each is given once, and stands for an id.

use super::super::near::nearest;
use super::super::problem::{Kind, Problem, Report};
use super::super::source::Place;
use std::collections::HashMap;

/// The longest name: it is a label in logs and metrics.
const NAME_BYTES_MAX: usize = 128;

/// Names of one kind of thing, in the order of their ids.
pub(super) struct Names {
    /// What is named: `route`.
    what: &'static str,
    ids: HashMap<Box<str>, usize>,
    places: Vec<Place>,
    /// Whether some were not understood: what is not found may be one of them.
    partial: bool,
}

impl Names {
    pub(super) fn new(what: &'static str, partial: bool) -> Names {
        Names { what, ids: HashMap::new(), places: Vec::new(), partial }
    }

    /// Takes in the next name; a second of its kind is reported and keeps the first's meaning.
    pub(super) fn add(&mut self, name: &str, place: Place, report: &mut Report) {
        let what = self.what;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
            let reason = format!("\"{}\" is no name for a {what}", name.escape_debug());
            let hint = format!("1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`");
            report.add(Problem::error(Kind::BadValue, place, reason).hint(hint));
        }
        match self.ids.get(name) {
            Some(first) => {
                let reason = format!("there is another {what} called \"{}\"", name.escape_debug());
                let first = self.places[*first];
                report.add(Problem::error(Kind::Duplicate, place, reason).related(first, "here"));
            }
            None => {
                self.ids.insert(name.into(), self.places.len());
            }
        }
        self.places.push(place);
    }

    /// What a name stands for; one that stands for nothing is reported.
    pub(super) fn find(&self, name: &str, place: Place, report: &mut Report) -> Option<usize> {
        let found = self.ids.get(name).copied();
        if found.is_none() && !self.partial {
            let near = nearest(name, self.ids.keys().map(AsRef::as_ref));
            let reason = format!("there is no {} called \"{}\"", self.what, name.escape_debug());
            let hint = near.map(|near| format!("did you mean \"{near}\"?"));
            report.add(Problem::error(Kind::Dangling, place, reason).hint_if(hint));
        }
        found
    }

    /// Where each name was given.
    pub(super) fn places(&self) -> Vec<Place> {
        self.places.clone()
    }
}

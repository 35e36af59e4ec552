//! Several files as one: lists one behind the other, names side by side, settings once.

use super::super::problem::{Kind, Problem, Report};
use super::super::source::Place;
use super::super::tree::{Entry, Named, Table};

/// The top of all files together.
#[derive(Default)]
pub(super) struct Merged<'t> {
    pub(super) workers: Option<&'t Entry>,
    pub(super) drain: Option<&'t Entry>,
    pub(super) admin: Option<&'t Entry>,
    pub(super) log: Option<&'t Entry>,
    pub(super) limits: Option<&'t Entry>,
    pub(super) listeners: Vec<&'t Named>,
    pub(super) upstreams: Vec<&'t Named>,
    pub(super) routes: Vec<&'t Table>,
    pub(super) expects: Vec<&'t Table>,
    pub(super) registers: Vec<&'t Table>,
    /// Whether there are listeners that were not understood.
    pub(super) listeners_broken: bool,
    /// The same of upstreams.
    pub(super) upstreams_broken: bool,
    /// The same of routes.
    pub(super) routes_broken: bool,
    /// The start of the main file: where what is missing as a whole is reported.
    pub(super) start: Place,
}

impl<'t> Merged<'t> {
    pub(super) fn of(trees: &'t [Table], report: &mut Report) -> Merged<'t> {
        let start = trees.first().map_or(Place::default(), |tree| tree.place);
        let mut merged = Merged { start, ..Merged::default() };
        for tree in trees {
            once(&mut merged.workers, tree.entry("workers"), report);
            once(&mut merged.drain, tree.entry("drain"), report);
            once(&mut merged.admin, tree.entry("admin"), report);
            once(&mut merged.log, tree.entry("log"), report);
            once(&mut merged.limits, tree.entry("limits"), report);
            merged.listeners.extend(tree.map("listeners"));
            merged.listeners_broken |= tree.is_broken("listeners");
            merged.upstreams_broken |= tree.is_broken("upstreams");
            merged.upstreams.extend(tree.map("upstreams"));
            merged.routes_broken |= tree.is_broken("routes");
            merged.routes.extend(tree.tables("routes"));
            merged.expects.extend(tree.tables("expect"));
            merged.registers.extend(tree.tables("register"));
        }
        merged
    }
}

/// A setting of the whole gateway stands in one file.
fn once<'t>(kept: &mut Option<&'t Entry>, next: Option<&'t Entry>, report: &mut Report) {
    match (*kept, next) {
        (Some(first), Some(next)) => {
            let reason = format!("`{}` is given in two files", next.key.name);
            let problem = Problem::error(Kind::Duplicate, next.place, reason);
            report.add(problem.related(first.place, "first here"));
        }
        (None, Some(next)) => *kept = Some(next),
        (_, None) => {}
    }
}

//! Visiting the routes whose host and path match, in order of precedence. It decides the order and
//! nothing else: what further matchers say is the visitor's.

use super::tree::{self, NONE, descend};
use super::{Asked, PathRule, RouteRule, Router, Site, WildcardBounds};
use crate::plan::{PathMode, RouteId};
use std::ops::ControlFlow;

/// Which routes of a group one lookup serves.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// The path is its own normal form.
    Both,
    /// Those that see this form.
    Only(PathMode),
}

/// One form of the path on its way through one host's tree.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    form: Form,
    /// The group of exact routes.
    exact: u32,
    /// The row of the longest prefix not visited yet.
    prefix: u32,
    /// Whether `/*` matches: not where the target is `*`.
    rooted: Rooted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rooted {
    Yes,
    No,
}

/// A lookup of no path at all.
const NOTHING: Lookup = Lookup { form: Form::Both, exact: NONE, prefix: NONE, rooted: Rooted::No };

/// A group of routes as one lookup sees it.
#[derive(Clone, Copy, Debug)]
struct Candidates<'a> {
    routes: &'a [RouteId],
    form: Form,
}

/// No candidates.
const NOBODY: Candidates<'static> = Candidates { routes: &[], form: Form::Both };

impl Candidates<'_> {
    fn serves(&self, rule: &RouteRule) -> bool {
        match self.form {
            Form::Both => true,
            Form::Only(mode) => rule.path_mode == mode,
        }
    }
}

impl WildcardBounds {
    /// The suffixes of `host` that a wildcard could be, longest first. One byte or more is left
    /// before each.
    fn suffixes(self, host: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut start = host.len();
        let last = host.len().saturating_sub(self.bytes_max).max(1);
        for _ in 0..self.labels_max {
            let window = host.get(last..start).unwrap_or(&[]);
            let Some(dot) = window.iter().rposition(|byte| *byte == b'.') else { break };
            start = last + dot;
        }
        (start..host.len()).filter(|at| host[*at] == b'.').map(|at| &host[at..])
    }
}

impl Router {
    /// Visits every route whose host and path match; one that has several hosts may be visited
    /// more than once.
    pub(super) fn walk(
        &self,
        asked: &Asked<'_>,
        visit: &mut impl FnMut(RouteId) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let exact = match self.exact_hosts {
            0 => None,
            _ => self.labels.find(tree::EXACT_HOST, asked.host),
        };
        if let Some(site) = exact {
            self.walk_site(site, asked, visit)?;
        }
        for suffix in self.wildcard.suffixes(asked.host) {
            if let Some(site) = self.labels.find(tree::WILDCARD_HOST, suffix) {
                self.walk_site(site, asked, visit)?;
            }
        }
        match self.any_host {
            Some(site) => self.walk_site(site, asked, visit),
            None => ControlFlow::Continue(()),
        }
    }

    fn walk_site(
        &self,
        site: u32,
        asked: &Asked<'_>,
        visit: &mut impl FnMut(RouteId) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Site { regexes, has_raw } = &self.sites[site as usize];
        if !*has_raw {
            let lookup = asked.path.map_or(NOTHING, |path| self.lookup(site, path, Form::Both));
            return self.walk_normal(lookup, regexes, asked, visit);
        }
        let same = asked.path == Some(asked.raw_path);
        let form = if same { Form::Both } else { Form::Only(PathMode::Normal) };
        let mut normal = asked.path.map_or(NOTHING, |path| self.lookup(site, path, form));
        let mut raw = match same {
            true => NOTHING,
            false => self.lookup(site, asked.raw_path, Form::Only(PathMode::Raw)),
        };

        visit_both(self.exact(normal), self.exact(raw), &self.rules, visit)?;
        for id in regexes {
            if self.regex_matches(*id, asked) {
                visit(*id)?;
            }
        }
        loop {
            let reach = (self.reach(normal), self.reach(raw));
            let longest = reach.0.max(reach.1);
            if longest.is_none() {
                return ControlFlow::Continue(());
            }
            let left = if reach.0 == longest { self.step(&mut normal) } else { NOBODY };
            let right = if reach.1 == longest { self.step(&mut raw) } else { NOBODY };
            visit_both(left, right, &self.rules, visit)?;
        }
    }

    /// The same for a host none of whose routes matches the path as sent.
    fn walk_normal(
        &self,
        mut lookup: Lookup,
        regexes: &[RouteId],
        asked: &Asked<'_>,
        visit: &mut impl FnMut(RouteId) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.exact(lookup).routes.iter().try_for_each(|id| visit(*id))?;
        for id in regexes.iter().filter(|id| self.regex_matches(**id, asked)) {
            visit(*id)?;
        }
        while self.reach(lookup).is_some() {
            self.step(&mut lookup).routes.iter().try_for_each(|id| visit(*id))?;
        }
        ControlFlow::Continue(())
    }

    fn lookup(&self, site: u32, path: &[u8], form: Form) -> Lookup {
        let trail = descend(&self.labels, &self.nodes, site, path);
        let rooted = match path.first() {
            None | Some(b'/') => Rooted::Yes,
            Some(_) => Rooted::No,
        };
        Lookup { form, exact: trail.exact, prefix: trail.prefix, rooted }
    }

    fn exact(&self, lookup: Lookup) -> Candidates<'_> {
        Candidates { routes: self.group(lookup.exact), form: lookup.form }
    }

    /// Bytes of the longest prefix not visited yet.
    fn reach(&self, lookup: Lookup) -> Option<u32> {
        if lookup.prefix == NONE {
            return None;
        }
        let bytes = self.nodes[lookup.prefix as usize].path_len;
        (bytes > 0 || lookup.rooted == Rooted::Yes).then_some(bytes)
    }

    /// Takes the longest prefix not visited yet, which must exist.
    fn step(&self, lookup: &mut Lookup) -> Candidates<'_> {
        let node = self.nodes[lookup.prefix as usize];
        lookup.prefix = node.up;
        Candidates { routes: self.group(node.prefix), form: lookup.form }
    }

    fn group(&self, group: u32) -> &[RouteId] {
        match self.groups.get(group as usize..).unwrap_or(&[]) {
            [start, end, ..] => &self.grouped[*start as usize..*end as usize],
            _ => &[],
        }
    }

    fn regex_matches(&self, id: RouteId, asked: &Asked<'_>) -> bool {
        let rule = self.rule(id);
        let path = match rule.path_mode {
            PathMode::Normal => asked.path,
            PathMode::Raw => Some(asked.raw_path),
        };
        match (&rule.path, path) {
            (PathRule::Regex(pattern), Some(path)) => {
                rule.listeners.contains(asked.listener) && pattern.is_match(path)
            }
            (PathRule::Regex(_) | PathRule::Exact(_) | PathRule::Prefix(_), _) => false,
        }
    }
}

/// Visits two groups of equal rank as one: more further matchers first, then file order.
fn visit_both(
    left: Candidates<'_>,
    right: Candidates<'_>,
    rules: &[RouteRule],
    visit: &mut impl FnMut(RouteId) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let rule = |id: &RouteId| &rules[id.0 as usize];
    if right.routes.is_empty() {
        return left.routes.iter().filter(|id| left.serves(rule(id))).try_for_each(|id| visit(*id));
    }
    let mut lefts = left.routes.iter().filter(|id| left.serves(rule(id))).peekable();
    let mut rights = right.routes.iter().filter(|id| right.serves(rule(id))).peekable();
    loop {
        let next = match (lefts.peek(), rights.peek()) {
            (Some(l), Some(r)) if precedence(r, rule(r)) < precedence(l, rule(l)) => rights.next(),
            (Some(_), _) => lefts.next(),
            (None, _) => rights.next(),
        };
        match next {
            Some(id) => visit(*id)?,
            None => return ControlFlow::Continue(()),
        }
    }
}

/// Where a route stands among those of the same host and path: the least goes first.
pub(super) fn precedence(id: &RouteId, rule: &RouteRule) -> (usize, RouteId) {
    (usize::MAX - rule.matchers(), *id)
}

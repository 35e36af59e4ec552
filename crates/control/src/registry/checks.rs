//! Which checks begin: there may be more that are due than may be under way.

use super::{Due, Known};
use crate::health::judge::Kept;
use gatehouse_core::endpoints::{Endpoint, Endpoints};
use gatehouse_core::health::Verdict;
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::Plan;
use std::sync::Arc;

/// Endpoints that are to be checked, over all upstreams.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Since when, where of `lists`, and at which place there.
    due: Vec<(Moment, usize, usize)>,
    /// Upstreams by their place in the plan, with their endpoints.
    lists: Vec<(usize, Arc<Endpoints>)>,
}

impl Checks {
    /// Adds those of the upstream at this place of the plan.
    pub fn add(
        &mut self,
        upstream: usize,
        published: Option<&Arc<Endpoints>>,
        due: &[(Moment, usize)],
    ) {
        if let (Some(published), false) = (published, due.is_empty()) {
            let list = self.lists.len();
            self.lists.push((upstream, Arc::clone(published)));
            self.due.extend(due.iter().map(|(since, place)| (*since, list, *place)));
        }
    }

    /// Begins `room` of them at most. Whoever has waited for longest is first: in the order of the
    /// plan, many that answer nothing would keep all behind them from ever being checked.
    pub fn begin(mut self, plan: &Plan, known: &mut Known, room: usize) -> Vec<Due> {
        if room < self.due.len() {
            self.due.select_nth_unstable(room);
            self.due.truncate(room);
        }
        let each = self.due.iter().filter_map(|(_, list, place)| {
            let (upstream, published) = &self.lists[*list];
            let (upstream, endpoint) = (&plan.upstreams[*upstream], &published.list()[*place]);
            let rule = upstream.health.clone()?;
            known.kept_of(&upstream.name, endpoint)?.begin_check();
            let upstream = Arc::clone(&upstream.name);
            Some(Due { upstream, endpoint: endpoint.clone(), rule })
        });
        each.collect()
    }
}

impl Known {
    /// What is kept of just this endpoint, and not of one that has come in its place.
    pub(super) fn kept_of(
        &mut self,
        upstream: &Arc<str>,
        endpoint: &Endpoint,
    ) -> Option<&mut Kept> {
        let key = (Arc::clone(&endpoint.text), endpoint.address.clone());
        let kept = self.upstreams.get_mut(upstream)?.endpoints.get_mut(&key)?;
        Arc::ptr_eq(&kept.vitals, &endpoint.vitals).then_some(kept)
    }

    /// What the upstream of what was checked is called now.
    pub(super) fn called_now(&mut self, due: &Due) -> Option<Arc<str>> {
        if self.kept_of(&due.upstream, &due.endpoint).is_some() {
            return Some(Arc::clone(&due.upstream));
        }
        let names: Vec<Arc<str>> = self.upstreams.keys().cloned().collect();
        names.into_iter().find(|name| self.kept_of(name, &due.endpoint).is_some())
    }

    pub(super) fn count_check(&mut self, upstream: &Arc<str>, verdict: Option<Verdict>) {
        if let Some(upstream) = self.upstreams.get_mut(upstream) {
            upstream.counts.checked(verdict);
        }
    }
}

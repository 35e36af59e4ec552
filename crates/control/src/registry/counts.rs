//! What the control side counts of an upstream, for whoever asks.

use super::Registry;
use crate::health::judge::{Kept, Whole};
use gatehouse_core::breaker::Gate;
use gatehouse_core::health::Verdict;
use gatehouse_core::plan::{Plan, UpstreamPlan};

/// What has been seen of an upstream since it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Times that an endpoint was left out because requests to it failed.
    pub ejections: u64,
    /// Times that its breaker opened.
    pub openings: u64,
    /// What its breaker is.
    pub gate: Gate,
    /// Checks that passed, that did not, and that could not be made.
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

/// How an upstream stood before it was judged.
#[derive(Debug)]
pub(super) struct Before {
    gate: Gate,
    ejected: Vec<bool>,
}

impl Before {
    pub fn of(upstream: &UpstreamPlan, whole: &Whole, kept: &[&mut Kept]) -> Before {
        let kept = if upstream.outlier.is_some() { kept } else { &[] };
        let ejected = kept.iter().map(|kept| kept.is_ejected()).collect();
        Before { gate: whole.gate(), ejected }
    }
}

impl Counts {
    /// Counts what judging has changed.
    pub(super) fn judged(&mut self, before: &Before, whole: &Whole, kept: &[&mut Kept]) {
        let each = before.ejected.iter().zip(kept);
        let new = each.filter(|(before, kept)| !**before && kept.is_ejected());
        self.ejections += new.count() as u64;
        self.gate = whole.gate();
        self.openings += u64::from(self.gate == Gate::Open && before.gate != Gate::Open);
    }

    /// Counts a check.
    pub(super) fn checked(&mut self, verdict: Option<Verdict>) {
        match verdict {
            Some(Verdict::Passed) => self.passed += 1,
            Some(Verdict::Failed) => self.failed += 1,
            None => self.skipped += 1,
        }
    }
}

impl Registry {
    /// What was counted of each upstream of a plan.
    pub(crate) fn counts(&self, plan: &Plan) -> Vec<Counts> {
        let known = self.lock();
        let each = plan.upstreams.iter();
        each.map(|one| {
            known.upstreams.get(&one.name).map_or_else(Counts::default, |kept| kept.counts)
        })
        .collect()
    }
}

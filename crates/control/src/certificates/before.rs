//! What is in force while other credentials are made, and what of it goes on.

use super::Prepared;
use gatehouse_core::plan::{Changes, Plan, UpstreamId};

/// What is in force while others are made: what is made from the same goes on.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// Its credentials.
    pub prepared: &'a Prepared,
    /// The plan they belong to.
    pub plan: &'a Plan,
}

/// For each upstream of a plan the one it continues of what is in force. Its name may have been
/// derived from a place, and be another's now.
pub(super) fn continued(before: Option<Before<'_>>, plan: &Plan) -> Vec<Option<UpstreamId>> {
    match before {
        None => vec![None; plan.upstreams.len()],
        Some(before) if std::ptr::eq(before.plan, plan) => {
            (0..plan.upstreams.len() as u32).map(|at| Some(UpstreamId(at))).collect()
        }
        Some(before) => Changes::between(before.plan, plan).upstream_of,
    }
}

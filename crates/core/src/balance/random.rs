//! `random`: each member by its weight, whatever came before.

use super::draw::Draw;
use super::{Group, scan, takes};
use crate::endpoints::{Ask, EndpointId, Endpoints};

/// How often is drawn before all members are scanned.
const DRAWS_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Random(Draw);

impl Random {
    pub(super) fn new(group: Group<'_>) -> Random {
        Random(Draw::new(group))
    }

    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        for _ in 0..DRAWS_MAX {
            let id = self.0.members()[self.0.place(ask.chance)];
            if takes(endpoints, &ask.tried, id) {
                return Some(id);
            }
        }
        let start = self.0.place(ask.chance);
        scan(self.0.members(), start, |id| takes(endpoints, &ask.tried, id))
    }
}

//! Drawing a member by weight in constant time: Walker's alias table as Vose builds it (1991).

use super::{Group, scan, takes};
use crate::chance::Chance;
use crate::endpoints::{Ask, Endpoint, EndpointId, Endpoints};

/// How often a pair is drawn before all members are scanned.
const PAIRS_MAX: usize = 3;

/// Members to draw from.
#[derive(Debug)]
pub(super) struct Draw {
    members: Vec<EndpointId>,
    /// One column a member; empty where all weights are equal.
    columns: Vec<Column>,
}

/// A draw that lands in a column goes to its own member for `keep` of 2^32 draws, else to `other`.
#[derive(Clone, Copy, Debug)]
struct Column {
    keep: u32,
    other: u16,
}

impl Draw {
    pub(super) fn new(group: Group<'_>) -> Draw {
        let weights = group.shares();
        let equal = weights.iter().all(|weight| *weight == weights[0]);
        let columns = if equal { Vec::new() } else { columns(&weights) };
        Draw { members: group.members, columns }
    }

    pub(super) fn members(&self) -> &[EndpointId] {
        &self.members
    }

    pub(super) fn into_members(self) -> Vec<EndpointId> {
        self.members
    }

    /// Whether all have the same weight.
    pub(super) fn is_even(&self) -> bool {
        self.columns.is_empty()
    }

    /// The place of one member, drawn by weight. One random number decides column and member: the
    /// upper half the one, the lower half the other.
    pub(super) fn place(&self, chance: &mut Chance) -> usize {
        let bits = chance.next_u64();
        let at = (((bits >> 32) * self.members.len() as u64) >> 32) as usize;
        match self.columns.get(at) {
            Some(column) if bits as u32 >= column.keep => usize::from(column.other),
            _ => at,
        }
    }

    /// The places of two different members. The second is drawn anew a few times, then it is the
    /// neighbour: one member may hold nearly all the weight.
    fn pair(&self, chance: &mut Chance) -> [usize; 2] {
        let count = self.members.len();
        let one = self.place(chance);
        if self.is_even() {
            let step = 1 + chance.below(count as u32 - 1) as usize;
            return [one, (one + step) % count];
        }
        let mut draws = (0..PAIRS_MAX).map(|_| self.place(chance));
        let two = draws.find(|two| *two != one);
        [one, two.unwrap_or((one + 1) % count)]
    }

    /// Power of two choices (Mitzenmacher 2001): of two members drawn by weight, the one that costs
    /// less.
    pub(super) fn cheaper(
        &self,
        endpoints: &Endpoints,
        ask: &mut Ask<'_>,
        cost: impl Fn(&Endpoint) -> f64,
    ) -> Option<EndpointId> {
        for _ in 0..PAIRS_MAX {
            let [one, two] = self.pair(ask.chance).map(|place| self.members[place]);
            let swap = cost(endpoints.get(two)) < cost(endpoints.get(one));
            let order = if swap { [two, one] } else { [one, two] };
            if let Some(id) = order.into_iter().find(|id| takes(endpoints, &ask.tried, *id)) {
                return Some(id);
            }
        }
        let start = self.place(ask.chance);
        scan(&self.members, start, |id| takes(endpoints, &ask.tried, id))
    }
}

fn columns(weights: &[u32]) -> Vec<Column> {
    let count = weights.len() as u64;
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut left: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) * count).collect();
    let mut columns: Vec<Column> =
        (0..weights.len()).map(|at| Column { keep: u32::MAX, other: at as u16 }).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..weights.len()).partition(|at| left[*at] < total);
    while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
        columns[poor] = Column { keep: ((left[poor] << 32) / total) as u32, other: rich as u16 };
        left[rich] -= total - left[poor];
        if left[rich] < total {
            large.pop();
            small.push(rich);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the columns give each member of 2^32 times their number.
    fn shares(columns: &[Column]) -> Vec<f64> {
        let mut shares = vec![0.0; columns.len()];
        for (at, column) in columns.iter().enumerate() {
            let kept = f64::from(column.keep) / f64::from(u32::MAX);
            shares[at] += kept;
            shares[usize::from(column.other)] += 1.0 - kept;
        }
        shares
    }

    #[test]
    fn the_columns_hold_exactly_the_weights() {
        for weights in [
            vec![1, 2],
            vec![4, 3, 2, 1],
            vec![1, 65_535],
            (1..=1_000).collect(),
            (0..10_000_u32).map(|at| 1 + at * 7_919 % 65_535).collect(),
        ] {
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let count = weights.len() as f64;
            for (share, weight) in shares(&columns(&weights)).iter().zip(&weights) {
                let expected = f64::from(*weight) / total * count;
                assert!((share - expected).abs() < 1e-6, "{share} {expected}");
            }
        }
    }
}

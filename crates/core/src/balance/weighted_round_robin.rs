//! `weighted-round-robin`: nginx's smooth order. Each turn adds its weight to every member's
//! account, takes the member with the most (the first of equals), and charges it the sum of all
//! weights. The order repeats after as many turns as the weights sum up to, so it is computed once
//! and walked by one cursor.

use super::{Group, scan, takes};
use crate::endpoints::{Ask, ENDPOINTS_MAX, EndpointId, Endpoints};

/// The most turns of a cycle; heavier weights are scaled down to fit, each to at least 1.
pub const CYCLE_SLOTS_MAX: usize = 16_384;
const _: () = assert!(ENDPOINTS_MAX <= CYCLE_SLOTS_MAX);

/// How many turns a pick looks ahead before all members are scanned.
const TURNS_AHEAD_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    members: Vec<EndpointId>,
    /// Places in `members`.
    cycle: Vec<u16>,
}

impl WeightedRoundRobin {
    pub(super) fn new(group: Group<'_>) -> WeightedRoundRobin {
        let cycle = cycle(&slots(&group.shares()));
        WeightedRoundRobin { members: group.members, cycle }
    }

    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        let turn = endpoints.vitals().next_turn() % self.cycle.len();
        let (before, behind) = self.cycle.split_at(turn);
        let ahead = behind.iter().chain(before).take(TURNS_AHEAD_MAX);
        let mut places = ahead.map(|place| usize::from(*place));
        let take = |id| takes(endpoints, &ask.tried, id);
        match places.find(|place| take(self.members[*place])) {
            Some(place) => Some(self.members[place]),
            None => scan(&self.members, usize::from(self.cycle[turn]), take),
        }
    }
}

/// Turns of each member in one cycle: the weights without their common divisor, scaled where they
/// sum up to more than [`CYCLE_SLOTS_MAX`].
fn slots(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
    let whole: Vec<u32> = weights.iter().map(|weight| weight / divisor).collect();
    let total: u64 = whole.iter().map(|weight| u64::from(*weight)).sum();
    let max = CYCLE_SLOTS_MAX as u64;
    if total <= max {
        return whole;
    }
    // Those raised to 1 take more than their share; what all others share shrinks until it fits.
    // With `shared` down to the maximum less one a member it always does.
    let mut shared = max;
    loop {
        let scale = |weight: &u32| ((u64::from(*weight) * shared / total) as u32).max(1);
        let scaled: Vec<u32> = whole.iter().map(scale).collect();
        let sum: u64 = scaled.iter().map(|slots| u64::from(*slots)).sum();
        if sum <= max {
            return scaled;
        }
        shared = shared.saturating_sub(sum - max);
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Members of one weight. Their accounts differ only by what they were charged, so they take turns
/// among themselves in order, and only the next of them can be the first with the most.
#[derive(Debug)]
struct Peers {
    weight: i64,
    places: Vec<u16>,
    next: usize,
    /// The account of the next one.
    account: i64,
}

/// The smooth order, in time proportional to the turns times the number of different weights: at
/// most 181 of them fit into a cycle.
fn cycle(slots: &[u32]) -> Vec<u16> {
    let total: i64 = slots.iter().map(|slots| i64::from(*slots)).sum();
    let mut order: Vec<u16> = (0..slots.len() as u16).collect();
    order.sort_by_key(|place| slots[usize::from(*place)]);
    let weight = |place: &u16| slots[usize::from(*place)];
    let mut all: Vec<Peers> = order
        .chunk_by(|a, b| weight(a) == weight(b))
        .map(|places| Peers {
            weight: i64::from(weight(&places[0])),
            places: places.to_vec(),
            next: 0,
            account: 0,
        })
        .collect();
    let turns = 0..total;
    turns.map(|_| turn(&mut all, total)).collect()
}

fn turn(all: &mut [Peers], total: i64) -> u16 {
    let mut first = (i64::MIN, u16::MAX, 0);
    for (at, peers) in all.iter_mut().enumerate() {
        peers.account += peers.weight;
        let place = peers.places[peers.next];
        if peers.account > first.0 || (peers.account == first.0 && place < first.1) {
            first = (peers.account, place, at);
        }
    }
    let peers = &mut all[first.2];
    peers.next += 1;
    if peers.next == peers.places.len() {
        // Everybody of this weight was charged once; before that the next one's account was the
        // same as this one's had been.
        peers.next = 0;
        peers.account -= total;
    }
    first.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as it is written, member by member.
    fn plain(weights: &[u32]) -> Vec<u16> {
        let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
        let mut accounts = vec![0; weights.len()];
        let turn = |_| {
            accounts.iter_mut().zip(weights).for_each(|(own, weight)| *own += i64::from(*weight));
            let most = *accounts.iter().max().unwrap();
            let first = accounts.iter().position(|own| *own == most).unwrap();
            accounts[first] -= total;
            first as u16
        };
        (0..total).map(turn).collect()
    }

    proptest! {
        #[test]
        fn the_cycle_is_the_smooth_order(weights in prop::collection::vec(1_u32..12, 2..24)) {
            prop_assert_eq!(cycle(&weights), plain(&weights));
        }

        #[test]
        fn a_cycle_keeps_its_bound_and_its_shares(
            weights in prop::collection::vec(1_u32..65_536, 2..400),
        ) {
            let slots = slots(&weights);
            let sum: u32 = slots.iter().sum();
            prop_assert!(sum as usize <= CYCLE_SLOTS_MAX);
            prop_assert!(slots.iter().all(|slots| *slots > 0));
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (slots, weight) in slots.iter().zip(&weights) {
                let fair = f64::from(*weight) / total * f64::from(sum);
                prop_assert!((f64::from(*slots) - fair).abs() <= 1.0 + fair / 40.0);
            }
        }
    }

    #[test]
    fn ten_thousand_members_fit_into_a_cycle() {
        let weights: Vec<u32> = (0..10_000).map(|at| 1 + 2 * (at % 2)).collect();
        let slots = slots(&weights);
        assert!(slots.iter().sum::<u32>() as usize <= CYCLE_SLOTS_MAX);
        assert_eq!((slots[0], slots[1]), (1, 2));
        let heavy: Vec<u32> = (0..10_000).map(|at| 1 + at * 6).collect();
        assert!(super::slots(&heavy).iter().sum::<u32>() as usize <= CYCLE_SLOTS_MAX);
    }
}

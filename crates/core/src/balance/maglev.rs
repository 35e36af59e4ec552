//! `maglev`: a table of slots, filled so that each endpoint owns its share to within a slot or two
//! and keeps nearly all of it when others come and go (Eisenbud et al., NSDI 2016, section 3.4).
//! The table depends on texts and weights alone, not on the order of the list: persisted behaviour.

use super::hash::hash64;
use super::{Group, scan, takes};
use crate::chance::mix64;
use crate::endpoints::{Ask, ENDPOINTS_MAX, EndpointId, Endpoints};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Slots of a table: primes. The second is for more endpoints than a hundredth of the first.
pub const TABLE_SIZES: [u32; 2] = [65_537, 655_373];
const _: () = assert!(ENDPOINTS_MAX < TABLE_SIZES[0] as usize);

/// Slots an endpoint should have on the mean.
const SLOTS_MEAN_MIN: usize = 100;

/// How many slots a pick looks at before all members are scanned.
const SLOTS_AHEAD_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Maglev {
    members: Vec<EndpointId>,
    /// Places in `members`.
    table: Vec<u16>,
}

impl Maglev {
    pub(super) fn new(group: Group<'_>) -> Maglev {
        let [small, large] = TABLE_SIZES.map(|size| size as usize);
        let count = group.members.len();
        let size = if count * SLOTS_MEAN_MIN <= small { small } else { large };
        let hashes = group.members.iter().map(|id| hash64(group.endpoint(*id).text.as_bytes()));
        let table = table(size, &hashes.collect::<Vec<_>>(), &group.weights());
        Maglev { members: group.members, table }
    }

    /// A request without a key goes anywhere: all of them to one endpoint would be no balance.
    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        let hash = if ask.key.is_empty() { ask.chance.next_u64() } else { hash64(ask.key) };
        let slot = ((u128::from(hash) * self.table.len() as u128) >> 64) as usize;
        let (before, behind) = self.table.split_at(slot);
        let ahead = behind.iter().chain(before).take(SLOTS_AHEAD_MAX);
        let take = |id| takes(endpoints, &ask.tried, id);
        let mut members = ahead.map(|place| self.members[usize::from(*place)]);
        let picked = members.find(|id| take(*id));
        picked.or_else(|| scan(&self.members, usize::from(self.table[slot]), take))
    }
}

/// Where an endpoint would like its slots: a permutation of all of them.
#[derive(Clone, Copy, Debug)]
struct Wish {
    next: usize,
    step: usize,
}

/// No endpoint yet; [`ENDPOINTS_MAX`] is less.
const FREE: u16 = u16::MAX;

/// Fills the table: whoever has the fewest slots a unit of weight takes the next free slot of its
/// own permutation. With equal weights these are the turns of the paper.
fn table(size: usize, hashes: &[u64], weights: &[u32]) -> Vec<u16> {
    let wish = |hash: &u64| Wish {
        next: (hash % size as u64) as usize,
        step: 1 + (mix64(hash ^ 0x5851_f42d_4c95_7f2d) % (size as u64 - 1)) as usize,
    };
    let mut wishes: Vec<Wish> = hashes.iter().map(wish).collect();
    let mut taken = vec![0_u64; hashes.len()];
    // What it would own after its next slot, by weight; equals go by their hash, not their place.
    let due = |taken: u64, place: usize| {
        Reverse((((taken + 1) << 32) / u64::from(weights[place]), hashes[place], place))
    };
    let mut queue: BinaryHeap<_> = (0..hashes.len()).map(|place| due(0, place)).collect();
    let mut table = vec![FREE; size];
    for _ in 0..size {
        let Some(Reverse((_, _, place))) = queue.pop() else { break };
        let Wish { next, step } = &mut wishes[place];
        while table[*next] != FREE {
            *next = (*next + *step) % size;
        }
        table[*next] = place as u16;
        taken[place] += 1;
        queue.push(due(taken[place], place));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(size: usize, weights: &[u32]) -> Vec<usize> {
        let hashes: Vec<u64> =
            (0..weights.len()).map(|at| hash64(format!("e{at}").as_bytes())).collect();
        let mut shares = vec![0; weights.len()];
        for place in table(size, &hashes, weights) {
            shares[usize::from(place)] += 1;
        }
        shares
    }

    #[test]
    fn equal_endpoints_own_equally_many_slots() {
        for (size, count) in [(65_537, 2), (65_537, 3), (65_537, 655), (655_373, 1_000)] {
            let shares = shares(size, &vec![1; count]);
            let each = size / count;
            assert!(shares.iter().all(|own| *own == each || *own == each + 1), "{count}");
        }
    }

    #[test]
    fn slots_follow_the_weights_to_within_two() {
        let weights: Vec<u32> = (0..300).map(|at| 1 + at % 7).collect();
        let total: u32 = weights.iter().sum();
        for (own, weight) in shares(65_537, &weights).iter().zip(&weights) {
            let fair = 65_537.0 * f64::from(*weight) / f64::from(total);
            assert!((*own as f64 - fair).abs() <= 2.0, "{own} {fair}");
        }
    }

    #[test]
    fn every_slot_of_the_largest_table_is_taken() {
        let weights: Vec<u32> = (0..10_000).map(|at| 1 + at * 6).collect();
        assert_eq!(shares(655_373, &weights).iter().sum::<usize>(), 655_373);
    }

    #[test]
    fn table_sizes_are_prime() {
        for size in TABLE_SIZES {
            assert!((2..1_000).all(|factor| size % factor != 0), "{size}");
        }
    }
}

//! Who gets how much, and that whoever has room is found.

use crate::pool::{ALL, CRC_RING, endpoint, numbered, pool, weighted};
use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{Ask, Endpoint, EndpointId, NoPick, Tried};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::Balance;
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn nobody_is_not_somebody_at_their_cap() {
    for balance in ALL {
        assert_eq!(pool(balance, Vec::new()).take(b"k"), Err(NoPick::Empty), "{balance:?}");
        let full = Endpoint { connections_max: Some(0), ..endpoint("a", 1) };
        assert_eq!(pool(balance, vec![full]).take(b"k"), Err(NoPick::AtCap), "{balance:?}");
    }
}

#[test]
fn a_single_endpoint_takes_everything() {
    for balance in ALL {
        let mut one = pool(balance, numbered(1));
        one.tried.add(EndpointId(0));
        for key in ["", "a", "b"] {
            assert_eq!(one.take(key.as_bytes()), Ok(EndpointId(0)), "{balance:?}");
        }
        assert_eq!(one.in_flight(), [3]);
    }
}

#[test]
fn backups_are_for_when_no_other_has_room() {
    for balance in ALL {
        let capped =
            |text, backup| Endpoint { connections_max: Some(2), backup, ..endpoint(text, 1) };
        let list = ["a", "b", "c", "d"].map(|text| capped(text, text < "c"));
        let mut mixed = pool(balance, list.to_vec());
        for taken in [[0, 0, 2, 2], [2, 2, 2, 2]] {
            (0..4).for_each(|_| assert!(mixed.take(b"key").is_ok()));
            assert_eq!(mixed.in_flight(), taken, "{balance:?}");
        }
        assert_eq!(mixed.take(b"key"), Err(NoPick::AtCap));
    }
}

#[derive(Clone, Debug)]
struct State {
    weight: u16,
    cap: Option<u32>,
    busy: u32,
    backup: bool,
}

fn any_state() -> impl Strategy<Value = State> {
    let cap = prop_oneof![Just(None), Just(Some(0)), Just(Some(1)), Just(Some(1)), Just(Some(3))];
    (1_u16..300, cap, 0_u32..4, prop::bool::weighted(0.2))
        .prop_map(|(weight, cap, busy, backup)| State { weight, cap, busy, backup })
}

/// Which of the endpoints may be picked: untried primaries with room, else untried backups, else
/// tried ones, primaries first again.
fn allowed(states: &[State], tried: &Tried) -> Vec<usize> {
    let room = |at: &usize| states[*at].cap.is_none_or(|cap| states[*at].busy < cap);
    let ranks = [(false, false), (false, true), (true, false), (true, true)];
    let of = |(again, backup): (bool, bool)| -> Vec<usize> {
        let own = (0..states.len()).filter(|at| states[*at].backup == backup);
        own.filter(|at| again || !tried.contains(EndpointId(*at as u16))).filter(room).collect()
    };
    ranks.into_iter().map(of).find(|of| !of.is_empty()).unwrap_or_default()
}

proptest! {
    #[test]
    fn whoever_is_ready_is_found_and_one_place_is_taken(
        states in prop::collection::vec(any_state(), 1..40),
        attempts in prop::collection::vec(0_u16..40, 0..8),
        seed: u64,
        balance in prop::sample::select(ALL.to_vec()),
    ) {
        let list = states.iter().enumerate().map(|(at, state)| Endpoint {
            connections_max: state.cap,
            backup: state.backup,
            ..endpoint(&format!("e{at}"), state.weight)
        });
        let mut pool = pool(balance, list.collect());
        for (endpoint, state) in pool.endpoints.list().iter().zip(&states) {
            (0..state.busy).for_each(|_| assert!(endpoint.vitals.try_enter(None)));
        }
        pool.chance = Chance::seeded(seed);
        for at in attempts {
            pool.tried.add(EndpointId(at));
        }
        let before = pool.in_flight();
        let allowed = allowed(&states, &pool.tried);
        let picked = pool.take(&seed.to_le_bytes());
        let mut after = pool.in_flight();
        match picked {
            Ok(id) => {
                prop_assert!(allowed.contains(&usize::from(id.0)), "{balance:?} {id:?}");
                after[usize::from(id.0)] -= 1;
            }
            Err(trouble) => {
                prop_assert_eq!(trouble, NoPick::AtCap);
                prop_assert!(allowed.is_empty(), "{:?}", balance);
            }
        }
        prop_assert_eq!(before, after);
    }
}

/// Whether each endpoint got its share by weight, give or take `slack` of it.
fn assert_shares(balance: Balance, weights: &[u16], slack: f64) {
    let mut pool = pool(balance, weighted(weights));
    let count = 60_000;
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    for (share, weight) in pool.shares(count).iter().zip(weights) {
        let fair = f64::from(*weight) / total * count as f64;
        let off = (*share as f64 - fair).abs() / fair;
        assert!(off <= slack, "{balance:?} {weights:?}: {share} instead of {fair}");
    }
}

#[test]
fn chance_follows_the_weights() {
    for weights in [&[1, 1][..], &[10, 20], &[4, 3, 2, 1], &[1, 1, 1, 97], &[7; 20]] {
        assert_shares(Balance::Random, weights, 0.1);
    }
}

#[test]
fn weighted_turns_follow_the_weights_exactly() {
    for weights in [&[1, 1][..], &[10, 20], &[4, 3, 2, 1], &[1, 1, 1, 97], &[600, 300, 100]] {
        assert_shares(Balance::WeightedRoundRobin, weights, 1e-9);
    }
    assert_shares(Balance::WeightedRoundRobin, &[65_535, 32_768], 0.001);
}

#[test]
fn maglev_follows_the_weights() {
    for weights in [&[1, 1][..], &[10, 20], &[4, 3, 2, 1], &[7; 20]] {
        assert_shares(Balance::Maglev, weights, 0.05);
    }
}

/// In flight per unit of weight at the least and the most loaded, after `count` picks.
fn spread(balance: Balance, list: Vec<Endpoint>, count: usize) -> (f64, f64) {
    let mut pool = pool(balance, list);
    (0..count).for_each(|at| assert!(pool.take(format!("{at}").as_bytes()).is_ok()));
    let list = pool.endpoints.list().iter();
    let loads = list.map(|own| f64::from(own.vitals.in_flight()) / f64::from(own.weight));
    loads.fold((f64::MAX, 0.0), |(least, most), load| (least.min(load), most.max(load)))
}

#[test]
fn few_endpoints_fill_evenly_by_least_request() {
    assert_eq!(spread(Balance::LeastRequest, numbered(8), 800), (100.0, 100.0));
    assert_eq!(spread(Balance::LeastRequest, weighted(&[1, 2, 5]), 80), (10.0, 10.0));
}

#[test]
fn many_endpoints_fill_nearly_evenly_by_two_choices() {
    for balance in [Balance::LeastRequest, Balance::PeakEwma] {
        let (least, most) = spread(balance, numbered(1_000), 100_000);
        assert!(least >= 95.0 && most <= 104.0, "{balance:?} {least} {most}");
    }
    let list = (0..100).map(|at| endpoint(&format!("e{at}"), 1 + at % 10)).collect();
    let (least, most) = spread(Balance::LeastRequest, list, 55_000);
    assert!(least >= 90.0 && most <= 105.0, "{least} {most}");
}

#[test]
fn idle_equals_share_by_least_request() {
    for count in [3, 20] {
        let shares = pool(Balance::LeastRequest, numbered(count)).shares(count * 1_000);
        assert!(shares.iter().all(|share| (850..1_150).contains(share)), "{shares:?}");
    }
}

/// One request at a time finds all idle: then it is the weights that share, warmth included.
#[test]
fn idle_endpoints_share_by_weight_by_least_request() {
    let near = |share: usize, of: usize| (of * 9 / 10..of * 11 / 10).contains(&share);
    for times in [1, 4] {
        let weights = [1, 2, 5].repeat(times);
        let shares = pool(Balance::LeastRequest, weighted(&weights)).shares(8_000 * times);
        for (share, weight) in shares.iter().zip(weights) {
            assert!(near(*share, usize::from(weight) * 1_000), "{shares:?}");
        }
    }
    let mut list = numbered(2);
    list[0].warmth = 10;
    let shares = pool(Balance::LeastRequest, list).shares(11_000);
    assert!(near(shares[0], 1_000), "{shares:?}");
}

#[test]
fn the_slower_endpoint_gets_less_by_peak_ewma() {
    let mut pool = pool(Balance::PeakEwma, weighted(&[1, 1]));
    pool.now = Moment::from_nanos(1_000_000);
    for (endpoint, millis) in pool.endpoints.list().iter().zip([1, 50]) {
        endpoint.vitals.observe(Duration::from_millis(millis), pool.now);
    }
    let shares = pool.shares(100);
    assert_eq!(shares, [100, 0]);
    (0..60).for_each(|_| assert!(pool.take(b"").is_ok()));
    assert_eq!(pool.in_flight(), [59, 1]);
}

#[test]
fn an_endpoint_never_observed_is_tried_once_and_waited_for() {
    let mut pool = pool(Balance::PeakEwma, weighted(&[1, 1]));
    pool.now = Moment::from_nanos(1_000_000);
    pool.endpoints.list()[0].vitals.observe(Duration::from_millis(1), pool.now);
    let picked: Vec<_> = (0..10).map(|_| pool.take(b"").unwrap().0).collect();
    assert_eq!(picked, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_retry_goes_elsewhere_and_comes_back_only_when_all_were_tried() {
    for balance in ALL {
        let mut pool = pool(balance, numbered(3));
        let mut seen = Vec::new();
        for _ in 0..3 {
            let id = pool.take(b"key").unwrap();
            assert!(!seen.contains(&id), "{balance:?}");
            seen.push(id);
            pool.tried.add(id);
        }
        assert!(pool.take(b"key").is_ok(), "{balance:?}");
    }
}

#[test]
fn turns_go_on_over_republished_endpoints() {
    let first = pool(Balance::RoundRobin, numbered(3));
    let vitals = std::sync::Arc::new(gatehouse_core::vitals::UpstreamVitals::default());
    let mut order = Vec::new();
    for _ in 0..6 {
        let list = first.endpoints.list().to_vec();
        let endpoints =
            gatehouse_core::endpoints::Endpoints::new(Balance::RoundRobin, list, vitals.clone());
        let mut chance = Chance::seeded(1);
        let mut ask =
            Ask { now: Moment::START, chance: &mut chance, key: b"", tried: Tried::default() };
        order.push(endpoints.pick(&mut ask).unwrap().0);
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn where_crc_points_collide_a_key_still_finds_somebody() {
    let mut pool = pool(CRC_RING, vec![endpoint("same", 1), endpoint("same", 1)]);
    assert_eq!(pool.pick(b"key"), 1);
    pool.tried.add(EndpointId(1));
    assert_eq!(pool.pick(b"key"), 0);
}

//! Keys stay where they are while endpoints come and go.

use crate::pool::{BOUNDED_RING, CRC_RING, RING, endpoint, numbered, pool};
use gatehouse_core::endpoints::Endpoint;
use gatehouse_core::plan::{Balance, Ring};

const KEYS: usize = 20_000;

/// The endpoint of every key.
fn owners(balance: Balance, list: Vec<Endpoint>) -> Vec<String> {
    let mut pool = pool(balance, list);
    (0..KEYS).map(|at| pool.owner(&format!("key-{at}"))).collect()
}

/// The share of keys that moved although their endpoint is still there.
fn moved(before: &[String], after: &[String], gone: &str) -> f64 {
    let moved = before.iter().zip(after).filter(|(was, is)| was != is && *was != gone);
    moved.count() as f64 / before.len() as f64
}

#[test]
fn the_order_of_the_list_does_not_matter() {
    for balance in [RING, CRC_RING, Balance::Maglev] {
        let mut list = numbered(20);
        let before = owners(balance, list.clone());
        list.reverse();
        assert!(before == owners(balance, list), "{balance:?}");
    }
}

#[test]
fn only_the_keys_of_an_endpoint_that_leaves_a_ring_move() {
    for balance in [RING, BOUNDED_RING, CRC_RING] {
        for count in [2, 3, 10, 100] {
            let mut list = numbered(count);
            let before = owners(balance, list.clone());
            let gone = list.remove(count / 2);
            let after = owners(balance, list);
            assert_eq!(moved(&before, &after, &gone.text), 0.0, "{balance:?} {count}");
        }
    }
}

#[test]
fn few_other_keys_move_when_an_endpoint_leaves_maglev() {
    for (count, most) in [(2, 0.0), (10, 0.03), (100, 0.03), (700, 0.03)] {
        let mut list = numbered(count);
        let before = owners(Balance::Maglev, list.clone());
        let gone = list.remove(count / 2);
        let moved = moved(&before, &owners(Balance::Maglev, list), &gone.text);
        assert!(moved <= most, "{count}: {moved}");
    }
}

#[test]
fn a_weight_that_changes_moves_little_more_than_its_own_share() {
    for (balance, most) in [(RING, 0.04), (Balance::Maglev, 0.06)] {
        let list: Vec<_> = (0..20).map(|at| endpoint(&format!("e{at}"), 10)).collect();
        let before = owners(balance, list.clone());
        let mut heavier = list;
        heavier[3].weight = 15;
        let after = owners(balance, heavier);
        let moved = before.iter().zip(&after).filter(|(was, is)| was != is).count();
        assert!(moved as f64 / KEYS as f64 <= most, "{balance:?} {moved}");
    }
}

#[test]
fn requests_without_a_key_are_spread() {
    for balance in [RING, BOUNDED_RING, Balance::Maglev] {
        let mut pool = pool(balance, numbered(4));
        let mut shares = [0; 4];
        (0..4_000).for_each(|_| shares[pool.pick(b"")] += 1);
        assert!(shares.iter().all(|share| (750..1_250).contains(share)), "{balance:?} {shares:?}");
    }
}

#[test]
fn no_endpoint_has_more_in_flight_than_its_bound() {
    for factor in [1.0, 1.25, 2.0] {
        let balance = Balance::ConsistentHash(Ring::Default { load_bound: Some(factor) });
        let mut pool = pool(balance, numbered(7));
        for taken in 1..=700_u32 {
            assert!(pool.take(b"one key for all").is_ok());
            let most = (factor * f64::from(taken) / 7.0).ceil() as u32;
            assert!(pool.in_flight().iter().all(|own| *own <= most), "{factor} {taken}");
        }
        assert_eq!(pool.in_flight().iter().sum::<u32>(), 700);
    }
}

#[test]
fn a_load_below_the_bound_leaves_keys_where_they_are() {
    let free = owners(RING, numbered(10));
    assert!(free == owners(BOUNDED_RING, numbered(10)));
}

#[test]
fn a_bounded_load_goes_by_weight() {
    let list = vec![endpoint("light", 1), endpoint("heavy", 3)];
    let mut pool = pool(Balance::ConsistentHash(Ring::Default { load_bound: Some(1.0) }), list);
    (0..400).for_each(|_| assert!(pool.take(b"key").is_ok()));
    assert_eq!(pool.in_flight(), [100, 300]);
}

#[test]
fn a_count_that_is_not_kept_bounds_nothing() {
    let mut pool = pool(BOUNDED_RING, numbered(3));
    let first = pool.take(b"key").unwrap();
    for _ in 0..50 {
        let id = pool.take(b"key").unwrap();
        pool.endpoints.vitals().leave();
        assert!(pool.endpoints.list().len() > usize::from(id.0));
    }
    assert!(pool.endpoints.get(first).vitals.in_flight() > 0);
}

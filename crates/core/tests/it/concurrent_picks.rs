//! Picks on several threads while endpoints are published anew: the first generation's balancers
//! were unlocked against updates, ran out of their lists, and gave out empty addresses.

use crate::pool::{ALL, numbered};
use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{Ask, Endpoint, Endpoints, NoPick, Tried};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::Balance;
use gatehouse_core::vitals::UpstreamVitals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const WORKERS: u64 = 4;
const PICKS: usize = 3_000;
const CAP: u32 = 2;

type Published = Mutex<Arc<Endpoints>>;

/// Picks until it has picked so often. An empty list is one of those published, and it is said to
/// be empty.
fn work(published: &Published, seed: u64) {
    let mut chance = Chance::seeded(seed);
    let mut picked = 0;
    while picked < PICKS {
        let endpoints = Arc::clone(&published.lock().unwrap());
        let key = picked.to_le_bytes();
        let mut ask =
            Ask { now: Moment::START, chance: &mut chance, key: &key, tried: Tried::default() };
        match endpoints.pick(&mut ask) {
            Ok(id) => {
                let endpoint = endpoints.get(id);
                assert!(endpoint.vitals.in_flight() <= CAP);
                endpoint.vitals.leave();
                picked += 1;
            }
            Err(NoPick::Empty) => {
                assert!(endpoints.list().is_empty());
                std::thread::yield_now();
            }
            Err(NoPick::AtCap) => assert!(!endpoints.list().is_empty()),
        }
    }
}

/// Publishes lists of every size up to all endpoints until the workers are done.
fn publish(published: &Published, balance: Balance, all: &[Endpoint], done: &AtomicBool) {
    let vitals = Arc::new(UpstreamVitals::default());
    let mut chance = Chance::seeded(9);
    while !done.load(Ordering::Relaxed) {
        let count = chance.below(all.len() as u32 + 1) as usize;
        let start = chance.below((all.len() - count) as u32 + 1) as usize;
        let list = all[start..start + count].to_vec();
        let next = Arc::new(Endpoints::new(balance, list, Arc::clone(&vitals)));
        *published.lock().unwrap() = next;
    }
}

#[test]
fn picks_hold_while_endpoints_are_published_anew() {
    for balance in ALL {
        let all: Vec<Endpoint> = numbered(12)
            .into_iter()
            .map(|endpoint| Endpoint { connections_max: Some(CAP), ..endpoint })
            .collect();
        let first = Endpoints::new(balance, all.clone(), Arc::default());
        let published = Mutex::new(Arc::new(first));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| publish(&published, balance, &all, &done));
            let published = &published;
            let workers: Vec<_> =
                (0..WORKERS).map(|seed| scope.spawn(move || work(published, seed))).collect();
            let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            done.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|ended| ended.unwrap());
        });
        assert!(all.iter().all(|endpoint| endpoint.vitals.in_flight() == 0), "{balance:?}");
    }
}

#[test]
fn the_last_place_of_a_cap_is_taken_once_and_never_refused_to_all() {
    let endpoint = numbered(1).remove(0);
    let entered: usize = std::thread::scope(|scope| {
        let vitals = &endpoint.vitals;
        let enter = move || (0..1_000).filter(|_| vitals.try_enter(Some(1_500))).count();
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(enter)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(entered, 1_500);
    assert_eq!(endpoint.vitals.in_flight(), 1_500);
}

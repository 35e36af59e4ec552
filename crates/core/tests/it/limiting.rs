//! The limit on what is in flight, found out against a simulated upstream: so many servers, one
//! line before them, clients that come at random. Time is simulated, chance is seeded.

use gatehouse_core::chance::Chance;
use gatehouse_core::concurrency::{ConcurrencyRule, Limiter};
use gatehouse_core::latencies::Latencies;
use gatehouse_core::moment::Moment;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// How often the limit is judged.
const TICK: u64 = SECOND / 10;

/// What came of some time.
#[derive(Debug, Default)]
struct Outcome {
    offered: u64,
    served: u64,
    latencies: Vec<u64>,
    limits: Vec<u32>,
}

impl Outcome {
    fn latency(&mut self, percent: usize) -> u64 {
        self.latencies.sort_unstable();
        self.latencies[self.latencies.len() * percent / 100]
    }

    fn served_share(&self) -> f64 {
        self.served as f64 / self.offered as f64
    }
}

/// An upstream, those that ask it, and the limit between them.
struct World {
    rule: ConcurrencyRule,
    limiter: Limiter,
    latencies: Latencies,
    chance: Chance,
    /// Requests it works on at once, and how long on each.
    servers: usize,
    service: Service,
    /// Requests a second that want to be served.
    rate: u64,
    now: u64,
    next_arrival: u64,
    next_tick: u64,
    limit: u32,
    /// When each waiting request came, and when each that is worked on ends, and came.
    line: VecDeque<u64>,
    worked_on: BinaryHeap<Reverse<(u64, u64)>>,
}

/// How long one request is worked on, in nanoseconds.
#[derive(Clone, Copy, Debug)]
enum Service {
    Always(u64),
    OnAverage(u64),
}

impl World {
    fn new(servers: usize, service: Service, rate: u64) -> World {
        let (rule, latencies) = (ConcurrencyRule::default(), Latencies::default());
        let limiter = Limiter::new(&rule, latencies.snapshot(), Moment::START);
        World {
            limit: rule.start(),
            rule,
            limiter,
            latencies,
            chance: Chance::seeded(7),
            servers,
            service,
            rate,
            now: 0,
            next_arrival: 1,
            next_tick: TICK,
            line: VecDeque::new(),
            worked_on: BinaryHeap::new(),
        }
    }

    /// A length of this mean whose end does not depend on how long it has lasted.
    fn exponential(&mut self, mean: u64) -> u64 {
        let share = (self.chance.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        (-(1.0 - share).ln() * mean as f64) as u64
    }

    fn work(&mut self) {
        while self.worked_on.len() < self.servers {
            let Some(came) = self.line.pop_front() else { return };
            let service = match self.service {
                Service::Always(nanos) => nanos,
                Service::OnAverage(mean) => self.exponential(mean),
            };
            self.worked_on.push(Reverse((self.now + service, came)));
        }
    }

    fn in_flight(&self) -> u32 {
        (self.line.len() + self.worked_on.len()) as u32
    }

    fn runs(&mut self, seconds: u64) -> Outcome {
        let (mut outcome, end) = (Outcome::default(), self.now + seconds * SECOND);
        while self.now < end {
            let done = self.worked_on.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
            self.now = done.min(self.next_arrival).min(self.next_tick);
            if self.now == done {
                let Some(Reverse((_, came))) = self.worked_on.pop() else { continue };
                self.latencies.observe(Duration::from_nanos(self.now - came));
                outcome.latencies.push(self.now - came);
                outcome.served += 1;
            } else if self.now == self.next_arrival {
                self.next_arrival = self.now + self.exponential(SECOND / self.rate).max(1);
                outcome.offered += 1;
                if self.in_flight() < self.limit {
                    self.line.push_back(self.now);
                }
            } else {
                self.next_tick += TICK;
                let now = Moment::from_nanos(self.now);
                let (counts, in_flight) = (self.latencies.snapshot(), self.in_flight());
                self.limit = self.limiter.judge(&self.rule, &counts, in_flight, now);
                outcome.limits.push(self.limit);
            }
            self.work();
        }
        outcome
    }
}

const MILLI: u64 = 1_000_000;

#[test]
fn five_times_the_load_leaves_the_upstream_busy_and_quick() {
    // Where few are worked on at once, those that wait beside them are many.
    for (servers, service, capacity, longest) in [
        (20, Service::Always(10 * MILLI), 2_000, 2.5),
        (20, Service::OnAverage(10 * MILLI), 2_000, 2.5),
        (4, Service::OnAverage(5 * MILLI), 800, 5.0),
        (200, Service::Always(100 * MILLI), 2_000, 2.0),
    ] {
        let mut world = World::new(servers, service, capacity * 5);
        world.runs(10);
        let mut outcome = world.runs(45);
        let goodput = outcome.served as f64 / (45 * capacity) as f64;
        assert!(goodput > 0.9, "{servers}, {service:?}: {goodput} of what it can");
        let (Service::Always(mean) | Service::OnAverage(mean)) = service;
        let median = outcome.latency(50) as f64 / mean as f64;
        assert!(median < longest, "{servers}, {service:?}: {median} times as long");
        let most = *outcome.limits.iter().max().expect("limits");
        assert!((most as usize) < servers * 5, "{servers}, {service:?}: {most} in flight");
    }
}

#[test]
fn what_an_upstream_can_do_is_let_through() {
    for service in [Service::Always(10 * MILLI), Service::OnAverage(10 * MILLI)] {
        let mut world = World::new(40, service, 2_800);
        world.runs(10);
        let share = world.runs(45).served_share();
        assert!(share > 0.98, "{service:?}: {share} were served");
    }
}

#[test]
fn the_limit_follows_a_capacity_that_falls_and_comes_back() {
    let mut world = World::new(40, Service::OnAverage(10 * MILLI), 6_000);
    world.runs(20);
    for (servers, capacity) in [(10, 1_000), (40, 4_000), (8, 800)] {
        world.servers = servers;
        world.runs(5);
        let mut outcome = world.runs(40);
        let goodput = outcome.served as f64 / (40 * capacity) as f64;
        assert!(goodput > 0.9, "{servers}: {goodput} of what it can");
        assert!(outcome.latency(50) < 40 * MILLI, "{servers}: {} ns", outcome.latency(50));
    }
}

#[test]
fn an_upstream_that_is_slower_by_itself_is_not_held_back_for_long() {
    let mut world = World::new(200, Service::Always(10 * MILLI), 2_000);
    world.runs(20);
    world.service = Service::Always(60 * MILLI);
    world.runs(10);
    let share = world.runs(60).served_share();
    assert!(share > 0.97, "{share} were served");
}

#[test]
fn an_upstream_that_refuses_is_given_less_however_fast_it_is() {
    let (rule, latencies) = (ConcurrencyRule::default(), Latencies::default());
    let mut limiter = Limiter::new(&rule, latencies.snapshot(), Moment::START);
    let mut limits = Vec::new();
    for tick in 1..=20 {
        (0..40).for_each(|_| latencies.observe(Duration::from_millis(1)));
        (0..10).for_each(|_| latencies.count_refusal());
        let now = Moment::from_nanos(tick * TICK);
        limits.push(limiter.judge(&rule, &latencies.snapshot(), rule.start(), now));
    }
    // The first windows measure how quick it is.
    assert!(limits[2..].is_sorted_by(|one, next| one >= next), "{limits:?}");
    assert_eq!(limits.last(), Some(&rule.min));
}

proptest! {
    #[test]
    fn whatever_is_seen_the_limit_stays_within_its_bounds(
        seen in prop::collection::vec(
            (0_u64..100_000, 0_usize..40, 0_usize..40, 0_u32..500),
            1..80,
        ),
        min in 1_u32..50, more in 0_u32..200,
    ) {
        let rule = ConcurrencyRule { min, max: min + more, tolerance: 1.2 };
        let latencies = Latencies::default();
        let mut limiter = Limiter::new(&rule, latencies.snapshot(), Moment::START);
        for (tick, (micros, answers, refusals, in_flight)) in (1..).zip(seen) {
            (0..answers).for_each(|_| latencies.observe(Duration::from_micros(micros)));
            (0..refusals).for_each(|_| latencies.count_refusal());
            let now = Moment::from_nanos(tick * 5 * SECOND);
            let limit = limiter.judge(&rule, &latencies.snapshot(), in_flight, now);
            prop_assert!((min..=min + more).contains(&limit));
        }
    }
}

//! The data path in a simulated world: clients, origins, an operator and bad luck, over the
//! in-memory network and the paused clock. One seed decides everything, so that what went wrong
//! once goes wrong again.
//!
//! What holds in each world: a request has exactly one answer or a closed connection; no byte of a
//! body is lost, doubled or somebody else's; what may not be repeated is sent once; a part never
//! looks whole; counters, log, clients and origins agree; nothing outlives its exchange; and once
//! faults stop, everybody that was left out is taken in again by itself, and every request
//! succeeds.
//!
//! `GATEHOUSE_SEED=7` runs one world and shows all that happens in it. `GATEHOUSE_SEEDS=100000`
//! runs so many instead of a thousand, from `GATEHOUSE_SEED_FROM` on. `tests/simulate` is the
//! long run.

mod audit;
mod client;
mod control;
mod end;
mod ledger;
mod origin;
mod plans;
mod question;
mod world;

use crate::talk::pass;
use gatehouse_proxy::gate::memory::{run, spawn};
use gatehouse_rig::storm::Dice;
use ledger::Ledger;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use world::World;

/// Seeds of a run where nothing else is said.
const SEEDS: u64 = 1000;

/// Tests that share them: as many can run at once.
const SHARES: u64 = 4;

/// Lines of a trace that are shown of a world that went wrong.
const SHOWN_LINES: usize = 60;

/// Lives one world to its end; its book.
fn live(seed: u64) -> Ledger {
    run(async move {
        let mut dice = Dice::of(seed, 0);
        let world = World::new(seed, &mut dice);
        for index in 0..world.sites.len() {
            spawn(origin::origin(Rc::clone(&world), index));
        }
        pass(Duration::from_millis(1)).await;
        let clients = 1 + dice.below(6);
        send(&world, clients, 1, || 1 + dice.below(12)).await;
        world.clear_up();
        let mut all_well = usize::MAX;
        // Whoever was spared in the storm because others were ejected may be ejected for it once
        // they are back: each once at most.
        for _ in 0..=world.sites.len() {
            // The longest that anything may still take: an origin that stalls, an endpoint that is
            // ejected.
            world.settle(Duration::from_secs(30)).await;
            all_well = all_well.min(world.ledger.borrow().asked.len());
            // One that asks alone finds a place even where few are let pass.
            send(&world, 1, 100, || 16).await;
            world.tend();
            if world.left_out().is_none() {
                break;
            }
        }
        everybody_is_back(&world);
        send(&world, 2, 200, || 4).await;
        succeeded(&world, all_well);
        pass(Duration::from_secs(30)).await;
        audit::audit(&world);
        let mut ledger = std::mem::take(&mut *world.ledger.borrow_mut());
        timeless(&mut ledger.log);
        ledger
    })
}

/// Lets so many clients ask, numbered from `first` on, and waits for the last of them.
async fn send(world: &Rc<World>, clients: usize, first: u64, mut requests: impl FnMut() -> usize) {
    world.busy.set(clients);
    for number in (first..).take(clients) {
        spawn(client::client(Rc::clone(world), number, requests()));
    }
    spawn(world::change(Rc::clone(world)));
    let mut waited = 0;
    while world.busy.get() > 0 && waited < 100_000 {
        pass(Duration::from_millis(100)).await;
        waited += 1;
    }
    if world.busy.get() > 0 {
        world.ledger.borrow_mut().violate("clients wait for ever".to_owned());
    }
}

/// Once nothing goes wrong any more nobody is left out for long.
fn everybody_is_back(world: &World) {
    if let Some(left_out) = world.left_out() {
        let text = format!("somebody is left out though all is well: {left_out}");
        world.ledger.borrow_mut().violate(text);
    }
}

/// Once nothing goes wrong any more, nothing fails: from request `all_well` on.
fn succeeded(world: &World, all_well: usize) {
    let mut ledger = world.ledger.borrow_mut();
    for number in all_well..ledger.asked.len() {
        let asked = ledger.asked[number].clone();
        if !asked.crossed && (asked.status != Some(200) || !asked.whole) {
            ledger.violate(format!("r{number} failed when all was well: {asked:?}"));
        }
    }
}

/// Takes the time of day out of the log: it is no part of the world.
fn timeless(log: &mut String) {
    let without =
        |line: &str| line.split_once("\"id\"").map_or("", |(_, rest)| rest).to_owned() + "\n";
    *log = log.lines().map(without).collect();
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Lives the worlds of one share of the seeds.
#[track_caller]
fn share(index: u64) {
    if let Some(seed) = number("GATEHOUSE_SEED") {
        let ledger = live(seed);
        ledger.trace.iter().for_each(|line| println!("{line}"));
        println!("{}", ledger.log);
        assert!(ledger.violations.is_empty(), "{}", shown(seed, &ledger));
        return;
    }
    let (from, count) =
        (number("GATEHOUSE_SEED_FROM").unwrap_or(0), number("GATEHOUSE_SEEDS").unwrap_or(SEEDS));
    let mut events: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut requests = 0;
    for seed in (from..from + count).filter(|seed| seed % SHARES == index) {
        let ledger = live(seed);
        assert!(ledger.violations.is_empty(), "{}", shown(seed, &ledger));
        requests += ledger.asked.len();
        ledger.events.iter().for_each(|(event, times)| *events.entry(event).or_default() += times);
    }
    println!("{requests} requests; {events:?}");
}

fn shown(seed: u64, ledger: &Ledger) -> String {
    let first = ledger.trace.iter().position(|line| line.contains("VIOLATION")).unwrap_or(0);
    let from = first.saturating_sub(SHOWN_LINES);
    let around = ledger.trace[from..(first + 1).min(ledger.trace.len())].join("\n");
    let violations = ledger.violations.join("\n  ");
    format!("{around}\n\nGATEHOUSE_SEED={seed} shows all of it again:\n  {violations}")
}

#[test]
fn nothing_is_lost_in_the_first_quarter_of_the_worlds() {
    share(0);
}

#[test]
fn nothing_is_lost_in_the_second_quarter_of_the_worlds() {
    share(1);
}

#[test]
fn nothing_is_lost_in_the_third_quarter_of_the_worlds() {
    share(2);
}

#[test]
fn nothing_is_lost_in_the_last_quarter_of_the_worlds() {
    share(3);
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..20 {
        let (one, other) = (live(seed), live(seed));
        let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.trace.len(), other.trace.len(), "seed {seed}");
        assert_eq!(one.log, other.log, "seed {seed}");
    }
}

//! One run through everything that can befall an ensemble, under load: a server killed, the leader
//! killed, all away, sessions expired while they were, half of the nodes gone, fresh ones come.
//! With `GATEHOUSE_LONG` all are away for a minute; the figures are printed.

use super::ensemble::{Ensemble, Peer};
use super::{SOON, config, node, who};
use crate::floods::processor_seconds;
use crate::front::{BINARY, LIMIT};
use crate::load::rounds;
use gatehouse_rig::load::{End, Load, Question};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Some 200 requests a second until it is told to end; counts those that went wrong.
fn ask(to: SocketAddr, ends: &AtomicBool, asked: &AtomicU64, wrong: &AtomicU64) {
    while !ends.load(Ordering::Relaxed) {
        let question = Question::get("/");
        let load = Load { to, question, connections: 4, end: End::Requests(20) };
        let outcome = load.run().expect("it runs");
        asked.fetch_add(outcome.answered + outcome.errors.sum(), Ordering::Relaxed);
        wrong.fetch_add(outcome.errors.sum(), Ordering::Relaxed);
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// The load ends when this is dropped, also by a test that fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn names(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| format!("o{number}")).collect()
}

/// Waits until exactly these answer; says how long that took.
#[track_caller]
fn converge(what: &str, gateway: &Gateway, wanted: &BTreeSet<String>) {
    let since = Instant::now();
    wait_until(LIMIT, || &who(gateway) == wanted);
    let took = since.elapsed();
    eprintln!("{what}: followed after {} ms", took.as_millis());
    assert!(took < SOON, "{what}: {took:?}");
}

/// The share of a core that the gateway takes while `work` runs.
fn share(what: &str, gateway: &Gateway, work: impl FnOnce()) -> f64 {
    let (since, before) = (Instant::now(), processor_seconds(gateway));
    work();
    let used = processor_seconds(gateway) - before;
    let share = used / since.elapsed().as_secs_f64();
    eprintln!("{what}: {:.1} % of a core over {:?}", share * 100.0, since.elapsed());
    share
}

fn announce(peer: &mut Peer, origins: &[Origin]) {
    for origin in origins {
        peer.done(&["ephemeral", &node(origin), ""]);
    }
}

#[test]
fn whatever_befalls_the_ensemble_no_request_fails_and_each_change_is_followed() {
    let mut zookeeper = Ensemble::three();
    let origins: Vec<Origin> =
        (0..6).map(|at| Origin::start(&format!("o{at}")).expect("a port")).collect();
    let (mut stay, mut go) = (zookeeper.peer(&[]), zookeeper.peer(&[]));
    announce(&mut stay, &origins[..2]);
    announce(&mut go, &origins[2..4]);
    let gateway = Gateway::start(BINARY, &config(&zookeeper.hosts(), ""));
    wait_until(LIMIT, || who(&gateway) == names(0..4));
    let ends = AtomicBool::new(false);
    let (asked, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| ask(gateway.listener("web"), &ends, &asked, &wrong));
        let _ends = Ends(&ends);
        let usual = share("before", &gateway, || pass(Duration::from_secs(3)));
        zookeeper.kill_follower();
        announce(&mut stay, &origins[4..5]);
        converge("a server killed, a node come", &gateway, &names(0..5));
        zookeeper.start_all();
        zookeeper.kill_leader();
        announce(&mut stay, &origins[5..6]);
        converge("the leader killed, a node come", &gateway, &names(0..6));
        zookeeper.kill_all();
        // Who announced half of them dies meanwhile: its session will expire.
        go.kill();
        let seconds = rounds(6, 60);
        let away = share("all away", &gateway, || pass(Duration::from_secs(seconds)));
        assert!(away < usual + 0.1, "{away} of a core, and {usual} before");
        assert_eq!(who(&gateway), names(0..6), "the last good ones stay");
        zookeeper.start_all();
        let mut fresh = zookeeper.peer(&[]);
        let listed = |fresh: &mut Peer| fresh.done(&["children", "/s"]).split(' ').count();
        wait_until(LIMIT, || listed(&mut fresh) == 4);
        let left: BTreeSet<String> = [0, 1, 4, 5].map(|at| format!("o{at}")).into();
        converge("sessions expired, half of the nodes gone", &gateway, &left);
        let again = &origins[2..3];
        announce(&mut fresh, again);
        let left: BTreeSet<String> = [0, 1, 2, 4, 5].map(|at| format!("o{at}")).into();
        converge("a fresh node come", &gateway, &left);
    });
    let (asked, wrong) = (asked.into_inner(), wrong.into_inner());
    eprintln!("{asked} requests, {wrong} of them failed");
    assert!(asked > 500, "{asked}");
    assert_eq!(wrong, 0);
}

/// Lets time pass: an outage lasts.
fn pass(time: Duration) {
    let since = Instant::now();
    wait_until(time + LIMIT, || since.elapsed() >= time);
}

//! What becomes of tokens that etcd forgets, and of watches that it does not serve any more.

use super::endpoints::{await_who, config, key, origins, source};
use super::relay::Relay;
use super::{Etcd, Folder, free_port};
use crate::front::BINARY;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

const LOGIN: &str = "user = \"gate\"\npassword = \"hunter2\"\n";

/// Longer than a watch may say nothing, and then a question may take.
const SILENCE: Duration = Duration::from_secs(40);

/// How long ago the source was good for the last time.
fn age(gateway: &Gateway) -> u64 {
    let shown = source(gateway);
    let behind = shown.split("\"good_seconds_ago\", ").nth(1).expect("an age");
    let digits: String = behind
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or_else(|_| panic!("no age in {shown}"))
}

/// Waits until the source has been quiet for a while, and then until it was found to be good.
#[track_caller]
fn await_vouched(gateway: &Gateway) {
    wait_until(SILENCE, || age(gateway) >= 5);
    wait_until(SILENCE, || age(gateway) < 5);
}

#[test]
fn a_watch_that_ends_begins_anew_with_a_new_token() {
    let folder = Folder::new();
    let mut etcd = Etcd::start_at(&folder.0, free_port(), &["--auth-token-ttl=1"]);
    let relay = Relay::start(etcd.port(), |_| {});
    let [one, two] = origins();
    etcd.put(&key(one.address()), "");
    etcd.guard();
    let gateway = Gateway::start(BINARY, &config(&[&relay.url()], LOGIN));
    await_who(&gateway, &["o0"]);
    // A watch needs its token to begin alone. This one is forgotten by now, as after a restart.
    wait_until(SILENCE, || age(&gateway) >= 4);
    assert_eq!(relay.cut_watches(), 1);
    etcd.put(&key(two.address()), "");
    await_who(&gateway, &["o0", "o1"]);
    gateway.expect_error_line("answers again");
    let lines = gateway.errors();
    assert!(!lines.iter().any(|line| line.contains("may not do this")), "{lines:?}");
}

#[test]
fn a_token_whose_time_is_up_is_replaced_without_a_word() {
    let folder = Folder::new();
    let mut etcd = Etcd::start_at(&folder.0, free_port(), &["--auth-token-ttl=1"]);
    let [one] = origins();
    etcd.put(&key(one.address()), "");
    etcd.guard();
    let gateway = Gateway::start(BINARY, &config(&[&etcd.url], LOGIN));
    await_who(&gateway, &["o0"]);
    // It looks closer only after its token has expired.
    await_vouched(&gateway);
    let lines = gateway.errors();
    assert!(!lines.iter().any(|line| line.contains("etcd") && line.contains("stay")), "{lines:?}");
}

#[test]
fn a_watch_that_died_without_a_word_is_replaced_and_nothing_is_missed() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let relay = Relay::start(etcd.port(), |_| {});
    let [one, two, three, four] = origins();
    etcd.put(&key(one.address()), "");
    let gateway = Gateway::start(BINARY, &config(&[&relay.url()], ""));
    await_who(&gateway, &["o0"]);
    etcd.put(&key(two.address()), "");
    await_who(&gateway, &["o0", "o1"]);
    // An addition, and a removal that takes the newest revision with it.
    assert_eq!(relay.silence_watches(), 1);
    etcd.put(&key(three.address()), "");
    etcd.ask(&["del", &key(one.address())]);
    wait_until(SILENCE, || super::endpoints::who(&gateway) == names(&["o1", "o2"]));
    // The new watch tells at once.
    let since = Instant::now();
    etcd.put(&key(four.address()), "");
    await_who(&gateway, &["o1", "o2", "o3"]);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    let lines = gateway.errors();
    assert!(!lines.iter().any(|line| line.contains("good endpoints stay")), "{lines:?}");
}

fn names(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn only_a_removal_that_a_dead_watch_has_missed_is_found_too() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let relay = Relay::start(etcd.port(), |_| {});
    let [one, two] = origins();
    etcd.put(&key(one.address()), "");
    let gateway = Gateway::start(BINARY, &config(&[&relay.url()], ""));
    await_who(&gateway, &["o0"]);
    etcd.put(&key(two.address()), "");
    await_who(&gateway, &["o0", "o1"]);
    assert_eq!(relay.silence_watches(), 1);
    etcd.ask(&["del", &key(two.address())]);
    wait_until(SILENCE, || super::endpoints::who(&gateway) == names(&["o0"]));
}

#[test]
fn an_etcd_that_hangs_is_reported_and_what_it_says_later_is_followed() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let [one, two] = origins();
    etcd.put(&key(one.address()), "");
    let gateway = Gateway::start(BINARY, &config(&[&etcd.url], ""));
    await_who(&gateway, &["o0"]);
    // As long as it is there, it is asked now and then, and vouches for what it has said.
    await_vouched(&gateway);
    let process = i32::try_from(etcd.child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(process, Signal::STOP).expect("it runs");
    let reported = |line: &String| line.contains("no answer within") && line.contains("stay, 1");
    wait_until(SILENCE, || gateway.errors().iter().any(reported));
    await_who(&gateway, &["o0"]);
    kill_process(process, Signal::CONT).expect("it runs");
    etcd.put(&key(two.address()), "");
    await_who(&gateway, &["o0", "o1"]);
    gateway.expect_error_line("answers again");
}

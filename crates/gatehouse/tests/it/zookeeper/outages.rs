//! Outages of ZooKeeper are no events: defects 2 and 14 of the first generation.

use super::ensemble::Ensemble;
use super::{SOON, await_who, config, node, origins, status, who};
use crate::floods::processor_seconds;
use crate::front::{BINARY, DOORS, LIMIT, get, scrape};
use crate::tls::Authority;
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::wait_until;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

#[test]
fn a_killed_leader_and_an_ensemble_that_is_away_take_nobody_away_and_cost_nothing() {
    let mut zookeeper = Ensemble::three();
    let [one, two, three] = origins();
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["create", &node(&one), ""]);
    peer.done(&["create", &node(&two), ""]);
    drop(peer);
    let gateway = Gateway::start(BINARY, &config(&zookeeper.hosts(), ""));
    await_who(&gateway, &["o0", "o1"]);
    zookeeper.kill_leader();
    assert_eq!(who(&gateway).len(), 2);
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["create", &node(&three), ""]);
    await_who(&gateway, &["o0", "o1", "o2"]);
    drop(peer);
    zookeeper.kill_all();
    gateway.expect_error_line("the last good endpoints stay, 3");
    let (since, before) = (Instant::now(), processor_seconds(&gateway));
    let mut answered = 0;
    wait_until(LIMIT, || {
        assert_eq!(get(gateway.listener("web"), "/").status, 200);
        answered += 1;
        std::thread::park_timeout(Duration::from_millis(50));
        since.elapsed() > Duration::from_secs(4)
    });
    assert!(answered > 20, "{answered}");
    // Requests of this test included, a tenth of a core; a loop would take a whole one.
    let used = processor_seconds(&gateway) - before;
    assert!(used < since.elapsed().as_secs_f64() / 10.0, "{used} s in {:?}", since.elapsed());
    zookeeper.start_all();
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["delete", &node(&one)]);
    peer.done(&["delete", &node(&three)]);
    let since = Instant::now();
    await_who(&gateway, &["o1"]);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    gateway.expect_error_line("answers again");
}

#[test]
fn a_session_that_expires_takes_nobody_away_and_the_next_one_follows_changes() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let [one, two] = origins();
    peer.done(&["create", &node(&one), ""]);
    let more = "session-timeout = \"1s\"\n";
    let gateway = Gateway::start(BINARY, &config(&zookeeper.hosts(), more));
    await_who(&gateway, &["o0"]);
    for round in 1..=3 {
        wait_until(LIMIT, || zookeeper.sessions() == 2);
        // Stopped, it does not answer; the server lets its session go.
        gateway.signal(Signal::Stop);
        wait_until(LIMIT, || zookeeper.sessions() == 1);
        gateway.signal(Signal::Cont);
        let said = |lines: Vec<String>| {
            lines.iter().filter(|line| line.contains("has expired; another begins")).count()
        };
        wait_until(LIMIT, || {
            assert_eq!(get(gateway.listener("web"), "/").text().trim(), "o0");
            said(gateway.errors()) == round
        });
    }
    peer.done(&["create", &node(&two), ""]);
    await_who(&gateway, &["o0", "o1"]);
    peer.done(&["delete", &node(&one)]);
    await_who(&gateway, &["o1"]);
}

#[test]
fn however_many_upstreams_and_outages_there_are_one_connection_serves_all() {
    let mut zookeeper = Ensemble::one();
    let [one] = origins();
    zookeeper.peer(&[]).done(&["create", &node(&one), ""]);
    let mut text = format!("{DOORS}[log]\naccess = {{ format = \"off\" }}\n");
    for upstream in 0..40 {
        text += &format!(
            "[[routes]]\npath = \"/{upstream}/*\"\nupstream = \"u{upstream}\"\n\
             [upstreams.u{upstream}]\ndiscovery = {{ zookeeper = {{ servers = \"{}\", path = \
             \"/s\" }} }}\n",
            zookeeper.hosts()
        );
    }
    let gateway = Gateway::start(BINARY, &text);
    let all = || (0..40).all(|n| get(gateway.listener("web"), &format!("/{n}/")).status == 200);
    wait_until(LIMIT, all);
    assert_eq!(zookeeper.connections(), 1);
    for _ in 0..2 {
        zookeeper.kill_all();
        zookeeper.start_all();
        wait_until(LIMIT, || zookeeper.connections() == 1);
    }
    gateway.reconfigure(&text.replace("/39/", "/99/"));
    gateway.signal(Signal::Hup);
    gateway.expect_error_line("reloaded");
    wait_until(LIMIT, || get(gateway.listener("web"), "/99/").status == 200);
    assert_eq!(zookeeper.connections(), 1);
}

#[test]
fn a_start_while_zookeeper_is_away_begins_with_what_was_good_before() {
    let mut zookeeper = Ensemble::one();
    let [one, two, three] = origins();
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["create", &node(&one), ""]);
    peer.done(&["create", &node(&two), "{\"weight\": 2}"]);
    drop(peer);
    let folder = Authority::new();
    let text = config(&zookeeper.hosts(), "");
    let stored = text.replace(
        "min-healthy = ",
        &format!("storage = \"{}\"\nmin-healthy = ", folder.path("state/discovery")),
    );
    let file = folder.folder.join("state/discovery/users.endpoints");
    let mut gateway = Gateway::start(BINARY, &stored);
    await_who(&gateway, &["o0", "o1"]);
    wait_until(LIMIT, || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("count 2")));
    let mode = |path: &std::path::Path| path.metadata().expect("it").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().expect("a folder"))), (0o600, 0o700));
    assert!(status(&gateway, "discovery").contains("\"kept_from_seconds_ago\", Null"));
    gateway.terminate();
    zookeeper.kill_all();
    // By the key, and by the folder of the service manager.
    let by_manager =
        || Launch::new(BINARY, &text).variable("STATE_DIRECTORY", &folder.path("state")).start();
    for gateway in [Gateway::start(BINARY, &stored), by_manager()] {
        assert_eq!(get(gateway.listener("web"), "/").status, 200, "from the first request on");
        await_who(&gateway, &["o0", "o1"]);
        gateway.expect_error_line("those kept from before this start are used, 2");
        let shown = status(&gateway, "discovery");
        assert!(shown.contains("\"kept_from_seconds_ago\", Number("), "{shown}");
        assert!(shown.contains("\"good_seconds_ago\", Null"), "{shown}");
        assert_eq!(scrape(&gateway).sum("discovery_kept", &[]), 1);
    }
    // Without either nothing is known, and what is damaged is said and stops nothing.
    let unstored = Gateway::start(BINARY, &text);
    assert_eq!(get(unstored.listener("web"), "/").status, 503);
    let gateway = by_manager();
    let sound = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, &sound[..sound.len() - 20]).expect("it is written");
    let damaged = by_manager();
    damaged.expect_error_line(&format!("warn: {}: it is cut off", file.display()));
    assert_eq!(get(damaged.listener("web"), "/").status, 503);
    // Who comes first counts, however few that are.
    zookeeper.start_all();
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["create", &node(&three), ""]);
    peer.done(&["delete", &node(&one)]);
    peer.done(&["delete", &node(&two)]);
    await_who(&gateway, &["o2"]);
    await_who(&damaged, &["o2"]);
    let shown = status(&gateway, "discovery");
    assert!(shown.contains("\"kept_from_seconds_ago\", Null"), "{shown}");
    wait_until(LIMIT, || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("count 1")));
}

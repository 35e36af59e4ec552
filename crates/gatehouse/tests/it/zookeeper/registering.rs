//! Announcements: nodes that live as long as the gateway that made them.

use super::ensemble::Ensemble;
use super::status;
use crate::front::{BINARY, DOORS, LIMIT, scrape};
use crate::upgrade::Line;
use gatehouse_rig::process::{Gateway, Signal};
use gatehouse_rig::wait_until;
use std::time::{Duration, Instant};

const ADDRESS: &str = "10.0.0.7:8080";
const NODE: &str = "/services/gateways/10.0.0.7:8080";

/// A gateway that announces itself.
fn config(hosts: &str, more: &str, said: &str) -> String {
    format!(
        "{DOORS}[[routes]]\nrespond = {{ status = 204 }}\n[[register]]\naddress = \"{ADDRESS}\"\n\
         zookeeper = {{ servers = \"{hosts}\", path = \"/services/gateways\"{more} }}\n{said}"
    )
}

#[test]
fn a_gateway_is_announced_while_it_serves_and_taken_back_when_it_drains() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let said = "weight = 3\nzone = \"a\"\nmetadata = { version = \"1.2\" }\n";
    let text = config(&zookeeper.hosts(), "", said);
    let mut gateway = Gateway::start(BINARY, &text);
    gateway.expect_error_line(&format!("registered {NODE} at zookeeper {}", zookeeper.hosts()));
    let content = peer.done(&["get", NODE]);
    assert!(content.contains("\"weight\": 3") && content.contains("\"version\": \"1.2\""));
    assert_ne!(peer.owner(NODE).expect("a node"), "0x0", "it ends with the session");
    assert_eq!(scrape(&gateway).sum("registered", &[NODE]), 1);
    gateway.reconfigure(&text.replace("weight = 3", "weight = 5"));
    gateway.signal(Signal::Hup);
    wait_until(LIMIT, || peer.ask(&["get", NODE]).contains("\"weight\": 5"));
    assert!(gateway.terminate().success());
    assert_eq!(peer.done(&["stat", NODE]), "none", "at once, not when its session expires");
    assert_eq!(peer.done(&["children", "/services"]), "gateways", "its parents stay");
}

/// The second half of defect 2: the node of the process before stood in the way, was taken for
/// one's own, and vanished.
#[test]
fn a_gateway_that_is_killed_and_started_again_keeps_its_node() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let text = config(&zookeeper.hosts(), ", session-timeout = \"2s\"", "");
    let gateway = Gateway::start(BINARY, &text);
    wait_until(LIMIT, || peer.owner(NODE).is_some());
    let before = peer.owner(NODE).expect("a node");
    gateway.signal(Signal::Kill);
    drop(gateway);
    assert_eq!(peer.owner(NODE).as_ref(), Some(&before), "it outlives its maker");
    let gateway = Gateway::start(BINARY, &text);
    gateway.expect_error_line("registered");
    let after = peer.owner(NODE).expect("there all the time");
    assert_ne!(after, before);
    // The session before expires, and takes nothing with it.
    let since = Instant::now();
    wait_until(LIMIT, || {
        assert_eq!(peer.owner(NODE).as_ref(), Some(&after));
        since.elapsed() > Duration::from_secs(4)
    });
}

#[test]
fn a_session_that_expires_is_followed_by_another_that_registers_again() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let text = config(&zookeeper.hosts(), ", session-timeout = \"1s\"", "");
    let gateway = Gateway::start(BINARY, &text);
    wait_until(LIMIT, || peer.owner(NODE).is_some());
    let before = peer.owner(NODE);
    gateway.signal(Signal::Stop);
    wait_until(LIMIT, || peer.owner(NODE).is_none());
    gateway.signal(Signal::Cont);
    wait_until(LIMIT, || peer.owner(NODE).is_some());
    assert_ne!(peer.owner(NODE), before);
    // Somebody deletes it: it comes back too.
    peer.done(&["delete", NODE]);
    wait_until(LIMIT, || peer.owner(NODE).is_some());
}

#[test]
fn who_came_later_has_the_node_and_who_was_there_before_waits() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let text = config(&zookeeper.hosts(), "", "");
    let first = Gateway::start(BINARY, &text);
    first.expect_error_line("registered");
    let before = peer.owner(NODE).expect("a node");
    let mut second = Gateway::start(BINARY, &text);
    second.expect_error_line("registered");
    first.expect_error_line("another process has announced the same address since");
    assert!(status(&first, "register").contains("not registered"));
    let after = peer.owner(NODE).expect("a node");
    assert_ne!(after, before);
    assert!(second.terminate().success());
    wait_until(LIMIT, || peer.owner(NODE).is_some_and(|owner| owner == before));
}

#[test]
fn a_node_that_is_nobodys_session_is_left_alone_and_said() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["create", NODE, "by hand"]);
    let gateway = Gateway::start(BINARY, &config(&zookeeper.hosts(), "", ""));
    gateway.expect_error_line("a node that ends with no session stands there: delete it");
    assert_eq!(peer.done(&["get", NODE]), "by hand");
    peer.done(&["delete", NODE]);
    gateway.expect_error_line("registered");
}

#[test]
fn a_new_process_takes_the_node_over_without_a_gap() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let gateway = Gateway::start(BINARY, &config(&zookeeper.hosts(), "", ""));
    gateway.expect_error_line("registered");
    let before = peer.owner(NODE).expect("a node");
    let line = Line(gateway);
    line.0.signal(Signal::Usr2);
    wait_until(LIMIT, || peer.owner(NODE).expect("there all the time") != before);
    line.0.expect_error_line("has taken over");
    line.0.expect_error_line("is registered no more");
    assert!(peer.owner(NODE).is_some());
}

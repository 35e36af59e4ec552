//! Endpoints that are nodes of ZooKeeper, in the forms that they have there.

use super::ensemble::Ensemble;
use super::{SOON, await_who, config, config_of, node, origins, status};
use crate::front::{BINARY, LIMIT, get};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use std::time::Instant;

#[test]
fn endpoints_come_change_and_go_with_their_nodes_within_two_seconds() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let [one, two] = origins();
    peer.done(&["create", &node(&one), ""]);
    let gateway = Gateway::start(BINARY, &config(&zookeeper.hosts(), ""));
    assert_eq!(get(gateway.listener("web"), "/").text().trim(), "o0", "from the first request on");
    peer.done(&["ephemeral", &node(&two), "{\"weight\": 3, \"zone\": \"z1\"}"]);
    let since = Instant::now();
    await_who(&gateway, &["o0", "o1"]);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let share = || {
        let before = two.requests();
        (0..40).for_each(|_| drop(get(gateway.listener("web"), "/")));
        two.requests() - before
    };
    assert_eq!(share(), 30, "by its weight");
    assert!(status(&gateway, "discovery").contains("z1"));
    peer.done(&["set", &node(&two), "weight=1"]);
    let since = Instant::now();
    wait_until(LIMIT, || share() == 20);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    peer.done(&["delete", &node(&one)]);
    await_who(&gateway, &["o1"]);
}

#[test]
fn nodes_that_are_no_endpoints_are_named_and_the_rest_works() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let [one, two] = origins();
    peer.done(&["create", &node(&one), "weight=heavy"]);
    peer.done(&["create", "/s/nonsense", ""]);
    peer.done(&["create", "/s/10.0.0.1:80", "weight=0"]);
    peer.done(&["owned", "/s/10.0.0.2:80", "", "somebody", "else"]);
    let curators = format!(
        "{{\"name\":\"s\",\"id\":\"i\",\"address\":\"127.0.0.1\",\"port\":{}}}",
        two.address().port()
    );
    peer.done(&["create", "/s/4b0e5b45-2f5f", &curators]);
    peer.done(&["create", "/s/broken", "{\"address\":"]);
    let gateway = Gateway::start(BINARY, &config(&zookeeper.hosts(), ""));
    await_who(&gateway, &["o0", "o1"]);
    let source = format!("zookeeper {} /s: ", zookeeper.hosts());
    for said in [
        "/s/nonsense: \"nonsense\" is no address",
        "/s/broken: its content is not JSON",
        "weight \"heavy\" is no whole number",
        "/s/10.0.0.2:80: may not be touched by who we are",
    ] {
        gateway.expect_error_line(said);
        let lines = gateway.errors();
        let line = lines.iter().find(|line| line.contains(said)).expect("it was said");
        assert!(line.contains(&source), "{line}");
    }
    assert!(!status(&gateway, "discovery").contains("10.0.0.1"), "its weight is 0");
}

#[test]
fn the_first_generations_nodes_have_their_weights_beside_them() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let [one, two] = origins();
    for origin in [&one, &two] {
        peer.done(&["ephemeral", &format!("/gateway_servers_users/{}", origin.address()), ""]);
    }
    let path = "path = \"/gateway_servers_users\"\n";
    let gateway = Gateway::start(BINARY, &config_of(&zookeeper.hosts(), path));
    await_who(&gateway, &["o0", "o1"]);
    let share = || {
        let before = two.requests();
        (0..40).for_each(|_| drop(get(gateway.listener("web"), "/")));
        two.requests() - before
    };
    assert_eq!(share(), 20, "the same weight where nobody says any");
    // Whom it does not name has 50.
    let weights = format!("{}=150\n", two.address());
    peer.done(&["create", "/gateway_servers_config_users", &weights]);
    wait_until(LIMIT, || share() == 30);
    peer.done(&["set", "/gateway_servers_config_users", "{\"broken\": "]);
    gateway.expect_error_line("/gateway_servers_config_users: not JSON");
    assert_eq!(share(), 30, "the last good weights stay");
    let named = Gateway::start(
        BINARY,
        &config_of(&zookeeper.hosts(), &format!("{path}weights = \"/wieghts\"\n")),
    );
    named.expect_error_line("/wieghts: does not exist; all have weight 50");
    await_who(&named, &["o0", "o1"]);
    let lines = gateway.errors();
    assert!(!lines.iter().any(|line| line.contains("all have weight")), "{lines:?}");
}

#[test]
fn dubbos_providers_are_found_by_their_urls() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let [one] = origins();
    let url = format!(
        "/dubbo/com.example.Users/providers/tri%3A%2F%2F127.0.0.1%3A{}%2Fcom.example.Users\
         %3Fweight%3D200%26application%3Dusers",
        one.address().port()
    );
    peer.done(&["create", &url, ""]);
    let path = "path = \"/dubbo/com.example.Users/providers\"\n";
    let gateway = Gateway::start(BINARY, &config_of(&zookeeper.hosts(), path));
    await_who(&gateway, &["o0"]);
    let shown = status(&gateway, "discovery");
    let service = "(\"service\", Text(\"com.example.Users\"))";
    assert!(shown.contains(service) && shown.contains("Text(\"tri\")"), "{shown}");
}

#[test]
fn a_node_or_a_chroot_that_does_not_exist_is_said_and_may_come_later() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let [one] = origins();
    let hosts = format!("{}/app", zookeeper.hosts());
    let gateway = Gateway::start(BINARY, &config(&hosts, ""));
    gateway.expect_error_line("zookeeper");
    gateway.expect_error_line("/app /s: the chroot /app does not exist");
    assert_eq!(get(gateway.listener("web"), "/").status, 503);
    peer.done(&["create", "/app", ""]);
    gateway.expect_error_line("/s: does not exist");
    peer.done(&["create", &format!("/app{}", node(&one)), ""]);
    let since = Instant::now();
    await_who(&gateway, &["o0"]);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

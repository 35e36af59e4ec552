//! `gatehouse registry`, for people at a terminal.

use super::ensemble::Ensemble;
use crate::front::{BINARY, LIMIT};
use gatehouse_rig::process::Launch;
use gatehouse_rig::wait_until;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

#[track_caller]
fn registry(words: &[&str]) -> Output {
    let output = Command::new(BINARY).arg("registry").args(words).output();
    output.expect("it starts")
}

#[track_caller]
fn said(words: &[&str]) -> String {
    let output = registry(words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn refused(words: &[&str], code: i32, why: &str) {
    let output = registry(words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {errors}");
    assert!(errors.contains(why), "{words:?}: {errors}");
}

/// Defect 1: writing a node that was there already never came to an end.
#[test]
fn a_node_is_written_again_and_again_and_by_its_version() {
    let zookeeper = Ensemble::one();
    let url = format!("zk://{}/a/b/c", zookeeper.hosts());
    let since = Instant::now();
    assert_eq!(said(&["set", &url, "one"]), "created, version 0\n");
    for version in 1..=5 {
        let value = format!("value {version}");
        assert_eq!(said(&["set", &url, &value]), format!("changed, version {version}\n"));
        assert_eq!(said(&["get", &url]), value);
    }
    assert_eq!(said(&["set", &url, "value 5"]), "the same already, version 5\n");
    assert_eq!(said(&["set", &url, "six", "--version", "5"]), "changed, version 6\n");
    refused(&["set", &url, "seven", "--version", "5"], 1, "/a/b/c: it has version 6, not 5");
    assert_eq!(zookeeper.peer(&[]).done(&["get", "/a/b/c"]), "six");
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    assert_eq!(zookeeper.connections(), 0, "each session was closed");
}

#[test]
fn nodes_are_listed_with_what_is_known_of_them() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["create", "/s/10.0.0.2:80", "weight=3"]);
    peer.done(&["ephemeral", "/s/10.0.0.1:80", ""]);
    let url = format!("zk://{}/s", zookeeper.hosts());
    assert_eq!(said(&["ls", &url]), "10.0.0.1:80\n10.0.0.2:80\n");
    let long = said(&["ls", "-l", &url]);
    let lines: Vec<&str> = long.lines().collect();
    assert!(lines[0].starts_with("version 0  bytes 0  children 0  session 0x"), "{long}");
    assert_eq!(lines[1], "version 0  bytes 8  children 0  session -  10.0.0.2:80");
    refused(&["ls", &format!("{url}/none")], 1, "/s/none: does not exist");
    refused(&["get", "zk://127.0.0.1:1/a"], 3, "127.0.0.1:1: connection refused");
    refused(&["get", "http://127.0.0.1:1/a"], 2, "no zk:// URL");
}

#[test]
fn what_happens_to_a_node_is_told_while_it_happens() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["create", "/s/a", "1"]);
    let url = format!("zk://{}/s", zookeeper.hosts());
    let mut watching =
        Launch::new(BINARY, "").arguments(["registry", "watch", &url, "--lines", "5"]).spawn();
    watching.expect_output_line("/s version 0:");
    watching.expect_output_line("added a");
    peer.done(&["create", "/s/b", ""]);
    watching.expect_output_line("added b");
    peer.done(&["set", "/s/a", "two\nlines"]);
    watching.expect_output_line("/s/a version 1: two\\nlines");
    peer.done(&["delete", "/s/a"]);
    assert!(watching.wait(LIMIT).success());
    assert_eq!(watching.output().last().map(String::as_str), Some("removed a"));
}

#[test]
fn an_address_is_announced_until_the_command_is_told_to_end() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&[]);
    let url = format!("zk://{}/s", zookeeper.hosts());
    let words = ["registry", "register", &url, "10.0.0.1:80", "--weight", "3", "--zone", "a"];
    let mut announcing = Launch::new(BINARY, "").arguments(words).spawn();
    announcing.expect_error_line("registered /s/10.0.0.1:80");
    let content = peer.done(&["get", "/s/10.0.0.1:80"]);
    assert!(content.contains("\"weight\": 3") && content.contains("\"zone\": \"a\""), "{content}");
    assert!(announcing.terminate().success());
    wait_until(LIMIT, || peer.done(&["stat", "/s/10.0.0.1:80"]) == "none");
    refused(&["register", &url, "0.0.0.0:80"], 1, "is no address that anybody could reach");
}

//! Endpoints from a file: what changes there is followed, and what is wrong there changes nothing.

use crate::front::{BINARY, DOORS, LIMIT, ask_admin, get, post, scrape};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::wait_until;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

/// One route to one upstream whose endpoints stand in `backends.json`.
pub fn found(rest: &str) -> String {
    format!(
        "{DOORS}[[routes]]\nname = \"all\"\nupstream = \"api\"\n[upstreams.api]\n{rest}\n\
         discovery = {{ file = {{ path = \"backends.json\" }} }}\n"
    )
}

/// A list of these, as JSON.
pub fn list(endpoints: &[SocketAddr]) -> String {
    let each: Vec<String> = endpoints.iter().map(|each| format!("\"{each}\"")).collect();
    format!("[{}]", each.join(", "))
}

/// Puts a text in the place of the list, at once.
pub fn replace(gateway: &Gateway, text: &str) {
    let folder = gateway.folder();
    fs::write(folder.join("backends.json.new"), text).expect("written");
    fs::rename(folder.join("backends.json.new"), folder.join("backends.json")).expect("renamed");
}

/// The names of those who answer.
pub fn who(gateway: &Gateway) -> BTreeSet<String> {
    let web = gateway.listener("web");
    let ask = |_| {
        let answer = get(web, "/");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().trim().to_owned()
    };
    (0..8).map(ask).collect()
}

/// What `/status` shows of the only source.
#[track_caller]
pub fn shown(gateway: &Gateway) -> Json {
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    let all = status.list("discovery");
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

pub fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_list_that_is_replaced_is_followed() {
    let [a, b] = ["a", "b"].map(|name| Origin::start(name).expect("a port"));
    let launch = Launch::new(BINARY, &found("")).file("backends.json", list(&[a.address()]));
    let gateway = launch.start();
    assert_eq!(who(&gateway), names(&["a"]), "from the first request on");
    replace(&gateway, &list(&[a.address(), b.address()]));
    wait_until(LIMIT, || who(&gateway) == names(&["a", "b"]));
    gateway.expect_error_line(&format!("2 endpoints, 1 added ({})", b.address()));
    replace(&gateway, &list(&[b.address()]));
    wait_until(LIMIT, || who(&gateway) == names(&["b"]));
    assert_eq!(scrape(&gateway).sum("discovery_endpoints", &["upstream=\"api\""]), 1);
    assert_eq!(scrape(&gateway).sum("discovery_changes_total", &[]), 3);
}

#[test]
fn defect_2_a_list_that_is_wrong_gone_or_empty_takes_no_endpoint_away() {
    let [a, b] = ["a", "b"].map(|name| Origin::start(name).expect("a port"));
    let both = list(&[a.address(), b.address()]);
    let gateway = Launch::new(BINARY, &found("")).file("backends.json", &both).start();
    replace(&gateway, "[\n\"10.0.0.1\"\n]");
    gateway.expect_error_line("backends.json:2: \"10.0.0.1\" is no endpoint");
    assert_eq!(who(&gateway), names(&["a", "b"]));
    fs::remove_file(gateway.folder().join("backends.json")).expect("it is there");
    wait_until(LIMIT, || shown(&gateway).at("failing").text("message") == "no such file");
    assert_eq!(who(&gateway), names(&["a", "b"]));
    assert_eq!(scrape(&gateway).sum("discovery_failing", &[]), 1);
    replace(&gateway, "[]");
    gateway.expect_error_line("0 endpoints in place of 2 are held back");
    assert_eq!(who(&gateway), names(&["a", "b"]));
    assert_eq!(scrape(&gateway).sum("discovery_held_back", &[]), 1);
    replace(&gateway, &list(&[b.address()]));
    wait_until(LIMIT, || who(&gateway) == names(&["b"]));
    assert_eq!(scrape(&gateway).sum("discovery_held_back", &[]), 0);
}

#[test]
fn what_is_held_back_is_taken_when_an_operator_accepts_it() {
    let origin = Origin::start("a").expect("a port");
    let text = list(&[origin.address()]);
    let gateway = Launch::new(BINARY, &found("")).file("backends.json", &text).start();
    let accept = |upstream: &str| {
        let target = format!("/discovery/accept?upstream={upstream}");
        post(gateway.admin(), &target, "")
    };
    assert_eq!(accept("api").status, 409, "nothing is held back");
    assert_eq!(accept("other").status, 404);
    replace(&gateway, "[]");
    wait_until(LIMIT, || *shown(&gateway).at("held_back") != Json::Null);
    assert_eq!(get(gateway.listener("web"), "/").status, 200);
    let answer = accept("api");
    assert_eq!((answer.status, &*answer.text()), (200, "upstream api: 0 endpoints accepted\n"));
    wait_until(LIMIT, || get(gateway.listener("web"), "/").status == 503);
    replace(&gateway, &text);
    wait_until(LIMIT, || get(gateway.listener("web"), "/").status == 200);
}

#[test]
fn a_source_that_has_no_answer_stops_neither_a_start_nor_a_reload() {
    let origin = Origin::start("a").expect("a port");
    let gateway = Gateway::start(BINARY, &found(""));
    let answer = get(gateway.listener("web"), "/");
    assert_eq!(answer.status, 503);
    gateway.expect_error_line("backends.json: no such file; there are none yet");
    let reloaded = post(gateway.admin(), "/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    replace(&gateway, &list(&[origin.address()]));
    wait_until(LIMIT, || get(gateway.listener("web"), "/").status == 200);
}

#[test]
fn a_storage_that_cannot_be_used_is_said_and_stops_nothing() {
    let a = Origin::start("a").expect("a port");
    let text = found("").replace("discovery = {", "discovery = { storage = \"kept\",");
    let launch = || Launch::new(BINARY, &text).file("backends.json", list(&[a.address()]));
    // No folder can be made where a file is, and no file written where a folder is.
    let gateway = launch().file("kept", "").start();
    gateway.expect_error_line("kept/api.endpoints: not written: ");
    assert_eq!(who(&gateway), names(&["a"]));
    let launch = launch();
    fs::create_dir_all(launch.folder().join("kept/api.endpoints")).expect("a folder");
    let gateway = launch.start();
    gateway.expect_error_line("the endpoints of before are not known");
    gateway.expect_error_line("kept/api.endpoints: not written: ");
    assert_eq!(who(&gateway), names(&["a"]));
    // Once there is room, what is good is kept.
    fs::remove_dir(gateway.folder().join("kept/api.endpoints")).expect("it is empty");
    let b = Origin::start("b").expect("a port");
    replace(&gateway, &list(&[a.address(), b.address()]));
    let kept = || fs::read_to_string(gateway.folder().join("kept/api.endpoints"));
    wait_until(LIMIT, || kept().is_ok_and(|text| text.contains(&b.address().to_string())));
}

#[test]
fn a_reload_keeps_what_was_found_and_waits_for_what_is_new() {
    let [a, b] = ["a", "b"].map(|name| Origin::start(name).expect("a port"));
    let launch = Launch::new(BINARY, &found("")).file("backends.json", list(&[a.address()]));
    let gateway = launch.file("other.json", list(&[b.address()])).start();
    fs::remove_file(gateway.folder().join("backends.json")).expect("it is there");
    wait_until(LIMIT, || *shown(&gateway).at("failing") != Json::Null);
    let reload = |text: &str| {
        gateway.reconfigure(text);
        let reloaded = post(gateway.admin(), "/reload", "");
        assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    };
    reload(&found("slow-start = \"1s\""));
    assert_eq!(who(&gateway), names(&["a"]), "the same source");
    reload(&found("").replace("backends.json", "other.json"));
    assert_eq!(who(&gateway), names(&["b"]), "another source that answers");
    let status = || Json::read(&ask_admin(gateway.admin(), "/status").text());
    wait_until(LIMIT, || status().list("discovery").len() == 1);
    reload(&found("").replace("backends.json", "absent.json"));
    assert_eq!(who(&gateway), names(&["b"]), "another source that does not");
}

#[test]
fn what_a_source_says_of_an_endpoint_is_shown() {
    let origin = Origin::start("a").expect("a port");
    let address = origin.address();
    let text = format!(
        "[{{\"address\": \"{address}\", \"weight\": 7, \"zone\": \"eu-1\", \
         \"metadata\": {{\"version\": \"2\"}}}}]"
    );
    let gateway = Launch::new(BINARY, &found("")).file("backends.json", text).start();
    let shown = shown(&gateway);
    assert_eq!((shown.text("upstream"), shown.count("endpoints")), ("api", 1));
    assert!(shown.count("good_seconds_ago") < 60, "{shown:?}");
    let found = &shown.list("found")[0];
    assert_eq!((found.text("zone"), found.at("metadata").text("version")), ("eu-1", "2"));
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    assert_eq!(status.list("upstreams")[0].list("endpoints")[0].count("weight"), 7);
}

#[test]
fn a_found_endpoint_is_drained_by_its_address_and_stays_so_while_it_is_away() {
    let [a, b] = ["a", "b"].map(|name| Origin::start(name).expect("a port"));
    let both = list(&[a.address(), b.address()]);
    let gateway = Launch::new(BINARY, &found("")).file("backends.json", &both).start();
    let target = format!("/drain?upstream=api&endpoint={}", a.address());
    assert_eq!(post(gateway.admin(), &target, "").status, 200);
    assert_eq!(who(&gateway), names(&["b"]));
    replace(&gateway, &list(&[b.address()]));
    wait_until(LIMIT, || shown(&gateway).count("endpoints") == 1);
    assert_eq!(post(gateway.admin(), "/reload", "").status, 200);
    replace(&gateway, &both);
    wait_until(LIMIT, || shown(&gateway).count("endpoints") == 2);
    assert_eq!(who(&gateway), names(&["b"]));
}

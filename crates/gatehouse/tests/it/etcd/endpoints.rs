//! Endpoints that are keys of etcd.

use super::{Etcd, Folder, free_port};
use crate::front::{BINARY, DOORS, LIMIT, ask_admin, get, run};
use crate::json::Json;
use crate::tls::Authority;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A gateway whose endpoints are keys below `/s/`.
pub(super) fn config(servers: &[&str], more: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|url| format!("\"{url}\"")).collect();
    format!(
        "{DOORS}[log]\naccess = {{ format = \"off\" }}\n[[routes]]\nname = \"all\"\n\
         upstream = \"users\"\n[upstreams.users]\nretry = 0\n\
         [upstreams.users.discovery]\nmin-healthy = \"0%\"\n\
         [upstreams.users.discovery.etcd]\nservers = [{}]\nprefix = \"/s/\"\n{more}",
        servers.join(", ")
    )
}

pub(super) fn origins<const N: usize>() -> [Origin; N] {
    std::array::from_fn(|at| Origin::start(&format!("o{at}")).expect("a port"))
}

/// Who answers, asked more often than there are endpoints.
pub(super) fn who(gateway: &Gateway) -> BTreeSet<String> {
    let web = gateway.listener("web");
    (0..12).map(|_| get(web, "/").text().trim().to_owned()).collect()
}

#[track_caller]
pub(super) fn await_who(gateway: &Gateway, names: &[&str]) {
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    wait_until(LIMIT, || who(gateway) == wanted);
}

/// What `/status` says of the one source.
pub(super) fn source(gateway: &Gateway) -> String {
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    format!("{:?}", status.at("discovery"))
}

pub(super) fn key(address: SocketAddr) -> String {
    format!("/s/{address}")
}

#[test]
fn endpoints_come_and_go_with_their_keys_within_two_seconds() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let [one, two] = origins();
    etcd.put(&key(one.address()), "");
    let gateway = Gateway::start(BINARY, &config(&[&etcd.url], ""));
    assert_eq!(get(gateway.listener("web"), "/").text().trim(), "o0", "from the first request on");
    etcd.put(&key(two.address()), "{\"weight\": 3, \"zone\": \"z1\", \"metadata\": {\"v\": 2}}");
    let since = Instant::now();
    await_who(&gateway, &["o0", "o1"]);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    let before = two.requests();
    (0..40).for_each(|_| drop(get(gateway.listener("web"), "/")));
    assert_eq!(two.requests() - before, 30, "by its weight");
    let shown = source(&gateway);
    assert!(shown.contains("z1"), "{shown}");
    let since = Instant::now();
    etcd.ask(&["del", &key(one.address())]);
    await_who(&gateway, &["o1"]);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}

#[test]
fn a_key_that_is_no_endpoint_is_named_and_the_rest_works() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let [one, two] = origins();
    etcd.put(&key(one.address()), "");
    etcd.put("/s/by-value", &two.address().to_string());
    etcd.put("/s/nonsense", "");
    etcd.put("/s/10.0.0.1:80", "{\"weight\": 0}");
    etcd.put("/s/10.0.0.2:80", "{");
    etcd.put("/other/10.0.0.3:80", "");
    let gateway = Gateway::start(BINARY, &config(&[&etcd.url], ""));
    await_who(&gateway, &["o0", "o1"]);
    for said in [
        "/s/nonsense: \"nonsense\" is no endpoint",
        "/s/10.0.0.1:80: weight 0 is not from 1 to 65535",
        "/s/10.0.0.2:80: not JSON: ",
    ] {
        gateway.expect_error_line(said);
    }
    let shown = source(&gateway);
    assert!(shown.contains("/s/nonsense") && !shown.contains("10.0.0.3"), "{shown}");
}

#[test]
fn a_killed_etcd_takes_nobody_away_and_tells_of_changes_once_it_is_back() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let [one, two] = origins();
    etcd.put(&key(one.address()), "");
    let gateway = Gateway::start(BINARY, &config(&[&etcd.url], ""));
    await_who(&gateway, &["o0"]);
    let (port, url) = (etcd.port(), etcd.url.clone());
    etcd.kill();
    gateway.expect_error_line(&format!("etcd {url} /s/: {url}: "));
    gateway.expect_error_line("the last good endpoints stay, 1");
    await_who(&gateway, &["o0"]);
    wait_until(LIMIT, || source(&gateway).contains("connection refused"));
    let etcd = Etcd::start_at(&folder.0, port, &[]);
    gateway.expect_error_line("answers again");
    etcd.put(&key(two.address()), "");
    await_who(&gateway, &["o0", "o1"]);
}

#[test]
fn what_was_compacted_while_nobody_could_be_asked_is_read_anew() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let [one, two] = origins();
    etcd.put(&key(one.address()), "");
    let gateway = Gateway::start(BINARY, &config(&[&etcd.url], ""));
    await_who(&gateway, &["o0"]);
    let port = etcd.port();
    etcd.kill();
    // Behind its back: at another port everything changes, and how is forgotten.
    let elsewhere = Etcd::start(&folder.0);
    elsewhere.put(&key(two.address()), "");
    elsewhere.ask(&["del", &key(one.address())]);
    elsewhere.put("/other", "");
    elsewhere.compact();
    elsewhere.kill();
    let _etcd = Etcd::start_at(&folder.0, port, &[]);
    // Long before a watch that says nothing would be asked about.
    let since = Instant::now();
    await_who(&gateway, &["o1"]);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    let lines = gateway.errors();
    assert!(!lines.iter().any(|line| line.contains("compact")), "no failure: {lines:?}");
}

#[test]
fn another_server_is_asked_where_one_is_not_there() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let [one] = origins();
    etcd.put(&key(one.address()), "");
    let dead = format!("http://127.0.0.1:{}", free_port());
    for _ in 0..4 {
        let gateway = Gateway::start(BINARY, &config(&[&dead, &etcd.url, &dead], ""));
        await_who(&gateway, &["o0"]);
        assert!(!gateway.errors().iter().any(|line| line.contains("refused")));
    }
}

#[test]
fn a_user_is_known_by_his_password_and_whoever_is_not_is_told_what_to_do() {
    let folder = Folder::new();
    let mut etcd = Etcd::start(&folder.0);
    let [one] = origins();
    etcd.put(&key(one.address()), "");
    etcd.guard();
    let of = |user: &str, password: &str| {
        config(&[&etcd.url], &format!("user = \"{user}\"\npassword = \"{password}\"\n"))
    };
    let gateway = Gateway::start(BINARY, &of("gate", "hunter2"));
    await_who(&gateway, &["o0"]);
    for (text, said) in [
        (of("gate", "wrong"), "user gate: etcdserver: authentication failed"),
        (of("stranger", "hunter3"), "user stranger may not do this with /s/: "),
        (config(&[&etcd.url], ""), "it asks who this is; set user and password"),
    ] {
        let refused = Gateway::start(BINARY, &text);
        refused.expect_error_line(said);
        assert_eq!(get(refused.listener("web"), "/").status, 503);
        let all = refused.errors().join("\n") + &source(&refused);
        assert!(!all.contains("hunter") && !all.contains("wrong"), "{all}");
    }
}

#[test]
fn a_prefix_that_nobody_has_is_named() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let gateway = Gateway::start(BINARY, &config(&[&etcd.url], ""));
    gateway.expect_error_line("/s/: no key begins like this");
    let [one] = origins();
    etcd.put(&key(one.address()), "");
    await_who(&gateway, &["o0"]);
}

#[test]
fn under_tls_both_sides_have_to_be_who_they_say() {
    let authority = Authority::new();
    authority.sign("etcd", &["etcd.internal", "127.0.0.1"]).sign("gateway", &["gateway"]);
    let folder = &authority.folder;
    let flags = [
        format!("--cert-file={}", authority.path("etcd.pem")),
        format!("--key-file={}", authority.path("etcd.key")),
        format!("--trusted-ca-file={}", authority.path("ca.pem")),
        "--client-cert-auth".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let etcd = Etcd::start_at(folder, free_port(), &flags);
    let [one] = origins();
    etcd.put(&key(one.address()), "");
    let roots = authority.path("ca.pem");
    let own = format!(
        "cert = \"{}\", key = \"{}\"",
        authority.path("gateway.pem"),
        authority.path("gateway.key")
    );
    let tls =
        |more: &str| config(&[&etcd.url], &format!("tls = {{ roots = \"{roots}\"{more} }}\n"));
    let good = tls(&format!(", name = \"etcd.internal\", {own}"));
    await_who(&Gateway::start(BINARY, &good), &["o0"]);
    for (text, said) in [
        (tls(&format!(", name = \"other.internal\", {own}")), "tls handshake: "),
        (config(&[&etcd.url], &format!("tls = {{ {own} }}\n")), "tls handshake: "),
    ] {
        let refused = Gateway::start(BINARY, &text);
        refused.expect_error_line(said);
        assert_eq!(get(refused.listener("web"), "/").status, 503);
    }
    let unshown = Gateway::start(BINARY, &tls(""));
    unshown.expect_error_line("there are none yet");
}

#[test]
fn what_is_wrong_in_the_configuration_is_said_without_its_secrets() {
    let folder = Folder::new();
    let check = |etcd: &str| {
        let text = format!(
            "[listeners.web]\nbind = \":0\"\n[[routes]]\nupstream = \"users\"\n\
             [upstreams.users]\ndiscovery = {{ etcd = {{ {etcd} }} }}\n"
        );
        std::fs::write(folder.0.join("gatehouse.toml"), text).expect("written");
        let output = run(&["check"], &folder.0);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said + &String::from_utf8_lossy(&output.stderr)
    };
    let sound = "servers = \"http://127.0.0.1:2379\", prefix = \"/s/\"";
    for (text, said) in [
        ("prefix = \"/s/\"", "servers"),
        ("servers = [], prefix = \"/s/\"", "no server"),
        ("servers = \"127.0.0.1:2379\", prefix = \"/s/\"", "a server is written as a URL"),
        ("servers = \"http://a:hunter2@b:1\", prefix = \"/s/\"", "carries no user and password"),
        (&format!("{sound}, user = \"gate\""), "`user` without `password`"),
        (&format!("{sound}, password = \"hunter2\""), "`password` without `user`"),
        (&format!("{sound}, user = \"gate\", password = \"hunter2\", prefxi = 1"), "prefxi"),
        (&format!("{sound}, user = \"gate\", password = \"hunter2\" x"), "not TOML"),
        (&format!("{sound}, tls = {{ roots = \"ca.pem\" }}"), "no server begins with https://"),
        ("servers = \"http://127.0.0.1:2379\", prefix = \"\"", "no prefix"),
    ] {
        let all = check(text);
        assert!(all.contains(said), "{text}: {all}");
        assert!(!all.contains("hunter2"), "{text}: {all}");
    }
    assert!(!check(sound).contains("error"), "{}", check(sound));
}

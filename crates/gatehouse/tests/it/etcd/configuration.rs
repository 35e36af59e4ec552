//! A configuration that stands in etcd: `run -c etcd://…`.

use super::relay::Relay;
use super::{Etcd, Folder, free_port};
use crate::front::{BINARY, DOORS, LIMIT, ask_admin, ended, get, run, scrape};
use crate::tls::Authority;
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::wait_until;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const KEY: &str = "/gateway/config";

fn says(body: &str) -> String {
    format!("{DOORS}[[routes]]\nname = \"all\"\nrespond = {{ body = \"{body}\" }}\n")
}

fn url(etcd: &Etcd) -> String {
    etcd.url.replace("http://", "etcd://") + KEY
}

fn launch(url: &str) -> Launch {
    Launch::new(BINARY, "").arguments(["run", "-c", url])
}

#[track_caller]
fn await_answer(gateway: &Gateway, body: &str) {
    wait_until(LIMIT, || get(gateway.listener("web"), "/").text() == body);
}

#[test]
fn a_configuration_in_etcd_is_followed_and_a_wrong_one_changes_nothing() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    etcd.put(KEY, &says("one"));
    let gateway = launch(&url(&etcd)).start();
    await_answer(&gateway, "one");
    etcd.put(KEY, &says("two"));
    await_answer(&gateway, "two");
    gateway.expect_error_line(&format!("reloaded {}, generation 2", url(&etcd)));
    etcd.put(KEY, "[listeners.web\n");
    gateway.expect_error_line("error: the reload failed and has changed nothing:");
    gateway.expect_error_line(&format!("{}:1:", url(&etcd)));
    etcd.ask(&["del", KEY]);
    gateway.expect_error_line("there is no such key");
    assert_eq!(get(gateway.listener("web"), "/").text(), "two");
    etcd.put(KEY, &says("three"));
    await_answer(&gateway, "three");
    assert_eq!(scrape(&gateway).sum("config_reload_failures_total", &[]), 2, "each tried once");
    let status = ask_admin(gateway.admin(), "/status").text();
    assert!(status.contains(&url(&etcd)) && status.contains("\"cause\": \"registry\""), "{status}");
}

#[test]
fn an_etcd_that_is_away_changes_nothing_and_is_followed_once_it_is_back() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    etcd.put(KEY, &says("one"));
    let gateway = launch(&url(&etcd)).start();
    let (port, url) = (etcd.port(), url(&etcd));
    etcd.kill();
    gateway.expect_error_line(&format!("warn: {url}: "));
    gateway.expect_error_line("the configuration in force stays");
    gateway.signal(Signal::Hup);
    gateway.expect_error_line("generation 2");
    assert_eq!(get(gateway.listener("web"), "/").text(), "one");
    let etcd = Etcd::start_at(&folder.0, port, &[]);
    gateway.expect_error_line("answers again");
    etcd.put(KEY, &says("two"));
    await_answer(&gateway, "two");
}

#[test]
fn a_start_while_etcd_is_away_takes_the_last_good_configuration() {
    let folder = Folder::new();
    let state = folder.0.join("state").to_str().expect("a path").to_owned();
    let launch = |url: &str| launch(url).variable("STATE_DIRECTORY", &state);
    let etcd = Etcd::start(&folder.0);
    etcd.put(KEY, &says("one"));
    let (port, url) = (etcd.port(), url(&etcd));
    let gateway = launch(&url).start();
    etcd.put(KEY, &says("two"));
    await_answer(&gateway, "two");
    etcd.put(KEY, "[listeners.web\n");
    gateway.expect_error_line("error: the reload failed and has changed nothing:");
    drop(gateway);
    etcd.kill();
    let gateway = launch(&url).start();
    gateway.expect_error_line(&format!("warn: {url}: "));
    assert_eq!(get(gateway.listener("web"), "/").text(), "two");
    let (code, said) = ended(launch(&(url.clone() + "/other")).spawn());
    assert_eq!(code, Some(3), "of another key: {said}");
    let etcd = Etcd::start_at(&folder.0, port, &[]);
    etcd.put(KEY, &says("three"));
    await_answer(&gateway, "three");
    drop(gateway);
    etcd.ask(&["del", KEY]);
    let gateway = launch(&url).start();
    gateway.expect_error_line("there is no such key; the last good configuration is used");
    assert_eq!(get(gateway.listener("web"), "/").text(), "three");
}

#[test]
fn a_start_without_a_configuration_says_why_and_ends() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let nobody = format!("etcd://127.0.0.1:{}{KEY}", free_port());
    for (url, code, said) in [
        (nobody.as_str(), 3, "connection refused"),
        (&url(&etcd), 3, "there is no such key"),
        ("etcd://127.0.0.1:2379", 3, "no key: write etcd://HOST:2379/KEY"),
    ] {
        let (ended_with, all) = ended(launch(url).spawn());
        assert_eq!(ended_with, Some(code), "{all}");
        assert!(all.contains(said) && all.contains(url), "{all}");
    }
    etcd.put(KEY, "[listeners.web]\nbnid = \":80\"\n");
    let (ended_with, all) = ended(launch(&url(&etcd)).spawn());
    assert_eq!(ended_with, Some(1), "{all}");
    assert!(all.contains("bnid"), "{all}");
}

#[test]
fn other_commands_take_its_url_too_and_a_user_is_named_in_the_environment() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    etcd.put(KEY, &says("one"));
    let output = run(&["check", "-c", &url(&etcd)], &folder.0);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for words in [
        &["user", "add", "root:hunter2"][..],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        etcd.ask(words);
    }
    let (code, all) = ended(launch(&url(&etcd)).spawn());
    assert_eq!(code, Some(3), "{all}");
    assert!(all.contains("it asks who this is"), "{all}");
    let launch = launch(&url(&etcd)).variable("GATEHOUSE_ETCD_USER", "root");
    await_answer(&launch.variable("GATEHOUSE_ETCD_PASSWORD", "hunter2").start(), "one");
}

/// What became of pushing a file that says this.
fn push(folder: &Path, body: &str, to: &[&str]) -> (Option<i32>, String) {
    std::fs::write(folder.join("pushed.toml"), says(body)).expect("written");
    let output = run(&[&["push", "pushed.toml"], to].concat(), folder);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
}

/// The version that was pushed.
#[track_caller]
fn pushed((code, said): (Option<i32>, String)) -> String {
    assert_eq!(code, Some(0), "{said}");
    said.rsplit(" version ").next().expect("a version").trim().to_owned()
}

#[test]
fn a_push_takes_the_place_of_the_version_that_is_expected_and_of_no_other() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    let to = url(&etcd);
    let stands = || etcd.ask(&["get", "--print-value-only", KEY]);
    let first = pushed(push(&folder.0, "one", &[&to]));
    let gateway = launch(&to).start();
    await_answer(&gateway, "one");
    let second = pushed(push(&folder.0, "two", &[&to, "--version", &first]));
    assert_ne!(first, second);
    await_answer(&gateway, "two");
    let (code, said) = push(&folder.0, "three", &[&to, "--version", &first]);
    let why = format!("version {first} does not stand there any more: {second} does");
    assert!(code == Some(1) && said.contains(&why) && said.contains(&to), "{said}");
    let (code, said) = push(&folder.0, "three", &[&to, "--version", "0"]);
    assert!(code == Some(1) && said.contains("version 0 does not stand there"), "{said}");
    assert!(stands().contains("two"), "{}", stands());
    pushed(push(&folder.0, "three", &[&to]));
    await_answer(&gateway, "three");
    // What is no configuration at all can be replaced too, and a wrong one is not pushed.
    let garbage = etcd.tool(&["put", KEY]).arg(OsStr::from_bytes(b"\xff")).output();
    assert!(garbage.is_ok_and(|output| output.status.success()));
    pushed(push(&folder.0, "four", &[&to]));
    await_answer(&gateway, "four");
    std::fs::write(folder.0.join("wrong.toml"), "[listeners.web]\nbnid = 1\n").expect("written");
    let refused = run(&["push", "wrong.toml", &to], &folder.0);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stands().contains("four"), "{}", stands());
    let (code, said) = push(&folder.0, "five", &[&format!("etcd://127.0.0.1:{}/k", free_port())]);
    assert!(code == Some(3) && said.contains("connection refused"), "{said}");
}

#[test]
fn what_somebody_else_writes_while_a_push_is_under_way_stays() {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder.0);
    pushed(push(&folder.0, "one", &[&url(&etcd)]));
    let (endpoint, count) = (format!("--endpoints={}", etcd.url), AtomicU32::new(0));
    let relay = Relay::start(etcd.port(), move |question| {
        // It has been read by now, and is not written yet.
        if question.contains("/v3/kv/txn") && count.fetch_add(1, Ordering::Relaxed) == 0 {
            let mut tool = Command::new("etcdctl");
            tool.env("ETCDCTL_API", "3").args([&endpoint, "put", KEY, "theirs"]);
            assert!(tool.output().is_ok_and(|output| output.status.success()));
        }
    });
    let to = relay.url().replace("http://", "etcd://") + KEY;
    let (code, said) = push(&folder.0, "mine", &[&to]);
    let why = "does not stand there any more";
    assert!(code == Some(1) && said.contains(why) && said.contains("push again"), "{said}");
    assert_eq!(etcd.ask(&["get", "--print-value-only", KEY]).trim(), "theirs");
    pushed(push(&folder.0, "mine", &[&to]));
}

#[test]
fn an_etcd_that_wants_a_certificate_is_shown_the_one_in_the_environment() {
    let authority = Authority::new();
    authority.sign("etcd", &["127.0.0.1"]).sign("gateway", &["gateway"]);
    let path = |file: &str| authority.path(file);
    let flags = [
        format!("--cert-file={}", path("etcd.pem")),
        format!("--key-file={}", path("etcd.key")),
        format!("--trusted-ca-file={}", path("ca.pem")),
        "--client-cert-auth".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let etcd = Etcd::start_at(&authority.folder, free_port(), &flags);
    let to = etcd.url.replace("https://", "etcds://") + KEY;
    std::fs::write(authority.folder.join("one.toml"), says("one")).expect("written");
    let roots = ("GATEHOUSE_ETCD_ROOTS", path("ca.pem"));
    let own =
        [("GATEHOUSE_ETCD_CERT", path("gateway.pem")), ("GATEHOUSE_ETCD_KEY", path("gateway.key"))];
    let mut push = Command::new(BINARY);
    push.current_dir(&authority.folder).args(["push", "one.toml", &to]);
    let pushed = push.env(roots.0, &roots.1).envs(own.clone()).output().expect("it starts");
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let trusting = || launch(&to).variable(roots.0, &roots.1);
    let shown = |launch: Launch| {
        own.iter().fold(launch, |launch, (name, value)| launch.variable(name, value))
    };
    let gateway = shown(trusting()).start();
    await_answer(&gateway, "one");
    etcd.put(KEY, &says("two"));
    await_answer(&gateway, "two");
    for (launch, why) in [(trusting(), ""), (shown(launch(&to)), "its issuer is not trusted")] {
        let (code, all) = ended(launch.spawn());
        assert_eq!(code, Some(3), "{all}");
        assert!(all.contains(&to) && all.contains(why), "{all}");
    }
    let half = trusting().variable(own[0].0, &own[0].1);
    let (code, all) = ended(half.spawn());
    assert!(code == Some(3) && all.contains("GATEHOUSE_ETCD_KEY"), "{all}");
}

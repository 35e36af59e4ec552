//! A configuration that stands in etcd: `run -c etcd://…`.

use super::{Etcd, Folder, free_port};
use crate::front::{BINARY, DOORS, LIMIT, ask_admin, ended, get, run, scrape};
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::wait_until;

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

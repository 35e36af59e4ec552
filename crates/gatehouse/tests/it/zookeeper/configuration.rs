//! A configuration that stands in ZooKeeper: `run -c zk://…` and `push`.

use super::ensemble::Ensemble;
use crate::front::{BINARY, DOORS, LIMIT, ended, get, run, scrape};
use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::wait_until;

const NODE: &str = "/gatehouse/config";

fn says(body: &str) -> String {
    format!("{DOORS}[[routes]]\nname = \"all\"\nrespond = {{ body = \"{body}\" }}\n")
}

fn launch(url: &str) -> Launch {
    Launch::new(BINARY, "").arguments(["run", "-c", url])
}

#[track_caller]
fn await_answer(gateway: &Gateway, body: &str) {
    wait_until(LIMIT, || get(gateway.listener("web"), "/").text() == body);
}

#[test]
fn a_configuration_is_pushed_followed_and_changes_nothing_where_it_is_wrong() {
    let mut zookeeper = Ensemble::one();
    let url = format!("zk://{}{NODE}", zookeeper.hosts());
    let files = launch(&url).file("one.toml", says("one")).file("two.toml", says("two"));
    let files = files.file("wrong.toml", "[listeners.web]\nbnid = \":80\"\n");
    let folder = files.folder().to_owned();
    let push = |file: &str, more: &[&str]| {
        let output = run(&[&["push", file, &url], more].concat(), &folder);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
    };
    let (code, said) = push("one.toml", &[]);
    assert_eq!((code, said), (Some(0), format!("pushed one.toml to {url}: version 0\n")));
    let checked = run(&["check", "-c", &url], &folder);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let gateway = files.start();
    await_answer(&gateway, "one");
    assert_eq!(push("two.toml", &["--version", "0"]).0, Some(0));
    await_answer(&gateway, "two");
    gateway.expect_error_line(&format!("reloaded {url}, generation 2"));
    let (code, said) = push("one.toml", &["--version", "0"]);
    assert!(code == Some(1) && said.contains("it has version 1, not 0"), "{said}");
    let (code, said) = push("wrong.toml", &[]);
    assert!(code == Some(1) && said.contains("bnid"), "{said}");
    // Past the check, by other means.
    let mut peer = zookeeper.peer(&[]);
    peer.done(&["set", NODE, "[listeners.web\n"]);
    gateway.expect_error_line("error: the reload failed and has changed nothing:");
    peer.done(&["delete", NODE]);
    gateway.expect_error_line("/gatehouse/config: does not exist");
    drop(peer);
    zookeeper.kill_all();
    gateway.expect_error_line("the configuration in force stays");
    assert_eq!(get(gateway.listener("web"), "/").text(), "two");
    zookeeper.start_all();
    assert_eq!(push("one.toml", &[]).0, Some(0));
    await_answer(&gateway, "one");
    assert_eq!(scrape(&gateway).sum("config_reload_failures_total", &[]), 2, "each tried once");
    wait_until(LIMIT, || zookeeper.connections() == 1);
}

#[test]
fn a_start_without_a_configuration_says_why_and_ends() {
    let zookeeper = Ensemble::one();
    for (url, said) in [
        ("zk://127.0.0.1:1/config".to_owned(), "connection refused"),
        (format!("zk://{}/none", zookeeper.hosts()), "/none: does not exist"),
        ("zk://ops:sesame@127.0.0.1:1/a".to_owned(), "carries no user and password"),
    ] {
        let (code, all) = ended(launch(&url).spawn());
        assert_eq!(code, Some(3), "{all}");
        assert!(all.contains(said), "{all}");
    }
}

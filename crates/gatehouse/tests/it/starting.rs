//! The two ways to start: a small file, or flags alone.

use crate::front::{BINARY, LIMIT, ask_admin, get, get_over, run};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::script::Client;
use std::collections::BTreeSet;
use std::path::Path;

fn pair() -> [Origin; 2] {
    ["a", "b"].map(|name| Origin::start(name).expect("a port"))
}

/// Who answers 64 requests: by chance alone, one of two is missed once in 2^63 runs.
fn names(gateway: &Gateway, listener: &str) -> BTreeSet<String> {
    let address = gateway.listener(listener);
    (0..64).map(|_| get(address, "/").text().trim().to_owned()).collect()
}

#[test]
fn the_smallest_example_runs() {
    let [a, b] = pair();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/minimal.toml");
    let example = std::fs::read_to_string(path).expect("the example");
    let changed = example
        .replace("\":8080\"", "\"127.0.0.1:0\"")
        .replace("127.0.0.1:9001", &a.address().to_string())
        .replace("127.0.0.1:9002", &b.address().to_string());
    assert_ne!(changed, example);
    let mut gateway = Gateway::start(BINARY, &changed);
    assert_eq!(names(&gateway, "web"), ["a".to_owned(), "b".to_owned()].into());
    assert_eq!(gateway.terminate().code(), Some(0));
    assert_eq!(gateway.errors().last().map(String::as_str), Some("drained"));
}

/// `proxy` before two origins, with everything it can be told.
fn flags(origins: &[Origin; 2]) -> Vec<String> {
    let [a, b] = origins.each_ref().map(|origin| origin.address().to_string());
    let flags = ["proxy", "--listen", "127.0.0.1:0", "--listen", "[::]:0", "--to", &a, "--to", &b];
    let more = ["--balance", "weighted-round-robin", "--admin", "127.0.0.1:0", "--workers", "1"];
    flags.into_iter().chain(more).map(str::to_owned).collect()
}

#[test]
fn flags_alone_are_enough() {
    let origins = pair();
    let gateway = Launch::new(BINARY, "").arguments(flags(&origins)).start();
    assert_eq!(names(&gateway, "main").len(), 2);
    assert_eq!(names(&gateway, "main-2").len(), 2);
    assert!(ask_admin(gateway.admin(), "/status").text().contains("\"workers\": 1"));
}

#[test]
fn flags_can_be_printed_as_the_file_that_runs_the_same() {
    let origins = pair();
    let flags = flags(&origins);
    let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
    arguments.push("--print-config");
    let printed = run(&arguments, Path::new("/"));
    assert_eq!(printed.status.code(), Some(0));
    let text = String::from_utf8(printed.stdout).expect("a text");
    assert!(
        text.contains("balance = \"weighted-round-robin\"") && text.contains("workers = 1"),
        "{text}"
    );
    let gateway = Gateway::start(BINARY, &text);
    assert_eq!(names(&gateway, "main").len(), 2);
    assert_eq!(names(&gateway, "main-2").len(), 2);
    assert!(ask_admin(gateway.admin(), "/status").text().contains("\"workers\": 1"));
}

#[test]
fn a_flag_that_means_nothing_is_the_operators_input_and_a_missing_one_is_usage() {
    let wrong = ["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--balance", "fair"];
    let output = run(&wrong, Path::new("/"));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let word = "error: --balance fair: `balance`: \"fair\" is none of \"random\", ";
    assert!(text.starts_with(word) && text.contains("least-request"), "{text}");
    assert_eq!(run(&["proxy", "--listen", ":8080"], Path::new("/")).status.code(), Some(2));
    assert_eq!(run(&["proxy", "--to", "127.0.0.1:1"], Path::new("/")).status.code(), Some(2));
}

#[test]
fn what_is_wrong_with_a_flag_is_said_of_the_flag() {
    let wrong = ["--listen", ":8080", "--listen", "127.0.0.1:8080", "--listen", "localhost:80"];
    let more = ["--to", "10.0.0.1", "--to", "a:1", "--to", "a:1", "--admin", "0.0.0.0:9900"];
    let arguments: Vec<&str> = ["proxy"].iter().chain(&wrong).chain(&more).copied().collect();
    let output = run(&arguments, Path::new("/"));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "error: --admin 0.0.0.0:9900: the admin interface cannot listen on 0.0.0.0:9900: ",
        "error: --listen 127.0.0.1:8080: 127.0.0.1:8080 overlaps with [::]:8080, which is ",
        "\n  --listen :8080: here\n",
        "error: --listen localhost:80: \"localhost:80\" is no address to listen on\n  \
         hint: write \"127.0.0.1:80\"\n",
        "error: --to 10.0.0.1: ",
        "error: --to a:1: endpoint a:1 is listed twice\n  --to a:1: first here\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("command line") && !text.contains("bind ="), "{text}");
}

#[test]
fn one_that_was_killed_is_started_again_on_its_port_at_once() {
    let config = |address: &str| {
        format!(
            "[listeners.web]\nbind = \"{address}\"\n[[routes]]\nrespond = {{ body = \"here\" }}\n"
        )
    };
    let mut first = Gateway::start(BINARY, &config("127.0.0.1:0"));
    let address = first.listener("web");
    // A connection that is open leaves its port in the kernel's care for a while.
    let mut open = Client::connect(address);
    assert_eq!(get_over(&mut open, "/").text(), "here");
    first.signal(Signal::Kill);
    first.wait(LIMIT);
    let again = Gateway::start(BINARY, &config(&address.to_string()));
    assert_eq!(get(again.listener("web"), "/").text(), "here");
}

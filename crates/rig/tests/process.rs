//! The handle of a gateway process, tried on a shell script that says what a gateway says.

use std::path::Path;
use std::time::Duration;

use gatehouse_rig::process::{Gateway, Launch, Signal};

const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake/gateway");
const LIMIT: Duration = Duration::from_secs(10);
const READY: &str = "
echo 'listening on 127.0.0.1:4001 (web)' >&2
echo 'listening on [::1]:4002 (other)' >&2
echo 'admin on 127.0.0.1:4003' >&2
echo ready >&2
";
/// Runs until a signal. A shell obeys its traps between commands, so each is short.
const SERVE: &str = "while :; do sleep 0.02; done";

#[test]
fn addresses_are_read_from_what_it_says() {
    let gateway = Gateway::start(FAKE, &format!("{READY}{SERVE}"));
    assert_eq!(gateway.listener("web").port(), 4001);
    assert_eq!(gateway.listener("other").to_string(), "[::1]:4002");
    assert_eq!(gateway.admin().port(), 4003);
    assert_eq!(gateway.listeners().len(), 2);
}

#[test]
fn a_signal_ends_it_and_its_last_words_are_kept() {
    let trap = "trap 'echo drained; echo bye >&2; exit 3' TERM";
    let mut gateway = Gateway::start(FAKE, &format!("{trap}\n{READY}{SERVE}"));
    let status = gateway.terminate();
    assert_eq!(status.code(), Some(3));
    assert_eq!(gateway.output(), ["drained"]);
    assert_eq!(gateway.errors().last().map(String::as_str), Some("bye"));
}

#[test]
fn lines_are_waited_for() {
    let script = format!("trap 'echo reloaded >&2; echo out' HUP\n{READY}{SERVE}");
    let gateway = Gateway::start(FAKE, &script);
    gateway.signal(Signal::Hup);
    gateway.expect_error_line("reloaded");
    gateway.expect_output_line("out");
}

#[test]
#[should_panic(expected = "did not become ready; it said:\nport in use")]
fn one_that_ends_before_it_is_ready_fails_the_test_with_its_reason() {
    let _ = Gateway::start(FAKE, "echo port in use >&2; exit 1");
}

#[test]
fn a_start_that_is_refused_is_waited_for() {
    let mut gateway = Launch::new(FAKE, "cat beside >&2; exit 1").file("beside", "wrong\n").spawn();
    assert_eq!(gateway.wait(LIMIT).code(), Some(1));
    assert_eq!(gateway.errors(), ["wrong"]);
}

#[test]
fn arguments_and_environment_are_passed() {
    let launch = Launch::new(FAKE, "").arguments(["stop"]).variable("A", "b");
    assert_eq!(launch.spawn().wait(LIMIT).code(), Some(2));
    let launch = Launch::new(FAKE, &format!("{READY}\necho \"$A\"")).variable("A", "b");
    let mut gateway = launch.start();
    gateway.wait(LIMIT);
    assert_eq!(gateway.output(), ["b"]);
}

#[test]
fn its_memory_is_known_while_it_runs() {
    let gateway = Gateway::start(FAKE, &format!("{READY}{SERVE}"));
    let now = gateway.resident_bytes();
    // The kernel keeps the most by a count that lags some pages behind on each processor.
    let most = gateway.resident_bytes_max() + (1 << 20);
    assert!(now > 0 && now <= most, "{now} of {most}");
}

#[test]
fn nothing_is_left_when_it_is_dropped() {
    let gateway = Gateway::start(FAKE, &format!("{READY}{SERVE}"));
    gateway.reconfigure("exit 0");
    let (folder, pid) = (gateway.folder().to_owned(), gateway.pid());
    assert_eq!(std::fs::read_to_string(folder.join("gatehouse.toml")).expect("it"), "exit 0");
    drop(gateway);
    assert!(!folder.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

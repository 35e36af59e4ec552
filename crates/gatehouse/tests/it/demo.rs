//! `gatehouse demo`: what a person sees who has nothing but the binary.

use crate::front::{BINARY, LIMIT, ask_admin, get, get_over, request};
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use rustix::process::{Pid, kill_process, kill_process_group};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

struct Demo {
    process: Gateway,
    address: SocketAddr,
    admin: SocketAddr,
    origins: Vec<(String, Pid)>,
}

impl Demo {
    fn start() -> Demo {
        Demo::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Demo {
        // A terminal gives what it starts a process group of its own; so does setsid.
        let launch = Launch::new("setsid", "").arguments([&[BINARY, "demo"], more].concat());
        let process = launch.spawn();
        process.expect_output_line("Ctrl-C ends it.");
        let output = process.output();
        let address = |start: &str| {
            let line = output.iter().find_map(|line| line.strip_prefix(start));
            let word = line.and_then(|line| line.split(' ').next());
            word.and_then(|word| word.parse().ok()).expect("an address")
        };
        let origins = output.iter().filter_map(|line| {
            let words: Vec<&str> = line.strip_prefix("origin ")?.split_whitespace().collect();
            let pid = words.last()?.parse().ok().and_then(Pid::from_raw)?;
            Some(((*words.first()?).to_owned(), pid))
        });
        let origins: Vec<(String, Pid)> = origins.collect();
        assert_eq!(origins.len(), 3, "{output:?}");
        Demo { address: address("listening on "), admin: address("admin on "), origins, process }
    }

    /// Kills an origin as a person would.
    fn kill(&self, name: &str) {
        let (_, pid) = self.origins.iter().find(|(known, _)| known == name).expect("an origin");
        kill_process(*pid, rustix::process::Signal::KILL).expect("it runs");
    }

    fn children_are_gone(&self) -> bool {
        self.origins.iter().all(|(_, pid)| {
            // An orphan that has ended may wait for whoever adopted it.
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            stat.map_or(true, |stat| stat.contains(") Z "))
        })
    }
}

#[test]
fn the_demo_says_where_it_is_and_what_to_try() {
    let demo = Demo::start();
    let output = demo.process.output().join("\n");
    let lines = [
        format!("curl http://{}/ ", demo.address),
        format!("curl http://{}/echo?q=1", demo.address),
        format!("curl http://{}/status", demo.admin),
        format!("kill -9 {} ", demo.origins[1].1.as_raw_nonzero()),
    ];
    for line in lines {
        assert!(output.contains(&line), "{line:?} is not in\n{output}");
    }
    assert!(get(demo.address, "/echo?q=1").text().contains("\"target\":\"/echo?q=1\""));
    assert!(ask_admin(demo.admin, "/status").text().contains("\"upstreams\""));
}

#[test]
fn the_demo_under_tls_prints_a_line_that_works_as_it_stands() {
    let mut demo = Demo::start_with(&["--tls"]);
    let output = demo.process.output();
    let line = output.iter().find(|line| line.trim().starts_with("curl --cacert ")).unwrap();
    let words: Vec<&str> = line.split('#').next().unwrap().split_whitespace().collect();
    let shown = std::process::Command::new(words[0]).arg("-sS").args(&words[1..]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "one\n", "{shown:?}");
    let key = std::path::Path::new(words[2]).with_file_name("key.pem");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let group = Pid::from_raw(demo.process.pid() as i32).expect("a pid");
    kill_process_group(group, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(demo.process.wait(LIMIT).code(), Some(0));
    assert!(!key.exists(), "the key is left behind");
}

#[test]
fn the_demos_three_origins_take_turns() {
    let demo = Demo::start();
    let mut client = Client::connect(demo.address);
    let names: Vec<String> = (0..6).map(|_| get_over(&mut client, "/").text()).collect();
    assert_eq!(names, ["one\n", "two\n", "three\n", "one\n", "two\n", "three\n"]);
    let mut counts = BTreeMap::<String, u32>::new();
    for _ in 0..30 {
        *counts.entry(get(demo.address, "/").text()).or_default() += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count == 10), "{counts:?}");
}

#[test]
fn no_request_fails_while_an_origin_of_the_demo_is_dead() {
    let demo = Demo::start();
    let mut kept = Client::connect(demo.address);
    for _ in 0..3 {
        assert_eq!(get_over(&mut kept, "/").status, 200);
    }
    demo.kill("two");
    for _ in 0..100 {
        assert_eq!(get_over(&mut kept, "/").status, 200);
        assert_eq!(get(demo.address, "/bytes/1000").body.len(), 1000);
    }
    demo.process.expect_output_line("origin two is gone");
    demo.kill("one");
    demo.kill("three");
    wait_until(LIMIT, || get(demo.address, "/").status == 502);
}

#[test]
fn an_origin_of_the_demo_that_was_killed_comes_back_where_it_was() {
    let demo = Demo::start();
    demo.kill("two");
    demo.process.expect_output_line("origin two is gone; it comes back in 10 s");
    demo.process.expect_output_line("origin two is back, process ");
    let mut client = Client::connect(demo.address);
    let names: BTreeSet<String> = (0..6).map(|_| get_over(&mut client, "/").text()).collect();
    assert_eq!(names, ["one\n", "three\n", "two\n"].map(str::to_owned).into());
}

#[test]
fn ctrl_c_lets_a_request_end_and_then_ends_the_demo_and_all_its_children() {
    let mut demo = Demo::start();
    let mut slow = Client::connect(demo.address);
    slow.send(request("GET", "/slow/500", ""));
    wait_until(LIMIT, || ask_admin(demo.admin, "/status").text().contains("\"in_flight\": 1"));
    let group = Pid::from_raw(demo.process.pid() as i32).expect("a pid");
    kill_process_group(group, rustix::process::Signal::INT).expect("it runs");
    slow.expect_status(200);
    assert_eq!(demo.process.wait(LIMIT).code(), Some(0));
    wait_until(LIMIT, || demo.children_are_gone());
    let output = demo.process.output().join("\n");
    assert!(!output.contains("is gone"), "its own end is no accident:\n{output}");
}

#[test]
fn a_demo_that_is_killed_leaves_no_children_either() {
    let mut demo = Demo::start();
    demo.process.signal(Signal::Kill);
    demo.process.wait(LIMIT);
    wait_until(LIMIT, || demo.children_are_gone());
}

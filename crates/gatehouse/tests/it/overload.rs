//! The process stays within the memory it is given: it turns away what is more, the least important
//! first, and within the bound that `gatehouse check` prints for its limits.

use crate::front::{BINARY, LIMIT, ask_admin, get, post, refuse_to_start, routes, run};
use crate::reluctant::{KEPT, origin_of_much, reads_nothing};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn config(limits: &str, listener: &str, origin: &Origin) -> String {
    format!(
        "workers = 2\n{limits}\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [log]\naccess = {{ format = \"off\" }}\n\
         [listeners.web]\nbind = \"127.0.0.1:0\"\nlimits = {{ {listener} }}\n\
         [[routes]]\nname = \"high\"\npath = \"/echo/*\"\npriority = \"high\"\nupstream = \"all\"\n{}",
        routes(&[origin.address()])
    )
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = ask_admin(gateway.admin(), "/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("gatehouse_{name} ")));
    line.and_then(|value| value.parse().ok()).expect("a metric")
}

#[test]
fn requests_are_turned_away_before_memory_is_gone_and_taken_again_after() {
    let origin = origin_of_much();
    // A reader that takes nothing costs little: an ordinary buffer.
    let ceiling = 40 * MIB;
    let gateway = Gateway::start(BINARY, &config("limits = { memory = \"40MiB\" }", "", &origin));
    let (mut readers, mut shed) = (Vec::new(), 0);
    while shed < 20 && readers.len() < 2_000 {
        let (client, answer) = reads_nothing(&gateway, KEPT);
        match answer.status {
            200 => readers.push(client),
            503 => {
                assert_eq!(answer.field("retry-after"), Some("1"));
                shed += 1;
            }
            other => panic!("status {other}"),
        }
    }
    assert_eq!(shed, 20, "{} slow readers were too few", readers.len());
    assert!(metric(&gateway, "requests_shed_total") >= 20);
    assert_eq!(get(gateway.listener("web"), "/echo/1").status, 200, "what is important is served");
    let most = gateway.resident_bytes_max();
    // Pages of the program itself are resident too, and belong to its file.
    assert!(most < ceiling + 16 * MIB, "{} MiB", most / MIB);
    drop(readers);
    wait_until(LIMIT, || metric(&gateway, "memory_pressure") == 0);
    assert_eq!(get(gateway.listener("web"), "/bytes/1000").status, 200);
}

#[test]
fn the_bound_that_check_prints_holds() {
    const CONNECTIONS: usize = 50;
    let origin = origin_of_much();
    let text = config("", &format!("connections = {CONNECTIONS}"), &origin);
    let launch = Launch::new(BINARY, &text);
    let gateway = launch.start();
    let checked = run(&["check", "--json", "-c", "gatehouse.toml"], gateway.folder());
    let checked = String::from_utf8(checked.stdout).expect("text");
    let (_, rest) = checked.split_once("\"memory-bound-bytes\":").expect("a bound");
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    let bound: u64 = digits.parse().expect("a number");
    assert!(bound < 400 * MIB, "{} MiB", bound / MIB);
    let empty = gateway.resident_bytes_max();
    let mut readers: Vec<_> = (0..CONNECTIONS).map(|_| reads_nothing(&gateway, 4 * KEPT)).collect();
    assert!(readers.iter().all(|(_, answer)| answer.status == 200));
    // Whoever has taken much has earned a large buffer, and then it may be held full.
    for (client, _) in &mut readers {
        assert_eq!(client.read_bytes(4 << 20).len(), 4 << 20);
    }
    let mut more = Client::connect(gateway.listener("web"));
    more.expect_close();
    // It is no bound on anything else: each reader does cost it more than an ordinary buffer.
    let buffers = CONNECTIONS as u64 * 64 * KIB;
    wait_until(LIMIT, || gateway.resident_bytes_max() > empty + buffers);
    let most = gateway.resident_bytes_max();
    assert!(most < bound, "{} MiB of {} MiB", most / MIB, bound / MIB);
}

#[test]
fn more_connections_than_descriptors_are_enough_for_are_refused_at_the_start() {
    let origin = Origin::start("a").expect("a port");
    let (code, said) = refuse_to_start(&config("limits = { connections = 10000000 }", "", &origin));
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("limits.connections = 10000000"), "{said}");
    assert!(said.contains("the limit on open files is enough for"), "{said}");
}

#[test]
fn the_same_is_refused_by_a_reload_which_changes_nothing() {
    let origin = Origin::start("a").expect("a port");
    let gateway = Gateway::start(BINARY, &config("limits = { connections = 5 }", "", &origin));
    wait_until(LIMIT, || metric(&gateway, "client_connections_max") == 5);
    gateway.reconfigure(&config("limits = { connections = 10000000 }", "", &origin));
    let admin = gateway.admin();
    for answer in [post(admin, "/reload", ""), ask_admin(admin, "/diff")] {
        assert_eq!(answer.status, 409, "{}", answer.text());
        let said = answer.text();
        assert!(said.contains("limits.connections = 10000000"), "{said}");
        assert!(said.contains("the limit on open files is enough for"), "{said}");
    }
    assert_eq!(metric(&gateway, "config_generation"), 1);
    assert_eq!(metric(&gateway, "client_connections_max"), 5);
}

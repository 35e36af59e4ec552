//! Endpoints from DNS: a real server (Knot DNS) whose zone changes, goes and comes back, and a
//! scripted one that answers as no server should.

use crate::discovery_file::{names, shown, who};
use crate::front::{BINARY, DOORS, LIMIT, ask_admin, get, post, routes, scrape};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// A port that is free for datagrams and streams.
fn free_port() -> u16 {
    loop {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = held.local_addr().expect("an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Knot DNS with one zone, `internal`, on loopback. Dropping it ends it.
struct Knot {
    folder: PathBuf,
    port: u16,
    serial: u32,
    child: Option<Child>,
}

impl Knot {
    /// Starts one that knows these records.
    fn start(records: &str) -> Knot {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatehouse-knot-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let mut knot = Knot { folder, port: free_port(), serial: 0, child: None };
        knot.write(records);
        let at = knot.folder.display();
        let text = format!(
            "server:\n    rundir: \"{at}\"\n    listen: 127.0.0.1@{}\n\
             database:\n    storage: \"{at}\"\n\
             log:\n  - target: stderr\n    any: warning\n\
             zone:\n  - domain: internal.\n    file: \"{at}/internal.zone\"\n    \
             zonefile-sync: -1\n    journal-content: none\n",
            knot.port
        );
        fs::write(knot.folder.join("knot.conf"), text).expect("written");
        knot.run();
        knot
    }

    fn write(&mut self, records: &str) {
        self.serial += 1;
        let text = format!(
            "$ORIGIN internal.\n$TTL 1\n@ SOA ns ops {} 3600 600 86400 1\n@ NS ns\n\
             ns A 127.0.0.1\n{records}",
            self.serial
        );
        fs::write(self.folder.join("internal.zone"), text).expect("written");
    }

    /// Has it serve, and waits until it does.
    fn run(&mut self) {
        let program = ["/usr/sbin/knotd", "/usr/bin/knotd"]
            .iter()
            .find(|path| fs::exists(path).unwrap_or(false));
        let program = program.expect("knotd is installed by .ci/setup");
        let child = Command::new(program)
            .arg("-c")
            .arg(self.folder.join("knot.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("it starts"));
        let probe = UdpSocket::bind("127.0.0.1:0").expect("a port");
        probe.connect(("127.0.0.1", self.port)).expect("an address");
        probe.set_nonblocking(true).expect("a socket");
        // The question for ns.internal.
        let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x02ns\x08internal\0\0\x01\0\x01";
        wait_until(LIMIT, || {
            let _ = probe.send(question);
            let mut room = [0; 512];
            // An answer with an address: until the zone is there it is refused.
            probe.recv(&mut room).is_ok_and(|count| count > 12 && room[7] == 1)
        });
    }

    /// Has it serve these records instead.
    fn change(&mut self, records: &str) {
        self.write(records);
        let child = self.child.as_ref().expect("it runs");
        let process = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let process = process.expect("a process");
        rustix::process::kill_process(process, rustix::process::Signal::HUP).expect("it runs");
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        self.kill();
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A gateway whose only upstream is found by this.
fn gateway(dns: &str, server: u16) -> Gateway {
    Gateway::start(BINARY, &config(dns, server))
}

fn config(dns: &str, server: u16) -> String {
    format!(
        "{DOORS}[[routes]]\nname = \"all\"\nupstream = \"api\"\n[upstreams.api]\n\
         discovery = {{ dns = {{ {dns}, servers = \"127.0.0.1:{server}\" }} }}\n"
    )
}

/// Origins that listen on one port of different addresses.
fn on_one_port<const N: usize>(each: [(&str, &str); N]) -> (u16, [Origin; N]) {
    loop {
        let port = free_port();
        let start = |(name, ip): (&str, &str)| {
            let ip: IpAddr = ip.parse().expect("an address");
            Origin::start_at(name, SocketAddr::new(ip, port))
        };
        let started: Vec<Origin> = each.into_iter().filter_map(|one| start(one).ok()).collect();
        if let Ok(all) = started.try_into() {
            return (port, all);
        }
    }
}

fn address(port: u16) -> String {
    format!("name = \"api.internal\", port = {port}")
}

/// The addresses of the upstream's endpoints, with their weights.
fn endpoints(gateway: &Gateway) -> Vec<(String, u64, bool)> {
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    let each = status.list("upstreams")[0].list("endpoints").to_vec();
    let of = |one: &Json| {
        let backup = *one.at("backup") == Json::Flag(true);
        (one.text("address").to_owned(), one.count("weight"), backup)
    };
    each.iter().map(of).collect()
}

#[test]
fn addresses_of_a_name_are_followed() {
    let (port, _origins) = on_one_port([("a", "127.0.0.1"), ("b", "127.0.0.2")]);
    let mut knot = Knot::start("api A 127.0.0.1\n");
    let gateway = gateway(&address(port), knot.port);
    assert_eq!(who(&gateway), names(&["a"]), "from the first request on");
    knot.change("api A 127.0.0.1\napi A 127.0.0.2\n");
    wait_until(LIMIT, || who(&gateway) == names(&["a", "b"]));
    knot.change("api CNAME other\nother A 127.0.0.2\n");
    wait_until(LIMIT, || who(&gateway) == names(&["b"]));
    assert_eq!(scrape(&gateway).sum("discovery_failures_total", &[]), 0);
}

#[test]
fn defect_2_a_name_that_is_gone_and_a_server_that_is_killed_take_no_endpoint_away() {
    let (port, _origins) = on_one_port([("a", "127.0.0.1"), ("b", "127.0.0.2")]);
    let mut knot = Knot::start("api A 127.0.0.1\n");
    let gateway = gateway(&address(port), knot.port);
    knot.change("");
    gateway.expect_error_line("0 endpoints in place of 1 are held back");
    gateway.expect_error_line("there is no such name (NXDOMAIN)");
    assert_eq!(who(&gateway), names(&["a"]));
    knot.change("api TXT \"no address\"\n");
    gateway.expect_error_line("the name has no such record");
    assert_eq!(who(&gateway), names(&["a"]));
    knot.kill();
    wait_until(LIMIT, || *shown(&gateway).at("failing") != Json::Null);
    let why = shown(&gateway).at("failing").text("message").to_owned();
    assert!(why.contains(&format!("127.0.0.1:{}: connection refused", knot.port)), "{why}");
    assert_eq!(who(&gateway), names(&["a"]));
    let reloaded = post(gateway.admin(), "/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(who(&gateway), names(&["a"]));
    knot.write("api A 127.0.0.2\n");
    knot.run();
    wait_until(LIMIT, || who(&gateway) == names(&["b"]));
    gateway.expect_error_line("answers again");
}

#[test]
fn a_name_that_is_not_there_at_the_start_comes_in_later() {
    let (port, _origins) = on_one_port([("a", "127.0.0.1")]);
    let mut knot = Knot::start("");
    let gateway = gateway(&address(port), knot.port);
    assert_eq!(get(gateway.listener("web"), "/").status, 503);
    knot.change("api A 127.0.0.1\n");
    wait_until(LIMIT, || get(gateway.listener("web"), "/").status == 200);
}

#[test]
fn the_servers_of_a_service_have_ports_weights_and_priorities() {
    let [a, mut b, c] = ["a", "b", "c"].map(|name| Origin::start(name).expect("a port"));
    let port = |origin: &Origin| origin.address().port();
    let records = format!(
        "a A 127.0.0.1\n_http._tcp.api SRV 1 3 {} a\n_http._tcp.api SRV 1 0 {} a\n\
         _http._tcp.api SRV 2 5 {} a\n",
        port(&a),
        port(&b),
        port(&c)
    );
    let mut knot = Knot::start(&records);
    let gateway = gateway("name = \"_http._tcp.api.internal\", type = \"srv\"", knot.port);
    let mut expected = vec![
        (a.address().to_string(), 3, false),
        (b.address().to_string(), 1, false),
        (c.address().to_string(), 5, true),
    ];
    expected.sort();
    assert_eq!(endpoints(&gateway), expected);
    assert_eq!(who(&gateway), names(&["a", "b"]));
    knot.change(&format!("a A 127.0.0.1\n_http._tcp.api SRV 9 3 {} a\n", port(&b)));
    gateway.expect_error_line("1 endpoints in place of 3 are held back");
    assert_eq!(post(gateway.admin(), "/discovery/accept?upstream=api", "").status, 200);
    wait_until(LIMIT, || who(&gateway) == names(&["b"]));
    b.stop();
    knot.change("_http._tcp.api SRV 0 0 0 .\n");
    gateway.expect_error_line("the service is decidedly not available");
    assert_eq!(shown(&gateway).count("endpoints"), 1);
}

#[test]
fn an_answer_that_does_not_fit_into_a_datagram_comes_over_tcp() {
    let records: String = (1..=200).map(|n| format!("api A 127.1.0.{n}\n")).collect();
    let knot = Knot::start(&records);
    let gateway = gateway(&address(9), knot.port);
    wait_until(LIMIT, || shown(&gateway).count("endpoints") == 200);
}

#[test]
fn of_two_kinds_of_addresses_those_that_can_be_reached_are_used() {
    let (port, _origins) = on_one_port([("a", "127.0.0.1")]);
    let mut knot = Knot::start("api A 127.0.0.1\napi AAAA ::1\n");
    let first = gateway(&address(port), knot.port);
    let only = |text: String| vec![(text, 1, false)];
    wait_until(LIMIT, || endpoints(&first) == only(format!("127.0.0.1:{port}")));
    let both = gateway(&format!("{}, family = \"both\"", address(port)), knot.port);
    wait_until(LIMIT, || endpoints(&both).len() == 2);
    let v6 = gateway(&format!("{}, family = \"ipv6\"", address(port)), knot.port);
    wait_until(LIMIT, || endpoints(&v6) == only(format!("[::1]:{port}")));
    // What is preferred where it can be reached is IPv6, on a machine that has it.
    if TcpListener::bind("[::1]:0").is_ok() {
        let (port, _origins) = on_one_port([("a", "127.0.0.1"), ("b", "::1")]);
        knot.change("api A 127.0.0.1\napi AAAA ::1\n");
        let gateway = gateway(&address(port), knot.port);
        wait_until(LIMIT, || who(&gateway) == names(&["b"]));
    }
}

#[test]
fn a_name_among_endpoints_is_asked_where_it_can_be_reached() {
    // The hosts file, or the resolver itself, gives localhost an address of each kind.
    let origin = Origin::start("a").expect("a port");
    let port = origin.address().port();
    let gateway =
        Gateway::start(BINARY, &format!("{DOORS}{}", routes(&[format!("localhost:{port}")])));
    assert_eq!(who(&gateway), names(&["a"]));
    assert_eq!(endpoints(&gateway), [(format!("127.0.0.1:{port}"), 1, false)]);
    assert_eq!(scrape(&gateway).sum("endpoint_connect_failures_total", &[]), 0);
}

//! The PROXY protocol with HAProxy at the other end, on both sides.

use crate::front::{BINARY, DOORS, LIMIT, get, request, routes, scrape};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// HAProxy with this configuration, ended with the test.
struct Haproxy(Child, PathBuf);

impl Haproxy {
    fn start(listens: &[SocketAddr], sections: &str) -> Haproxy {
        let name = format!("gatehouse-haproxy-{}-{}", std::process::id(), listens[0].port());
        let path = std::env::temp_dir().join(name);
        let defaults = "defaults\n timeout connect 2s\n timeout client 9s\n timeout server 9s\n";
        std::fs::write(&path, format!("{defaults}{sections}")).expect("a file");
        let found = ["/usr/sbin/haproxy", "haproxy"].iter().find_map(|program| {
            let mut command = Command::new(program);
            command.arg("-db").arg("-f").arg(&path);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
        });
        let haproxy = Haproxy(found.expect("haproxy is there: .ci/setup installs it"), path);
        wait_until(LIMIT, || listens.iter().all(|at| TcpStream::connect(at).is_ok()));
        haproxy
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_file(&self.1);
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An HTTP server that answers with the client's address and port, as the header tells them, or
/// as they are.
fn tells(at: SocketAddr) -> String {
    format!(
        "frontend tells{0}\n mode http\n bind {at} accept-proxy\n \
         http-request return status 200 content-type text/plain lf-string %[src]:%[src_port]\n",
        at.port()
    )
}

#[test]
fn haproxy_understands_what_endpoints_are_told() {
    let at = free();
    let _haproxy = Haproxy::start(&[at], &tells(at));
    for version in ["v1", "v2"] {
        let told = format!("[upstreams.all]\nproxy-protocol = \"{version}\"\n");
        let http = routes(&[at]).replace("[upstreams.all]\n", &told);
        let gateway = Gateway::start(BINARY, &format!("{DOORS}{http}"));
        let mut kept = Client::connect(gateway.listener("web"));
        for _ in 0..3 {
            let answer = kept.send(request("GET", "/", "")).expect_status(200);
            assert_eq!(answer.text(), kept.address().to_string(), "{version}");
        }
        let mut other = Client::connect(gateway.listener("web"));
        let answer = other.send(request("GET", "/", "")).expect_status(200);
        assert_eq!(answer.text(), other.address().to_string(), "{version}");
        assert_eq!(scrape(&gateway).sum("endpoint_connections", &[]), 2);
    }
}

#[test]
fn a_client_behind_two_proxies_is_known_to_the_last() {
    // haproxy (send-proxy) -> gateway (TCP, in and out) -> haproxy (accept-proxy).
    let at = free();
    for (send, version) in [("send-proxy", "v2"), ("send-proxy-v2", "v1")] {
        let text = format!(
            "[listeners.bytes]\nbind = \"127.0.0.1:0\"\nprotocols = [\"tcp\"]\n\
             proxy-protocol = true\ntrusted-proxies = [\"127.0.0.1\"]\n\
             [[routes]]\nlisteners = [\"bytes\"]\n\
             upstream = {{ endpoints = [\"{at}\"], proxy-protocol = \"{version}\" }}\n"
        );
        let gateway = Gateway::start(BINARY, &text);
        let front = free();
        let through = format!(
            "listen front\n mode tcp\n bind {front}\n server gateway {} {send}\n{}",
            gateway.listener("bytes"),
            tells(at)
        );
        let _haproxy = Haproxy::start(&[front, at], &through);
        let mut client = Client::connect(front);
        let answer = client.send(request("GET", "/", "")).expect_status(200);
        assert_eq!(answer.text(), client.address().to_string(), "{send}, {version}");
        gateway.expect_output_line("\"client\":\"127.0.0.1\",\"protocol\":\"tcp\"");
    }
}

#[test]
fn requests_behind_haproxy_come_from_its_clients() {
    let origin = ScriptedOrigin::each(
        Script::new().expect_head().send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    );
    let listener = "[listeners.web]\nproxy-protocol = true\ntrusted-proxies = [\"127.0.0.1\"]\n";
    let text = format!("{DOORS}{}", routes(&[origin.address()]));
    let gateway = Gateway::start(BINARY, &text.replace("[listeners.web]\n", listener));
    let front = free();
    let through = format!(
        "listen front\n mode http\n bind {front}\n server gateway {} send-proxy-v2 check\n",
        gateway.listener("web")
    );
    let _haproxy = Haproxy::start(&[front], &through);
    assert_eq!(get(front, "/").status, 200);
    let seen = String::from_utf8_lossy(&origin.seen_in_all()).to_lowercase();
    assert!(seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{seen}");
    // Its checks are taken, for they come with a header of nobody.
    let refused = || scrape(&gateway).sum("proxy_headers_refused_total", &[]);
    assert_eq!(refused(), 0);
    // Who comes past it is not.
    Client::connect(gateway.listener("web")).offer(request("GET", "/", "")).expect_close();
    wait_until(LIMIT, || refused() == 1);
}

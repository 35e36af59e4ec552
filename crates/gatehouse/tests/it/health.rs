//! `gatehouse health`: its word and its exit code are the gateway's own, not an upstream's.

use crate::front::{BINARY, DOORS, LIMIT, routes, run, start};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Signal};
use gatehouse_rig::script::{Script, ScriptedOrigin};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Instant;

/// Its exit code, and what it printed to standard output and error.
#[track_caller]
fn health(admin: SocketAddr) -> (Option<i32>, String, String) {
    let output = run(&["health", "--admin", &admin.to_string()], Path::new("/"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_gateway_that_serves_is_well_whatever_its_upstream_answers() {
    let mut origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    let well = (Some(0), "serving\n".to_owned(), String::new());
    assert_eq!(health(gateway.admin()), well);
    origin.stop();
    assert_eq!(health(gateway.admin()), well);
}

#[test]
fn the_admin_interface_may_be_named_by_localhost() {
    let gateway = start(&[SocketAddr::from(([127, 0, 0, 1], 1))]);
    let port = gateway.admin().port();
    for name in [format!("localhost:{port}"), format!(":{port}")] {
        let output = run(&["health", "--admin", &name], Path::new("/"));
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
    }
    let output = run(&["health", "--admin", "example.com:9900"], Path::new("/"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn another_server_is_told_apart_in_one_line() {
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    for other in [origin.address(), gateway.listener("web")] {
        let line = format!("error: what answers at {other} is no admin interface of a gatehouse\n");
        assert_eq!(health(other), (Some(1), String::new(), line));
    }
}

#[test]
fn a_gateway_with_nobody_to_forward_to_is_not_well() {
    let gateway = Gateway::start(BINARY, &format!("{DOORS}{}", routes(&["absent.invalid:80"])));
    let (code, said, complained) = health(gateway.admin());
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert_eq!(complained, "503 not serving: no upstream has an endpoint\n");
}

#[test]
fn the_address_is_found_in_the_configuration_too() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let admin = free.expect("a port");
    let text = format!("[admin]\nbind = \"{admin}\"\n[listeners.web]\nbind = \"127.0.0.1:0\"\n");
    let gateway = Gateway::start(BINARY, &format!("{text}[[routes]]\nrespond = {{}}\n"));
    let output = run(&["health"], gateway.folder());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"serving\n");
}

#[test]
fn a_configuration_that_cannot_say_where_is_named() {
    let routes = "[[routes]]\nrespond = {}\n";
    let without = format!("[listeners.web]\nbind = \"127.0.0.1:0\"\n{routes}");
    let cases = [(without, 1, "has no admin interface"), (format!("{DOORS}{routes}"), 2, "port 0")];
    for (config, code, words) in cases {
        let gateway = Gateway::start(BINARY, &config);
        let output = run(&["health"], gateway.folder());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(run(&["health", "-c", "absent.toml"], Path::new("/")).status.code(), Some(3));
}

#[test]
fn nobody_at_all_and_somebody_who_stands_still_do_not_answer() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let (code, _, said) = health(nobody.expect("a port"));
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("no answer from 127.0.0.1:"), "{said}");
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&[origin.address()]);
    gateway.signal(Signal::Stop);
    let from = Instant::now();
    let (code, _, said) = health(gateway.admin());
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("nothing within 3 s"), "{said}");
    assert!(from.elapsed() < LIMIT, "{:?}", from.elapsed());
}

#[test]
fn what_is_no_gateway_is_not_well() {
    for (words, code) in
        [("SSH-2.0-x\r\n\r\n", 1), ("HTTP/1.1 404 Not Found\r\n\r\nno\n", 1), ("", 3)]
    {
        let other = ScriptedOrigin::each(Script::new().expect_head().send(words).close());
        let (found, said, complained) = health(other.address());
        assert_eq!((found, said.as_str()), (Some(code), ""), "{words:?}: {complained}");
    }
}

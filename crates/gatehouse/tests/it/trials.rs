//! A configuration on trial while something else happens: the gateway is told to end, or what was
//! before cannot come back.

use crate::front::{BINARY, LIMIT, get, request, routes, run, scrape};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Signal};
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use std::net::{SocketAddr, TcpListener};

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port")
}

fn config(web: SocketAddr, origin: &Origin) -> String {
    format!(
        "[admin]\nbind = \"127.0.0.1:0\"\n[listeners.web]\nbind = \"{web}\"\n{}",
        routes(&[origin.address()])
    )
}

/// Puts another file in force for a second.
#[track_caller]
fn apply(gateway: &Gateway, config: &str) {
    std::fs::write(gateway.folder().join("next.toml"), config).expect("written");
    let admin = gateway.admin().to_string();
    let arguments = ["apply", "next.toml", "--confirm", "1s", "--admin", &admin];
    let output = run(&arguments, gateway.folder());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_trial_ends_with_the_gateway_and_opens_no_socket_anew() {
    let origin = Origin::start("a").expect("a port");
    let web = free();
    let mut gateway = Gateway::start(BINARY, &config(web, &origin));
    apply(&gateway, &config(web, &origin).replace("name = \"all\"", "name = \"next\""));
    let mut slow = Client::connect(web);
    slow.send(request("GET", "/slow/2500", ""));
    wait_until(LIMIT, || scrape(&gateway).sum("endpoint_requests_in_flight", &[]) == 1);
    gateway.signal(Signal::Term);
    // The trial would have ended meanwhile.
    assert_eq!(slow.expect_status(200).text(), "a\n");
    assert!(std::net::TcpStream::connect(web).is_err(), "nobody takes from it");
    assert_eq!(gateway.wait(LIMIT).code(), Some(0));
    gateway.expect_error_line("was not confirmed: the drain ends with it");
    let said = gateway.errors();
    let anew = |line: &&String| line.contains("took back") || line.contains("listening on");
    assert_eq!(said.iter().filter(anew).count(), 1, "{said:#?}");
}

#[test]
fn what_cannot_be_taken_back_is_tried_again() {
    let origin = Origin::start("a").expect("a port");
    let (web, next) = (free(), free());
    let gateway = Gateway::start(BINARY, &config(web, &origin));
    apply(&gateway, &config(next, &origin));
    let mut taken = None;
    wait_until(LIMIT, || {
        taken = TcpListener::bind(web).ok();
        taken.is_some()
    });
    gateway.expect_error_line("cannot be taken back, which is tried again in 5 s");
    assert_eq!(get(next, "/").text(), "a\n", "it serves meanwhile");
    let told = |text: &str| gateway.errors().iter().any(|line| line.contains(text));
    assert!(told("the address is in use by another process") && !told("took back"));
    drop(taken);
    gateway.expect_error_line("took back");
    assert_eq!(get(web, "/").text(), "a\n");
}

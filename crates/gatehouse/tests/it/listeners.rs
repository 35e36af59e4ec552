//! Listeners that come, change and go while the gateway serves.

use crate::front::{BINARY, LIMIT, get, get_over, post, request, scrape};
use crate::load::{rounds, under_load};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const ADMIN: &str = "[admin]\nbind = \"127.0.0.1:0\"\n[log]\naccess = { format = \"off\" }\n";

fn door(name: &str, bind: &str, more: &str) -> String {
    format!("[listeners.{name}]\nbind = \"{bind}\"\n{more}\n")
}

fn says(name: &str, listener: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\npath = \"/{name}\"\nlisteners = [\"{listener}\"]\n\
         respond = {{ body = \"{name}\" }}\n"
    )
}

fn all_to(origin: &Origin) -> String {
    format!("[[routes]]\nname = \"all\"\nupstream = {{ endpoints = [\"{}\"] }}\n", origin.address())
}

/// Puts a configuration in force, and says what the gateway said.
#[track_caller]
fn reload(gateway: &Gateway, config: &str) -> String {
    gateway.reconfigure(&format!("{ADMIN}{config}"));
    let answer = post(gateway.admin(), "/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn start(config: &str) -> Gateway {
    Gateway::start(BINARY, &format!("{ADMIN}{config}"))
}

fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn a_listener_that_is_added_is_served_and_one_that_is_taken_away_is_not() {
    let origin = Origin::start("a").expect("a port");
    let web = door("web", "127.0.0.1:0", "");
    let gateway = start(&[web.clone(), all_to(&origin)].concat());
    let other = door("other", "127.0.0.2:0", "");
    let said = reload(&gateway, &[web.clone(), other, all_to(&origin)].concat());
    assert!(said.contains("listeners: 1 kept, 1 added (other)"), "{said}");
    gateway.expect_error_line("(other)");
    let address = gateway.listener("other");
    let mut kept = Client::connect(address);
    assert_eq!(get_over(&mut kept, "/").text(), "a\n");
    let mut slow = Client::connect(address);
    slow.send(request("GET", "/slow/300", ""));
    wait_until(LIMIT, || scrape(&gateway).sum("endpoint_requests_in_flight", &[]) == 1);
    let said = reload(&gateway, &[web, all_to(&origin)].concat());
    assert!(said.contains("listeners: 1 kept, 1 drained (other)"), "{said}");
    wait_until(LIMIT, || refuses(address));
    // What is under way ends, and so may one more request on a connection that is kept.
    assert_eq!(slow.expect_status(200).field("connection"), Some("close"));
    let last = get_over(&mut kept, "/");
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    kept.expect_close();
    assert_eq!(get(gateway.listener("web"), "/").text(), "a\n");
}

#[test]
fn an_idle_connection_of_a_listener_that_is_gone_is_closed_after_a_while() {
    let web = door("web", "127.0.0.1:0", "");
    let both = format!("{web}{}{}", door("other", "127.0.0.2:0", ""), says("x", "web"));
    let gateway = start(&both);
    let mut idle = Client::connect(gateway.listener("other"));
    let mut stays = Client::connect(gateway.listener("web"));
    assert_eq!(get_over(&mut idle, "/").status, 404);
    reload(&gateway, &format!("{web}{}", says("x", "web")));
    idle.expect_close();
    assert_eq!(get_over(&mut stays, "/x").text(), "x");
}

#[test]
fn routes_find_their_listener_whatever_place_it_has() {
    let (a, b) = (door("a", "127.0.0.1:0", ""), door("b", "127.0.0.2:0", ""));
    let gateway = start(&[a.clone(), b, says("x", "a"), says("y", "b")].concat());
    let mut kept = Client::connect(gateway.listener("b"));
    assert_eq!(get_over(&mut kept, "/y").text(), "y");
    assert_eq!(get_over(&mut kept, "/x").status, 404);
    // Sorted before it, so that each has another place; and with routes of its own.
    let more = [a, door("aa", "127.0.0.3:0", ""), door("b", "127.0.0.2:0", "")].concat();
    let text = [more, says("x", "a"), says("z", "aa"), says("y", "b")].concat();
    reload(&gateway, &text);
    assert_eq!(get_over(&mut kept, "/y").text(), "y");
    assert_eq!(get_over(&mut kept, "/z").status, 404);
    assert_eq!(get(gateway.listener("aa"), "/z").text(), "z");
    // Another way round: its place is taken by another while it goes.
    reload(&gateway, &[door("aa", "127.0.0.3:0", ""), says("z", "aa")].concat());
    let last = get_over(&mut kept, "/y");
    assert_eq!((last.text().as_str(), last.field("connection")), ("y", Some("close")));
}

#[test]
fn changed_limits_are_for_new_connections_and_the_socket_stays() {
    let web = |limit: u32| {
        let limits = format!("limits = {{ connections = {limit}, target-bytes = 1024 }}");
        [door("web", "127.0.0.1:0", &limits), says("x", "web")].concat()
    };
    let gateway = start(&web(8));
    let address = gateway.listener("web");
    let mut first = Client::connect(address);
    assert_eq!(get_over(&mut first, "/x").text(), "x");
    let said = reload(&gateway, &web(1));
    assert!(said.contains("1 changed (web)"), "{said}");
    assert_eq!(gateway.listener("web"), address);
    let mut second = TcpStream::connect(address).expect("the socket is the same");
    second.set_read_timeout(Some(LIMIT)).expect("a timeout");
    // The count goes on: the first is the one connection there may be.
    assert!(matches!(second.read(&mut [0; 1]), Ok(0)), "it is closed at once");
    assert_eq!(get_over(&mut first, "/x").text(), "x");
    reload(&gateway, &web(8));
    assert_eq!(get(address, "/x").text(), "x");
}

#[test]
fn what_cannot_be_bound_fails_the_reload_whole() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let web = door("web", "127.0.0.1:0", "");
    let gateway = start(&[web.clone(), says("x", "web")].concat());
    let fine = door("fine", "127.0.0.2:0", "");
    let bad = door("bad", &address.to_string(), "");
    let text = [web, fine, bad, says("y", "web")].concat();
    gateway.reconfigure(&format!("{ADMIN}{text}"));
    let answer = post(gateway.admin(), "/reload", "");
    assert_eq!(answer.status, 500);
    let said = answer.text();
    assert!(said.contains(&format!("listener bad cannot listen on {address}")), "{said}");
    assert_eq!(get(gateway.listener("web"), "/x").text(), "x");
    assert_eq!(get(gateway.listener("web"), "/y").status, 404);
    assert!(!gateway.listeners().contains_key("fine"));
}

#[test]
fn a_listener_may_be_renamed_on_its_own_port() {
    // A port that is ours for a moment, to have a number.
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("an address").port()
    };
    let own = format!("127.0.0.1:{port}");
    let gateway = start(&[door("old", &own, ""), says("x", "old")].concat());
    let address: SocketAddr = own.parse().expect("an address");
    let answered = under_load_of_one(address, || {
        reload(&gateway, &[door("new", &own, ""), says("x", "new")].concat());
    });
    assert!(answered > 0);
}

/// Asks for `/x` over connections of their own, one after another, while `work` runs.
fn under_load_of_one(address: SocketAddr, work: impl FnOnce()) -> u64 {
    use std::sync::atomic::{AtomicBool, Ordering};
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answered = 0;
            while running.load(Ordering::Relaxed) {
                assert_eq!(get(address, "/x").text(), "x");
                answered += 1;
            }
            answered
        });
        wait_until(LIMIT, || !refuses(address));
        work();
        running.store(false, Ordering::Relaxed);
        asking.join().expect("every answer was right")
    })
}

#[test]
fn a_unix_socket_comes_and_goes_with_its_listener() {
    let web = [door("web", "127.0.0.1:0", ""), says("x", "web")].concat();
    let gateway = start(&web);
    let path = gateway.folder().join("own.sock");
    let local = door("local", &format!("unix:{}", path.display()), "");
    reload(&gateway, &[local, web.clone()].concat());
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    reload(&gateway, &web);
    wait_until(LIMIT, || !path.exists());
}

#[test]
fn no_request_fails_on_one_listener_while_others_come_and_go() {
    let origin = Origin::start("a").expect("a port");
    let web = door("web", "127.0.0.1:0", "");
    let text = [web, all_to(&origin)].concat();
    let gateway = start(&text);
    under_load(gateway.listener("web"), || {
        for round in 0..rounds(10, 50) {
            let other = door(&format!("a{round}"), &format!("127.0.0.{}:0", 2 + round % 9), "");
            reload(&gateway, &[other, text.clone()].concat());
        }
        reload(&gateway, &text);
    });
    assert_eq!(scrape(&gateway).sum("failures_total", &[]), 0);
}

/// Whether a connection is taken and its request answered.
fn is_answered(address: SocketAddr) -> bool {
    let mut client = TcpStream::connect(address).expect("somebody listens");
    let asked = client.write_all(request("GET", "/x", "").as_bytes());
    let mut answer = [0; 12];
    asked.is_ok() && client.read_exact(&mut answer).is_ok() && answer == *b"HTTP/1.1 200"
}

#[test]
fn what_a_listener_has_counted_lives_through_a_reload_that_changes_its_limits() {
    let limits = |limit: &str, head: u32| {
        let more = format!("limits = {{ {limit}, head-timeout = \"{head}s\" }}");
        [door("web", "127.0.0.1:0", &more), says("x", "web")].concat()
    };
    for limit in ["connection-rate = \"1/min\"", "connections-per-address = 1"] {
        let gateway = start(&limits(limit, 50));
        let web = gateway.listener("web");
        let kept = Client::connect(web);
        wait_until(LIMIT, || scrape(&gateway).sum("client_connections", &[]) == 1);
        assert!(!is_answered(web), "{limit}: it is one too many");
        let said = reload(&gateway, &limits(limit, 40));
        assert!(said.contains("1 changed (web)"), "{said}");
        assert!(!is_answered(web), "{limit}: it still is");
        drop(kept);
        wait_until(LIMIT, || scrape(&gateway).sum("client_connections", &[]) == 0);
        // Those that came in before are counted out, though they came by other rules.
        assert_eq!(is_answered(web), limit.starts_with("connections"), "{limit}");
    }
}

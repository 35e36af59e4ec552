//! Where clients come in and where endpoints are: UNIX sockets, both families of IP, several
//! listeners, names.

use crate::front::{BINARY, DOORS, LIMIT, get, request, routes};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::wait_until;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

/// Asks once over a UNIX socket and reads to the end.
#[track_caller]
fn ask_unix(path: &Path, target: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream.write_all(request("GET", target, "Connection: close\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Answers each connection once, with the first line it read. It ends with the test's process.
fn unix_origin(path: &Path) {
    let listener = UnixListener::bind(path).expect("a free path");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut lines = Vec::new();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                lines.push(std::mem::take(&mut line));
            }
            let body = lines.concat();
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n");
            let _ = reader.get_mut().write_all(format!("{head}\r\n{body}").as_bytes());
        }
    });
}

/// A gateway on a UNIX socket beside its configuration, before one that listens there too.
fn unix_on_both_sides() -> Gateway {
    let listener = "[listeners.web]\nbind = \"unix:front.sock\"\n";
    let launch = Launch::new(BINARY, &format!("{listener}{}", routes(&["unix:origin.sock"])));
    unix_origin(&launch.folder().join("origin.sock"));
    launch.start()
}

#[test]
fn a_request_passes_over_unix_sockets_on_both_sides() {
    let gateway = unix_on_both_sides();
    let answer = ask_unix(&gateway.folder().join("front.sock"), "/through");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("GET /through HTTP/1.1\r\n"), "{answer}");
    let said = gateway.errors().join("\n");
    assert!(said.contains("listening on unix:") && said.contains("front.sock (web)"), "{said}");
}

#[test]
fn a_unix_socket_is_removed_at_the_end_and_one_left_over_is_taken_again() {
    let mut gateway = unix_on_both_sides();
    let path = gateway.folder().join("front.sock");
    assert!(path.exists());
    gateway.terminate();
    assert!(!path.exists());
    // What a process leaves behind that was killed.
    drop(UnixListener::bind(&path).expect("a free path"));
    assert!(path.exists());
    let config = format!("[listeners.web]\nbind = \"unix:{}\"\n", path.display());
    let again = Gateway::start(BINARY, &format!("{config}[[routes]]\nrespond = {{}}\n"));
    assert!(ask_unix(&path, "/").starts_with("HTTP/1.1 200 OK\r\n"));
    drop(again);
}

#[test]
fn a_unix_socket_somebody_listens_on_is_in_use() {
    let first = unix_on_both_sides();
    let path = first.folder().join("front.sock");
    let config = format!("[listeners.web]\nbind = \"unix:{}\"\n", path.display());
    let (code, said) =
        crate::front::refuse_to_start(&format!("{config}[[routes]]\nrespond = {{}}\n"));
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert!(ask_unix(&path, "/").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn one_listener_takes_both_families_of_ip() {
    let origin = Origin::start("a").expect("a port");
    for bind in ["[::]:0", ":0"] {
        let listener = format!("[listeners.web]\nbind = \"{bind}\"\n");
        let gateway = Gateway::start(BINARY, &format!("{listener}{}", routes(&[origin.address()])));
        let port = gateway.listener("web").port();
        let v4 = get(SocketAddr::from(([127, 0, 0, 1], port)), "/echo");
        assert!(v4.text().contains("[\"X-Forwarded-For\",\"127.0.0.1\"]"), "{}", v4.text());
        if let Ok(probe) = TcpStream::connect(("::1", port)) {
            drop(probe);
            let v6 = get(SocketAddr::new("::1".parse().expect("an address"), port), "/echo");
            assert!(v6.text().contains("[\"X-Forwarded-For\",\"::1\"]"), "{}", v6.text());
        } else {
            let lacks = std::net::TcpListener::bind("[::1]:0").is_err();
            assert!(lacks, "{bind} does not take IPv6");
        }
    }
}

#[test]
fn each_listener_has_the_routes_that_are_bound_to_it() {
    let origin = Origin::start("a").expect("a port");
    let config = format!(
        "{DOORS}[listeners.other]\nbind = \"127.0.0.1:0\"\n\
         [[routes]]\nlisteners = [\"web\"]\nrespond = {{ body = \"web only\" }}\n\
         [[routes]]\nlisteners = [\"other\"]\npath = \"/o/*\"\nupstream = \"all\"\n\
         [[routes]]\npath = \"/both\"\nrespond = {{ body = \"both\" }}\n\
         [upstreams.all]\nendpoints = [\"{}\"]\n",
        origin.address()
    );
    let gateway = Gateway::start(BINARY, &config);
    let (web, other) = (gateway.listener("web"), gateway.listener("other"));
    assert_eq!(get(web, "/o/x").text(), "web only");
    assert_eq!(get(other, "/o/x").text(), "a\n");
    assert_eq!(get(other, "/x").status, 404);
    assert_eq!(get(web, "/both").text(), "both");
    assert_eq!(get(other, "/both").text(), "both");
}

#[test]
fn a_name_can_be_an_endpoint() {
    let origin = Origin::start("a").expect("a port");
    let named = format!("localhost:{}", origin.address().port());
    let gateway = Gateway::start(BINARY, &format!("{DOORS}{}", routes(&[named])));
    for _ in 0..6 {
        // The name may stand for ::1 too, where nobody listens: that is one more to try.
        assert_eq!(get(gateway.listener("web"), "/").text(), "a\n");
    }
}

#[test]
fn a_name_that_does_not_resolve_does_not_stop_the_start() {
    let origin = Origin::start("a").expect("a port");
    let endpoints = ["absent.invalid:80".to_owned(), origin.address().to_string()];
    let gateway = Gateway::start(BINARY, &format!("{DOORS}{}", routes(&endpoints)));
    for _ in 0..4 {
        assert_eq!(get(gateway.listener("web"), "/").text(), "a\n");
    }
}

#[test]
fn an_origin_that_comes_late_is_found() {
    let mut origin = Origin::start("a").expect("a port");
    origin.stop();
    let gateway = crate::front::start(&[origin.address()]);
    assert_eq!(get(gateway.listener("web"), "/").status, 502);
    origin.restart().expect("its port");
    wait_until(LIMIT, || get(gateway.listener("web"), "/").status == 200);
}

//! The access log: one true line an exchange, whatever bytes a client sends, and never a reason
//! for an exchange to fail or wait.

use crate::front::{BINARY, DOORS, LIMIT, get, request, routes, scrape};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A gateway that logs like this, and its origin.
struct Logged {
    gateway: Gateway,
    origin: Origin,
}

impl Logged {
    fn new(access: &str) -> Logged {
        let origin = Origin::start("a").expect("a port");
        let log = format!("[log]\naccess = {access}\n");
        let text = format!("{DOORS}{log}{}", routes(&[origin.address()]));
        Logged { gateway: Gateway::start(BINARY, &text), origin }
    }

    fn client(&self) -> Client {
        Client::connect(self.gateway.listener("web"))
    }

    /// The lines on standard output once there are so many, and no more.
    #[track_caller]
    fn lines(&self, count: usize) -> Vec<String> {
        wait_until(LIMIT, || self.gateway.output().len() >= count);
        let lines = self.gateway.output();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    fn lost(&self) -> u64 {
        scrape(&self.gateway).sum("access_log_lines_lost_total", &[])
    }
}

/// Lines of a file, as soon as there are so many.
#[track_caller]
fn lines_of(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait_until(LIMIT, || read().lines().count() >= count);
    let lines: Vec<String> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

#[test]
fn every_exchange_is_one_line_of_json_that_says_what_became_of_it() {
    let logged = Logged::new(r#"{ format = "json" }"#);
    let mut client = logged.client();
    client.send("GET /bytes/10?q=1 HTTP/1.1\r\nHost: shop\r\nUser-Agent: me\r\n\r\n");
    client.expect_status(200);
    client.send("POST /sink HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody");
    client.expect_status(200);
    client.send(request("GET", "/a%00", "")).expect_status(400);
    client.send("rubbish\r\n\r\n").expect_status(400);
    let lines = logged.lines(4);
    let all: Vec<Json> = lines.iter().map(|line| Json::read(line)).collect();
    let first = &all[0];
    for (key, expected) in [
        ("method", "GET"),
        ("host", "shop"),
        ("path", "/bytes/10"),
        ("query", "q=1"),
        ("client", "127.0.0.1"),
        ("route", "all"),
        ("upstream", "all"),
        ("user_agent", "me"),
    ] {
        assert_eq!(first.text(key), expected, "{key}");
    }
    assert_eq!(first.text("endpoint"), logged.origin.address().to_string());
    assert_eq!((first.count("status"), first.count("sent"), first.count("received")), (200, 10, 0));
    assert_eq!((all[1].count("received"), all[1].count("attempts")), (4, 1));
    assert_eq!((all[2].count("status"), all[2].text("side")), (400, "client"));
    assert_eq!((all[3].count("status"), all[3].text("failure")), (400, "request-malformed"));
}

#[test]
fn the_exchange_id_of_an_error_page_is_in_the_log() {
    let mut logged = Logged::new(r#"{ format = "json" }"#);
    logged.origin.stop();
    let answer = get(logged.gateway.listener("web"), "/");
    assert_eq!(answer.status, 502);
    let line = Json::read(&logged.lines(1)[0]);
    let id = line.text("id");
    assert!(answer.text().contains(id), "{id} is not in {}", answer.text());
    assert!(answer.field("proxy-status").is_some_and(|value| value.contains(id)));
    assert_eq!((line.text("failure"), line.text("side")), ("connect-refused", "upstream"));
}

/// Bytes that end lines, colour terminals, close quotes or are no text at all.
const HOSTILE: &[u8] = b"a\"b\\c\t\x80\xff\xc3\xa4'<script>{}\",\"status\":999,\"x\":\"";

fn hostile() -> Vec<u8> {
    let mut text = b"GET /%0d%0a%1b'?\"%0a HTTP/1.1\r\nHost: test\r\nUser-Agent: ".to_vec();
    text.extend_from_slice(HOSTILE);
    text.extend_from_slice(b"\r\nReferer: ");
    text.extend_from_slice(HOSTILE);
    text.extend_from_slice(b"\r\n\r\n");
    text
}

#[test]
fn no_byte_of_a_client_breaks_or_forges_a_line_of_json() {
    let logged = Logged::new(r#"{ format = "json" }"#);
    let _ = logged.client().send(hostile()).read_response();
    let line = logged.lines(1).remove(0);
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
    let read = Json::read(&line);
    let expected: String = HOSTILE.iter().map(|byte| char::from(*byte)).collect();
    assert_eq!(read.text("user_agent"), expected);
    assert_ne!(read.count("status"), 999);
}

#[test]
fn no_byte_of_a_client_breaks_or_forges_a_combined_line() {
    let logged = Logged::new(r#"{ format = "combined" }"#);
    let _ = logged.client().send(hostile()).read_response();
    let line = logged.lines(1).remove(0);
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
    // Three quoted texts, and not one quote more.
    assert_eq!(line.matches('"').count(), 6, "{line}");
    assert!(line.contains(r"a\x22b\x5Cc\x09\x80\xFF"), "{line}");
}

#[test]
fn the_combined_format_is_the_one_everybody_reads() {
    let logged = Logged::new(r#"{ format = "combined" }"#);
    let fields = "User-Agent: curl/8\r\nReferer: http://ref/\r\n";
    logged.client().send(request("GET", "/bytes/10?a=b", fields)).expect_status(200);
    let line = logged.lines(1).remove(0);
    let rest = line.strip_prefix("127.0.0.1 - - [").expect(&line);
    let (time, rest) = rest.split_once("] ").expect(&line);
    assert_eq!(rest, r#""GET /bytes/10?a=b HTTP/1.1" 200 10 "http://ref/" "curl/8""#);
    // 10/Oct/2000:13:55:36 +0000
    assert!(time.len() == 26 && time.ends_with(" +0000") && &time[2..3] == "/", "{time}");
}

#[test]
fn neither_bodies_nor_credentials_are_ever_logged() {
    // The first generation wrote request bodies to its log, credentials and all.
    for format in ["json", "combined"] {
        let logged = Logged::new(&format!("{{ format = \"{format}\" }}"));
        let fields = "Authorization: Bearer s3cret-a\r\nCookie: session=s3cret-b\r\n\
                      Proxy-Authorization: Basic s3cret-c\r\nX-Api-Key: s3cret-d\r\n";
        let body = "password=s3cret-e";
        let head = format!("POST /sink HTTP/1.1\r\nHost: test\r\n{fields}");
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        let mut client = logged.client();
        client.send(format!("{head}{length}{body}")).expect_status(200);
        // Nor when the exchange fails.
        client.send(format!("{head}Content-Length: +9\r\n\r\n{body}")).expect_status(400);
        logged.lines(2);
        let all = [logged.gateway.output(), logged.gateway.errors()].concat().join("\n");
        assert!(!all.contains("s3cret"), "{all}");
    }
}

#[test]
fn a_file_that_is_moved_away_is_opened_anew() {
    let logged = Logged::new(r#"{ to = "access.log" }"#);
    let folder = logged.gateway.folder();
    let (path, moved) = (folder.join("access.log"), folder.join("access.log.1"));
    get(logged.gateway.listener("web"), "/first");
    lines_of(&path, 1);
    fs::rename(&path, &moved).expect("a rename");
    get(logged.gateway.listener("web"), "/second");
    assert!(lines_of(&path, 1)[0].contains("/second"));
    assert!(lines_of(&moved, 1)[0].contains("/first"));
    fs::remove_file(&path).expect("a removal");
    get(logged.gateway.listener("web"), "/third");
    assert!(lines_of(&path, 1)[0].contains("/third"));
    assert_eq!(logged.lost(), 0);
}

#[test]
fn a_file_that_was_there_is_appended_to() {
    let origin = Origin::start("a").expect("a port");
    let text = format!("{DOORS}[log.access]\nto = \"old.log\"\n{}", routes(&[origin.address()]));
    let gateway = Launch::new(BINARY, &text).file("old.log", "an old line\n").start();
    get(gateway.listener("web"), "/");
    let lines = lines_of(&gateway.folder().join("old.log"), 2);
    assert_eq!(lines[0], "an old line");
}

#[test]
fn a_full_disk_truncates_no_answer_and_every_lost_line_is_counted() {
    let logged = Logged::new(r#"{ to = "/dev/full" }"#);
    let mut client = logged.client();
    for _ in 0..500 {
        let answer = client.send(request("GET", "/bytes/5000", "")).expect_status(200);
        assert_eq!(answer.body.len(), 5000);
    }
    wait_until(LIMIT, || logged.lost() == 500);
    logged.gateway.expect_error_line("warn: access log:");
    let warnings = logged.gateway.errors().iter().filter(|line| line.contains("warn")).count();
    assert!(warnings < 10, "one complaint is enough, not {warnings}");
}

/// As on a full disk, room ends in the middle of a line; and unlike there, a signal comes with it
/// that ends a process which does not expect it.
#[test]
fn a_log_that_may_not_grow_tears_no_line_and_is_written_again_when_it_may() {
    let origin = Origin::start("a").expect("a port");
    let text = format!("{DOORS}[log.access]\nto = \"access.log\"\n{}", routes(&[origin.address()]));
    // The soft limit alone, in KiB: raised again from outside.
    let script = format!("ulimit -S -f 16; exec '{BINARY}' run -c gatehouse.toml");
    let logged =
        Logged { gateway: Launch::new("bash", &text).arguments(["-c", &script]).start(), origin };
    let path = logged.gateway.folder().join("access.log");
    let mut client = logged.client();
    let mut asked = 0;
    let mut ask = |path: &str| {
        asked += 1;
        let answer = client.send(request("GET", path, "")).expect_status(200);
        assert_eq!(answer.body.len(), 5000);
        asked
    };
    wait_until(LIMIT, || {
        ask("/bytes/5000");
        logged.lost() > 20
    });
    let full = fs::read(&path).expect("the log");
    assert_eq!(full.len(), 16 << 10);
    assert_ne!(full.last(), Some(&b'\n'), "the limit is in the middle of a line");
    let pid = logged.gateway.pid().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(raised.expect("prlimit, of util-linux").success());
    let asked = ask("/bytes/5000/last");
    let whole = || fs::read_to_string(&path).expect("the log");
    wait_until(LIMIT, || whole().contains("/bytes/5000/last"));
    let there = whole().lines().map(Json::read).count() as u64;
    assert_eq!(there + logged.lost(), asked, "each line is there, or counted as lost");
    let complaints = logged.gateway.errors();
    let complaints = complaints.iter().filter(|line| line.contains("lines lost")).count();
    assert_eq!(complaints, 1, "{:?}", logged.gateway.errors());
}

#[test]
fn what_is_logged_before_the_end_is_written_before_the_end() {
    let mut logged = Logged::new(r#"{ to = "access.log" }"#);
    let mut client = logged.client();
    for number in 0..300 {
        client.send(request("GET", &format!("/{number}"), "")).expect_status(200);
    }
    let path = logged.gateway.folder().join("access.log");
    drop(client);
    assert_eq!(logged.gateway.terminate().code(), Some(0));
    let lines = fs::read_to_string(path).expect("the log");
    assert_eq!(lines.lines().count(), 300);
    lines.lines().for_each(|line| drop(Json::read(line)));
}

#[test]
fn a_log_that_nobody_reads_delays_no_answer_and_not_the_end() {
    let origin = Origin::start("a").expect("a port");
    let text = format!("{DOORS}[log.access]\nto = \"pipe\"\n{}", routes(&[origin.address()]));
    let launch = Launch::new(BINARY, &text);
    let pipe = launch.folder().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("it starts");
    assert!(made.success());
    // Held open and never read.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe");
    let mut gateway = launch.start();
    let mut client = Client::connect(gateway.listener("web"));
    let long = format!("X: y\r\nUser-Agent: {}\r\n", "u".repeat(8000));
    // More than the pipe and everything before it can hold.
    for _ in 0..800 {
        client.send(request("GET", "/", &long)).expect_status(200);
    }
    wait_until(LIMIT, || scrape(&gateway).sum("access_log_lines_lost_total", &[]) > 0);
    drop(client);
    assert_eq!(gateway.terminate().code(), Some(0));
    let said = gateway.errors().join("\n");
    assert!(said.contains("warn: access log: its last lines are lost"), "{said}");
}

#[test]
fn a_reader_of_standard_output_that_goes_away_takes_nothing_with_it() {
    let origin = Origin::start("a").expect("a port");
    let text = format!("{DOORS}{}", routes(&[origin.address()]));
    // The shell becomes the gateway, which the test ends; the reader leaves after one line.
    let reader = "mkfifo out; head -n 1 out >/dev/null &";
    let script = format!("{reader} exec '{BINARY}' run -c gatehouse.toml >out");
    let gateway = Launch::new("sh", &text).arguments(["-c", &script]).start();
    wait_until(LIMIT, || {
        assert_eq!(get(gateway.listener("web"), "/").status, 200);
        scrape(&gateway).sum("access_log_lines_lost_total", &[]) > 0
    });
    assert_eq!(get(gateway.listener("web"), "/").status, 200);
}

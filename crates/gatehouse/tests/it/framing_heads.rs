//! Requests whose head can be read two ways, each as a script of bytes: refused, the connection
//! closed, nothing of it passed on, and the next client gets its own answer.

use crate::front::{request, start};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Script, ScriptedOrigin};
use std::cell::Cell;

/// Stands behind every refused request: whoever reads past that request sees it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
const OWN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown";

struct Front {
    origin: ScriptedOrigin,
    gateway: Gateway,
    asked: Cell<usize>,
}

impl Front {
    fn new() -> Front {
        let origin = ScriptedOrigin::each(Script::new().expect_head().send(OWN).times(50));
        let gateway = start(&[origin.address()]);
        Front { origin, gateway, asked: Cell::new(0) }
    }

    /// The request is answered with `status`, its connection ends, the origin saw nothing of it,
    /// and a request on another connection gets its own answer.
    #[track_caller]
    fn refuses(&self, status: u16, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let shown = text[..text.len().min(200)].escape_ascii().to_string();
        let mut client = Client::connect(self.gateway.listener("web"));
        client.offer(text).offer(SMUGGLED);
        let answer = client.read_response();
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        assert_eq!(answer.field("connection"), Some("close"), "{shown}");
        let reason = answer.field("proxy-status").unwrap_or_default();
        assert!(reason.starts_with("gatehouse; error=http_request_"), "{shown}: {reason}");
        client.expect_close();
        self.serves_another(&shown);
    }

    #[track_caller]
    fn serves_another(&self, after: &str) {
        let before = self.asked.replace(self.asked.get() + 1);
        let target = format!("/own/{before}");
        let mut other = Client::connect(self.gateway.listener("web"));
        let answer = other.send(request("GET", &target, "")).expect_status(200);
        assert_eq!(answer.text(), "own", "after {after}");
        let seen = String::from_utf8_lossy(&self.origin.seen_in_all()).into_owned();
        let requests: Vec<&str> = seen.split("\r\n\r\n").filter(|text| !text.is_empty()).collect();
        assert_eq!(requests.len(), self.asked.get(), "after {after} the origin saw {seen:?}");
        let own = requests.iter().filter(|text| text.starts_with("GET /own/")).count();
        assert_eq!(own, self.asked.get(), "after {after} the origin saw {seen:?}");
    }
}

/// A request with these lines behind its request line; `Host` is there already.
fn post(lines: &str, body: &str) -> String {
    format!("POST /broken HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n{body}")
}

#[test]
fn a_length_beside_a_transfer_coding_is_refused() {
    let front = Front::new();
    front.refuses(400, post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"));
    front.refuses(400, post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"));
    front.refuses(400, post("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n"));
}

#[test]
fn a_length_given_twice_is_refused_equal_or_not() {
    let front = Front::new();
    front.refuses(400, post("Content-Length: 5\r\nContent-Length: 5", "hello"));
    front.refuses(400, post("Content-Length: 5\r\nContent-Length: 6", "hello"));
    front.refuses(400, post("Content-Length: 5\r\nX-Between: y\r\ncontent-length: 0", "hello"));
}

#[test]
fn a_list_of_lengths_is_refused() {
    let front = Front::new();
    front.refuses(400, post("Content-Length: 5, 5", "hello"));
    front.refuses(400, post("Content-Length: 5,", "hello"));
}

#[test]
fn a_length_that_is_not_plain_digits_is_refused() {
    let front = Front::new();
    for length in ["+5", "-5", "0x5", "5 5", "5.0", "5e0", "", "five", "\"5\"", "5;"] {
        front.refuses(400, post(&format!("Content-Length: {length}"), "hello"));
    }
    front.refuses(400, post("Content-Length: 18446744073709551621", "hello"));
    front.refuses(400, post("Content-Length: 99999999999999999999999", "hello"));
}

#[test]
fn a_transfer_coding_other_than_chunked_is_refused() {
    let front = Front::new();
    for coding in ["identity", "xchunked", "chunked, identity", "chunked;q=1", "\"chunked\"", ""] {
        front.refuses(400, post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n"));
    }
    front.refuses(400, post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"));
    front.refuses(501, post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"));
}

#[test]
fn a_transfer_coding_given_twice_is_refused() {
    let front = Front::new();
    front.refuses(
        400,
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    );
    front.refuses(400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\n"));
    front.refuses(501, post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"));
}

#[test]
fn a_transfer_coding_in_http_1_0_is_refused() {
    let lines = "Host: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    Front::new().refuses(400, format!("POST /broken HTTP/1.0\r\n{lines}"));
}

#[test]
fn a_bare_line_feed_is_refused() {
    let front = Front::new();
    front.refuses(400, "GET /broken HTTP/1.1\nHost: test\n\n");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: test\nX: y\r\n\r\n");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: test\r\nX: y\n\r\n");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: test\r\n\n");
    front.refuses(400, "GET /broken HTTP/1.1\nHost: test\r\n\r\n");
}

#[test]
fn a_bare_carriage_return_is_refused() {
    let front = Front::new();
    front.refuses(400, "GET /broken HTTP/1.1\rHost: test\r\r");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: test\rX: y\r\n\r\n");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: test\r\n\rX: y\r\n\r\n");
    front.refuses(400, "GET /broken\r HTTP/1.1\r\nHost: test\r\n\r\n");
}

#[test]
fn space_before_the_colon_is_refused() {
    let front = Front::new();
    front.refuses(400, post("Content-Length : 5", "hello"));
    front.refuses(400, post("Transfer-Encoding\t: chunked", "0\r\n\r\n"));
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost : test\r\n\r\n");
}

#[test]
fn obsolete_folding_is_refused() {
    let front = Front::new();
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: test\r\nX: a\r\n b\r\n\r\n");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: test\r\nX: a\r\n\tb\r\n\r\n");
    front.refuses(400, post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"));
    front.refuses(400, "GET /broken HTTP/1.1\r\n Host: test\r\n\r\n");
}

#[test]
fn an_empty_or_impossible_name_is_refused() {
    let front = Front::new();
    for line in [": empty", "no colon", "a b: c", "X\u{e9}: y", "X(: y", "\"X\": y", "X\0: y"] {
        front.refuses(400, format!("GET /broken HTTP/1.1\r\nHost: test\r\n{line}\r\n\r\n"));
    }
}

#[test]
fn a_control_byte_in_a_value_is_refused() {
    let front = Front::new();
    for byte in [0, 1, 8, 0x0b, 0x1b, 0x7f] {
        let mut text = b"GET /broken HTTP/1.1\r\nHost: test\r\nX: a".to_vec();
        text.push(byte);
        text.extend_from_slice(b"b\r\n\r\n");
        front.refuses(400, text);
    }
}

#[test]
fn a_missing_doubled_or_invalid_host_is_refused() {
    let front = Front::new();
    front.refuses(400, "GET /broken HTTP/1.1\r\nX: y\r\n\r\n");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    front.refuses(400, "GET /broken HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    for host in ["", "a, b", "a,b", "me@a", "a/b", "a b", "a:b", "a:", "a:1:2", "[::1", "a%41"] {
        front.refuses(400, format!("GET /broken HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}

#[test]
fn an_absolute_form_that_disagrees_with_host_is_refused() {
    let front = Front::new();
    for target in ["http://other/broken", "http://test:81/broken", "http://me@test/broken"] {
        front.refuses(400, request("GET", target, ""));
    }
    for target in ["ftp://test/broken", "test/broken", "//", "http:///broken", "*", "?x"] {
        let status = if target == "//" { continue } else { 400 };
        front.refuses(status, request("GET", target, ""));
    }
}

#[test]
fn a_path_that_can_be_read_two_ways_is_refused() {
    let front = Front::new();
    for path in ["/a%2Fb", "/a%2fb", "/a%00b", "/a%5Cb", "/a%5cb", "/a\\b", "/a#b", "/a?b#c"] {
        refuses_path(&front, path);
    }
    for path in ["/a%", "/a%2", "/a%zz", "/%2e%2e%2f"] {
        refuses_path(&front, path);
    }
}

/// Such a path is a matter of the route: the message itself is whole, and the connection may live.
#[track_caller]
fn refuses_path(front: &Front, path: &str) {
    let mut client = Client::connect(front.gateway.listener("web"));
    client.send(request("GET", path, "")).expect_status(400);
    front.serves_another(path);
}

#[test]
fn a_version_other_than_1_0_and_1_1_is_refused() {
    let front = Front::new();
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"] {
        front.refuses(505, format!("GET /broken {version}\r\nHost: test\r\n\r\n"));
    }
    for version in ["HTTP/1", "HTTP/11", "http/1.1", "HTTP/1.1x", "HTTP/1.10", "XTTP/1.1", ""] {
        front.refuses(400, format!("GET /broken {version}\r\nHost: test\r\n\r\n"));
    }
    front.refuses(400, "GET /broken\r\nHost: test\r\n\r\n");
    front.refuses(400, "GET  /broken HTTP/1.1\r\nHost: test\r\n\r\n");
    front.refuses(400, "GET /broken  HTTP/1.1\r\nHost: test\r\n\r\n");
    front.refuses(400, "GET /bro ken HTTP/1.1\r\nHost: test\r\n\r\n");
}

#[test]
fn connect_is_refused() {
    let front = Front::new();
    front.refuses(501, "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n");
    front.refuses(501, "CONNECT /broken HTTP/1.1\r\nHost: test\r\n\r\n");
}

#[test]
fn a_target_or_head_beyond_its_limit_is_refused() {
    let front = Front::new();
    front.refuses(414, request("GET", &format!("/{}", "a".repeat(9 << 10)), ""));
    front.refuses(431, request("GET", "/broken", &format!("X: {}\r\n", "a".repeat(40 << 10))));
    front.refuses(431, request("GET", "/broken", &"X: y\r\n".repeat(101)));
    front.refuses(431, request("GET", "/broken", &format!("X: {}\r\n", "a".repeat(2 << 20))));
}

#[test]
fn a_refusal_reads_the_same_in_one_piece_and_byte_by_byte() {
    let front = Front::new();
    let mut client = Client::connect(front.gateway.listener("web"));
    for byte in post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n").bytes() {
        client.offer([byte]);
    }
    client.expect_status(400);
    client.expect_close();
    front.serves_another("a dribbled request");
}

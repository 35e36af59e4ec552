//! The origin, asked by a scripted client and by curl.

use std::process::Command;
use std::time::{Duration, Instant};

use gatehouse_rig::origin::Origin;
use gatehouse_rig::script::{Client, Ending};
use gatehouse_rig::wait_until;

const LIMIT: Duration = Duration::from_secs(10);

fn origin() -> Origin {
    Origin::start("red").expect("a free port")
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

#[test]
fn any_path_is_answered_with_the_name() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    let response = client.send(request("/any")).expect_status(200);
    assert_eq!(response.text(), "red\n");
    assert_eq!(response.field("x-origin"), Some("red"));
    assert_eq!((origin.requests(), origin.connections()), (1, 1));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    let paths = ["/bytes/5", "/slow/20", "/bytes/100000", "/chunked/7", "/bytes/0", "/x"];
    client.send(paths.map(request).concat());
    let lengths = paths.map(|_| client.expect_status(200).body.len());
    assert_eq!(lengths, [5, 4, 100_000, 7, 0, 4]);
    assert_eq!((origin.requests(), origin.connections()), (6, 1));
}

#[test]
fn a_request_that_comes_byte_by_byte_is_read() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    client
        .dribble("POST /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.expect_status(200).text(), "{\"bytes\":3,\"crc32\":\"352441c2\"}\n");
}

#[test]
fn an_upload_is_counted_whatever_its_framing() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    let length = "POST /sink HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789";
    let chunks = "PUT /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                  4\r\n1234\r\n5\r\n56789\r\n0\r\nX-Trailer: t\r\n\r\n";
    client.send(length).send(chunks).send("POST /drain HTTP/1.1\r\nContent-Length: 2\r\n\r\nab");
    let expected = "{\"bytes\":9,\"crc32\":\"cbf43926\"}\n";
    assert_eq!(client.expect_status(200).text(), expected);
    assert_eq!(client.expect_status(200).text(), expected);
    assert_eq!(client.expect_status(200).text(), "{\"bytes\":2}\n");
}

#[test]
fn the_echo_tells_what_it_saw() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    client.send("PUT /echo?a=\"b\" HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: \t2\r\n");
    let echo = client.send("Content-Length: 1\r\n\r\nz").expect_status(200).text();
    let expected = "{\"origin\":\"red\",\"method\":\"PUT\",\"target\":\"/echo?a=\\\"b\\\"\",\
                    \"version\":\"HTTP/1.1\",\"fields\":[[\"Host\",\"h\"],[\"X-A\",\"1\"],\
                    [\"x-a\",\"2\"],[\"Content-Length\",\"1\"]],\
                    \"bytes\":1,\"crc32\":\"62d277af\"}\n";
    assert_eq!(echo, expected);
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    for path in ["/bytes/70000", "/chunked/70000", "/x"] {
        client.send(request(path).replace("GET", "HEAD"));
        let response = client.read_response_to_head();
        assert_eq!(response.status, 200);
    }
    assert_eq!(client.send(request("/bytes/3")).expect_status(200).body.len(), 3);
}

#[test]
fn every_way_of_sending_a_body_sends_the_same_bytes() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    for length in [0, 1, 16_384, 16_385, 1_000_000] {
        let plain = client.send(request(&format!("/bytes/{length}"))).expect_status(200);
        let chunked = client.send(request(&format!("/chunked/{length}"))).expect_status(200);
        let trailers = client.send(request(&format!("/trailers/{length}"))).expect_status(200);
        let sum = client.send(request(&format!("/checksum/{length}"))).expect_status(200).text();
        assert_eq!(plain.body.len(), length);
        assert!(plain.body == chunked.body && plain.body == trailers.body, "{length} bytes");
        assert_eq!(trailers.trailers, [("X-Checksum".to_owned(), sum.trim().to_owned())]);
        let mut other = Client::connect(origin.address());
        let closed = other.send(request(&format!("/until-close/{length}"))).expect_status(200);
        assert!(plain.body == closed.body);
    }
}

#[test]
fn every_so_manyth_answer_is_slow() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    let mut slow = || {
        let start = Instant::now();
        client.send(request("/delay/1/40/3")).expect_status(200);
        start.elapsed() >= Duration::from_millis(40)
    };
    let answers = [slow(), slow(), slow(), slow(), slow(), slow()];
    assert!(answers[2] && answers[5], "{answers:?}");
    assert!(answers.iter().any(|slow| !slow), "{answers:?}");
}

#[test]
fn a_stall_holds_back_every_answer_until_it_is_over() {
    let origin = origin();
    let (mut first, mut second) =
        (Client::connect(origin.address()), Client::connect(origin.address()));
    let start = Instant::now();
    first.send(request("/stall/60/2")).expect_status(200);
    first.send(request("/stall/60/2"));
    wait_until(LIMIT, || origin.requests() == 2);
    second.send(request("/stall/60/2")).expect_status(200);
    first.expect_status(200);
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn a_status_is_answered_and_an_interim_one_is_followed_by_200() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    for status in [200, 204, 304, 404, 503] {
        client.send(request(&format!("/status/{status}"))).expect_status(status);
    }
    let response = client.send(request("/status/103")).expect_status(200);
    assert_eq!(response.interim[0].line, "HTTP/1.1 103 Early Hints");
}

#[test]
fn a_client_that_waits_for_100_gets_it_and_may_then_send() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    client.send("PUT /sink HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.read_head().line, "HTTP/1.1 100 Continue");
    assert!(client.send("abc").expect_status(200).text().contains("352441c2"));
}

#[test]
fn an_early_answer_comes_before_the_body_and_the_connection_goes_on() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    client.send("PUT /early HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc").expect_status(200);
    client.send([b'x'; 97]).send(request("/bytes/1")).expect_status(200);
}

#[test]
fn an_early_answer_to_a_client_that_waits_for_100_closes() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    client.send("PUT /early HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    let response = client.expect_status(200);
    assert_eq!(response.field("connection"), Some("close"));
    client.expect_close();
}

#[test]
fn a_connection_closes_when_it_is_asked_to() {
    let origin = origin();
    let requests = [
        request("/close"),
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ];
    for request in requests {
        let mut client = Client::connect(origin.address());
        let response = client.send(request).expect_status(200);
        assert_eq!(response.field("connection"), Some("close"));
        client.expect_close();
    }
}

#[test]
fn a_truncated_answer_ends_before_its_length() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    let head = client.send(request("/truncate/1000")).read_head();
    assert_eq!(head.field("content-length"), Some("1000"));
    let (body, ending) = client.read_rest();
    assert_eq!((body.len(), ending), (500, Ending::End));
}

#[test]
fn a_reset_comes_instead_of_an_answer() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    client.send(request("/reset")).expect_reset();
    wait_until(LIMIT, || origin.open_connections() == 0);
}

#[test]
fn a_slow_answer_takes_its_time() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    let start = Instant::now();
    client.send(request("/slow/60")).expect_status(200);
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn half_a_close_still_gets_its_answers() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    client.send(request("/slow/30")).send(request("/bytes/300000")).half_close();
    assert_eq!(client.expect_status(200).text(), "red\n");
    assert_eq!(client.expect_status(200).body.len(), 300_000);
    client.expect_close();
    wait_until(LIMIT, || origin.open_connections() == 0);
}

#[test]
fn what_is_no_request_is_refused() {
    let origin = origin();
    for text in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"] {
        let mut client = Client::connect(origin.address());
        client.send(text).expect_status(400);
        client.expect_close();
    }
    let mut client = Client::connect(origin.address());
    client
        .send("PUT /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .expect_status(400);
    client.expect_close();
}

#[test]
fn many_connections_are_served_beside_one_that_never_reads() {
    let origin = origin();
    let mut greedy = Client::connect(origin.address());
    greedy.send(request("/bytes/100000000000"));
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(origin.address())).collect();
    for client in &mut clients {
        client.send(request("/bytes/1024"));
    }
    for client in &mut clients {
        assert_eq!(client.expect_status(200).body.len(), 1024);
    }
    assert_eq!((origin.requests(), origin.open_connections()), (201, 201));
}

#[test]
fn a_stopped_origin_ends_its_connections_and_refuses_new_ones() {
    let mut origin = origin();
    let mut client = Client::connect(origin.address());
    client.send(request("/")).expect_status(200);
    origin.stop();
    let (rest, ending) = client.read_rest();
    assert_eq!((rest.len(), ending), (0, Ending::End));
    let refused = std::net::TcpStream::connect(origin.address());
    assert!(refused.is_err());
}

#[test]
fn a_killed_origin_resets_its_connections_and_starts_again_on_its_port() {
    let mut origin = origin();
    let address = origin.address();
    for round in 1..=3 {
        let mut client = Client::connect(address);
        client.send(request("/")).expect_status(200);
        client.send(request("/slow/60000"));
        wait_until(LIMIT, || origin.requests() == 2 * round);
        origin.kill();
        assert_eq!(origin.open_connections(), 0);
        client.expect_reset();
        origin.restart().expect("the same port");
        assert_eq!(origin.address(), address);
    }
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output();
    let output = output.expect("curl is installed by .ci/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn curl_agrees_about_framing() {
    let origin = origin();
    let url = |path: &str| format!("http://{}{path}", origin.address());
    let format = "%{http_code} %{size_download}";
    for path in ["/bytes/1000000", "/chunked/1000000", "/until-close/1000000"] {
        assert_eq!(curl(&["-o", "/dev/null", "-w", format, &url(path)]), "200 1000000", "{path}");
    }
    let upload = ["-H", "Expect: 100-continue", "--data-binary", "123456789"];
    let sink = url("/sink");
    let counted = "{\"bytes\":9,\"crc32\":\"cbf43926\"}\n";
    assert_eq!(curl(&[&upload[..], &[&sink]].concat()), counted);
    let chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", "123456789"];
    assert_eq!(curl(&[&chunked[..], &[&sink]].concat()), counted);
    assert_eq!(curl(&["-w", format, &url("/status/503")]), "503\n503 4");
}

#[test]
fn its_temper_can_be_changed_while_it_runs() {
    let origin = origin();
    let mut client = Client::connect(origin.address());
    client.send(request("/temper/500/0/0")).expect_status(200);
    client.send(request("/bytes/5")).expect_status(500);
    client.send(request("/temper/0/50/1")).expect_status(200);
    let begun = Instant::now();
    assert_eq!(client.send(request("/bytes/5")).expect_status(200).body.len(), 5);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    client.send(request("/temper/0/0/0")).expect_status(200);
    assert_eq!(client.send(request("/")).expect_status(200).text(), "red\n");
}

//! Bodies are held in bounded buffers and never collected (first generation, defects 3 and 13):
//! who reads slowly slows down who writes.

use crate::bench::{Setup, with};
use crate::talk::get;

/// Two network buffers of 64 KiB, one of the gateway's of 256 KiB, and a little.
const HELD_MAX: usize = 2 * 64 * 1024 + 256 * 1024 + 1024;

#[test]
fn a_client_that_does_not_read_stops_the_origin() {
    for head in ["Content-Length: 50000000\r\n", ""] {
        with(Setup::default(), async |bench| {
            let mut line = bench.line();
            line.ask(get("/"), format!("HTTP/1.1 200 OK\r\n{head}\r\n")).await;
            let body = vec![b'd'; 10_000_000];
            let sent = line.at_origin().await.pour(&body).await;
            assert!(sent <= HELD_MAX, "{sent} bytes were taken for a client that reads nothing");
            let heard = line.client.drink().await;
            assert!(heard >= sent, "{heard} of {sent}");
            let more = line.at_origin().await.pour(&body).await;
            assert!((1..=HELD_MAX).contains(&more), "{more}");
        });
    }
}

#[test]
fn an_origin_that_does_not_read_stops_the_client() {
    for (head, first) in
        [("Content-Length: 50000000\r\n", ""), ("Transfer-Encoding: chunked\r\n", "2faf080\r\n")]
    {
        with(Setup::default(), async |bench| {
            let mut line = bench.line();
            line.client.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n{first}")).await;
            line.at_origin().await.hear_head().await;
            let body = vec![b'u'; 10_000_000];
            let sent = line.client.pour(&body).await;
            assert!(sent <= HELD_MAX, "{sent} bytes were taken for an origin that reads nothing");
            let heard = line.at_origin().await.drink().await;
            assert!(heard >= sent, "{heard} of {sent}");
            let more = line.client.pour(&body).await;
            assert!((1..=HELD_MAX).contains(&more), "{more}");
        });
    }
}

#[test]
fn a_request_that_is_answered_slowly_holds_little_of_those_behind_it() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(get("/")).await;
        line.at_origin().await.hear_head().await;
        let sent = line.client.pour(get("/").repeat(100_000).as_bytes()).await;
        assert!(sent <= HELD_MAX, "{sent}");
    });
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), crate::talk::ok(&"x".repeat(100_000))).await;
        crate::talk::pass(crate::talk::SOON).await;
        assert_eq!(bench.gate.lent_buffers(), 0);
        assert_eq!(bench.gate.idle_connections(), 1);
        line.client.say(get("/").repeat(2)).await;
        line.at_origin().await.hear_head().await;
        assert!(bench.gate.lent_buffers() > 0);
    });
}

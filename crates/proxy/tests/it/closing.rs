//! A client's FIN is half a close: its answer still comes. Its reset cancels what it asked for.

use crate::bench::{Setup, with};
use crate::talk::{End, field, get, ok, pass};
use std::time::Duration;

const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";

#[test]
fn a_client_that_half_closes_is_still_answered() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(get("/")).await;
        line.client.half_close().await;
        line.at_origin().await.hear_head().await;
        pass(Duration::from_secs(5)).await;
        line.at_origin().await.say(ok("hello")).await;
        let (heard, end) = line.client.hear_how_it_ends().await;
        assert!(heard.ends_with("hello"), "{heard}");
        assert_eq!(field(&heard, "connection"), Some("close"));
        assert_eq!(end, End::Closed);
        assert_eq!(bench.gate.idle_connections(), 1);
    });
}

#[test]
fn a_client_that_half_closes_behind_its_upload_is_still_answered() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        line.client.half_close().await;
        line.at_origin().await.hear_until("hello").await;
        pass(Duration::from_secs(5)).await;
        line.at_origin().await.say(ok("thanks")).await;
        assert!(line.client.hear_end().await.ends_with("thanks"));
    });
}

#[test]
fn pipelined_requests_behind_which_the_client_half_closes_are_all_answered() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(get("/1") + &get("/2") + &get("/3")).await;
        line.client.half_close().await;
        for path in ["/1", "/2", "/3"] {
            assert!(line.at_origin().await.hear_head().await.starts_with(&format!("GET {path} ")));
            line.at_origin().await.say(ok(path)).await;
            assert_eq!(line.client.hear_message().await.1, path);
        }
        assert_eq!(line.client.hear_end().await, "");
    });
}

#[test]
fn a_client_that_half_closes_within_its_answer_gets_the_rest() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.ask(get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
        line.client.hear_until("hello").await;
        line.client.half_close().await;
        pass(Duration::from_secs(5)).await;
        line.at_origin().await.say("world").await;
        assert_eq!(line.client.hear_end().await, "world");
    });
}

#[test]
fn a_client_that_resets_cancels_a_connect_under_way() {
    with(Setup::default(), async |bench| {
        bench.net.swallow(crate::bench::origin_address(1));
        let mut client = bench.client();
        client.say(get("/")).await;
        pass(Duration::from_millis(100)).await;
        assert_eq!(bench.gate.meters.in_flight.get(), 1);
        client.reset();
        pass(Duration::from_millis(100)).await;
        assert_eq!(bench.gate.meters.in_flight.get(), 0);
        assert!(bench.log().contains("\"failure\":\"client-gone\""));
        assert_eq!(bench.endpoints.list()[0].vitals.connect_failed(), 0);
    });
}

#[test]
fn a_client_that_resets_cancels_the_exchange_wherever_it_is() {
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    for (request, answer) in [
        (get("/"), ""),
        (get("/"), "HTTP/1.1 103 Early Hints\r\n\r\n"),
        (get("/"), "HTTP/1.1 200 OK\r\nContent-"),
        (get("/"), sized),
        (get("/"), "HTTP/1.1 200 OK\r\n\r\nhello"),
        (format!("{UPLOAD}hello"), ""),
        (format!("{UPLOAD}hello"), sized),
    ] {
        with(Setup::default(), async |bench| {
            let mut line = bench.line();
            line.ask(&request, answer).await;
            pass(Duration::from_millis(100)).await;
            assert_eq!(bench.gate.meters.in_flight.get(), 1, "{request}{answer}");
            line.client.reset();
            line.client = bench.client();
            pass(Duration::from_millis(100)).await;
            assert_eq!(bench.gate.meters.in_flight.get(), 0, "{request}{answer}");
            line.at_origin().await.hear_end().await;
            let log = bench.log();
            assert!(log.contains("\"failure\":\"client-gone\""), "{request}{answer}{log}");
            assert_eq!(bench.endpoints.list()[0].vitals.failed(), 0);
        });
    }
}

#[test]
fn a_client_that_resets_an_upload_the_origin_does_not_read_is_noticed() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(UPLOAD).await;
        line.at_origin().await.hear_head().await;
        line.client.say(&[b'u'; 100_000]).await;
        pass(Duration::from_millis(1)).await;
        line.client.reset();
        line.client = bench.client();
        pass(Duration::from_secs(1)).await;
        assert_eq!(bench.gate.meters.in_flight.get(), 0);
    });
}

#[test]
fn a_client_that_resets_with_another_request_pipelined_is_noticed() {
    with(Setup::default(), async |bench| {
        let mut line = bench.line();
        line.client.say(get("/1") + &get("/2")).await;
        line.at_origin().await.hear_head().await;
        line.client.reset();
        line.client = bench.client();
        pass(Duration::from_secs(1)).await;
        assert_eq!(bench.gate.meters.in_flight.get(), 0);
    });
}

#[test]
fn a_refused_upload_is_read_for_a_while_so_that_its_answer_is_not_lost_to_a_reset() {
    let limits = gatehouse_core::plan::ClientLimits {
        body_bytes_max: Some(10),
        ..gatehouse_core::plan::ClientLimits::default()
    };
    with(Setup { limits, ..Setup::default() }, async |bench| {
        let mut client = bench.client();
        client.say(UPLOAD).await;
        client.say(&[b'u'; 900_000]).await;
        let (heard, end) = client.hear_how_it_ends().await;
        assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
        assert_eq!(end, End::Closed);
    });
}

#[test]
fn a_client_that_never_stops_sending_after_its_refusal_is_cut() {
    let mut setup = Setup::default();
    setup.limits.body_bytes_max = Some(10);
    with(setup, async |bench| {
        let mut client = bench.client();
        client.say(UPLOAD.replace("1000000", "1000000000")).await;
        assert!(!client.try_say(&vec![b'u'; 5_000_000]).await);
    });
}

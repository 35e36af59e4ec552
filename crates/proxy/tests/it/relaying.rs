//! Bodies, both ways.

use crate::bench::{Setup, with};
use crate::talk::{field, get, ok};

#[test]
fn a_chunked_answer_keeps_its_payload_and_trailers() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        assert_eq!(field(&client.hear_head().await, "transfer-encoding"), Some("chunked"));
        assert_eq!(client.hear_until("hello\r\n").await, "5\r\nhello\r\n");
        at_origin.say("0\r\nX-Sum: 7\r\n\r\n").await;
        assert_eq!(client.hear_until("\r\n\r\n").await, "0\r\nX-Sum: 7\r\n\r\n");
        assert_eq!(bench.gate.idle_connections(), 1);
    });
}

#[test]
fn an_upload_reaches_the_origin_as_it_comes() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").await;
        let mut at_origin = origin.accept().await;
        assert_eq!(field(&at_origin.hear_head().await, "content-length"), Some("10"));
        at_origin.hear_until("01234").await;
        client.say("56789").await;
        at_origin.hear_until("56789").await;
        at_origin.say(ok("thanks")).await;
        assert_eq!(client.hear_message().await.1, "thanks");
    });
}

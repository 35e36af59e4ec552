//! What reaches an origin, and from whom it says it comes.

use crate::bench::{Setup, with};
use crate::talk::{field, get, ok};

#[test]
fn a_request_reaches_the_origin_and_its_answer_the_client() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/a/../b?q=1")).await;
        let mut at_origin = origin.accept().await;
        let head = at_origin.hear_head().await;
        assert!(head.starts_with("GET /b?q=1 HTTP/1.1\r\nHost: example.com\r\n"), "{head}");
        assert_eq!(field(&head, "x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
        assert_eq!(field(&head, "x-forwarded-host"), Some("example.com"));
        assert_eq!(field(&head, "via"), Some("1.1 gatehouse"));
        at_origin.say(ok("hello")).await;
        let (head, body) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, "hello");
        assert!(bench.log().contains("\"status\":200"));
    });
}

#[test]
fn a_kept_connection_carries_the_next_request() {
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let mut client = bench.client();
        client.say(get("/1")).await;
        let mut at_origin = origin.accept().await;
        at_origin.hear_head().await;
        at_origin.say(ok("1")).await;
        client.hear_message().await;
        assert_eq!(bench.gate.idle_connections(), 1);
        client.say(get("/2")).await;
        assert!(at_origin.hear_head().await.starts_with("GET /2 "));
        at_origin.say(ok("2")).await;
        assert_eq!(client.hear_message().await.1, "2");
    });
}

#[test]
fn no_endpoint_that_answers_is_a_502_with_its_reason() {
    with(Setup::default(), async |bench| {
        let mut client = bench.client();
        client.say(get("/")).await;
        let (head, body) = client.hear_message().await;
        assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
        let status = field(&head, "proxy-status").unwrap();
        assert!(status.starts_with("gatehouse; error=connection_refused;"), "{status}");
        assert!(body.starts_with("502 Bad Gateway: the connection was refused"), "{body}");
        client.say(get("/again")).await;
        assert!(client.hear_head().await.starts_with("HTTP/1.1 502 "));
    });
}

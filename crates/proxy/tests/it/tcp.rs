//! TCP carried through: every byte and every end, and none of the gateway's own.

use crate::bench::{Bench, GATEWAY, Setup, endpoints_at_most, origin_address, with};
use crate::talk::{Clock, End, SOON, Talk, pass};
use gatehouse_core::plan::{Carries, ClientLimits, Retry, Timeouts};
use gatehouse_core::rate::Rate;
use gatehouse_core::route::HostRule;
use std::future::Future;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn tcp() -> Setup {
    Setup { carries: Carries::Tcp, ..Setup::default() }
}

fn carried<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    with(tcp(), test);
}

/// A client and the connection the gateway has opened for it.
async fn connected(bench: &Bench) -> (Talk, Talk) {
    let (mut origin, client) = (bench.origin(1), bench.client());
    (client, origin.accept().await)
}

/// The first flight of a TLS client, and the name it asks for.
fn client_hello() -> Vec<u8> {
    let text = include_str!("../../../wire/tests/data/client_hello.txt");
    let hex = text.lines().nth(2).expect("the first hello");
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

const NAME: &str = "db.example.com";

fn for_host(name: &str) -> Setup {
    Setup { hosts: vec![HostRule::Exact(name.into())], ..tcp() }
}

#[test]
fn bytes_are_carried_as_they_are_and_the_log_says_how_many() {
    carried(async |bench| {
        let (mut client, mut origin) = connected(&bench).await;
        client.say("GET / HTTP/1.1\r\n\0\n").await;
        assert_eq!(origin.hear_bytes(18).await, "GET / HTTP/1.1\r\n\0\n");
        origin.say("\0anything").await;
        assert_eq!(client.hear_bytes(9).await, "\0anything");
        client.half_close().await;
        assert_eq!(origin.hear_how_it_ends().await, (String::new(), End::Closed));
        origin.half_close().await;
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Closed));
        pass(SOON).await;
        let log = bench.log();
        for part in [
            r#""protocol":"tcp","listener":"web","#,
            r#""received":18,"sent":9,"#,
            r#""route":"all","upstream":"origins","endpoint":"10.0.1.1:80","attempts":1"#,
            r#""ended":"client"}"#,
        ] {
            assert!(log.contains(part), "{part} in {log}");
        }
        let meters = bench.gate.meters.routes();
        let of = |name: &str| meters.iter().find(|(own, _)| &**own == name).unwrap().1.clone();
        assert_eq!(of("all").connections.get(), 1);
        assert_eq!((of("all").received_bytes.get(), of("all").sent_bytes.get()), (18, 9));
    });
}

#[test]
fn an_endpoint_may_speak_first() {
    carried(async |bench| {
        let (mut client, mut origin) = connected(&bench).await;
        origin.say("220 ready\r\n").await;
        assert_eq!(client.hear_bytes(11).await, "220 ready\r\n");
    });
}

#[test]
fn each_direction_ends_by_itself() {
    carried(async |bench| {
        let (mut client, mut origin) = connected(&bench).await;
        client.say("all of it").await;
        client.half_close().await;
        assert_eq!(origin.hear_how_it_ends().await, ("all of it".into(), End::Closed));
        pass(60 * SECOND).await;
        origin.say("late answer").await;
        assert_eq!(client.hear_bytes(11).await, "late answer");
        origin.half_close().await;
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Closed));

        let (mut client, mut origin) = connected(&bench).await;
        origin.say("bye").await;
        origin.half_close().await;
        assert_eq!(client.hear_how_it_ends().await, ("bye".into(), End::Closed));
        client.say("still talking").await;
        assert_eq!(origin.hear_bytes(13).await, "still talking");
        client.half_close().await;
        assert_eq!(origin.hear_how_it_ends().await, (String::new(), End::Closed));
        pass(SOON).await;
        assert!(bench.log().contains(r#""ended":"upstream"}"#));
    });
}

#[test]
fn a_client_that_has_ended_before_its_endpoint_is_reached_is_still_answered() {
    carried(async |bench| {
        let mut client = bench.client();
        client.say("question").await;
        client.half_close().await;
        let mut origin = bench.origin(1).accept().await;
        assert_eq!(origin.hear_how_it_ends().await, ("question".into(), End::Closed));
        origin.say("answer").await;
        origin.half_close().await;
        assert_eq!(client.hear_how_it_ends().await, ("answer".into(), End::Closed));
    });
}

#[test]
fn a_reset_of_either_side_is_a_reset_of_the_other() {
    carried(async |bench| {
        let (client, mut origin) = connected(&bench).await;
        client.reset();
        assert_eq!(origin.hear_how_it_ends().await, (String::new(), End::Reset));
        let (mut client, origin) = connected(&bench).await;
        origin.reset();
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Reset));
        pass(SOON).await;
        let log = bench.log();
        assert!(
            log.contains(r#""failure":"client-gone","step":"respond","side":"client""#),
            "{log}"
        );
        assert!(log.contains(r#""failure":"upstream-reset","step":"respond","side":"upstream""#));
    });
}

#[test]
fn an_endpoint_that_refuses_is_followed_by_the_next() {
    with(Setup { endpoints: 3, ..tcp() }, async |bench| {
        let mut third = bench.origin(3);
        let mut client = bench.client();
        client.say("hello").await;
        let mut origin = third.accept().await;
        assert_eq!(origin.hear_bytes(5).await, "hello");
        origin.say("welcome").await;
        assert_eq!(client.hear_bytes(7).await, "welcome");
    });
}

#[test]
fn where_nobody_is_there_the_connection_is_reset_and_no_text_comes() {
    with(Setup { endpoints: 2, ..tcp() }, async |bench| {
        let mut client = bench.client();
        client.say("hello").await;
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Reset));
        pass(SOON).await;
        let log = bench.log();
        assert!(log.contains(r#""failure":"connect-refused","step":"lease""#), "{log}");
        drop(bench.client());
    });
}

#[test]
fn a_connect_that_takes_too_long_is_followed_by_the_next() {
    let connect = Duration::from_millis(250);
    let timeouts = Timeouts { connect, ..Timeouts::default() };
    with(Setup { endpoints: 2, timeouts, ..tcp() }, async |bench| {
        bench.net.swallow(origin_address(1));
        let mut second = bench.origin(2);
        let clock = Clock::start();
        let mut client = bench.client();
        let mut origin = second.accept().await;
        clock.has_passed(connect);
        origin.say("hello").await;
        assert_eq!(client.hear_bytes(5).await, "hello");
    });
}

#[test]
fn without_retries_the_first_failure_is_the_last() {
    let retry = Retry { attempts: 0, ..Retry::default() };
    with(Setup { endpoints: 2, retry, ..tcp() }, async |bench| {
        let _second = bench.origin(2);
        assert_eq!(bench.client().hear_how_it_ends().await, (String::new(), End::Reset));
    });
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_reset_and_one_that_trickles_is_not() {
    let timeouts = Timeouts { tunnel: 10 * SECOND, idle: SECOND, ..Timeouts::default() };
    with(Setup { timeouts, ..tcp() }, async |bench| {
        let (mut client, mut origin) = connected(&bench).await;
        for _ in 0..5 {
            pass(9 * SECOND).await;
            client.say("a").await;
            assert_eq!(origin.hear_bytes(1).await, "a");
            pass(9 * SECOND).await;
            origin.say("b").await;
            assert_eq!(client.hear_bytes(1).await, "b");
        }
        let clock = Clock::start();
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Reset));
        clock.has_passed(10 * SECOND);
        assert_eq!(origin.hear_how_it_ends().await, (String::new(), End::Reset));
        pass(SOON).await;
        assert!(bench.log().contains(r#""failure":"tunnel-idle""#));
    });
}

#[test]
fn a_tunnel_ends_when_its_whole_time_is_over_whatever_moves() {
    let timeouts = Timeouts { total: Some(5 * SECOND), ..Timeouts::default() };
    with(Setup { timeouts, ..tcp() }, async |bench| {
        let clock = Clock::start();
        let (mut client, mut origin) = connected(&bench).await;
        for _ in 0..4 {
            pass(SECOND).await;
            client.say("a").await;
            origin.hear_bytes(1).await;
        }
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Reset));
        clock.has_passed(5 * SECOND);
        assert_eq!(origin.hear_how_it_ends().await, (String::new(), End::Reset));
    });
}

#[test]
fn a_slow_reader_holds_back_the_sender_and_nothing_is_lost() {
    carried(async |bench| {
        let (mut client, mut origin) = connected(&bench).await;
        let text = "0123456789abcdef".repeat(128 * 1024);
        let poured = origin.pour(text.as_bytes()).await;
        assert!(poured < 1024 * 1024, "{poured} bytes are held for a client that does not read");
        let heard = client.hear_bytes(poured).await;
        assert!(text.starts_with(&heard), "bytes came in another order");
    });
}

#[test]
fn a_connection_past_a_limit_is_closed_and_carries_nothing() {
    let limits = ClientLimits { connections_max: 1, ..ClientLimits::default() };
    with(Setup { limits, ..tcp() }, async |bench| {
        let (mut client, mut origin) = connected(&bench).await;
        assert_eq!(bench.client().hear_end().await, "");
        assert_eq!(bench.gate.meters.refused.get(), 1);
        client.say("hello").await;
        assert_eq!(origin.hear_bytes(5).await, "hello");
    });
    with(tcp(), async |bench| {
        bench.gate.set_endpoints(endpoints_at_most(1, 1));
        let (mut client, mut origin) = connected(&bench).await;
        assert_eq!(bench.client().hear_how_it_ends().await, (String::new(), End::Reset));
        pass(SOON).await;
        assert!(bench.log().contains(r#""failure":"endpoints-at-cap""#));
        client.say("hello").await;
        assert_eq!(origin.hear_bytes(5).await, "hello");
        drop((client, origin));
        pass(SOON).await;
        let (mut client, mut origin) = connected(&bench).await;
        client.say("again").await;
        assert_eq!(origin.hear_bytes(5).await, "again");
    });
}

#[test]
fn connections_past_the_rate_are_closed_as_they_come() {
    let connection_rate = Some(Rate::new(2, SECOND));
    let limits = ClientLimits { connection_rate, ..ClientLimits::default() };
    with(Setup { limits, ..tcp() }, async |bench| {
        let mut origin = bench.origin(1);
        pass(SECOND).await;
        let (_one, _two) = (bench.client(), bench.client());
        let (_first, _second) = (origin.accept().await, origin.accept().await);
        assert_eq!(bench.client().hear_end().await, "");
        assert_eq!(bench.gate.meters.refused.get(), 1);
        pass(SECOND / 2).await;
        let _three = bench.client();
        origin.accept().await;
    });
}

#[test]
fn tls_finds_its_route_by_name_and_reaches_the_endpoint_untouched() {
    with(for_host(NAME), async |bench| {
        let (mut origin, mut client) = (bench.origin(1), bench.client());
        let hello = client_hello();
        for part in hello.chunks(100) {
            assert!(origin.accept_soon(SOON).await.is_none());
            client.say(part).await;
        }
        let mut origin = origin.accept().await;
        assert_eq!(origin.hear_raw(hello.len()).await, hello);
        client.say("more").await;
        assert_eq!(origin.hear_bytes(4).await, "more");
        drop((client, origin));
        pass(SOON).await;
        assert!(bench.log().contains(r#""host":"db.example.com","#));
    });
}

#[test]
fn what_asks_for_no_name_or_another_finds_no_route_and_is_reset() {
    let other = for_host("other.example.com");
    with(other, async |bench| {
        let _origin = bench.origin(1);
        let mut broken = client_hello();
        broken[5] = 2;
        let cases = [
            (&client_hello()[..], "no-route"),
            (b"GET / HTTP/1.1\r\n", "no-route"),
            (&broken, "client-hello-invalid"),
        ];
        for (text, failure) in cases {
            let mut client = bench.client();
            client.say(text).await;
            assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Reset));
            pass(SOON).await;
            let log = bench.log();
            assert!(log.contains(&format!("\"failure\":\"{failure}\"")), "{log}");
        }
    });
}

#[test]
fn a_client_hello_that_does_not_come_is_waited_for_no_longer_than_a_head() {
    with(for_host(NAME), async |bench| {
        let _origin = bench.origin(1);
        let (mut silent, mut slow) = (bench.client(), bench.client());
        let clock = Clock::start();
        slow.say(&client_hello()[..200]).await;
        for talk in [&mut silent, &mut slow] {
            assert_eq!(talk.hear_how_it_ends().await, (String::new(), End::Reset));
        }
        clock.has_passed(ClientLimits::default().head_timeout);
        pass(SOON).await;
        assert!(bench.log().contains(r#""failure":"handshake-timeout""#));
    });
}

#[test]
fn a_drain_leaves_tunnels_alone_until_its_time_is_over() {
    carried(async |bench| {
        let (mut client, mut origin) = connected(&bench).await;
        bench.gate.drain();
        pass(30 * SECOND).await;
        client.say("still").await;
        assert_eq!(origin.hear_bytes(5).await, "still");
        assert!(bench.net.connect(GATEWAY.into()).is_err());
        bench.gate.cut();
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Reset));
        assert_eq!(origin.hear_how_it_ends().await, (String::new(), End::Reset));
        pass(SOON).await;
        assert!(bench.log().contains(r#""failure":"drain-cut""#));
    });
}

#[test]
fn endpoints_taken_out_get_no_new_connections_and_keep_those_they_have() {
    carried(async |bench| {
        let (mut client, mut origin) = connected(&bench).await;
        bench.gate.set_endpoints(crate::bench::endpoints(0));
        assert_eq!(bench.client().hear_how_it_ends().await, (String::new(), End::Reset));
        client.say("still here").await;
        assert_eq!(origin.hear_bytes(10).await, "still here");
    });
}

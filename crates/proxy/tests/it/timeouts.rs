//! Every configured time is used, and is exact by the paused clock (first generation, defect 6).

use crate::bench::{Bench, Setup, origin_address, with};
use crate::talk::{Clock, End, Talk, field, get, ok, pass};
use gatehouse_core::plan::{ClientLimits, Retry, Timeouts};
use std::time::Duration;

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Values no default has, each different from the others.
pub fn setup() -> Setup {
    Setup {
        timeouts: Timeouts {
            total: None,
            connect: seconds(2),
            first_byte: seconds(21),
            tunnel: seconds(31),
            idle: seconds(13),
        },
        limits: ClientLimits {
            head_timeout: seconds(7),
            idle_timeout: seconds(17),
            body_rate_min: 100,
            read_rate_min: 90,
            ..ClientLimits::default()
        },
        retry: Retry { attempts: 0, ..Retry::default() },
        ..Setup::default()
    }
}

pub fn with_total(total: Duration) -> Setup {
    let mut setup = setup();
    setup.timeouts.total = Some(total);
    setup
}

pub async fn hears(client: &mut Talk, status: u16, word: &str) {
    let (head, _) = client.hear_message().await;
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(field(&head, "proxy-status").unwrap().contains(word), "{head}");
}

#[test]
fn a_connection_that_never_asks_is_closed_after_the_head_timeout() {
    with(setup(), async |bench| {
        let (mut client, clock) = (bench.client(), Clock::start());
        assert_eq!(client.hear_how_it_ends().await, (String::new(), End::Closed));
        clock.has_passed(seconds(7));
    });
}

#[test]
fn a_head_that_takes_too_long_is_a_408() {
    with(setup(), async |bench| {
        let (mut client, clock) = (bench.client(), Clock::start());
        for byte in "GET / ".bytes() {
            client.say([byte]).await;
            pass(seconds(1)).await;
        }
        hears(&mut client, 408, "http_request_error").await;
        clock.has_passed(seconds(7));
        client.hear_end().await;
    });
}

#[test]
fn the_head_timeout_of_a_later_request_counts_from_its_first_byte() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), ok("")).await;
        pass(seconds(10)).await;
        let clock = Clock::start();
        line.client.say("G").await;
        hears(&mut line.client, 408, "http_request_error").await;
        clock.has_passed(seconds(7));
    });
}

#[test]
fn an_idle_connection_is_closed_after_the_idle_timeout() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.fetch(get("/"), ok("")).await;
        let clock = Clock::start();
        assert_eq!(line.client.hear_how_it_ends().await, (String::new(), End::Closed));
        clock.has_passed(seconds(17));
    });
}

#[test]
fn a_connect_that_takes_too_long_is_a_504() {
    with(setup(), async |bench| {
        bench.net.swallow(origin_address(1));
        let (mut client, clock) = (bench.client(), Clock::start());
        client.say(get("/")).await;
        hears(&mut client, 504, "connection_timeout").await;
        clock.has_passed(seconds(2));
    });
}

#[test]
fn a_body_that_stalls_is_a_408() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
        line.at_origin().await.hear_head().await;
        line.client.say(&[b'u'; 50_000]).await;
        let clock = Clock::start();
        line.at_origin().await.hear_raw(50_000).await;
        hears(&mut line.client, 408, "http_request_error").await;
        clock.has_passed(seconds(13));
        line.at_origin().await.hear_end().await;
        assert_eq!(bench.endpoints.list()[0].vitals.failed(), 0);
    });
}

#[test]
fn a_body_that_comes_too_slowly_is_a_408() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
        line.at_origin().await.hear_head().await;
        let clock = Clock::start();
        // 50 bytes a second where 100 are asked for: ten seconds of grace last for nearly twenty.
        // Nothing comes at the very moment that a second ends.
        pass(Duration::from_millis(500)).await;
        while line.client.hears_nothing().await {
            line.client.say(&[b'u'; 50]).await;
        }
        clock.has_passed(seconds(18));
        hears(&mut line.client, 408, "http_request_error").await;
    });
}

#[test]
fn a_body_that_comes_just_fast_enough_is_taken() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n").await;
        for _ in 0..100 {
            pass(seconds(1)).await;
            line.client.say(&[b'u'; 100]).await;
        }
        line.at_origin().await.hear_head().await;
        line.at_origin().await.hear_raw(10_000).await;
        line.at_origin().await.say(ok("thanks")).await;
        assert_eq!(line.client.hear_message().await.1, "thanks");
    });
}

#[test]
fn a_client_is_not_blamed_for_an_origin_that_reads_slowly() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
        line.at_origin().await.hear_head().await;
        let mut sent = 0;
        for _ in 0..15 {
            sent += line.client.pour(&vec![b'u'; 1_000_000 - sent]).await;
            pass(seconds(10)).await;
            line.at_origin().await.hear_raw(40_000).await;
        }
        sent += line.client.pour(&vec![b'u'; 1_000_000 - sent]).await;
        line.at_origin().await.hear_raw(sent - 600_000).await;
        line.client.say(&vec![b'u'; 1_000_000 - sent]).await;
        line.at_origin().await.hear_raw(1_000_000 - sent).await;
        line.at_origin().await.say(ok("thanks")).await;
        assert_eq!(line.client.hear_message().await.1, "thanks");
    });
}

#[test]
fn a_body_that_stalls_behind_its_100_is_a_408() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        let fields = "Content-Length: 5\r\nExpect: 100-continue";
        line.client.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).await;
        line.at_origin().await.hear_head().await;
        pass(seconds(15)).await;
        line.at_origin().await.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        line.client.hear_head().await;
        let clock = Clock::start();
        hears(&mut line.client, 408, "http_request_error").await;
        clock.has_passed(seconds(10));
    });
}

#[test]
fn an_answer_that_does_not_begin_is_a_504() {
    for begun in ["", "HTTP/1.1 200 OK\r\nX"] {
        with(setup(), async |bench| {
            let mut line = bench.line();
            line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
            pass(seconds(5)).await;
            let clock = Clock::start();
            line.client.say("hello").await;
            line.at_origin().await.hear_until("hello").await;
            line.at_origin().await.say(begun).await;
            hears(&mut line.client, 504, "http_response_timeout").await;
            clock.has_passed(seconds(21));
            assert_eq!(bench.gate.idle_connections(), 0);
            assert_eq!(bench.endpoints.list()[0].vitals.failed(), 1);
        });
    }
}

#[test]
fn a_request_the_origin_does_not_take_is_a_504() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
        let clock = Clock::start();
        line.client.pour(&[b'u'; 1_000_000]).await;
        line.at_origin().await.hear_head().await;
        hears(&mut line.client, 504, "connection_write_timeout").await;
        clock.has_passed(seconds(13));
    });
}

#[test]
fn an_answer_that_stalls_is_cut() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked", "X: y"] {
        with(setup(), async |bench| {
            let mut line = bench.line();
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
            line.ask(get("/"), answer).await;
            line.client.hear_head().await;
            pass(seconds(12)).await;
            line.at_origin()
                .await
                .say(if head.starts_with('T') { "1\r\nx\r\n" } else { "x" })
                .await;
            line.client.hear_until("x").await;
            let clock = Clock::start();
            let heard = line.client.hear_end().await;
            clock.has_passed(seconds(13));
            assert!(!heard.contains('0'), "{heard}");
            assert!(bench.log().contains("\"failure\":\"upstream-idle-timeout\""));
        });
    }
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut() {
    // Whether it has to read at some rate or not.
    for read_rate_min in [setup().limits.read_rate_min, 0] {
        let mut setup = setup();
        setup.limits.read_rate_min = read_rate_min;
        with(setup, async |bench| {
            let mut line = bench.line();
            line.ask(get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
            let clock = Clock::start();
            line.at_origin().await.pour(&[b'd'; 1_000_000]).await;
            line.at_origin().await.hear_end().await;
            clock.has_passed(seconds(13));
            assert!(bench.log().contains("\"failure\":\"client-too-slow\""));
            assert_eq!(bench.endpoints.list()[0].vitals.failed(), 0);
        });
    }
}

#[test]
fn a_client_that_reads_slowly_but_reads_is_served() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        line.ask(get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        line.client.hear_head().await;
        let mut sent = 0;
        for _ in 0..10 {
            sent += line.at_origin().await.pour(&vec![b'd'; 1_000_000 - sent]).await;
            pass(seconds(12)).await;
            line.client.hear_raw(100_000).await;
        }
        assert_eq!(line.fetch(get("/"), ok("next")).await.1, "next");
    });
}

#[test]
fn an_exchange_that_takes_longer_than_its_total_is_a_504() {
    with(with_total(seconds(5)), async |bench| {
        let mut line = bench.line();
        // The total counts from the end of the head, however long that took.
        line.client.say("GET / HTTP/1.1\r\n").await;
        pass(seconds(4)).await;
        let clock = Clock::start();
        line.client.say("Host: a\r\n\r\n").await;
        line.at_origin().await.hear_head().await;
        line.at_origin().await.say("HTTP/1.1 103 Early Hints\r\n\r\n").await;
        line.client.hear_head().await;
        hears(&mut line.client, 504, "http_response_timeout").await;
        clock.has_passed(seconds(5));
    });
}

#[test]
fn a_connect_that_takes_longer_than_the_total_is_a_504() {
    with(with_total(Duration::from_millis(1500)), async |bench| {
        bench.net.swallow(origin_address(1));
        let mut client = bench.client();
        client.say("GET / HTTP/1.1\r\n").await;
        pass(seconds(1)).await;
        let clock = Clock::start();
        client.say("Host: a\r\n\r\n").await;
        hears(&mut client, 504, "http_response_timeout").await;
        clock.has_passed(Duration::from_millis(1500));
    });
}

#[test]
fn an_answer_that_takes_longer_than_the_total_is_cut() {
    with(with_total(seconds(5)), async |bench| {
        let (mut line, clock) = (bench.line(), Clock::start());
        line.ask(get("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        line.client.hear_head().await;
        let at_origin = line.at_origin().await;
        while at_origin.try_say(b"1\r\nx\r\n").await {
            pass(seconds(1)).await;
        }
        clock.has_passed(seconds(5));
        assert!(!line.client.hear_end().await.contains('0'));
        assert!(bench.log().contains("\"failure\":\"total-timeout\""));
    });
}

/// Reads so many bytes a second until the answer has ended; for how long it went on.
async fn read_slowly(bench: &Bench, bytes: usize) -> Duration {
    let mut line = bench.line();
    line.ask(get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
    line.client.hear_head().await;
    let (clock, body) = (Clock::start(), vec![b'x'; 500_000]);
    while !bench.log().contains("/") && clock.passed() < seconds(90) {
        line.at_origin().await.pour(&body).await;
        line.client.hear_raw_some(bytes).await;
        pass(seconds(1)).await;
    }
    clock.passed()
}

#[test]
fn a_client_that_reads_below_the_least_rate_is_cut() {
    let with_rate = |rate| {
        let mut setup = setup();
        setup.limits.read_rate_min = rate;
        setup
    };
    with(with_rate(10_000), async |bench| {
        // It never stands still for long, and of each second it is waited for all.
        let passed = read_slowly(&bench, 5_000).await;
        assert!((seconds(25)..seconds(28)).contains(&passed), "{passed:?}");
    });
    for rate in [4_000, 0] {
        with(with_rate(rate), async |bench| {
            assert!(read_slowly(&bench, 5_000).await > seconds(80));
        });
    }
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    with(setup(), async |bench| {
        let mut line = bench.line();
        let fields = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}");
        line.ask(request, format!("HTTP/1.1 101 Switching Protocols\r\n{fields}")).await;
        line.client.hear_head().await;
        for _ in 0..3 {
            pass(seconds(30)).await;
            line.client.say("ping").await;
            line.at_origin().await.hear_bytes(4).await;
            pass(seconds(30)).await;
            line.at_origin().await.say("pong").await;
            line.client.hear_bytes(4).await;
        }
        let clock = Clock::start();
        assert_eq!(line.client.hear_end().await, "");
        clock.has_passed(seconds(31));
        line.at_origin().await.hear_end().await;
    });
}

#[test]
fn a_connection_that_lingers_does_so_for_two_seconds() {
    with(setup(), async |bench| {
        let mut client = bench.client();
        client.say("rubbish\r\n\r\n").await;
        client.hear_end().await;
        let clock = Clock::start();
        while bench.gate.meters.clients.get() > 0 {
            pass(Duration::from_millis(1)).await;
        }
        clock.has_passed(seconds(2));
    });
}

/// The text of a field of what the origin is asked, that a client has written as well.
async fn told(bench: &Bench, name: &str) -> Vec<u64> {
    let mut line = bench.line();
    pass(Duration::from_secs(1)).await;
    let request = get("/").replace("\r\n\r\n", &format!("\r\n{name}: 77\r\nX_Left: 5\r\n\r\n"));
    let head = line.ask(request, ok("it")).await;
    line.client.hear_message().await;
    let values = head.lines().filter_map(|line| line.split_once(": "));
    let told = values.filter(|(own, _)| own.to_lowercase().replace('_', "-") == "x-left");
    told.map(|(_, value)| value.parse().expect("milliseconds")).collect()
}

#[test]
fn an_endpoint_is_told_how_much_of_the_total_time_is_left_where_that_is_asked_for() {
    let timeouts = Timeouts { total: Some(Duration::from_secs(5)), ..Timeouts::default() };
    for (deadline_field, expected) in [(Some("x-left"), vec![5000]), (None, vec![77, 5])] {
        with(Setup { timeouts, deadline_field, ..Setup::default() }, async |bench| {
            assert_eq!(told(&bench, "X-Left").await, expected);
        });
    }
}

#[test]
fn each_try_is_told_what_the_ones_before_have_left_of_the_time() {
    let timeouts = Timeouts { total: Some(Duration::from_secs(5)), ..Timeouts::default() };
    let retry =
        Retry { on_timeout: true, try_timeout: Some(Duration::from_secs(2)), ..Retry::default() };
    let deadline_field = Some("x-left");
    with(
        Setup { timeouts, retry, endpoints: 2, deadline_field, ..Setup::default() },
        async |bench| {
            let (mut client, mut first, mut second) =
                (bench.client(), bench.origin(1), bench.origin(2));
            client.say(get("/")).await;
            let mut at_first = first.accept().await;
            assert_eq!(field(&at_first.hear_head().await, "x-left"), Some("5000"));
            let mut at_second = second.accept().await;
            assert_eq!(field(&at_second.hear_head().await, "x-left"), Some("3000"));
            at_second.say(ok("it")).await;
            assert_eq!(client.hear_message().await.1, "it");
        },
    );
}

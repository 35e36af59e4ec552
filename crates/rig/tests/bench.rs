//! The load generator, proved on origins whose delays and faults are known. Bounds are lower ones
//! and orders: a busy machine makes everything slower, and nothing faster.

use std::net::SocketAddr;
use std::time::Duration;

use gatehouse_rig::bench::{
    Bench, Ending, Measured, Message, Pace, Report, Stop, Tally, Target, plot, summary,
};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::script::{Script, ScriptedOrigin};

const MS: Duration = Duration::from_millis(1);

fn origin() -> Origin {
    Origin::start("red").expect("a free port")
}

fn asking(to: SocketAddr, method: &str, path: &str, body: &[u8]) -> Target {
    let authority = &to.to_string();
    let message = Message { method, authority, target: path, fields: &[], body };
    Target::new(&format!("http://{to}{path}"), to, &message)
}

/// Four connections, one thread, no warm-up, one second.
fn bench(to: SocketAddr, path: &str) -> Bench {
    Bench {
        targets: vec![asking(to, "GET", path, b"")],
        pace: Pace::Closed,
        duration: 1000 * MS,
        requests: None,
        warm_up: Duration::ZERO,
        timeout: 5000 * MS,
        connections: 4,
        threads: 1,
        rounds: 1,
    }
}

fn report(bench: &Bench) -> Report {
    bench.run(&Stop::default(), |_| {}).expect("a run")
}

/// The only target of a run, once its sums are right.
#[track_caller]
fn measured(bench: &Bench) -> Measured {
    let measured = report(bench).targets.remove(0);
    for tally in [&measured.tally, &measured.warm_up_tally] {
        let Tally { answered, reset, closed, timeout, malformed, unfinished, .. } = *tally;
        assert_eq!(tally.sent, answered + reset + closed + timeout + malformed + unfinished);
        assert_eq!(answered, tally.statuses.iter().sum::<u64>());
    }
    measured
}

#[test]
fn the_percentiles_of_a_known_distribution_are_right() {
    // Nine of ten take 5 ms and one takes 100 ms.
    let path = "/delay/5/100/10";
    for pace in [Pace::Open(300), Pace::Closed] {
        let origin = origin();
        let bench = Bench { pace, duration: 2000 * MS, ..bench(origin.address(), path) };
        let measured = measured(&Bench { connections: 32, ..bench });
        for latency in [&measured.response, &measured.service] {
            assert_eq!(latency.count(), measured.tally.answered);
            assert!(latency.min() >= 5 * MS, "{measured:?}");
            let (median, most) = (latency.within(0.5), latency.within(0.7));
            assert!(median >= 5 * MS && median <= most && most < 100 * MS, "{measured:?}");
            let (high, mean) = (latency.within(0.95), latency.mean());
            assert!(high >= 100 * MS && high <= latency.max(), "{measured:?}");
            assert!(mean >= 14 * MS && mean < 100 * MS, "{measured:?}");
        }
    }
}

#[test]
fn the_open_loop_shows_a_stall_that_the_closed_loop_hides() {
    let run = |pace| {
        let origin = origin();
        let bench = bench(origin.address(), "/stall/500/400");
        measured(&Bench { pace, duration: 2000 * MS, ..bench })
    };
    let (open, closed) = (run(Pace::Open(1000)), run(Pace::Closed));
    // A quarter of the requests were due within the stall, and half of these waited half of it.
    assert!(open.response.within(0.99) >= 400 * MS, "{}", summary_of(&open));
    assert!(open.response.within(0.90) >= 200 * MS, "{}", summary_of(&open));
    assert_eq!(open.tally.sent + open.tally.unsent, 2000);
    // Both saw a stall in no more requests than there are connections.
    for latency in [&open.service, &closed.response] {
        assert!(latency.max() >= 490 * MS);
        assert!(latency.within(0.99) < 200 * MS, "{}", summary_of(&closed));
    }
}

fn summary_of(measured: &Measured) -> String {
    summary(&Report { targets: vec![measured.clone()], ending: Ending::Complete })
}

#[test]
fn the_open_loop_shows_an_overload_that_the_closed_loop_hides() {
    // Four connections and 20 ms make 200 requests a second at most.
    let origin = origin();
    let closed = bench(origin.address(), "/slow/20");
    let open = measured(&Bench { pace: Pace::Open(400), duration: 1500 * MS, ..closed.clone() });
    let closed = measured(&closed);
    assert_eq!(open.missed_rate(), Some(400));
    assert!(open.rate() <= 205.0, "{}", open.rate());
    assert!(open.tally.unsent >= 250, "{:?}", open.tally);
    assert!(open.lower_bounds >= open.tally.unsent);
    assert_eq!(open.response.count(), 600);
    // One pause of a busy machine is felt by all four connections: a fiftieth of the requests.
    let (asked, hidden) = (open.response.within(0.99), closed.response.within(0.95));
    assert!(asked >= 600 * MS && asked > 3 * hidden, "open {asked:?}, closed {hidden:?}");
    assert!(open.service.within(0.5) < asked / 3);
    assert_eq!(closed.missed_rate(), None);
    let text = summary_of(&open);
    for part in ["FELL SHORT", "asked 400/s", "not sent", "from due", "from sent"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn what_it_counts_is_what_the_origin_counted() {
    for pace in [Pace::Closed, Pace::Open(2000)] {
        for (threads, warm_up) in [(1, Duration::ZERO), (3, 200 * MS)] {
            let origin = origin();
            let bench = bench(origin.address(), "/bytes/1000");
            let requests = Some(1000);
            let bench = Bench { pace, threads, warm_up, requests, duration: 9000 * MS, ..bench };
            let measured = measured(&bench);
            let Tally { sent, answered, unsent, bytes_in, bytes_out, statuses, .. } =
                measured.tally;
            let tally = &measured.tally;
            assert_eq!((answered, statuses[2], sent + unsent), (sent, sent, 1000), "{tally:?}");
            // Where the machine stood still in the end, some that were due are not sent any more.
            assert!(sent > 500 && (unsent == 0 || pace != Pace::Closed), "{tally:?}");
            assert_eq!(sent + measured.warm_up_tally.sent, origin.requests());
            assert_eq!(measured.warm_up_tally.sent > 0, !warm_up.is_zero());
            let host = origin.address().to_string();
            let request = format!("GET /bytes/1000 HTTP/1.1\r\nhost: {host}\r\n\r\n");
            assert_eq!(bytes_out, sent * request.len() as u64);
            assert!(bytes_in > 1000 * sent && bytes_in.is_multiple_of(sent), "{bytes_in}");
            assert_eq!(measured.response.count(), 1000);
            assert_eq!(origin.connections(), 4);
        }
    }
}

#[test]
fn a_run_with_a_rate_sends_exactly_what_was_due() {
    let origin = origin();
    let bench = bench(origin.address(), "/");
    let measured = measured(&Bench { pace: Pace::Open(500), threads: 2, ..bench });
    assert_eq!(measured.tally.sent + measured.tally.unsent, 500);
    assert_eq!(measured.response.count(), 500);
    assert_eq!(measured.measured, 1000 * MS);
    assert_eq!(origin.requests(), measured.tally.sent);
}

#[test]
fn every_framing_is_an_answer_and_connections_are_reopened_where_they_must() {
    let kept = ["/bytes/70000", "/chunked/70000", "/trailers/9", "/status/204", "/status/103"];
    let closing = ["/until-close/70000", "/close"];
    for (paths, connections) in [(&kept[..], 4), (&closing[..], 20)] {
        for path in paths {
            let origin = origin();
            let bench = bench(origin.address(), path);
            let measured = measured(&Bench { requests: Some(20), ..bench });
            assert_eq!((measured.tally.answered, measured.tally.failed()), (20, 0), "{path}");
            assert_eq!(origin.connections(), connections, "{path}");
        }
    }
}

#[test]
fn a_head_request_and_an_upload_are_answered() {
    let origin = origin();
    let run = |method, path, body: &[u8]| {
        let targets = vec![asking(origin.address(), method, path, body)];
        let bench = Bench { targets, requests: Some(20), ..bench(origin.address(), path) };
        measured(&bench).tally
    };
    let head = run("HEAD", "/bytes/70000", b"");
    assert_eq!((head.statuses[2], head.failed()), (20, 0));
    assert!(head.bytes_in < 20 * 1000);
    let upload = run("POST", "/sink", &[b'u'; 3_000_000]);
    assert_eq!((upload.statuses[2], upload.failed()), (20, 0));
    assert!(upload.bytes_out > 20 * 3_000_000);
    let early = run("POST", "/early", &[b'u'; 3_000_000]);
    assert_eq!(early.statuses[2], 20, "{early:?}");
}

#[test]
fn every_fault_is_counted_as_what_it_is() {
    let origin = origin();
    let run = |path| {
        let bench = bench(origin.address(), path);
        measured(&Bench { requests: Some(8), timeout: 100 * MS, ..bench }).tally
    };
    assert_eq!(run("/reset").reset, 8);
    assert_eq!(run("/truncate/1000").closed, 8);
    assert_eq!(run("/slow/5000").timeout, 8);
    assert_eq!(run("/status/302").statuses[3], 8);
    assert_eq!(run("/status/404").statuses[4], 8);
    assert_eq!(run("/status/503").statuses[5], 8);
    assert_eq!(run("/status/777").statuses[0], 8);
    let broken = ScriptedOrigin::each(Script::new().expect_head().send("HTTP/9 what\r\n\r\n"));
    let bench = bench(broken.address(), "/");
    assert_eq!(measured(&Bench { requests: Some(8), ..bench }).tally.malformed, 8);
}

#[test]
fn nobody_there_is_a_connect_error_that_says_why() {
    let mut origin = origin();
    origin.stop();
    for pace in [Pace::Closed, Pace::Open(100)] {
        let bench = bench(origin.address(), "/");
        let measured = measured(&Bench { pace, duration: 300 * MS, ..bench });
        assert_eq!((measured.tally.sent, measured.tally.answered), (0, 0));
        // It does not try as fast as it can.
        assert!((4..100).contains(&measured.tally.connect), "{:?}", measured.tally);
        assert_eq!(measured.tally.connect_reason.as_deref(), Some("refused"));
    }
}

#[test]
fn bytes_that_nobody_asked_for_are_malformed() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let script = Script::new().expect_head().send(answer).wait(20 * MS).send("more");
    let origin = ScriptedOrigin::each(script);
    let bench = bench(origin.address(), "/");
    // One request, and then nothing for as long as the next would take to be due.
    let tally =
        report(&Bench { pace: Pace::Open(1), requests: Some(1), duration: 9000 * MS, ..bench })
            .targets
            .remove(0)
            .tally;
    assert_eq!((tally.sent, tally.answered, tally.malformed), (1, 1, 1), "{tally:?}");
}

#[test]
fn an_idle_connection_that_was_closed_is_opened_again_and_no_fault() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let origin = ScriptedOrigin::each(Script::new().expect_head().send(answer).close());
    let bench = bench(origin.address(), "/");
    // Each connection has half a second to hear of its end.
    let bench = Bench { pace: Pace::Open(4), connections: 2, duration: 1500 * MS, ..bench };
    let measured = measured(&bench);
    assert_eq!((measured.tally.answered, measured.tally.failed()), (6, 0));
}

#[test]
fn an_origin_that_dies_and_comes_back_costs_what_was_under_way() {
    let mut origin = origin();
    let bench = bench(origin.address(), "/slow/5");
    let bench = Bench { pace: Pace::Open(200), duration: 3000 * MS, ..bench };
    let (mut killed, mut back) = (false, false);
    let ran = bench.run(&Stop::default(), |progress| {
        if !killed && progress.share > 0.2 {
            origin.kill();
            killed = true;
        } else if !back && progress.share > 0.5 {
            origin.restart().expect("its port");
            back = true;
        }
    });
    let measured = ran.expect("a run").targets.remove(0);
    assert!(killed && back);
    assert!(measured.tally.connect >= 4, "{:?}", measured.tally);
    let last = measured.points.last().expect("a point");
    assert!(last.at >= 2000 * MS && last.answered > 0, "{measured:?}");
}

#[test]
fn a_run_that_is_stopped_has_measured_so_far() {
    let origin = origin();
    let bench = Bench { duration: 600_000 * MS, ..bench(origin.address(), "/slow/5") };
    let stop = Stop::default();
    let report = bench.run(&stop, |_| stop.stop()).expect("a run");
    assert_eq!(report.ending, Ending::Stopped);
    let measured = &report.targets[0];
    assert!(measured.tally.answered > 0 && measured.measured < 60_000 * MS);
    assert!(measured.rate() > 1.0);
    assert!(summary(&report).starts_with("stopped before the end"));
}

#[test]
fn targets_take_turns_and_are_compared_within_each_round() {
    let (fast, slow) = (origin(), origin());
    let bench = bench(fast.address(), "/slow/4");
    let mut targets = bench.targets.clone();
    targets.push(asking(slow.address(), "GET", "/slow/40", b""));
    let report = report(&Bench { targets, rounds: 3, duration: 900 * MS, ..bench });
    let [base, other] = &report.targets[..] else { panic!("{report:?}") };
    assert_eq!((base.rounds.len(), other.rounds.len()), (3, 3));
    assert_eq!(base.tally.sent, fast.requests());
    assert_eq!(other.tally.sent, slow.requests());
    let time = other.ratio(base, |round| round.p50.as_secs_f64()).expect("three rounds");
    assert!(time.min <= time.median && time.median <= time.max && time.median > 2.0, "{time:?}");
    let rate = other.ratio(base, |round| round.rate).expect("three rounds");
    assert!(rate.median < 0.7, "{rate:?}");
    let (text, picture) = (summary(&report), plot(&report));
    for name in [&base.name, &other.name] {
        assert!(text.contains(name.as_str()) && picture.contains(name.as_str()));
    }
    assert!(text.contains("median of 3 rounds"), "{text}");
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
}

#[test]
fn a_run_without_an_answer_is_shown_too() {
    let origin = origin();
    let bench = bench(origin.address(), "/reset");
    let report = report(&Bench { requests: Some(3), ..bench });
    assert!(summary(&report).contains("reset 3"), "{}", summary(&report));
    assert!(!plot(&report).contains("NaN"));
}

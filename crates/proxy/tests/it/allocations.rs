//! An exchange over kept connections allocates nothing, its log line included, and a stream of
//! HTTP/2 little; `budgets.toml` says how little. Counted as the difference of two runs that differ
//! in their length alone.

use crate::bench::{Bench, GATEWAY, Setup, origin_address, with};
use allocation_counter::measure;
use gatehouse_core::plan::{Cidr, Speaks};
use gatehouse_rig::frames::{Frame, PREFACE, ask, flag, kind};
use gatehouse_wire::Stream;
use gatehouse_wire::pump::poll_write_all;
use std::future::poll_fn;

/// Exchanges before anything is counted: pools fill, vectors grow.
const WARM: usize = 40;

/// Exchanges that the longer run has more.
const COUNTED: usize = 100;

async fn write(stream: &mut Stream, text: &[u8]) {
    let mut written = 0;
    let wrote = poll_fn(|cx| poll_write_all(cx, stream, text, &mut written)).await;
    wrote.expect("the other end is there");
}

/// Reads until what has come ends in `end`.
async fn read_to(stream: &mut Stream, end: &[u8]) {
    let mut room = [0_u8; 4096];
    let mut held = 0;
    while !room[..held].ends_with(end) {
        let read = poll_fn(|cx| stream.poll_read(cx, &mut room[held..])).await;
        let count = read.expect("the other end is there");
        assert!(count > 0, "it ended early");
        held += count;
    }
}

/// Gives the log's buffers back, as its writer does.
fn take_log(bench: &Bench) {
    bench.gate.flush_log();
    for batch in bench.gate.log.batches.try_iter() {
        let _ = bench.gate.log.back.try_send(batch);
    }
}

/// `count` exchanges of this request and answer on one connection each side.
async fn exchanges(bench: &Bench, count: usize, request: &[u8], asked: &[u8], answer: &[u8]) {
    let mut listener = bench.net.listen(origin_address(1));
    let near = bench.net.connect(GATEWAY.into()).expect("the gateway listens");
    let mut client = Stream::Memory(near);
    write(&mut client, request).await;
    let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
    let (mut origin, _) = accepted.expect("the in-memory network does not fail");
    for at in 0..count {
        if at > 0 {
            write(&mut client, request).await;
        }
        read_to(&mut origin, asked).await;
        write(&mut origin, answer).await;
        read_to(&mut client, b"the end").await;
        take_log(bench);
    }
    drop(client);
    drop(origin);
    bench.gate.drop_idle();
}

fn allocations(setup: fn() -> Setup, request: &[u8], asked: &[u8], answer: &[u8]) -> u64 {
    difference(|count| {
        with(setup(), async |bench| {
            exchanges(&bench, count, request, asked, answer).await;
        });
    })
}

/// What the counted exchanges allocate, when `run` makes so many exchanges.
fn difference(run: impl Fn(usize)) -> u64 {
    let run = |count| measure(|| run(count)).count_total;
    // The first run of all makes what a process makes once.
    run(WARM);
    let (short, long) = (run(WARM), run(WARM + COUNTED));
    long.saturating_sub(short)
}

/// What the counted exchanges may allocate, by the limit of this name.
fn limit(name: &str) -> u64 {
    let limits = include_str!("../../../../budgets.toml").lines();
    let mut named = limits.filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let each: u64 = named.next().and_then(|number| number.parse().ok()).expect("there is a limit");
    each * COUNTED as u64
}

fn assert_within_limit(allocations: u64) {
    assert_within("allocations_per_exchange", allocations);
}

fn assert_within(name: &str, allocations: u64) {
    let limit = limit(name);
    assert!(allocations <= limit, "{name}: {allocations} allocations in {COUNTED} exchanges");
}

const GET: &[u8] = b"GET /a/b?c=d HTTP/1.1\r\nHost: Example.com\r\nUser-Agent: test\r\n\
    Accept: */*\r\nCookie: a=b\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nServer: test\r\n\r\nthe end";

#[test]
fn a_plain_exchange_allocates_nothing() {
    assert_within_limit(allocations(Setup::default, GET, b"\r\n\r\n", OK));
}

#[test]
fn an_exchange_behind_a_trusted_proxy_allocates_nothing() {
    let setup = || Setup {
        trusted: vec![Cidr { address: [192, 0, 2, 0].into(), prefix: 24 }],
        ..Setup::default()
    };
    let request = b"GET /x/../%61 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\
        Forwarded: for=203.0.113.7\r\n\r\n";
    assert_within_limit(allocations(setup, request, b"\r\n\r\n", OK));
}

#[test]
fn an_upload_allocates_nothing() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nthe end";
    assert_within_limit(allocations(Setup::default, request, b"the end", OK));
}

/// Writes the stream into a frame that was made before: peers allocate nothing.
fn on_stream(frame: &mut [u8], stream: u32) -> &[u8] {
    frame[5..9].copy_from_slice(&stream.to_be_bytes());
    frame
}

/// Reads to the end of the next HEADERS, and says of which stream it is.
async fn read_head(stream: &mut Stream) -> u32 {
    let mut room = [0_u8; 4096];
    loop {
        read_exactly(stream, &mut room[..9]).await;
        let size = usize::from(room[1]) << 8 | usize::from(room[2]);
        let (kind, number) = (room[3], u32::from_be_bytes([room[5], room[6], room[7], room[8]]));
        read_exactly(stream, &mut room[..size]).await;
        if kind == kind::HEADERS {
            return number;
        }
    }
}

async fn read_exactly(stream: &mut Stream, room: &mut [u8]) {
    let mut held = 0;
    while held < room.len() {
        let read = poll_fn(|cx| stream.poll_read(cx, &mut room[held..])).await;
        let count = read.expect("the other end is there");
        assert!(count > 0, "it ended early");
        held += count;
    }
}

/// A stream of a client's, to an origin of HTTP/1.1.
#[test]
fn a_stream_of_http_2_allocates_little() {
    let opening = [PREFACE, &Frame::settings(&[]).bytes()].concat();
    let fields = ask("GET", "/a/b?c=d", &[("user-agent", "test"), ("cookie", "a=b")]);
    let request = Frame::headers(1, &fields, flag::END_STREAM).bytes();
    let allocations = difference(|count| {
        let mut request = request.clone();
        with(Setup::default(), async |bench| {
            let mut listener = bench.net.listen(origin_address(1));
            let near = bench.net.connect(GATEWAY.into()).expect("the gateway listens");
            let mut client = Stream::Memory(near);
            write(&mut client, &opening).await;
            write(&mut client, on_stream(&mut request, 1)).await;
            let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
            let (mut origin, _) = accepted.expect("the in-memory network does not fail");
            for at in 0..count as u32 {
                if at > 0 {
                    write(&mut client, on_stream(&mut request, at * 2 + 1)).await;
                }
                read_to(&mut origin, b"\r\n\r\n").await;
                write(&mut origin, OK).await;
                read_to(&mut client, b"the end").await;
                take_log(&bench);
            }
            drop((client, origin));
            bench.gate.drop_idle();
        });
    });
    assert_within("allocations_per_h2_stream", allocations);
}

/// A stream to an endpoint, for a client of HTTP/1.1.
#[test]
fn a_stream_to_an_endpoint_allocates_little() {
    let settings = Frame::settings(&[]).bytes();
    let head = [(":status", "200"), ("content-length", "7"), ("server", "test")];
    let head = Frame::headers(1, &head, 0).bytes();
    let body = Frame::data(1, "the end", flag::END_STREAM).bytes();
    let allocations = difference(|count| {
        let (mut head, mut body) = (head.clone(), body.clone());
        with(Setup { speaks: Speaks::Http2, ..Setup::default() }, async |bench| {
            let mut listener = bench.net.listen(origin_address(1));
            let near = bench.net.connect(GATEWAY.into()).expect("the gateway listens");
            let mut client = Stream::Memory(near);
            write(&mut client, GET).await;
            let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
            let (mut origin, _) = accepted.expect("the in-memory network does not fail");
            read_exactly(&mut origin, &mut [0; 24]).await;
            write(&mut origin, &settings).await;
            for at in 0..count {
                if at > 0 {
                    write(&mut client, GET).await;
                }
                let stream = read_head(&mut origin).await;
                write(&mut origin, on_stream(&mut head, stream)).await;
                write(&mut origin, on_stream(&mut body, stream)).await;
                read_to(&mut client, b"the end").await;
                take_log(&bench);
            }
            drop((client, origin));
            bench.gate.drop_idle();
        });
    });
    assert_within("allocations_per_h2_call", allocations);
}

//! An exchange over kept connections allocates nothing, its log line included; `budgets.toml` says
//! so. Counted as the difference of two runs that differ in their length alone.

use crate::bench::{Bench, GATEWAY, Setup, origin_address, with};
use allocation_counter::measure;
use gatehouse_core::plan::Cidr;
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
        bench.gate.flush_log();
        for batch in bench.gate.log.batches.try_iter() {
            let _ = bench.gate.log.back.try_send(batch);
        }
    }
    drop(client);
    drop(origin);
    bench.gate.drop_idle();
}

fn allocations(setup: fn() -> Setup, request: &[u8], asked: &[u8], answer: &[u8]) -> u64 {
    let run = |count| {
        let counted = measure(|| {
            with(setup(), async |bench| {
                exchanges(&bench, count, request, asked, answer).await;
            });
        });
        counted.count_total
    };
    // The first run of all makes what a process makes once.
    run(WARM);
    let (short, long) = (run(WARM), run(WARM + COUNTED));
    long.saturating_sub(short)
}

/// What the counted exchanges may allocate.
fn limit() -> u64 {
    let limits = include_str!("../../../../budgets.toml").lines();
    let mut named = limits.filter_map(|line| line.strip_prefix("allocations_per_exchange = "));
    let each: u64 = named.next().and_then(|number| number.parse().ok()).expect("there is a limit");
    each * COUNTED as u64
}

fn assert_within_limit(allocations: u64) {
    assert!(allocations <= limit(), "{allocations} allocations in {COUNTED} exchanges");
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

//! What has stopped other HTTP/2 servers, sent to the process as fast as it takes it: the
//! connection ends, memory stays, the processor is idle afterwards, and another client notices
//! nothing. What each attack is, frame by frame, is in the tests of `proxy`.

use crate::front::{BINARY, LIMIT, get_over};
use gatehouse_rig::frames::{Frame, PREFACE, ask, code, flag, kind, pack, pack_crumb};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that all attacks together may add to the process (the design allows as much for each).
const GROWTH_MAX: u64 = 20 << 20;

/// Rounds after which an attack gives up: far more than may be needed.
const ROUNDS_MAX: u32 = 2000;

/// Frames of one round, by its number.
type Attack = fn(u32) -> Vec<Frame>;

fn stream(at: u32) -> u32 {
    at * 2 + 1
}

fn request(at: u32, flags: u8) -> Frame {
    Frame::headers(stream(at), &ask("GET", "/bytes/100000", &[]), flags)
}

const ATTACKS: [(&str, Attack); 14] = [
    ("PING", |_| vec![Frame::ping([0; 8])]),
    ("SETTINGS", |_| vec![Frame::settings(&[(4, 65_535)])]),
    ("PRIORITY", |at| vec![Frame::new(kind::PRIORITY, 0, stream(at), [0, 0, 0, 0, 16])]),
    ("WINDOW_UPDATE", |_| vec![Frame::window(0, 1)]),
    ("unknown frames", |_| vec![Frame::new(0xfe, 0, 0, [])]),
    ("rapid reset", |at| {
        vec![request(at, flag::END_STREAM), Frame::reset(stream(at), code::CANCEL)]
    }),
    ("made you reset: window", |at| vec![request(at, 0), Frame::window(stream(at), 0)]),
    ("made you reset: overflow", |at| {
        vec![request(at, 0), Frame::window(stream(at), i32::MAX as u32)]
    }),
    ("made you reset: data", |at| {
        vec![request(at, flag::END_STREAM), Frame::data(stream(at), "x", 0)]
    }),
    ("made you reset: head", |at| {
        vec![Frame::headers(stream(at), &ask("GET", "/", &[("connection", "close")]), 1)]
    }),
    ("empty DATA", |at| match at {
        0 => vec![request(0, 0)],
        _ => vec![Frame::data(1, "", 0)],
    }),
    ("CONTINUATION", |at| match at {
        0 => vec![Frame::new(kind::HEADERS, 0, 1, pack(&ask("GET", "/", &[])))],
        _ => vec![Frame::new(kind::CONTINUATION, 0, 1, pack(&[("x-a", "b")]))],
    }),
    ("HPACK bomb", |at| {
        let mut block = pack(&ask("GET", "/", &[]));
        block.extend(pack_crumb("x-bomb", &"y".repeat(3000), 8000));
        vec![Frame::new(kind::HEADERS, 5, stream(at), block)]
    }),
    ("cookie bomb", |at| {
        let mut block = pack(&ask("GET", "/", &[]));
        block.extend(pack_crumb("cookie", "", 15_000));
        vec![Frame::new(kind::HEADERS, 5, stream(at), block)]
    }),
];

fn gateway(origin: SocketAddr) -> Gateway {
    let config = format!(
        "workers = 1\n[log]\naccess = {{ format = \"off\" }}\n\
         [listeners.web]\nbind = \"127.0.0.1:0\"\nprotocols = [\"h1\", \"h2\"]\n\
         [[routes]]\nupstream = {{ endpoints = [\"{origin}\"] }}\ntimeout = {{ idle = \"1s\" }}\n"
    );
    Gateway::start(BINARY, &config)
}

/// A client's end of a connection that has begun.
fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(LIMIT)).expect("a limit");
    socket.set_write_timeout(Some(LIMIT)).expect("a limit");
    socket.write_all(PREFACE).expect("it reads");
    socket.write_all(&Frame::settings(settings).bytes()).expect("it reads");
    socket
}

/// Reads to the end of a connection, be it a reset.
fn drain(mut socket: TcpStream, name: &str) {
    let mut room = vec![0; 64 * 1024];
    loop {
        match socket.read(&mut room) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!late, "{name}: the connection is still there");
                return;
            }
        }
    }
}

/// Attacks until the gateway ends the connection.
fn strike(address: SocketAddr, name: &str, attack: Attack) {
    let mut socket = connect(address, &[]);
    for round in 0..ROUNDS_MAX {
        let bytes: Vec<u8> = attack(round).iter().flat_map(Frame::bytes).collect();
        if socket.write_all(&bytes).is_err() {
            break;
        }
    }
    drain(socket, name);
}

/// Seconds of processor time that a process has used so far.
pub fn processor_seconds(gateway: &Gateway) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).expect("it lives");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    // Ticks of the kernel's clock, a hundred a second.
    (ticks(11) + ticks(12)) / 100.0
}

/// Runs `work` while another client asks without pause; that client must get every answer.
fn beside_another_client(address: SocketAddr, work: impl FnOnce()) {
    let (ends, answers) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = Client::connect(address);
            while !ends.load(Ordering::Relaxed) {
                assert_eq!(get_over(&mut client, "/bytes/100").status, 200);
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
        wait_until(LIMIT, || answers.load(Ordering::Relaxed) > 0);
        work();
        // It is served after the attack too.
        let so_far = answers.load(Ordering::Relaxed);
        wait_until(LIMIT, || answers.load(Ordering::Relaxed) > so_far || asking.is_finished());
        ends.store(true, Ordering::Relaxed);
    });
}

#[test]
fn each_attack_ends_its_own_connection_and_nothing_else() {
    let origin = Origin::start("one").unwrap();
    let gateway = gateway(origin.address());
    let address = gateway.listener("web");
    beside_another_client(address, || {});
    let before = gateway.resident_bytes();
    for (name, attack) in ATTACKS {
        beside_another_client(address, || strike(address, name, attack));
        let grown = gateway.resident_bytes_max().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{name}: {grown} bytes more");
    }
    // Nothing is left that keeps it busy.
    let mut last = (Instant::now(), processor_seconds(&gateway));
    wait_until(LIMIT, || {
        if last.0.elapsed() < Duration::from_millis(300) {
            return false;
        }
        let used = processor_seconds(&gateway);
        let idle = used - last.1 < 0.02;
        last = (Instant::now(), used);
        idle
    });
}

/// Clients that ask for much and open no window: what waits for them is bounded, and not for long.
#[test]
fn answers_that_nobody_takes_are_held_back_and_then_given_up() {
    let origin = Origin::start("one").unwrap();
    let gateway = gateway(origin.address());
    let address = gateway.listener("web");
    beside_another_client(address, || {});
    let before = gateway.resident_bytes();
    let mut socket = connect(address, &[(4, 0)]);
    for at in 0..100 {
        let large = Frame::headers(stream(at), &ask("GET", "/bytes/50000000", &[]), 1);
        socket.write_all(&large.bytes()).expect("it reads");
    }
    beside_another_client(address, || {
        let mut resets = 0;
        let mut held = Vec::new();
        let mut room = vec![0; 64 * 1024];
        // Each is reset once its time is over.
        while resets < 100 {
            let count = socket.read(&mut room).expect("frames");
            assert!(count > 0, "ended after {resets}");
            held.extend_from_slice(&room[..count]);
            while let Some(frame) = Frame::take(&mut held) {
                resets += u32::from(frame.kind == kind::RST_STREAM);
                assert!(frame.kind != kind::DATA || frame.payload.is_empty(), "{frame:?}");
            }
        }
    });
    let grown = gateway.resident_bytes_max().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
}

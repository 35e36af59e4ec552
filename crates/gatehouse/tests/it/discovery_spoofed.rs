//! Answers of DNS as somebody else would give them: guessed, looping, cut, much too long. None is
//! believed, and none takes an endpoint away.

use crate::discovery_file::{names, shown, who};
use crate::front::{BINARY, DOORS, LIMIT};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a scripted server sends for a question, in order.
type Script = fn(&[u8]) -> Vec<Vec<u8>>;

/// A server that answers by a script. Dropping it ends it.
struct Server {
    port: u16,
    script: Arc<Mutex<Script>>,
    asked: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(script: Script) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(script));
        let (asked, ends): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let own = (Arc::clone(&script), Arc::clone(&asked), Arc::clone(&ends));
        let work = move || {
            let (script, asked, ends) = own;
            let mut room = [0; 512];
            while !ends.load(Ordering::Relaxed) {
                let Ok((count, peer)) = socket.recv_from(&mut room) else { continue };
                // Only what is asked of A is counted and scripted; there is nothing else.
                let question = &room[..count];
                if kind(question) == 1 {
                    asked.fetch_add(1, Ordering::Relaxed);
                    for answer in script.lock().expect("a script")(question) {
                        let _ = socket.send_to(&answer, peer);
                    }
                } else {
                    let _ = socket.send_to(&answer(question, 0, 0, &[]), peer);
                }
            }
        };
        let thread = Some(std::thread::spawn(work));
        Server { port, script, asked, ends, thread }
    }

    fn answer_by(&self, script: Script) {
        *self.script.lock().expect("a script") = script;
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where the first question ends.
fn end(question: &[u8]) -> usize {
    let mut at = 12;
    while question[at] != 0 {
        at += usize::from(question[at]) + 1;
    }
    at + 5
}

fn kind(question: &[u8]) -> u8 {
    question[end(question) - 3]
}

/// An answer of so many records, which stand behind its question.
fn answer(question: &[u8], flags: u16, count: u8, records: &[u8]) -> Vec<u8> {
    let mut bytes = question[..end(question)].to_vec();
    bytes[2..4].copy_from_slice(&(0x8180 | flags).to_be_bytes());
    bytes[7] = count;
    bytes[8..12].copy_from_slice(&[0; 4]);
    bytes.extend_from_slice(records);
    bytes
}

/// An address of the name that was asked for, for so many seconds.
fn record(ip: [u8; 4], seconds: u32) -> Vec<u8> {
    let mut bytes = vec![0xc0, 12, 0, 1, 0, 1];
    bytes.extend_from_slice(&seconds.to_be_bytes());
    bytes.extend_from_slice(&[0, 4]);
    bytes.extend_from_slice(&ip);
    bytes
}

/// Two origins on one port, and a gateway that is told by a server where they are.
fn scene(server: &Server) -> (Gateway, [Origin; 2]) {
    let (gateway, a, b) = loop {
        let a = Origin::start("good").expect("a port");
        let port = a.address().port();
        let other = SocketAddr::from(([127, 0, 0, 2], port));
        if let Ok(b) = Origin::start_at("evil", other) {
            let text = format!(
                "{DOORS}[[routes]]\nname = \"all\"\nupstream = \"api\"\n[upstreams.api]\n\
                 discovery = {{ dns = {{ name = \"api.internal\", port = {port}, \
                 servers = \"127.0.0.1:{}\" }} }}\n",
                server.port
            );
            break (Gateway::start(BINARY, &text), a, b);
        }
    };
    (gateway, [a, b])
}

const GOOD: [u8; 4] = [127, 0, 0, 1];
const EVIL: [u8; 4] = [127, 0, 0, 2];

fn good(question: &[u8]) -> Vec<u8> {
    answer(question, 0, 1, &record(GOOD, 1))
}

fn evil(question: &[u8]) -> Vec<u8> {
    answer(question, 0, 1, &record(EVIL, 1))
}

#[test]
fn answers_that_are_guessed_are_passed_over() {
    let server = Server::start(|question| {
        let mut other_id = evil(question);
        other_id[0] ^= 0x55;
        let mut other_name = evil(question);
        other_name[13] ^= 1;
        let mut other_kind = evil(question);
        let at = end(question) - 3;
        other_kind[at] = 28;
        let mut no_answer = evil(question);
        no_answer[2] &= 0x7f;
        // Beside what was asked for, somebody's else.
        let mut beside = b"\x04evil\x08internal\0\0\x01\0\x01\0\0\0\x01\0\x04".to_vec();
        beside.extend(EVIL);
        beside.extend(record(GOOD, 1));
        vec![other_id, other_name, other_kind, no_answer, answer(question, 0, 2, &beside)]
    });
    let (gateway, _origins) = scene(&server);
    assert_eq!(who(&gateway), names(&["good"]));
    let asked = server.asked();
    wait_until(LIMIT, || server.asked() > asked + 1);
    assert_eq!(who(&gateway), names(&["good"]));
    assert_eq!(*shown(&gateway).at("failing"), Json::Null);
}

#[test]
fn answers_that_loop_are_cut_or_too_long_take_no_endpoint_away() {
    let server = Server::start(|question| vec![good(question)]);
    let (gateway, _origins) = scene(&server);
    assert_eq!(who(&gateway), names(&["good"]));
    let scripts: [Script; 6] = [
        // A name that is itself, further on and further on.
        |question| {
            let at = (0xc000 | end(question) as u16).to_be_bytes();
            let rest = &record(EVIL, 1)[2..];
            vec![answer(question, 0, 1, &[&at[..], rest].concat())]
        },
        // An alias of itself.
        |question| {
            let alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 12];
            vec![answer(question, 0, 1, &alias)]
        },
        |question| vec![evil(question)[..end(question) + 9].to_vec()],
        |question| vec![answer(question, 0, 255, &record(EVIL, 1))],
        |question| vec![[evil(question), vec![0; 4_000]].concat()],
        // More than anybody would send by chance, and the right one behind it.
        |question| {
            let mut wrong = evil(question);
            wrong[0] ^= 1;
            let mut all = vec![wrong; 150];
            all.push(evil(question));
            all
        },
    ];
    for (at, script) in scripts.into_iter().enumerate() {
        server.answer_by(script);
        wait_until(LIMIT, || *shown(&gateway).at("failing") != Json::Null);
        assert_eq!(who(&gateway), names(&["good"]), "script {at}");
        server.answer_by(|question| vec![good(question)]);
        wait_until(LIMIT, || *shown(&gateway).at("failing") == Json::Null);
    }
}

#[test]
fn an_answer_holds_as_long_as_it_says() {
    let long = Server::start(|question| vec![answer(question, 0, 1, &record(GOOD, 600))]);
    let short = Server::start(|question| vec![answer(question, 0, 1, &record(GOOD, 0))]);
    let (one, _origins) = scene(&long);
    let (two, _others) = scene(&short);
    assert_eq!((who(&one), who(&two)), (names(&["good"]), names(&["good"])));
    let (asked, began) = (short.asked(), std::time::Instant::now());
    wait_until(LIMIT, || short.asked() >= asked + 3);
    // What holds not at all is asked for once a second all the same.
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    assert_eq!(long.asked(), 1);
}

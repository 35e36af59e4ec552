//! A storm: clients that never pause, and an origin that is killed and started again every second.
//! Nobody may notice but those whose answer, or whose request that cannot be repeated, was under
//! way; and the counters must say the same as the clients.

use crate::front::{BINARY, LIMIT, Samples, scrape, start};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::storm::Storm;
use gatehouse_rig::wait_until;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const CLIENTS: usize = 16;

/// Half of the time an origin is there, half of it not.
const HALF: Duration = Duration::from_millis(500);

fn period() -> Duration {
    let long = std::env::var_os("GATEHOUSE_LONG").is_some();
    Duration::from_secs(if long { 30 } else { 8 })
}

/// What clients saw.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// Whole answers by status.
    whole: BTreeMap<u16, u64>,
    /// Answers that began, by the status they began with, and broke off.
    cut: BTreeMap<u16, u64>,
    /// Requests that were written and of whose answer not one byte came.
    unanswered: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        for (status, count) in &other.whole {
            *self.whole.entry(*status).or_default() += count;
        }
        for (status, count) in &other.cut {
            *self.cut.entry(*status).or_default() += count;
        }
        self.unanswered += other.unanswered;
    }

    fn class(&self, class: u16) -> u64 {
        let counts = self.whole.iter().chain(&self.cut);
        counts.filter(|(status, _)| **status / 100 == class).map(|(_, count)| count).sum()
    }

    fn sent(&self) -> u64 {
        self.whole.values().chain(self.cut.values()).sum::<u64>() + self.unanswered
    }
}

/// How one request ended.
enum Outcome {
    Whole(u16),
    Cut(u16),
    Unanswered,
}

fn ask(stream: &mut BufReader<TcpStream>, text: &str) -> Outcome {
    let mut line = String::new();
    if stream.get_mut().write_all(text.as_bytes()).is_err()
        || !stream.read_line(&mut line).is_ok_and(|count| count > 0)
    {
        return Outcome::Unanswered;
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut length = 0;
    loop {
        line.clear();
        if !stream.read_line(&mut line).is_ok_and(|count| count > 0) {
            return Outcome::Cut(status);
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    match stream.read_exact(&mut body) {
        Ok(()) => Outcome::Whole(status),
        Err(_) => Outcome::Cut(status),
    }
}

/// Asks again and again, over one connection for as long as it lives.
fn client(to: SocketAddr, texts: &[String], stop: &AtomicBool) -> Tally {
    let connect = || {
        let stream = TcpStream::connect(to).expect("the gateway listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        BufReader::new(stream)
    };
    let mut tally = Tally::default();
    let mut stream = connect();
    for text in texts.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match ask(&mut stream, text) {
            Outcome::Whole(status) => {
                *tally.whole.entry(status).or_default() += 1;
                // Answers of the gateway's own may end the connection.
                if status < 400 {
                    continue;
                }
            }
            Outcome::Cut(status) => *tally.cut.entry(status).or_default() += 1,
            Outcome::Unanswered => tally.unanswered += 1,
        }
        stream = connect();
    }
    tally
}

/// Clients under way.
struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Crowd {
    fn start(to: SocketAddr, texts: &[String]) -> Crowd {
        let stop = Arc::<AtomicBool>::default();
        let threads = (0..CLIENTS).map(|_| {
            let (texts, stop) = (texts.to_vec(), Arc::clone(&stop));
            thread::spawn(move || client(to, &texts, &stop))
        });
        Crowd { threads: threads.collect(), stop }
    }

    fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for thread in self.threads {
            sum.add(&thread.join().expect("a client that did not panic"));
        }
        sum
    }
}

fn origins() -> [Origin; 3] {
    ["one", "two", "three"].map(|name| Origin::start(name).expect("a port"))
}

fn front(origins: &[Origin; 3]) -> Gateway {
    start(&origins.each_ref().map(Origin::address))
}

/// Kills the second origin and starts it again, every second.
fn shake(origins: &mut [Origin; 3], period: Duration) {
    let end = Instant::now() + period;
    while Instant::now() < end {
        for dies in [true, false] {
            let next = Instant::now() + HALF;
            if dies {
                origins[1].kill();
            } else {
                origins[1].restart().expect("its port");
            }
            wait_until(2 * HALF, || Instant::now() >= next);
        }
    }
}

/// The counters once nothing is in flight any more.
#[track_caller]
fn at_rest(gateway: &Gateway) -> Samples {
    wait_until(LIMIT, || {
        let samples = scrape(gateway);
        let busy = ["requests_in_flight", "endpoint_requests_in_flight", "client_connections"];
        busy.iter().all(|family| samples.sum(family, &[]) == 0)
    });
    scrape(gateway)
}

#[track_caller]
fn counts_agree(samples: &Samples, tally: &Tally) {
    for class in 1..=5 {
        let counted = samples.sum("requests_total", &[&format!("status=\"{class}xx\"")]);
        assert_eq!(counted, tally.class(class), "{class}xx: {tally:?}\n{}", samples.0);
    }
    assert_eq!(samples.sum("requests_total", &[]), tally.sent(), "{tally:?}");
    assert_eq!(samples.sum("request_duration_seconds_count", &[]), tally.sent());
}

fn gets() -> Vec<String> {
    let targets = ["/", "/bytes/1024", "/bytes/50000", "/echo", "/any/path?q=1"];
    targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).into()
}

#[test]
fn a_dying_origin_fails_no_get_and_the_counters_are_the_clients() {
    let mut origins = origins();
    let gateway = front(&origins);
    let crowd = Crowd::start(gateway.listener("web"), &gets());
    shake(&mut origins, period());
    let tally = crowd.stop();
    let samples = at_rest(&gateway);
    println!("clients saw {tally:?}");
    println!("retries: {}", samples.sum("retries_total", &[]));
    assert_eq!(tally.unanswered, 0, "{tally:?}");
    assert_eq!(tally.whole.keys().copied().collect::<Vec<_>>(), [200], "{tally:?}");
    assert!(tally.cut.keys().all(|status| *status == 200), "{tally:?}");
    assert!(tally.class(2) > 1000, "a storm, not a breeze: {tally:?}");
    assert!(samples.sum("retries_total", &[]) > 0, "the storm hit nobody");
    counts_agree(&samples, &tally);
}

#[test]
fn a_request_that_may_not_be_repeated_is_never_sent_twice() {
    let mut origins = origins();
    let gateway = front(&origins);
    let post = |target: &str, body: &str| {
        let length = body.len();
        format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    // With a body and without; slow enough that some are under way whenever the origin dies.
    let posts = [post("/sink", "hello"), post("/slow/20", "")];
    let crowd = Crowd::start(gateway.listener("web"), &posts);
    shake(&mut origins, Duration::from_secs(3));
    let tally = crowd.stop();
    let samples = at_rest(&gateway);
    println!("clients saw {tally:?}");
    let seen: u64 = origins.iter().map(Origin::requests).sum();
    let answered = tally.whole.get(&200).copied().unwrap_or(0);
    assert!(answered > 500, "{tally:?}");
    assert!((answered..=tally.sent()).contains(&seen), "the origins saw {seen}: {tally:?}");
    assert!(tally.whole.keys().all(|status| [200, 502].contains(status)), "{tally:?}");
    assert_eq!(tally.unanswered, 0, "{tally:?}");
    counts_agree(&samples, &tally);
}

#[test]
fn a_storm_of_every_kind_is_weathered() {
    let seed = std::env::var("GATEHOUSE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let period = period() / 2;
    println!("GATEHOUSE_SEED={seed}");
    let verdict = Storm { binary: BINARY.into(), seed, clients: 16, period }.run();
    println!("{verdict}");
    assert!(verdict.violations.is_empty(), "{verdict}");
    for event in ["answer", "own answer", "cut", "an origin leaves", "an origin dies", "reload"] {
        assert!(verdict.events.contains_key(event), "a storm without {event}: {verdict}");
    }
}

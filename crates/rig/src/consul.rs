//! A stand-in for Consul: `/v1/health/service/NAME` as its API documents it, with blocking queries
//! by index, and with whatever a test wants to go wrong. It looks at nothing else of a request.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a query without `wait` waits.
const WAIT_USUAL: Duration = Duration::from_secs(300);

/// How questions are answered.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    /// As documented.
    #[default]
    Well,
    /// With this status and text, at once.
    Status(u16, String),
    /// With these bytes, and then the connection is closed.
    Bytes(Vec<u8>),
}

#[derive(Debug, Default)]
struct State {
    index: u64,
    instances: String,
    mood: Mood,
    /// Request lines with their tokens, as they came.
    asked: Vec<String>,
    open: Vec<TcpStream>,
    connections: usize,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A Consul on a port of the loopback. Dropping it closes all its connections.
#[derive(Debug)]
pub struct Consul {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Consul {
    /// Starts one that knows nobody, at index 1.
    ///
    /// # Panics
    ///
    /// When there is no free port.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same at an address.
    ///
    /// # Panics
    ///
    /// When it is in use.
    #[must_use]
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared: Arc<Shared> = Arc::default();
        *shared.lock() = State { index: 1, instances: "[]".to_owned(), ..State::default() };
        let accepting = thread::spawn({
            let listener = listener.try_clone().expect("a descriptor");
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, listener, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lists these from now on: JSON, as it is answered, at this index.
    pub fn list(&self, instances: &str, index: u64) {
        let mut state = self.shared.lock();
        (state.instances, state.index) = (instances.to_owned(), index);
        self.shared.changed.notify_all();
    }

    /// Answers like this from now on, those who wait already included.
    pub fn set_mood(&self, mood: Mood) {
        self.shared.lock().mood = mood;
        self.shared.changed.notify_all();
    }

    /// Request lines, each with its token behind it where it has one.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.shared.lock().asked.clone()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // On Linux this wakes the thread that is waiting in accept.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is answered to a question: at once, or when there is something new.
    fn answer(&self, index: Option<u64>, wait: Duration) -> Vec<u8> {
        let end = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let waits = matches!(state.mood, Mood::Well)
                && index.is_some_and(|index| state.index == index)
                && !state.stopped;
            if !waits || left.is_zero() {
                return state.answer();
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl State {
    fn answer(&self) -> Vec<u8> {
        let (status, body) = match &self.mood {
            Mood::Well => (200, &self.instances),
            Mood::Status(status, text) => (*status, text),
            Mood::Bytes(bytes) => return bytes.clone(),
        };
        let head = format!(
            "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n\
             X-Consul-Index: {}\r\nX-Consul-Knownleader: true\r\nContent-Length: {}\r\n\r\n",
            self.index,
            body.len()
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        let Ok(other) = stream.try_clone() else { return };
        let mut state = shared.lock();
        if state.stopped {
            return;
        }
        state.open.push(other);
        state.connections += 1;
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(&stream, &shared));
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    let mut lines = BufReader::new(stream).lines();
    let mut out = stream;
    while let Some(Ok(request)) = lines.next() {
        let mut asked = request.clone();
        for line in lines.by_ref() {
            let Ok(line) = line else { return };
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("x-consul-token")
            {
                asked = format!("{asked} {value}");
            }
        }
        shared.lock().asked.push(asked);
        let index = value_of(&request, "index").and_then(|index| index.parse().ok());
        let wait = value_of(&request, "wait").and_then(|wait| wait.strip_suffix('s')?.parse().ok());
        let wait = wait.map_or(WAIT_USUAL, Duration::from_secs);
        let answer = shared.answer(index, wait);
        let cut = matches!(shared.lock().mood, Mood::Bytes(_));
        if out.write_all(&answer).is_err() || cut {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// A value of a request's query.
fn value_of<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let query = request.split(' ').nth(1)?.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn ask(consul: &Consul, query: &str) -> String {
        let mut stream = TcpStream::connect(consul.address()).expect("it listens");
        let request = format!("GET /v1/health/service/users{query} HTTP/1.1\r\nHost: c\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        let mut room = [0; 4096];
        while !answer.ends_with(b"]") {
            let count = stream.read(&mut room).expect("an answer");
            answer.extend_from_slice(&room[..count]);
            if count == 0 {
                break;
            }
        }
        String::from_utf8(answer).expect("text")
    }

    #[test]
    fn a_query_at_an_index_waits_until_that_is_another() {
        let consul = Consul::start();
        consul.list("[1]", 5);
        assert!(ask(&consul, "").contains("X-Consul-Index: 5\r\n"));
        assert!(ask(&consul, "?index=4&wait=10s").ends_with("[1]"), "it is another already");
        assert!(ask(&consul, "?index=5&wait=0s").ends_with("[1]"), "it waits no longer");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| ask(&consul, "?index=5&wait=60s"));
            crate::wait_until(Duration::from_secs(10), || consul.asked().len() == 4);
            consul.list("[2]", 3);
            assert!(waiting.join().expect("an answer").ends_with("[2]"), "lower is other too");
        });
    }

    #[test]
    fn a_mood_is_for_those_who_wait_too() {
        let consul = Consul::start();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| ask(&consul, "?index=1&wait=60s"));
            crate::wait_until(Duration::from_secs(10), || consul.asked().len() == 1);
            consul.set_mood(Mood::Status(500, "[no leader]".to_owned()));
            let answer = waiting.join().expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 500 ") && answer.ends_with("[no leader]"));
        });
    }
}

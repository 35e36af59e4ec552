//! An origin that follows a script on each connection and keeps every byte it saw.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::message::Head;
use super::pipe::{Arrived, Done, Ending, LOOK, Pipe, Record, WAIT, Watch, locked, shown};
use crate::wait::holds_within;

/// Holds scripts back until the test opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets every script go on, now and later.
    pub fn open(&self) {
        *locked(&self.0.0) = true;
        self.0.1.notify_all();
    }

    fn pass(&self, stopped: &AtomicBool) -> Result<(), String> {
        let end = Instant::now() + WAIT;
        let mut open = locked(&self.0.0);
        while !*open {
            if stopped.load(Ordering::Acquire) || Instant::now() >= end {
                return Err("the gate was not opened".to_owned());
            }
            open = match self.0.1.wait_timeout(open, LOOK) {
                Ok((open, _)) => open,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    ExpectHead,
    ExpectBody,
    ExpectBytes(usize),
    ExpectEnd,
    Send(Vec<u8>),
    Await(Gate),
    Wait(Duration),
    HalfClose,
    Close,
    Reset,
}

/// What to do on one connection, in order. When it is over the origin reads on until the peer ends
/// its side, and then closes.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
}

impl Script {
    /// Does nothing but read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Reads a request head, to its empty line.
    #[must_use]
    pub fn expect_head(self) -> Self {
        self.then(Step::ExpectHead)
    }

    /// Reads the body of the request whose head was read last, as that head frames it.
    #[must_use]
    pub fn expect_body(self) -> Self {
        self.then(Step::ExpectBody)
    }

    /// Reads so many bytes.
    #[must_use]
    pub fn expect_bytes(self, count: usize) -> Self {
        self.then(Step::ExpectBytes(count))
    }

    /// Reads until the peer ends its side, and no byte may come before.
    #[must_use]
    pub fn expect_end(self) -> Self {
        self.then(Step::ExpectEnd)
    }

    /// Sends bytes as they are.
    #[must_use]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Waits until the test opens the gate.
    #[must_use]
    pub fn await_gate(self, gate: &Gate) -> Self {
        self.then(Step::Await(gate.clone()))
    }

    /// Lets that much time pass, noting what arrives.
    #[must_use]
    pub fn wait(self, period: Duration) -> Self {
        self.then(Step::Wait(period))
    }

    /// Says that nothing more will be sent, and reads on.
    #[must_use]
    pub fn half_close(self) -> Self {
        self.then(Step::HalfClose)
    }

    /// Closes, as a process does: with an end, or with a reset when bytes were left unread.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Closes with a reset.
    #[must_use]
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// All steps so far, so many times over.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.steps = vec![self.steps; times].concat();
        self
    }

    /// Runs on a connection; the pipe is gone when the script closed it.
    fn run(&self, pipe: Pipe, stopped: &AtomicBool) -> (Option<Pipe>, Result<(), String>) {
        let mut pipe = pipe;
        let mut head = Head { line: String::new(), fields: Vec::new() };
        for (at, step) in self.steps.iter().enumerate() {
            let result = match step {
                Step::Close => return (None, Ok(())),
                Step::Reset => {
                    pipe.reset();
                    return (None, Ok(()));
                }
                step => step.run(&mut pipe, &mut head, stopped),
            };
            if let Err(error) = result {
                return (Some(pipe), Err(format!("step {}, {step:?}: {error}", at + 1)));
            }
        }
        (Some(pipe), Ok(()))
    }
}

impl Step {
    fn run(&self, pipe: &mut Pipe, head: &mut Head, stopped: &AtomicBool) -> Result<(), String> {
        match self {
            Self::ExpectHead => *head = pipe.take_head()?,
            Self::ExpectBody => drop(pipe.take_request_body(head)?),
            Self::ExpectBytes(count) => drop(pipe.take(*count)?),
            Self::ExpectEnd => {
                let (rest, _) = pipe.take_rest()?;
                if !rest.is_empty() {
                    return Err(format!("got {}", shown(&rest)));
                }
            }
            Self::Send(bytes) => pipe.write(bytes).map_err(|error| error.to_string())?,
            Self::Await(gate) => gate.pass(stopped)?,
            Self::Wait(period) => {
                let end = Instant::now() + *period;
                loop {
                    let left = end.saturating_duration_since(Instant::now());
                    match pipe.arrive_within(left) {
                        Arrived::Bytes if left > Duration::ZERO => {}
                        Arrived::Bytes | Arrived::Nothing => break,
                        // Time must pass even when the peer is gone.
                        Arrived::Ending(_) => {
                            holds_within(left, || stopped.load(Ordering::Acquire));
                            break;
                        }
                    }
                }
            }
            Self::HalfClose => pipe.half_close(),
            Self::Close | Self::Reset => {}
        }
        Ok(())
    }
}

/// Which script a connection gets.
#[derive(Debug)]
enum Plan {
    /// Each the same.
    Each(Script),
    /// One each, in turn; a connection too many is read only.
    InTurn(Vec<Script>),
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    stopped: Arc<AtomicBool>,
    records: Mutex<Vec<Arc<Mutex<Record>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A scripted origin on a free port of the loopback. Dropping it ends all its connections.
#[derive(Debug)]
pub struct ScriptedOrigin {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl ScriptedOrigin {
    /// Follows the same script on each connection.
    #[must_use]
    pub fn each(script: Script) -> Self {
        Self::start(Plan::Each(script))
    }

    /// Follows the first script on the first connection, and so on; reads only on those after.
    #[must_use]
    pub fn in_turn(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self::start(Plan::InTurn(scripts.into_iter().collect()))
    }

    fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            plan,
            stopped: Arc::default(),
            records: Mutex::default(),
            threads: Mutex::default(),
        });
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

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        locked(&self.shared.records).len()
    }

    /// All bytes that arrived on one connection, counted from 0, so far.
    ///
    /// # Panics
    ///
    /// When there was no such connection.
    #[track_caller]
    #[must_use]
    pub fn seen(&self, connection: usize) -> Vec<u8> {
        let records = locked(&self.shared.records);
        let count = records.len();
        let record = records.get(connection);
        let record = record.unwrap_or_else(|| panic!("{count} connections, none is {connection}"));
        locked(record).bytes.clone()
    }

    /// All bytes that arrived, one connection after the other.
    #[must_use]
    pub fn seen_in_all(&self) -> Vec<u8> {
        (0..self.connections()).flat_map(|connection| self.seen(connection)).collect()
    }

    /// How the peer ended a connection, if it has.
    #[must_use]
    pub fn ending(&self, connection: usize) -> Option<Ending> {
        let records = locked(&self.shared.records);
        records.get(connection).and_then(|record| locked(record).ending)
    }

    /// Where scripts went wrong, one line each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let records = locked(&self.shared.records);
        let problem = |(at, record): (usize, &Arc<Mutex<Record>>)| {
            let problem = locked(record).problem.clone()?;
            Some(format!("connection {at}: {problem}"))
        };
        records.iter().enumerate().filter_map(problem).collect()
    }

    /// Checks that no byte arrived on any connection.
    ///
    /// # Panics
    ///
    /// When one did.
    #[track_caller]
    pub fn expect_nothing_seen(&self) {
        let seen = self.seen_in_all();
        assert!(seen.is_empty(), "the origin saw {}", shown(&seen));
    }

    /// Waits until so many connections came and ran their scripts to the end.
    ///
    /// # Panics
    ///
    /// When they do not within 10 s, or a script went wrong.
    #[track_caller]
    pub fn expect_done(&self, connections: usize) {
        let done = || {
            let records = locked(&self.shared.records);
            records.iter().filter(|record| locked(record).done == Done::Yes).count()
        };
        let in_time = holds_within(WAIT, || done() >= connections || !self.problems().is_empty());
        let problems = self.problems();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        assert!(in_time, "{} of {connections} scripts ran to their end", done());
    }
}

impl Drop for ScriptedOrigin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // On Linux this wakes the thread that is waiting in accept.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for thread in locked(&self.shared.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopped.load(Ordering::Acquire) {
            return;
        }
        let record = Arc::new(Mutex::new(Record::default()));
        let at = {
            let mut records = locked(&shared.records);
            records.push(Arc::clone(&record));
            records.len() - 1
        };
        let serving = thread::spawn({
            let shared = Arc::clone(shared);
            move || serve(stream, at, &record, &shared)
        });
        locked(&shared.threads).push(serving);
    }
}

fn serve(stream: TcpStream, at: usize, record: &Arc<Mutex<Record>>, shared: &Shared) {
    let script = match &shared.plan {
        Plan::Each(script) => script.clone(),
        Plan::InTurn(scripts) => scripts.get(at).cloned().unwrap_or_default(),
    };
    let watch = Watch { record: Arc::clone(record), stopped: Arc::clone(&shared.stopped) };
    let Ok(pipe) = Pipe::watched(stream, watch) else { return };
    let (pipe, result) = script.run(pipe, &shared.stopped);
    {
        let mut record = locked(record);
        record.done = Done::Yes;
        record.problem = result.err();
    }
    let Some(mut pipe) = pipe else { return };
    while !shared.stopped.load(Ordering::Acquire) {
        match pipe.arrive() {
            Arrived::Bytes => pipe.ahead.clear(),
            Arrived::Nothing => {}
            Arrived::Ending(ending) => {
                locked(record).ending = Some(ending);
                return;
            }
        }
    }
}

//! The data plane from outside: bind, start, publish, observe, drain. One of the few files that
//! name the driver.

#[cfg(feature = "memory")]
pub mod memory;

use crate::accept::{accept, housekeeping};
use crate::credentials::Credentials;
use crate::log::{LogSink, LogSource, pair};
use crate::meters::WorkerMeters;
use crate::parking::porter;
use crate::tasks::spawn_service;
use crate::worker::{Current, Shared, Worker};
use gatehouse_core::address::Bind;
use gatehouse_core::endpoints::Endpoints;
use gatehouse_core::plan::{ListenerId, Plan, UpstreamId};
use gatehouse_wire::driver::bell;
use gatehouse_wire::net::{Bound, WorkerSocket};
use gatehouse_wire::timer::{now, sleep};
use gatehouse_wire::tls::ClientSide;
use gatehouse_wire::{Listener, Net, attend};
use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::watch;

/// What a data plane is started with.
#[derive(Debug)]
pub struct Start {
    /// What it obeys.
    pub plan: Arc<Plan>,
    /// Who can answer, one for each upstream of the plan.
    pub endpoints: Vec<Arc<Endpoints>>,
    /// Who it is, and whom it believes.
    pub credentials: Arc<Credentials>,
    /// How many threads carry exchanges.
    pub workers: NonZeroUsize,
    /// What chance is seeded with.
    pub seed: u64,
    /// Sockets this process was started with, by the names of their listeners; the others are
    /// bound.
    pub inherited: Vec<(Box<str>, Bound)>,
}

/// Why a data plane did not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener could not be bound.
    Bind {
        /// The listener's name.
        listener: Box<str>,
        /// What it wanted.
        bind: Bind,
        /// What the kernel said.
        error: io::Error,
    },
    /// A worker could not be started.
    Worker(io::Error),
}

/// A running data plane.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    bound: Vec<(Box<str>, Bound)>,
    meters: Vec<Arc<WorkerMeters>>,
    threads: Vec<JoinHandle<usize>>,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining(Duration),
}

impl Phase {
    /// How long what is in flight may take.
    fn limit(self) -> Duration {
        match self {
            Phase::Serving => Duration::MAX,
            Phase::Draining(limit) => limit,
        }
    }
}

impl Gate {
    /// Binds all listeners, then starts the workers. The log's other ends go to whoever writes.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(start: Start) -> Result<(Gate, Vec<LogSink>), StartError> {
        let Start { plan, endpoints, credentials, workers, seed, inherited } = start;
        let bound = bind(&plan, workers, inherited)?;
        let shared = Arc::new(Shared::new(Current { plan, endpoints, credentials }, Net::System));
        let (phase, watched) = watch::channel(Phase::Serving);
        let mut gate = Gate { shared, bound, meters: vec![], threads: vec![], phase };
        let mut sinks = Vec::new();
        for index in 0..workers.get() {
            let (log, sink) = pair();
            sinks.push(sink);
            let seed = seed.wrapping_add(index as u64);
            gate.start_worker(index, log, seed, watched.clone()).map_err(StartError::Worker)?;
        }
        Ok((gate, sinks))
    }

    fn start_worker(
        &mut self,
        index: usize,
        log: LogSource,
        seed: u64,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<()> {
        let sockets: io::Result<Vec<WorkerSocket>> =
            self.bound.iter().map(|(_, bound)| bound.for_worker(index)).collect();
        let sockets = sockets?;
        let meters: Arc<WorkerMeters> = Arc::default();
        // Until its first round a worker is as old as its start, not as the clock.
        meters.beat(now());
        self.meters.push(Arc::clone(&meters));
        let shared = Arc::clone(&self.shared);
        let (ready, when_ready) = std::sync::mpsc::sync_channel(1);
        let work = move || {
            let listeners: io::Result<Vec<Listener>> =
                sockets.into_iter().map(Listener::register).collect();
            let worker = Worker::new(shared, meters, log, seed);
            let tasks = Rc::clone(&worker.tasks);
            let started = listeners.and_then(|listeners| Ok((bell()?, listeners)));
            match started {
                Ok((bell, listeners)) => {
                    // The gate waits for this word; if it is gone, so is the process.
                    drop(ready.send(Ok(())));
                    tasks.run(bell, run(worker, listeners, phase)).unwrap_or_else(|error| {
                        eprintln!("error: worker {index} ended: {error}");
                        0
                    })
                }
                Err(error) => {
                    drop(ready.send(Err(error)));
                    0
                }
            }
        };
        let name = format!("worker-{index}");
        self.threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        when_ready.recv().unwrap_or_else(|_| Err(io::Error::other("the worker did not start")))
    }

    /// Where each listener listens, by name, with the ports the kernel chose.
    pub fn addresses(&self) -> Vec<(&str, Bind)> {
        let bound = self.bound.iter();
        bound.filter_map(|(name, bound)| Some((&**name, bound.address().ok()?))).collect()
    }

    /// What the workers have counted.
    pub fn observe(&self) -> Observation {
        let Current { plan, endpoints, credentials: _ } = self.shared.current();
        Observation { plan, endpoints, workers: self.meters.clone() }
    }

    /// Something that can observe and publish from another thread.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared), meters: self.meters.clone() }
    }

    /// Stops accepting and lets what is in flight end within `limit` from when this is first
    /// called, then cuts the rest. Called again, the new limit holds.
    pub fn drain(&mut self, limit: Duration) {
        // The workers hold these sockets too, and close them once nothing is queued; one left
        // open here would go on queueing connections that nobody takes.
        self.bound.clear();
        self.phase.send_replace(Phase::Draining(limit));
    }

    /// Whether every worker has ended.
    pub fn is_drained(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the end of a drain. Returns how many connections were cut.
    pub fn join(self) -> usize {
        self.threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    }
}

/// Observes and publishes, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    meters: Vec<Arc<WorkerMeters>>,
}

impl Handle {
    /// Puts a new plan in place, with who can answer for each of its upstreams, and who the
    /// gateway is. Its listeners must be those of the plan before.
    pub fn publish(
        &self,
        plan: Arc<Plan>,
        endpoints: Vec<Arc<Endpoints>>,
        credentials: Arc<Credentials>,
    ) {
        self.shared.publish(|current| *current = Current { plan, endpoints, credentials });
    }

    /// Puts new credentials in place of those of `plan`, unless another plan has come since.
    /// Connections that are open keep what they were made with.
    pub fn set_credentials(&self, plan: &Arc<Plan>, credentials: Arc<Credentials>) -> Followed {
        let mut followed = Followed::No;
        self.shared.publish(|current| {
            if Arc::ptr_eq(&current.plan, plan) {
                current.credentials = credentials;
                followed = Followed::Yes;
            }
        });
        followed
    }

    /// Puts new endpoints in place of those of an upstream of `plan`, unless another plan has come
    /// since: its upstreams stand elsewhere.
    pub fn set_endpoints(
        &self,
        plan: &Arc<Plan>,
        upstream: UpstreamId,
        endpoints: Arc<Endpoints>,
    ) -> Followed {
        let mut followed = Followed::No;
        self.shared.publish(|current| {
            let same = Arc::ptr_eq(&current.plan, plan);
            let slot = current.endpoints.get_mut(upstream.0 as usize).filter(|_| same);
            if let Some(slot) = slot {
                *slot = endpoints;
                followed = Followed::Yes;
            }
        });
        followed
    }

    /// How the endpoints of an upstream are spoken to under TLS.
    pub fn client_side(&self, upstream: &str) -> Option<Arc<ClientSide>> {
        let Current { plan, credentials, .. } = self.shared.current();
        let at = plan.upstreams.iter().position(|other| *other.name == *upstream)?;
        credentials.upstream(UpstreamId(at as u32)).cloned()
    }

    /// What the workers have counted, and what they obey.
    pub fn observe(&self) -> Observation {
        let Current { plan, endpoints, credentials: _ } = self.shared.current();
        Observation { plan, endpoints, workers: self.meters.clone() }
    }
}

/// Whether what was published is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It is.
    Yes,
    /// Another plan has come since.
    No,
}

/// What can be seen of a data plane.
#[derive(Clone, Debug)]
pub struct Observation {
    /// What it obeys.
    pub plan: Arc<Plan>,
    /// Who can answer, one for each upstream of the plan.
    pub endpoints: Vec<Arc<Endpoints>>,
    /// What each worker counted.
    pub workers: Vec<Arc<WorkerMeters>>,
}

/// The sockets of all listeners, in the plan's order.
fn bind(
    plan: &Plan,
    workers: NonZeroUsize,
    mut inherited: Vec<(Box<str>, Bound)>,
) -> Result<Vec<(Box<str>, Bound)>, StartError> {
    let each = plan.listeners.iter().map(|listener| {
        if let Some(at) = inherited.iter().position(|(name, _)| *name == listener.name) {
            return Ok(inherited.swap_remove(at));
        }
        match Bound::new(&listener.bind, workers.get()) {
            Ok(bound) => Ok((listener.name.clone(), bound)),
            Err(error) => {
                let (listener, bind) = (listener.name.clone(), listener.bind.clone());
                Err(StartError::Bind { listener, bind, error })
            }
        }
    });
    each.collect()
}

/// One worker's life. Returns how many connections were cut at its end.
async fn run(
    worker: Rc<Worker>,
    listeners: Vec<Listener>,
    mut phase: watch::Receiver<Phase>,
) -> usize {
    serve(&worker, listeners);
    while *phase.borrow_and_update() == Phase::Serving {
        if phase.changed().await.is_err() {
            break;
        }
    }
    worker.drain();
    let since = now();
    while worker.alive() > 0 && now().since(since) < phase.borrow().limit() {
        sleep(Duration::from_millis(5)).await;
    }
    let cut = worker.alive();
    if cut > 0 {
        // What is carried through ends by itself once it knows, and says so in the log.
        worker.cut();
        let since = now();
        while worker.alive() > 0 && now().since(since) < LAST_WORDS {
            sleep(Duration::from_millis(1)).await;
        }
    }
    worker.flush_log();
    worker.parking.clear();
    cut
}

/// Starts what a worker does.
fn serve(worker: &Rc<Worker>, listeners: Vec<Listener>) {
    worker.tasks.spawn(porter(Rc::clone(worker)));
    worker.tasks.spawn(housekeeping(Rc::clone(worker)));
    for (index, listener) in listeners.into_iter().enumerate() {
        let id = ListenerId(index as u8);
        worker.tasks.spawn(accept(Rc::clone(worker), listener, id));
    }
}

fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())
}

/// How long connections that are cut at the end of a drain have for their records.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs `future` on a runtime of its own on this thread: for the control side.
///
/// # Errors
/// What the driver says when it cannot be set up.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let mut attended = Box::pin(attend());
    let mut future = std::pin::pin!(future);
    runtime()?.block_on(poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        attended.as_mut().poll(cx).map(|ended| ended.and(Err(io::ErrorKind::Other.into())))
    }))
}

/// Runs `future` beside the one that [`block_on`] was given on this thread.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    spawn_service(future);
}

/// A signal an operator sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: drain and end.
    Terminate,
    /// SIGHUP.
    Hangup,
}

/// The signals an operator sends, from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to listen for them. Call it inside [`block_on`].
    ///
    /// # Errors
    /// What the driver says when a handler cannot be set up.
    pub fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Ready with the next one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        if self.terminate.poll_recv(cx).is_ready() || self.interrupt.poll_recv(cx).is_ready() {
            return Poll::Ready(Signal::Terminate);
        }
        self.hangup.poll_recv(cx).map(|_| Signal::Hangup)
    }
}

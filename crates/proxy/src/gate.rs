//! The data plane from outside: bind, start, publish, observe, drain. One of the few files that
//! name the driver.

#[cfg(feature = "memory")]
pub mod memory;

use crate::accept::{accept, housekeeping};
use crate::challenges::Challenges;
use crate::credentials::Credentials;
use crate::door::AWAIT;
use crate::log::{LogSink, LogSource, pair};
use crate::meters::WorkerMeters;
use crate::parking::porter;
use crate::sockets::{Provided, Sockets};
use crate::tasks::spawn_service;
use crate::worker::{Current, Shared, Worker};
use gatehouse_core::address::Bind;
use gatehouse_core::endpoints::Endpoints;
use gatehouse_core::overload::{Ceilings, Pressure};
use gatehouse_core::plan::{Plan, UpstreamId};
use gatehouse_wire::driver::bell;
use gatehouse_wire::net::Bound;
use gatehouse_wire::timer::{now, sleep};
use gatehouse_wire::tls::ClientSide;
use gatehouse_wire::{Listener, Net, attend};
use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
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
    sockets: Sockets,
    meters: Vec<Arc<WorkerMeters>>,
    threads: Vec<JoinHandle<usize>>,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Another process has the sockets too.
    Leaving(Duration),
    Draining(Duration),
}

impl Phase {
    /// How long what is in flight may take.
    fn limit(self) -> Duration {
        match self {
            Phase::Serving => Duration::MAX,
            Phase::Leaving(limit) | Phase::Draining(limit) => limit,
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
        let mut sockets = Sockets::new(workers);
        let provided = sockets.provide(&plan, inherited)?;
        let (seats, arrivals) = sockets.adopt(&plan, provided);
        let current = Current { plan, endpoints, credentials, seats, challenges: None };
        let shared = Arc::new(Shared::new(current, arrivals, Net::System));
        let (phase, watched) = watch::channel(Phase::Serving);
        let mut gate = Gate { shared, sockets, meters: vec![], threads: vec![], phase };
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
        let meters: Arc<WorkerMeters> = Arc::default();
        // Until its first round a worker is as old as its start, not as the clock.
        meters.beat(now());
        self.meters.push(Arc::clone(&meters));
        let shared = Arc::clone(&self.shared);
        let (ready, when_ready) = std::sync::mpsc::sync_channel(1);
        let work = move || {
            let listeners = arrived(&shared, index);
            let worker = Worker::new(shared, meters, log, seed);
            let tasks = Rc::clone(&worker.tasks);
            let started = listeners.and_then(|listeners| Ok((bell()?, listeners)));
            match started {
                Ok((bell, listeners)) => {
                    // The gate waits for this word; if it is gone, so is the process.
                    drop(ready.send(Ok(())));
                    tasks.run(bell, run(worker, index, listeners, phase)).unwrap_or_else(|error| {
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
        let all = self.sockets.all();
        all.filter_map(|(name, bound)| Some((name, bound.address().ok()?))).collect()
    }

    /// What the workers have counted.
    pub fn observe(&self) -> Observation {
        self.handle().observe()
    }

    /// Something that can observe and publish from another thread.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared), meters: self.meters.clone() }
    }

    /// Finds or binds the sockets that a plan's listeners need; nothing is changed yet.
    ///
    /// # Errors
    /// [`StartError::Bind`].
    pub fn provide(&self, plan: &Plan) -> Result<Provided, StartError> {
        self.sockets.provide(plan, Vec::new())
    }

    /// Puts a new plan in place, with who can answer for each of its upstreams, who the gateway
    /// is, and the sockets that were provided for it. Listeners that are gone are drained.
    pub fn publish(
        &mut self,
        plan: Arc<Plan>,
        endpoints: Vec<Arc<Endpoints>>,
        credentials: Arc<Credentials>,
        provided: Provided,
    ) {
        let (seats, arrivals) = self.sockets.adopt(&plan, provided);
        self.shared.publish(|current| {
            let challenges = current.challenges.take();
            *current = Current { plan, endpoints, credentials, seats, challenges };
        });
        // Not before: a worker that does not know the listener yet would close its socket.
        self.shared.arrive(arrivals);
        // Workers that have nothing to do follow too.
        self.phase.send_modify(|_| {});
    }

    /// Stops accepting and lets what is in flight end within `limit` from when this is first
    /// called, then cuts the rest. Called again, the new limit holds.
    pub fn drain(&mut self, limit: Duration) {
        // The workers hold these sockets too, and close them once nothing is queued; one left
        // open here would go on queueing connections that nobody takes.
        self.sockets.clear();
        self.phase.send_replace(Phase::Draining(limit));
    }

    /// Leaves the listeners to another process that has their sockets too: takes no more
    /// connections, lets those that are idle ask once more for a while, and drains.
    pub fn leave(&mut self, limit: Duration) {
        self.sockets.disown();
        self.sockets.clear();
        self.phase.send_replace(Phase::Leaving(limit));
    }

    /// The sockets of its listeners, by name.
    pub fn sockets(&self) -> impl Iterator<Item = (&str, &Bound)> {
        self.sockets.all()
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
    /// Says how short of memory the process is.
    pub fn set_pressure(&self, pressure: Pressure) {
        self.shared.load.set_pressure(pressure);
    }

    /// Says how many client connections may be open at once, over all listeners.
    pub fn set_clients_max(&self, most: u32) {
        self.shared.load.set_clients_max(most);
    }

    /// How many client connections may be open at once, over all listeners.
    pub fn clients_max(&self) -> u32 {
        self.shared.load.clients_max()
    }

    /// What an operator says that the process may use.
    pub fn ceilings(&self) -> Ceilings {
        self.shared.current().plan.ceilings
    }

    /// How short of memory the process is said to be.
    pub fn pressure(&self) -> Pressure {
        self.shared.load.pressure()
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

    /// Says what an ACME server is told from now on, whatever plan comes meanwhile.
    pub fn set_challenges(&self, challenges: Option<Arc<Challenges>>) {
        self.shared.publish(|current| current.challenges = challenges);
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
        let Current { plan, endpoints, .. } = self.shared.current();
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

/// A listener's socket, registered with the thread that takes from it, and the listener's number.
type Arrived = (u32, Listener);

/// The sockets that have come for a worker.
fn arrived(shared: &Shared, index: usize) -> io::Result<Vec<Arrived>> {
    let arrivals = shared.take_arrivals(index).into_iter();
    arrivals.map(|one| Ok((one.number, Listener::register(one.socket)?))).collect()
}

/// One worker's life. Returns how many connections were cut at its end.
async fn run(
    worker: Rc<Worker>,
    index: usize,
    listeners: Vec<Arrived>,
    mut phase: watch::Receiver<Phase>,
) -> usize {
    serve(&worker, listeners);
    while *phase.borrow_and_update() == Phase::Serving {
        worker.follow();
        match arrived(&worker.shared, index) {
            Ok(listeners) => open(&worker, listeners),
            Err(error) => eprintln!("error: worker {index} cannot listen: {error}"),
        }
        if phase.changed().await.is_err() {
            break;
        }
    }
    let since = now();
    let passed = || now().since(since);
    if matches!(*phase.borrow(), Phase::Leaving(_)) {
        worker.leave();
        let leaving = || matches!(*phase.borrow(), Phase::Leaving(limit) if passed() < limit);
        while worker.alive() > 0 && leaving() && passed() < AWAIT {
            sleep(DRAIN_LOOK).await;
        }
    }
    worker.drain();
    while worker.alive() > 0 && passed() < phase.borrow().limit() {
        sleep(DRAIN_LOOK).await;
    }
    let cut = worker.alive();
    if cut > 0 {
        // What is carried through ends by itself once it knows, and says so in the log.
        worker.cut();
        let since = now();
        while worker.alive() > 0 && now().since(since) < LAST_WORDS {
            sleep(Duration::from_millis(1)).await;
        }
        // Exchanges do not know: each is recorded as it is dropped.
        worker.tasks.clear();
    }
    worker.flush_log();
    worker.parking.clear();
    cut
}

/// How often a drain is looked at.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// Starts what a worker does.
fn serve(worker: &Rc<Worker>, listeners: Vec<Arrived>) {
    worker.tasks.spawn(porter(Rc::clone(worker)));
    worker.tasks.spawn(housekeeping(Rc::clone(worker)));
    open(worker, listeners);
}

/// Takes connections from these too.
fn open(worker: &Rc<Worker>, listeners: Vec<Arrived>) {
    for (number, listener) in listeners {
        // One that is gone again is closed.
        if let Some(entrance) = worker.doors.enter(number, &worker.view()) {
            worker.tasks.spawn(accept(Rc::clone(worker), listener, entrance));
        }
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

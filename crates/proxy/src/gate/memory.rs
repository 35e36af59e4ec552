//! One worker over the tests' network, on a clock that only moves when everybody waits. One of the
//! few files that name tokio.

use super::{Arc, Builder, Current, Endpoints, Future, LocalOptions, Plan, Rc, Shared, Worker};
use crate::door::Seat;
use crate::log::{LogSink, pair};
use crate::meters::WorkerMeters;
use gatehouse_wire::memory::MemoryNet;
use gatehouse_wire::{Listener, Net};
use std::net::SocketAddr;

/// A worker that tests drive.
pub struct MemoryGate {
    worker: Rc<Worker>,
    shared: Arc<Shared>,
    /// What it has counted.
    pub meters: Arc<WorkerMeters>,
    /// Its log.
    pub log: LogSink,
}

impl MemoryGate {
    /// Serves the plan's only listener on `address` of `net`. Call it inside [`run`].
    pub fn start(
        plan: Plan,
        endpoints: Vec<Arc<Endpoints>>,
        net: &MemoryNet,
        address: SocketAddr,
        seed: u64,
    ) -> MemoryGate {
        let seats = (0..plan.listeners.len() as u32).map(Seat::new).collect();
        let (plan, credentials) = (Arc::new(plan), Arc::default());
        let current = Current { plan, endpoints, credentials, seats, challenges: None };
        let shared = Arc::new(Shared::new(current, Vec::new(), Net::Memory(net.clone())));
        let meters: Arc<WorkerMeters> = Arc::default();
        let (source, log) = pair();
        let worker = Worker::new(Arc::clone(&shared), Arc::clone(&meters), source, seed);
        let listener = Listener::Memory(net.listen(address));
        super::spawn_service(Rc::clone(&worker.tasks).attend());
        super::serve(&worker, vec![(0, listener)]);
        MemoryGate { worker, shared, meters, log }
    }

    /// Begins a drain.
    pub fn drain(&self) {
        self.worker.drain();
    }

    /// Leaves the listener to another process.
    pub fn leave(&self) {
        self.worker.leave();
    }

    /// Cuts what a drain has left.
    pub fn cut(&self) {
        self.worker.cut();
    }

    /// Client connections that are open, and the listener until it drains.
    pub fn running(&self) -> usize {
        self.worker.alive()
    }

    /// Client connections that wait without a task.
    pub fn parked(&self) -> usize {
        self.worker.parking.len()
    }

    /// How often a task of the worker has run.
    pub fn polls(&self) -> u64 {
        self.worker.tasks.polls.get()
    }

    /// Has the next exchange panic.
    pub fn fail_next(&self) {
        self.worker.faulty.set(true);
    }

    /// Idle upstream connections kept, over all endpoints.
    pub fn idle_connections(&self) -> usize {
        self.worker.idle_connections()
    }

    /// Drops the idle upstream connections.
    pub fn drop_idle(&self) {
        self.worker.drop_idle();
    }

    /// Read buffers that connections hold at this moment.
    pub fn lent_buffers(&self) -> usize {
        self.worker.buffers.lent()
    }

    /// Puts new endpoints in place of the first upstream's.
    pub fn set_endpoints(&self, endpoints: Arc<Endpoints>) {
        self.shared.publish(|current| current.endpoints[0] = endpoints);
    }

    /// Puts a new plan in place, with the same listeners, and who can answer for its upstreams.
    pub fn publish(&self, plan: Plan, endpoints: Vec<Arc<Endpoints>>) {
        self.shared.publish(|current| {
            current.plan = Arc::new(plan);
            current.endpoints = endpoints;
        });
    }

    /// Says how short of memory the process is, and how many clients there may be.
    pub fn set_load(&self, pressure: gatehouse_core::overload::Pressure, clients_max: u32) {
        self.shared.load.set_pressure(pressure);
        self.shared.load.set_clients_max(clients_max);
    }

    /// Sends off the log lines written so far.
    pub fn flush_log(&self) {
        self.worker.flush_log();
    }
}

/// Bytes of a running exchange: its room and its desk, without buffers and texts.
pub fn exchange_bytes() -> usize {
    crate::rooms::bytes() + size_of::<crate::worker::Desk>()
}

impl Drop for MemoryGate {
    fn drop(&mut self) {
        self.worker.parking.clear();
    }
}

/// Runs a test with the clock paused: time passes only when every task waits for it.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            super::spawn_service(async {
                if let Err(error) = super::attend().await {
                    panic!("no driver for a test: {error}");
                }
            });
            test.await
        }),
        Err(error) => panic!("no runtime for a test: {error}"),
    }
}

/// Runs `future` beside the test.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    super::spawn_service(future);
}

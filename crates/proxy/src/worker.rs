//! What one worker holds: its view of the plan, its pools, buffers, counters and chance.

use crate::buffer::Whole;
use crate::challenges::Challenges;
use crate::credentials::Credentials;
use crate::date::Calendar;
use crate::door::{Doors, Seat};
use crate::load::Load;
use crate::log::LogSource;
use crate::meters::{NO_ROUTE, RouteMeter, WorkerMeters};
use crate::parking::Parking;
use crate::pool::Pool;
use crate::progress::Progress;
use crate::rooms::Rooms;
use crate::send::Upload;
use crate::sockets::Arrival;
use crate::tasks::Tasks;
use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::message::{RequestHead, ResponseHead};
use gatehouse_core::moment::Moment;
use gatehouse_core::overload::Pressure;
use gatehouse_core::plan::{Keepalive, Plan, RouteId, UpstreamId, UpstreamPlan};
use gatehouse_core::route::RewriteScratch;
use gatehouse_core::vitals::EndpointVitals;
use gatehouse_wire::pump::Pump;
use gatehouse_wire::splice::Pipes;
use gatehouse_wire::timer::now;
use gatehouse_wire::tls::ClientSide;
use gatehouse_wire::{Buffers, Net};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// Desks kept for later; more are given back to the allocator.
const KEPT_DESKS_MAX: usize = 1024;

/// What is published: all of it is swapped under one lock, and seen as one.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub plan: Arc<Plan>,
    /// Who can answer, one for each upstream of the plan.
    pub endpoints: Vec<Arc<Endpoints>>,
    pub credentials: Arc<Credentials>,
    /// One for each listener of the plan.
    pub seats: Vec<Seat>,
    /// What is said to an ACME server, while one asks.
    pub challenges: Option<Arc<Challenges>>,
}

/// What all workers follow.
#[derive(Debug)]
pub(crate) struct Shared {
    current: Mutex<Current>,
    generation: AtomicU64,
    arrivals: Mutex<Vec<Arrival>>,
    pub load: Load,
    pub net: Net,
}

impl Shared {
    pub fn new(current: Current, arrivals: Vec<Arrival>, net: Net) -> Shared {
        let (current, arrivals) = (Mutex::new(current), Mutex::new(arrivals));
        let (generation, load) = (AtomicU64::new(1), Load::default());
        Shared { current, generation, arrivals, load, net }
    }

    /// Puts down sockets for the workers they are for.
    pub fn arrive(&self, arrivals: Vec<Arrival>) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).extend(arrivals);
    }

    /// Takes those that are for this worker.
    pub fn take_arrivals(&self, worker: usize) -> Vec<Arrival> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.extract_if(.., |arrival| arrival.worker == worker).collect()
    }

    pub fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Swaps what is published and tells the workers, and those that wait for a place.
    pub fn publish(&self, swap: impl FnOnce(&mut Current)) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        swap(&mut current);
        // In one order with the looks at it, and at who waits.
        self.generation.fetch_add(1, Ordering::SeqCst);
        current.endpoints.iter().for_each(|endpoints| endpoints.vitals().call_waiting());
    }
}

/// One upstream as a worker sees it: who can answer, and this worker's connections to each.
#[derive(Debug)]
pub(crate) struct UpstreamView {
    pub endpoints: Arc<Endpoints>,
    pub pools: Vec<Rc<Pool>>,
    /// How its endpoints under TLS are spoken to.
    pub tls: Option<Arc<ClientSide>>,
}

/// One snapshot of everything an exchange obeys.
#[derive(Debug)]
pub(crate) struct View {
    pub plan: Arc<Plan>,
    pub credentials: Arc<Credentials>,
    pub upstreams: Vec<Rc<UpstreamView>>,
    /// One for each listener of the plan.
    pub seats: Vec<Seat>,
    /// What is said to an ACME server, while one asks.
    pub challenges: Option<Arc<Challenges>>,
    meters: Vec<OnceCell<Arc<RouteMeter>>>,
    no_route: Arc<RouteMeter>,
}

impl View {
    pub fn upstream(&self, id: UpstreamId) -> &Rc<UpstreamView> {
        &self.upstreams[id.0 as usize]
    }

    /// The meter of a route, or of exchanges that found none.
    pub fn meter(&self, worker: &WorkerMeters, route: Option<RouteId>) -> &RouteMeter {
        let Some(route) = route else { return &self.no_route };
        self.meters[route.0 as usize].get_or_init(|| worker.route(&self.plan.route(route).name))
    }
}

/// The two heads of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    pub request: RequestHead,
    pub answer: ResponseHead,
}

/// What an exchange works with while it runs. Everything large is here, made once and used in
/// place: a future that held it by value would copy it from step to step.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub heads: Heads,
    /// The request's body, where it was read whole.
    pub whole: Whole,
    /// The request on its way, from step 9 on.
    pub upload: Upload,
    /// The answer on its way, in step 11.
    pub download: Pump,
    /// How it moves on.
    pub progress: Progress,
    /// Interim answers of an attempt that may not speak with the client, until it is heard: at most
    /// as many as one exchange may have.
    pub interims: Option<Box<Interims>>,
}

/// Interim answers that are held.
#[derive(Debug, Default)]
pub(crate) struct Interims(pub Vec<ResponseHead>);

impl Desk {
    /// Takes over the request of another desk, its body included where that is held whole.
    pub fn copy_request(&mut self, other: &Desk) {
        self.heads.request.copy_from(&other.heads.request);
        self.whole.copy_from(&other.whole);
    }
}

/// Texts that an exchange writes while it runs.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub path: Vec<u8>,
    pub text: Vec<u8>,
    pub rewrite: RewriteScratch,
}

/// One worker.
pub(crate) struct Worker {
    pub shared: Arc<Shared>,
    pub buffers: Rc<Buffers>,
    pub pipes: Pipes,
    pub chance: RefCell<Chance>,
    pub scratch: RefCell<Scratch>,
    pub meters: Arc<WorkerMeters>,
    pub log: LogSource,
    pub calendar: Calendar,
    pub tasks: Rc<Tasks>,
    pub rooms: Rooms,
    pub parking: Parking,
    pub doors: Doors,
    alive: Cell<usize>,
    /// Whether the next exchange is to panic.
    #[cfg(feature = "memory")]
    pub faulty: Cell<bool>,
    pub draining: Cell<bool>,
    /// Whether the time of a drain is over: what is carried through is cut now.
    pub cutting: Cell<bool>,
    view: RefCell<Rc<View>>,
    seen: Cell<u64>,
    next_id: Cell<u64>,
    #[allow(clippy::vec_box, reason = "the box is what an exchange takes along")]
    desks: RefCell<Vec<Box<Desk>>>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl Worker {
    pub fn new(
        shared: Arc<Shared>,
        meters: Arc<WorkerMeters>,
        log: LogSource,
        seed: u64,
    ) -> Rc<Worker> {
        let generation = shared.generation.load(Ordering::Acquire);
        let view = View::of(shared.current(), &meters, &[]);
        let mut chance = Chance::seeded(seed);
        Rc::new(Worker {
            buffers: Buffers::new(),
            pipes: Pipes::default(),
            next_id: Cell::new(chance.next_u64()),
            chance: RefCell::new(chance),
            scratch: RefCell::default(),
            calendar: Calendar::default(),
            tasks: Rc::default(),
            rooms: Rooms::default(),
            parking: Parking::default(),
            doors: Doors::default(),
            alive: Cell::new(0),
            #[cfg(feature = "memory")]
            faulty: Cell::new(false),
            draining: Cell::new(false),
            cutting: Cell::new(false),
            view: RefCell::new(Rc::new(view)),
            seen: Cell::new(generation),
            desks: RefCell::default(),
            waiting: RefCell::default(),
            shared,
            meters,
            log,
        })
    }

    /// The snapshot of now. One load where nothing has changed.
    pub fn view(&self) -> Rc<View> {
        self.follow();
        Rc::clone(&self.view.borrow())
    }

    /// Follows what has been published since.
    pub fn follow(&self) {
        let generation = self.shared.generation.load(Ordering::SeqCst);
        if generation != self.seen.get() {
            self.refresh(generation);
        }
    }

    fn refresh(&self, generation: u64) {
        let before = Rc::clone(&self.view.borrow());
        let view = Rc::new(View::of(self.shared.current(), &self.meters, &before.upstreams));
        self.view.replace(Rc::clone(&view));
        self.seen.set(generation);
        if self.doors.follow(&view, &before, now()) {
            self.wake_waiting();
        }
    }

    /// A number no other exchange of this process has, and none of another is likely to.
    pub fn next_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        id
    }

    pub fn take_desk(&self) -> Box<Desk> {
        let mut desk = self.desks.borrow_mut().pop().unwrap_or_default();
        desk.upload.forget();
        desk
    }

    pub fn give_desk(&self, mut desk: Box<Desk>) {
        if desk.whole.is_held() {
            desk.whole.forget();
            desk.upload.shrink();
        }
        // Told to one client, and to nobody else.
        desk.interims = None;
        let mut kept = self.desks.borrow_mut();
        if kept.len() < KEPT_DESKS_MAX {
            kept.push(desk);
        }
    }

    /// Wakes a task when a drain begins and when its time is over, for as long as what this gives
    /// lives.
    pub fn tell_of_drain(&self, waker: &Waker) -> Told<'_> {
        let key = self.next_id();
        self.waiting.borrow_mut().insert(key, waker.clone());
        Told { worker: self, key }
    }

    /// Client connections that are open, and listeners that accept.
    pub fn alive(&self) -> usize {
        self.alive.get()
    }

    /// Ends idle connections now and all others after their exchange.
    pub fn drain(&self) {
        self.draining.set(true);
        self.doors.close();
        self.wake_waiting();
        self.parking.wake_closed();
        self.drop_idle();
    }

    /// Leaves all listeners to another process: takes no more connections, and closes those that
    /// are open behind their next answer.
    pub fn leave(&self) {
        self.doors.leave(now());
        self.wake_waiting();
    }

    /// Closes the connections of listeners that were left for long enough.
    pub fn look_after_doors(&self) {
        if self.doors.look(now()) {
            self.wake_waiting();
            self.parking.wake_closed();
        }
    }

    /// Ends what is carried through: the time of a drain is over.
    pub fn cut(&self) {
        self.cutting.set(true);
        self.wake_waiting();
    }

    fn wake_waiting(&self) {
        let wakers: Vec<Waker> = self.waiting.borrow().values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Drops all idle upstream connections: their descriptors are needed.
    pub fn drop_idle(&self) {
        self.pipes.clear();
        self.view.borrow().upstreams.iter().flat_map(|up| &up.pools).for_each(|pool| pool.clear());
    }

    /// Gives back what is kept for later, and grows no buffer, while memory is short.
    pub fn save(&self) {
        let short = self.shared.load.pressure() > Pressure::None;
        self.buffers.save(short);
        if short {
            self.desks.borrow_mut().clear();
            self.drop_idle();
        }
    }

    /// Idle upstream connections kept.
    #[cfg(feature = "memory")]
    pub fn idle_connections(&self) -> usize {
        self.view.borrow().upstreams.iter().flat_map(|up| &up.pools).map(|pool| pool.len()).sum()
    }

    /// Drops idle upstream connections that are closed or old, and sends off the log.
    pub fn sweep(&self, now: Moment) {
        self.view.borrow().upstreams.iter().flat_map(|up| &up.pools).for_each(|p| p.sweep(now));
    }

    pub fn flush_log(&self) {
        self.meters.log_lines_lost.add(self.log.flush());
    }
}

/// A task that a drain wakes.
pub(crate) struct Told<'a> {
    worker: &'a Worker,
    key: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.worker.waiting.borrow_mut().remove(&self.key);
    }
}

/// Something that a drain waits for, counted while it lives.
pub(crate) struct Alive(Rc<Worker>);

impl Alive {
    pub fn new(worker: &Rc<Worker>) -> Alive {
        worker.alive.set(worker.alive.get() + 1);
        Alive(Rc::clone(worker))
    }

    pub fn worker(&self) -> &Worker {
        &self.0
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.set(self.0.alive.get() - 1);
    }
}

impl View {
    /// A view that keeps the pools of every endpoint that `before` had too: a pool follows the
    /// vitals that its connections are counted in, and what they were secured with.
    fn of(current: Current, worker: &WorkerMeters, before: &[Rc<UpstreamView>]) -> View {
        let Current { plan, endpoints, credentials, seats, challenges } = current;
        let unchanged: HashMap<*const Endpoints, &Rc<UpstreamView>> =
            before.iter().map(|view| (Arc::as_ptr(&view.endpoints), view)).collect();
        let mut pools: Option<HashMap<PoolKey, &Rc<Pool>>> = None;
        let sides = (0..).map(|at| credentials.upstream(UpstreamId(at)));
        let each = endpoints.iter().zip(&plan.upstreams).zip(sides);
        let upstreams = each.map(|((endpoints, upstream), side)| {
            let same = unchanged.get(&Arc::as_ptr(endpoints));
            if let Some(same) = same.filter(|same| is_same(same.tls.as_ref(), side)) {
                for (endpoint, pool) in endpoints.list().iter().zip(&same.pools) {
                    pool.adopt(keepalive_of(upstream, endpoint));
                }
                return Rc::clone(same);
            }
            let known = pools.get_or_insert_with(|| known_pools(before));
            let kept = endpoints.list().iter().map(|endpoint| {
                let keepalive = keepalive_of(upstream, endpoint);
                match known.get(&(Arc::as_ptr(&endpoint.vitals), side.map(Arc::as_ptr))) {
                    Some(pool) => {
                        pool.adopt(keepalive);
                        Rc::clone(pool)
                    }
                    None => Pool::new(keepalive),
                }
            });
            let (pools, tls) = (kept.collect(), side.cloned());
            Rc::new(UpstreamView { pools, endpoints: Arc::clone(endpoints), tls })
        });
        let upstreams = upstreams.collect();
        let meters = plan.routes.iter().map(|_| OnceCell::new()).collect();
        let no_route = worker.route(NO_ROUTE);
        View { upstreams, seats, challenges, meters, no_route, plan, credentials }
    }
}

/// What is kept open to an endpoint: nothing where it is given nothing.
fn keepalive_of(upstream: &UpstreamPlan, endpoint: &Endpoint) -> Keepalive {
    match endpoint.standing {
        Standing::Ready | Standing::Unhealthy | Standing::Ejected | Standing::Probing => {
            upstream.keepalive
        }
        Standing::Drained => Keepalive { idle_per_worker: 0, ..upstream.keepalive },
    }
}

/// What a pool's connections are counted in, and secured with.
type PoolKey = (*const EndpointVitals, Option<*const ClientSide>);

fn known_pools(before: &[Rc<UpstreamView>]) -> HashMap<PoolKey, &Rc<Pool>> {
    let of = |view: &'_ Rc<UpstreamView>| view.tls.as_ref().map(Arc::as_ptr);
    before
        .iter()
        .flat_map(|view| {
            let pairs = view.endpoints.list().iter().zip(&view.pools);
            pairs.map(move |(endpoint, pool)| ((Arc::as_ptr(&endpoint.vitals), of(view)), pool))
        })
        .collect()
}

fn is_same(one: Option<&Arc<ClientSide>>, other: Option<&Arc<ClientSide>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

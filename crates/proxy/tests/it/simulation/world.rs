//! The world of one simulation: a gateway, its origins, and what befalls them.

use super::control::{Control, Rules};
use super::ledger::Ledger;
use super::plans::{Changed, plan};
use crate::bench::{GATEWAY, origin_address};
use crate::talk::pass;
use gatehouse_core::endpoints::Endpoints;
use gatehouse_core::outlier::OutlierRule;
use gatehouse_core::vitals::{EndpointVitals, UpstreamVitals};
use gatehouse_proxy::gate::memory::MemoryGate;
use gatehouse_rig::storm::Dice;
use gatehouse_wire::memory::MemoryNet;
use gatehouse_wire::timer::now;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

/// Bytes of a body that some plans have read before an endpoint is asked; such a request may be
/// sent twice.
pub const BUFFER_BYTES: u32 = 16 * 1024;

/// Origins of a world at most.
pub const ORIGINS_MAX: u8 = 4;

/// How long a client's connection may be idle.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// What may go wrong, each in percent of the occasions for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Requests that an origin does wrong by.
    pub origins: u32,
    /// Requests that their client does wrong by.
    pub clients: u32,
    /// Moments at which the world changes by an operator's hand.
    pub changes: u32,
    /// Moments at which an origin dies or falls silent.
    pub deaths: u32,
}

impl Weather {
    /// Nothing goes wrong and nothing changes.
    pub const CALM: Weather = Weather { origins: 0, clients: 0, changes: 0, deaths: 0 };

    /// Whether no origin does wrong and none dies: then each request has to succeed.
    pub fn is_gentle(self) -> bool {
        self.origins == 0 && self.deaths == 0
    }

    /// That of a seed. One world in eight is calm, and in another nothing but changes happen: there
    /// nothing at all may fail.
    pub fn some(dice: &mut Dice) -> Weather {
        let mut share = |most: usize| if dice.one_in(3) { 0 } else { dice.below(most) as u32 };
        let (origins, clients, changes, deaths) = (share(40), share(40), share(80), share(30));
        match dice.below(8) {
            0 => Weather::CALM,
            1 => Weather { changes: 60, ..Weather::CALM },
            _ => Weather { origins, clients, changes, deaths },
        }
    }
}

/// An origin's state that its tasks share.
#[derive(Default)]
pub struct Site {
    /// Rises with each death: who was born before it dies.
    pub deaths: Cell<u64>,
    pub listening: Cell<bool>,
    mourners: RefCell<Vec<Waker>>,
}

impl Site {
    /// Whether it has died since; wakes the caller when it does.
    pub fn has_died(&self, since: u64, cx: &Context<'_>) -> bool {
        let died = self.deaths.get() > since;
        let mut mourners = self.mourners.borrow_mut();
        if !died && !mourners.iter().any(|waker| waker.will_wake(cx.waker())) {
            mourners.push(cx.waker().clone());
        }
        died
    }

    /// Cuts all of its connections, and listens no more.
    pub fn die(&self) {
        self.deaths.set(self.deaths.get() + 1);
        self.listening.set(false);
        self.mourners.take().into_iter().for_each(Waker::wake);
    }
}

/// Everything that the actors of a simulation share.
pub struct World {
    pub seed: u64,
    pub net: MemoryNet,
    pub gate: MemoryGate,
    pub weather: Cell<Weather>,
    pub sites: Vec<Site>,
    pub ledger: RefCell<Ledger>,
    /// Clients that have more to ask.
    pub busy: Cell<usize>,
    vitals: Vec<Arc<EndpointVitals>>,
    upstream: Arc<UpstreamVitals>,
    control: RefCell<Control>,
}

impl World {
    /// A world before anything has happened in it.
    pub fn new(seed: u64, dice: &mut Dice) -> Rc<World> {
        let net = if dice.one_in(4) { MemoryNet::default() } else { MemoryNet::rough(seed) };
        let count = 1 + dice.below(ORIGINS_MAX.into()) as u8;
        let vitals: Vec<Arc<EndpointVitals>> = (0..count).map(|_| Arc::default()).collect();
        let upstream: Arc<UpstreamVitals> = Arc::default();
        let weather = Weather::some(dice);
        let rules = Rules::some(dice, weather.is_gentle());
        let first = Changed { rules, ..Changed::default() };
        let mut control = Control::new(&vitals, Arc::clone(&upstream), first.rules);
        let endpoints = vec![control.endpoints()];
        let gate = MemoryGate::start(plan(count, &first), endpoints, &net, GATEWAY.into(), seed);
        let sites = (0..count).map(|_| Site::default()).collect();
        let weather = Cell::new(weather);
        let (ledger, busy) = (RefCell::default(), Cell::new(0));
        let control = RefCell::new(control);
        Rc::new(World { seed, net, gate, weather, sites, ledger, busy, vitals, upstream, control })
    }

    /// Vitals of all endpoints there ever were.
    pub fn vitals(&self) -> &[Arc<EndpointVitals>] {
        &self.vitals
    }

    /// Vitals of the upstream.
    pub fn upstream(&self) -> &UpstreamVitals {
        &self.upstream
    }

    /// Takes what was logged so far into the book, and allows retries, as the control side does.
    pub fn tend(&self) {
        self.gate.flush_log();
        let batches: Vec<_> = self.gate.log.batches.try_iter().collect();
        let mut ledger = self.ledger.borrow_mut();
        for batch in batches {
            ledger.log += &String::from_utf8_lossy(&batch.text);
        }
        drop(ledger);
        self.upstream.allow_retries(20);
        self.judge();
    }

    /// Whether a request waits for a place while nobody has one.
    fn waits_for_nothing(&self) -> bool {
        self.upstream.waiting() > 0 && self.upstream.in_flight() == 0
    }

    /// Judges everything, and publishes the endpoints where that has changed how they stand.
    fn judge(&self) {
        let mut control = self.control.borrow_mut();
        let mut ledger = self.ledger.borrow_mut();
        if let Some(endpoints) = control.judge(now(), &mut ledger) {
            ledger.note("standings", || shown(&endpoints));
            self.gate.set_endpoints(endpoints);
        }
    }

    /// Tends the world for so long.
    pub async fn settle(&self, time: Duration) {
        let step = Duration::from_millis(500);
        for _ in 0..time.div_duration_f64(step) as usize {
            pass(step).await;
            self.tend();
        }
    }

    /// Ends all faults: every origin listens, none is drained or fails its checks, and but for what
    /// leaves somebody out the plan is the first. Who is left out comes back by itself, or never.
    pub fn clear_up(&self) {
        self.weather.set(Weather::CALM);
        for index in 1..=self.sites.len() as u8 {
            self.net.deliver(origin_address(index));
            self.sites[usize::from(index) - 1].listening.set(true);
        }
        let mut control = self.control.borrow_mut();
        control.list_all();
        // However well they are, origins here take their time as they like.
        let patient = |rule| OutlierRule { latency_factor: None, ..rule };
        let before = control.rules();
        let outlier = before.outlier.map(patient);
        let rules = Rules { hedge: None, concurrency: None, outlier, ..before };
        control.set_rules(rules);
        let plan = plan(self.sites.len() as u8, &Changed { rules, ..Changed::default() });
        self.gate.publish(plan, vec![control.endpoints()]);
        self.ledger.borrow_mut().note("clear", || format!("{rules:?}"));
    }

    /// Who has not its whole share, with all that was asked since everything is well.
    pub fn left_out(&self) -> Option<String> {
        self.control.borrow().left_out()
    }
}

fn shown(endpoints: &Endpoints) -> String {
    let each = endpoints.list().iter();
    let each = each.map(|one| format!("{} {}", one.text, one.standing.word()));
    each.collect::<Vec<_>>().join(", ")
}

/// Changes the world for as long as its clients are busy.
pub async fn change(world: Rc<World>) {
    let mut dice = Dice::of(world.seed, 1);
    while world.busy.get() > 0 {
        pass(dice.millis(10..400)).await;
        world.tend();
        if world.waits_for_nothing() {
            // Whoever was called may not have run yet.
            let before = world.upstream.queue_counts();
            pass(Duration::from_millis(2)).await;
            if world.waits_for_nothing() && world.upstream.queue_counts() == before {
                let text = "somebody waits for a place at an upstream that is idle";
                world.ledger.borrow_mut().violate(text.to_owned());
            }
        }
        let weather = world.weather.get();
        if dice.percent(weather.changes) {
            reload(&world, &mut dice);
        }
        if dice.percent(weather.deaths) {
            strike(&world, &mut dice);
        }
    }
}

/// What an operator, or discovery, does.
fn reload(world: &World, dice: &mut Dice) {
    let mut ledger = world.ledger.borrow_mut();
    match dice.below(4) {
        0 => {
            world.gate.drop_idle();
            ledger.note("drop idle", String::new);
        }
        1 => {
            let changed = Changed::some(dice, world.weather.get().is_gentle());
            ledger.note("reload", || format!("{changed:?}"));
            ledger.buffers |= changed.buffer_bytes_max > 0;
            let mut control = world.control.borrow_mut();
            control.set_rules(changed.rules);
            control.list_some(dice, world.weather.get().is_gentle());
            let plan = plan(world.sites.len() as u8, &changed);
            world.gate.publish(plan, vec![control.endpoints()]);
        }
        _ => {
            let mut control = world.control.borrow_mut();
            control.list_some(dice, world.weather.get().is_gentle());
            let endpoints = control.endpoints();
            ledger.note("endpoints", || shown(&endpoints));
            world.gate.set_endpoints(endpoints);
        }
    }
}

/// What befalls an origin.
fn strike(world: &World, dice: &mut Dice) {
    let at = dice.below(world.sites.len());
    let (site, address) = (&world.sites[at], origin_address(at as u8 + 1));
    let mut ledger = world.ledger.borrow_mut();
    match dice.below(4) {
        0 if site.listening.get() => {
            site.die();
            ledger.note("death", || format!("origin {}", at + 1));
        }
        1 => {
            world.net.swallow(address);
            ledger.note("silence", || format!("origin {}", at + 1));
        }
        _ => {
            world.net.deliver(address);
            site.listening.set(true);
            ledger.note("birth", || format!("origin {}", at + 1));
        }
    }
}

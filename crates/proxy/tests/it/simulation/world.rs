//! The world of one simulation: a gateway, its origins, and what befalls them.

use super::ledger::Ledger;
use crate::bench::{GATEWAY, origin_address};
use crate::talk::pass;
use gatehouse_core::address::{Address, Bind};
use gatehouse_core::concurrency::{ConcurrencyRule, Limiter};
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::hedge::{HedgeRule, HedgeWindow};
use gatehouse_core::plan::{
    Action, Announced, Balance, Carries, ClientLimits, Edits, EndpointSpec, Forward, HttpVersions,
    Keepalive, ListenerPlan, LogFormat, PathMode, Plan, PlanParts, Retry, RetryStatuses, Ring,
    RoutePlan, Target, Timeouts, Transport, UpstreamId, UpstreamPlan,
};
use gatehouse_core::queue::{Priority, QueueRule};
use gatehouse_core::route::{ListenerSet, PathRule, Rewrite, RouteRule};
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
    judged: RefCell<Judged>,
}

/// What the control side keeps of how long answers take.
#[derive(Default)]
struct Judged {
    hedges: HedgeWindow,
    limiter: Option<Limiter>,
    /// What is looked for under the plan of the moment.
    rule: Option<ConcurrencyRule>,
    hedge: Option<HedgeRule>,
}

impl World {
    /// A world before anything has happened in it.
    pub fn new(seed: u64, dice: &mut Dice) -> Rc<World> {
        let net = if dice.one_in(4) { MemoryNet::default() } else { MemoryNet::rough(seed) };
        let count = 1 + dice.below(ORIGINS_MAX.into()) as u8;
        let vitals: Vec<Arc<EndpointVitals>> = (0..count).map(|_| Arc::default()).collect();
        let upstream: Arc<UpstreamVitals> = Arc::default();
        let endpoints = Endpoints::new(Balance::RoundRobin, all(&vitals), Arc::clone(&upstream));
        let first = Changed { hedge: some_hedge(dice), ..Changed::default() };
        let gate = MemoryGate::start(
            plan(count, &first),
            vec![Arc::new(endpoints)],
            &net,
            GATEWAY.into(),
            seed,
        );
        let sites = (0..count).map(|_| Site::default()).collect();
        let weather = Cell::new(Weather::some(dice));
        let (ledger, busy) = (RefCell::default(), Cell::new(0));
        let judged = RefCell::new(Judged { hedge: first.hedge, ..Judged::default() });
        Rc::new(World { seed, net, gate, weather, sites, ledger, busy, vitals, upstream, judged })
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

    /// Judges how long answers take, as the control side does.
    fn judge(&self) {
        let (counts, now) = (self.upstream.latencies().snapshot(), now());
        let Judged { hedges, limiter, rule, hedge } = &mut *self.judged.borrow_mut();
        if let Some(rule) = rule {
            let limiter = limiter.get_or_insert_with(|| Limiter::new(rule, counts.clone(), now));
            let most = limiter.judge(rule, &counts, self.upstream.in_flight(), now);
            self.upstream.set_concurrency(most);
        }
        if let Some(rule) = hedge {
            // So few answers would never be enough: what is known of them has to do.
            let known = hedges.after(*rule, &counts, now).or(counts.quantile(0.5));
            self.upstream.set_hedge_after(known);
        }
    }

    /// Ends all faults: every origin listens, every endpoint is ready, the plan is the first.
    pub fn clear_up(&self) {
        self.weather.set(Weather::CALM);
        for index in 1..=self.sites.len() as u8 {
            self.net.deliver(origin_address(index));
            self.sites[usize::from(index) - 1].listening.set(true);
        }
        let (list, upstream) = (all(&self.vitals), Arc::clone(&self.upstream));
        let endpoints = Arc::new(Endpoints::new(Balance::RoundRobin, list, upstream));
        self.gate.publish(plan(self.sites.len() as u8, &Changed::default()), vec![endpoints]);
        self.ledger.borrow_mut().note("clear", String::new);
    }
}

/// All endpoints, ready.
fn all(vitals: &[Arc<EndpointVitals>]) -> Vec<Endpoint> {
    (1..).zip(vitals).map(|(index, vitals)| endpoint(index, vitals)).collect()
}

fn endpoint(index: u8, vitals: &Arc<EndpointVitals>) -> Endpoint {
    Endpoint {
        text: origin_address(index).to_string().into(),
        address: Address::Ip(origin_address(index)),
        authority: origin_address(index).to_string().into(),
        tls: None,
        base_path: "".into(),
        weight: 1,
        connections_max: None,
        backup: false,
        standing: Standing::Ready,
        warmth: 100,
        vitals: Arc::clone(vitals),
    }
}

/// What a reload changes of the plan.
#[derive(Debug, Default)]
pub struct Changed {
    keepalive: Keepalive,
    retry: Retry,
    buffer_bytes_max: u32,
    queue: Option<QueueRule>,
    hedge: Option<HedgeRule>,
    concurrency: Option<ConcurrencyRule>,
}

impl Changed {
    fn some(dice: &mut Dice, gentle: bool) -> Changed {
        let keepalive = Keepalive {
            idle_per_worker: dice.pick(&[0, 1, 2, 1024]),
            idle_timeout: dice.pick(&[200, 2_000, 55_000]).into_millis(),
        };
        let statuses = [RetryStatuses::NONE, RetryStatuses::NONE.with(503).with(500)];
        let retry = Retry {
            attempts: dice.below(4) as u8,
            on_timeout: dice.one_in(2),
            on_statuses: dice.pick(&statuses),
            try_timeout: dice.pick(&[None, Some(Duration::from_secs(2))]),
            backoff: dice.pick(&[Duration::ZERO, Duration::from_millis(25)]),
            ..Retry::default()
        };
        let waits = |waiting_max| QueueRule { waiting_max, timeout: Duration::from_secs(1) };
        let max = 1 + dice.below(3) as u32;
        let narrow = ConcurrencyRule { min: 1, max, tolerance: 1.5 };
        let concurrencies = [None, None, Some(narrow), Some(ConcurrencyRule::default())];
        Changed {
            keepalive,
            retry,
            buffer_bytes_max: dice.pick(&[0, 0, BUFFER_BYTES]),
            queue: dice.pick(&[None, Some(waits(1)), Some(waits(100))]),
            hedge: some_hedge(dice),
            // Who finds a limit is refused, or waits in vain.
            concurrency: dice.pick(&concurrencies).filter(|_| !gentle),
        }
    }
}

fn some_hedge(dice: &mut Dice) -> Option<HedgeRule> {
    dice.pick(&[
        None,
        Some(HedgeRule::After(Duration::from_millis(1))),
        Some(HedgeRule::After(Duration::from_millis(100))),
        Some(HedgeRule::Percentile(0.9)),
    ])
}

trait Millis {
    fn into_millis(self) -> Duration;
}

impl Millis for u64 {
    fn into_millis(self) -> Duration {
        Duration::from_millis(self)
    }
}

/// The plan of a world, short of patience so that no world lives for long.
fn plan(origins: u8, changed: &Changed) -> Plan {
    let specs = (1..=origins).map(|index| EndpointSpec {
        text: origin_address(index).to_string().into(),
        address: Address::Ip(origin_address(index)),
        tls: None,
        base_path: "".into(),
        weight: 1,
        connections_max: None,
        backup: false,
    });
    let forward = Action::Forward(Forward {
        target: Target::One(UpstreamId(0)),
        rewrite: Rewrite::Keep,
        request_edits: Edits::default(),
        buffer_bytes_max: changed.buffer_bytes_max,
        deadline_field: None,
        timeouts: Timeouts {
            total: None,
            connect: Duration::from_millis(500),
            first_byte: Duration::from_secs(3),
            idle: Duration::from_secs(3),
            tunnel: Duration::from_secs(3),
        },
    });
    let parts = PlanParts {
        listeners: vec![ListenerPlan {
            name: "web".into(),
            bind: Bind::Ip(GATEWAY.into()),
            transport: Transport::Clear,
            carries: Carries::Http,
            announced: Announced::No,
            trusted_proxies: vec![],
            versions: HttpVersions::Both,
            limits: ClientLimits { idle_timeout: IDLE_TIMEOUT, ..Default::default() },
        }],
        rules: vec![RouteRule {
            listeners: ListenerSet::ALL,
            hosts: vec![],
            path: PathRule::Prefix("".into()),
            path_mode: PathMode::Normal,
            methods: None,
            headers: vec![],
            query: vec![],
        }],
        routes: vec![RoutePlan {
            name: "all".into(),
            path_mode: PathMode::Normal,
            action: forward,
            response_edits: Edits::default(),
            body_bytes_max: None,
            priority: Priority::default(),
        }],
        upstreams: vec![UpstreamPlan {
            retry: changed.retry,
            keepalive: changed.keepalive,
            queue: changed.queue,
            hedge: changed.hedge,
            concurrency: changed.concurrency,
            ..UpstreamPlan::of("origins", specs.collect())
        }],
        drain: Duration::from_secs(10),
        access_log: Some(LogFormat::Json),
        ceilings: gatehouse_core::overload::Ceilings::default(),
    };
    Plan::new(parts).expect("one route cannot tie")
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
            let mut judged = world.judged.borrow_mut();
            (judged.rule, judged.hedge) = (changed.concurrency, changed.hedge);
            judged.limiter = None;
            drop(judged);
            let plan = plan(world.sites.len() as u8, &changed);
            world.gate.publish(plan, vec![Arc::new(some_endpoints(world, dice))]);
        }
        _ => {
            let endpoints = some_endpoints(world, dice);
            ledger.note("endpoints", || {
                let each = endpoints.list().iter();
                let each = each.map(|one| format!("{} {}", one.text, one.standing.word()));
                each.collect::<Vec<_>>().join(", ")
            });
            world.gate.set_endpoints(Arc::new(endpoints));
        }
    }
}

/// Some of the endpoints, at least one of them ready; where requests may fail also none at all, or
/// with little room.
fn some_endpoints(world: &World, dice: &mut Dice) -> Endpoints {
    let kept = dice.below(world.sites.len());
    let gentle = world.weather.get().is_gentle();
    let (nobody, narrow) = (!gentle && dice.one_in(8), !gentle && dice.one_in(3));
    let mut list = Vec::new();
    for (at, vitals) in world.vitals.iter().enumerate().filter(|_| !nobody) {
        if at != kept && dice.one_in(3) {
            continue;
        }
        let standings = [Standing::Ready, Standing::Drained, Standing::Ejected];
        let standing = if at == kept { Standing::Ready } else { dice.pick(&standings) };
        let (weight, warmth) = (1 + dice.below(5) as u16, dice.pick(&[100, 100, 20]));
        let connections_max = narrow.then(|| 1 + dice.below(2) as u32);
        let known = endpoint(at as u8 + 1, vitals);
        list.push(Endpoint { weight, warmth, standing, connections_max, ..known });
    }
    let balances = [
        Balance::RoundRobin,
        Balance::Random,
        Balance::WeightedRoundRobin,
        Balance::LeastRequest,
        Balance::PeakEwma,
        Balance::Maglev,
        Balance::ConsistentHash(Ring::Default { load_bound: None }),
    ];
    Endpoints::new(dice.pick(&balances), list, Arc::clone(&world.upstream))
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

//! The plan of a world, and what reloads change of it.

use super::control::Rules;
use super::world::{BUFFER_BYTES, IDLE_TIMEOUT};
use crate::bench::{GATEWAY, origin_address};
use gatehouse_core::address::{Address, Bind};
use gatehouse_core::breaker::BreakerRule;
use gatehouse_core::concurrency::ConcurrencyRule;
use gatehouse_core::hedge::HedgeRule;
use gatehouse_core::outlier::OutlierRule;
use gatehouse_core::plan::{
    Action, Announced, Carries, ClientLimits, Edits, EndpointSpec, Forward, HttpVersions,
    Keepalive, ListenerPlan, LogFormat, PathMode, Plan, PlanParts, Retry, RetryStatuses, RoutePlan,
    Target, Timeouts, Transport, UpstreamId, UpstreamPlan,
};
use gatehouse_core::queue::{Priority, QueueRule};
use gatehouse_core::route::{ListenerSet, PathRule, Rewrite, RouteRule};
use gatehouse_rig::storm::Dice;
use std::time::Duration;

/// What a reload changes of the plan.
#[derive(Debug, Default)]
pub struct Changed {
    pub keepalive: Keepalive,
    pub retry: Retry,
    pub buffer_bytes_max: u32,
    pub queue: Option<QueueRule>,
    pub rules: Rules,
}

impl Changed {
    pub fn some(dice: &mut Dice, gentle: bool) -> Changed {
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
        Changed {
            keepalive,
            retry,
            buffer_bytes_max: dice.pick(&[0, 0, BUFFER_BYTES]),
            queue: dice.pick(&[None, Some(waits(1)), Some(waits(100))]),
            rules: Rules::some(dice, gentle),
        }
    }
}

impl Rules {
    pub fn some(dice: &mut Dice, gentle: bool) -> Rules {
        let max = 1 + dice.below(3) as u32;
        let narrow = ConcurrencyRule { min: 1, max, tolerance: 1.5 };
        let concurrencies = [None, None, Some(narrow), Some(ConcurrencyRule::default())];
        Rules {
            hedge: some_hedge(dice),
            // Who finds a limit is refused, or waits in vain.
            concurrency: dice.pick(&concurrencies).filter(|_| !gentle),
            outlier: some_outlier(dice),
            // An answer may well be an error, and who finds the breaker open is refused.
            breaker: some_breaker(dice).filter(|_| !gentle),
        }
    }
}

/// One that soon leaves somebody out, and for so short that all are back once all is well.
fn some_outlier(dice: &mut Dice) -> Option<OutlierRule> {
    let rule = OutlierRule {
        consecutive_errors: dice.pick(&[0, 1, 2, 5]),
        error_rate: dice.pick(&[None, Some(0.2)]),
        requests_min: 3,
        window: Duration::from_secs(1),
        latency_factor: dice.pick(&[None, None, Some(2.0)]),
        eject_for: dice.pick(&[200, 1_500]).into_millis(),
        ejected_max: dice.pick(&[0.5, 1.0]),
        probes: 1 + dice.below(3) as u32,
    };
    (!dice.one_in(4)).then_some(rule)
}

/// One that soon opens.
fn some_breaker(dice: &mut Dice) -> Option<BreakerRule> {
    let rule = BreakerRule {
        in_flight_max: None,
        error_rate: Some(dice.pick(&[0.1, 0.5])),
        requests_min: 1 + dice.below(4) as u32,
        window: Duration::from_secs(1),
        open_for: dice.pick(&[200, 2_000]).into_millis(),
        probes: 1 + dice.below(3) as u32,
    };
    dice.one_in(2).then_some(rule)
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
pub fn plan(origins: u8, changed: &Changed) -> Plan {
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
            hedge: changed.rules.hedge,
            concurrency: changed.rules.concurrency,
            outlier: changed.rules.outlier,
            breaker: changed.rules.breaker,
            ..UpstreamPlan::of("origins", specs.collect())
        }],
        drain: Duration::from_secs(10),
        access_log: Some(LogFormat::Json),
        ceilings: gatehouse_core::overload::Ceilings::default(),
    };
    Plan::new(parts).expect("one route cannot tie")
}

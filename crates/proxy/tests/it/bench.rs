//! A gateway with one route, origins that a test plays itself, and clients likewise.

use crate::talk::{SOON, Talk, get, limited, ok, pass, within};
use gatehouse_core::address::{Address, Bind};
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::message::MethodSet;
use gatehouse_core::plan::{
    Action, Announced, Balance, Carries, ClientLimits, Edits, EndpointSpec, Forward, HttpVersions,
    Keepalive, ListenerPlan, LogFormat, PathMode, Plan, PlanParts, ProxyVersion, Retry, Ring,
    RoutePlan, Speaks, Target, Timeouts, Transport, UpstreamId, UpstreamPlan,
};
use gatehouse_core::route::{HostRule, ListenerSet, PathRule, Rewrite, RouteRule};
use gatehouse_core::vitals::UpstreamVitals;
use gatehouse_proxy::gate::memory::{MemoryGate, run};
use gatehouse_wire::Stream;
use gatehouse_wire::memory::{MemoryListener, MemoryNet};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub const GATEWAY: ([u8; 4], u16) = ([10, 0, 0, 1], 80);

/// What a test may change before the gateway starts.
pub struct Setup {
    pub endpoints: u8,
    pub timeouts: Timeouts,
    pub buffer: u32,
    pub queue: Option<gatehouse_core::queue::QueueRule>,
    pub hedge: Option<gatehouse_core::hedge::HedgeRule>,
    pub concurrency: Option<gatehouse_core::concurrency::ConcurrencyRule>,
    /// A second route, to the same upstream: its path and its priority.
    pub also: Option<(&'static str, gatehouse_core::queue::Priority)>,
    pub deadline_field: Option<&'static str>,
    pub limits: ClientLimits,
    pub trusted: Vec<gatehouse_core::plan::Cidr>,
    pub rewrite: Rewrite,
    pub request_edits: Edits,
    pub response_edits: Edits,
    pub retry: Retry,
    pub breaker: Option<gatehouse_core::breaker::BreakerRule>,
    pub keepalive: Keepalive,
    pub action: Option<Action>,
    pub path: PathRule,
    pub methods: Option<MethodSet>,
    pub hosts: Vec<HostRule>,
    pub carries: Carries,
    pub announced: Announced,
    pub announce: Option<ProxyVersion>,
    pub versions: HttpVersions,
    pub speaks: Speaks,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            endpoints: 1,
            timeouts: Timeouts::default(),
            buffer: 0,
            queue: None,
            hedge: None,
            concurrency: None,
            also: None,
            deadline_field: None,
            limits: ClientLimits::default(),
            trusted: Vec::new(),
            rewrite: Rewrite::Keep,
            request_edits: Edits::default(),
            response_edits: Edits::default(),
            retry: Retry::default(),
            breaker: None,
            keepalive: Keepalive::default(),
            action: None,
            path: PathRule::Prefix("".into()),
            methods: None,
            hosts: Vec::new(),
            carries: Carries::Http,
            announced: Announced::No,
            announce: None,
            versions: HttpVersions::Both,
            speaks: Speaks::Http1,
        }
    }
}

/// The address of origin `index`, from 1.
pub fn origin_address(index: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, index], 80))
}

/// Endpoints for the first `count` origins, in turn.
pub fn endpoints(count: u8) -> Arc<Endpoints> {
    endpoints_with(count, Balance::RoundRobin, None)
}

/// The same, each with at most `cap` requests in flight.
pub fn endpoints_at_most(count: u8, cap: u32) -> Arc<Endpoints> {
    endpoints_with(count, Balance::RoundRobin, Some(cap))
}

/// The same, of which every client is given one that is always the same.
pub fn sticky_endpoints(count: u8) -> Arc<Endpoints> {
    endpoints_with(count, Balance::ConsistentHash(Ring::Default { load_bound: None }), None)
}

fn endpoints_with(count: u8, balance: Balance, connections_max: Option<u32>) -> Arc<Endpoints> {
    let endpoint = |index| Endpoint {
        text: origin_address(index).to_string().into(),
        address: Address::Ip(origin_address(index)),
        authority: origin_address(index).to_string().into(),
        tls: None,
        base_path: "".into(),
        weight: 1,
        connections_max,
        backup: false,
        standing: Standing::Ready,
        warmth: 100,
        vitals: Arc::default(),
    };
    let list = (1..=count).map(endpoint).collect();
    Arc::new(Endpoints::new(balance, list, Arc::<UpstreamVitals>::default()))
}

/// What a gateway with this setup obeys.
pub fn plan(setup: Setup) -> Plan {
    let specs = (1..=setup.endpoints).map(|index| EndpointSpec {
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
        rewrite: setup.rewrite,
        request_edits: setup.request_edits,
        timeouts: setup.timeouts,
        buffer_bytes_max: setup.buffer,
        deadline_field: setup.deadline_field.map(Into::into),
    });
    let mut parts = PlanParts {
        listeners: vec![ListenerPlan {
            name: "web".into(),
            bind: Bind::Ip(GATEWAY.into()),
            transport: Transport::Clear,
            carries: setup.carries,
            announced: setup.announced,
            trusted_proxies: setup.trusted,
            versions: setup.versions,
            limits: setup.limits,
        }],
        rules: vec![RouteRule {
            listeners: ListenerSet::ALL,
            hosts: setup.hosts,
            path: setup.path,
            path_mode: PathMode::Normal,
            methods: setup.methods,
            headers: vec![],
            query: vec![],
        }],
        routes: vec![RoutePlan {
            name: "all".into(),
            path_mode: PathMode::Normal,
            action: setup.action.unwrap_or(forward),
            response_edits: setup.response_edits,
            body_bytes_max: None,
            priority: gatehouse_core::queue::Priority::default(),
        }],
        upstreams: vec![UpstreamPlan {
            retry: setup.retry,
            keepalive: setup.keepalive,
            speaks: match setup.carries {
                Carries::Http => setup.speaks,
                Carries::Tcp => Speaks::Tcp,
            },
            announce: setup.announce,
            breaker: setup.breaker,
            queue: setup.queue,
            hedge: setup.hedge,
            concurrency: setup.concurrency,
            ..UpstreamPlan::of("origins", specs.collect())
        }],
        drain: Duration::from_secs(10),
        access_log: Some(LogFormat::Json),
        ceilings: gatehouse_core::overload::Ceilings::default(),
    };
    if let Some((path, priority)) = setup.also {
        add_route(&mut parts, path, priority);
    }
    Plan::new(parts).expect("one route cannot tie")
}

/// A second route to the same upstream.
fn add_route(parts: &mut PlanParts, path: &str, priority: gatehouse_core::queue::Priority) {
    let first = &parts.routes[0];
    let Action::Forward(forward) = &first.action else { unreachable!("it forwards") };
    let again = Forward {
        target: Target::One(UpstreamId(0)),
        rewrite: Rewrite::Keep,
        request_edits: forward.request_edits.clone(),
        timeouts: forward.timeouts,
        buffer_bytes_max: forward.buffer_bytes_max,
        deadline_field: None,
    };
    parts.routes.push(RoutePlan {
        name: "also".into(),
        path_mode: PathMode::Normal,
        action: Action::Forward(again),
        response_edits: Edits::default(),
        body_bytes_max: None,
        priority,
    });
    let path = PathRule::Exact(path.into());
    parts.rules.push(RouteRule { path, ..parts.rules[0].clone() });
}

/// A gateway, and the network it is on.
pub struct Bench {
    pub net: MemoryNet,
    pub gate: Rc<MemoryGate>,
    pub endpoints: Arc<Endpoints>,
}

/// Runs a test against a gateway, and then checks that nothing outlived its exchange: no task, no
/// buffer, no place in flight, no connection that is not kept idle.
pub fn with<F: Future<Output = ()>>(setup: Setup, test: impl FnOnce(Bench) -> F) {
    run(async {
        let net = MemoryNet::default();
        let endpoints = endpoints(setup.endpoints);
        let all = vec![Arc::clone(&endpoints)];
        let gate = Rc::new(MemoryGate::start(plan(setup), all, &net, GATEWAY.into(), 1));
        let bench = Bench { net, gate: Rc::clone(&gate), endpoints: Arc::clone(&endpoints) };
        test(bench).await;
        pass(Duration::from_secs(5)).await;
        assert!(gate.running() <= 1, "{} tasks outlived their exchanges", gate.running());
        assert_eq!(gate.meters.in_flight.get(), 0, "exchanges in flight");
        assert_eq!(gate.meters.clients.get(), 0, "client connections");
        assert_eq!(gate.lent_buffers(), 0, "buffers");
        assert_eq!(endpoints.vitals().in_flight(), 0, "in flight at the upstream");
        let vitals = || endpoints.list().iter().map(|endpoint| &endpoint.vitals);
        assert_eq!(vitals().map(|vitals| vitals.in_flight()).sum::<u32>(), 0, "at an endpoint");
        let open: u32 = vitals().map(|vitals| vitals.connections()).sum();
        assert_eq!(open as usize, gate.idle_connections(), "upstream connections");
    });
}

impl Bench {
    /// A new client connection.
    pub fn client(&self) -> Talk {
        Talk::new(self.net.connect(GATEWAY.into()).expect("the gateway listens"))
    }

    /// Origin `index` begins to listen.
    pub fn origin(&self, index: u8) -> Origin {
        Origin(self.net.listen(origin_address(index)))
    }

    /// Asks for `path` on a new connection, answers as the origin, and checks that the client is
    /// given just that.
    pub async fn serves(&self, origin: &mut Origin, kept: &mut Option<Talk>, path: &str) {
        let mut client = self.client();
        client.say(get(path)).await;
        if kept.is_none() {
            *kept = Some(origin.accept().await);
        }
        let Some(at_origin) = kept else { return };
        let head = at_origin.hear_head().await;
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
        at_origin.say(ok(path)).await;
        assert_eq!(client.hear_message().await.1, path);
    }

    /// A client, and the first origin.
    pub fn line(&self) -> Line {
        Line { client: self.client(), origin: self.origin(1), kept: None, connections: 0 }
    }

    /// The lines logged so far.
    pub fn log(&self) -> String {
        self.gate.flush_log();
        let batches = self.gate.log.batches.try_iter();
        batches.map(|batch| String::from_utf8(batch.text).expect("lines are text")).collect()
    }
}

/// A client of the gateway and the origin behind it, on whatever connections the gateway opens.
pub struct Line {
    pub client: Talk,
    pub origin: Origin,
    kept: Option<Talk>,
    /// Connections the origin has been given so far.
    pub connections: u32,
}

impl Line {
    /// The connection a request comes on: a new one, or else the one before.
    pub async fn at_origin(&mut self) -> &mut Talk {
        if let Some(new) = self.origin.accept_soon(SOON).await {
            self.kept = Some(new);
            self.connections += 1;
        }
        self.kept.as_mut().expect("a request came")
    }

    /// Asks and answers; the head that the origin was sent.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) -> String {
        self.client.say(request).await;
        let at_origin = self.at_origin().await;
        let head = at_origin.hear_head().await;
        at_origin.say(answer).await;
        head
    }

    /// The same; the answer that the client was given.
    pub async fn fetch(
        &mut self,
        request: impl AsRef<[u8]>,
        answer: impl AsRef<[u8]>,
    ) -> (String, String) {
        self.ask(request, answer).await;
        self.client.hear_message().await
    }

    /// The origin closes the connection the last request came on.
    pub fn hang_up(&mut self) {
        self.kept = None;
    }
}

/// An origin that a test plays.
pub struct Origin(MemoryListener);

impl Origin {
    /// The gateway's next connection to it.
    pub async fn accept(&mut self) -> Talk {
        let accepted = limited(poll_fn(|cx| self.0.poll_accept(cx)), "a connection").await;
        match accepted.expect("the in-memory network does not fail") {
            (Stream::Memory(stream), _) => Talk::new(stream),
            _ => unreachable!("the in-memory network has in-memory streams"),
        }
    }

    /// The gateway's next connection to it, if one comes in time.
    pub async fn accept_soon(&mut self, wait: Duration) -> Option<Talk> {
        match within(wait, poll_fn(|cx| self.0.poll_accept(cx))).await?.ok()? {
            (Stream::Memory(stream), _) => Some(Talk::new(stream)),
            _ => None,
        }
    }

    /// Whether no connection comes within a second.
    pub async fn is_left_alone(&mut self) -> bool {
        self.accept_soon(Duration::from_secs(1)).await.is_none()
    }
}

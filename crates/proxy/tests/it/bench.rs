//! A gateway with one route, origins that a test plays itself, and clients likewise.

use gatehouse_core::address::{Address, Bind};
use gatehouse_core::endpoints::{Endpoint, Endpoints};
use gatehouse_core::plan::{
    Action, Balance, ClientLimits, Edits, EndpointSpec, Forward, HashBy, Keepalive, ListenerPlan,
    PathMode, Plan, PlanParts, Retry, RoutePlan, Target, Timeouts, UpstreamId, UpstreamPlan,
};
use gatehouse_core::route::{ListenerSet, PathRule, Rewrite, RouteRule};
use gatehouse_core::vitals::UpstreamVitals;
use gatehouse_proxy::gate::memory::{MemoryGate, run};
use gatehouse_wire::Stream;
use gatehouse_wire::memory::{MemoryListener, MemoryNet, MemoryStream};
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::timer::{Timer, now};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

const GATEWAY: ([u8; 4], u16) = ([10, 0, 0, 1], 80);

/// What a test may change before the gateway starts.
pub struct Setup {
    pub endpoints: u8,
    pub timeouts: Timeouts,
    pub limits: ClientLimits,
    pub trusted: Vec<gatehouse_core::plan::Cidr>,
    pub rewrite: Rewrite,
    pub request_edits: Edits,
    pub response_edits: Edits,
    pub retry: Retry,
    pub keepalive: Keepalive,
    pub action: Option<Action>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            endpoints: 1,
            timeouts: Timeouts::default(),
            limits: ClientLimits::default(),
            trusted: Vec::new(),
            rewrite: Rewrite::Keep,
            request_edits: Edits::default(),
            response_edits: Edits::default(),
            retry: Retry::default(),
            keepalive: Keepalive::default(),
            action: None,
        }
    }
}

/// The address of origin `index`, from 1.
pub fn origin_address(index: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, index], 80))
}

/// Endpoints for the first `count` origins, in turn.
pub fn endpoints(count: u8) -> Arc<Endpoints> {
    let endpoint = |index| Endpoint {
        text: origin_address(index).to_string().into(),
        address: Address::Ip(origin_address(index)),
        authority: origin_address(index).to_string().into(),
        base_path: "".into(),
        weight: 1,
        connections_max: None,
        backup: false,
        vitals: Arc::default(),
    };
    let list = (1..=count).map(endpoint).collect();
    Arc::new(Endpoints::new(Balance::RoundRobin, list, Arc::<UpstreamVitals>::default()))
}

fn plan(setup: Setup) -> Plan {
    let specs = (1..=setup.endpoints).map(|index| EndpointSpec {
        text: origin_address(index).to_string().into(),
        address: Address::Ip(origin_address(index)),
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
    });
    let parts = PlanParts {
        listeners: vec![ListenerPlan {
            name: "web".into(),
            bind: Bind::Ip(GATEWAY.into()),
            trusted_proxies: setup.trusted,
            limits: setup.limits,
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
            action: setup.action.unwrap_or(forward),
            response_edits: setup.response_edits,
            body_bytes_max: None,
        }],
        upstreams: vec![UpstreamPlan {
            name: "origins".into(),
            endpoints: specs.collect(),
            balance: Balance::RoundRobin,
            hash: HashBy::ClientIp,
            retry: setup.retry,
            keepalive: setup.keepalive,
        }],
        drain: Duration::from_secs(10),
        access_log: true,
    };
    Plan::new(parts).expect("one route cannot tie")
}

/// A gateway, and the network it is on.
pub struct Bench {
    pub net: MemoryNet,
    pub gate: MemoryGate,
}

/// Runs a test against a gateway.
pub fn with<F: Future<Output = ()>>(setup: Setup, test: impl FnOnce(Bench) -> F) {
    run(async {
        let net = MemoryNet::default();
        let all = vec![endpoints(setup.endpoints)];
        let gate = MemoryGate::start(plan(setup), all, &net, GATEWAY.into(), 1);
        test(Bench { net, gate }).await;
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

    /// The lines logged so far.
    pub fn log(&self) -> String {
        self.gate.flush_log();
        let batches = self.gate.log.batches.try_iter();
        batches.map(|batch| String::from_utf8(batch.text).expect("lines are text")).collect()
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

    /// Whether no connection comes within a second.
    pub async fn is_left_alone(&mut self) -> bool {
        let mut timer = Timer::after(Duration::from_secs(1));
        let until = now().after(Duration::from_secs(1));
        poll_fn(|cx| match self.0.poll_accept(cx) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending => timer.poll_until(cx, until).map(|()| true),
        })
        .await
    }
}

/// One end of a connection, played by a test.
pub struct Talk {
    stream: Stream,
    held: Vec<u8>,
}

/// What has not come after this long will not come.
const PATIENCE: Duration = Duration::from_secs(600);

async fn limited<T>(work: impl Future<Output = T>, what: &str) -> T {
    let mut work = std::pin::pin!(work);
    let mut timer = Timer::after(PATIENCE);
    let until = now().after(PATIENCE);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.poll_until(cx, until).map(|()| None),
    })
    .await
    .unwrap_or_else(|| panic!("{what} did not come"))
}

impl Talk {
    fn new(stream: MemoryStream) -> Talk {
        Talk { stream: Stream::Memory(stream), held: Vec::new() }
    }

    /// Says `text`.
    pub async fn say(&mut self, text: impl AsRef<[u8]>) {
        let mut written = 0;
        let text = text.as_ref();
        let wrote = poll_fn(|cx| poll_write_all(cx, &mut self.stream, text, &mut written));
        limited(wrote, "room to write").await.expect("the other end is there");
    }

    /// Says as much of `text` as the other end takes; false where it takes no more.
    pub async fn try_say(&mut self, text: &[u8]) -> bool {
        let mut written = 0;
        limited(poll_fn(|cx| poll_write_all(cx, &mut self.stream, text, &mut written)), "room")
            .await
            .is_ok()
    }

    async fn read(&mut self) -> Option<usize> {
        let mut room = vec![0; 16 * 1024];
        let count =
            limited(poll_fn(|cx| self.stream.poll_read(cx, &mut room)), "more").await.ok()?;
        self.held.extend_from_slice(&room[..count]);
        Some(count)
    }

    /// Hears up to and with `marker`.
    pub async fn hear_until(&mut self, marker: &str) -> String {
        loop {
            let found = self.held.windows(marker.len()).position(|part| part == marker.as_bytes());
            if let Some(at) = found {
                let rest = self.held.split_off(at + marker.len());
                let heard = std::mem::replace(&mut self.held, rest);
                return String::from_utf8_lossy(&heard).into_owned();
            }
            if !matches!(self.read().await, Some(1..)) {
                panic!("ended before {marker:?}: {:?}", String::from_utf8_lossy(&self.held));
            }
        }
    }

    /// Hears one head.
    pub async fn hear_head(&mut self) -> String {
        self.hear_until("\r\n\r\n").await
    }

    /// Hears a head and a body of the length it names.
    pub async fn hear_message(&mut self) -> (String, String) {
        let head = self.hear_head().await;
        let length = field(&head, "content-length").map_or(0, |text| text.parse().expect("length"));
        while self.held.len() < length {
            assert!(matches!(self.read().await, Some(1..)), "the body was cut");
        }
        let rest = self.held.split_off(length);
        let body = std::mem::replace(&mut self.held, rest);
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    /// Hears everything up to the end, a reset included.
    pub async fn hear_end(&mut self) -> String {
        while matches!(self.read().await, Some(1..)) {}
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }

    /// Whether the connection was reset rather than closed.
    pub async fn hear_reset(&mut self) -> bool {
        loop {
            match self.read().await {
                None => return true,
                Some(0) => return false,
                Some(_) => {}
            }
        }
    }

    /// Whether nothing comes within a second.
    pub async fn hears_nothing(&mut self) -> bool {
        let mut timer = Timer::after(Duration::from_secs(1));
        let until = now().after(Duration::from_secs(1));
        let stream = &mut self.stream;
        let quiet = poll_fn(|cx| match stream.poll_read_ready(cx) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending => timer.poll_until(cx, until).map(|()| true),
        });
        self.held.is_empty() && quiet.await
    }

    /// Sends a FIN and goes on listening.
    pub async fn half_close(&mut self) {
        let shut = poll_fn(|cx| self.stream.poll_shutdown(cx)).await;
        shut.expect("the in-memory network does not fail");
    }

    /// Resets the connection.
    pub fn reset(mut self) {
        self.stream.reset_on_close();
    }
}

/// The value of a field in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A plain request for `path`.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n")
}

/// A plain answer with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

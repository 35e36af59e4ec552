//! A named set of endpoints, how to choose among them, and how their failures are met.

use crate::address::Address;
use crate::breaker::BreakerRule;
use crate::concurrency::ConcurrencyRule;
use crate::health::HealthRule;
use crate::hedge::HedgeRule;
use crate::outlier::OutlierRule;
use crate::queue::QueueRule;
use crate::retry_budget::RetryBudget;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An upstream's place in its Plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub u32);

/// One endpoint as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// The text it was written as: its identity in logs, metrics and hash rings.
    pub text: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// Who it has to be, a host name or an address, where it is spoken to under TLS.
    pub tls: Option<Arc<str>>,
    /// What is put before the path: empty, or `/base` without a slash at the end.
    pub base_path: Arc<str>,
    /// Its share of the load, 1 to 65,535.
    pub weight: u16,
    /// Requests in flight at once; `None` is no limit.
    pub connections_max: Option<u32>,
    /// Whether it is used only when no other endpoint is ready.
    pub backup: bool,
}

/// Where an upstream's endpoints come from, as far as a plan knows: whoever finds them tells its
/// sources apart by this.
#[derive(Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The source in a few words, without secrets: `file backends.json`.
    pub source: Arc<str>,
    /// The same for the same settings, secrets included, within one process and the next of its
    /// build.
    pub id: u64,
}

/// Without the number, which says nothing to anybody.
impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("source", &self.source).finish_non_exhaustive()
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Balance {
    /// Uniform by weight.
    Random,
    /// In turn, starting at the first.
    #[default]
    RoundRobin,
    /// Smooth weighted round robin, nginx's order.
    WeightedRoundRobin,
    /// Fewest in flight by weight: power of two choices, an exact scan when few.
    LeastRequest,
    /// Lowest latency times in flight, power of two choices (Finagle's Peak EWMA).
    PeakEwma,
    /// A hash ring.
    ConsistentHash(Ring),
    /// Maglev's table (Eisenbud et al., NSDI 2016).
    Maglev,
}

/// Which ring a consistent hash walks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ring {
    /// Ours: many points an endpoint by weight, and a bounded load.
    Default {
        /// An endpoint takes no new request while it has more than this times the mean in flight
        /// (Mirrokni, Thorup, Zadimoghaddam 2016); `None` is no bound. At least 1.0.
        load_bound: Option<f64>,
    },
    /// The first generation's: ten CRC-32 points an endpoint, weights ignored.
    Crc32,
}

/// What a hash is taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address, without its port.
    ClientIp,
    /// A request field's first value.
    Header(Box<str>),
    /// A cookie's value.
    Cookie(Box<str>),
    /// The path the route saw.
    Path,
    /// A query parameter's first value, as sent.
    Query(Box<str>),
}

/// When a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// How many further times, 0 to 10.
    pub attempts: u8,
    /// After a connection could not be opened. Nothing was sent, so any method may be repeated.
    pub on_connect: bool,
    /// After a connection died before an answer began; only what may be repeated.
    pub on_reset: bool,
    /// After an attempt took longer than `try_timeout`, or than the first byte may take; only what
    /// may be repeated.
    pub on_timeout: bool,
    /// After a gRPC answer that is nothing but the status UNAVAILABLE. Whoever asks for it says
    /// that calls may be repeated.
    pub on_unavailable: bool,
    /// After an answer with one of these statuses; only what may be repeated.
    pub on_statuses: RetryStatuses,
    /// How long one attempt may take until its answer begins; `None` is as long as the route
    /// allows.
    pub try_timeout: Option<Duration>,
    /// The wait before the first retry to an upstream that was reached; doubles with each, and
    /// half of it is drawn by lot. Zero does not wait.
    pub backoff: Duration,
    /// The share of requests that may be retries, refused connections not counted.
    pub budget: RetryBudget,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts: 2,
            on_connect: true,
            on_reset: true,
            on_timeout: false,
            on_unavailable: false,
            on_statuses: RetryStatuses::default(),
            try_timeout: None,
            backoff: Duration::from_millis(25),
            budget: RetryBudget::default(),
        }
    }
}

/// Statuses that a request may be tried again after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryStatuses(u8);

impl RetryStatuses {
    /// The statuses there can be.
    pub const ALL: [u16; 5] = [429, 500, 502, 503, 504];

    /// None of them.
    pub const NONE: RetryStatuses = RetryStatuses(0);

    fn bit(status: u16) -> u8 {
        let place = RetryStatuses::ALL.iter().position(|one| *one == status);
        place.map_or(0, |place| 1 << place)
    }

    /// These and one more; any but [`RetryStatuses::ALL`] is none.
    #[must_use]
    pub fn with(self, status: u16) -> RetryStatuses {
        RetryStatuses(self.0 | RetryStatuses::bit(status))
    }

    /// Whether this is one of them.
    pub fn contain(self, status: u16) -> bool {
        self.0 != 0 && self.0 & RetryStatuses::bit(status) != 0
    }
}

/// What is kept open between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle connections kept for one endpoint by one worker; 0 keeps none.
    pub idle_per_worker: u32,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive { idle_per_worker: 1024, idle_timeout: Duration::from_secs(55) }
    }
}

/// What is spoken to an upstream's endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: agreed on with TLS, by prior knowledge in clear text.
    Http2,
    /// gRPC, over HTTP/2.
    Grpc,
    /// Whatever the client speaks: bytes that nobody looks into.
    Tcp,
}

impl Speaks {
    /// Whether its connections carry many requests at once.
    pub const fn is_http2(self) -> bool {
        matches!(self, Speaks::Http2 | Speaks::Grpc)
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct UpstreamPlan {
    /// Its name, given or derived from the route it stands in.
    pub name: Arc<str>,
    /// Its endpoints as written. Who can answer right now is [`crate::endpoints::Endpoints`].
    pub endpoints: Vec<EndpointSpec>,
    /// Where they come from where none is written; `None` where they are.
    pub discovery: Option<Discovery>,
    /// How one is chosen.
    pub balance: Balance,
    /// What a hash is taken of; `ClientIp` where the balance takes none.
    pub hash: HashBy,
    /// When a request is tried again.
    pub retry: Retry,
    /// What is kept open between requests.
    pub keepalive: Keepalive,
    /// How endpoints are checked; `None` checks none.
    pub health: Option<HealthRule>,
    /// When an endpoint is left out for what real traffic says of it; `None` never.
    pub outlier: Option<OutlierRule>,
    /// The share of endpoints, 0.0 to 1.0, below which those that are not ready are asked too.
    pub panic_below: f64,
    /// When the upstream as a whole is not asked; `None` always asks it.
    pub breaker: Option<BreakerRule>,
    /// Within what the number of requests in flight is found out; `None` does not look for it.
    pub concurrency: Option<ConcurrencyRule>,
    /// When a second endpoint is asked the same; `None` never.
    pub hedge: Option<HedgeRule>,
    /// How requests wait for a place where all are taken; `None` turns them away.
    pub queue: Option<QueueRule>,
    /// How long an endpoint that came back is given less than its share; zero is not at all.
    pub slow_start: Duration,
    /// What is spoken to its endpoints.
    pub speaks: Speaks,
    /// The PROXY header each connection to it starts with; such a connection carries one client's
    /// requests alone.
    pub announce: Option<ProxyVersion>,
}

impl UpstreamPlan {
    /// Requests that may be in flight, given how many were found to do no harm; `None` is no limit.
    pub fn in_flight_max(&self, found: impl FnOnce() -> Option<u32>) -> Option<u32> {
        let most = self.breaker.and_then(|breaker| breaker.in_flight_max);
        let Some(rule) = &self.concurrency else { return most };
        let found = found().unwrap_or_else(|| rule.start());
        Some(most.map_or(found, |most| most.min(found)))
    }

    /// Whether it is counted how long its answers take.
    pub fn counts_latencies(&self) -> bool {
        self.concurrency.is_some() || matches!(self.hedge, Some(HedgeRule::Percentile(_)))
    }

    /// An upstream of these endpoints, all else as it is where nothing was written.
    pub fn of(name: &str, endpoints: Vec<EndpointSpec>) -> UpstreamPlan {
        UpstreamPlan {
            name: name.into(),
            endpoints,
            discovery: None,
            balance: Balance::default(),
            hash: HashBy::ClientIp,
            retry: Retry::default(),
            keepalive: Keepalive::default(),
            health: None,
            outlier: Some(OutlierRule::default()),
            panic_below: 0.0,
            breaker: None,
            concurrency: None,
            hedge: None,
            queue: None,
            slow_start: Duration::ZERO,
            speaks: Speaks::default(),
            announce: None,
        }
    }
}

//! A named set of endpoints, and how to choose among them.

use crate::address::Address;
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
    /// What is put before the path: empty, or `/base` without a slash at the end.
    pub base_path: Arc<str>,
    /// Its share of the load, 1 to 65,535.
    pub weight: u16,
    /// Requests in flight at once; `None` is no limit.
    pub connections_max: Option<u32>,
    /// Whether it is used only when no other endpoint is ready.
    pub backup: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many further times, 0 to 10.
    pub attempts: u8,
    /// After a connection could not be opened. Nothing was sent, so any method may be repeated.
    pub on_connect: bool,
    /// After a connection died before an answer began; only what may be repeated.
    pub on_reset: bool,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 2, on_connect: true, on_reset: true }
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

/// One upstream.
#[derive(Clone, Debug)]
pub struct UpstreamPlan {
    /// Its name, given or derived from the route it stands in.
    pub name: Arc<str>,
    /// Its endpoints as written. Who can answer right now is [`crate::endpoints::Endpoints`].
    pub endpoints: Vec<EndpointSpec>,
    /// How one is chosen.
    pub balance: Balance,
    /// What a hash is taken of; `ClientIp` where the balance takes none.
    pub hash: HashBy,
    /// When a request is tried again.
    pub retry: Retry,
    /// What is kept open between requests.
    pub keepalive: Keepalive,
}

//! Endpoints in a few words.

use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{Ask, Endpoint, EndpointId, Endpoints, NoPick, Standing, Tried};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{Address, Balance, Ring};
use gatehouse_core::vitals::{EndpointVitals, UpstreamVitals};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

pub const RING: Balance = Balance::ConsistentHash(Ring::Default { load_bound: None });
pub const BOUNDED_RING: Balance = Balance::ConsistentHash(Ring::Default { load_bound: Some(1.25) });
pub const CRC_RING: Balance = Balance::ConsistentHash(Ring::Crc32);

/// Every way to balance.
pub const ALL: [Balance; 9] = [
    Balance::Random,
    Balance::RoundRobin,
    Balance::WeightedRoundRobin,
    Balance::LeastRequest,
    Balance::PeakEwma,
    RING,
    BOUNDED_RING,
    CRC_RING,
    Balance::Maglev,
];

pub fn endpoint(text: &str, weight: u16) -> Endpoint {
    Endpoint {
        text: text.into(),
        address: Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
        authority: text.into(),
        tls: None,
        base_path: "".into(),
        weight,
        connections_max: None,
        backup: false,
        standing: Standing::Ready,
        warmth: 100,
        vitals: Arc::new(EndpointVitals::default()),
    }
}

/// So many endpoints of one weight, `10.0.0.0:80` and on.
pub fn numbered(count: usize) -> Vec<Endpoint> {
    let text = |at: usize| format!("10.0.{}.{}:80", at / 256, at % 256);
    (0..count).map(|at| endpoint(&text(at), 1)).collect()
}

/// Endpoints called `a`, `b`, … with these weights.
pub fn weighted(weights: &[u16]) -> Vec<Endpoint> {
    let names = ('a'..='z').map(String::from);
    names.zip(weights).map(|(name, weight)| endpoint(&name, *weight)).collect()
}

/// An upstream and whoever asks it.
pub struct Pool {
    pub endpoints: Endpoints,
    pub chance: Chance,
    pub tried: Tried,
    pub now: Moment,
}

pub fn pool(balance: Balance, list: Vec<Endpoint>) -> Pool {
    Pool {
        endpoints: Endpoints::new(balance, list, Arc::new(UpstreamVitals::default())),
        chance: Chance::seeded(7),
        tried: Tried::default(),
        now: Moment::START,
    }
}

impl Pool {
    /// Picks and keeps the place, counted as the data path counts.
    pub fn take(&mut self, key: &[u8]) -> Result<EndpointId, NoPick> {
        let mut ask = Ask { now: self.now, chance: &mut self.chance, key, tried: self.tried };
        let picked = self.endpoints.pick(&mut ask);
        if picked.is_ok() {
            assert!(self.endpoints.vitals().try_enter(None));
        }
        picked
    }

    pub fn leave(&self, id: EndpointId) {
        self.endpoints.get(id).vitals.leave();
        self.endpoints.vitals().leave();
    }

    /// Picks and gives the place back.
    pub fn pick(&mut self, key: &[u8]) -> usize {
        let id = self.take(key).expect("somebody is ready");
        self.leave(id);
        usize::from(id.0)
    }

    /// The text of the endpoint a key goes to.
    pub fn owner(&mut self, key: &str) -> String {
        let id = self.pick(key.as_bytes());
        self.endpoints.list()[id].text.to_string()
    }

    /// The texts of so many picks.
    pub fn picks(&mut self, count: usize) -> String {
        (0..count).map(|_| self.owner("")).collect::<Vec<_>>().join(" ")
    }

    /// How many of `count` picks, each with a key of its own, go to each endpoint.
    pub fn shares(&mut self, count: usize) -> Vec<usize> {
        let mut shares = vec![0; self.endpoints.list().len()];
        for at in 0..count {
            shares[self.pick(format!("key-{at}").as_bytes())] += 1;
        }
        shares
    }

    pub fn in_flight(&self) -> Vec<u32> {
        self.endpoints.list().iter().map(|endpoint| endpoint.vitals.in_flight()).collect()
    }
}

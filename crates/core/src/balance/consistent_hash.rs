//! `consistent-hash`: a key stays with its endpoint while endpoints come and go around it.
//!
//! **The default ring.** An endpoint has points in proportion to its weight, placed by [`hash64`]
//! of its text: persisted behaviour. `p` points hold their share to about one part in the square
//! root of `p`. The number of points a unit of weight is the power of two that gives
//! [`POINTS_MEAN_MIN`] to twice as many points on the mean, so that a weight that changes a little
//! leaves everybody else's points alone; from some 650 endpoints on it is what [`POINTS_MAX`]
//! (4 MiB) leaves to each. Among up to 1,000 endpoints of one weight none owns more than 1.25 times
//! its share or less than 0.75 times, which is tested.
//!
//! **The bounded load** (Mirrokni, Thorup, Zadimoghaddam 2016): an endpoint takes no request that
//! would leave it with more than `load_bound` times its share of what is in flight over the whole
//! upstream; the key goes to the next point then.
//!
//! **The first generation's ring** has ten points an endpoint, whatever the weight.

use super::hash::{crc32, hash64};
use super::ring::{Place, Points};
use super::{Group, scan, takes};
use crate::chance::mix64;
use crate::endpoints::{Ask, ENDPOINTS_MAX, Endpoint, EndpointId, Endpoints};

/// Points an endpoint has at least on the mean, while there are no more than [`POINTS_MAX`].
pub const POINTS_MEAN_MIN: u32 = 400;
/// Points of a ring.
pub const POINTS_MAX: u32 = 1 << 19;
const _: () = assert!(ENDPOINTS_MAX as u32 <= POINTS_MAX / 32);

/// Points an endpoint has on the first generation's ring.
const CRC_POINTS: u32 = 10;

#[derive(Debug)]
pub(super) struct ConsistentHash {
    members: Vec<EndpointId>,
    points: Points,
    bound: Option<LoadBound>,
}

impl ConsistentHash {
    pub(super) fn new(group: Group<'_>, load_bound: Option<f64>) -> ConsistentHash {
        let weights = group.weights();
        let scale = scale(&weights);
        let rows = group.members.iter().zip(&weights);
        let points = Points::new(rows.flat_map(|(id, weight)| {
            let count = (f64::from(*weight) * scale).round().max(1.0) as u64;
            let own = hash64(group.endpoint(*id).text.as_bytes());
            (0..count).map(move |at| (point(own, at), *id))
        }));
        let bound = load_bound.map(|factor| {
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            LoadBound { each: factor.max(1.0) / total }
        });
        ConsistentHash { members: group.members, points, bound }
    }

    /// A request without a key goes anywhere: all of them to one endpoint would be no balance.
    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        let hash = if ask.key.is_empty() { ask.chance.next_u64() } else { hash64(ask.key) };
        let place = Place(hash >> 16);
        let start = ((u128::from(hash) * self.members.len() as u128) >> 64) as usize;
        let take = |id| takes(endpoints, &ask.tried, id);
        if let Some(bound) = self.bound {
            let in_flight = endpoints.vitals().in_flight();
            let take = |id| bound.leaves_room(endpoints.get(id), in_flight) && take(id);
            let picked = self.points.walk(place).find(|id| take(*id));
            let picked = picked.or_else(|| scan(&self.members, start, take));
            if picked.is_some() {
                return picked;
            }
        }
        let picked = self.points.walk(place).find(|id| take(*id));
        picked.or_else(|| scan(&self.members, start, take))
    }
}

/// Where an endpoint's point stands; `own` is the hash of its text.
fn point(own: u64, at: u64) -> Place {
    Place(mix64(own.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 16)
}

/// Points a unit of weight: a power of two, less where there is no room for it.
fn scale(weights: &[u32]) -> f64 {
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let mean = total / weights.len() as f64;
    let wanted = (f64::from(POINTS_MEAN_MIN) / mean).log2().ceil();
    // One point a member at the most is lost to rounding up.
    let room = f64::from(POINTS_MAX) - weights.len() as f64;
    wanted.exp2().min(room / total)
}

/// How much more than its share an endpoint may have in flight.
#[derive(Clone, Copy, Debug)]
struct LoadBound {
    /// The factor over the group's weights.
    each: f64,
}

impl LoadBound {
    /// Whether one more leaves the endpoint within its bound, given what the upstream has in
    /// flight. Where the upstream's count lags behind the endpoint's own, nothing is bounded.
    fn leaves_room(self, endpoint: &Endpoint, in_flight: u32) -> bool {
        let own = endpoint.vitals.in_flight();
        let weight = f64::from(endpoint.weight.max(1));
        let most = (self.each * weight * (f64::from(in_flight) + 1.0)).ceil();
        own > in_flight || f64::from(own) < most
    }
}

#[derive(Debug)]
pub(super) struct CrcHash {
    members: Vec<EndpointId>,
    points: Points,
}

impl CrcHash {
    /// Where two points collide, the endpoint that stands later has it, as it always did.
    pub(super) fn new(group: Group<'_>) -> CrcHash {
        let latest = group.members.iter().rev();
        let mut points: Vec<(Place, EndpointId)> = Vec::new();
        for id in latest {
            let text = &group.endpoint(*id).text;
            let place = |at| Place(u64::from(crc32(format!("{at}{text}").as_bytes())));
            points.extend((0..CRC_POINTS).map(|at| (place(at), *id)));
        }
        points.sort_by_key(|(place, _)| place.0);
        points.dedup_by_key(|(place, _)| place.0);
        CrcHash { members: group.members, points: Points::new(points.into_iter()) }
    }

    pub(super) fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<EndpointId> {
        let hash = crc32(ask.key);
        let take = |id| takes(endpoints, &ask.tried, id);
        let picked = self.points.walk(Place(u64::from(hash))).find(|id| take(*id));
        picked.or_else(|| scan(&self.members, hash as usize % self.members.len(), take))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Address;
    use std::net::SocketAddr;
    use std::sync::Arc;

    fn ring(texts: impl Iterator<Item = String>, weight: impl Fn(usize) -> u16) -> Points {
        let list: Vec<Endpoint> = texts
            .enumerate()
            .map(|(at, text)| Endpoint {
                text: text.into(),
                address: Address::Ip(SocketAddr::from(([127, 0, 0, 1], 1))),
                authority: "".into(),
                tls: None,
                base_path: "".into(),
                weight: weight(at),
                connections_max: None,
                backup: false,
                standing: crate::endpoints::Standing::Ready,
                warmth: 100,
                vitals: Arc::default(),
            })
            .collect();
        let members = (0..list.len() as u16).map(EndpointId).collect();
        ConsistentHash::new(Group { list: &list, members }, None).points
    }

    fn address(at: usize) -> String {
        format!("10.0.{}.{}:8080", at / 256, at % 256)
    }

    #[test]
    fn no_endpoint_owns_more_than_a_quarter_above_its_share() {
        let spellings: [fn(usize) -> String; 3] =
            [address, |at| format!("http://backend-{at}.internal:9000/base"), |at| format!("{at}")];
        // A weight of 50 gives 400 points, the fewest there are.
        let weight = 50;
        assert_eq!(scale(&[weight; 1_000]) * f64::from(weight), f64::from(POINTS_MEAN_MIN));
        for count in (2..=40).chain([64, 100, 200, 400, 700, 1_000]) {
            for spelling in spellings {
                let shares = ring((0..count).map(spelling), |_| weight as u16).shares(count);
                let most = shares.iter().fold(0.0_f64, |most, share| most.max(*share));
                let least = shares.iter().fold(1.0_f64, |least, share| least.min(*share));
                let fair = 1.0 / count as f64;
                assert!(most <= 1.25 * fair, "{count} {}: {}", spelling(0), most / fair);
                assert!(least >= 0.75 * fair, "{count} {}: {}", spelling(0), least / fair);
            }
        }
    }

    #[test]
    fn weights_are_followed() {
        let weight = |at| 1 + (at % 10) as u16;
        let shares = ring((0..200).map(address), weight).shares(200);
        let total: f64 = (0..200).map(|at| f64::from(weight(at))).sum();
        for (at, share) in shares.iter().enumerate() {
            let fair = f64::from(weight(at)) / total;
            let points = 400.0 / 5.5 * f64::from(weight(at));
            assert!((share / fair - 1.0).abs() <= 4.0 / points.sqrt(), "{at}: {}", share / fair);
        }
    }

    #[test]
    fn the_number_of_points_is_bounded() {
        let points =
            |count: usize, weight: fn(usize) -> u16| ring((0..count).map(address), weight).len();
        assert_eq!(points(2, |_| 1), 1_024);
        assert_eq!(points(3, |_| 50), 1_200);
        assert_eq!(points(1_000, |_| 525), 523_000);
        for weight in [(|_| 1) as fn(usize) -> u16, |_| u16::MAX, |at| 1 + (at * 6) as u16] {
            assert!(points(10_000, weight) <= POINTS_MAX as usize);
        }
        assert_eq!(points(2, |at| if at == 0 { 1 } else { u16::MAX }), 1_025);
    }
}

//! Points on a circle, each with the endpoint that answers for it: what both rings walk.

use crate::endpoints::EndpointId;

/// How many points a pick walks before all members are scanned.
const POINTS_WALKED_MAX: usize = 64;

/// Points in order, the place above and the endpoint in the lower 16 bits.
#[derive(Debug)]
pub(super) struct Points(Vec<u64>);

/// A place on the circle: 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u64);

impl Points {
    /// Of points at one place the one that comes first answers.
    pub(super) fn new(points: impl Iterator<Item = (Place, EndpointId)>) -> Points {
        let mut points: Vec<u64> =
            points.map(|(place, id)| place.0 << 16 | u64::from(id.0)).collect();
        points.sort_unstable();
        points.dedup_by_key(|point| *point >> 16);
        points.shrink_to_fit();
        Points(points)
    }

    /// Endpoints from the first point at or behind `place`, wrapping; the same one never twice in
    /// a row.
    pub(super) fn walk(&self, place: Place) -> impl Iterator<Item = EndpointId> {
        let start = self.0.partition_point(|point| *point < place.0 << 16);
        let (before, behind) = self.0.split_at(start);
        let mut last = None;
        let walked = behind.iter().chain(before).take(POINTS_WALKED_MAX);
        walked
            .map(|point| EndpointId(*point as u16))
            .filter(move |id| last.replace(*id) != Some(*id))
    }
}

#[cfg(test)]
impl Points {
    /// What each of `count` endpoints owns of the circle.
    pub(super) fn shares(&self, count: usize) -> Vec<f64> {
        let mut shares = vec![0.0; count];
        let last = self.0.last().map_or(0, |point| *point >> 16);
        let mut before = last as f64 - (1_u64 << 48) as f64;
        for point in &self.0 {
            let place = (*point >> 16) as f64;
            shares[usize::from(*point as u16)] += (place - before) / (1_u64 << 48) as f64;
            before = place;
        }
        shares
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

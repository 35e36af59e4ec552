//! Durations as a distribution: an HDR histogram over nanoseconds.

use std::time::Duration;

use hdrhistogram::{Counter, Histogram};

/// A longer duration is recorded as this long.
const NANOS_MAX: u64 = 3_600_000_000_000;
/// Figures that hold; the error is below a thousandth.
const DIGITS: u8 = 3;
/// The same for one moment of a run, of which there are many.
const DIGITS_OF_MOMENT: u8 = 2;
/// What one moment of a run does not tell apart.
const NANOS_OF_MOMENT: u64 = 1024;

/// How long requests took.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// None yet.
    pub(crate) fn new() -> Self {
        let bounds = Histogram::new_with_bounds(1, NANOS_MAX, DIGITS);
        Self(bounds.expect("the bounds are constants that fit"))
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The shortest; zero where there is none.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.0.min())
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// The arithmetic mean.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }

    /// The time within which that share was done; 0.99 is the 99th percentile.
    #[must_use]
    pub fn within(&self, share: f64) -> Duration {
        quantile(&self.0, share)
    }

    /// How many took from `low` on, and less than `high`.
    pub(super) fn count_between(&self, low: Duration, high: Duration) -> u64 {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (low, high) = (nanos(low), nanos(high));
        let recorded = self.0.iter_recorded();
        let inside = recorded.filter(|value| (low..high).contains(&value.value_iterated_to()));
        inside.map(|value| value.count_at_value()).sum()
    }
}

/// How long the requests of one moment took, more coarsely.
#[derive(Clone, Debug)]
pub(super) struct Moment(Histogram<u32>);

impl Moment {
    pub fn new() -> Self {
        let bounds = Histogram::new_with_bounds(NANOS_OF_MOMENT, NANOS_MAX, DIGITS_OF_MOMENT);
        Self(bounds.expect("the bounds are constants that fit"))
    }

    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    pub fn within(&self, share: f64) -> Duration {
        quantile(&self.0, share)
    }
}

fn quantile<T: Counter>(histogram: &Histogram<T>, share: f64) -> Duration {
    let nanos = histogram.value_at_quantile(share).min(histogram.max());
    Duration::from_nanos(nanos)
}

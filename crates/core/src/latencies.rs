//! How long an upstream takes to begin its answers, as counts by length: written where an answer
//! comes, read now and then off the data path.
//!
//! Never here: what follows from it, which is for [`crate::hedge`] and [`crate::concurrency`] to
//! say.

use crate::moment::Moment;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Lengths are told apart from this many nanoseconds on, 16 µs, as a power of two.
const LOWEST_BITS: u32 = 14;

/// Lengths are told apart up to this many nanoseconds, 69 s, as a power of two.
const HIGHEST_BITS: u32 = 36;

/// Parts of each doubling, as a power of two: a length is known to an eighth.
const PART_BITS: u32 = 3;

/// Counts there are.
pub const BUCKETS: usize = ((HIGHEST_BITS - LOWEST_BITS) << PART_BITS) as usize;

/// Answers of one upstream by how long they took. Counts wrap.
#[derive(Debug)]
pub struct Latencies {
    counts: [AtomicU32; BUCKETS],
    refusals: AtomicU32,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let counts = std::array::from_fn(|_| AtomicU32::new(0));
        Latencies { counts, refusals: AtomicU32::new(0) }
    }
}

impl Latencies {
    /// An answer took so long.
    pub fn observe(&self, latency: Duration) {
        self.counts[bucket(latency)].fetch_add(1, Relaxed);
    }

    /// The upstream said, or showed, that it has too much to do.
    pub fn count_refusal(&self) {
        self.refusals.fetch_add(1, Relaxed);
    }

    /// All counts at this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            counts: std::array::from_fn(|at| self.counts[at].load(Relaxed)),
            refusals: self.refusals.load(Relaxed),
        }
    }
}

fn bucket(latency: Duration) -> usize {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
    let nanos = nanos.clamp(1 << LOWEST_BITS, (1 << HIGHEST_BITS) - 1);
    let octave = nanos.ilog2();
    let part = (nanos >> (octave - PART_BITS)) & ((1 << PART_BITS) - 1);
    (u64::from(octave - LOWEST_BITS) << PART_BITS | part) as usize
}

/// The longest that is counted in this bucket.
fn most_of(bucket: usize) -> Duration {
    let octave = (bucket >> PART_BITS) as u32 + LOWEST_BITS;
    let part = (bucket & ((1 << PART_BITS) - 1)) as u64;
    Duration::from_nanos(((1 << PART_BITS) + part + 1) << (octave - PART_BITS))
}

/// Counts at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counts: [u32; BUCKETS],
    refusals: u32,
}

impl Snapshot {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let counts = std::array::from_fn(|at| self.counts[at].wrapping_sub(earlier.counts[at]));
        Snapshot { counts, refusals: self.refusals.wrapping_sub(earlier.refusals) }
    }

    /// Answers counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// Refusals counted.
    pub fn refusals(&self) -> u32 {
        self.refusals
    }

    /// What this share of the answers, 0.0 to 1.0, did not take longer than, to an eighth; `None`
    /// where there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total = self.total();
        let wanted = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut sum = 0;
        let at = self.counts.iter().position(|count| {
            sum += u64::from(*count);
            sum >= wanted
        });
        at.map(most_of)
    }
}

/// How long a stretch of what is remembered is.
const STRETCH: Duration = Duration::from_secs(10);

/// What was counted in the last one or two stretches.
#[derive(Debug)]
pub struct Recent {
    before: Snapshot,
    at: Snapshot,
    since: Moment,
}

impl Recent {
    /// Remembers from now on.
    pub fn new(counts: Snapshot, now: Moment) -> Recent {
        Recent { before: counts.clone(), at: counts, since: now }
    }

    /// Moves on, and says what was counted of late.
    pub fn follow(&mut self, counts: &Snapshot, now: Moment) -> Snapshot {
        if now.since(self.since) >= STRETCH {
            self.before = std::mem::replace(&mut self.at, counts.clone());
            self.since = now;
        }
        counts.since(&self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quantile_is_right_to_an_eighth() {
        let latencies = Latencies::default();
        (1..=1000).for_each(|millis| latencies.observe(Duration::from_millis(millis)));
        let counts = latencies.snapshot();
        for (share, millis) in [(0.0, 1.0), (0.5, 500.0), (0.95, 950.0), (1.0, 1000.0)] {
            let found = counts.quantile(share).expect("answers").as_secs_f64() * 1000.0;
            assert!(found >= millis && found <= millis * 1.13, "{share}: {found}");
        }
        assert_eq!(counts.since(&counts).quantile(0.5), None);
    }

    #[test]
    fn counts_that_wrap_are_counted_on() {
        let latencies = Latencies::default();
        latencies.counts[5].store(u32::MAX - 1, Relaxed);
        let before = latencies.snapshot();
        (0..4).for_each(|_| latencies.observe(most_of(5) - Duration::from_nanos(1)));
        assert_eq!(latencies.snapshot().since(&before).total(), 4);
    }

    #[test]
    fn what_is_older_than_two_stretches_is_forgotten() {
        let latencies = Latencies::default();
        let at = |seconds| Moment::START.after(Duration::from_secs(seconds));
        let mut recent = Recent::new(latencies.snapshot(), at(0));
        latencies.observe(Duration::from_secs(1));
        for (seconds, left) in [(5, 1), (10, 1), (19, 1), (20, 0)] {
            let counts = latencies.snapshot();
            assert_eq!(recent.follow(&counts, at(seconds)).total(), left, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn every_length_has_its_bucket(nanos in 0..1_u64 << 40) {
            let at = bucket(Duration::from_nanos(nanos));
            prop_assert!(at < BUCKETS);
            if nanos < 1 << HIGHEST_BITS {
                prop_assert!(Duration::from_nanos(nanos) < most_of(at));
            }
            if nanos >= 1 << LOWEST_BITS && at > 0 {
                prop_assert!(Duration::from_nanos(nanos) >= most_of(at - 1));
            }
        }
    }
}

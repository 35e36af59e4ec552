//! When requests are to be sent. With a rate, the times are fixed before the first one: the queue
//! of those that wait is arithmetic and takes no room, however long it grows.

const NANOS: u128 = 1_000_000_000;

/// Times are nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// What is sent from here on counts.
    pub measured_from: u64,
    /// Nothing is sent from here on.
    pub end: u64,
}

/// The part of a thread in all that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub thread: u64,
    pub threads: u64,
}

#[derive(Debug)]
pub(super) enum Schedule {
    /// The next as soon as a connection is free.
    Closed {
        course: Course,
        /// How many still count.
        left: u64,
    },
    /// Each at its time.
    Open {
        /// A second.
        rate: u64,
        share: Share,
        /// The next one, counted over all threads.
        next: u64,
        /// The first one that is not to be sent, counted over all threads.
        count: u64,
    },
}

impl Course {
    /// Of a run with a rate: where only so many requests count, it ends when they are through.
    pub fn with_rate(self, rate: u64, requests: Option<u64>) -> Self {
        let last = |requests| before(self.measured_from, rate).saturating_add(requests);
        let end = requests.map_or(u64::MAX, |requests| due(last(requests), rate));
        Self { end: self.end.min(end), ..self }
    }
}

impl Schedule {
    /// As many at once as there are connections; at most `requests` of all threads count.
    pub fn closed(course: Course, requests: Option<u64>, share: Share) -> Self {
        let left = requests.map_or(u64::MAX, |requests| {
            requests / share.threads + u64::from(share.thread < requests % share.threads)
        });
        Self::Closed { course, left }
    }

    /// So many a second of all threads together.
    pub fn open(course: Course, share: Share, rate: u64) -> Self {
        Self::Open { rate, share, next: share.thread, count: before(course.end, rate) }
    }

    /// When the next is due, where that is known in advance.
    pub fn next_due(&self) -> Option<u64> {
        match *self {
            Self::Open { rate, next, count, .. } if next < count => Some(due(next, rate)),
            Self::Open { .. } | Self::Closed { .. } => None,
        }
    }

    /// Takes the next one, if it may be sent now: the time it was to be sent at.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        match self {
            Self::Closed { course, .. } if now < course.measured_from => Some(now),
            Self::Closed { course, left } => {
                if now >= course.end || *left == 0 {
                    return None;
                }
                *left -= 1;
                Some(now)
            }
            Self::Open { rate, share, next, count } => {
                let due = due(*next, *rate);
                if *next >= *count || due > now {
                    return None;
                }
                *next += share.threads;
                Some(due)
            }
        }
    }

    /// Whether all that counts was taken before the end.
    pub fn is_used_up(&self, now: u64) -> bool {
        match *self {
            Self::Closed { course, left } => left == 0 && now >= course.measured_from,
            Self::Open { .. } => false,
        }
    }
}

/// How many are due before `time`.
fn before(time: u64, rate: u64) -> u64 {
    let count = (u128::from(time) * u128::from(rate)).div_ceil(NANOS);
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn due(number: u64, rate: u64) -> u64 {
    u64::try_from(u128::from(number) * NANOS / u128::from(rate)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const COURSE: Course = Course { measured_from: SECOND, end: 3 * SECOND };

    fn share(thread: u64, threads: u64) -> Share {
        Share { thread, threads }
    }

    #[test]
    fn the_times_of_all_threads_together_are_evenly_spaced() {
        let mut times = Vec::new();
        for thread in 0..3 {
            let mut schedule = Schedule::open(COURSE, share(thread, 3), 1000);
            times.extend(std::iter::from_fn(|| schedule.take(u64::MAX)));
        }
        times.sort_unstable();
        let even: Vec<u64> = (0..3000).map(|number| number * SECOND / 1000).collect();
        assert_eq!(times, even);
    }

    #[test]
    fn one_that_is_late_keeps_its_time_and_one_that_is_early_waits() {
        let mut schedule = Schedule::open(COURSE, share(0, 1), 10);
        assert_eq!(schedule.take(SECOND / 4), Some(0));
        assert_eq!(schedule.take(SECOND / 4), Some(SECOND / 10));
        assert_eq!(schedule.take(SECOND / 4), Some(SECOND / 5));
        assert_eq!(schedule.take(SECOND / 4), None);
        assert_eq!(schedule.next_due(), Some(3 * SECOND / 10));
    }

    #[test]
    fn so_many_requests_count_whatever_the_warm_up_sent() {
        let measured = |mut schedule: Schedule| {
            let mut count = 0;
            for now in (0..3000).map(|number| number * SECOND / 1000) {
                count += u64::from(schedule.take(now).is_some_and(|at| at >= SECOND));
            }
            count
        };
        for threads in [1, 4, 7] {
            let closed = |thread| Schedule::closed(COURSE, Some(10), share(thread, threads));
            let course = COURSE.with_rate(30, Some(10));
            let open = |thread| Schedule::open(course, share(thread, threads), 30);
            assert_eq!((0..threads).map(|thread| measured(closed(thread))).sum::<u64>(), 10);
            assert_eq!((0..threads).map(|thread| measured(open(thread))).sum::<u64>(), 10);
        }
        assert_eq!(COURSE.with_rate(10, Some(10)).end, 2 * SECOND);
        assert_eq!(COURSE.with_rate(10, Some(100)).end, 3 * SECOND);
    }

    #[test]
    fn without_a_rate_nothing_is_sent_after_the_end() {
        let mut schedule = Schedule::closed(COURSE, None, share(0, 1));
        assert_eq!(schedule.take(3 * SECOND - 1), Some(3 * SECOND - 1));
        assert_eq!(schedule.take(3 * SECOND), None);
    }
}

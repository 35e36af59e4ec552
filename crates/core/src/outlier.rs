//! What real traffic says of endpoints: those that fail far more than they should, or answer far
//! slower than the others, are left out for a while; then they are given a few requests, and their
//! share again once those went well: a circuit breaker of each endpoint.
//!
//! Judged now and then off the data path, from counters that every exchange moves anyway; and at
//! once when a row of errors is full.

use crate::breaker::Trial;
use crate::moment::Moment;
use std::time::Duration;

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutlierRule {
    /// Errors in a row; 0 looks at no row.
    pub consecutive_errors: u32,
    /// The share of requests in a window that may fail, 0.0 to 1.0; `None` looks at none.
    pub error_rate: Option<f64>,
    /// Requests a window must hold before its share counts.
    pub requests_min: u32,
    /// How long a window is.
    pub window: Duration,
    /// How many times slower than the median of the others through a whole window; `None` looks at
    /// no latency.
    pub latency_factor: Option<f64>,
    /// How long the first ejection lasts; each further one doubles that, up to 16 times.
    pub eject_for: Duration,
    /// The share of an upstream's endpoints that may be ejected at once, 0.0 to 1.0. Of two or more
    /// one may always go; the last one never does.
    pub ejected_max: f64,
    /// Requests an endpoint is given once its ejection is over; all must go well.
    pub probes: u32,
}

impl Default for OutlierRule {
    fn default() -> OutlierRule {
        OutlierRule {
            consecutive_errors: 5,
            error_rate: None,
            requests_min: 20,
            window: Duration::from_secs(10),
            latency_factor: None,
            eject_for: Duration::from_secs(10),
            ejected_max: 0.5,
            probes: 3,
        }
    }
}

/// What the counters of an endpoint say at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Requests given to it so far.
    pub requests: u64,
    /// Those that failed by its fault so far, error statuses included.
    pub errors: u64,
    /// Errors since its last good answer.
    pub in_a_row: u32,
    /// Its latency average in nanoseconds; 0 where nothing is known. Of one that is probing only
    /// what it has shown since.
    pub latency_nanos: f64,
    /// How its probes do.
    pub trial: Trial,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// So many errors in a row.
    Consecutive(u32),
    /// This share of a window's requests failed.
    ErrorRate(f64),
    /// It took this many times the median of the others.
    Slow(f64),
    /// One of the few requests it was given once its ejection was over.
    Probe,
}

/// What has become of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// It is left out until then.
    Ejected {
        /// Why.
        reason: Reason,
        /// For how long.
        term: Duration,
    },
    /// It may show with a few requests that it is well again.
    Probing,
    /// It is still probing, and of some of them nothing is known after another `eject_for`: as many
    /// others may go there.
    MoreProbes,
    /// It is well again.
    Returned,
}

/// Doublings of the term.
const DOUBLINGS_MAX: u32 = 4;

/// The record of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conduct {
    ejected_until: Option<Moment>,
    /// Since when it is given probes, or was given the last of them.
    probing_since: Option<Moment>,
    ejections: u32,
    calm_since: Moment,
    window: Option<Window>,
    /// Errors in a row that were there when it returned: they are not counted again.
    forgiven: u32,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Moment,
    requests: u64,
    errors: u64,
    /// The lowest latency average seen in it.
    latency_floor: f64,
}

impl Conduct {
    /// Whether it is left out.
    pub fn is_ejected(&self) -> bool {
        self.ejected_until.is_some()
    }

    /// Whether it is given a few requests to show that it is well again.
    pub fn is_probing(&self) -> bool {
        self.probing_since.is_some()
    }

    /// Whether it has not its share.
    fn is_out(&self) -> bool {
        self.is_ejected() || self.is_probing()
    }

    /// When it may show that it is well again.
    pub fn ejected_until(&self) -> Option<Moment> {
        self.ejected_until
    }

    /// Times it was ejected of late; one is forgotten for each good term.
    pub fn ejections(&self) -> u32 {
        self.ejections
    }

    /// How long a row of errors ejects it; `None` where none does, or it is out already.
    pub fn row_that_ejects(&self, rule: &OutlierRule) -> Option<u32> {
        let looks = rule.consecutive_errors > 0 && !self.is_out();
        looks.then(|| self.forgiven.saturating_add(rule.consecutive_errors))
    }

    fn term(&self, rule: &OutlierRule) -> Duration {
        rule.eject_for * (1 << self.ejections.min(DOUBLINGS_MAX))
    }

    fn open_window(&mut self, reading: &Reading, now: Moment) {
        let Reading { requests, errors, .. } = *reading;
        let latency_floor = known(reading.latency_nanos);
        self.window = Some(Window { since: now, requests, errors, latency_floor });
    }

    fn eject(&mut self, rule: &OutlierRule, reason: Reason, now: Moment) -> Change {
        let term = self.term(rule);
        (self.ejected_until, self.probing_since) = (Some(now.after(term)), None);
        self.ejections = self.ejections.saturating_add(1);
        Change::Ejected { reason, term }
    }

    /// On the way from an ejection back to its share, or to the next ejection.
    fn try_return(&mut self, rule: &OutlierRule, reading: &Reading, now: Moment) -> Option<Change> {
        if self.ejected_until.is_some_and(|until| until <= now) {
            (self.ejected_until, self.probing_since) = (None, Some(now));
            return Some(Change::Probing);
        }
        let since = self.probing_since?;
        match reading.trial {
            Trial::Failed => Some(self.eject(rule, Reason::Probe, now)),
            Trial::Passed => {
                self.probing_since = None;
                self.calm_since = now;
                self.forgiven = reading.in_a_row;
                self.open_window(reading, now);
                Some(Change::Returned)
            }
            Trial::UnderWay if now.since(since) < rule.eject_for => None,
            Trial::UnderWay => {
                self.probing_since = Some(now);
                Some(Change::MoreProbes)
            }
            Trial::Idle => {
                self.probing_since = Some(now);
                None
            }
        }
    }

    /// What speaks against it now. Closes the window where that is over.
    fn charge(
        &mut self,
        rule: &OutlierRule,
        reading: &Reading,
        median: Option<f64>,
        now: Moment,
    ) -> Option<Reason> {
        self.forgiven = self.forgiven.min(reading.in_a_row);
        let in_a_row = reading.in_a_row - self.forgiven;
        if rule.consecutive_errors > 0 && in_a_row >= rule.consecutive_errors {
            return Some(Reason::Consecutive(in_a_row));
        }
        let Some(window) = &mut self.window else {
            self.open_window(reading, now);
            return None;
        };
        window.latency_floor = window.latency_floor.min(known(reading.latency_nanos));
        let errors = reading.errors.saturating_sub(window.errors);
        let requests = reading.requests.saturating_sub(window.requests).max(errors);
        let enough = requests >= u64::from(rule.requests_min.max(1));
        let rate = errors as f64 / requests.max(1) as f64;
        let latency_floor = window.latency_floor;
        let is_over = now.since(window.since) >= rule.window;
        if is_over {
            // Whatever it says: what could not be followed by an ejection now never is.
            self.open_window(reading, now);
        }
        if rule.error_rate.is_some_and(|most| enough && rate > most) {
            return Some(Reason::ErrorRate(rate));
        }
        let most = rule.latency_factor.filter(|_| is_over && enough)?;
        let slower = median.filter(|median| *median > 0.0).map(|median| latency_floor / median);
        slower.filter(|times| *times > most && times.is_finite()).map(Reason::Slow)
    }
}

/// A latency that is not known is the least of none.
fn known(latency_nanos: f64) -> f64 {
    if latency_nanos > 0.0 { latency_nanos } else { f64::INFINITY }
}

/// Judges all endpoints of one upstream together: `readings` beside the records of the same
/// endpoints. Tells each change by the endpoint's place.
pub fn judge(
    rule: &OutlierRule,
    conducts: &mut [Conduct],
    readings: &[Reading],
    now: Moment,
    mut tell: impl FnMut(usize, Change),
) {
    let count = conducts.len();
    let most = match count {
        0 | 1 => 0,
        _ => ((count as f64 * rule.ejected_max) as usize).clamp(1, count - 1),
    };
    let most = if rule.ejected_max > 0.0 { most } else { 0 };
    for (place, (conduct, reading)) in conducts.iter_mut().zip(readings).enumerate() {
        if let Some(change) = conduct.try_return(rule, reading, now) {
            tell(place, change);
        }
    }
    let mut out = conducts.iter().filter(|conduct| conduct.is_out()).count();
    for (place, reading) in readings.iter().enumerate().take(count) {
        if conducts[place].is_out() {
            continue;
        }
        let median = rule.latency_factor.and_then(|_| median_of_others(conducts, readings, place));
        let conduct = &mut conducts[place];
        match conduct.charge(rule, reading, median, now) {
            Some(reason) if out < most => {
                out += 1;
                let change = conduct.eject(rule, reason, now);
                tell(place, change);
            }
            Some(_) => {}
            None if now.since(conduct.calm_since) >= conduct.term(rule) => {
                conduct.ejections = conduct.ejections.saturating_sub(1);
                conduct.calm_since = now;
            }
            None => {}
        }
    }
}

/// The median latency of the endpoints other than `place` that are in and have answered.
fn median_of_others(conducts: &[Conduct], readings: &[Reading], place: usize) -> Option<f64> {
    let others = conducts.iter().zip(readings).enumerate().filter(|(at, (conduct, reading))| {
        *at != place && !conduct.is_out() && reading.latency_nanos > 0.0
    });
    let mut latencies: Vec<f64> = others.map(|(_, (_, reading))| reading.latency_nanos).collect();
    latencies.sort_unstable_by(f64::total_cmp);
    latencies.get(latencies.len() / 2).copied()
}

#[cfg(test)]
mod tests;

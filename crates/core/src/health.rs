//! What active checks say of an endpoint: so many in a row decide, one alone does not.

use crate::moment::Moment;
use crate::plan::{ProxyVersion, Speaks};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How endpoints of an upstream are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRule {
    /// What is asked.
    pub check: Check,
    /// From one check of an endpoint to the next, before jitter.
    pub interval: Duration,
    /// How long one check may take, the connection included.
    pub timeout: Duration,
    /// Checks that must fail in a row before an endpoint is left out, at least 1.
    pub unhealthy_after: u8,
    /// Checks that must pass in a row before it is taken in again, at least 1.
    pub healthy_after: u8,
    /// What an endpoint is before its first check has ended.
    pub start: Condition,
    /// What a check speaks, as all else that is sent to the upstream.
    pub speaks: Speaks,
    /// The PROXY header that a check starts with, as every connection to the upstream does.
    pub announce: Option<ProxyVersion>,
}

/// What a check asks, and what passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A GET.
    Http {
        /// The path and query asked for, behind the endpoint's base path.
        path: Box<str>,
        /// The `Host`, where it is not the endpoint's own.
        host: Option<Box<str>>,
        /// The statuses that pass.
        statuses: RangeInclusive<u16>,
        /// What the first 64 KiB of the body must hold.
        body: Option<Box<str>>,
    },
    /// A call of `grpc.health.v1.Health/Check` that is answered with SERVING.
    Grpc {
        /// The service asked for; empty is the server as a whole.
        service: Box<str>,
    },
    /// A connection that opens.
    Connect,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It answers as it should.
    #[default]
    Healthy,
    /// It does not.
    Unhealthy,
}

/// What one check said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer was as it should be.
    Passed,
    /// It was not, or there was none.
    Failed,
}

/// The record of one endpoint's checks.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    condition: Condition,
    since: Option<Moment>,
    against: u8,
}

impl Record {
    /// The record before the first check.
    pub fn new(rule: &HealthRule) -> Record {
        Record { condition: rule.start, since: None, against: 0 }
    }

    /// What is known now.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// When that was last changed by checks; `None` before.
    pub fn since(&self) -> Option<Moment> {
        self.since
    }

    /// Takes one verdict in. Says whether the condition has changed by it. The first check of all
    /// decides at once: nothing speaks for what an endpoint was assumed to be.
    pub fn take(&mut self, verdict: Verdict, rule: &HealthRule, now: Moment) -> bool {
        let (says, needed) = match verdict {
            Verdict::Passed => (Condition::Healthy, rule.healthy_after),
            Verdict::Failed => (Condition::Unhealthy, rule.unhealthy_after),
        };
        let first = self.since.is_none();
        if says == self.condition {
            self.against = 0;
            self.since = self.since.or(Some(now));
            return false;
        }
        self.against = self.against.saturating_add(1);
        if !first && self.against < needed {
            return false;
        }
        *self = Record { condition: says, since: Some(now), against: 0 };
        true
    }
}

/// How long after its return an endpoint is given its whole share, and how much of it meanwhile:
/// percent, growing evenly from 10.
pub fn warmth(returned: Moment, slow_start: Duration, now: Moment) -> u8 {
    const COLD: f64 = 10.0;
    if slow_start.is_zero() {
        return 100;
    }
    let passed = now.since(returned).as_secs_f64() / slow_start.as_secs_f64();
    (COLD + (100.0 - COLD) * passed).min(100.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(unhealthy_after: u8, healthy_after: u8, start: Condition) -> HealthRule {
        HealthRule {
            speaks: Speaks::Http1,
            announce: None,
            check: Check::Connect,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            unhealthy_after,
            healthy_after,
            start,
        }
    }

    fn conditions(rule: &HealthRule, verdicts: &str) -> String {
        let mut record = Record::new(rule);
        let take = |verdict| {
            let verdict = if verdict == '+' { Verdict::Passed } else { Verdict::Failed };
            record.take(verdict, rule, Moment::from_nanos(1));
            if record.condition() == Condition::Healthy { 'h' } else { 'u' }
        };
        verdicts.chars().map(take).collect()
    }

    #[test]
    fn so_many_in_a_row_decide_and_the_first_of_all_at_once() {
        for (unhealthy, healthy, start, verdicts, expected) in [
            (2, 1, Condition::Healthy, "+-+--+", "hhhhuh"),
            (3, 2, Condition::Healthy, "+--+---+-++", "hhhhhhuuuuh"),
            (3, 2, Condition::Healthy, "-+-++", "uuuuh"),
            (1, 1, Condition::Unhealthy, "-+-", "uhu"),
            (2, 3, Condition::Unhealthy, "+--", "hhu"),
        ] {
            assert_eq!(conditions(&rule(unhealthy, healthy, start), verdicts), expected);
        }
    }

    #[test]
    fn an_endpoint_warms_up_evenly() {
        let start = Moment::from_nanos(5);
        let slow = Duration::from_secs(10);
        for (after, expected) in [(0, 10), (5, 55), (10, 100), (60, 100)] {
            assert_eq!(warmth(start, slow, start.after(Duration::from_secs(after))), expected);
        }
        assert_eq!(warmth(start, Duration::ZERO, start), 100);
    }
}

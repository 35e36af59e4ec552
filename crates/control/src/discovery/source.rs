//! The one interface of all sources. A source is a future that reports to [`Reports`] for as long
//! as it lives: whole sets, that the last one still holds, or why there is no answer. It never
//! ends by itself, waits between attempts, and is dropped when nobody wants it any more. Time is
//! `wire`'s, connections are `wire`'s, names are asked of [`look_up`](crate::dns::look_up).

use super::reports::Reports;
use super::task::Task;
use super::{consul, dns, etcd, file, zookeeper};
use crate::config::{DiscoverySpec, SourceSpec};
use gatehouse_core::chance::Chance;
use std::time::Duration;

/// Starts to ask. One arm a source.
pub(super) fn start(spec: &DiscoverySpec, reports: Reports, chance: Chance) -> Task {
    match &spec.source {
        SourceSpec::File(file) => Task::start(file::follow(file.clone(), reports)),
        SourceSpec::Etcd(etcd) => Task::start(etcd::follow(etcd.clone(), reports, chance)),
        SourceSpec::ZooKeeper(own) => {
            let beneath = spec.beneath.clone();
            Task::start(zookeeper::follow(own.clone(), beneath, reports, chance))
        }
        SourceSpec::Consul(consul) => Task::start(consul::follow(consul.clone(), reports, chance)),
        SourceSpec::Dns(name) => Task::start(dns::follow(name.clone(), reports, chance)),
    }
}

/// The wait after the first failure.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How long a source waits after so many failures in a row, at least 1: doubling up to
/// [`RETRY_MAX`], of which half is drawn by lot, so that many gateways do not come back at once.
pub(crate) fn retry_wait(failures: u32, chance: &mut Chance) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
    wait / 2 + wait / 2 / 1_000 * chance.below(1_001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_half_of_each_is_drawn_by_lot() {
        let mut chance = Chance::seeded(7);
        for (failures, most) in [(1, 100), (2, 200), (5, 1_600), (8, 10_000), (u32::MAX, 10_000)] {
            let most = Duration::from_millis(most);
            let waits: Vec<Duration> = (0..50).map(|_| retry_wait(failures, &mut chance)).collect();
            assert!(waits.iter().all(|wait| (most / 2..=most).contains(wait)), "{failures}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failures}");
        }
    }
}

//! The control side of a simulation: what is kept of the endpoints and of their upstream, and what
//! follows from it, by the same rules and in the same order as where it is real. Nobody is ejected
//! by hand, and nobody taken in again.

use super::ledger::Ledger;
use crate::bench::origin_address;
use gatehouse_core::address::Address;
use gatehouse_core::breaker::{self, Breaker, BreakerRule, Gate, Totals};
use gatehouse_core::concurrency::{ConcurrencyRule, Limiter};
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::hedge::{HedgeRule, HedgeWindow};
use gatehouse_core::moment::Moment;
use gatehouse_core::outlier::{self, Change, Conduct, OutlierRule};
use gatehouse_core::plan::{Balance, Ring};
use gatehouse_core::vitals::{EndpointVitals, UpstreamVitals};
use gatehouse_rig::storm::Dice;
use std::sync::Arc;

/// What of a plan the control side judges by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    pub hedge: Option<HedgeRule>,
    pub concurrency: Option<ConcurrencyRule>,
    pub outlier: Option<OutlierRule>,
    pub breaker: Option<BreakerRule>,
}

/// What is kept of an endpoint, listed or not.
struct Kept {
    vitals: Arc<EndpointVitals>,
    conduct: Conduct,
    seen: Totals,
}

/// One endpoint of the list, and what an operator and its checks say of it.
struct Listed {
    /// Its place among all.
    at: usize,
    weight: u16,
    warmth: u8,
    connections_max: Option<u32>,
    backup: bool,
    /// Drained or unhealthy, where it is.
    away: Option<Standing>,
}

/// What the control side keeps.
pub struct Control {
    upstream: Arc<UpstreamVitals>,
    kept: Vec<Kept>,
    list: Vec<Listed>,
    balance: Balance,
    panic_below: f64,
    rules: Rules,
    totals: Totals,
    breaker: Breaker,
    hedges: HedgeWindow,
    limiter: Option<Limiter>,
    published: Vec<Standing>,
}

impl Control {
    /// All endpoints, ready.
    pub fn new(
        vitals: &[Arc<EndpointVitals>],
        upstream: Arc<UpstreamVitals>,
        rules: Rules,
    ) -> Control {
        let kept = |vitals: &Arc<EndpointVitals>| Kept {
            vitals: Arc::clone(vitals),
            conduct: Conduct::default(),
            seen: Totals::default(),
        };
        let mut control = Control {
            upstream,
            kept: vitals.iter().map(kept).collect(),
            list: Vec::new(),
            balance: Balance::RoundRobin,
            panic_below: 0.0,
            rules,
            totals: Totals::default(),
            breaker: Breaker::default(),
            hedges: HedgeWindow::default(),
            limiter: None,
            published: Vec::new(),
        };
        control.list_all();
        control
    }

    pub fn rules(&self) -> Rules {
        self.rules
    }

    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        self.limiter = None;
    }

    /// Lists all endpoints; nothing is said against any of them.
    pub fn list_all(&mut self) {
        (self.balance, self.panic_below) = (Balance::RoundRobin, 0.0);
        let listed = |at| Listed {
            at,
            weight: 1,
            warmth: 100,
            connections_max: None,
            backup: false,
            away: None,
        };
        self.list = (0..self.kept.len()).map(listed).collect();
    }

    /// Lists some of the endpoints, at least one of them neither drained nor unhealthy; where
    /// requests may fail also none at all, or with little room.
    pub fn list_some(&mut self, dice: &mut Dice, gentle: bool) {
        let sure = dice.below(self.kept.len());
        let (nobody, narrow) = (!gentle && dice.one_in(8), !gentle && dice.one_in(3));
        self.list.clear();
        for at in (0..self.kept.len()).filter(|_| !nobody) {
            if at != sure && dice.one_in(3) {
                continue;
            }
            let aways = [None, Some(Standing::Drained), Some(Standing::Unhealthy)];
            self.list.push(Listed {
                at,
                weight: 1 + dice.below(5) as u16,
                warmth: dice.pick(&[100, 100, 20]),
                connections_max: narrow.then(|| 1 + dice.below(2) as u32),
                backup: dice.one_in(4),
                away: dice.pick(&aways).filter(|_| at != sure),
            });
        }
        let balances = [
            Balance::RoundRobin,
            Balance::Random,
            Balance::WeightedRoundRobin,
            Balance::LeastRequest,
            Balance::PeakEwma,
            Balance::Maglev,
            Balance::ConsistentHash(Ring::Default { load_bound: None }),
        ];
        self.balance = dice.pick(&balances);
        self.panic_below = dice.pick(&[0.0, 0.0, 0.6]);
    }

    fn standing(&self, listed: &Listed) -> Standing {
        let conduct = &self.kept[listed.at].conduct;
        match listed.away {
            Some(away) => away,
            _ if self.rules.outlier.is_none() => Standing::Ready,
            _ if conduct.is_ejected() => Standing::Ejected,
            _ if conduct.is_probing() => Standing::Probing,
            _ => Standing::Ready,
        }
    }

    fn standings(&self) -> Vec<Standing> {
        self.list.iter().map(|listed| self.standing(listed)).collect()
    }

    /// The endpoints as they stand now, to be published.
    pub fn endpoints(&mut self) -> Arc<Endpoints> {
        self.published = self.standings();
        let each = self.list.iter().zip(&self.published).map(|(listed, standing)| {
            let address = origin_address(listed.at as u8 + 1);
            Endpoint {
                text: address.to_string().into(),
                address: Address::Ip(address),
                authority: address.to_string().into(),
                tls: None,
                base_path: "".into(),
                weight: listed.weight,
                connections_max: listed.connections_max,
                backup: listed.backup,
                standing: *standing,
                warmth: listed.warmth,
                vitals: Arc::clone(&self.kept[listed.at].vitals),
            }
        });
        let (list, vitals) = (each.collect(), Arc::clone(&self.upstream));
        Arc::new(Endpoints::panicking(self.balance, list, self.panic_below, vitals))
    }

    /// Judges everything; gives the endpoints where they stand otherwise than before.
    pub fn judge(&mut self, now: Moment, ledger: &mut Ledger) -> Option<Arc<Endpoints>> {
        self.judge_endpoints(now, ledger);
        self.judge_latencies(now);
        for listed in &self.list {
            let Kept { vitals, seen, .. } = &mut self.kept[listed.at];
            self.totals.take(vitals, seen);
        }
        self.judge_breaker(now, ledger);
        (self.standings() != self.published).then(|| self.endpoints())
    }

    fn judge_endpoints(&mut self, now: Moment, ledger: &mut Ledger) {
        let Some(rule) = &self.rules.outlier else { return };
        let listed: Vec<&Kept> = self.list.iter().map(|listed| &self.kept[listed.at]).collect();
        let mut conducts: Vec<Conduct> = listed.iter().map(|kept| kept.conduct).collect();
        let reading = |kept: &&Kept| outlier::Reading {
            requests: kept.vitals.picked(),
            errors: kept.vitals.errors(),
            in_a_row: kept.vitals.errors_in_a_row(),
            latency_nanos: kept.vitals.latency_nanos(now),
            trial: kept.vitals.probing().trial(),
        };
        let readings: Vec<outlier::Reading> = listed.iter().map(reading).collect();
        outlier::judge(rule, &mut conducts, &readings, now, |place, change| {
            let probing = listed[place].vitals.probing();
            let event = match change {
                Change::Ejected { .. } => {
                    probing.set(Gate::Open, rule.probes);
                    "ejected"
                }
                Change::Probing => {
                    probing.set(Gate::HalfOpen, rule.probes);
                    "probing"
                }
                Change::MoreProbes => {
                    probing.let_more_pass();
                    "more probes"
                }
                Change::Returned => {
                    probing.set(Gate::Closed, rule.probes);
                    "returned"
                }
            };
            ledger.note(event, || format!("listed {place}: {change:?}"));
        });
        for (listed, conduct) in self.list.iter().zip(conducts) {
            self.kept[listed.at].conduct = conduct;
        }
    }

    fn judge_latencies(&mut self, now: Moment) {
        let counts = self.upstream.latencies().snapshot();
        if let Some(rule) = &self.rules.concurrency {
            let begin = || Limiter::new(rule, counts.clone(), now);
            let limiter = self.limiter.get_or_insert_with(begin);
            let most = limiter.judge(rule, &counts, self.upstream.in_flight(), now);
            self.upstream.set_concurrency(most);
        }
        if let Some(rule) = self.rules.hedge {
            // So few answers would never be enough: what is known of them has to do.
            let known = self.hedges.after(rule, &counts, now).or(counts.quantile(0.5));
            self.upstream.set_hedge_after(known);
        }
    }

    fn judge_breaker(&mut self, now: Moment, ledger: &mut Ledger) {
        let probing = self.upstream.probing();
        let rule = self.rules.breaker.unwrap_or_default();
        let Totals { ended, errors, .. } = self.totals;
        let reading = breaker::Reading { ended, errors, trial: probing.trial() };
        match self.breaker.judge(&rule, reading, now) {
            None => {}
            Some(breaker::Change::MoreProbes) => {
                probing.let_more_pass();
                ledger.note("breaker lets more pass", String::new);
            }
            Some(breaker::Change::To(gate)) => {
                probing.set(gate, rule.probes);
                let event = match gate {
                    Gate::Closed => "breaker closed",
                    Gate::Open => "breaker open",
                    Gate::HalfOpen => "breaker half open",
                };
                ledger.note(event, || format!("{reading:?}"));
            }
        }
    }

    /// Who is not asked as usual, and who is not given its whole share.
    pub fn left_out(&self) -> Option<String> {
        let ready = self.standings().iter().all(|standing| *standing == Standing::Ready);
        let closed = self.breaker.gate() == Gate::Closed;
        (!ready || !closed).then(|| format!("{:?}, {:?}", self.breaker.gate(), self.standings()))
    }
}

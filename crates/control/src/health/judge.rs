//! What is known of the endpoints of one upstream, and what follows from it: who is ready, who is
//! due for a check, what the breaker and the retry budget say.

use gatehouse_core::bell::Bell;
use gatehouse_core::breaker::{self, Breaker, Gate, Totals};
use gatehouse_core::chance::Chance;
use gatehouse_core::concurrency::Limiter;
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::health::{Condition, HealthRule, Record, Verdict, warmth};
use gatehouse_core::hedge::HedgeWindow;
use gatehouse_core::moment::Moment;
use gatehouse_core::outlier::{self, Change, Conduct, OutlierRule, Reason};
use gatehouse_core::plan::UpstreamPlan;
use gatehouse_core::retry_budget::RetryWindow;
use gatehouse_core::vitals::{EndpointVitals, Probing, UpstreamVitals};
use std::sync::Arc;

/// What is kept of one endpoint while it is known.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub vitals: Arc<EndpointVitals>,
    record: Option<Record>,
    conduct: Conduct,
    /// What the upstream's sums know of it.
    seen: Totals,
    next_check: Moment,
    /// A check is under way.
    is_checked: bool,
    /// When it came, or came back, where others were ready.
    returned: Option<Moment>,
}

impl Kept {
    /// Of an endpoint that is new; it warms up from then on, where that is said.
    pub fn newcomer(warms_up_from: Option<Moment>) -> Kept {
        Kept { returned: warms_up_from, ..Kept::default() }
    }

    /// Lets it warm up from now on.
    pub fn warm_up(&mut self, now: Moment) {
        self.returned = Some(now);
    }

    /// Whether it takes requests under these rules, as far as its health goes.
    pub fn standing(&self, upstream: &UpstreamPlan) -> Standing {
        let condition = |rule| self.record.unwrap_or_else(|| Record::new(rule)).condition();
        match &upstream.health {
            Some(rule) if condition(rule) == Condition::Unhealthy => Standing::Unhealthy,
            _ if upstream.outlier.is_none() => Standing::Ready,
            _ if self.conduct.is_ejected() => Standing::Ejected,
            _ if self.conduct.is_probing() => Standing::Probing,
            _ => Standing::Ready,
        }
    }

    /// Whether it is left out because requests to it failed.
    pub fn is_ejected(&self) -> bool {
        self.conduct.is_ejected()
    }

    /// Has `bell` rung by the error that ejects it under this rule.
    pub fn ring(&self, bell: &Arc<Bell>, rule: Option<&OutlierRule>) {
        let row = rule.and_then(|rule| self.conduct.row_that_ejects(rule));
        self.vitals.ring_at(bell, row);
    }

    /// How much of its share it is given now, in tens of percent.
    pub fn warmth(&self, upstream: &UpstreamPlan, now: Moment) -> u8 {
        let warm = |returned| (warmth(returned, upstream.slow_start, now) / 10 * 10).max(10);
        self.returned.map_or(100, warm)
    }

    /// Since when it is to be checked, where it is. A rule that has come since the last check may
    /// want the next one sooner.
    fn due(&mut self, rule: &HealthRule, now: Moment) -> Option<Moment> {
        self.next_check = self.next_check.min(now.after(rule.interval));
        (!self.is_checked && self.next_check <= now).then_some(self.next_check)
    }

    /// A check of it begins.
    pub fn begin_check(&mut self) {
        self.is_checked = true;
    }

    /// Takes in what a check said, nothing where nobody was asked; tells what has changed.
    pub fn checked(
        &mut self,
        rule: &HealthRule,
        verdict: Option<Verdict>,
        why: &str,
        now: Moment,
        jitter: &mut Chance,
    ) -> Option<String> {
        self.is_checked = false;
        self.next_check = now.after(rule.interval - rule.interval / 1_000 * jitter.below(100));
        let verdict = verdict?;
        let is_first = self.record.is_none();
        let record = self.record.get_or_insert_with(|| Record::new(rule));
        if !record.take(verdict, rule, now) {
            // Of one that starts so nobody has said why it stays.
            let stays = is_first && record.condition() == Condition::Unhealthy;
            return (stays && verdict == Verdict::Failed).then(|| format!("unhealthy: {why}"));
        }
        Some(match record.condition() {
            Condition::Healthy => {
                self.returned = Some(now);
                "healthy".to_owned()
            }
            Condition::Unhealthy => format!("unhealthy: {why}"),
        })
    }
}

/// What is kept of an upstream as a whole.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    totals: Totals,
    breaker: Breaker,
    retries: RetryWindow,
    limiter: Option<Box<Limiter>>,
    hedges: HedgeWindow,
}

impl Whole {
    /// What its breaker is.
    pub fn gate(&self) -> Gate {
        self.breaker.gate()
    }
}

/// What judging an upstream has brought.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// What an operator should know, subject first.
    pub news: Vec<String>,
    /// Endpoints that are to be checked: since when, and their place.
    pub due: Vec<(Moment, usize)>,
    /// Whether endpoints have to be published anew.
    pub changed: bool,
}

/// Judges one upstream. `kept` holds what is kept of each endpoint of `published`, in its order.
pub(crate) fn judge(
    upstream: &UpstreamPlan,
    published: &Endpoints,
    whole: &mut Whole,
    kept: &mut [&mut Kept],
    now: Moment,
) -> Judged {
    let mut judged = Judged::default();
    let subject = |place: usize| {
        format!("upstream {}, endpoint {}", upstream.name, published.list()[place].text)
    };
    if let Some(rule) = &upstream.outlier {
        let mut conducts: Vec<Conduct> = kept.iter().map(|kept| kept.conduct).collect();
        let readings: Vec<outlier::Reading> =
            published.list().iter().map(|endpoint| reading(endpoint, now)).collect();
        let news = &mut judged.news;
        outlier::judge(rule, &mut conducts, &readings, now, |place, change| {
            match change {
                // It is judged by what it does now: the average falls more slowly than windows
                // pass, and what it once took would eject it again and again.
                Change::Probing => kept[place].vitals.forget_latency(),
                Change::Returned => kept[place].returned = Some(now),
                Change::Ejected { .. } | Change::MoreProbes => {}
            }
            tell(kept[place].vitals.probing(), change, rule.probes);
            if change == Change::MoreProbes {
                // All else is published.
                published.vitals().call_waiting();
            }
            let said = said(change, rule);
            news.extend(said.map(|said| format!("{}: {said}", subject(place))));
        });
        kept.iter_mut().zip(conducts).for_each(|(kept, conduct)| kept.conduct = conduct);
    }
    if let Some(rule) = &upstream.health {
        for (place, kept) in kept.iter_mut().enumerate() {
            judged.due.extend(kept.due(rule, now).map(|since| (since, place)));
        }
    }
    judge_latencies(upstream, published.vitals(), whole, now);
    for kept in kept.iter_mut() {
        whole.totals.take(&kept.vitals, &mut kept.seen);
    }
    judge_whole(upstream, published.vitals(), whole, now, &mut judged);
    judged.changed = published.list().iter().zip(kept.iter()).any(|(endpoint, kept)| {
        endpoint.standing != Standing::Drained
            && (endpoint.standing != kept.standing(upstream)
                || endpoint.warmth != kept.warmth(upstream, now))
    });
    judged
}

/// What follows from how long answers take: how many may be in flight, and when a second endpoint
/// is asked.
fn judge_latencies(
    upstream: &UpstreamPlan,
    vitals: &UpstreamVitals,
    whole: &mut Whole,
    now: Moment,
) {
    if !upstream.counts_latencies() {
        whole.limiter = None;
        return;
    }
    let counts = vitals.latencies().snapshot();
    if let Some(rule) = &upstream.concurrency {
        let begin = || Box::new(Limiter::new(rule, counts.clone(), now));
        let limiter = whole.limiter.get_or_insert_with(begin);
        vitals.set_concurrency(limiter.judge(rule, &counts, vitals.in_flight(), now));
    }
    if let Some(rule) = upstream.hedge {
        vitals.set_hedge_after(whole.hedges.after(rule, &counts, now));
    }
}

/// The breaker and the retry budget.
fn judge_whole(
    upstream: &UpstreamPlan,
    vitals: &UpstreamVitals,
    whole: &mut Whole,
    now: Moment,
    judged: &mut Judged,
) {
    let Totals { picked, ended, errors } = whole.totals;
    let allowed = whole.retries.allowance(upstream.retry.budget, picked, vitals.retries(), now);
    vitals.allow_retries(allowed);
    let rule = upstream.breaker.unwrap_or_default();
    let trial = vitals.probing().trial();
    let reading = breaker::Reading { ended, errors, trial };
    let gate = match whole.breaker.judge(&rule, reading, now) {
        None => return,
        Some(breaker::Change::MoreProbes) => return vitals.probing().let_more_pass(),
        Some(breaker::Change::To(gate)) => gate,
    };
    vitals.probing().set(gate, rule.probes);
    let state = match gate {
        Gate::Closed => "breaker closed".to_owned(),
        Gate::Open => format!("breaker open for {} ms", rule.open_for.as_millis()),
        Gate::HalfOpen => format!("breaker half open: {} may try", requests(rule.probes)),
    };
    judged.news.push(format!("upstream {}: {state}", upstream.name));
}

fn reading(endpoint: &Endpoint, now: Moment) -> outlier::Reading {
    let vitals = &endpoint.vitals;
    outlier::Reading {
        requests: vitals.picked(),
        errors: vitals.errors(),
        in_a_row: vitals.errors_in_a_row(),
        latency_nanos: vitals.latency_nanos(now),
        trial: vitals.probing().trial(),
    }
}

/// Tells the data path whom a change lets pass.
fn tell(probing: &Probing, change: Change, probes: u32) {
    match change {
        Change::Ejected { .. } => probing.set(Gate::Open, probes),
        Change::Probing => probing.set(Gate::HalfOpen, probes),
        Change::MoreProbes => probing.let_more_pass(),
        Change::Returned => probing.set(Gate::Closed, probes),
    }
}

fn said(change: Change, rule: &OutlierRule) -> Option<String> {
    Some(match change {
        Change::MoreProbes => return None,
        Change::Returned => "no longer ejected".to_owned(),
        Change::Probing => format!("probing: it is given {}", requests(rule.probes)),
        Change::Ejected { reason, term } => {
            let why = match reason {
                Reason::Consecutive(count) => format!("{count} errors in a row"),
                Reason::ErrorRate(rate) => format!("{:.0} % errors", rate * 100.0),
                Reason::Slow(times) => format!("{times:.1} times slower than the others"),
                Reason::Probe => "a probe failed".to_owned(),
            };
            format!("ejected for {} ms: {why}", term.as_millis())
        }
    })
}

fn requests(count: u32) -> String {
    format!("{count} request{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_core::concurrency::ConcurrencyRule;
    use gatehouse_core::health::Check;
    use gatehouse_core::hedge::HedgeRule;
    use gatehouse_core::plan::{Address, Balance, Speaks};
    use gatehouse_core::queue::{Priority, Turn};
    use std::task::Waker;
    use std::time::Duration;

    #[test]
    fn what_answers_take_says_when_to_hedge_and_how_many_may_be_in_flight() {
        let published = Endpoints::new(Balance::Random, Vec::new(), Arc::default());
        let (vitals, mut whole) = (published.vitals(), Whole::default());
        let mut upstream = UpstreamPlan::of("api", Vec::new());
        upstream.concurrency = Some(ConcurrencyRule { max: 40, ..ConcurrencyRule::default() });
        upstream.hedge = Some(HedgeRule::Percentile(0.5));
        for tick in 1..=100 {
            (0..20).for_each(|_| vitals.latencies().observe(Duration::from_millis(10)));
            assert!(vitals.try_enter(None));
            let now = Moment::START.after(Duration::from_millis(100 * tick));
            judge(&upstream, &published, &mut whole, &mut [], now);
        }
        let after = vitals.hedge_after().expect("it is known");
        assert!((10_000..11_300).contains(&after.as_micros()), "{after:?}");
        assert_eq!(vitals.concurrency(), Some(40), "it is used up, and no slower for that");
        (0..100).for_each(|_| vitals.leave());
    }

    fn endpoint(index: u8) -> Endpoint {
        let address = std::net::SocketAddr::from(([10, 0, 0, index], 80));
        Endpoint {
            text: address.to_string().into(),
            address: Address::Ip(address),
            authority: "".into(),
            tls: None,
            base_path: "".into(),
            weight: 1,
            connections_max: None,
            backup: false,
            standing: Standing::Ready,
            warmth: 100,
            vitals: Arc::default(),
        }
    }

    #[test]
    fn why_an_endpoint_stays_what_it_started_as_is_said_once() {
        let rule = HealthRule {
            check: Check::Connect,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 1,
            start: Condition::Unhealthy,
            speaks: Speaks::default(),
            announce: None,
        };
        let (mut kept, mut chance) = (Kept::default(), Chance::seeded(1));
        let mut check =
            |verdict| kept.checked(&rule, Some(verdict), "why", Moment::START, &mut chance);
        assert_eq!(check(Verdict::Failed), Some("unhealthy: why".to_owned()));
        assert_eq!(check(Verdict::Failed), None);
        assert_eq!(check(Verdict::Passed), Some("healthy".to_owned()));
    }

    #[test]
    fn whoever_waits_is_called_when_more_probes_may_pass() {
        let list = (1..=2).map(endpoint).collect();
        let published = Endpoints::new(Balance::Random, list, Arc::default());
        let (upstream, vitals) = (UpstreamPlan::of("api", Vec::new()), published.vitals());
        let of = |endpoint: &Endpoint| Kept { vitals: endpoint.vitals.clone(), ..Kept::default() };
        let mut kept: Vec<Kept> = published.list().iter().map(of).collect();
        let ejected = &published.list()[0].vitals;
        (0..5).for_each(|_| ejected.count_failure());
        let waker = Waker::noop();
        let ticket = vitals.join_queue(Priority::Normal, 9, waker).expect("room");
        assert_eq!(vitals.turn(ticket, waker), Turn::Called, "the line was empty");
        let (mut whole, mut calls) = (Whole::default(), 0);
        for tick in 1..=400 {
            let now = Moment::START.after(Duration::from_millis(100 * tick));
            let is_probing = ejected.probing().gate() == Gate::HalfOpen;
            let mut kept: Vec<&mut Kept> = kept.iter_mut().collect();
            judge(&upstream, &published, &mut whole, &mut kept, now);
            let is_called = vitals.turn(ticket, waker) == Turn::Called;
            assert!(is_probing || !is_called);
            calls += u32::from(is_called);
            while is_probing && ejected.probing().pass().is_some() {}
        }
        assert_eq!(calls, 2, "after 20 and 30 seconds");
    }

    #[test]
    fn what_an_endpoint_once_took_ejects_it_once() {
        let list = (1..=3).map(endpoint).collect();
        let published = Endpoints::new(Balance::Random, list, Arc::default());
        let mut upstream = UpstreamPlan::of("api", Vec::new());
        upstream.outlier = Some(OutlierRule {
            consecutive_errors: 0,
            latency_factor: Some(3.0),
            window: Duration::from_secs(1),
            requests_min: 5,
            eject_for: Duration::from_secs(1),
            ..OutlierRule::default()
        });
        let of = |endpoint: &Endpoint| Kept { vitals: endpoint.vitals.clone(), ..Kept::default() };
        let mut kept: Vec<Kept> = published.list().iter().map(of).collect();
        let mut whole = Whole::default();
        let mut news = Vec::new();
        for tick in 1..=300 {
            let now = Moment::START.after(Duration::from_millis(100 * tick));
            for (place, kept) in kept.iter().enumerate() {
                let millis = if place == 0 && tick < 15 { 300 } else { 10 };
                let probing = kept.vitals.probing();
                match kept.standing(&upstream) {
                    Standing::Ejected => continue,
                    Standing::Probing => kept.vitals.went_well(probing.probe()),
                    _ => {}
                }
                for _ in 0..3 {
                    kept.vitals.count_pick();
                    kept.vitals.observe(Duration::from_millis(millis), now);
                }
            }
            let mut kept: Vec<&mut Kept> = kept.iter_mut().collect();
            news.extend(judge(&upstream, &published, &mut whole, &mut kept, now).news);
        }
        let ejected = news.iter().filter(|one| one.contains("ejected for")).count();
        assert_eq!(ejected, 1, "{news:?}");
        assert_eq!(kept[0].standing(&upstream), Standing::Ready);
    }
}

//! From endpoints as written or found to endpoints that can be dialled; what is known of whoever
//! stays is kept across reloads.
//!
//! Everything that publishes endpoints does so under the registry's lock, so that nothing made
//! from an old plan can come after a new one.

mod checks;
mod counts;
mod found;

use crate::health::judge::{Judged, Kept, Whole, judge};
use crate::same::same_list;
use checks::Checks;
use counts::Before;
pub(crate) use counts::Counts;
use gatehouse_core::address::Address;
use gatehouse_core::bell::Bell;
use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::health::{HealthRule, Verdict};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{EndpointSpec, Plan, UpstreamId, UpstreamPlan};
use gatehouse_core::vitals::{EndpointVitals, UpstreamVitals};
use gatehouse_proxy::gate::Handle;
use gatehouse_wire::timer::now;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a start or a reload waits for new names; those that take longer come in later.
pub const RESOLVE_AT_START: Duration = Duration::from_secs(2);

/// A name to resolve: host and port.
pub(crate) type Name = (Arc<str>, u16);

/// The last good addresses of each name, how everything is doing, and who is drained.
#[derive(Debug, Default)]
struct Known {
    names: HashMap<Name, Vec<SocketAddr>>,
    /// What sources have found, by upstream and source.
    sets: HashMap<(Arc<str>, u64), Arc<[EndpointSpec]>>,
    upstreams: HashMap<Arc<str>, Upstream>,
    /// Upstream and endpoint, as written.
    drained: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Rung where somebody has to be judged at once.
    bell: Arc<Bell>,
}

/// What is kept of an upstream.
#[derive(Debug, Default)]
struct Upstream {
    vitals: Arc<UpstreamVitals>,
    /// By an endpoint's text and where it is.
    endpoints: HashMap<(Arc<str>, Address), Kept>,
    whole: Whole,
    counts: Counts,
    published: Option<Arc<Endpoints>>,
    /// What was found last, by this source or the one before.
    found: Arc<[EndpointSpec]>,
}

/// Makes [`Endpoints`] and remembers what they are made from.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<Known>>);

/// A check that is due.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// What it is called now; a reload may call it otherwise.
    pub upstream: Arc<str>,
    pub endpoint: Endpoint,
    pub rule: HealthRule,
}

/// Whether an endpoint is to be given requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It is drained.
    Off,
    /// It is not, or no more.
    On,
}

/// What became of asking for an endpoint by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It is as asked.
    Done,
    /// It was so already.
    Already,
    /// There is no such upstream.
    NoUpstream,
    /// The upstream has no such endpoint.
    NoEndpoint,
}

impl Registry {
    /// Endpoints for every upstream of the first plan, as far as they are known.
    pub fn endpoints(&self, plan: &Plan) -> Vec<Arc<Endpoints>> {
        let mut known = self.lock();
        plan.upstreams.iter().map(|upstream| known.build(upstream, now())).collect()
    }

    /// Hands `publish` the endpoints of a new plan. An upstream takes over the state of the one of
    /// `old` that `upstream_of` names; what no upstream continues is forgotten, but for what
    /// exchanges still hold.
    pub fn adopt(
        &self,
        old: &Plan,
        plan: &Plan,
        upstream_of: &[Option<UpstreamId>],
        publish: impl FnOnce(Vec<Arc<Endpoints>>),
    ) {
        let mut known = self.lock();
        known.succeed(old, plan, upstream_of);
        publish(plan.upstreams.iter().map(|upstream| known.build(upstream, now())).collect());
        let names = known.names_of(plan);
        known.names.retain(|name, _| names.binary_search(name).is_ok());
        known.keep_sets_of(plan);
    }

    /// Drains an endpoint, or gives it requests again. What was drained stays so across reloads.
    pub fn set_duty(&self, handle: &Handle, upstream: &str, endpoint: &str, duty: Duty) -> Named {
        let mut known = self.lock();
        let plan = handle.observe().plan;
        let Some(at) = plan.upstreams.iter().position(|other| *other.name == *upstream) else {
            return Named::NoUpstream;
        };
        let found = &plan.upstreams[at];
        let specs = known.specs(found);
        let Some(spec) = specs.iter().find(|spec| *spec.text == *endpoint) else {
            return Named::NoEndpoint;
        };
        let key = (Arc::clone(&found.name), Arc::clone(&spec.text));
        let new = match duty {
            Duty::Off => known.drained.insert(key),
            Duty::On => known.drained.remove(&key),
        };
        if !new {
            return Named::Already;
        }
        if let Some(kept) = known.upstreams.get_mut(upstream).filter(|_| duty == Duty::On) {
            kept.takes_back(endpoint, now());
        }
        let endpoints = known.build(found, now());
        handle.set_endpoints(&plan, UpstreamId(at as u32), endpoints);
        Named::Done
    }

    /// Begins with these drained: upstream and endpoint.
    pub(crate) fn set_drained(&self, drained: Vec<(String, String)>) {
        let each = drained.into_iter().map(|(upstream, text)| (upstream.into(), text.into()));
        self.lock().drained = each.collect();
    }

    /// Who is drained: upstream and endpoint.
    pub fn drained(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.lock().drained.iter().cloned().collect()
    }

    /// What is rung where an upstream has to be judged at once.
    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.lock().bell)
    }

    /// Judges every upstream; publishes the endpoints of those where that has changed something.
    /// Gives the checks that are due, `room` at most and those first that have been for longest,
    /// and what an operator should know.
    pub(crate) fn judge(
        &self,
        handle: &Handle,
        now: Moment,
        room: usize,
    ) -> (Vec<Due>, Vec<String>) {
        let mut known = self.lock();
        let plan = handle.observe().plan;
        let (mut checks, mut news) = (Checks::default(), Vec::new());
        for (index, upstream) in plan.upstreams.iter().enumerate() {
            let Some(judged) = known.judge(upstream, now) else { continue };
            checks.add(index, known.published(upstream), &judged.due);
            news.extend(judged.news);
            if judged.changed {
                news.extend(known.publish(handle, &plan, index, now));
            }
        }
        (checks.begin(&plan, &mut known, room), news)
    }

    /// Takes in what a check said. What it was of may be gone by then, or be called otherwise.
    pub(crate) fn checked(
        &self,
        handle: &Handle,
        due: &Due,
        (verdict, why): (Option<Verdict>, &str),
        now: Moment,
        jitter: &mut Chance,
    ) -> Vec<String> {
        let mut known = self.lock();
        let plan = handle.observe().plan;
        let Some(name) = known.called_now(due) else { return Vec::new() };
        known.count_check(&name, verdict);
        let kept = known.kept_of(&name, &due.endpoint);
        let Some(change) = kept.and_then(|kept| kept.checked(&due.rule, verdict, why, now, jitter))
        else {
            return Vec::new();
        };
        let mut news = vec![format!("upstream {name}, endpoint {}: {change}", due.endpoint.text)];
        let found = plan.upstreams.iter().position(|upstream| upstream.name == name);
        news.extend(found.and_then(|index| known.publish(handle, &plan, index, now)));
        news
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Gives the upstreams of a new plan what is kept of those they continue.
    fn succeed(&mut self, old: &Plan, plan: &Plan, upstream_of: &[Option<UpstreamId>]) {
        let mut before = std::mem::take(&mut self.upstreams);
        let drained = std::mem::take(&mut self.drained);
        for (upstream, of) in plan.upstreams.iter().zip(upstream_of) {
            let Some(old) = of.map(|id| old.upstream(id)) else { continue };
            if let Some(kept) = before.remove(&old.name) {
                self.upstreams.insert(Arc::clone(&upstream.name), kept);
            }
            for (_, text) in drained.iter().filter(|(of, _)| *of == old.name) {
                // What is found may be away just now, and come back.
                let may_come = upstream.discovery.is_some();
                if may_come || upstream.endpoints.iter().any(|spec| spec.text == *text) {
                    self.drained.insert((Arc::clone(&upstream.name), Arc::clone(text)));
                }
            }
        }
        before.retain(|_, upstream| upstream.is_busy());
        for (name, upstream) in before {
            self.upstreams.entry(name).or_insert(upstream);
        }
    }

    /// Judges one upstream, where it has endpoints.
    fn judge(&mut self, upstream: &UpstreamPlan, now: Moment) -> Option<Judged> {
        let Upstream { endpoints, whole, counts, published, .. } =
            self.upstreams.get_mut(&upstream.name)?;
        let published = published.as_ref()?;
        let mut by_vitals: HashMap<*const EndpointVitals, &mut Kept> =
            endpoints.values_mut().map(|kept| (Arc::as_ptr(&kept.vitals), kept)).collect();
        let list = published.list();
        let mut kept: Vec<&mut Kept> = list
            .iter()
            .filter_map(|endpoint| by_vitals.remove(&Arc::as_ptr(&endpoint.vitals)))
            .collect();
        if kept.len() != list.len() {
            return None;
        }
        let before = Before::of(upstream, whole, &kept);
        let judged = judge(upstream, published, whole, &mut kept, now);
        counts.judged(&before, whole, &kept);
        kept.iter().for_each(|kept| kept.ring(&self.bell, upstream.outlier.as_ref()));
        Some(judged)
    }

    fn published(&self, upstream: &UpstreamPlan) -> Option<&Arc<Endpoints>> {
        self.upstreams.get(&upstream.name)?.published.as_ref()
    }

    /// Publishes an upstream's endpoints as they stand now. Tells where none or too few are ready.
    fn publish(
        &mut self,
        handle: &Handle,
        plan: &Arc<Plan>,
        index: usize,
        now: Moment,
    ) -> Option<String> {
        let upstream = &plan.upstreams[index];
        let panicked = self.upstreams.get(&upstream.name)?.published.as_ref()?.panics();
        let endpoints = self.build(upstream, now);
        let news = (endpoints.panics() && !panicked).then(|| {
            let list = endpoints.list();
            let ready = list.iter().filter(|one| one.standing == Standing::Ready).count();
            format!(
                "upstream {}: {ready} of {} endpoints are ready; all are asked that may be",
                upstream.name,
                list.len()
            )
        });
        handle.set_endpoints(plan, UpstreamId(index as u32), endpoints);
        news
    }

    /// The endpoints of an upstream; those that are published where nothing has changed.
    fn build(&mut self, upstream: &UpstreamPlan, now: Moment) -> Arc<Endpoints> {
        let specs = self.specs(upstream);
        let mut kept = self.upstreams.remove(&upstream.name).unwrap_or_default();
        kept.note(upstream, &specs);
        let warms_up_from = kept.has_ready().then_some(now);
        let list: Vec<Endpoint> = specs
            .iter()
            .flat_map(|spec| self.addresses(spec).into_iter().map(move |address| (spec, address)))
            .map(|(spec, address)| {
                let key = (Arc::clone(&spec.text), address.clone());
                let new = || Kept::newcomer(warms_up_from);
                let kept = kept.endpoints.entry(key).or_insert_with(new);
                self.endpoint(upstream, kept, spec, address, now)
            })
            .collect();
        kept.forget_all_but(&list);
        let same = kept.published.as_ref().filter(|published| {
            published.balance() == upstream.balance
                && published.panic_below() == upstream.panic_below
                && same_list(published.list(), &list)
        });
        let endpoints = same.cloned().unwrap_or_else(|| {
            let (share, vitals) = (upstream.panic_below, Arc::clone(&kept.vitals));
            Arc::new(Endpoints::panicking(upstream.balance, list, share, vitals))
        });
        kept.published = Some(Arc::clone(&endpoints));
        self.upstreams.insert(Arc::clone(&upstream.name), kept);
        endpoints
    }

    fn addresses(&self, spec: &EndpointSpec) -> Vec<Address> {
        match &spec.address {
            Address::Name { host, port } => {
                let found = self.names.get(&(Arc::clone(host), *port));
                found.into_iter().flatten().copied().map(Address::Ip).collect()
            }
            address => vec![address.clone()],
        }
    }

    fn endpoint(
        &self,
        upstream: &UpstreamPlan,
        kept: &Kept,
        spec: &EndpointSpec,
        address: Address,
        now: Moment,
    ) -> Endpoint {
        let authority = match &spec.address {
            Address::Ip(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
            Address::Name { host, port } => format!("{host}:{port}"),
        };
        let drained = (Arc::clone(&upstream.name), Arc::clone(&spec.text));
        let standing = match self.drained.contains(&drained) {
            true => Standing::Drained,
            false => kept.standing(upstream),
        };
        Endpoint {
            text: Arc::clone(&spec.text),
            address,
            authority: authority.into(),
            tls: spec.tls.clone(),
            base_path: Arc::clone(&spec.base_path),
            weight: spec.weight,
            connections_max: spec.connections_max,
            backup: spec.backup,
            standing,
            warmth: kept.warmth(upstream, now),
            vitals: Arc::clone(&kept.vitals),
        }
    }
}

impl Upstream {
    /// Whether somebody is ready, beside whom others warm up.
    fn has_ready(&self) -> bool {
        let published = self.published.iter().flat_map(|published| published.list());
        published.into_iter().any(|endpoint| endpoint.standing == Standing::Ready)
    }

    /// An endpoint is drained no more.
    fn takes_back(&mut self, text: &str, now: Moment) {
        if !self.has_ready() {
            return;
        }
        let named = self.endpoints.iter_mut().filter(|((own, _), _)| **own == *text);
        named.for_each(|(_, kept)| kept.warm_up(now));
    }

    fn is_busy(&self) -> bool {
        self.vitals.in_flight() > 0 || self.endpoints.values().any(|kept| is_busy(&kept.vitals))
    }

    /// Forgets endpoints that are gone, but not while an exchange or a connection counts in them:
    /// one that comes back meanwhile must know of these.
    fn forget_all_but(&mut self, list: &[Endpoint]) {
        let listed: std::collections::HashSet<*const EndpointVitals> =
            list.iter().map(|endpoint| Arc::as_ptr(&endpoint.vitals)).collect();
        let is_listed = |kept: &Kept| listed.contains(&Arc::as_ptr(&kept.vitals));
        self.endpoints.retain(|_, kept| is_busy(&kept.vitals) || is_listed(kept));
    }
}

/// Whether an exchange or a connection counts in these.
fn is_busy(vitals: &EndpointVitals) -> bool {
    vitals.in_flight() > 0 || vitals.connections() > 0
}

#[cfg(test)]
mod tests;

//! Endpoints that are found rather than written: sources are asked on a thread of their own, and
//! what they answer is published whole, through the [`Registry`].
//!
//! A source ([`source`]) reports whole sets, or why it has none. The keeper takes the newest set
//! of each, so that nothing queues; judges it ([`ledger`]); and publishes it. Whatever goes wrong,
//! the last good set stays. Nothing here waits for a source but a start and a reload, and these
//! not for long.

mod consul;
mod content;
mod dns;
pub(crate) mod etcd;
mod eyeballs;
mod failures;
mod file;
mod found;
mod keeper;
mod kept;
mod ledger;
mod named;
mod orders;
mod reports;
mod shown;
mod source;
mod task;
mod zookeeper;

pub(crate) use shown::{Seen, json, metrics, names_json};

use crate::config::DiscoverySpec;
use crate::registry::{Name, RESOLVE_AT_START, Registry};
use crate::steer::orders::{Answer, Reply};
use crate::succession::FoundBefore;
use found::Set;
use gatehouse_core::plan::Plan;
use gatehouse_proxy::gate::Handle;
use keeper::Keeper;
use orders::{Order, Orders};
use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};

/// Where the endpoints of one upstream come from.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub upstream: Arc<str>,
    pub spec: Arc<DiscoverySpec>,
    /// As the plan has it.
    pub id: u64,
}

/// What a plan wants found.
pub(crate) fn wanted(plan: &Plan, specs: &[Option<Arc<DiscoverySpec>>]) -> Vec<Wanted> {
    let each = plan.upstreams.iter().zip(specs);
    let each = each.filter_map(|(upstream, spec)| {
        let (spec, discovery) = spec.as_ref().zip(upstream.discovery.as_ref())?;
        let (upstream, spec) = (Arc::clone(&upstream.name), Arc::clone(spec));
        Some(Wanted { upstream, spec, id: discovery.id })
    });
    each.collect()
}

/// Follows sources until the last of its clones is gone.
#[derive(Clone, Debug)]
pub(crate) struct Discovery(Arc<Shared>);

/// What the thread shares with whoever steers it.
#[derive(Debug)]
struct Shared {
    common: Arc<Common>,
}

#[derive(Debug)]
struct Common {
    registry: Registry,
    /// The data plane, once there is one.
    handle: OnceLock<Handle>,
    seen: Seen,
    orders: Orders,
    seed: u64,
    /// What a process before this one has found, by upstream and source, until it is asked here.
    inherited: Mutex<HashMap<(String, String), Set>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.common.orders.close();
    }
}

impl Discovery {
    /// One that publishes through `registry`.
    pub fn new(registry: Registry, seed: u64) -> Discovery {
        let (seen, orders) = (Seen::default(), Orders::default());
        let (handle, inherited) = (OnceLock::new(), Mutex::default());
        let common = Common { registry, handle, seen, orders, seed, inherited };
        Discovery(Arc::new(Shared { common: Arc::new(common) }))
    }

    /// What is shown of it.
    pub fn seen(&self) -> Seen {
        Arc::clone(&self.0.common.seen)
    }

    /// What was found last, for a process that takes over.
    pub fn found(&self) -> Vec<FoundBefore> {
        let seen = shown::lock(&self.0.common.seen);
        let each = seen.sources.iter().filter_map(|shown| {
            let set = shown::lock(&shown.ledger).last.clone()?;
            Some(FoundBefore {
                upstream: shown.upstream.to_string(),
                source: shown.source.to_string(),
                endpoints: set.lines(),
            })
        });
        each.collect()
    }

    /// Begins with what a process before this one has found.
    pub fn inherit(&self, found: Vec<FoundBefore>) {
        let mut inherited = shown::lock(&self.0.common.inherited);
        for FoundBefore { upstream, source, endpoints } in found {
            inherited.insert((upstream, source), Set::of_lines(&endpoints));
        }
    }

    /// Publishes to this data plane from now on.
    pub fn attach(&self, handle: Handle) {
        if self.0.common.handle.set(handle).is_ok() {
            self.tell(Order::Republish);
        }
    }

    /// Asks these too, and resolves these names; waits until each has answered or failed, but not
    /// for long. Of those that are followed already nothing is waited for.
    pub fn prepare(&self, wanted: Vec<Wanted>, names: Vec<Name>) {
        if wanted.is_empty() && names.is_empty() {
            return;
        }
        let (done, when_done) = channel();
        self.tell(Order::Prepare { wanted, names, done });
        // One that hangs is left to itself; what it finds still counts.
        let _ = when_done.recv_timeout(RESOLVE_AT_START);
    }

    /// Asks these and resolves these names from now on, and no others. What has not changed goes
    /// on as it was.
    pub fn follow(&self, wanted: Vec<Wanted>, names: Vec<Name>) {
        self.tell(Order::Follow { wanted, names });
    }

    /// Asks nothing more: another process does.
    pub fn stop(&self) {
        self.0.common.orders.close();
    }

    /// Takes what is held back of an upstream, because somebody says that it is so.
    pub fn accept(&self, upstream: String, reply: Reply) {
        if let Some(Order::Accept(_, reply)) = self.tell(Order::Accept(upstream, reply)) {
            reply.give(Answer::line(409, "no endpoints are discovered"));
        }
    }

    /// Tells the thread, which is started where there is something for it to do. Gives an order
    /// back that nobody will carry out.
    fn tell(&self, order: Order) -> Option<Order> {
        let common = &self.0.common;
        let starts = match &order {
            Order::Prepare { wanted, names, .. } | Order::Follow { wanted, names } => {
                !(wanted.is_empty() && names.is_empty())
            }
            Order::Republish | Order::Accept(..) => false,
        };
        let start = || {
            let common = Arc::clone(common);
            let builder = std::thread::Builder::new().name("discovery".to_owned());
            let started = builder.spawn(move || Keeper::new(common).run());
            let failed =
                |error| eprintln!("error: no endpoints are discovered: no thread: {error}");
            started.map(drop).map_err(failed)
        };
        common.orders.post(order, if starts { Some(&start) } else { None })
    }
}

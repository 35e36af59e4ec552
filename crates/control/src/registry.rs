//! From endpoints as written to endpoints that can be dialled: names resolved off the data path,
//! vitals kept for whoever stays.

use gatehouse_core::address::Address;
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::plan::{EndpointSpec, Plan, UpstreamId, UpstreamPlan};
use gatehouse_core::vitals::{EndpointVitals, UpstreamVitals};
use gatehouse_proxy::gate::Handle;
use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often names are resolved again.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(10);

/// How long a start waits for names; those that take longer come in later.
pub const RESOLVE_AT_START: Duration = Duration::from_secs(2);

/// Addresses one name may stand for.
const ADDRESSES_MAX: usize = 64;

/// An endpoint's identity: its upstream, its text, where it is.
type Key = (Arc<str>, Arc<str>, Address);

/// The last good addresses of each name, and how every endpoint is doing.
#[derive(Debug, Default)]
struct Known {
    names: HashMap<(Arc<str>, u16), Vec<SocketAddr>>,
    vitals: HashMap<Key, Arc<EndpointVitals>>,
    upstreams: HashMap<Arc<str>, Arc<UpstreamVitals>>,
}

/// Makes [`Endpoints`] and remembers what they are made from.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<Known>>);

impl Registry {
    /// Endpoints for every upstream of a plan. Waits for names, but not for long.
    pub fn endpoints(&self, plan: &Plan) -> Vec<Arc<Endpoints>> {
        let names = names(plan);
        if !names.is_empty() {
            let registry = self.clone();
            let (done, when_done) = channel();
            // A resolver that hangs is left to itself; what it finds still counts.
            std::thread::spawn(move || {
                registry.resolve(&names);
                let _ = done.send(());
            });
            let _ = when_done.recv_timeout(RESOLVE_AT_START);
        }
        plan.upstreams.iter().map(|upstream| self.build(upstream)).collect()
    }

    /// Resolves these names. A name that does not resolve keeps its last good addresses. Says
    /// whether anything has changed.
    fn resolve(&self, names: &[(Arc<str>, u16)]) -> bool {
        let mut changed = false;
        for (host, port) in names {
            let Ok(found) = (&**host, *port).to_socket_addrs() else { continue };
            let mut found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
            found.sort_unstable();
            found.dedup();
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = known.names.entry((Arc::clone(host), *port)).or_default();
            if !found.is_empty() && *slot != found {
                *slot = found;
                changed = true;
            }
        }
        changed
    }

    fn build(&self, upstream: &UpstreamPlan) -> Arc<Endpoints> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = Vec::new();
        for spec in &upstream.endpoints {
            for address in known.addresses(spec) {
                list.push(known.endpoint(upstream, spec, address));
            }
        }
        let vitals = Arc::clone(known.upstreams.entry(Arc::clone(&upstream.name)).or_default());
        Arc::new(Endpoints::new(upstream.balance, list, vitals))
    }
}

impl Known {
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
        &mut self,
        upstream: &UpstreamPlan,
        spec: &EndpointSpec,
        address: Address,
    ) -> Endpoint {
        let key = (Arc::clone(&upstream.name), Arc::clone(&spec.text), address.clone());
        let authority = match &spec.address {
            Address::Ip(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
            Address::Name { host, port } => format!("{host}:{port}"),
        };
        Endpoint {
            text: Arc::clone(&spec.text),
            address,
            authority: authority.into(),
            base_path: Arc::clone(&spec.base_path),
            weight: spec.weight,
            connections_max: spec.connections_max,
            backup: spec.backup,
            standing: Standing::Ready,
            warmth: 100,
            vitals: Arc::clone(self.vitals.entry(key).or_default()),
        }
    }
}

fn names(plan: &Plan) -> Vec<(Arc<str>, u16)> {
    let specs = plan.upstreams.iter().flat_map(|upstream| &upstream.endpoints);
    let mut names: Vec<_> = specs
        .filter_map(|spec| match &spec.address {
            Address::Name { host, port } => Some((Arc::clone(host), *port)),
            Address::Ip(_) | Address::Unix(_) => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Resolves names again and again, until it is dropped.
#[derive(Debug)]
pub struct Resolver {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Starts it where the plan has names; publishes what changes.
    pub fn start(registry: Registry, handle: Handle) -> Resolver {
        let plan = handle.observe().plan;
        let names = names(&plan);
        if names.is_empty() {
            return Resolver { stop: None, thread: None };
        }
        let (stop, stopped) = channel();
        let work = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(RESOLVE_EVERY) {
                if registry.resolve(&names) {
                    publish(&registry, &plan, &handle);
                }
            }
        };
        let thread = std::thread::Builder::new().name("resolver".to_owned()).spawn(work).ok();
        Resolver { stop: Some(stop), thread }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A look-up may hang for as long as the system's resolver likes; nobody waits for it.
        drop(self.thread.take());
    }
}

fn publish(registry: &Registry, plan: &Plan, handle: &Handle) {
    for (index, upstream) in plan.upstreams.iter().enumerate() {
        if upstream.endpoints.iter().any(|spec| matches!(spec.address, Address::Name { .. })) {
            handle.set_endpoints(UpstreamId(index as u32), registry.build(upstream));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ProcessEnv, load_text};

    fn plan(endpoints: &str) -> Plan {
        let text = format!(
            "[listeners.web]\nbind = \"127.0.0.1:0\"\n\
             [[routes]]\nupstream = {{ endpoints = [{endpoints}] }}\n"
        );
        load_text("test.toml", &text, &ProcessEnv).lowered.expect("a good configuration").plan
    }

    #[test]
    fn a_name_becomes_its_addresses_and_one_that_does_not_resolve_becomes_none() {
        let registry = Registry::default();
        let built =
            registry.endpoints(&plan("\"localhost:81\", \"127.0.0.1:82\", \"no.invalid:83\""));
        let texts: Vec<&str> = built[0].list().iter().map(|endpoint| &*endpoint.text).collect();
        assert!(texts.contains(&"localhost:81") && texts.contains(&"127.0.0.1:82"), "{texts:?}");
        assert!(!texts.contains(&"no.invalid:83"), "{texts:?}");
    }

    #[test]
    fn vitals_are_those_of_the_same_endpoint_before() {
        let registry = Registry::default();
        let plan = plan("\"127.0.0.1:81\"");
        let first = registry.endpoints(&plan);
        first[0].list()[0].vitals.count_pick();
        let second = registry.endpoints(&plan);
        assert_eq!(second[0].list()[0].vitals.picked(), 1);
    }
}

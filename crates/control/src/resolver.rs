//! Names are resolved again and again, on a thread of their own.

use crate::registry::Registry;
use gatehouse_proxy::gate::Handle;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// A name to resolve: host and port.
pub(crate) type Name = (Arc<str>, u16);

/// How often names are resolved again.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(10);

/// Resolves the names of the plan in force again and again, until it is dropped.
#[derive(Debug)]
pub struct Resolver {
    registry: Registry,
    handle: Handle,
    /// Hung up to stop it; `None` while there has been nothing to resolve.
    stop: Option<Sender<()>>,
}

impl Resolver {
    /// One for this data plane.
    pub fn new(registry: Registry, handle: Handle) -> Resolver {
        let mut resolver = Resolver { registry, handle, stop: None };
        resolver.follow();
        resolver
    }

    /// Starts its thread once there is a name; call it when there is a new plan.
    pub fn follow(&mut self) {
        if self.stop.is_some() || self.registry.names(&self.handle).is_empty() {
            return;
        }
        let (stop, stopped) = channel();
        let (registry, handle) = (self.registry.clone(), self.handle.clone());
        let work = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(RESOLVE_EVERY) {
                if registry.resolve(&registry.names(&handle)) {
                    registry.republish(&handle);
                }
            }
        };
        // A look-up may hang for as long as the system's resolver likes; nobody waits for it.
        match std::thread::Builder::new().name("resolver".to_owned()).spawn(work) {
            Ok(_) => self.stop = Some(stop),
            Err(error) => eprintln!("warn: names are not resolved again: no thread: {error}"),
        }
    }
}

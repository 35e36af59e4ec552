//! A whole gateway: data plane, access log, admin interface, resolver, from a configuration.

use crate::access_log::AccessLog;
use crate::admin::{Admin, Shown};
use crate::config::{AccessFormat, AccessTo, Lowered};
use crate::registry::{Registry, Resolver};
use crate::supervisor::{Supervisor, Word};
use gatehouse_core::address::Bind;
use gatehouse_proxy::gate::{Gate, Signal, Signals, Start, StartError, block_on};
use gatehouse_proxy::log::Format;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Why a gateway did not start: what, where, and what to do.
#[derive(Debug)]
pub struct Fault {
    what: String,
    error: io::Error,
    hint: String,
}

impl Fault {
    pub(crate) fn new(what: String, error: io::Error, hint: String) -> Fault {
        Fault { what, error, hint }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, plain(&self.error))?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  hint: {}", self.hint) }
    }
}

/// The kernel's words in ours.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use by another process".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        io::ErrorKind::AlreadyExists => "a file that is no socket stands there".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

fn bind_fault(what: String, key: &str, bind: &Bind, error: io::Error) -> Fault {
    let shown = Shows(bind);
    let hint = match (error.kind(), bind) {
        (io::ErrorKind::AddrInUse, Bind::Ip(address)) => format!(
            "stop whoever listens there (ss -ltnp 'sport = :{}' names it), or change {key}",
            address.port()
        ),
        (io::ErrorKind::PermissionDenied, Bind::Ip(address)) if address.port() < 1024 => {
            format!("ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or change {key}")
        }
        _ => format!("change {key}"),
    };
    Fault { what: format!("{what} cannot listen on {shown}"), error, hint }
}

/// An address as an operator writes it.
pub struct Shows<'a>(pub &'a Bind);

impl fmt::Display for Shows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Bind::Ip(address) => write!(f, "{address}"),
            Bind::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A gateway that serves.
pub struct Gateway {
    gate: Gate,
    admin: Option<Admin>,
    log: Option<AccessLog>,
    resolver: Resolver,
    supervisor: Supervisor,
    drain: Duration,
    started: SystemTime,
}

impl Gateway {
    /// Starts one. Listeners are bound when this returns, or taken from the supervisor.
    ///
    /// # Errors
    /// [`Fault`]; nothing is left running.
    pub fn start(lowered: Lowered, supervisor: Supervisor) -> Result<Gateway, Fault> {
        let started = SystemTime::now();
        let inherited = supervisor.sockets(&lowered.plan)?;
        let admin = lowered.admin.map(bind_admin).transpose()?;
        let registry = Registry::default();
        let endpoints = registry.endpoints(&lowered.plan);
        let drain = lowered.plan.drain;
        let format = match lowered.access_log.format {
            AccessFormat::Json => Some(Format::Json),
            AccessFormat::Combined => Some(Format::Combined),
            AccessFormat::Off => None,
        };
        let start = Start {
            plan: Arc::new(lowered.plan),
            endpoints,
            workers: lowered.workers.unwrap_or_else(cores),
            access_log: format,
            seed: RandomState::new().hash_one(started),
            inherited,
        };
        let (gate, sinks) = Gate::start(start).map_err(start_fault)?;
        let log = match format {
            None => None,
            Some(_) => Some(AccessLog::start(&lowered.access_log, sinks).map_err(|error| {
                let what = match &lowered.access_log.to {
                    AccessTo::File(path) => format!("access log {}", path.display()),
                    AccessTo::Stdout | AccessTo::Stderr => "access log".to_owned(),
                };
                Fault { what, error, hint: "change log.access.to".to_owned() }
            })?),
        };
        let resolver = Resolver::start(registry, gate.handle());
        Ok(Gateway { gate, admin, log, resolver, supervisor, drain, started })
    }

    /// Where it listens: a line for each listener, and for the admin interface.
    pub fn addresses(&self) -> Vec<String> {
        let listeners = self.gate.addresses().into_iter();
        let listeners =
            listeners.map(|(name, bind)| format!("listening on {} ({name})", Shows(&bind)));
        let admin = self.admin.as_ref().and_then(|admin| admin.address().ok());
        listeners.chain(admin.map(|bind| format!("admin on {}", Shows(&bind)))).collect()
    }

    /// Where its first listener listens, if that is an address.
    pub fn first_address(&self) -> Option<SocketAddr> {
        self.gate.addresses().into_iter().find_map(|(_, bind)| match bind {
            Bind::Ip(address) => Some(address),
            Bind::Unix(_) => None,
        })
    }

    /// Serves until it is told to end, then drains. Calls `ready` once a signal would be heeded.
    /// Returns how many connections were cut.
    ///
    /// # Errors
    /// Where signals cannot be waited for.
    pub fn serve(self, ready: impl FnOnce()) -> io::Result<usize> {
        let Gateway { mut gate, admin, log, resolver, supervisor, drain, started } = self;
        let listeners = gate.addresses().into_iter().map(|(name, bind)| (name.to_owned(), bind));
        let shown = Shown {
            handle: gate.handle(),
            listeners: listeners.collect(),
            log_lines_lost: log.as_ref().map(AccessLog::lost).unwrap_or_default(),
            started,
        };
        let waited: io::Result<()> = block_on(async {
            if let Some(admin) = admin {
                admin.serve(shown)?;
            }
            let signals = Signals::new()?;
            ready();
            supervisor.tell(Word::Ready);
            wait(&mut gate, signals, drain, &supervisor).await;
            Ok(())
        })?;
        waited?;
        drop(resolver);
        let cut = gate.join();
        if let Some(log) = log {
            log.finish();
        }
        Ok(cut)
    }
}

/// Waits until the gateway is told to end and has drained. A second signal cuts what is left at
/// once.
async fn wait(gate: &mut Gate, mut signals: Signals, drain: Duration, supervisor: &Supervisor) {
    let mut draining = false;
    while !(draining && gate.is_drained()) {
        let until = if draining { DRAIN_LOOK } else { Duration::MAX };
        match signals.next_within(until).await {
            None => {}
            Some(Signal::Terminate) => {
                let limit = if draining { Duration::ZERO } else { drain };
                gate.drain(limit);
                supervisor.tell(Word::Stopping(limit));
                draining = true;
            }
            Some(Signal::Hangup) => {
                eprintln!("warn: reload is not in this version; restart to apply changes");
            }
        }
    }
}

/// How often a drain is looked at.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

fn bind_admin(address: SocketAddr) -> Result<Admin, Fault> {
    Admin::bind(address)
        .map_err(|error| bind_fault("admin".to_owned(), "admin.bind", &Bind::Ip(address), error))
}

fn start_fault(error: StartError) -> Fault {
    match error {
        StartError::Bind { listener, bind, error } => {
            let key = format!("listeners.{listener}.bind");
            bind_fault(format!("listener {listener}"), &key, &bind, error)
        }
        StartError::Worker(error) => Fault {
            what: "a worker could not be started".to_owned(),
            error,
            hint: "check the limits on threads and open files (ulimit -u, ulimit -n)".to_owned(),
        },
    }
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

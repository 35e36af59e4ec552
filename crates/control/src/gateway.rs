//! A whole gateway: data plane, access log, admin interface, discovery, from a configuration.

use crate::access_log::{AccessLog, Target, unfit};
use crate::acme::Acme;
use crate::admin::{Admin, Shown};
use crate::certificates::Prepared;
use crate::config::{AccessTo, Loaded, Lowered};
use crate::discovery::Discovery;
use crate::health;
use crate::overload;
use crate::register::Register;
use crate::registry::Registry;
use crate::remote::Remote;
use crate::steer::Steering;
use crate::steer::facts::Facts;
use crate::steer::orders::{Busy, Mailbox};
use crate::steer::reload::Settled;
pub use crate::steer::upgrade::Program;
use crate::steer::watch::{LastRead, fingerprint, watch};
use crate::supervisor::{Supervisor, Word};
use gatehouse_core::address::Bind;
use gatehouse_proxy::gate::{Gate, Start, StartError, block_on};
use gatehouse_proxy::signals::Signals;
use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

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
    log: AccessLog,
    registry: Registry,
    discovery: Discovery,
    supervisor: Supervisor,
    in_force: Settled,
    workers: NonZeroUsize,
    source: Source,
    started: SystemTime,
}

/// Where a gateway comes from: what it needs to do the same again.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// What is read again when it is told to reload; `None` where it was given another way.
    pub file: Option<ConfigFile>,
    /// What is started when it is told to hand over; `None` where it is not made for that.
    pub program: Option<Program>,
}

/// The file a configuration was read from.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    fingerprint: u64,
    follow: Follow,
    /// Where it stands, where that is no file: it is followed then.
    remote: Option<Remote>,
}

/// When a configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// When that is asked for.
    Asked,
    /// As soon as it changes, too.
    Changes,
}

impl ConfigFile {
    /// The file that `loaded` was read from.
    pub fn new(path: PathBuf, loaded: &Loaded, follow: Follow) -> ConfigFile {
        ConfigFile { path, fingerprint: fingerprint(loaded), follow, remote: None }
    }

    /// What `loaded` was read from in a registry.
    pub fn remote(path: PathBuf, loaded: &Loaded, remote: Remote) -> ConfigFile {
        ConfigFile { remote: Some(remote), ..ConfigFile::new(path, loaded, Follow::Changes) }
    }
}

impl Gateway {
    /// Starts one. Listeners are bound when this returns, or taken from the supervisor. `prepared`
    /// is what the configuration's certificates were made into.
    ///
    /// # Errors
    /// [`Fault`]; nothing is left running.
    pub fn start(
        lowered: Lowered,
        prepared: Prepared,
        source: Source,
        mut supervisor: Supervisor,
    ) -> Result<Gateway, Fault> {
        let started = SystemTime::now();
        let file = source.file.as_ref().map(|file| file.path.clone());
        let in_force = Settled::of(lowered, prepared, file);
        let workers = in_force.workers.unwrap_or_else(cores);
        for warning in overload::judge(&in_force.plan, workers)? {
            eprintln!("warn: {warning}");
        }
        let address = in_force.admin.map(|admin| admin.to_string());
        let taken = supervisor.take(&in_force.plan, address, workers.get())?;
        let admin = match (in_force.admin, taken.admin) {
            (_, Some(bound)) => Some(Admin::of(bound)),
            (address, None) => address.map(bind_admin).transpose()?,
        };
        let target = Target::open(&in_force.access_log)
            .map_err(|error| log_fault(&in_force.access_log, error))?;
        let registry = Registry::default();
        registry.set_drained(taken.drained);
        let seed = RandomState::new().hash_one(started);
        let discovery = Discovery::new(registry.clone(), seed);
        discovery.inherit(taken.found);
        registry.inherit(taken.names);
        discovery.prepare(in_force.wanted(), registry.new_names(&in_force.plan));
        let start = Start {
            plan: Arc::clone(&in_force.plan),
            endpoints: registry.endpoints(&in_force.plan),
            credentials: Arc::clone(&in_force.prepared.credentials),
            workers,
            seed: RandomState::new().hash_one(started),
            inherited: taken.listeners,
        };
        let (gate, sinks) = Gate::start(start).map_err(start_fault)?;
        discovery.attach(gate.handle());
        discovery.follow(in_force.wanted(), registry.names(&in_force.plan));
        let log = AccessLog::start(target, sinks)
            .map_err(|error| log_fault(&in_force.access_log, error))?;
        Ok(Gateway {
            gate,
            admin,
            log,
            registry,
            discovery,
            supervisor,
            in_force,
            workers,
            source,
            started,
        })
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
        let steered: io::Result<Steering> = block_on(async {
            let (mut steering, admin) = self.steering();
            if let Some(admin) = admin {
                steering.admin = Some(admin.serve(Rc::clone(&steering.shown))?);
            }
            let signals = Signals::new()?;
            let seed = RandomState::new().hash_one(steering.shown.started);
            health::start(steering.registry.clone(), steering.gate.handle(), seed);
            overload::start(steering.gate.handle(), steering.workers);
            ready();
            steering.supervisor.tell(Word::Ready);
            steering.register.follow(&steering.in_force.register);
            steering.steer(signals).await;
            Ok(steering)
        })?;
        let Steering { gate, log, discovery, register, .. } = steered?;
        drop(discovery);
        let cut = gate.join();
        register.join();
        log.finish();
        Ok(cut)
    }

    /// What the control thread steers, and the admin interface that is to be served.
    fn steering(self) -> (Steering, Option<Admin>) {
        let Gateway { gate, admin, log, registry, discovery, .. } = self;
        let Gateway { supervisor, in_force, workers, source, started, .. } = self;
        let Source { file, program } = source;
        let facts = Rc::new(RefCell::new(Facts::new(in_force.file.clone(), started)));
        let listeners = gate.addresses().into_iter().map(|(name, bind)| (name.to_owned(), bind));
        let mailbox = Mailbox::default();
        let last_read = LastRead::new(file.as_ref().map_or(0, |file| file.fingerprint));
        let mut remote = None;
        match file {
            Some(ConfigFile { remote: Some(own), .. }) => {
                own.follow(mailbox.clone(), &last_read);
                remote = Some(own);
            }
            Some(ConfigFile { path, follow: Follow::Changes, .. }) => {
                watch(path, mailbox.clone(), &last_read);
            }
            Some(ConfigFile { follow: Follow::Asked, .. }) | None => {}
        }
        let register = Register::new(RandomState::new().hash_one(started));
        let mut acme = Acme::new(gate.handle(), RandomState::new().hash_one(started));
        acme.follow(&in_force.tls.acme);
        let shown = Rc::new(Shown {
            handle: gate.handle(),
            listeners: RefCell::new(listeners.collect()),
            log_lines_lost: log.lost(),
            started,
            facts: Rc::clone(&facts),
            acme: acme.seen(),
            discovery: discovery.seen(),
            register: register.seen(),
            registry: registry.clone(),
            mailbox: mailbox.clone(),
        });
        let steering = Steering {
            gate,
            log,
            registry,
            acme,
            register,
            discovery,
            supervisor,
            admin: None,
            shown,
            mailbox,
            facts,
            in_force,
            workers,
            busy: Busy::No,
            last_read,
            remote,
            trial: None,
            program,
            starting: None,
            looking: None,
            draining: false,
        };
        (steering, admin)
    }
}

pub(crate) fn bind_admin(address: SocketAddr) -> Result<Admin, Fault> {
    Admin::bind(address)
        .map_err(|error| bind_fault("admin".to_owned(), "admin.bind", &Bind::Ip(address), error))
}

pub(crate) fn log_fault(to: &AccessTo, error: io::Error) -> Fault {
    let (what, why) = match to {
        AccessTo::File(path) => (format!("access log {}", path.display()), unfit(path)),
        AccessTo::Stdout | AccessTo::Stderr => ("access log".to_owned(), None),
    };
    let hint = why.map_or_else(|| "change log.access.to".to_owned(), |(_, hint)| hint);
    Fault { what, error, hint }
}

pub(crate) fn start_fault(error: StartError) -> Fault {
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

/// How many workers there are where the file does not say.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

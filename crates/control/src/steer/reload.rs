//! A configuration on its way into force: read by a thread of its own, then judged and put in
//! force by the control thread. Everything that may fail comes before anything is swapped.

use super::orders::{Answer, Cause, Order, Reply};
use super::report::Report;
use super::watch::LastRead;
use super::{Steering, settings};
use crate::access_log::Target;
use crate::admin::Admin;
use crate::certificates::{Before, Prepared, prepare};
use crate::config::{
    AccessTo, DiscoverySpec, Loaded, Lowered, Paint, ProcessEnv, RegisterSpec, TlsSpecs, Verdict,
    load, render,
};
use crate::discovery::{Discovery, Wanted, wanted};
use crate::gateway::{Fault, Shows, bind_admin, log_fault, start_fault};
use crate::overload;
use crate::registry::Registry;
use crate::remote::Remote;
use gatehouse_core::address::Bind;
use gatehouse_core::plan::{Changes, Plan};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A configuration that is, was or may be in force.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    /// The file it was read from; `None` where it was given another way.
    pub file: Option<PathBuf>,
    pub plan: Arc<Plan>,
    /// As written.
    pub workers: Option<NonZeroUsize>,
    pub admin: Option<SocketAddr>,
    pub access_log: AccessTo,
    /// Which certificates it needs, and what they were made into.
    pub tls: Arc<TlsSpecs>,
    pub prepared: Prepared,
    /// Where the endpoints of each upstream come from.
    pub discovery: Vec<Option<Arc<DiscoverySpec>>>,
    /// What is announced.
    pub register: Vec<Arc<RegisterSpec>>,
}

impl Settled {
    pub fn of(lowered: Lowered, prepared: Prepared, file: Option<PathBuf>) -> Settled {
        let Lowered { plan, tls, discovery, register, workers, admin, access_log, .. } = lowered;
        let (plan, tls) = (Arc::new(plan), Arc::new(tls));
        Settled { file, plan, workers, admin, access_log, tls, prepared, discovery, register }
    }

    /// What it wants found.
    pub fn wanted(&self) -> Vec<Wanted> {
        wanted(&self.plan, &self.discovery)
    }
}

/// What a file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Reload(Cause),
    Diff,
    /// Put in force; taken back after so long unless somebody confirms it.
    Apply(Option<Duration>),
}

impl Purpose {
    /// Who asks for a change; `None` where none is asked for.
    fn cause(self) -> Option<Cause> {
        match self {
            Purpose::Reload(cause) => Some(cause),
            Purpose::Apply(_) => Some(Cause::Apply),
            Purpose::Diff => None,
        }
    }
}

/// A file that has been read.
#[derive(Debug)]
pub(crate) struct Read {
    purpose: Purpose,
    file: PathBuf,
    /// What is wrong with it, and its warnings, as `check` says it.
    problems: String,
    verdict: Verdict,
    settled: Option<Settled>,
}

/// Why nothing was put in force.
#[derive(Debug)]
pub(crate) struct Refused {
    pub status: u16,
    pub why: String,
}

impl Refused {
    fn new(status: u16, why: impl Into<String>) -> Refused {
        Refused { status, why: why.into() }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused::new(500, format!("error: {fault}\n"))
    }
}

/// Reads and understands a file and the certificates it names, and waits for sources and names that
/// are new in it, but not for long.
fn read(
    file: &Path,
    purpose: Purpose,
    (registry, discovery): (&Registry, &Discovery),
    before: Before<'_>,
    own: Option<&(LastRead, Option<Remote>)>,
) -> Read {
    let mut loaded: Loaded = match own {
        Some((_, Some(remote))) => remote.load(),
        Some((_, None)) | None => load(file, &ProcessEnv),
    };
    if let (Some((last_read, _)), Some(_)) = (own, purpose.cause()) {
        last_read.note(&loaded);
    }
    let prepared = prepare(&mut loaded, Some(before));
    let problems = render(&loaded, Paint::Plain);
    let verdict = loaded.verdict();
    let parts = loaded.lowered.take().zip(prepared);
    let settled =
        parts.map(|(lowered, prepared)| Settled::of(lowered, prepared, Some(file.to_owned())));
    if let (Some(settled), Some(_)) = (&settled, purpose.cause()) {
        discovery.prepare(settled.wanted(), registry.new_names(&settled.plan));
    }
    Read { purpose, file: file.to_owned(), problems, verdict, settled }
}

/// Whether a file stands in the folder of the gateway's own, whatever that is called, and is named
/// as one of its kind: keys may stand there too.
fn is_beside(one: &Path, other: &Path) -> bool {
    let folder = |file: &Path| match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").canonicalize().ok(),
        Some(parent) => parent.canonicalize().ok(),
        None => None,
    };
    one.extension() == other.extension()
        && folder(one).is_some_and(|one| folder(other).is_some_and(|other| one == other))
}

/// A file of the gateway's own folder, called as the gateway's own file is: its relative paths are
/// the same then in the same words.
fn by_the_way_of(own: Option<&Path>, file: PathBuf) -> PathBuf {
    match (own, file.file_name()) {
        (Some(own), Some(name)) => own.with_file_name(name),
        (None, _) | (_, None) => file,
    }
}

impl Steering {
    /// Has a file read by a thread of its own; the control thread goes on meanwhile.
    pub(super) fn begin(&mut self, file: Option<PathBuf>, purpose: Purpose, reply: Reply) {
        let own = self.facts.borrow().file.clone();
        if let (Some(file), Some(own)) = (&file, &own)
            && !is_beside(file, own)
        {
            let why = format!(
                "{} is no configuration beside {}: others are not read, because what is wrong in \
                 them would be shown to anybody who can ask here",
                file.display(),
                own.display()
            );
            return self.refuse(purpose, Refused::new(403, why), reply);
        }
        let file = file.map(|file| by_the_way_of(own.as_deref(), file));
        let is_own = file.is_none() || file == own;
        let Some(file) = own.map(|own| file.unwrap_or(own)) else {
            let why = "the gateway was started without a configuration file; restart it with \
                       another command line";
            return self.refuse(purpose, Refused::new(409, why), reply);
        };
        if let (Some(cause), Some(why)) = (purpose.cause(), self.hindrance()) {
            // Whoever watches the files asks again.
            if matches!(cause, Cause::Files | Cause::Registry) {
                return;
            }
            return self.refuse(purpose, Refused::new(409, why), reply);
        }
        let (registry, discovery) = (self.registry.clone(), self.discovery.clone());
        let own = is_own.then(|| (self.last_read.clone(), self.remote.clone()));
        let (plan, prepared) = (Arc::clone(&self.in_force.plan), self.in_force.prepared.clone());
        let work = move || {
            let before = Before { prepared: &prepared, plan: &plan };
            let read = read(&file, purpose, (&registry, &discovery), before, own.as_ref());
            Order::Adopt(Box::new(read))
        };
        match self.mailbox.run("reader", reply, Order::NotRead, work) {
            Ok(()) => self.busy = super::orders::Busy::Reading,
            // The reply went with the work, and says that nobody answered.
            Err(error) => eprintln!("error: the configuration is not read: no thread: {error}"),
        }
    }

    /// Goes on with a file that has been read.
    pub(super) fn go_on(&mut self, read: Read, reply: Reply) {
        self.busy = super::orders::Busy::No;
        let Read { purpose, file, problems, verdict, settled } = read;
        let Some(settled) = settled else {
            let status = if verdict == Verdict::Unreadable { 500 } else { 422 };
            return self.refuse(purpose, Refused::new(status, problems), reply);
        };
        let Some(cause) = purpose.cause() else {
            return reply.give(self.difference(&file, &settled, &problems));
        };
        // It may have come while the file was read.
        if let Some(why) = self.hindrance() {
            return self.refuse(purpose, Refused::new(409, why), reply);
        }
        let before = self.in_force.clone();
        match self.adopt(settled, cause, &file) {
            Ok(mut answer) => {
                eprint!("{problems}");
                if let Purpose::Apply(confirm) = purpose {
                    self.begin_trial(before, &file, confirm, &mut answer);
                }
                answer.text.push_str(&problems);
                reply.give(answer);
            }
            Err(refused) => self.refuse(purpose, refused, reply),
        }
    }

    /// Why no change can be made just now.
    pub(super) fn hindrance(&self) -> Option<String> {
        match &self.trial {
            _ if self.draining => Some("the gateway is draining".to_owned()),
            _ if self.starting.is_some() => Some("a new process is on its way".to_owned()),
            Some(trial) => Some(format!(
                "{} waits to be confirmed: confirm it (gatehouse confirm), or wait {} s until it \
                 is taken back",
                trial.file.display(),
                trial.left().as_secs()
            )),
            None => None,
        }
    }

    /// Puts a configuration in force and notes it, or changes nothing.
    pub(super) fn adopt(
        &mut self,
        settled: Settled,
        cause: Cause,
        file: &Path,
    ) -> Result<Answer, Refused> {
        let report = self.compare(&settled);
        self.put(settled, &report.changes)?;
        let summary = report.summary();
        let word = match cause {
            Cause::Signal | Cause::Admin | Cause::Files | Cause::Registry => "reloaded",
            Cause::Apply => "applied",
            Cause::TakenBack => "took back",
        };
        let mut facts = self.facts.borrow_mut();
        facts.note_reloaded(cause, &summary);
        facts.in_force.clone_from(&self.in_force.file);
        let generation = facts.generation;
        eprintln!("{word} {}, generation {generation}: {summary}", file.display());
        let heading = format!("{word} {}: generation {generation}", file.display());
        Ok(report.answer(&heading, generation))
    }

    fn difference(&self, file: &Path, settled: &Settled, problems: &str) -> Answer {
        let report = self.compare(settled);
        let change = if report.is_same() { "would change nothing" } else { "would change" };
        let heading = format!("{}: a reload {change}", file.display());
        let mut answer = report.answer(&heading, self.facts.borrow().generation);
        if let Err(refused) = self.judge(settled) {
            answer.status = refused.status;
            answer.text.push_str(&refused.why);
            answer.text.push('\n');
        }
        answer.text.push_str(problems);
        answer
    }

    fn refuse(&mut self, purpose: Purpose, refused: Refused, reply: Reply) {
        if let Some(cause) = purpose.cause() {
            let why = refused.why.trim_end();
            eprintln!("error: the reload failed and has changed nothing:\n{why}");
            self.facts.borrow_mut().note_failed(cause, why);
        }
        reply.give(Answer::line(refused.status, refused.why));
    }

    /// Shows where the listeners are now, and says of those that are new.
    fn show_listeners(&self) {
        let all = self.gate.addresses();
        let now: Vec<(String, Bind)> =
            all.into_iter().map(|(name, bind)| (name.to_owned(), bind)).collect();
        let before = self.shown.listeners.replace(now.clone());
        for (name, bind) in now.iter().filter(|listener| !before.contains(listener)) {
            eprintln!("listening on {} ({name})", Shows(bind));
        }
    }

    fn compare(&self, new: &Settled) -> Report {
        Report {
            changes: Changes::between(&self.in_force.plan, &new.plan),
            settings: settings::changed(&self.in_force, new),
        }
    }

    /// What of a sound configuration this process cannot follow; gives what has to be said of one
    /// that it can.
    fn judge(&self, new: &Settled) -> Result<Vec<String>, Refused> {
        if new.workers != self.in_force.workers {
            let wanted = new.workers.unwrap_or_else(crate::gateway::cores);
            if wanted != self.workers {
                return Err(Refused::new(
                    409,
                    format!(
                        "workers: {} run and the file wants {wanted}: threads and their sockets \
                         are made at the start; restart to change their number",
                        self.workers
                    ),
                ));
            }
        }
        let refused = |fault: Fault| Refused::new(409, format!("error: {fault}"));
        overload::judge(&new.plan, self.workers).map_err(refused)
    }

    /// Puts a configuration in force, or changes nothing.
    pub(super) fn put(&mut self, new: Settled, changes: &Changes) -> Result<(), Refused> {
        let known = overload::judge(&self.in_force.plan, self.workers).unwrap_or_default();
        for warning in self.judge(&new)?.iter().filter(|warning| !known.contains(warning)) {
            eprintln!("warn: {warning}");
        }
        let provided = self.gate.provide(&new.plan).map_err(start_fault)?;
        let old = &self.in_force;
        let admin: Option<Admin> = match new.admin {
            Some(address) if old.admin != new.admin => Some(bind_admin(address)?),
            _ => None,
        };
        let log = match old.access_log != new.access_log {
            true => Some(Target::open(&new.access_log).map_err(|e| log_fault(&new.access_log, e))?),
            false => None,
        };
        if let Some(admin) = admin {
            if let Ok(bind) = admin.address() {
                eprintln!("admin on {}", Shows(&bind));
            }
            self.serve_admin(admin).map_err(|error| {
                Fault::new("admin".to_owned(), error, "change admin.bind".to_owned())
            })?;
        } else if new.admin.is_none() {
            self.admin = None;
        }
        let (gate, plan) = (&mut self.gate, Arc::clone(&new.plan));
        let credentials = Arc::clone(&new.prepared.credentials);
        self.registry.adopt(&self.in_force.plan, &new.plan, &changes.upstream_of, |endpoints| {
            gate.publish(plan, endpoints, credentials, provided);
        });
        if let Some(log) = log {
            self.log.redirect(log);
        }
        self.show_listeners();
        self.in_force = new;
        self.acme.follow(&self.in_force.tls.acme);
        self.register.follow(&self.in_force.register);
        let names = self.registry.names(&self.in_force.plan);
        self.discovery.follow(self.in_force.wanted(), names);
        Ok(())
    }
}

//! Certificates that are asked for and renewed by ACME (RFC 8555), on a thread of their own.
//!
//! What it obtains it puts into files, which are looked at like all others ([`certificates`]):
//! nothing here touches what is served, but for the answers to an authority's challenges. An
//! authority that is away, or refuses, changes nothing but when it is asked again.
//!
//! [`certificates`]: crate::certificates

mod certify;
mod jose;
mod order;
mod schedule;
mod session;
mod storage;
mod subject;
mod trouble;

pub(crate) use certify::placeholder;
pub(crate) use storage::certificate as certificate_path;
pub(crate) use subject::{Seen, json, metrics};

use crate::certificates::client_side;
use crate::config::{AcmeOrder, AcmeSpec};
use gatehouse_core::chance::Chance;
use gatehouse_proxy::gate::{Handle, block_on};
use session::Session;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};
use storage::Store;
use subject::Subject;
use trouble::{Kind, Trouble};

/// The longest wait: a clock may be set meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Asks for certificates until it is dropped.
#[derive(Debug)]
pub(crate) struct Acme {
    handle: Handle,
    seed: u64,
    seen: Seen,
    /// Where new orders go; `None` while there has been none.
    told: Option<Sender<Vec<AcmeOrder>>>,
}

impl Acme {
    /// One for this data plane.
    pub fn new(handle: Handle, seed: u64) -> Acme {
        Acme { handle, seed, seen: Seen::default(), told: None }
    }

    /// What is shown of it.
    pub fn seen(&self) -> Seen {
        Arc::clone(&self.seen)
    }

    /// Asks for these from now on. What has not changed is not asked for anew.
    pub fn follow(&mut self, orders: &[AcmeOrder]) {
        if self.told.is_none() && !orders.is_empty() {
            self.start();
        }
        if let Some(told) = &self.told {
            // Where its thread has gone, it has said so.
            drop(told.send(orders.to_vec()));
        }
    }

    /// Asks for nothing more: another process does.
    pub fn stop(&mut self) {
        self.told = None;
    }

    fn start(&mut self) {
        let (told, orders) = channel();
        let keeper = Keeper {
            handle: self.handle.clone(),
            orders,
            chance: Chance::seeded(self.seed),
            seen: Arc::clone(&self.seen),
            subjects: Vec::new(),
        };
        match std::thread::Builder::new().name("acme".to_owned()).spawn(|| keeper.run()) {
            Ok(_) => self.told = Some(told),
            Err(error) => {
                eprintln!("error: acme: no certificates are asked for: no thread: {error}")
            }
        }
    }
}

/// The thread's own.
struct Keeper {
    handle: Handle,
    orders: Receiver<Vec<AcmeOrder>>,
    chance: Chance,
    seen: Seen,
    subjects: Vec<Subject>,
}

impl Keeper {
    fn run(mut self) {
        loop {
            let due = self.subjects.iter().map(|subject| subject.due).min();
            let wait = due.map_or(WAIT_MAX, |due| {
                due.duration_since(SystemTime::now()).unwrap_or_default().min(WAIT_MAX)
            });
            match self.orders.recv_timeout(wait) {
                Ok(orders) => self.follow(&orders),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.work(),
            }
            self.show();
        }
    }

    fn follow(&mut self, orders: &[AcmeOrder]) {
        let before = std::mem::take(&mut self.subjects);
        for order in orders {
            for name in &order.names {
                let known = before.iter().find(|subject| subject.is_of(&order.spec, name));
                let fresh = || Subject::new(&order.spec, name);
                let mut subject = known.cloned().unwrap_or_else(fresh);
                subject.look(fraction(&mut self.chance));
                self.subjects.push(subject);
            }
        }
    }

    fn show(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.subjects);
    }

    /// Asks for what is due, one after the other, each authority by one session.
    fn work(&mut self) {
        let mut session: Option<(Arc<AcmeSpec>, Store, Session)> = None;
        for at in 0..self.subjects.len() {
            let chance = fraction(&mut self.chance);
            let subject = &mut self.subjects[at];
            if subject.due > SystemTime::now() {
                continue;
            }
            // Whoever shares the storage may have renewed it.
            subject.look(chance);
            if subject.due > SystemTime::now() {
                continue;
            }
            let spec = Arc::clone(&subject.spec);
            let same = session.take().filter(|(own, ..)| Arc::ptr_eq(own, &spec));
            let opened = match same {
                Some(same) => Ok(same),
                None => open(&spec).map(|(store, opened)| (Arc::clone(&spec), store, opened)),
            };
            let outcome = opened.and_then(|(spec, store, mut opened)| {
                let done = obtain(subject, &store, &mut opened, &self.handle);
                session = Some((spec, store, opened));
                done
            });
            match outcome {
                Ok(()) => {
                    subject.failures = 0;
                    subject.trouble = None;
                    subject.look(chance);
                    eprintln!("{}", subject.news());
                }
                Err(trouble) => self.fail(at, &spec, &trouble, chance),
            }
            self.show();
        }
    }

    /// Notes a failure. Where it is the authority's, and not the name's, it is everybody's.
    fn fail(&mut self, at: usize, spec: &Arc<AcmeSpec>, trouble: &Trouble, chance: f64) {
        let now = SystemTime::now();
        let all = match trouble.kind {
            Kind::Away | Kind::Limited(_) | Kind::Own => true,
            Kind::Unproved | Kind::Refused => false,
        };
        for (place, subject) in self.subjects.iter_mut().enumerate() {
            let same = Arc::ptr_eq(&subject.spec, spec) && subject.due <= now;
            if place == at || all && same {
                subject.fail(trouble, now, chance);
                eprintln!("{}", subject.complaint(now));
            }
        }
    }
}

/// Opens the storage, and a session with its account.
fn open(spec: &AcmeSpec) -> Result<(Store, Session), Trouble> {
    let folder = storage::folder(&spec.storage, &spec.directory);
    let store = Store::open(folder.clone()).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Trouble::own("another process asks just now"),
        _ => Trouble::own(format!("{}: {error}", folder.display())),
    })?;
    let key = store.account_key().map_err(Trouble::own)?;
    let side = client_side(spec.roots.as_ref().map(|file| &*file.path)).map_err(Trouble::own)?;
    let opened = block_on(Session::open(spec, side, key)).map_err(Trouble::own)??;
    Ok((store, opened))
}

/// Asks for one certificate, by one proof after the other, and keeps it.
fn obtain(
    subject: &Subject,
    store: &Store,
    session: &mut Session,
    gate: &Handle,
) -> Result<(), Trouble> {
    let mut last = Trouble::own("there is no proof to try");
    for proof in &subject.spec.proofs {
        let work = order::obtain(session, &subject.name, *proof, gate);
        match block_on(work).map_err(Trouble::own)? {
            Ok(text) => {
                return store.write(&format!("{}.pem", subject.name), &text).map_err(Trouble::own);
            }
            Err(trouble) if trouble.kind == Kind::Unproved => {
                let before =
                    if last.kind == Kind::Unproved { last.why + "; " } else { String::new() };
                last = Trouble::unproved(before + &trouble.why);
            }
            Err(trouble) => return Err(trouble),
        }
    }
    Err(last)
}

/// A number from 0 to 1.
fn fraction(chance: &mut Chance) -> f64 {
    (chance.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

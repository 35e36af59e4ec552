//! Certificates whose files have changed: a thread of its own looks, because a file system may not
//! answer, and the control thread has endpoints to check and signals to heed. There is one look at
//! a time.

use super::orders::{Busy, Order, Reply};
use super::reload::Settled;
use super::{CERTIFICATES_LOOK, Steering};
use crate::certificates::{Before, Files, Prepared, make};
use crate::config::Problem;
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::Plan;
use gatehouse_wire::timer::now;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A look that takes longer is told of.
const SLOW: Duration = Duration::from_secs(30);

/// A look that is under way.
#[derive(Debug)]
pub(crate) struct Looking {
    since: Moment,
    told: bool,
}

/// What a look has found.
#[derive(Debug)]
pub(crate) struct Look {
    /// What is in force at its begin.
    plan: Arc<Plan>,
    /// How the files stand.
    prepared: Prepared,
    /// What they were made into, where they have changed.
    made: Option<(Option<Prepared>, Vec<Problem>)>,
}

/// Looks, and makes anew what has changed.
fn look(settled: Settled) -> Look {
    let Settled { plan, tls, mut prepared, .. } = settled;
    let made = (prepared.look() == Files::Changed).then(|| {
        let before = Before { prepared: &prepared, plan: &plan };
        make(&tls, &plan, SystemTime::now(), Some(before))
    });
    Look { plan, prepared, made }
}

impl Steering {
    /// Has the files of certificates looked at.
    pub(super) fn look_at_certificates(&mut self) {
        if self.draining || self.busy != Busy::No || self.in_force.prepared.is_empty() {
            return;
        }
        if let Some(looking) = &mut self.looking {
            if now().since(looking.since) >= SLOW && !looking.told {
                looking.told = true;
                let seconds = SLOW.as_secs();
                eprintln!(
                    "warn: the files of certificates do not answer for {seconds} s: changed ones \
                     are not noticed"
                );
            }
            return;
        }
        let settled = self.in_force.clone();
        let work = move || Order::Looked(Box::new(look(settled)));
        match self.mailbox.run("certificates", Reply::unread(), Order::NotLooked, work) {
            Ok(()) => self.looking = Some(Looking { since: now(), told: false }),
            Err(error) => eprintln!("error: certificates are not looked at: no thread: {error}"),
        }
    }

    /// Takes in certificates that have changed. Where they are wrong, the old ones stay.
    pub(super) fn take_in(&mut self, look: Look) {
        self.looking = None;
        let in_force = &mut self.in_force;
        // What is read meanwhile has looked too; and what has changed is found again.
        let meant = Arc::ptr_eq(&in_force.plan, &look.plan);
        if self.draining || self.busy != Busy::No || !meant {
            return;
        }
        in_force.prepared = look.prepared;
        let Some((made, problems)) = look.made else { return };
        for problem in &problems {
            eprintln!("{}: {}", problem.severity.word(), problem.reason);
        }
        match made {
            Some(made) => {
                let credentials = Arc::clone(&made.credentials);
                self.gate.handle().set_credentials(&in_force.plan, credentials);
                in_force.prepared = made;
                eprintln!("certificates have changed and are in force");
            }
            None => eprintln!("error: certificates have changed and are wrong: the old ones stay"),
        }
    }
}

const _: () = assert!(CERTIFICATES_LOOK.as_secs() < SLOW.as_secs());

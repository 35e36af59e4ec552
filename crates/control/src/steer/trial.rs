//! A configuration on trial: taken back by itself unless somebody confirms it in time.

use super::Steering;
use super::orders::{Answer, Cause};
use super::reload::Settled;
use crate::config::Json;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::now;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The shortest trial.
pub(crate) const CONFIRM_MIN: Duration = Duration::from_secs(1);

/// The longest trial.
pub(crate) const CONFIRM_MAX: Duration = Duration::from_secs(3600);

/// When it is tried again to take one back that could not be: a port may be somebody else's.
const AGAIN: Duration = Duration::from_secs(5);

/// A configuration on trial.
#[derive(Debug)]
pub(crate) struct Trial {
    pub file: PathBuf,
    pub until: Moment,
    /// What comes back.
    before: Settled,
}

impl Trial {
    /// How long it can still be confirmed.
    pub fn left(&self) -> Duration {
        self.until.since(now())
    }
}

impl Steering {
    /// Begins the trial of what was just put in force, where one is asked for, and says what is to
    /// be done.
    pub(super) fn begin_trial(
        &mut self,
        before: Settled,
        file: &Path,
        confirm: Option<Duration>,
        answer: &mut Answer,
    ) {
        let note = match confirm {
            Some(confirm) => {
                let until = now().after(confirm);
                self.trial = Some(Trial { file: file.to_owned(), until, before });
                self.facts.borrow_mut().trial_until = Some(until);
                format!(
                    "it is taken back in {} s unless it is confirmed: gatehouse confirm\n",
                    confirm.as_secs()
                )
            }
            None => self.elsewhere(file),
        };
        answer.text.push_str(&note);
    }

    /// Keeps what is on trial.
    pub(super) fn confirm(&mut self) -> Answer {
        let Some(trial) = self.trial.take() else {
            return Answer::line(409, "nothing waits to be confirmed");
        };
        self.facts.borrow_mut().trial_until = None;
        eprintln!("confirmed {}", trial.file.display());
        let mut answer = Answer::line(200, format!("confirmed {}", trial.file.display()));
        answer.text.push_str(&self.elsewhere(&trial.file));
        answer.json = Json::object([("ok", Json::Flag(true))]);
        answer
    }

    /// Takes back what nobody has confirmed in time. What cannot be taken back stays on trial.
    pub(super) fn end_trial(&mut self) {
        let Some(mut trial) = self.trial.take_if(|trial| trial.until <= now()) else { return };
        self.facts.borrow_mut().trial_until = None;
        let file = trial.file.display();
        eprintln!("warn: {file} was not confirmed in time");
        if let Err(refused) = self.adopt(trial.before.clone(), Cause::TakenBack, &trial.file) {
            let why = refused.why.trim_end();
            let again = AGAIN.as_secs();
            eprintln!(
                "error: {file} cannot be taken back, which is tried again in {again} s: {why}"
            );
            trial.until = now().after(AGAIN);
            let mut facts = self.facts.borrow_mut();
            facts.note_failed(Cause::TakenBack, why);
            facts.trial_until = Some(trial.until);
            drop(facts);
            self.trial = Some(trial);
        }
    }

    /// Gives a trial up, because the gateway ends: to take it back would open sockets anew that
    /// nobody takes from.
    pub(super) fn drop_trial(&mut self) {
        let Some(trial) = self.trial.take() else { return };
        self.facts.borrow_mut().trial_until = None;
        eprintln!("warn: {} was not confirmed: the drain ends with it", trial.file.display());
    }

    /// A warning where what is in force is not what will be read next.
    fn elsewhere(&self, file: &Path) -> String {
        let facts = self.facts.borrow();
        let same = |own: &PathBuf| own.canonicalize().ok() == file.canonicalize().ok();
        match &facts.file {
            Some(own) if !same(own) => {
                format!("the next reload or start reads {} again: copy it there\n", own.display())
            }
            _ => String::new(),
        }
    }
}

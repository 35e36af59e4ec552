//! One name, its certificate, and when an authority is asked next.

use super::schedule::{renew_at, wait};
use super::storage::{certificate, read};
use super::trouble::Trouble;
use crate::config::{AcmeSpec, Json};
use gatehouse_wire::tls::Identity;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is shown of all of them.
pub(crate) type Seen = Arc<Mutex<Vec<Subject>>>;

/// One name.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(super) spec: Arc<AcmeSpec>,
    pub(super) name: Box<str>,
    /// Until when its certificate is good.
    until: Option<SystemTime>,
    /// When an authority is asked next.
    pub(super) due: SystemTime,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Why the last time came to nothing.
    pub(super) trouble: Option<String>,
}

impl Subject {
    /// One that nothing is known of.
    pub(super) fn new(spec: &Arc<AcmeSpec>, name: &str) -> Subject {
        let (spec, name) = (Arc::clone(spec), name.into());
        Subject { spec, name, until: None, due: UNIX_EPOCH, failures: 0, trouble: None }
    }

    /// Whether it is this one, and asked for in the same way.
    pub(super) fn is_of(&self, spec: &AcmeSpec, name: &str) -> bool {
        let path = |spec: &AcmeSpec| spec.roots.as_ref().map(|file| file.path.clone());
        *self.name == *name
            && self.spec.directory == spec.directory
            && self.spec.storage == spec.storage
            && self.spec.email == spec.email
            && self.spec.proofs == spec.proofs
            && path(&self.spec) == path(spec)
    }

    fn path(&self) -> PathBuf {
        certificate(&self.spec.storage, &self.spec.directory, &self.name)
    }

    /// Looks at its file, and says when it is due; after a failure, not before it was to be asked
    /// again.
    pub(super) fn look(&mut self, chance: f64) {
        let pem = read(&self.path()).ok();
        let identity =
            pem.and_then(|pem| Identity::from_pem(pem.as_bytes(), pem.as_bytes(), None).ok());
        let until = identity.as_ref().map(Identity::not_after);
        let is_known = self.until == until && until.is_some();
        self.until = until;
        let renew =
            identity.map_or(UNIX_EPOCH, |own| renew_at(own.not_before(), own.not_after(), chance));
        if self.failures > 0 && renew <= SystemTime::now() {
            return;
        }
        if !is_known || self.due < renew {
            self.due = renew;
        }
    }

    pub(super) fn fail(&mut self, trouble: &Trouble, now: SystemTime, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        self.due = now + wait(trouble, self.failures, chance);
        self.trouble = Some(trouble.to_string());
    }

    /// What an operator is told of a new certificate.
    pub(super) fn news(&self) -> String {
        let days = self.until.and_then(|until| until.duration_since(SystemTime::now()).ok());
        let days = days.map_or(0, |left| left.as_secs() / 86_400);
        format!("acme: {}: a certificate for {days} days has come", self.name)
    }

    /// What an operator is told of a failure.
    pub(super) fn complaint(&self, now: SystemTime) -> String {
        let why = self.trouble.as_deref().unwrap_or_default();
        let left = self.until.and_then(|until| until.duration_since(now).ok());
        let shown = match left {
            Some(_) => "the last certificate is good still",
            None if self.until.is_some() => "the last certificate has expired",
            None => "clients are shown one that signs itself",
        };
        let wait = self.due.duration_since(now).unwrap_or_default();
        let wait = plain(wait);
        format!("warn: acme: {}: {why}; {shown}; asked again in {wait}", self.name)
    }

    fn json(&self, now: SystemTime) -> Json {
        let seconds = |at: SystemTime| {
            Json::Count(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
        };
        let state = match self.until {
            None => "none",
            Some(until) if until <= now => "expired",
            Some(_) => "valid",
        };
        Json::object([
            ("name", Json::text(&*self.name)),
            ("authority", Json::text(&*self.spec.directory)),
            ("certificate", Json::text(state)),
            ("not_after_unix_seconds", self.until.map_or(Json::Null, seconds)),
            ("next_request_unix_seconds", seconds(self.due.max(now))),
            ("failures", Json::Count(self.failures.into())),
            ("last_failure", Json::text_or_null(self.trouble.as_deref())),
        ])
    }
}

fn plain(wait: Duration) -> String {
    match wait.as_secs() {
        seconds @ 0..120 => format!("{} s", seconds.max(1)),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// For `/status`.
pub(crate) fn json(seen: &Seen) -> Json {
    let now = SystemTime::now();
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Json::list(seen.iter().map(|subject| subject.json(now)))
}

/// For `/metrics`.
pub(crate) fn metrics(seen: &Seen, out: &mut String) {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.is_empty() {
        return;
    }
    let mut family = |name: &str, help: &str, value: &dyn Fn(&Subject) -> u64| {
        let _ = writeln!(out, "# HELP gatehouse_{name} {help}\n# TYPE gatehouse_{name} gauge");
        for subject in seen.iter() {
            let _ = writeln!(out, "gatehouse_{name}{{name={:?}}} {}", subject.name, value(subject));
        }
    };
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    family(
        "acme_not_after_seconds",
        "Until when a certificate is good, in seconds since 1970; 0 where there is none.",
        &|subject| subject.until.map_or(0, seconds),
    );
    family("acme_failures", "Requests for a certificate that failed in a row.", &|subject| {
        subject.failures.into()
    });
}

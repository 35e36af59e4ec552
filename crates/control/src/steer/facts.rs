//! What is shown of the configuration in force: which it is, since when, and how the last reloads
//! went.

use super::orders::Cause;
use crate::config::Json;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::now;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// How one reload went.
#[derive(Clone, Debug)]
pub(crate) struct Went {
    pub at: SystemTime,
    pub cause: Cause,
    /// What it changed, or why it changed nothing.
    pub text: String,
}

/// What is shown of the configuration in force.
#[derive(Debug)]
pub struct Facts {
    /// The file that is read again when the gateway is told to reload.
    pub(crate) file: Option<PathBuf>,
    /// The file that was read for the one in force: another where one was applied.
    pub(crate) in_force: Option<PathBuf>,
    /// 1 at the start, and one more with every reload that was put in force.
    pub(crate) generation: u64,
    /// When the one in force came.
    pub(crate) since: SystemTime,
    pub(crate) reloaded: Option<Went>,
    pub(crate) failed: Option<Went>,
    pub(crate) failures: u64,
    /// Until when what is in force can be confirmed; `None` where it need not be.
    pub(crate) trial_until: Option<Moment>,
}

impl Facts {
    /// What is known at the start.
    pub(crate) fn new(file: Option<PathBuf>, started: SystemTime) -> Facts {
        Facts {
            in_force: file.clone(),
            file,
            generation: 1,
            since: started,
            reloaded: None,
            failed: None,
            failures: 0,
            trial_until: None,
        }
    }

    pub(crate) fn note_reloaded(&mut self, cause: Cause, text: &str) {
        let at = SystemTime::now();
        self.generation += 1;
        self.since = at;
        self.reloaded = Some(Went { at, cause, text: text.to_owned() });
    }

    pub(crate) fn note_failed(&mut self, cause: Cause, text: &str) {
        self.failures += 1;
        self.failed = Some(Went { at: SystemTime::now(), cause, text: text.to_owned() });
    }

    /// Whether the file as it was last read is in force.
    fn last_failed(&self) -> bool {
        match (&self.failed, &self.reloaded) {
            (Some(failed), Some(reloaded)) => failed.at > reloaded.at,
            (failed, _) => failed.is_some(),
        }
    }

    /// For `/status`.
    pub(crate) fn json(&self) -> Json {
        let went = |went: &Option<Went>| {
            went.as_ref().map_or(Json::Null, |went| {
                Json::object([
                    ("at_unix_seconds", Json::Count(unix(went.at))),
                    ("cause", Json::text(went.cause.word())),
                    ("message", Json::text(went.text.trim_end())),
                ])
            })
        };
        let file = self.in_force.as_ref().map(|file| file.display().to_string());
        let left =
            self.trial_until.map_or(Json::Null, |until| Json::Count(until.since(now()).as_secs()));
        Json::object([
            ("file", Json::text_or_null(file)),
            ("generation", Json::Count(self.generation)),
            ("unconfirmed_seconds_left", left),
            ("since_unix_seconds", Json::Count(unix(self.since))),
            ("last_reload", went(&self.reloaded)),
            ("last_failed_reload", went(&self.failed)),
        ])
    }

    /// For `/metrics`.
    pub(crate) fn metrics(&self, out: &mut String) {
        let families: [(&str, &str, &str, u64); 4] = [
            ("config_generation", "gauge", "Configurations put in force.", self.generation),
            (
                "config_last_reload_failed",
                "gauge",
                "1 where the last reload failed and an older configuration is in force.",
                u64::from(self.last_failed()),
            ),
            (
                "config_in_force_since_seconds",
                "gauge",
                "When the configuration in force came, in seconds since 1970.",
                unix(self.since),
            ),
            ("config_reload_failures_total", "counter", "Reloads that failed.", self.failures),
        ];
        for (name, kind, help, value) in families {
            let _ = writeln!(
                out,
                "# HELP gatehouse_{name} {help}\n# TYPE gatehouse_{name} {kind}\n\
                 gatehouse_{name} {value}"
            );
        }
    }
}

fn unix(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

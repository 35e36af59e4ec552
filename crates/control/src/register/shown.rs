//! What is shown of announcements, and told to an operator when it changes.

use super::RegisterSpec;
use crate::config::Json;
use std::cell::Cell;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// How it stands with one announcement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has answered yet.
    #[default]
    Beginning,
    Registered,
    /// It is not there, and why.
    Not(String),
    /// Another process has announced the same since.
    Followed(String),
    TakenBack,
}

/// One announcement.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub spec: Arc<RegisterSpec>,
    pub standing: Standing,
}

/// What is shown of all.
pub(crate) type Seen = Arc<Mutex<Vec<Shown>>>;

/// Where one announcement reports.
#[derive(Debug)]
pub(super) struct Report {
    pub spec: Arc<RegisterSpec>,
    pub seen: Seen,
    pub followed: Cell<bool>,
}

impl Report {
    pub fn new(spec: &Arc<RegisterSpec>, seen: &Seen) -> Report {
        Report { spec: Arc::clone(spec), seen: Arc::clone(seen), followed: Cell::new(false) }
    }

    /// Whether another process has announced the same since.
    pub fn is_followed(&self) -> bool {
        self.followed.get()
    }

    /// Notes how it stands, and says so where it is news.
    pub fn set(&self, standing: Standing) {
        self.followed.set(matches!(standing, Standing::Followed(_)));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is taken back is shown no more.
        let shown = seen.iter_mut().find(|shown| shown.spec == self.spec);
        if shown.as_ref().is_some_and(|shown| shown.standing == standing) {
            return;
        }
        let (node, servers) = (self.spec.node(), &self.spec.servers);
        match &standing {
            Standing::Registered => eprintln!("registered {node} at zookeeper {servers}"),
            Standing::Not(why) | Standing::Followed(why) => {
                eprintln!("warn: {node} is not registered: zookeeper {servers}: {why}");
            }
            Standing::TakenBack => eprintln!("{node} is registered no more"),
            Standing::Beginning => {}
        }
        if let Some(shown) = shown {
            shown.standing = standing;
        }
    }
}

/// As `/status` shows them.
pub(crate) fn json(seen: &Seen) -> Json {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Json::list(seen.iter().map(|shown| {
        let (state, why) = match &shown.standing {
            Standing::Beginning => ("beginning", None),
            Standing::Registered => ("registered", None),
            Standing::Not(why) | Standing::Followed(why) => ("not registered", Some(why.clone())),
            Standing::TakenBack => ("taken back", None),
        };
        Json::object([
            ("zookeeper", Json::text(shown.spec.servers.to_string())),
            ("node", Json::text(shown.spec.node())),
            ("state", Json::text(state)),
            ("why", Json::text_or_null(why)),
        ])
    }))
}

/// As `/metrics` shows them.
pub(crate) fn metrics(seen: &Seen, label: fn(&str) -> String, out: &mut String) {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.is_empty() {
        return;
    }
    out.push_str("# HELP gatehouse_registered Whether an announcement stands in its registry.\n");
    out.push_str("# TYPE gatehouse_registered gauge\n");
    for shown in seen.iter() {
        let node = label(&shown.spec.node());
        let value = u8::from(shown.standing == Standing::Registered);
        let _ = writeln!(out, "gatehouse_registered{{node={node}}} {value}");
    }
}

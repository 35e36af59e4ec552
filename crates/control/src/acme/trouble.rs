//! Why there is no certificate, and what follows from that.

use std::fmt;
use std::time::Duration;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody answers, or with an answer that says nothing: asked again soon.
    Away,
    /// There were too many requests; it may have been told how long to wait.
    Limited(Option<Duration>),
    /// The name could not be proved in this way; in another it might.
    Unproved,
    /// What was asked is refused; asking again may help once somebody has changed something.
    Refused,
    /// The gateway's own files or keys.
    Own,
}

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Trouble {
    pub kind: Kind,
    pub why: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Trouble {
    pub fn away(why: impl Into<String>) -> Trouble {
        Trouble { kind: Kind::Away, why: why.into() }
    }

    pub fn own(why: impl fmt::Display) -> Trouble {
        Trouble { kind: Kind::Own, why: why.to_string() }
    }

    pub fn unproved(why: impl Into<String>) -> Trouble {
        Trouble { kind: Kind::Unproved, why: why.into() }
    }
}

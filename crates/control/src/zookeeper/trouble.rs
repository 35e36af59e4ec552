//! Why ZooKeeper did not do what it was asked for.

use super::message::Code;
use std::fmt;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No server can be asked just now: which one was tried last, and what it said.
    Away(String),
    /// A server refuses, and says why.
    Refused {
        /// The node it is about.
        path: Box<str>,
        code: Code,
    },
    /// What is asked for cannot be: in words.
    Impossible(String),
}

impl Trouble {
    pub fn refused(path: &str, code: Code) -> Trouble {
        Trouble::Refused { path: path.into(), code }
    }

    /// Whether a server refuses with this code.
    pub fn is(&self, other: Code) -> bool {
        matches!(self, Trouble::Refused { code, .. } if *code == other)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Away(why) | Trouble::Impossible(why) => f.write_str(why),
            Trouble::Refused { path, code } => write!(f, "{path}: {code}"),
        }
    }
}

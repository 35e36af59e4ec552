//! What is wrong with a configuration: all of it, each with its place.

use super::source::{FileId, Place};
use std::ops::Range;

/// The most problems that are kept; further ones are counted only.
pub const PROBLEMS_MAX: usize = 1_000;

/// Whether a configuration with this problem can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but it may not do what was meant.
    Warning,
}

impl Severity {
    /// The word used in messages.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// What kind of problem it is. The words are stable: scripts read them from `check --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file that cannot be read.
    Unreadable,
    /// Text that is not TOML.
    Syntax,
    /// A key nobody knows.
    UnknownKey,
    /// A key or word whose feature is not built yet.
    NotInThisVersion,
    /// A value of another type.
    WrongType,
    /// A value of the right type that is not allowed.
    BadValue,
    /// A key that has to be there.
    Missing,
    /// An environment variable that is not set, or a reference that is not one.
    Reference,
    /// Two things of one name.
    Duplicate,
    /// A name that stands for nothing.
    Dangling,
    /// An option that cannot apply where it stands.
    NotApplicable,
    /// A pattern that does not compile.
    Pattern,
    /// Two routes that no request could tell apart.
    Tie,
    /// A file that includes itself, or is included twice.
    Include,
    /// A route that can never be taken.
    Shadowed,
    /// Timeouts that contradict each other.
    Timeouts,
    /// Something nobody uses.
    Unused,
    /// An endpoint whose requests come back to it.
    Circle,
    /// A name that does not resolve.
    Unresolved,
    /// A certificate, key or root that is wrong, or soon will be.
    Certificate,
}

impl Kind {
    /// The word used in `check --json`.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Unreadable => "unreadable",
            Kind::Syntax => "syntax",
            Kind::UnknownKey => "unknown-key",
            Kind::NotInThisVersion => "not-in-this-version",
            Kind::WrongType => "wrong-type",
            Kind::BadValue => "bad-value",
            Kind::Missing => "missing",
            Kind::Reference => "reference",
            Kind::Duplicate => "duplicate",
            Kind::Dangling => "dangling",
            Kind::NotApplicable => "not-applicable",
            Kind::Pattern => "pattern",
            Kind::Tie => "tie",
            Kind::Include => "include",
            Kind::Shadowed => "shadowed",
            Kind::Timeouts => "timeouts",
            Kind::Unused => "unused",
            Kind::Circle => "circle",
            Kind::Unresolved => "unresolved",
            Kind::Certificate => "certificate",
        }
    }
}

/// Another place a problem has to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Where.
    pub place: Place,
    /// What is there.
    pub text: String,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind it is.
    pub kind: Kind,
    /// Whether the configuration can be run all the same.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// Where else to look.
    pub related: Vec<Related>,
}

impl Problem {
    /// An error.
    pub fn error(kind: Kind, place: Place, reason: impl Into<String>) -> Problem {
        let (reason, severity) = (reason.into(), Severity::Error);
        Problem { kind, severity, place, reason, hint: None, related: Vec::new() }
    }

    /// A warning.
    pub fn warning(kind: Kind, place: Place, reason: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(kind, place, reason) }
    }

    /// This problem and what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// This problem and what to write instead, if that is known.
    #[must_use]
    pub(crate) fn hint_if(mut self, hint: Option<String>) -> Problem {
        self.hint = hint;
        self
    }

    /// This problem and another place to look.
    #[must_use]
    pub fn related(mut self, place: Place, text: impl Into<String>) -> Problem {
        self.related.push(Related { place, text: text.into() });
        self
    }
}

/// Where problems are collected.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
    errors: usize,
    left_out: usize,
    /// Lines that are not TOML, as bytes of their file: what else is said of them is an echo.
    broken: Vec<(FileId, Range<u32>)>,
    /// Whether something that was written may be missing from what was understood.
    loose: bool,
}

impl Report {
    /// Takes in one more, unless it is the echo of another.
    pub(crate) fn add(&mut self, problem: Problem) {
        let echo = self
            .broken
            .iter()
            .any(|(file, line)| *file == problem.place.file && line.contains(&problem.place.start));
        let absent = match problem.kind {
            Kind::Missing | Kind::Dangling | Kind::Unused | Kind::Shadowed => true,
            Kind::Unreadable
            | Kind::Syntax
            | Kind::UnknownKey
            | Kind::NotInThisVersion
            | Kind::WrongType
            | Kind::BadValue
            | Kind::Reference
            | Kind::Duplicate
            | Kind::NotApplicable
            | Kind::Pattern
            | Kind::Tie
            | Kind::Include
            | Kind::Timeouts
            | Kind::Circle
            | Kind::Unresolved
            | Kind::Certificate => false,
        };
        if echo || (absent && self.loose) {
            return;
        }
        self.keep(problem);
    }

    /// Takes in a line that is not TOML.
    pub(crate) fn add_syntax(&mut self, problem: Problem) {
        self.keep(problem);
    }

    fn keep(&mut self, problem: Problem) {
        self.errors += usize::from(problem.severity == Severity::Error);
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.left_out += 1;
        }
    }

    /// Remembers a line that is not TOML; `false` where it was known.
    pub(crate) fn note_broken(&mut self, file: FileId, line: Range<u32>) -> bool {
        self.loosen();
        let new = !self.broken.contains(&(file, line.clone()));
        if new && self.broken.len() < PROBLEMS_MAX {
            self.broken.push((file, line));
        }
        new
    }

    /// From here on nothing is said about what is not there: it may have been written.
    pub(crate) fn loosen(&mut self) {
        self.loose = true;
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// All problems in the order of their places, and how many more there were.
    pub(crate) fn finish(mut self) -> (Vec<Problem>, usize) {
        self.problems.sort_by_key(|problem| (problem.place.file, problem.place.start));
        self.problems.dedup();
        (self.problems, self.left_out)
    }
}

//! What a run came to.

use std::fmt;
use std::time::Duration;

use crate::bench::Latency;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Answers with status 200 and the right length.
    pub answered: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Requests that were not answered so.
    pub errors: Errors,
    /// The first of these.
    pub first: Option<Wrong>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// From a request's begin, a connection it needed included, to the end of its answer.
    pub latency: Latency,
}

/// How many requests went wrong, by what was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// The connection could not be opened, or broke or ended before there was a whole head.
    pub broken: u64,
    /// A status other than 200.
    pub status: u64,
    /// A body of another length than expected or promised.
    pub length: u64,
    /// What came cannot be read, or nobody asked for it.
    pub malformed: u64,
}

impl Errors {
    /// All of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.broken + self.status + self.length + self.malformed
    }
}

/// What was wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There was none.
    Broken,
    /// Another status than 200.
    Status(u16),
    /// A body of another length, in bytes.
    Length {
        /// What came, or was promised.
        found: u64,
        /// What was to come.
        expected: u64,
    },
    /// It cannot be read, or there is more than was asked for.
    Malformed,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("no answer: the connection was refused, reset or closed"),
            Self::Status(status) => write!(f, "status {status}, not 200"),
            Self::Length { found, expected } => {
                write!(f, "a body of {found} bytes, not {expected}")
            }
            Self::Malformed => f.write_str("an answer that cannot be read, or more than one"),
        }
    }
}

impl Outcome {
    /// Every figure as one JSON object, times in microseconds.
    #[must_use]
    pub fn json(&self) -> String {
        let Self { answered, body_bytes, errors, elapsed, latency, .. } = self;
        let Errors { broken, status, length, malformed } = errors;
        let seconds = elapsed.as_secs_f64();
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        let within = |share| micros(latency.within(share));
        let (p50, p99, p999) = (within(0.5), within(0.99), within(0.999));
        let max = micros(latency.max());
        // Its text has neither quotes nor backslashes.
        let first = self.first.map_or("null".to_owned(), |wrong| format!("\"{wrong}\""));
        format!(
            "{{\"answered\":{answered},\"body_bytes\":{body_bytes},\"seconds\":{seconds:.6},\
             \"p50\":{p50:.1},\"p99\":{p99:.1},\"p999\":{p999:.1},\"max\":{max:.1},\
             \"errors\":{{\"broken\":{broken},\"status\":{status},\"length\":{length},\
             \"malformed\":{malformed}}},\"first_error\":{first}}}"
        )
    }
}

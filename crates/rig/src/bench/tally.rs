//! What is counted. Every request that was sent ends in exactly one of the counts.

/// Why a request was not answered, or a connection not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No connection; with the reason.
    Connect(String),
    /// The connection broke.
    Reset,
    /// The peer ended its side before the answer was complete.
    Closed,
    /// No complete answer in time.
    Timeout,
    /// What came is no answer.
    Malformed,
}

/// Counts of a run. `sent` is the sum of `answered`, `reset`, `closed`, `timeout`, `malformed` and
/// `unfinished`, but for unasked bytes on an idle connection, which are malformed too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests of which at least a byte was sent.
    pub sent: u64,
    /// Complete answers, whatever their status.
    pub answered: u64,
    /// Answers by the first digit of their status; the first place is for all that have none.
    pub statuses: [u64; 6],
    /// Connections that could not be made.
    pub connect: u64,
    /// Why the first of them could not be made.
    pub connect_reason: Option<String>,
    /// Requests whose connection broke.
    pub reset: u64,
    /// Requests whose connection was closed before the answer was complete.
    pub closed: u64,
    /// Requests that had no complete answer in time.
    pub timeout: u64,
    /// Answers that are none.
    pub malformed: u64,
    /// Requests under way when the run was over.
    pub unfinished: u64,
    /// Requests that were due and not sent when the run was over.
    pub unsent: u64,
    /// Bytes of answers, heads included.
    pub bytes_in: u64,
    /// Bytes of requests, heads included.
    pub bytes_out: u64,
}

impl Tally {
    pub(super) fn answer(&mut self, status: u16) {
        self.answered += 1;
        let class = usize::from(status / 100);
        self.statuses[if class < self.statuses.len() { class } else { 0 }] += 1;
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let count = match fault {
            Fault::Connect(reason) => {
                self.connect_reason.get_or_insert(reason);
                &mut self.connect
            }
            Fault::Reset => &mut self.reset,
            Fault::Closed => &mut self.closed,
            Fault::Timeout => &mut self.timeout,
            Fault::Malformed => &mut self.malformed,
        };
        *count += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        for (count, more) in self.statuses.iter_mut().zip(other.statuses) {
            *count += more;
        }
        self.connect += other.connect;
        if self.connect_reason.is_none() {
            self.connect_reason.clone_from(&other.connect_reason);
        }
        self.reset += other.reset;
        self.closed += other.closed;
        self.timeout += other.timeout;
        self.malformed += other.malformed;
        self.unfinished += other.unfinished;
        self.unsent += other.unsent;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }

    /// Requests that failed, answers with a status from 400 on included.
    #[must_use]
    pub fn failed(&self) -> u64 {
        let faults = self.connect + self.reset + self.closed + self.timeout + self.malformed;
        faults + self.statuses[4] + self.statuses[5]
    }
}

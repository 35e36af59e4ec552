//! Where a failure happens, and whose fault it can be.

/// The twelve steps of an exchange, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A socket is taken from a listener.
    Accept,
    /// The socket becomes a connection.
    Handshake,
    /// A request head is read.
    Read,
    /// A route is found.
    Route,
    /// The route's policies are applied.
    Admit,
    /// A stored answer is looked for.
    Recall,
    /// An endpoint is chosen.
    Pick,
    /// A connection to it is taken or opened.
    Lease,
    /// The request is sent.
    Send,
    /// The answer's head is received.
    Receive,
    /// The answer is passed on.
    Respond,
    /// What happened is recorded.
    Record,
}

impl Step {
    /// The word used in logs, metrics and file names.
    pub const fn word(self) -> &'static str {
        match self {
            Step::Accept => "accept",
            Step::Handshake => "handshake",
            Step::Read => "read",
            Step::Route => "route",
            Step::Admit => "admit",
            Step::Recall => "recall",
            Step::Pick => "pick",
            Step::Lease => "lease",
            Step::Send => "send",
            Step::Receive => "receive",
            Step::Respond => "respond",
            Step::Record => "record",
        }
    }
}

/// Whose fault a failure was. Only [`Side::Upstream`] may count against an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client sent something wrong, was too slow, or left.
    Client,
    /// The upstream refused, broke off, lied or was too slow.
    Upstream,
    /// The gateway itself: no route, no endpoint, a limit of its own.
    Gateway,
}

impl Side {
    /// The word used in logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Upstream => "upstream",
            Side::Gateway => "gateway",
        }
    }
}

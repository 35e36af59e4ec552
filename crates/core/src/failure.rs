//! Trouble as a value: the step it happened in, whose fault it was, what kind it is.
//!
//! One exhaustive table, [`Kind::facts`], says what every kind means to a client, to the endpoint
//! and to the log. A new kind does not compile until that table answers for it.

mod facts;
mod step;

use facts::facts;

pub use facts::Facts;
pub use step::{Side, Step};

use std::fmt;

/// What went wrong. Each has one row in [`Kind::facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request head breaks RFC 9112's grammar.
    RequestMalformed,
    /// The request's framing can be read two ways.
    RequestFramingAmbiguous,
    /// The request's path holds something that could be read two ways.
    RequestPathAmbiguous,
    /// Host is missing, doubled, malformed, or disagrees with the target.
    RequestHostInvalid,
    /// The request head took longer than allowed.
    RequestHeadTimeout,
    /// The request head has too many bytes or fields.
    RequestHeadTooLarge,
    /// The request target is longer than allowed.
    RequestTargetTooLong,
    /// The method is one a gateway cannot serve (CONNECT).
    RequestMethodUnsupported,
    /// A transfer coding other than chunked.
    RequestCodingUnsupported,
    /// An HTTP version other than 1.0 and 1.1.
    RequestVersionUnsupported,
    /// The request body is longer than allowed.
    RequestBodyTooLarge,
    /// The request body's chunked framing is broken.
    RequestBodyMalformed,
    /// The request body made too little progress.
    RequestBodyTimeout,
    /// The client reset the connection or left before its answer ended.
    ClientGone,
    /// The client reads its answer too slowly.
    ClientTooSlow,
    /// The host belongs to another TLS policy than the connection was made under.
    RequestMisdirected,
    /// No route matches.
    NoRoute,
    /// Routes match, but none of them for this method.
    MethodNotAllowed,
    /// The rewrite of this path gives nothing that could be sent.
    RewriteInvalid,
    /// The gateway is short of memory.
    Overloaded,
    /// The gateway may open no more sockets.
    OutOfSockets,
    /// The upstream has no endpoint at all.
    NoEndpoint,
    /// The upstream has as many requests in flight as its breaker allows.
    UpstreamAtCap,
    /// The upstream's breaker is open.
    BreakerOpen,
    /// All endpoints are at their cap.
    EndpointsAtCap,
    /// As many requests wait for a place at the upstream as may.
    QueueFull,
    /// No place at the upstream came free in time.
    QueueTimeout,
    /// The endpoint refused the connection.
    ConnectRefused,
    /// The endpoint could not be reached.
    ConnectFailed,
    /// Connecting took longer than allowed.
    ConnectTimeout,
    /// The endpoint's certificate is not good.
    UpstreamCertificate,
    /// The endpoint refused the TLS handshake.
    UpstreamTlsAlert,
    /// The endpoint does not speak TLS as it should.
    UpstreamTlsProtocol,
    /// The request could not be written to the endpoint.
    UpstreamWriteFailed,
    /// The endpoint took the request too slowly.
    UpstreamWriteTimeout,
    /// The endpoint closed or reset before its answer's head was complete.
    UpstreamClosed,
    /// The endpoint said that it did nothing about the request (RFC 9113 section 8.7).
    UpstreamRefused,
    /// The first byte of the answer took longer than allowed.
    UpstreamFirstByteTimeout,
    /// The answer's head breaks the grammar or its framing can be read two ways.
    UpstreamMalformed,
    /// The answer's head has too many bytes or fields.
    UpstreamHeadTooLarge,
    /// The endpoint switched protocols without being asked to, or to something else.
    UpstreamUpgradeInvalid,
    /// The answer's body ended early or broke its framing.
    UpstreamBodyCut,
    /// The answer's body made no progress for too long.
    UpstreamIdleTimeout,
    /// The whole exchange took longer than the route allows.
    TotalTimeout,
    /// The peer may not speak for other clients, and the listener takes nobody else.
    PeerNotTrusted,
    /// The connection does not start with a PROXY header, or with a broken one.
    ProxyHeaderInvalid,
    /// The connection is to be routed by the name in its ClientHello, and that is broken.
    ClientHelloInvalid,
    /// A PROXY header or a ClientHello took longer than allowed.
    HandshakeTimeout,
    /// The endpoint reset a connection that was carried through.
    UpstreamReset,
    /// Nothing moved in a tunnel, either way, for too long.
    TunnelIdle,
    /// The time of a drain was over, and the connection was cut.
    DrainCut,
    /// The time is over that the caller itself has given (gRPC).
    CallDeadline,
    /// A fault in the gateway; a bug.
    Internal,
}

impl Kind {
    /// The one table of what failures mean.
    pub const fn facts(self) -> Facts {
        use Side::{Client, Gateway, Upstream};
        const INTERNAL: &str = "proxy_internal_error";
        const REQUEST: &str = "http_request_error";
        const PROTOCOL: &str = "http_protocol_error";
        match self {
            Kind::RequestMalformed => {
                facts(Client, 400, REQUEST, "request-malformed", "the request is malformed")
            }
            Kind::RequestFramingAmbiguous => facts(
                Client,
                400,
                REQUEST,
                "request-framing-ambiguous",
                "the request's framing can be read two ways",
            ),
            Kind::RequestPathAmbiguous => facts(
                Client,
                400,
                REQUEST,
                "request-path-ambiguous",
                "the request's path can be read two ways",
            ),
            Kind::RequestHostInvalid => facts(
                Client,
                400,
                REQUEST,
                "request-host-invalid",
                "the request's host is missing, doubled or malformed",
            ),
            Kind::RequestHeadTimeout => facts(
                Client,
                408,
                REQUEST,
                "request-head-timeout",
                "the request head took too long",
            ),
            Kind::RequestHeadTooLarge => facts(
                Client,
                431,
                REQUEST,
                "request-head-too-large",
                "the request head is too large",
            ),
            Kind::RequestTargetTooLong => facts(
                Client,
                414,
                REQUEST,
                "request-target-too-long",
                "the request target is too long",
            ),
            Kind::RequestMethodUnsupported => facts(
                Client,
                501,
                REQUEST,
                "request-method-unsupported",
                "this method is not served here",
            ),
            Kind::RequestCodingUnsupported => facts(
                Client,
                501,
                REQUEST,
                "request-coding-unsupported",
                "this transfer coding is not supported",
            ),
            Kind::RequestVersionUnsupported => facts(
                Client,
                505,
                REQUEST,
                "request-version-unsupported",
                "this version of HTTP is not supported",
            ),
            Kind::RequestBodyTooLarge => facts(
                Client,
                413,
                REQUEST,
                "request-body-too-large",
                "the request body is too large",
            ),
            Kind::RequestBodyMalformed => facts(
                Client,
                400,
                REQUEST,
                "request-body-malformed",
                "the request body's framing is broken",
            ),
            Kind::RequestBodyTimeout => facts(
                Client,
                408,
                REQUEST,
                "request-body-timeout",
                "the request body took too long",
            ),
            Kind::ClientGone => facts(Client, 499, REQUEST, "client-gone", "the client left"),
            Kind::ClientTooSlow => {
                facts(Client, 499, REQUEST, "client-too-slow", "the client reads too slowly")
            }
            Kind::RequestMisdirected => facts(
                Client,
                421,
                "http_request_denied",
                "request-misdirected",
                "this connection is not for that host",
            ),
            Kind::NoRoute => {
                facts(Gateway, 404, "destination_not_found", "no-route", "no route matches")
            }
            Kind::MethodNotAllowed => facts(
                Gateway,
                405,
                "http_request_denied",
                "method-not-allowed",
                "this method is not allowed here",
            ),
            Kind::RewriteInvalid => {
                facts(Gateway, 400, REQUEST, "rewrite-invalid", "the rewritten path cannot be sent")
            }
            Kind::Overloaded => facts(
                Gateway,
                503,
                "http_request_denied",
                "overloaded",
                "the gateway is short of memory",
            ),
            Kind::OutOfSockets => {
                facts(Gateway, 503, INTERNAL, "out-of-sockets", "no room for another socket")
            }
            Kind::NoEndpoint => facts(
                Gateway,
                503,
                "destination_unavailable",
                "no-endpoint",
                "the upstream has no endpoint",
            ),
            Kind::UpstreamAtCap => facts(
                Gateway,
                503,
                "connection_limit_reached",
                "upstream-at-cap",
                "the upstream is at its limit of requests in flight",
            ),
            Kind::BreakerOpen => facts(
                Gateway,
                503,
                "destination_unavailable",
                "breaker-open",
                "the upstream's circuit breaker is open",
            ),
            Kind::EndpointsAtCap => facts(
                Gateway,
                503,
                "connection_limit_reached",
                "endpoints-at-cap",
                "all endpoints are at their connection cap",
            ),
            Kind::QueueFull => facts(
                Gateway,
                503,
                "connection_limit_reached",
                "queue-full",
                "the queue for the upstream is full",
            ),
            Kind::QueueTimeout => facts(
                Gateway,
                503,
                "connection_limit_reached",
                "queue-timeout",
                "no place at the upstream came free in time",
            ),
            Kind::ConnectRefused => facts(
                Upstream,
                502,
                "connection_refused",
                "connect-refused",
                "the connection was refused",
            ),
            Kind::ConnectFailed => facts(
                Upstream,
                502,
                "destination_ip_unroutable",
                "connect-failed",
                "the connection failed",
            ),
            Kind::ConnectTimeout => {
                facts(Upstream, 504, "connection_timeout", "connect-timeout", "connect timed out")
            }
            Kind::UpstreamCertificate => facts(
                Upstream,
                502,
                "tls_certificate_error",
                "upstream-certificate",
                "the endpoint's certificate is not good",
            ),
            Kind::UpstreamTlsAlert => facts(
                Upstream,
                502,
                "tls_alert_received",
                "upstream-tls-alert",
                "the endpoint refused the tls handshake",
            ),
            Kind::UpstreamTlsProtocol => facts(
                Upstream,
                502,
                "tls_protocol_error",
                "upstream-tls-protocol",
                "the tls handshake failed",
            ),
            Kind::UpstreamWriteFailed => facts(
                Upstream,
                502,
                "connection_terminated",
                "upstream-write-failed",
                "the request could not be written",
            ),
            Kind::UpstreamWriteTimeout => facts(
                Upstream,
                504,
                "connection_write_timeout",
                "upstream-write-timeout",
                "the request was taken too slowly",
            ),
            Kind::UpstreamClosed => facts(
                Upstream,
                502,
                "connection_terminated",
                "upstream-closed",
                "the connection closed before an answer came",
            ),
            Kind::UpstreamRefused => facts(
                Upstream,
                503,
                "destination_unavailable",
                "upstream-refused",
                "the endpoint refused the request without looking at it",
            ),
            Kind::UpstreamFirstByteTimeout => facts(
                Upstream,
                504,
                "http_response_timeout",
                "upstream-first-byte-timeout",
                "the first byte of the answer timed out",
            ),
            Kind::UpstreamMalformed => {
                facts(Upstream, 502, PROTOCOL, "upstream-malformed", "the answer is malformed")
            }
            Kind::UpstreamHeadTooLarge => facts(
                Upstream,
                502,
                "http_response_header_section_size",
                "upstream-head-too-large",
                "the answer's head is too large",
            ),
            Kind::UpstreamUpgradeInvalid => facts(
                Upstream,
                502,
                "http_upgrade_failed",
                "upstream-upgrade-invalid",
                "the answer switches protocols unasked",
            ),
            Kind::UpstreamBodyCut => facts(
                Upstream,
                502,
                "http_response_incomplete",
                "upstream-body-cut",
                "the answer's body was cut short",
            ),
            Kind::UpstreamIdleTimeout => facts(
                Upstream,
                504,
                "connection_read_timeout",
                "upstream-idle-timeout",
                "the answer made no progress",
            ),
            Kind::TotalTimeout => facts(
                Upstream,
                504,
                "http_response_timeout",
                "total-timeout",
                "the exchange took longer than the route allows",
            ),
            Kind::PeerNotTrusted => facts(
                Client,
                403,
                "http_request_denied",
                "peer-not-trusted",
                "the peer is no trusted proxy",
            ),
            Kind::ProxyHeaderInvalid => {
                facts(Client, 400, REQUEST, "proxy-header-invalid", "the PROXY header is broken")
            }
            Kind::ClientHelloInvalid => {
                facts(Client, 400, REQUEST, "client-hello-invalid", "the ClientHello is broken")
            }
            Kind::HandshakeTimeout => {
                facts(Client, 408, REQUEST, "handshake-timeout", "the handshake took too long")
            }
            Kind::UpstreamReset => facts(
                Upstream,
                502,
                "connection_terminated",
                "upstream-reset",
                "the endpoint reset the connection",
            ),
            Kind::TunnelIdle => facts(
                Gateway,
                504,
                "connection_timeout",
                "tunnel-idle",
                "nothing moved in the tunnel",
            ),
            Kind::DrainCut => facts(
                Gateway,
                503,
                "connection_terminated",
                "drain-cut",
                "the gateway is stopping, and the time to drain was over",
            ),
            Kind::CallDeadline => facts(
                Client,
                504,
                "http_response_timeout",
                "call-deadline",
                "the time the caller has given is over",
            ),
            Kind::Internal => {
                facts(Gateway, 500, INTERNAL, "internal", "the gateway failed; this is a bug")
            }
        }
    }
}

/// A failure of one exchange: where, what, and a detail that names the rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step it happened in.
    pub step: Step,
    /// What went wrong.
    pub kind: Kind,
    /// The rule or cause in a few words; empty where the kind says it all.
    pub detail: &'static str,
}

impl Failure {
    /// A failure whose kind says it all.
    pub const fn new(step: Step, kind: Kind) -> Failure {
        Failure { step, kind, detail: "" }
    }

    /// A failure with the rule or cause that the kind alone does not name.
    pub const fn because(step: Step, kind: Kind, detail: &'static str) -> Failure {
        Failure { step, kind, detail }
    }

    /// Whose fault it was.
    pub const fn side(self) -> Side {
        self.kind.facts().side
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.kind.facts();
        f.write_str(facts.text)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

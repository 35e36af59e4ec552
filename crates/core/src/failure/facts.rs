//! What a kind of failure means to each who is told of it.

use super::Side;

/// What a kind means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose fault it was.
    pub side: Side,
    /// The HTTP status a client is given, if it is still owed an answer.
    pub status: u16,
    /// The gRPC status code for the same (grpc.io, status codes).
    pub grpc: u8,
    /// The `error` token of `Proxy-Status` (RFC 9209 section 2.3).
    pub proxy_status: &'static str,
    /// The word used in logs and metrics.
    pub word: &'static str,
    /// What a person is told, without subject.
    pub text: &'static str,
}

pub(super) const fn facts(
    side: Side,
    status: u16,
    proxy_status: &'static str,
    word: &'static str,
    text: &'static str,
) -> Facts {
    let grpc = match status {
        400 | 405 | 413 | 414 | 431 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        408 | 504 => 4,
        429 => 8,
        500 | 501 | 505 => 13,
        502 | 503 => 14,
        _ => 2,
    };
    Facts { side, status, grpc, proxy_status, word, text }
}

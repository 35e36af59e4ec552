//! HTTP/1.1 (RFC 9112), both sides: strict where two readings are possible.

pub mod body;
pub mod encode;
pub(crate) mod fields;
pub mod request;
pub mod response;
mod salvage;
mod scan;
pub(crate) mod target;

use gatehouse_core::message::{Fields, Known};

pub use body::{BodyError, Decoder};
pub use request::{ReadError, RequestLimits};
pub use response::AnswerError;
pub use salvage::salvage;

/// The most field lines any limit may allow.
pub const FIELDS_MAX: usize = 256;

/// Where the head in `bytes` may end, if at all: a line end right behind a line end. Looking only
/// behind `scanned` keeps a head that comes byte by byte from being parsed again for each.
pub(crate) fn may_hold_end(bytes: &[u8], scanned: usize) -> bool {
    let from = scanned.saturating_sub(3);
    let mut rest = &bytes[from.min(bytes.len())..];
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        rest = &rest[at + 1..];
        if rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return true;
        }
    }
    false
}

/// The most members `Connection` may list: each is looked for among all fields.
pub const CONNECTION_MEMBERS_MAX: usize = 64;

/// Whether `Connection` lists more than anybody needs.
pub(crate) fn lists_too_much(fields: &Fields) -> bool {
    let commas = |value: &[u8]| value.iter().filter(|byte| **byte == b',').count() + 1;
    fields.has(Known::Connection)
        && fields.all(Known::Connection).map(commas).sum::<usize>() > CONNECTION_MEMBERS_MAX
}

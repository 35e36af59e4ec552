//! What a request and an answer are, whatever protocol carried them.
//!
//! A head is one buffer and a table of spans. Edits are recorded beside what was received, and
//! the encoder writes the result once. Nothing here reads or writes a socket.

mod field;
mod head;
mod known;
mod method;
pub mod path;

pub use field::{Field, Fields, Repeated, Span};
pub use head::{BodyLength, RequestHead, ResponseHead, Version, lists_token, tokens};
pub use known::Known;
pub use method::{Method, MethodSet};

//! Speaks: listens, dials, and carries HTTP/1.1 and raw bytes, in clear or under TLS.
//!
//! Never here: a Plan, a policy, a Failure. What goes wrong comes back as a narrow error; the
//! step that called says what it means. Sockets and timers are named in `socket` and `timer`
//! alone, so that the driver underneath can change.

mod acceptor;
pub mod announced;
mod attend;
mod bell;
pub mod buffer;
pub mod client_hello;
mod connected;
pub mod datagram;
mod dial_error;
pub mod driver;
pub mod grpc_web;
pub mod h1;
pub mod h2;
pub mod handover;
#[cfg(feature = "memory")]
pub mod memory;
pub mod net;
pub mod proxy_header;
pub mod pump;
mod ready;
pub mod socket;
pub mod splice;
mod sys;
pub mod timer;
pub mod tls;
pub mod told;
pub mod tunnel;
mod window;

pub use attend::attend;
pub use bell::wakes_later;
pub use buffer::{Buffers, Inbox};
pub use dial_error::{DialError, is_exhaustion};
pub use net::{Listener, Net, Peer};
pub use socket::Stream;
pub use sys::{page_bytes, trim_memory};

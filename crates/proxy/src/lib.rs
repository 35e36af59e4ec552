//! Carries: one request and its answer, in twelve steps, each a file of its own.
//!
//! Never here: serde, files, DNS, unbounded queues, a bare spawn, unwrap. The control side talks
//! to this crate through [`gate::Gate`]: `publish`, `set_endpoints`, `observe`.

mod accept;
mod addresses;
mod admit;
mod attempts;
mod buffer;
pub mod challenges;
mod client;
mod client_cert;
pub mod credentials;
mod date;
mod door;
mod exchange;
mod forwarded;
pub mod gate;
mod grpc;
pub mod handshake;
mod hedge;
mod hop;
mod lease;
mod line;
mod load;
pub mod log;
pub mod meters;
mod own;
mod parking;
mod pick;
mod pool;
mod progress;
mod proxied;
mod queue;
mod read;
mod receive;
mod record;
mod respond;
mod rooms;
mod route;
mod send;
mod sessions;
pub mod signals;
pub mod sockets;
mod streams;
mod tasks;
mod tcp;
mod tcp_line;
mod trace;
mod tunnel;
mod verdict;
mod worker;

//! TLS 1.2 and 1.3 over any stream, by rustls with aws-lc. Configurations are made of bytes that
//! are given: nothing here reads a file, asks for a name, or knows a policy beyond what a
//! certificate and a handshake are.
//!
//! rustls keeps the keys, the state machine and the record protection; the buffers are ours, so
//! that an idle connection holds none.

mod challenge;
mod client;
mod der;
mod facts;
mod handshake;
mod identity;
mod names;
mod peer;
mod room;
mod server;
mod session;
mod stream;
mod suites;

pub use challenge::{ACME_PROTOCOL, Challenges};
pub use client::{ClientFault, ClientSide, ClientSpec, Roots, ServerId, Verify};
pub use facts::Facts;
pub use handshake::{Accepted, HandshakeError, accept, connect};
pub use identity::{Identity, IdentityFault};
pub use names::covers;
pub use peer::Peer;
pub use rustls::pki_types::CertificateDer as Certificate;
pub use server::{ClientAuth, Policy, PolicyId, ServerEntry, ServerFault, ServerSide};
pub use stream::TlsStream;
pub use suites::{MinVersion, SUITES, suite_named};

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, LazyLock};

/// aws-lc with everything it does well; policies take from it.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

//! What a handshake has settled.

use super::peer::Peer;
use super::server::{PolicyId, ServerSide};
use super::suites::{suite_name, version_name};
use rustls::{CommonState, HandshakeKind};
use std::sync::Arc;

/// What a handshake has settled.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The suite's registered name.
    pub cipher: &'static str,
    /// The name the client asked for, in lower case.
    pub name: Option<Box<str>>,
    /// The protocol that was agreed on (RFC 7301).
    pub protocol: Option<Box<[u8]>>,
    /// Whether an earlier session was taken up again.
    pub resumed: bool,
    /// Who the client has proved to be.
    pub peer: Option<Box<Peer>>,
    /// The side that was served, and the policy the connection was made under.
    served: Option<(Arc<ServerSide>, PolicyId)>,
}

impl Facts {
    pub(super) fn of(
        state: &CommonState,
        name: Option<Box<str>>,
        served: Option<(Arc<ServerSide>, PolicyId)>,
    ) -> Facts {
        // Of a client's server the certificate is of no more interest once it is verified.
        let chain = served.as_ref().and_then(|_| state.peer_certificates());
        Facts {
            version: version_name(state.protocol_version()),
            cipher: state.negotiated_cipher_suite().map_or("unknown", suite_name),
            name,
            protocol: state.alpn_protocol().map(Into::into),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            peer: chain.and_then(Peer::of),
            served,
        }
    }

    /// Whether a request for `host`, in lower case, may be answered on this connection: the
    /// policy for that host is the one under which the connection was made.
    pub fn admits(&self, host: &[u8]) -> bool {
        let Some((side, policy)) = &self.served else { return true };
        if side.has_one_policy() {
            return true;
        }
        // What is no text is no name either: it is for whoever asks for none.
        side.policy_of(std::str::from_utf8(host).unwrap_or_default()) == *policy
    }
}

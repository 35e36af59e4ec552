//! Who a client has proved to be, told to the upstream (RFC 9440). What a client writes into these
//! fields itself never gets there: they go the way of all forwarding fields.

use crate::client::Client;
use gatehouse_core::message::Fields;

const CERTIFICATE: &[u8] = b"Client-Cert";

/// Writes the fields of a client that has shown a certificate. Those of a trusted proxy, which
/// tells of its own client, stay.
pub(crate) fn write(client: &Client, fields: &mut Fields) {
    let Some(peer) = client.io.stream.tls().and_then(|tls| tls.peer.as_ref()) else { return };
    if client.trusted && fields.named(CERTIFICATE).next().is_some() {
        return;
    }
    fields.set(CERTIFICATE, peer.certificate.as_bytes());
    if !peer.chain.is_empty() {
        fields.set(b"Client-Cert-Chain", peer.chain.as_bytes());
    }
    fields.set(b"X-Client-Cert-Subject", peer.subject.as_bytes());
    fields.set(b"X-Client-Cert-SHA256", peer.fingerprint.as_bytes());
}

//! A client's certificate, verified, in the forms in which it is passed on.

use super::der;
use rustls::pki_types::CertificateDer;
use std::fmt::Write;

/// Bytes of the chain that is passed on; a longer one is left out, the certificate itself stays.
const CHAIN_BYTES_MAX: usize = 16 * 1024;

/// Who a client has proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its certificate as `Client-Cert` has it (RFC 9440 section 2.2).
    pub certificate: Box<str>,
    /// What it sent beside, as `Client-Cert-Chain` has it (RFC 9440 section 2.3); may be empty.
    pub chain: Box<str>,
    /// Its subject, as RFC 4514 writes it, printable ASCII only.
    pub subject: Box<str>,
    /// SHA-256 of its certificate in hex.
    pub fingerprint: Box<str>,
}

impl Peer {
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Box<Peer>> {
        let (own, others) = chain.split_first()?;
        let subject = der::certificate(own).map(|facts| facts.subject).unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, own);
        let mut fingerprint = String::with_capacity(64);
        for byte in digest.as_ref() {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        let mut beside = String::new();
        let size: usize = others.iter().map(|other| other.len()).sum();
        for other in others.iter().filter(|_| size <= CHAIN_BYTES_MAX) {
            if !beside.is_empty() {
                beside.push_str(", ");
            }
            byte_sequence(other, &mut beside);
        }
        let mut certificate = String::new();
        byte_sequence(own, &mut certificate);
        Some(Box::new(Peer {
            certificate: certificate.into(),
            chain: beside.into(),
            subject: subject.into(),
            fingerprint: fingerprint.into(),
        }))
    }
}

/// A byte sequence of structured fields (RFC 9651 section 4.1.8): base64 between colons.
fn byte_sequence(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.reserve(bytes.len().div_ceil(3) * 4 + 2);
    out.push(':');
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out.push(':');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, expected) in [
            ("", "::"),
            ("f", ":Zg==:"),
            ("fo", ":Zm8=:"),
            ("foo", ":Zm9v:"),
            ("foob", ":Zm9vYg==:"),
        ] {
            let mut out = String::new();
            byte_sequence(text.as_bytes(), &mut out);
            assert_eq!(out, expected);
        }
    }
}

//! A certificate with its chain and key, made of PEM.

use super::{PROVIDER, der};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Certificates one file may hold.
const CHAIN_MAX: usize = 32;

/// Who one is: a certificate chain and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    names: Vec<Box<str>>,
    facts: der::Certificate,
}

/// Why there is no identity in what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityFault {
    /// There is no certificate in PEM.
    NoCertificate,
    /// A certificate cannot be read.
    BadCertificate,
    /// More certificates than a chain has.
    ChainTooLong,
    /// There is no private key in PEM.
    NoKey,
    /// The key is encrypted with a passphrase.
    EncryptedKey,
    /// The key is of a kind that is not supported, or broken.
    BadKey,
    /// The key is not the certificate's.
    Mismatch,
}

impl fmt::Display for IdentityFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdentityFault::NoCertificate => "it holds no certificate in PEM",
            IdentityFault::BadCertificate => "it holds a certificate that cannot be read",
            IdentityFault::ChainTooLong => "it holds more certificates than a chain has",
            IdentityFault::NoKey => "it holds no private key in PEM (PKCS#8, SEC1 or PKCS#1)",
            IdentityFault::EncryptedKey => "the private key is encrypted with a passphrase",
            IdentityFault::BadKey => {
                "the private key is broken, or neither RSA of 2,048 bits or more, ECDSA nor Ed25519"
            }
            IdentityFault::Mismatch => "the private key is not the certificate's",
        })
    }
}

impl Identity {
    /// Reads a chain, the server's own certificate first, and its key; `staple` is an OCSP answer
    /// in DER that is sent with it.
    ///
    /// # Errors
    /// [`IdentityFault`].
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
        staple: Option<Vec<u8>>,
    ) -> Result<Identity, IdentityFault> {
        let chain = certificates(chain)?;
        let key = private_key(key)?;
        let mut key =
            CertifiedKey::from_der(chain, key, &PROVIDER).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => IdentityFault::Mismatch,
                rustls::Error::InvalidCertificate(_) => IdentityFault::BadCertificate,
                _ => IdentityFault::BadKey,
            })?;
        key.ocsp = staple;
        let own = key.cert.first().ok_or(IdentityFault::NoCertificate)?;
        let facts = der::certificate(own).ok_or(IdentityFault::BadCertificate)?;
        let parsed =
            webpki::EndEntityCert::try_from(own).map_err(|_| IdentityFault::BadCertificate)?;
        let names = parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect();
        Ok(Identity { names, facts, key: Arc::new(key) })
    }

    /// The host names it is for, in lower case; `*.` in front stands for one label.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// From when it is valid.
    pub fn not_before(&self) -> SystemTime {
        self.facts.not_before
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// Whose it is, as RFC 4514 writes it.
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }
}

/// All certificates in a PEM text.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|_| IdentityFault::BadCertificate)?;
    match found.len() {
        0 => Err(IdentityFault::NoCertificate),
        1..=CHAIN_MAX => Ok(found),
        _ => Err(IdentityFault::ChainTooLong),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityFault> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let has = |word: &[u8]| pem.windows(word.len()).any(|window| window == word);
        let encrypted = has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED");
        if encrypted { IdentityFault::EncryptedKey } else { IdentityFault::NoKey }
    })
}

//! Keys and certificates of the gateway's own making: requests to be signed by an authority, what
//! is shown until it has, and what proves a name in a handshake.

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, Error, KeyPair};

/// A new key of ECDSA P-256, in PEM.
pub(super) fn key() -> Result<String, Error> {
    KeyPair::generate().map(|key| key.serialize_pem())
}

/// A new key, in PEM, and what an authority is to sign, in DER.
pub(super) fn request(name: &str) -> Result<(String, Vec<u8>), Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    // The names are all that an authority looks at.
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

/// A certificate that signs itself, and its key: what clients are shown until there is another.
pub(crate) fn placeholder(name: &str) -> Result<String, Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "gatehouse: no certificate yet");
    let made = params.self_signed(&key)?;
    Ok(format!("{}{}", made.pem(), key.serialize_pem()))
}

/// The certificate and key, in DER, that prove `name` by TLS-ALPN-01 (RFC 8737 section 3).
pub(super) fn challenge(name: &str, authorization: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    let digest = digest(&SHA256, authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let made = params.self_signed(&key)?;
    Ok((made.der().to_vec(), key.serialize_der()))
}

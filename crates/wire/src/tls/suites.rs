//! Versions and cipher suites by their registered names (RFC 8446, RFC 5289, RFC 7905).

use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

/// The lowest version that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

/// Every suite there is, by its registered name, in the order of preference. All of them have
/// forward secrecy and authenticate what they encrypt.
pub static SUITES: [(&str, &SupportedCipherSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", &suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", &suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", &suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", &suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", &suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        &suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", &suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", &suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        &suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// The registered name that `name` is; `None` where there is no such suite.
pub fn suite_named(name: &str) -> Option<&'static str> {
    SUITES.iter().map(|(own, _)| *own).find(|own| *own == name)
}

/// The suites of these names, in this order; all where none is named.
pub(super) fn suites(names: &[&str]) -> Vec<SupportedCipherSuite> {
    let all = SUITES.iter().map(|(name, _)| *name);
    let chosen: Vec<&str> = if names.is_empty() { all.collect() } else { names.to_vec() };
    let find = |name: &&str| SUITES.iter().find(|(own, _)| own == name).map(|(_, suite)| **suite);
    chosen.iter().filter_map(find).collect()
}

/// The versions that are spoken: those from the lowest on that a suite is left for.
pub(super) fn versions(
    min: MinVersion,
    suites: &[SupportedCipherSuite],
) -> Vec<&'static SupportedProtocolVersion> {
    let all: &[&'static SupportedProtocolVersion] = match min {
        MinVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        MinVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let has = |version: &&&SupportedProtocolVersion| {
        suites.iter().any(|suite| suite.version().version == version.version)
    };
    all.iter().filter(has).copied().collect()
}

/// Whether a suite of TLS 1.2 is signed with an elliptic curve key.
pub(super) fn is_ecdsa(suite: CipherSuite) -> bool {
    suite.as_str().is_some_and(|name| name.starts_with("TLS_ECDHE_ECDSA_"))
}

/// Whether it belongs to TLS 1.3, where keys of every kind may sign.
pub(super) fn is_tls13(suite: CipherSuite) -> bool {
    suite.as_str().is_some_and(|name| name.starts_with("TLS13_"))
}

pub(super) fn suite_name(suite: SupportedCipherSuite) -> &'static str {
    let found = SUITES.iter().find(|(_, own)| own.suite() == suite.suite());
    found.map_or("unknown", |(name, _)| name)
}

pub(super) fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "unknown",
    }
}

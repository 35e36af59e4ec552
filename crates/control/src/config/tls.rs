//! TLS as an operator wrote it: which files, which rules. The files are read elsewhere, so that a
//! configuration can be understood where its keys are not.

use super::source::Place;
use gatehouse_wire::tls::MinVersion;
use std::path::PathBuf;

/// What is to be done with certificates, by the places of listeners and upstreams in the Plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSpecs {
    /// For each listener, if it is under TLS.
    pub listeners: Vec<Option<ListenerTls>>,
    /// For each upstream, if one of its endpoints is under TLS.
    pub upstreams: Vec<Option<UpstreamTls>>,
}

/// A file, and where it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Its path.
    pub path: PathBuf,
    /// Where that was written.
    pub place: Place,
}

/// A listener's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Its certificates, the default first.
    pub certificates: Vec<CertificateSpec>,
    /// What is agreed on by ALPN, the preferred first.
    pub protocols: Vec<&'static str>,
}

/// One certificate of a listener, and what its clients are held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSpec {
    /// The chain, the server's own certificate first.
    pub cert: FileSpec,
    /// Its key.
    pub key: FileSpec,
    /// An OCSP answer to send along.
    pub ocsp: Option<FileSpec>,
    /// The lowest version.
    pub min_version: MinVersion,
    /// Suites by their registered names; all where there is none.
    pub ciphers: Vec<&'static str>,
    /// What is asked of a client.
    pub client: ClientCert,
}

/// What is asked of a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCert {
    /// Nothing.
    None,
    /// It may show one that these have issued.
    Optional(FileSpec),
    /// It has to.
    Required(FileSpec),
}

/// An upstream's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Where it is written, or the upstream's name.
    pub place: Place,
    /// Whose word is believed.
    pub trust: Trust,
    /// Who the gateway is: chain and key.
    pub identity: Option<(FileSpec, FileSpec)>,
    /// The lowest version.
    pub min_version: MinVersion,
    /// Suites by their registered names; all where there is none.
    pub ciphers: Vec<&'static str>,
    /// What is offered by ALPN, the preferred first.
    pub protocols: Vec<&'static str>,
}

/// Whose word is believed about who an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The system's.
    System,
    /// Theirs.
    Roots(FileSpec),
    /// Anybody's.
    Anybody,
}

//! TLS as an operator wrote it: which files, which rules. The files are read elsewhere, so that a
//! configuration can be understood where its keys are not.

use super::source::Place;
use crate::acme::certificate_path;
use gatehouse_wire::tls::MinVersion;
use std::path::PathBuf;
use std::sync::Arc;

/// What is to be done with certificates, by the places of listeners and upstreams in the Plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSpecs {
    /// For each listener, if it is under TLS.
    pub listeners: Vec<Option<ListenerTls>>,
    /// For each upstream, if one of its endpoints is under TLS.
    pub upstreams: Vec<Option<UpstreamTls>>,
    /// What authorities are asked for.
    pub acme: Vec<AcmeOrder>,
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
    /// The name it is asked for by ACME, where it is: chain and key are one file then, which may
    /// not be there yet.
    pub acme: Option<Box<str>>,
}

/// An account at an authority, and where what it gives is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSpec {
    /// Who is told of trouble.
    pub email: Box<str>,
    /// The authority: its directory's URL.
    pub directory: Box<str>,
    /// Whose word is believed about who the authority is; the system's where there are none.
    pub roots: Option<FileSpec>,
    /// The folder of keys and certificates.
    pub storage: PathBuf,
    /// How names are proved, one after the other.
    pub proofs: Vec<Proof>,
}

/// How a name is proved to an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// TLS-ALPN-01 (RFC 8737), on port 443.
    TlsAlpn,
    /// HTTP-01 (RFC 8555 section 8.3), on port 80.
    Http,
}

/// What an authority is asked for: a certificate for each name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeOrder {
    /// Who asks whom.
    pub spec: Arc<AcmeSpec>,
    /// The names, in lower case.
    pub names: Vec<Box<str>>,
}

/// Where the certificate of a name is kept.
pub(crate) fn certificate_of(spec: &AcmeSpec, name: &str) -> PathBuf {
    certificate_path(&spec.storage, &spec.directory, name)
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

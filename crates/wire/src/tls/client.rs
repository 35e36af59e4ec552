//! The client's side: whom to trust, and who one is.

use super::PROVIDER;
use super::identity::{Identity, IdentityFault, certificates};
use super::suites::{MinVersion, suites, versions};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Sessions remembered for one upstream, over all its names.
const SESSIONS_MAX: usize = 1024;

/// Whose word is believed about who a server is.
#[derive(Clone, Debug)]
pub struct Roots(RootCertStore);

impl Roots {
    /// Reads them from PEM.
    ///
    /// # Errors
    /// [`IdentityFault`] where there is no certificate that can be used.
    pub fn from_pem(pem: &[u8]) -> Result<Roots, IdentityFault> {
        let mut roots = Roots(RootCertStore::empty());
        for certificate in certificates(pem)? {
            roots.0.add(certificate).map_err(|_| IdentityFault::BadCertificate)?;
        }
        Ok(roots)
    }

    /// Takes those of a system's store: what cannot be used is left out. Says how many there are.
    pub fn from_store(all: impl IntoIterator<Item = CertificateDer<'static>>) -> Roots {
        let mut roots = Roots(RootCertStore::empty());
        roots.0.add_parsable_certificates(all);
        roots
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// How a server's certificate is verified.
#[derive(Clone, Debug)]
pub enum Verify {
    /// By these roots, and by its name.
    By(Roots),
    /// Not at all: whoever answers is believed. The traffic is secret only from those who do not
    /// sit on its way.
    NotAtAll,
}

/// What a client's side is made of.
#[derive(Clone, Debug)]
pub struct ClientSpec {
    /// How the server is verified.
    pub verify: Verify,
    /// What is shown to a server that asks who one is.
    pub identity: Option<Identity>,
    /// The lowest version.
    pub min_version: MinVersion,
    /// Suites by their registered names; all where there is none.
    pub suites: Vec<&'static str>,
}

/// Why a client's side cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFault {
    /// There is no root: nobody would be believed.
    NoRoots,
    /// The suites and the lowest version leave nothing to agree on.
    NoSuite,
    /// What else the library says.
    Other(String),
}

impl fmt::Display for ClientFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientFault::NoRoots => write!(f, "there is no root certificate to believe"),
            ClientFault::NoSuite => write!(f, "no cipher is left for the versions that are spoken"),
            ClientFault::Other(text) => f.write_str(text),
        }
    }
}

/// The client's side: immutable, with the sessions it may take up again.
#[derive(Clone, Debug)]
pub struct ClientSide {
    pub(super) config: Arc<ClientConfig>,
}

impl ClientSide {
    /// Makes one, with the protocols to offer by ALPN, the preferred first.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn new(spec: &ClientSpec, protocols: &[&[u8]]) -> Result<ClientSide, ClientFault> {
        let other = |error: &dyn fmt::Display| ClientFault::Other(error.to_string());
        let cipher_suites = suites(&spec.suites);
        let versions = versions(spec.min_version, &cipher_suites);
        let provider = Arc::new(CryptoProvider { cipher_suites, ..(**PROVIDER).clone() });
        let verifier: Arc<dyn ServerCertVerifier> = match &spec.verify {
            Verify::By(roots) if roots.count() == 0 => return Err(ClientFault::NoRoots),
            Verify::By(roots) => {
                let roots = Arc::new(roots.0.clone());
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(|error| other(&error))?
            }
            Verify::NotAtAll => Arc::new(Credulous),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|_| ClientFault::NoSuite)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &spec.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = SingleCertAndKey::from(Arc::clone(&identity.key));
                builder.with_client_cert_resolver(Arc::new(key))
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(ClientSide { config: Arc::new(config) })
    }

    /// Whether it is the same as another, sessions and all: connections made under one are good
    /// for the other.
    pub fn is_same(&self, other: &ClientSide) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

/// Who a server has to be: a host name, sent along (SNI), or an address, which is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerId(pub(super) ServerName<'static>);

impl ServerId {
    /// Reads a host name or an address; `None` where it is neither.
    pub fn new(name: &str) -> Option<ServerId> {
        ServerName::try_from(name).ok().map(|name| ServerId(name.to_owned()))
    }
}

/// Believes whoever answers. The signature is still checked: what is not verified is who, not
/// that somebody holds the key.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

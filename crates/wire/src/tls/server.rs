//! The server's side: certificates by name, and policies that a handshake is held to.

use super::PROVIDER;
use super::identity::{Identity, IdentityFault, certificates};
use super::names::Names;
use super::suites::{MinVersion, is_ecdsa, is_tls13, suites, versions};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoClientAuth, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SignatureAlgorithm};
use std::fmt;
use std::sync::Arc;

/// What is asked of a client's certificate. Whoever issues good ones is given in DER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// A client may show one; one that is not good ends the handshake.
    Optional(Vec<CertificateDer<'static>>),
    /// A client without a good one is refused in the handshake.
    Required(Vec<CertificateDer<'static>>),
}

impl ClientAuth {
    /// Reads the issuers from PEM.
    ///
    /// # Errors
    /// [`IdentityFault`] where there is no certificate.
    pub fn issuers(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityFault> {
        certificates(pem)
    }
}

/// What a handshake is held to. Certificates of equal policies share their tickets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The lowest version.
    pub min_version: MinVersion,
    /// Suites by their registered names; all where there is none.
    pub suites: Vec<&'static str>,
    /// What is asked of a client.
    pub client: ClientAuth,
}

/// A policy's place in its [`ServerSide`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyId(u16);

/// One certificate of a listener.
#[derive(Clone, Debug)]
pub struct ServerEntry {
    /// Who it is.
    pub identity: Identity,
    /// What its clients are held to.
    pub policy: Policy,
}

/// Why a server's side cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// There is no certificate.
    Empty,
    /// Two certificates are for one name and hold its clients to different policies.
    Contradiction {
        /// The name.
        name: Box<str>,
        /// The entries' places.
        entries: [usize; 2],
    },
    /// The suites and the lowest version leave nothing to agree on.
    NoSuite,
    /// The issuers of clients' certificates cannot be used, in these words.
    Issuers(String),
    /// What else the library says.
    Other(String),
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerFault::Empty => write!(f, "there is no certificate"),
            ServerFault::Contradiction { name, .. } => write!(
                f,
                "two certificates are for {name}, with different versions, ciphers or clients"
            ),
            ServerFault::NoSuite => {
                write!(f, "no cipher is left for the versions that are spoken")
            }
            ServerFault::Issuers(text) => write!(f, "the issuers cannot be used: {text}"),
            ServerFault::Other(text) => f.write_str(text),
        }
    }
}

/// The certificates for one name.
#[derive(Clone, Debug, Default)]
struct Slot {
    policy: PolicyId,
    /// Elliptic curves first: they cost the server a tenth.
    keys: Vec<Arc<CertifiedKey>>,
    /// The entry that came first.
    entry: usize,
}

#[derive(Debug)]
struct Store {
    names: Names<Slot>,
    /// What a client is shown that asks for no name, or for one that nobody has.
    default: Slot,
}

impl Store {
    fn slot(&self, name: Option<&str>) -> &Slot {
        name.and_then(|name| self.names.find(name)).unwrap_or(&self.default)
    }
}

/// The server's side of a listener: immutable, swapped whole when a certificate changes.
pub struct ServerSide {
    store: Arc<Store>,
    policies: Vec<(Policy, Arc<ServerConfig>)>,
}

impl fmt::Debug for ServerSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSide").field("policies", &self.policies.len()).finish_non_exhaustive()
    }
}

impl ServerSide {
    /// Makes one of certificates, the default first, and the protocols to agree on by ALPN, the
    /// preferred first. Tickets made under `before` stay good where the policy is the same.
    ///
    /// # Errors
    /// [`ServerFault`].
    pub fn new(
        entries: &[ServerEntry],
        protocols: &[&[u8]],
        before: Option<&ServerSide>,
    ) -> Result<ServerSide, ServerFault> {
        let mut policies: Vec<Policy> = Vec::new();
        let mut names: Names<Slot> = Names::default();
        for (at, entry) in entries.iter().enumerate() {
            let known = policies.iter().position(|policy| *policy == entry.policy);
            let policy = known.unwrap_or_else(|| {
                policies.push(entry.policy.clone());
                policies.len() - 1
            });
            let policy = PolicyId(u16::try_from(policy).map_err(|_| ServerFault::Empty)?);
            for name in entry.identity.names() {
                let slot = names.entry(name);
                if slot.keys.is_empty() {
                    (slot.policy, slot.entry) = (policy, at);
                } else if slot.policy != policy {
                    let entries = [slot.entry, at];
                    return Err(ServerFault::Contradiction { name: name.clone(), entries });
                }
                slot.add(&entry.identity);
            }
        }
        let first = &entries.first().ok_or(ServerFault::Empty)?.identity;
        let mut default = Slot::default();
        default.add(first);
        if let Some(shared) = first.names().first().and_then(|name| names.find(name)) {
            default.clone_from(shared);
        }
        let store = Arc::new(Store { names, default });
        let make = |(at, policy): (usize, Policy)| {
            let resolver = Resolver { store: Arc::clone(&store), policy: PolicyId(at as u16) };
            let config = config(&policy, resolver, protocols, before)?;
            Ok((policy, Arc::new(config)))
        };
        let policies: Result<Vec<_>, ServerFault> =
            policies.into_iter().enumerate().map(make).collect();
        Ok(ServerSide { policies: policies?, store })
    }

    /// The policy a client is held to that asks for this name, in lower case.
    pub fn policy_of(&self, name: &str) -> PolicyId {
        self.store.slot(Some(name)).policy
    }

    pub(super) fn has_one_policy(&self) -> bool {
        self.policies.len() == 1
    }

    pub(super) fn choose(&self, name: Option<&str>) -> (PolicyId, &Arc<ServerConfig>) {
        let policy = self.store.slot(name).policy;
        (policy, &self.policies[usize::from(policy.0)].1)
    }
}

impl Slot {
    fn add(&mut self, identity: &Identity) {
        let key = Arc::clone(&identity.key);
        let curves = self.keys.iter().filter(|key| is_curve(key)).count();
        if is_curve(&identity.key) { self.keys.insert(curves, key) } else { self.keys.push(key) }
    }
}

/// Whether the key is an elliptic curve's, which costs a tenth of RSA's.
fn is_curve(key: &CertifiedKey) -> bool {
    key.key.algorithm() == SignatureAlgorithm::ECDSA
}

fn config(
    policy: &Policy,
    resolver: Resolver,
    protocols: &[&[u8]],
    before: Option<&ServerSide>,
) -> Result<ServerConfig, ServerFault> {
    let cipher_suites = suites(&policy.suites);
    let versions = versions(policy.min_version, &cipher_suites);
    let provider = CryptoProvider { cipher_suites, ..(**PROVIDER).clone() };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .map_err(|_| ServerFault::NoSuite)?
        .with_client_cert_verifier(verifier(&policy.client)?)
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // Sessions live in tickets alone, so that any worker can take one up; a ticket is good for the
    // policy whose key it is under, and rustls checks that the name is the same (CVE-2025-23419).
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets(policy, before)?;
    Ok(config)
}

/// The ticket keys of a policy: kept as long as the policy stays what it is.
fn tickets(
    policy: &Policy,
    before: Option<&ServerSide>,
) -> Result<Arc<dyn ProducesTickets>, ServerFault> {
    let kept = before.and_then(|side| side.policies.iter().find(|(own, _)| own == policy));
    match kept {
        Some((_, config)) => Ok(Arc::clone(&config.ticketer)),
        // Keys change every six hours; a ticket lives for twelve.
        None => rustls::crypto::aws_lc_rs::Ticketer::new()
            .map_err(|error| ServerFault::Other(error.to_string())),
    }
}

fn verifier(client: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, ServerFault> {
    let (issuers, optional) = match client {
        ClientAuth::None => return Ok(Arc::new(NoClientAuth)),
        ClientAuth::Optional(issuers) => (issuers, true),
        ClientAuth::Required(issuers) => (issuers, false),
    };
    let mut roots = RootCertStore::empty();
    for issuer in issuers {
        roots.add(issuer.clone()).map_err(|error| ServerFault::Issuers(error.to_string()))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER));
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    let built = builder.build().map_err(|error| ServerFault::Issuers(error.to_string()))?;
    Ok(built)
}

/// Chooses among the certificates of one policy.
#[derive(Debug)]
struct Resolver {
    store: Arc<Store>,
    policy: PolicyId,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let slot = self.store.slot(name.as_deref());
        // The policy was chosen by a reading of the same name; where the two readings differ,
        // nobody is let in.
        if slot.policy != self.policy {
            return None;
        }
        let modern = hello.cipher_suites().iter().any(|suite| is_tls13(*suite));
        let curves = modern || hello.cipher_suites().iter().any(|suite| is_ecdsa(*suite));
        let fits = |key: &&Arc<CertifiedKey>| {
            (curves || !is_curve(key)) && key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        // Where none fits, any does for telling the client so: nothing to agree on is a
        // handshake_failure, and that is what clients and scanners look for.
        slot.keys.iter().find(fits).or(slot.keys.first()).cloned()
    }
}

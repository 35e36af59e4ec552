//! Handshakes that prove a name to an ACME server by TLS-ALPN-01 (RFC 8737), and do nothing else.

use super::PROVIDER;
use super::identity::IdentityFault;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The protocol that is agreed on (RFC 8737 section 6.2).
pub const ACME_PROTOCOL: &[u8] = b"acme-tls/1";

/// What is shown for each name that is being proved.
#[derive(Clone, Default)]
pub struct Challenges(HashMap<Box<str>, Arc<ServerConfig>>);

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Challenges {
    /// Shows this certificate, whose key is given in PKCS#8, to whoever asks for `name`, in lower
    /// case, by [`ACME_PROTOCOL`].
    ///
    /// # Errors
    /// [`IdentityFault::BadKey`] where the key cannot be used.
    pub fn add(
        &mut self,
        name: &str,
        certificate: Vec<u8>,
        key: Vec<u8>,
    ) -> Result<(), IdentityFault> {
        let key = PrivateKeyDer::Pkcs8(key.into());
        let key = PROVIDER.key_provider.load_private_key(key);
        let key = key.map_err(|_| IdentityFault::BadKey)?;
        // Its extension is critical and nobody but the authority knows it: it is not looked into.
        let shown = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(shown));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()
            .map_err(|_| IdentityFault::BadKey)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![ACME_PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        self.0.insert(name.into(), Arc::new(config));
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Option<&Arc<ServerConfig>> {
        self.0.get(name)
    }
}

//! TLS as others see it: curl, openssl, and rustls driven by itself.

mod certificates;
mod clients;
mod commands;
mod openssl;
mod reloading;
mod upstreams;

use crate::front::DOORS;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The longest wait for a peer.
const WAIT: Duration = Duration::from_secs(10);

/// Who signs, and a folder for what it signed, which goes with it.
pub struct Authority {
    pub folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Authority {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatehouse-tls-{}-{next}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {next}"));
        let made = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.join("ca.pem"), made.pem()).expect("it is written");
        Authority { folder, certificate: made.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// Signs `NAME.pem` with `NAME.key` for these hosts.
    pub fn sign(&self, name: &str, hosts: &[&str]) -> &Authority {
        self.sign_with(name, hosts, KeyPair::generate().expect("a key"), |_| {})
    }

    /// The same with a key of RSA.
    pub fn sign_rsa(&self, name: &str, hosts: &[&str]) -> &Authority {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        self.sign_with(name, hosts, key, |_| {})
    }

    /// The same with whatever else is to be different.
    pub fn sign_with(
        &self,
        name: &str,
        hosts: &[&str],
        key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> &Authority {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("host names");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.put(&format!("{name}.pem"), &made.pem());
        self.put(&format!("{name}.key"), &key.serialize_pem());
        self
    }

    /// Puts a file in place of one of that name, as a whole.
    pub fn put(&self, file: &str, text: &str) {
        use std::os::unix::fs::OpenOptionsExt;
        let fresh = self.folder.join(format!("{file}.new"));
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).expect("it is written");
        std::fs::rename(fresh, self.folder.join(file)).expect("it is moved");
    }

    /// `{ cert = …, key = … }` and whatever else is to be in there.
    pub fn entry(&self, name: &str, more: &str) -> String {
        let (cert, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        format!("{{ cert = \"{cert}\", key = \"{key}\"{more} }}")
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        roots
    }

    pub fn pair(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::from_pem_file(self.folder.join(format!("{name}.pem")));
        let key = PrivateKeyDer::from_pem_file(self.folder.join(format!("{name}.key")));
        (vec![chain.expect("a certificate")], key.expect("a key"))
    }

    /// A client that believes this authority.
    pub fn client(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// The same with a certificate of its own.
    pub fn client_as(&self, name: &str) -> ClientConfig {
        let (chain, key) = self.pair(name);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = builder.with_root_certificates(self.roots());
        builder.with_client_auth_cert(chain, key).expect("a pair")
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

pub fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// A listener `web` under TLS with these certificates, an admin interface, no log.
pub fn doors(entries: &[String]) -> String {
    format!("{DOORS}tls = [{}]\n[log]\naccess = {{ format = \"off\" }}\n", entries.join(", "))
}

/// A route that answers by itself.
pub const HELLO: &str = "[[routes]]\nrespond = { body = \"hello\" }\n";

/// A connection of rustls's own.
pub struct Secure(pub StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    pub fn connect(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Secure {
        let socket = TcpStream::connect(to).expect("somebody listens");
        socket.set_read_timeout(Some(WAIT)).expect("a timeout");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
        Secure(StreamOwned::new(session, socket))
    }

    /// Asks for `/` of a host, and reads one answer that says its length.
    pub fn get(&mut self, host: &str) -> Result<String, std::io::Error> {
        self.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    pub fn ask(&mut self, request: &str) -> Result<String, std::io::Error> {
        self.0.write_all(request.as_bytes())?;
        let mut text = Vec::new();
        let mut room = [0; 4096];
        loop {
            if let Some(whole) = whole(&text) {
                return Ok(whole);
            }
            match self.0.read(&mut room)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => text.extend_from_slice(&room[..count]),
            }
        }
    }
}

/// An answer with a length that is there whole.
fn whole(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    (body.len() >= length.parse().ok()?).then(|| text.to_string())
}

/// What a command that ends by itself says, errors included.
pub fn said(command: &str, arguments: &[&str], folder: &Path) -> String {
    let mut command = std::process::Command::new(command);
    command.args(arguments).current_dir(folder).stdin(std::process::Stdio::null());
    let output = command.output().expect("it is installed");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

//! TLS over a socket, for the load: whom it believes, and bytes that are moved through it. rustls
//! is driven as it stands; none of the gateway's code is used.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::socket::{self, Moved};

/// Whom a client believes.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Whoever these have signed for.
    Roots(Vec<CertificateDer<'static>>),
    /// Anybody.
    Anybody,
}

/// How a server is spoken to under TLS.
#[derive(Clone, Debug)]
pub struct Security {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Security {
    /// For a server of this name, a host's or an address.
    ///
    /// # Errors
    ///
    /// In words, where the name is none, or nobody would be believed.
    pub fn new(name: &str, trust: &Trust) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::Anybody => Arc::new(Credulous(Arc::clone(&provider))),
            Trust::Roots(all) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(all.iter().cloned());
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| error.to_string())?
            }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let name = match name.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?,
        };
        let mut config = config;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), name })
    }

    /// Shakes hands once and hangs up: what is wrong is known before anything is measured.
    ///
    /// # Errors
    ///
    /// What goes wrong, or takes longer than `limit`.
    pub fn shake(&self, to: SocketAddr, limit: Duration) -> io::Result<()> {
        let mut socket = TcpStream::connect_timeout(&to, limit)?;
        socket.set_read_timeout(Some(limit))?;
        socket.set_write_timeout(Some(limit))?;
        let mut session = self.session()?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        session.send_close_notify();
        session.complete_io(&mut socket).map(drop)
    }

    fn session(&self) -> io::Result<ClientConnection> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        session.map_err(io::Error::other)
    }
}

/// A connected socket, under TLS or not.
pub(crate) enum Pipe {
    Clear(OwnedFd),
    Secured(Box<Secured>),
}

pub(crate) struct Secured {
    socket: OwnedFd,
    session: ClientConnection,
}

impl Pipe {
    /// Takes a socket over; the handshake is made on the way.
    pub fn new(socket: OwnedFd, security: Option<&Security>) -> io::Result<Self> {
        let Some(security) = security else { return Ok(Self::Clear(socket)) };
        let session = security.session()?;
        Ok(Self::Secured(Box::new(Secured { socket, session })))
    }

    pub fn write(&mut self, bytes: &[u8]) -> Moved {
        match self {
            Self::Clear(socket) => socket::write(socket, bytes),
            Self::Secured(secured) => secured.write(bytes),
        }
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> Moved {
        match self {
            Self::Clear(socket) => socket::read(socket, buffer),
            Self::Secured(secured) => secured.read(buffer),
        }
    }

    /// Sends what could not be sent before.
    pub fn flush(&mut self) -> Moved {
        match self {
            Self::Clear(_) => Moved::Bytes(0),
            Self::Secured(secured) => secured.flush(),
        }
    }

    /// Whether a read that does not fill its buffer has left nothing behind.
    pub fn is_drained_by_a_short_read(&self) -> bool {
        matches!(self, Self::Clear(_))
    }
}

impl Secured {
    fn write(&mut self, bytes: &[u8]) -> Moved {
        match self.flush() {
            Moved::Bytes(_) => {}
            other => return other,
        }
        match self.session.writer().write(bytes) {
            // The rest is held until the handshake has come to its end.
            Ok(0) | Err(_) => Moved::Blocked,
            Ok(count) => match self.flush() {
                Moved::Broken => Moved::Broken,
                _ => Moved::Bytes(count),
            },
        }
    }

    fn flush(&mut self) -> Moved {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Through(&self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Moved::Blocked,
                Err(_) => return Moved::Broken,
            }
        }
        Moved::Bytes(0)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Moved {
        loop {
            match self.session.reader().read(buffer) {
                Ok(0) => return Moved::Ended,
                Ok(count) => return Moved::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Moved::Broken,
            }
            match self.session.read_tls(&mut Through(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Moved::Blocked,
                // An end without a close_notify may be anybody's.
                Ok(0) | Err(_) => return Moved::Broken,
                Ok(_) => {}
            }
            let sound = self.session.process_new_packets().is_ok();
            if self.flush() == Moved::Broken || !sound {
                return Moved::Broken;
            }
        }
    }
}

/// A socket as rustls reads and writes it.
struct Through<'a>(&'a OwnedFd);

fn bytes(moved: Moved) -> io::Result<usize> {
    match moved {
        Moved::Bytes(count) => Ok(count),
        Moved::Ended => Ok(0),
        Moved::Blocked => Err(io::ErrorKind::WouldBlock.into()),
        Moved::Broken => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

impl Read for Through<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        bytes(socket::read(self.0, buffer))
    }
}

impl Write for Through<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        bytes(socket::write(self.0, text))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Believes whoever answers, as long as they hold the key of what they show.
#[derive(Debug)]
struct Credulous(Arc<rustls::crypto::CryptoProvider>);

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
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

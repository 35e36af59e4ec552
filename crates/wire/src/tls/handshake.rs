//! From a connected stream to one under TLS. Whoever calls bounds the time.

use super::challenge::{ACME_PROTOCOL, Challenges};
use super::client::{ClientSide, ServerId};
use super::facts::Facts;
use super::room::Room;
use super::server::ServerSide;
use super::session::Session;
use super::stream::TlsStream;
use crate::client_hello::{HelloReader, Start};
use crate::socket::Stream;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{AlertDescription, CertificateError, Error};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Why there is no connection under TLS.
#[derive(Debug)]
pub enum HandshakeError {
    /// The peer closed or broke the connection.
    Gone,
    /// A client spoke HTTP in clear: it can be told so.
    PlainHttp,
    /// What came is not TLS, or breaks it, in these words.
    Protocol(&'static str),
    /// Nothing both sides can speak, in these words.
    Incompatible(&'static str),
    /// The peer's certificate is not good, in these words.
    Certificate(&'static str),
    /// The peer refused, with this alert.
    Alert(&'static str),
}

impl HandshakeError {
    /// What went wrong in a few words.
    pub fn text(&self) -> &'static str {
        match self {
            HandshakeError::Gone => "closed in the handshake",
            HandshakeError::PlainHttp => "http in clear",
            HandshakeError::Protocol(text)
            | HandshakeError::Incompatible(text)
            | HandshakeError::Certificate(text)
            | HandshakeError::Alert(text) => text,
        }
    }

    /// The kind of trouble, as a label of metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            HandshakeError::Gone => "closed",
            HandshakeError::PlainHttp => "plain-http",
            HandshakeError::Protocol(_) => "protocol",
            HandshakeError::Incompatible(_) => "incompatible",
            HandshakeError::Certificate(_) => "certificate",
            HandshakeError::Alert(_) => "alert",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What an accepted handshake was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The client may be served.
    Client,
    /// It proved a name to an ACME server (RFC 8737): nothing else is said on the connection.
    Challenge,
}

/// The server's handshake: turns a stream into one under TLS where it stands. One that speaks
/// HTTP in clear is left as it is. Who asks for a name by the protocol of ACME's challenges is
/// shown what `challenges` have for it.
///
/// # Errors
/// [`HandshakeError`]; the client has been told why as far as TLS has words for it.
pub async fn accept(
    stream: &mut Stream,
    side: Arc<ServerSide>,
    challenges: Option<&Challenges>,
) -> Result<Accepted, HandshakeError> {
    let mut input = Room::default();
    let Asked { name, by_challenge } = read_name(stream, &mut input).await?;
    let (policy, config) = side.choose(name.as_deref());
    let challenge = challenges.filter(|_| by_challenge);
    let challenge = challenge.zip(name.as_deref()).and_then(|(all, name)| all.find(name));
    let config = Arc::clone(challenge.unwrap_or(config));
    let accepted = if challenge.is_some() { Accepted::Challenge } else { Accepted::Client };
    let session = UnbufferedServerConnection::new(config).map_err(meaning)?;
    let socket = std::mem::replace(stream, Stream::Gone);
    let mut secured = TlsStream::new(socket, Session::Server(session), input);
    poll_fn(|cx| secured.poll_handshake(cx)).await.map_err(meaning)?;
    let facts = Facts::of(secured.session(), name, Some((Arc::clone(&side), policy)));
    secured.settle(facts);
    *stream = Stream::Tls(Box::new(secured));
    Ok(accepted)
}

/// The client's handshake. Its last message leaves with what is written first, or once the stream
/// is read or flushed.
///
/// # Errors
/// [`HandshakeError`].
pub async fn connect(
    socket: Stream,
    side: &ClientSide,
    server: &ServerId,
) -> Result<Stream, HandshakeError> {
    let config = Arc::clone(&side.config);
    let session = UnbufferedClientConnection::new(config, server.0.clone()).map_err(meaning)?;
    let mut stream = TlsStream::new(socket, Session::Client(session), Room::default());
    poll_fn(|cx| stream.poll_handshake(cx)).await.map_err(meaning)?;
    let facts = Facts::of(stream.session(), None, None);
    stream.settle(facts);
    Ok(Stream::Tls(Box::new(stream)))
}

/// What a client asks for before anything is agreed on.
struct Asked {
    name: Option<Box<str>>,
    /// Whether it speaks the protocol of ACME's challenges, and no other.
    by_challenge: bool,
}

/// Reads until it is known which name the client asks for. It only chooses among configurations:
/// rustls reads the same message again, and refuses what does not agree with the choice.
async fn read_name(socket: &mut Stream, input: &mut Room) -> Result<Asked, HandshakeError> {
    let mut reader = HelloReader::default();
    poll_fn(|cx| {
        loop {
            match reader.read(input.bytes()) {
                Ok(Start::Hello { name, sole_protocol }) => {
                    let by_challenge = sole_protocol == Some(ACME_PROTOCOL);
                    return Poll::Ready(Ok(Asked { name: name.map(Into::into), by_challenge }));
                }
                Ok(Start::NotTls) if speaks_http(input.bytes()) => {
                    return Poll::Ready(Err(HandshakeError::PlainHttp));
                }
                Ok(Start::NotTls) => {
                    return Poll::Ready(Err(HandshakeError::Protocol("no record of TLS")));
                }
                // rustls finds the fault by itself, and tells the client.
                Err(_) => return Poll::Ready(Ok(Asked { name: None, by_challenge: false })),
                Ok(Start::More) => {}
            }
            // The reader gives up well before more than one large room is asked for.
            match socket.poll_read(cx, input.free(FLIGHT_BYTES)) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(HandshakeError::Gone)),
                Poll::Ready(Ok(count)) => input.commit(count),
                Poll::Pending => {
                    input.release_if_empty();
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// Room for what a client sends first; mostly a tenth of it.
const FLIGHT_BYTES: usize = 4 * 1024;

/// Whether the first bytes are those of a request line.
fn speaks_http(received: &[u8]) -> bool {
    received.iter().take(3).all(u8::is_ascii_uppercase)
}

fn meaning(error: Error) -> HandshakeError {
    match error {
        Error::InvalidCertificate(error) => HandshakeError::Certificate(certificate_text(&error)),
        Error::NoCertificatesPresented => HandshakeError::Certificate("none was shown"),
        Error::AlertReceived(alert) => HandshakeError::Alert(alert_text(alert)),
        Error::PeerIncompatible(_) => {
            HandshakeError::Incompatible("no version, cipher or key exchange in common")
        }
        Error::NoApplicationProtocol => {
            HandshakeError::Incompatible("no application protocol in common")
        }
        Error::InvalidMessage(_) => HandshakeError::Protocol("a message cannot be read"),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            HandshakeError::Protocol("a message out of turn")
        }
        Error::PeerMisbehaved(_) => HandshakeError::Protocol("the peer breaks the protocol"),
        Error::DecryptError => HandshakeError::Protocol("a record cannot be decrypted"),
        Error::PeerSentOversizedRecord => HandshakeError::Protocol("a record is too long"),
        Error::General(text) if text.starts_with("the connection") => HandshakeError::Gone,
        // Where no certificate fits what the client can verify, or none is for its policy.
        _ => HandshakeError::Incompatible("no certificate fits, or the handshake failed"),
    }
}

fn certificate_text(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::BadEncoding => "it cannot be read",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet"
        }
        CertificateError::Revoked => "it is revoked",
        CertificateError::UnknownIssuer => "its issuer is not trusted",
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is for another purpose"
        }
        _ => "it cannot be verified",
    }
}

fn alert_text(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::DecodeError => "decode_error",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::UnrecognisedName => "unrecognized_name",
        AlertDescription::NoApplicationProtocol => "no_application_protocol",
        AlertDescription::CloseNotify => "close_notify",
        _ => "another alert",
    }
}

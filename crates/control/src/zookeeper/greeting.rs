//! From the name of a server to a link whose session is granted: address, connection, TLS, session,
//! authentication.

use super::digest_md5::{answer, hex};
use super::jute::{Reader, Writer};
use super::link::Link;
use super::message::{AUTH, Code, Credentials, SASL};
use super::trouble::Trouble;
use crate::certificates::registry_side;
use crate::config::{Login, ZooKeeperMechanism, ZooKeeperServers, ZooKeeperTls};
use crate::dns::look_up;
use gatehouse_core::address::Address;
use gatehouse_wire::tls::{ClientSide, ServerId, connect};
use gatehouse_wire::{Net, Stream};

/// What became of asking for a session.
pub(super) enum Greeted {
    /// It is granted, and goes on.
    Granted(Link),
    /// The one that was asked for has expired.
    Expired,
}

/// Opens a link to one server. `credentials` are those of the session to take up again, and become
/// those of the one that is granted.
pub(super) async fn greet(
    servers: &ZooKeeperServers,
    (host, port): (&str, u16),
    side: Option<&ClientSide>,
    credentials: &mut Credentials,
) -> Result<Greeted, String> {
    let stream = dial(host, port).await?;
    let stream = match (&servers.tls, side) {
        (Some(tls), Some(side)) => secure(stream, tls, side, host).await?,
        (Some(_), None) => return Err("no credentials for TLS".to_owned()),
        (None, _) => stream,
    };
    let mut link = Link::new(stream, servers.session_timeout);
    let granted = link.open(credentials).await?;
    if granted.timeout_ms <= 0 {
        if credentials.session == 0 {
            return Err("it grants no session".to_owned());
        }
        *credentials = Credentials::default();
        return Ok(Greeted::Expired);
    }
    (credentials.session, credentials.password) = (granted.session, granted.password);
    if let Some((mechanism, login)) = &servers.login {
        log_in(&mut link, *mechanism, login).await?;
    }
    Ok(Greeted::Granted(link))
}

/// How TLS is spoken, made from its files.
pub(super) fn side(tls: &ZooKeeperTls) -> Result<ClientSide, Trouble> {
    registry_side(&tls.files).map_err(Trouble::Impossible)
}

/// Connects to the first of the server's addresses where somebody listens.
async fn dial(host: &str, port: u16) -> Result<Stream, String> {
    let mut why = String::new();
    for address in look_up(host, port).await? {
        match Net::System.dial(&Address::Ip(address)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error.text().to_owned(),
        }
    }
    Err(why)
}

/// Speaks TLS. The server has to be who its name says, whatever address that stands for.
async fn secure(
    stream: Stream,
    tls: &ZooKeeperTls,
    side: &ClientSide,
    host: &str,
) -> Result<Stream, String> {
    let name = tls.name.as_deref().unwrap_or(host);
    let server = ServerId::new(name).ok_or_else(|| format!("\"{name}\" is no host name"))?;
    let connected = connect(stream, side, &server).await;
    connected.map_err(|error| format!("tls handshake: {error}"))
}

async fn log_in(
    link: &mut Link,
    mechanism: ZooKeeperMechanism,
    login: &Login,
) -> Result<(), String> {
    let Login { user, password } = login;
    let password = password.reveal()?;
    match mechanism {
        ZooKeeperMechanism::Digest => {
            let proof = format!("{user}:{password}");
            let body = Writer::default().int(0).text("digest").bytes(proof.as_bytes());
            link.ask(AUTH, body).await.map(drop).map_err(|(_, why)| why)
        }
        ZooKeeperMechanism::DigestMd5 => digest_md5(link, user, &password).await,
    }
}

async fn digest_md5(link: &mut Link, user: &str, password: &str) -> Result<(), String> {
    let challenge = token(link, b"").await?;
    let answer = answer(&challenge, user, password, &nonce()?);
    let answer = answer.ok_or(match challenge.is_empty() {
        true => "it has no DIGEST-MD5: see to mechanism, or to the server's own login",
        false => "its SASL challenge cannot be answered",
    })?;
    let proof = token(link, answer.token.as_bytes()).await?;
    match proof == answer.proof {
        true => Ok(()),
        false => Err("the server does not know the password itself".to_owned()),
    }
}

/// Says a token of SASL's and gives the server's.
async fn token(link: &mut Link, said: &[u8]) -> Result<String, String> {
    let answered = link.ask(SASL, Writer::default().bytes(said)).await;
    // Whoever wants SASL says so too where it is not good enough.
    let refused = |code| matches!(code, Code::AUTH_FAILED | Code::SASL_REQUIRED);
    let answered = answered.map_err(|(code, why)| match refused(code) {
        true => format!("SASL: {}", Code::AUTH_FAILED),
        false => format!("SASL: {why}"),
    })?;
    let text = Reader(&answered).text().map_err(|_| "its SASL token is no text")?;
    Ok(text.to_owned())
}

fn nonce() -> Result<String, String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no randomness")?;
    Ok(hex(&bytes))
}

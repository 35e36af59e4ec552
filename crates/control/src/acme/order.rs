//! One certificate from the order to the chain (RFC 8555 section 7.4), for one name.

use super::certify;
use super::session::{Session, is_word, problem};
use super::trouble::{Kind, Trouble};
use crate::config::{Json, Proof};
use gatehouse_proxy::challenges::Challenges;
use gatehouse_proxy::gate::Handle;
use gatehouse_wire::timer::{now, sleep};
use gatehouse_wire::tls::Identity;
use std::sync::Arc;
use std::time::Duration;

/// How long an authority may take to look at a proof, or to sign.
const POLL_MOST: Duration = Duration::from_secs(90);

/// How soon it is asked again first, and later at most.
const POLL_FIRST: Duration = Duration::from_millis(250);
const POLL_LAST: Duration = Duration::from_secs(10);

/// Authorizations of an order for one name.
const AUTHORIZATIONS_MAX: usize = 4;

/// The word for a proof (RFC 8555 section 9.7.8).
fn word(proof: Proof) -> &'static str {
    match proof {
        Proof::TlsAlpn => "tls-alpn-01",
        Proof::Http => "http-01",
    }
}

/// Asks for a certificate: its chain and its key, in one text.
pub(super) async fn obtain(
    session: &mut Session,
    name: &str,
    proof: Proof,
    gate: &Handle,
) -> Result<String, Trouble> {
    let identifier = [("type", Json::text("dns")), ("value", Json::text(name))];
    let payload = Json::object([("identifiers", Json::list([Json::object(identifier)]))]);
    let (url, order) = session.order(&payload).await?;
    let all = items(&order, "authorizations");
    for authorization in all.iter().take(AUTHORIZATIONS_MAX) {
        let Json::Text(authorization) = authorization else { continue };
        prove(session, name, proof, authorization, gate).await?;
    }
    // Its answer to the proof may still be on its way to the order.
    let order = poll(session, &url, &["pending"]).await?;
    let (key, request) = certify::request(name).map_err(Trouble::own)?;
    if status(&order) == "ready" {
        let finalize = text(&order, "finalize")?.to_owned();
        let request = crate::base64::base64url(&request);
        let payload = Json::object([("csr", Json::Text(request))]);
        session.post(&finalize, &payload.to_string()).await?;
    }
    let order = poll(session, &url, &["pending", "ready", "processing"]).await?;
    if status(&order) != "valid" {
        return Err(refused(&order));
    }
    let chain = session.read(text(&order, "certificate")?).await?.text;
    sound(name, &chain, key)
}

/// The chain and the key as one text, if they belong together and to the name.
fn sound(name: &str, chain: &str, key: String) -> Result<String, Trouble> {
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes(), None);
    let why = match identity {
        Ok(identity) if identity.names().iter().any(|own| **own == *name) => {
            let chain = chain.trim_end();
            return Ok(format!("{chain}\n{key}"));
        }
        Ok(_) => "it is for other names".to_owned(),
        Err(fault) => fault.to_string(),
    };
    Err(Trouble { kind: Kind::Refused, why: format!("the certificate cannot be used: {why}") })
}

/// What proves a name, taken away again with this.
struct Told<'a>(&'a Handle);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.set_challenges(None);
    }
}

/// Proves a name, unless it is proved already.
async fn prove(
    session: &mut Session,
    name: &str,
    proof: Proof,
    url: &str,
    gate: &Handle,
) -> Result<(), Trouble> {
    let found = session.read(url).await?.json()?;
    match status(&found) {
        "valid" => return Ok(()),
        "pending" => {}
        other => return Err(Trouble::unproved(format!("the authorization is {}", shown(other)))),
    }
    let offered = items(&found, "challenges");
    let fits = |challenge: &&Json| challenge.text_of("type") == Some(word(proof));
    let Some(challenge) = offered.iter().find(fits) else {
        return Err(Trouble::unproved(format!("it does not offer {}", word(proof))));
    };
    let token = text(challenge, "token")?;
    if !is_word(token) {
        return Err(Trouble::away("its token is none"));
    }
    let authorization = session.authorization(token);
    let mut challenges = Challenges::default();
    match proof {
        Proof::Http => challenges.tokens.push((token.into(), authorization.into())),
        Proof::TlsAlpn => {
            let (shown, key) = certify::challenge(name, &authorization).map_err(Trouble::own)?;
            challenges.handshakes.add(name, shown, key).map_err(Trouble::own)?;
        }
    }
    gate.set_challenges(Some(Arc::new(challenges)));
    let _told = Told(gate);
    session.post(text(challenge, "url")?, "{}").await?;
    let done = poll(session, url, &["pending"]).await?;
    if status(&done) == "valid" {
        return Ok(());
    }
    let looked = items(&done, "challenges");
    let why = looked.iter().find(fits).and_then(|challenge| challenge.member("error"));
    let why = why.map_or_else(|| shown(status(&done)), |error| problem(error).1);
    Err(Trouble::unproved(format!("{}: {why}", word(proof))))
}

/// Asks again until the status is none of these.
async fn poll(session: &mut Session, url: &str, while_in: &[&str]) -> Result<Json, Trouble> {
    let since = now();
    let mut pause = POLL_FIRST;
    loop {
        let reply = session.read(url).await?;
        let found = reply.json()?;
        if !while_in.contains(&status(&found)) {
            return Ok(found);
        }
        if now().since(since) > POLL_MOST {
            let state = shown(status(&found));
            return Err(Trouble::away(format!("it is still {state} after {POLL_MOST:?}")));
        }
        sleep(reply.retry_after().map_or(pause, |told| told.clamp(POLL_FIRST, POLL_LAST))).await;
        pause = (pause * 2).min(POLL_LAST);
    }
}

fn status(of: &Json) -> &str {
    of.text_of("status").unwrap_or_default()
}

/// The members of a list; none where it is something else.
fn items<'a>(of: &'a Json, name: &str) -> &'a [Json] {
    match of.member(name) {
        Some(Json::List(items)) => items,
        _ => &[],
    }
}

fn shown(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_debug).collect()
}

fn text<'a>(of: &'a Json, name: &str) -> Result<&'a str, Trouble> {
    of.text_of(name).ok_or_else(|| Trouble::away(format!("its answer has no {name}")))
}

fn refused(order: &Json) -> Trouble {
    let state = || format!("the order is {}", shown(status(order)));
    let why = order.member("error").map_or_else(state, |error| problem(error).1);
    Trouble { kind: Kind::Refused, why }
}

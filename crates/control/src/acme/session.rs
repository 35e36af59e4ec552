//! One account at one authority: requests signed, nonces kept, refusals understood (RFC 8555
//! section 6). Each request has a connection, a bound and a limit of its own.

use super::jose::{AccountKey, Signer};
use super::schedule::retry_after;
use super::trouble::{Kind, Trouble};
use crate::client::{Door, NoAnswer, exchange};
use crate::config::{AcmeSpec, Json, parse_request};
use crate::dns::look_up;
use crate::json_text::read_json;
use gatehouse_core::address::Address;
use gatehouse_core::message::ResponseHead;
use gatehouse_core::plan::Transport;
use gatehouse_wire::Net;
use gatehouse_wire::tls::ClientSide;
use std::time::{Duration, SystemTime};

/// How long one request may take.
const REQUEST_MOST: Duration = Duration::from_secs(30);

/// Bytes of an answer; chains of certificates are the longest.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Times that a request is sent again because its nonce was not taken (RFC 8555 section 6.5).
const NONCES_MAX: usize = 10;

/// Addresses of an authority that are tried.
const ADDRESSES_MAX: usize = 4;

/// Bytes of a nonce, a token, a URL: more is not believed.
const WORD_BYTES_MAX: usize = 2048;

/// What an authority has answered.
pub(super) struct Reply {
    pub head: ResponseHead,
    pub text: String,
}

impl Reply {
    /// A field.
    pub fn field(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.head.fields.named_first(name.as_bytes())?).ok()
    }

    /// Its body.
    pub fn json(&self) -> Result<Json, Trouble> {
        read_json(&self.text).map_err(|why| Trouble::away(format!("its answer is {why}")))
    }

    /// How long to wait before asking again.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(self.field("retry-after")?, SystemTime::now())
    }

    fn location(&self) -> Result<String, Trouble> {
        let location = self.field("location").filter(|url| url.len() <= WORD_BYTES_MAX);
        location.map(str::to_owned).ok_or_else(|| Trouble::away("its answer has no Location"))
    }
}

/// Where what is asked for.
struct Directory {
    new_nonce: String,
    new_account: String,
    new_order: String,
}

/// An account at an authority.
pub(super) struct Session {
    side: ClientSide,
    key: AccountKey,
    directory: Directory,
    account: String,
    nonce: Option<String>,
}

impl Session {
    /// Finds out where everything is, and makes the account where there is none.
    pub async fn open(
        spec: &AcmeSpec,
        side: ClientSide,
        key: AccountKey,
    ) -> Result<Session, Trouble> {
        let reply = get(&side, &spec.directory).await?;
        let found = judged(reply)?.json()?;
        let url = |name: &str| {
            let url = found.text_of(name).map(str::to_owned);
            url.ok_or_else(|| Trouble::away(format!("its directory has no {name}")))
        };
        let directory = Directory {
            new_nonce: url("newNonce")?,
            new_account: url("newAccount")?,
            new_order: url("newOrder")?,
        };
        let mut session = Session { side, key, directory, account: String::new(), nonce: None };
        let payload = Json::object([
            ("termsOfServiceAgreed", Json::Flag(true)),
            ("contact", Json::list([Json::text(format!("mailto:{}", spec.email))])),
        ]);
        let url = session.directory.new_account.clone();
        let reply = session.post(&url, &payload.to_string()).await?;
        session.account = reply.location()?;
        Ok(session)
    }

    /// The key authorization of a token (RFC 8555 section 8.1).
    pub fn authorization(&self, token: &str) -> String {
        self.key.authorization(token)
    }

    /// Makes an order; where it is, and what it says.
    pub async fn order(&mut self, payload: &Json) -> Result<(String, Json), Trouble> {
        let url = self.directory.new_order.clone();
        let reply = self.post(&url, &payload.to_string()).await?;
        Ok((reply.location()?, reply.json()?))
    }

    /// Asks for what is at a URL (RFC 8555 section 6.3).
    pub async fn read(&mut self, url: &str) -> Result<Reply, Trouble> {
        self.post(url, "").await
    }

    /// Sends a signed request, again with another nonce where that is what was wrong.
    pub async fn post(&mut self, url: &str, payload: &str) -> Result<Reply, Trouble> {
        for _ in 0..=NONCES_MAX {
            let nonce = match self.nonce.take() {
                Some(nonce) => nonce,
                None => self.fresh_nonce().await?,
            };
            let signer = match self.account.is_empty() {
                true => Signer::Key,
                false => Signer::Account(&self.account),
            };
            let body = self.key.sign(signer, &nonce, url, payload);
            let body = body.ok_or_else(|| Trouble::own("there is no chance to sign with"))?;
            let reply = send(&self.side, "POST", url, &body).await?;
            self.nonce = nonce_of(&reply);
            match is_bad_nonce(&reply) {
                true => {}
                false => return judged(reply),
            }
        }
        Err(Trouble::away(format!("it took none of {NONCES_MAX} nonces")))
    }

    async fn fresh_nonce(&mut self) -> Result<String, Trouble> {
        let reply = judged(get(&self.side, &self.directory.new_nonce).await?)?;
        nonce_of(&reply).ok_or_else(|| Trouble::away("it gives no nonce"))
    }
}

/// A nonce (RFC 8555 section 6.5.1).
fn nonce_of(reply: &Reply) -> Option<String> {
    let nonce = reply.field("replay-nonce")?;
    is_word(nonce).then(|| nonce.to_owned())
}

/// Whether this is base 64 for URLs, and not too long.
pub(super) fn is_word(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(digit)
}

async fn get(side: &ClientSide, url: &str) -> Result<Reply, Trouble> {
    send(side, "GET", url, "").await
}

/// Sends a request to the first of the authority's addresses that takes it.
async fn send(side: &ClientSide, method: &str, url: &str, body: &str) -> Result<Reply, Trouble> {
    let asked = parse_request(method, url).ok();
    let asked = asked.filter(|asked| asked.transport == Transport::Tls);
    let asked = asked.ok_or_else(|| {
        let shown: String = url.chars().take(200).collect();
        Trouble::away(format!("\"{}\" is no https URL", shown.escape_debug()))
    })?;
    let query = asked.query.map(|query| format!("?{query}")).unwrap_or_default();
    let content = match method {
        "GET" => String::new(),
        _ => format!("Content-Type: application/jose+json\r\nContent-Length: {}\r\n", body.len()),
    };
    let authority = &asked.authority;
    let request = format!(
        "{method} {}{query} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: gatehouse/{}\r\n\
         Accept-Language: en\r\n{content}Connection: close\r\n\r\n{body}",
        asked.path,
        env!("CARGO_PKG_VERSION"),
    );
    let host = host_of(authority);
    let mut last = None;
    let found = look_up(host, asked.port).await;
    let found = found.map_err(|why| Trouble::away(format!("{host}: {why}")))?;
    for address in found.into_iter().take(ADDRESSES_MAX) {
        let address = Address::Ip(address);
        let (net, first) = (&Net::System, &b""[..]);
        let door = Door { net, address: &address, name: Some(host), first, side: Some(side) };
        match exchange(&door, request.as_bytes(), ANSWER_BYTES_MAX, REQUEST_MOST).await {
            Ok((_, body)) if body.len() == ANSWER_BYTES_MAX => {
                return Err(Trouble::away(format!("{authority}: its answer is too long")));
            }
            Ok((head, body)) => {
                let text = String::from_utf8(body);
                let text = text.map_err(|_| Trouble::away("its answer is no text"))?;
                return Ok(Reply { head, text });
            }
            Err(why @ NoAnswer::Dial(_)) => last = Some(why),
            Err(why) => return Err(Trouble::away(format!("{authority}: {why}"))),
        }
    }
    let why = last.map_or_else(|| "it has no address".to_owned(), |why| why.to_string());
    Err(Trouble::away(format!("{authority}: {why}")))
}

/// The host of an authority, brackets left out.
fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    host.trim_start_matches('[').trim_end_matches(']')
}

/// What is wrong, as a problem document says it (RFC 7807): its type, and a sentence.
pub(super) fn problem(document: &Json) -> (&str, String) {
    let kind = document.text_of("type").unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let detail = document.text_of("detail").unwrap_or_default();
    let shown: String = detail.chars().filter(|c| !c.is_control()).take(400).collect();
    (kind, format!("{}: {shown}", kind.escape_debug()))
}

fn is_bad_nonce(reply: &Reply) -> bool {
    let document = || read_json(&reply.text).ok();
    reply.head.status == 400 && document().is_some_and(|found| problem(&found).0 == "badNonce")
}

/// The answer, or what it refuses.
fn judged(reply: Reply) -> Result<Reply, Trouble> {
    let status = reply.head.status;
    if (200..300).contains(&status) {
        return Ok(reply);
    }
    let document = read_json(&reply.text).ok();
    let said = document.as_ref().map(problem);
    let (kind, why) = said.unwrap_or_else(|| ("", format!("it answers with status {status}")));
    let after = reply.retry_after();
    let kind = match kind {
        "rateLimited" => Kind::Limited(after),
        _ if status == 429 || status == 503 && after.is_some() => Kind::Limited(after),
        _ if status >= 500 => Kind::Away,
        _ => Kind::Refused,
    };
    Err(Trouble { kind, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, fields: &[(&str, &str)], text: &str) -> Reply {
        let mut head = ResponseHead { status, ..ResponseHead::default() };
        for (name, value) in fields {
            head.fields.append(name.as_bytes(), value.as_bytes());
        }
        Reply { head, text: text.to_owned() }
    }

    #[test]
    fn what_is_refused_is_told_apart() {
        let urn = "urn:ietf:params:acme:error:";
        let document = |kind| format!("{{\"type\": \"{urn}{kind}\", \"detail\": \"no\\n!\"}}");
        let later = [("Retry-After", "120")];
        let limited = |seconds| Kind::Limited(Some(Duration::from_secs(seconds)));
        for (status, fields, text, kind, why) in [
            (429, &later[..], document("rateLimited"), limited(120), "rateLimited: no!"),
            (403, &later[..], document("rateLimited"), limited(120), "rateLimited: no!"),
            (429, &[][..], String::new(), Kind::Limited(None), "it answers with status 429"),
            (503, &later[..], String::new(), limited(120), "it answers with status 503"),
            (503, &[][..], document("serverInternal"), Kind::Away, "serverInternal: no!"),
            (502, &[][..], "<html>".to_owned(), Kind::Away, "it answers with status 502"),
            (400, &[][..], document("malformed"), Kind::Refused, "malformed: no!"),
            (
                403,
                &[][..],
                document("rejectedIdentifier"),
                Kind::Refused,
                "rejectedIdentifier: no!",
            ),
        ] {
            let trouble = judged(reply(status, fields, &text)).map(drop).expect_err("refused");
            assert_eq!((trouble.kind, &*trouble.why), (kind, why));
        }
        assert!(judged(reply(201, &[], "")).is_ok());
        assert!(is_bad_nonce(&reply(400, &[], &document("badNonce"))));
        assert!(!is_bad_nonce(&reply(400, &[], &document("malformed"))));
    }

    #[test]
    fn a_nonce_that_is_none_is_not_used() {
        let of = |nonce: &str| nonce_of(&reply(204, &[("Replay-Nonce", nonce)], ""));
        assert_eq!(of("aZ0-_").as_deref(), Some("aZ0-_"));
        for wrong in ["", "a b", "a\"", "a+", &"a".repeat(WORD_BYTES_MAX + 1)] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_host_is_without_port_and_brackets() {
        for (authority, host) in [
            ("ca.test", "ca.test"),
            ("ca.test:14000", "ca.test"),
            ("[::1]:1", "::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(host_of(authority), host);
        }
    }
}

//! SASL's DIGEST-MD5 (RFC 2831) as ZooKeeper speaks it: authentication alone, one round.

use super::md5::md5;

/// Who a ZooKeeper server is in DIGEST-MD5, whatever its name.
const URI: &str = "zookeeper/zk-sasl-md5";

/// What proves both sides to each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// What is said to the server.
    pub token: String,
    /// What a server that knows the password answers.
    pub proof: String,
}

/// Answers a server's challenge; `None` where it is none that can be answered.
pub(super) fn answer(
    challenge: &str,
    user: &str,
    password: &str,
    own_nonce: &str,
) -> Option<Answer> {
    let fields = fields(challenge)?;
    let of = |name: &str| fields.iter().find(|(own, _)| *own == name).map(|(_, value)| &**value);
    let (nonce, realm) = (of("nonce")?, of("realm").unwrap_or_default());
    let offered = of("qop").unwrap_or("auth");
    if !offered.split(',').any(|qop| qop.trim() == "auth") || of("algorithm")? != "md5-sess" {
        return None;
    }
    let quotable = |text: &str| !text.contains(['"', '\\']) && !text.chars().any(char::is_control);
    if ![user, realm, nonce].into_iter().all(quotable) {
        return None;
    }
    let parts = Parts { user, realm, password, nonce, own_nonce, uri: URI };
    let token = format!(
        "charset=utf-8,username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",nc=00000001,\
         cnonce=\"{own_nonce}\",digest-uri=\"{URI}\",response={},qop=auth",
        parts.proof("AUTHENTICATE")
    );
    Some(Answer { token, proof: format!("rspauth={}", parts.proof("")) })
}

/// What a proof is made of.
struct Parts<'a> {
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    nonce: &'a str,
    own_nonce: &'a str,
    uri: &'a str,
}

impl Parts<'_> {
    /// The response value of section 2.1.2.1, the server's where there is no method.
    fn proof(&self, method: &str) -> String {
        let Parts { user, realm, password, nonce, own_nonce, uri } = self;
        let secret = md5(format!("{user}:{realm}:{password}").as_bytes());
        let session = [&secret[..], format!(":{nonce}:{own_nonce}").as_bytes()].concat();
        let session = hex(&md5(&session));
        let asked = hex(&md5(format!("{method}:{uri}").as_bytes()));
        hex(&md5(format!("{session}:{nonce}:00000001:{own_nonce}:auth:{asked}").as_bytes()))
    }
}

/// `name=value` and `name="value"`, between commas (section 7.1).
fn fields(text: &str) -> Option<Vec<(&str, String)>> {
    let mut fields = Vec::new();
    let mut rest = text.trim_start_matches([',', ' ']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let value = match after.strip_prefix('"') {
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                rest = after;
                value.trim().to_owned()
            }
            Some(quoted) => {
                let (value, after) = unquoted(quoted)?;
                rest = after;
                value
            }
        };
        fields.push((name.trim(), value));
        rest = rest.trim_start_matches([',', ' ']);
    }
    Some(fields)
}

/// A quoted text behind its first quote, and what follows its last.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return Some((value, rest.as_str())),
            '\\' => value.push(rest.next()?),
            c => value.push(c),
        }
    }
}

/// Bytes as digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHALLENGE: &str = "realm=\"zk-sasl-md5\",nonce=\"7kUwTsl+3uJK/Ll\",qop=\"auth\",\
                             charset=utf-8,algorithm=md5-sess";

    #[test]
    fn the_example_of_rfc_2831_section_4_holds() {
        let parts = Parts {
            user: "chris",
            realm: "elwood.innosoft.com",
            password: "secret",
            nonce: "OA6MG9tEQGm2hh",
            own_nonce: "OA6MHXh6VqTrRk",
            uri: "imap/elwood.innosoft.com",
        };
        assert_eq!(parts.proof("AUTHENTICATE"), "d388dad90d4bbd760a152321f2143af7");
        assert_eq!(parts.proof(""), "ea40f60335c427b5527b84dbabcdfffd");
    }

    #[test]
    fn a_challenge_is_answered_and_the_answer_depends_on_every_part() {
        let of =
            |user, password, nonce| answer(CHALLENGE, user, password, nonce).expect("answered");
        let usual = of("bob", "secret", "n");
        assert!(
            usual.token.contains("realm=\"zk-sasl-md5\",nonce=\"7kUwTsl+3uJK/Ll\",nc=00000001")
        );
        for other in [of("eve", "secret", "n"), of("bob", "other", "n"), of("bob", "secret", "m")] {
            assert_ne!(usual.token, other.token);
            assert_ne!(usual.proof, other.proof);
        }
        assert!(!usual.token.contains(&usual.proof["rspauth=".len()..]));
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        for challenge in [
            "",
            "nonce=\"n\",qop=\"auth-conf\",algorithm=md5-sess",
            "nonce=\"n\",algorithm=sha-256",
            "nonce=\"n",
            "realm=\"a\\\"b\",nonce=\"n\",algorithm=md5-sess",
        ] {
            assert_eq!(answer(challenge, "bob", "secret", "n"), None, "{challenge}");
        }
    }

    proptest! {
        #[test]
        fn no_challenge_makes_it_panic(challenge: String) {
            let _ = answer(&challenge, "bob", "secret", "n");
        }
    }
}

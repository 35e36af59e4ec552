//! What the gateway says to prove to an ACME server whose a name is (RFC 8555 section 8): set by
//! the control side for as long as that takes, and nothing the rest of the time.

use gatehouse_core::message::{Method, RequestHead};
use gatehouse_wire::tls;

/// Where HTTP-01 asks (RFC 8555 section 8.3).
const WELL_KNOWN: &[u8] = b"/.well-known/acme-challenge/";

/// The challenges of an order that is under way.
#[derive(Clone, Debug, Default)]
pub struct Challenges {
    /// For HTTP-01: each token with what it is answered with.
    pub tokens: Vec<(Box<str>, Box<str>)>,
    /// For TLS-ALPN-01.
    pub handshakes: tls::Challenges,
}

impl Challenges {
    /// What a request is answered with, if it asks for one of the tokens. Routes and what they
    /// redirect come after: the authority asks in clear, and of every host alike.
    pub(crate) fn answer(&self, head: &RequestHead) -> Option<&str> {
        let token = head.text(head.raw_path).strip_prefix(WELL_KNOWN)?;
        let asks = matches!(head.method(), Method::Get | Method::Head);
        let mut tokens = self.tokens.iter().filter(|_| asks);
        tokens.find(|(own, _)| own.as_bytes() == token).map(|(_, answer)| &**answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_with_its_own_and_nothing_else_is() {
        let pairs = [("one", "one.print"), ("two", "two.print")];
        let tokens = pairs.map(|(token, answer)| (token.into(), answer.into())).to_vec();
        let challenges = Challenges { tokens, ..Challenges::default() };
        for (method, path, expected) in [
            ("GET", "/.well-known/acme-challenge/one", Some("one.print")),
            ("HEAD", "/.well-known/acme-challenge/two", Some("two.print")),
            ("POST", "/.well-known/acme-challenge/one", None),
            ("GET", "/.well-known/acme-challenge/three", None),
            ("GET", "/.well-known/acme-challenge/", None),
            ("GET", "/.well-known/acme-challenge/one/", None),
            ("GET", "/one", None),
        ] {
            let mut head = RequestHead::default();
            head.method = Some(Method::of(method.as_bytes()));
            head.raw_path = head.fields.note(path.as_bytes());
            assert_eq!(challenges.answer(&head), expected, "{method} {path}");
        }
    }
}

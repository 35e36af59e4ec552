//! Requests of ACME, signed (RFC 7515, RFC 8555 section 6.2), by ES256 alone.

use crate::base64::base64url;
use crate::config::Json;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

/// Bytes of an uncompressed point of P-256: a four, and two numbers.
const POINT_BYTES: usize = 65;

/// The key that an account is known by.
pub(super) struct AccountKey {
    pair: EcdsaKeyPair,
    x: String,
    y: String,
}

/// What says whose a request is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer<'a> {
    /// The key itself: its account is not known yet.
    Key,
    /// The account's URL.
    Account(&'a str),
}

impl AccountKey {
    /// Reads one of P-256 in PKCS#8; `None` where it is another.
    pub fn from_pkcs8(der: &[u8]) -> Option<AccountKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
        let point = pair.public_key().as_ref();
        if point.len() != POINT_BYTES {
            return None;
        }
        let (x, y) = point[1..].split_at(32);
        let (x, y) = (base64url(x), base64url(y));
        Some(AccountKey { pair, x, y })
    }

    /// What proves that whoever holds a token holds the key (RFC 8555 section 8.1).
    pub fn authorization(&self, token: &str) -> String {
        // Members in this order, and no space (RFC 7638 section 3).
        let (x, y) = (&self.x, &self.y);
        let jwk = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
        format!("{token}.{}", base64url(digest(&SHA256, jwk.as_bytes()).as_ref()))
    }

    /// The body of a request; `None` where chance has run out. An empty `payload` is none.
    pub fn sign(
        &self,
        signer: Signer<'_>,
        nonce: &str,
        url: &str,
        payload: &str,
    ) -> Option<String> {
        let signer = match signer {
            Signer::Account(url) => ("kid", Json::text(url)),
            Signer::Key => {
                let members = [("crv", "P-256"), ("kty", "EC"), ("x", &self.x), ("y", &self.y)];
                ("jwk", Json::object(members.map(|(name, text)| (name, Json::text(text)))))
            }
        };
        let alg = ("alg", Json::text("ES256"));
        let protected = [alg, ("nonce", Json::text(nonce)), ("url", Json::text(url)), signer];
        let protected = base64url(Json::object(protected).to_string().as_bytes());
        let payload = base64url(payload.as_bytes());
        let signed = format!("{protected}.{payload}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        let body = Json::object([
            ("protected", Json::Text(protected)),
            ("payload", Json::Text(payload)),
            ("signature", Json::Text(base64url(signature.as_ref()))),
        ]);
        Some(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_text::read_json;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn key() -> AccountKey {
        let der = rcgen::KeyPair::generate().expect("a key").serialize_der();
        AccountKey::from_pkcs8(&der).expect("a key of P-256")
    }

    #[test]
    fn a_request_is_signed_over_what_it_says() {
        let key = key();
        let body = key.sign(Signer::Account("https://a/1"), "n-1", "https://a/2", "{}");
        let body = read_json(&body.expect("a signature")).expect("JSON");
        let text = |name| body.text_of(name).expect("a member");
        let signed = format!("{}.{}", text("protected"), text("payload"));
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key());
        let signature = bytes(text("signature"));
        assert!(public.verify(signed.as_bytes(), &signature).is_ok());
        assert!(public.verify(b"other", &signature).is_err());
        let protected = String::from_utf8(bytes(text("protected"))).expect("text");
        let protected = read_json(&protected).expect("JSON");
        for (name, value) in
            [("alg", "ES256"), ("nonce", "n-1"), ("url", "https://a/2"), ("kid", "https://a/1")]
        {
            assert_eq!(protected.text_of(name), Some(value));
        }
        assert!(protected.member("jwk").is_none());
    }

    #[test]
    fn the_thumbprint_is_of_the_members_in_their_order() {
        let key = key();
        let authorization = key.authorization("token");
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, key.x, key.y);
        let print = base64url(digest(&SHA256, jwk.as_bytes()).as_ref());
        assert_eq!(authorization, format!("token.{print}"));
    }

    #[test]
    fn a_key_of_another_kind_is_none() {
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        assert!(AccountKey::from_pkcs8(&other.serialize_der()).is_none());
        assert!(AccountKey::from_pkcs8(b"").is_none());
    }

    fn bytes(text: &str) -> Vec<u8> {
        let mut bits = 0;
        let (mut held, mut out) = (0, Vec::new());
        for digit in text.bytes() {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'-' => 62,
                _ => 63,
            };
            bits = bits << 6 | u32::from(value);
            held += 6;
            if held >= 8 {
                held -= 8;
                out.push((bits >> held) as u8);
            }
        }
        out
    }
}

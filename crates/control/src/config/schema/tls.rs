//! TLS: certificates of listeners, trust of upstreams.

use super::{Key, Section, Shape, Word, key, text, word};

const MIN_VERSION: Key =
    key("min-version", Shape::Words(VERSIONS), "\"1.3\"", "The lowest version that is spoken.")
        .default("\"1.2\"");

const CIPHER_KEY: Key = key(
    "ciphers",
    Shape::List { of: &Shape::Words(CIPHERS) },
    "[\"TLS_AES_128_GCM_SHA256\"]",
    "Which ciphers are spoken, by their registered names, the preferred first. There are none \
     without forward secrecy.",
)
.otherwise("all");

pub(super) static CERTIFICATE: Section = Section {
    noun: "a certificate",
    heading: "tls = { … }",
    doc: "A certificate of a listener, and what clients that ask for one of its names are held \
          to. Files are looked at every few seconds and taken in when they change, without \
          dropping a connection; where the new ones are wrong the old ones stay.",
    keys: &[
        key(
            "cert",
            text("a file"),
            "\"site.pem\"",
            "The certificate in PEM, those that lead to its issuer behind it. Its names decide \
             which clients it is shown to; `*.` in front of one stands for a single label.",
        )
        .otherwise("required where there is no `acme`"),
        key(
            "key",
            text("a file"),
            "\"site.key\"",
            "Its private key in PEM: PKCS#8, SEC1 or PKCS#1, without a passphrase.",
        )
        .otherwise("required where there is no `acme`"),
        key(
            "ocsp",
            text("a file"),
            "\"site.ocsp\"",
            "An OCSP answer in DER that is sent along; whoever renews it writes the file.",
        ),
        MIN_VERSION,
        CIPHER_KEY,
        key(
            "client-ca",
            text("a file"),
            "\"clients.pem\"",
            "Whoever issued good client certificates, in PEM. A client then shows one, and who it \
             is goes to the upstream in `Client-Cert`, `Client-Cert-Chain` (RFC 9440), \
             `X-Client-Cert-Subject` and `X-Client-Cert-SHA256`.",
        ),
        key(
            "client-cert",
            Shape::Words(CLIENT_CERTS),
            "\"optional\"",
            "Whether a client may do without. One that is not good ends the handshake always.",
        )
        .otherwise("`\"required\"` where there is a `client-ca`"),
        key(
            "acme",
            Shape::Either(&[text("an e-mail address"), Shape::Table(&ACME)]),
            "\"ops@example.com\"",
            "Instead of files: a certificate for each exact host of the listener's routes, asked \
             for and renewed by ACME (RFC 8555). The address, or a table. Writing it agrees to \
             the authority's terms of service.",
        ),
    ],
};

static ACME: Section = Section {
    noun: "an ACME account",
    heading: "acme = { … }",
    doc: "Certificates by ACME. Each name has one of its own, with a key of ECDSA P-256, renewed \
          in the last third of its life. The authority comes back to port 443 (`tls-alpn-01`) or 80 \
          (`http-01`) of each name, where this gateway has to be. Until a name's first certificate \
          is there, its clients are shown one that signs itself; while an authority is away, the \
          last one.",
    keys: &[
        key(
            "email",
            text("an e-mail address"),
            "\"ops@example.com\"",
            "Whom the authority tells of trouble.",
        )
        .required(),
        key(
            "directory",
            text("an https URL"),
            "\"https://acme-staging-v02.api.letsencrypt.org/directory\"",
            "The authority: where its directory is.",
        )
        .default("\"https://acme-v02.api.letsencrypt.org/directory\""),
        key(
            "roots",
            text("a file"),
            "\"internal-ca.pem\"",
            "Who is believed about who the authority is, in PEM.",
        )
        .otherwise("the system's"),
        key(
            "names",
            Shape::Many { of: &text("a host name") },
            "[\"shop.example.com\"]",
            "Which names certificates are asked for. No wildcards: those are proved by DNS alone.",
        )
        .otherwise("the exact hosts of the listener's routes"),
        key(
            "storage",
            text("a folder"),
            "\"/var/lib/gatehouse/acme\"",
            "Where accounts, keys and certificates are kept, for nobody else to read. Processes \
             that share it take turns.",
        )
        .otherwise("`acme` in `STATE_DIRECTORY` where systemd sets it, else beside this file"),
        key(
            "challenges",
            Shape::Many { of: &Shape::Words(CHALLENGES) },
            "[\"http-01\"]",
            "How names are proved; the second where the first fails.",
        )
        .otherwise("`tls-alpn-01`, then `http-01` where a listener takes HTTP in clear"),
    ],
};

const CHALLENGES: &[Word] = &[
    word("tls-alpn-01", "In a handshake on port 443 (RFC 8737)."),
    word("http-01", "By a request to port 80, which goes before all routes."),
];

pub(super) static UPSTREAM_TLS: Section = Section {
    noun: "TLS towards endpoints",
    heading: "tls = { … } of an upstream",
    doc: "How endpoints that begin with `https://` are spoken to. Without it their certificates \
          are verified by the system's roots and their own host names.",
    keys: &[
        key(
            "name",
            text("a host name"),
            "\"secure.internal\"",
            "The name their certificates have to have, sent along (SNI), instead of their own.",
        )
        .otherwise("each endpoint's own host"),
        key(
            "roots",
            text("a file"),
            "\"ca.pem\"",
            "Whoever issued their certificates, in PEM, instead of the system's roots.",
        )
        .otherwise("the system's"),
        key("cert", text("a file"), "\"me.pem\"", "What the gateway shows where it is asked."),
        key("key", text("a file"), "\"me.key\"", "Its private key."),
        MIN_VERSION,
        CIPHER_KEY,
        key(
            "insecure-skip-verify",
            Shape::Flag,
            "true",
            "Believes whoever answers. Anybody on the way can then read and change everything.",
        )
        .default("false"),
    ],
};

const VERSIONS: &[Word] = &[word("1.2", "TLS 1.2 and 1.3."), word("1.3", "TLS 1.3 alone.")];

const CLIENT_CERTS: &[Word] = &[
    word("required", "A client without one is refused in the handshake."),
    word("optional", "A client may come without."),
];

const CIPHERS: &[Word] = &[
    word("TLS_AES_256_GCM_SHA384", "TLS 1.3."),
    word("TLS_AES_128_GCM_SHA256", "TLS 1.3."),
    word("TLS_CHACHA20_POLY1305_SHA256", "TLS 1.3."),
    word("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS 1.2, elliptic curve keys."),
    word("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS 1.2, elliptic curve keys."),
    word("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS 1.2, elliptic curve keys."),
    word("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS 1.2, RSA keys."),
    word("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS 1.2, RSA keys."),
    word("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS 1.2, RSA keys."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ciphers_are_those_that_can_be_spoken() {
        let spoken = gatehouse_wire::tls::SUITES.iter().map(|(name, _)| *name);
        assert!(CIPHERS.iter().map(|word| word.text).eq(spoken));
    }
}

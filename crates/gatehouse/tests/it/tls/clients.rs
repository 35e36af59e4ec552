//! Listeners under TLS: what clients are shown, who is let in, what the upstream hears of it.

use super::{Authority, HELLO, Secure, doors, said};
use crate::front::{BINARY, LIMIT, get, routes, scrape};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn curl_verifies_the_gateway_and_the_origin_hears_of_https() {
    let authority = Authority::new();
    let site = authority.sign("site", &["localhost"]).entry("site", "");
    let origin = Origin::start("one").unwrap();
    let gateway =
        Gateway::start(BINARY, &format!("{}{}", doors(&[site]), routes(&[origin.address()])));
    let port = gateway.listener("web").port();
    let url = format!("https://localhost:{port}/echo");
    let arguments =
        ["-sS", "--cacert", "ca.pem", "--resolve", &format!("localhost:{port}:127.0.0.1")];
    let text = said("curl", &[&arguments[..], &[&url]].concat(), &authority.folder);
    assert!(text.contains("proto=https"), "{text}");
    assert!(text.contains("[\"X-Forwarded-Proto\",\"https\"]"), "{text}");
    let bare = said("curl", &["-sS", &url], &authority.folder);
    assert!(bare.contains("SSL certificate problem"), "{bare}");
}

#[test]
fn a_redirect_knows_that_it_is_https() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let route = "[[routes]]\nredirect = { to = \"$scheme://$host/elsewhere\" }\n";
    let gateway = Gateway::start(BINARY, &format!("{}{route}", doors(&[site])));
    let mut client =
        Secure::connect(gateway.listener("web"), "a.test", &Arc::new(authority.client()));
    let answer = client.get("a.test").unwrap();
    assert!(answer.contains("Location: https://a.test/elsewhere\r\n"), "{answer}");
}

#[test]
fn who_speaks_http_to_https_is_told_so_and_garbage_is_closed() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&[site])));
    let answer = get(gateway.listener("web"), "/");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("speaks https"), "{}", answer.text());
    for garbage in [&[0_u8; 64][..], b"\x16\x03\x01\x00\x05\x02\0\0\0\0", b"\x80\x2e\x01\0\x02"] {
        let mut client = Client::connect(gateway.listener("web"));
        client.offer(garbage);
        let _ = client.read_rest();
    }
    let counted = scrape(&gateway);
    assert_eq!(counted.sum("tls_handshakes_total", &["end=\"plain-http\""]), 1);
    assert_eq!(counted.sum("tls_handshakes_total", &["end=\"protocol\""]), 3);
    let mut client =
        Secure::connect(gateway.listener("web"), "a.test", &Arc::new(authority.client()));
    assert!(client.get("a.test").unwrap().ends_with("hello"));
}

#[test]
fn a_slow_handshake_is_ended_and_a_quick_one_beside_it_is_not_held_up() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let text = format!("{}{HELLO}", doors(&[site]))
        .replace("tls = [", "limits = { tls-handshake-timeout = \"300ms\" }\ntls = [");
    let gateway = Gateway::start(BINARY, &text);
    let mut slow = Client::connect(gateway.listener("web"));
    slow.offer(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    let mut quick =
        Secure::connect(gateway.listener("web"), "a.test", &Arc::new(authority.client()));
    assert!(quick.get("a.test").unwrap().ends_with("hello"));
    let _ = slow.read_rest();
    wait_until(LIMIT, || scrape(&gateway).sum("tls_handshakes_total", &["end=\"timeout\""]) == 1);
}

#[test]
fn each_name_is_shown_its_own_certificate() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"]).sign("two", &["two.test", "*.two.test"]);
    let entries = [authority.entry("one", ""), authority.entry("two", "")];
    let gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&entries)));
    let config = Arc::new(authority.client());
    for (name, fits) in [
        ("one.test", true),
        ("two.test", true),
        ("a.two.test", true),
        ("a.b.two.test", false),
        ("three.test", false),
    ] {
        let mut client = Secure::connect(gateway.listener("web"), name, &config);
        assert_eq!(client.get(name).is_ok(), fits, "{name}");
    }
}

/// An origin that answers anybody, and what it was asked last.
fn listening_origin() -> ScriptedOrigin {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    ScriptedOrigin::each(Script::new().expect_head().send(answer).times(100))
}

#[test]
fn a_client_certificate_is_passed_on_and_a_forged_one_is_not() {
    let authority = Authority::new();
    authority.sign("site", &["a.test"]).sign("me", &["me"]);
    let ca = format!(", client-ca = \"{}\", client-cert = \"optional\"", authority.path("ca.pem"));
    let origin = listening_origin();
    let text = format!("{}{}", doors(&[authority.entry("site", &ca)]), routes(&[origin.address()]));
    let gateway = Gateway::start(BINARY, &text);
    let forged = "GET / HTTP/1.1\r\nHost: a.test\r\nClient-Cert: :Zm9yZ2Vk:\r\n\
                  Client-Cert-Chain: :Zm9yZ2Vk:\r\nclient_cert: :Zm9yZ2Vk:\r\n\
                  X-Client-Cert-Subject: CN=forged\r\nX-Client-Cert-SHA256: forged\r\n\
                  Connection: client-cert\r\n\r\n";
    let known = Arc::new(authority.client_as("me"));
    let unknown = Arc::new(authority.client());
    for (config, shown) in [(&known, true), (&unknown, false)] {
        let before = origin.seen_in_all().len();
        let mut client = Secure::connect(gateway.listener("web"), "a.test", config);
        client.ask(forged).unwrap();
        let seen = String::from_utf8_lossy(&origin.seen_in_all()[before..]).into_owned();
        assert!(!seen.contains("forged") && !seen.contains("Zm9yZ2Vk"), "{seen}");
        assert_eq!(seen.contains("\r\nClient-Cert: :MII"), shown, "{seen}");
        assert_eq!(seen.contains("\r\nX-Client-Cert-Subject: CN=me\r\n"), shown, "{seen}");
        assert_eq!(seen.contains("\r\nX-Client-Cert-SHA256: "), shown, "{seen}");
    }
}

#[test]
fn a_forged_client_certificate_does_not_get_past_a_listener_in_clear_either() {
    let origin = listening_origin();
    let gateway = crate::front::start(&[origin.address()]);
    let text = "GET / HTTP/1.1\r\nHost: a\r\nClient-Cert: :Zm9yZ2Vk:\r\n\
                X-Client-Cert-Subject: CN=forged\r\n\r\n";
    Client::connect(gateway.listener("web")).send(text).expect_status(200);
    let seen = String::from_utf8_lossy(&origin.seen_in_all()).into_owned();
    assert!(!seen.contains("forged") && !seen.contains("Zm9yZ2Vk"), "{seen}");
}

#[test]
fn a_required_client_certificate_fails_closed() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("site", &["a.test"]).sign("me", &["me"]);
    stranger.sign("me", &["me"]);
    let ca = format!(", client-ca = \"{}\"", authority.path("ca.pem"));
    let text = format!("{}{HELLO}", doors(&[authority.entry("site", &ca)]));
    let gateway = Gateway::start(BINARY, &text);
    let ask = |config| {
        Secure::connect(gateway.listener("web"), "a.test", &Arc::new(config)).get("a.test")
    };
    assert!(ask(authority.client_as("me")).unwrap().ends_with("hello"));
    assert!(ask(authority.client()).is_err());
    let (chain, key) = stranger.pair("me");
    let bad = authority.client();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(bad.crypto_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots());
    assert!(ask(builder.with_client_auth_cert(chain, key).unwrap()).is_err());
    wait_until(LIMIT, || {
        scrape(&gateway).sum("tls_handshakes_total", &["end=\"certificate\""]) == 2
    });
    assert_eq!(scrape(&gateway).sum("requests_total", &[]), 1);
}

#[test]
fn a_host_of_another_policy_is_misdirected_and_a_session_of_it_is_not_resumed() {
    let authority = Authority::new();
    authority.sign("open", &["open.test"]).sign("closed", &["closed.test"]).sign("me", &["me"]);
    let ca = format!(", client-ca = \"{}\"", authority.path("ca.pem"));
    let entries = [authority.entry("open", ""), authority.entry("closed", &ca)];
    let gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&entries)));
    let config = Arc::new(authority.client());
    let mut client = Secure::connect(gateway.listener("web"), "open.test", &config);
    assert!(client.get("open.test").unwrap().starts_with("HTTP/1.1 200"));
    assert!(client.get("OPEN.test:443").unwrap().starts_with("HTTP/1.1 200"));
    let refused = client.get("closed.test").unwrap();
    assert!(refused.starts_with("HTTP/1.1 421"), "{refused}");
    // The session of the open name, offered under the closed one (CVE-2025-23419).
    assert!(
        Secure::connect(gateway.listener("web"), "closed.test", &config)
            .get("closed.test")
            .is_err()
    );
    let me = Arc::new(authority.client_as("me"));
    let mut client = Secure::connect(gateway.listener("web"), "closed.test", &me);
    assert!(client.get("closed.test").unwrap().starts_with("HTTP/1.1 200"));
    assert!(client.get("open.test").unwrap().starts_with("HTTP/1.1 421"));
}

#[test]
fn nothing_is_taken_before_a_handshake_has_ended() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&[site])));
    let mut config = authority.client();
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..3 {
        let mut client = Secure::connect(gateway.listener("web"), "a.test", &config);
        // A ticket that allowed it would make this some.
        assert!(client.0.conn.early_data().is_none());
        client.get("a.test").unwrap();
    }
    let resumed = scrape(&gateway).sum("tls_handshakes_total", &["end=\"resumed\""]);
    assert_eq!(resumed, 2);
}

#[test]
fn the_staple_goes_with_its_certificate() {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use std::sync::Mutex;

    /// Believes whoever answers, and keeps what was stapled.
    #[derive(Debug, Default)]
    struct Staple(Mutex<Vec<u8>>);

    impl ServerCertVerifier for Staple {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            staple: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            *self.0.lock().unwrap() = staple.to_vec();
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            super::provider().signature_verification_algorithms.supported_schemes()
        }
    }

    let authority = Authority::new();
    authority.sign("site", &["a.test"]).put("site.ocsp", "an answer in DER");
    let ocsp = format!(", ocsp = \"{}\"", authority.path("site.ocsp"));
    let text = format!("{}{HELLO}", doors(&[authority.entry("site", &ocsp)]));
    let gateway = Gateway::start(BINARY, &text);
    let kept = Arc::new(Staple::default());
    let mut config = authority.client();
    config.dangerous().set_certificate_verifier(Arc::clone(&kept) as Arc<dyn ServerCertVerifier>);
    Secure::connect(gateway.listener("web"), "a.test", &Arc::new(config)).get("a.test").unwrap();
    assert_eq!(*kept.0.lock().unwrap(), b"an answer in DER");
}

#[test]
fn the_end_is_told_by_close_notify() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let origin = Origin::start("one").unwrap();
    let text = format!("{}{}", doors(&[site]), routes(&[origin.address()]));
    let gateway = Gateway::start(BINARY, &text);
    let mut client =
        Secure::connect(gateway.listener("web"), "a.test", &Arc::new(authority.client()));
    use std::io::Write;
    client.0.write_all(b"GET /bytes/100000 HTTP/1.0\r\nHost: a.test\r\n\r\n").unwrap();
    let mut all = Vec::new();
    // rustls tells an end without close_notify as an error.
    client.0.read_to_end(&mut all).unwrap();
    assert!(all.len() > 100_000);
}

#[test]
fn large_bodies_pass_both_ways_whole() {
    let authority = Authority::new();
    let site = authority.sign("site", &["localhost"]).entry("site", "");
    let origin = Origin::start("one").unwrap();
    let text = format!("{}{}", doors(&[site]), routes(&[origin.address()]));
    let gateway = Gateway::start(BINARY, &text);
    let port = gateway.listener("web").port();
    let body: Vec<u8> =
        (0..9_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(authority.folder.join("body"), &body).unwrap();
    let resolve = format!("localhost:{port}:127.0.0.1");
    let common = ["-sS", "--cacert", "ca.pem", "--resolve", &resolve, "-o", "out"];
    let (down, up) = (
        format!("https://localhost:{port}/bytes/9000001"),
        format!("https://localhost:{port}/drain"),
    );
    let text = said("curl", &[&common[..], &[&down]].concat(), &authority.folder);
    assert_eq!(text, "");
    assert_eq!(std::fs::metadata(authority.folder.join("out")).unwrap().len(), 9_000_001);
    let upload = ["--data-binary", "@body", &up];
    let text = said("curl", &[&common[..], &upload].concat(), &authority.folder);
    assert_eq!(text, "");
    let out = std::fs::read_to_string(authority.folder.join("out")).unwrap();
    assert!(out.contains("9000000"), "{out}");
}

#[test]
fn an_idle_connection_ends_with_a_drain() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let mut gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&[site])));
    let mut client =
        Secure::connect(gateway.listener("web"), "a.test", &Arc::new(authority.client()));
    client.get("a.test").unwrap();
    gateway.signal(gatehouse_rig::process::Signal::Term);
    assert_eq!(client.0.read(&mut [0; 10]).unwrap(), 0);
    assert!(gateway.wait(Duration::from_secs(10)).success());
}

//! Whom TLS lets in: names, certificates, policies, tickets.

use crate::tls::{Authority, one, read_some, server, shake, shaken, write};
use gatehouse_wire::Stream;
use gatehouse_wire::memory::MemoryStream;
use gatehouse_wire::tls::{
    ClientAuth, ClientSide, ClientSpec, Identity, IdentityFault, MinVersion, Roots, ServerFault,
    ServerSide, Verify, accept,
};
use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Waker};
#[test]
fn each_name_gets_its_certificate_and_an_unknown_one_the_first() {
    let authority = Authority::new("ca");
    let stranger = Authority::new("stranger");
    // Only the first is signed by whom the client believes: where another is shown, it fails.
    let side = server(&[
        authority.entry(&["first.test", "*.first.test"], ClientAuth::None),
        stranger.entry(&["second.test", "own.first.test"], ClientAuth::None),
    ]);
    for (name, issuer) in [
        ("first.test", &authority),
        ("a.first.test", &authority),
        ("second.test", &stranger),
        ("own.first.test", &stranger),
    ] {
        let (near, far) = shake(&issuer.client(None), name, &side);
        assert!(near.is_ok() && far.is_ok(), "{name}");
    }
    for name in ["a.b.first.test", "third.test"] {
        let (near, _) = shake(&authority.client(None), name, &side);
        assert_eq!(near.unwrap_err().to_string(), "it is for another name", "{name}");
        let (near, _) = shake(&stranger.client(None), name, &side);
        assert_eq!(near.unwrap_err().to_string(), "its issuer is not trusted", "{name}");
    }
}

#[test]
fn a_required_certificate_fails_closed() {
    let authority = Authority::new("ca");
    let stranger = Authority::new("stranger");
    let side = server(&[authority.entry(&["a.test"], authority.required())]);
    let good = authority.client(Some(authority.identity(&["client"])));
    let (_, far) = shaken(&good, "a.test", &side);
    let peer = far.tls().unwrap().peer.clone().unwrap();
    assert_eq!(&*peer.subject, "CN=someone");
    assert_eq!(peer.fingerprint.len(), 64);
    let (_, far) = shake(&authority.client(None), "a.test", &side);
    assert_eq!(far.unwrap_err().to_string(), "none was shown");
    let bad = authority.client(Some(stranger.identity(&["client"])));
    let (_, far) = shake(&bad, "a.test", &side);
    assert_eq!(far.unwrap_err().to_string(), "its issuer is not trusted");
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_bad() {
    let authority = Authority::new("ca");
    let stranger = Authority::new("stranger");
    let issuers = ClientAuth::issuers(authority.pem.as_bytes()).unwrap();
    let side = server(&[authority.entry(&["a.test"], ClientAuth::Optional(issuers))]);
    let (_, far) = shaken(&authority.client(None), "a.test", &side);
    assert!(far.tls().unwrap().peer.is_none());
    let bad = authority.client(Some(stranger.identity(&["client"])));
    assert!(shake(&bad, "a.test", &side).1.is_err());
}

/// Shakes hands and carries something each way, so that tickets are there.
fn visit(client: &ClientSide, name: &str, side: &Arc<ServerSide>) -> (Stream, Stream) {
    let (mut near, mut far) = shaken(client, name, side);
    one(async {
        write(&mut near, &[b"ask"]).await.unwrap();
        read_some(&mut far, 10).await.unwrap();
        write(&mut far, &[b"answer"]).await.unwrap();
        read_some(&mut near, 10).await.unwrap();
    });
    (near, far)
}

fn resumed(client: &ClientSide, name: &str, side: &Arc<ServerSide>) -> bool {
    visit(client, name, side).1.tls().unwrap().resumed
}

#[test]
fn a_session_is_resumed_under_its_own_name_and_policy_only() {
    let authority = Authority::new("ca");
    let names = ["a.test", "b.test"];
    let before = server(&[authority.entry(&names, ClientAuth::None)]);
    let client = authority.client(None);
    assert!(!resumed(&client, "a.test", &before));
    assert!(resumed(&client, "a.test", &before));
    assert!(!resumed(&client, "b.test", &before), "a session of another name");

    // A new certificate keeps the tickets; a new policy does not.
    let entries = [authority.entry(&names, ClientAuth::None)];
    let renewed = Arc::new(ServerSide::new(&entries, &[b"http/1.1"], Some(&before)).unwrap());
    assert!(resumed(&client, "a.test", &renewed));
    let issuers = ClientAuth::issuers(authority.pem.as_bytes()).unwrap();
    let entries = [authority.entry(&names, ClientAuth::Optional(issuers))];
    let strict = Arc::new(ServerSide::new(&entries, &[b"http/1.1"], Some(&renewed)).unwrap());
    assert!(!resumed(&client, "a.test", &strict), "a session of another policy");
}

#[test]
fn a_ticket_of_an_open_policy_opens_no_other_on_the_same_listener() {
    let authority = Authority::new("ca");
    let side = server(&[
        authority.entry(&["open.test"], ClientAuth::None),
        authority.entry(&["closed.test"], authority.required()),
    ]);
    let client = authority.client(None);
    visit(&client, "open.test", &side);
    assert!(resumed(&client, "open.test", &side));
    let (_, far) = shake(&client, "closed.test", &side);
    assert_eq!(far.unwrap_err().to_string(), "none was shown");
    let (_, far) = visit(&client, "open.test", &side);
    let facts = far.tls().unwrap();
    assert!(facts.admits(b"open.test") && facts.admits(b"unknown.test"));
    assert!(!facts.admits(b"closed.test"), "a host of another policy");
}

#[test]
fn two_certificates_for_a_name_cannot_contradict_each_other() {
    let authority = Authority::new("ca");
    let entries = [
        authority.entry(&["a.test"], ClientAuth::None),
        authority.entry(&["b.test", "a.test"], authority.required()),
    ];
    let fault = ServerSide::new(&entries, &[], None).unwrap_err();
    let name = "a.test".into();
    assert_eq!(fault, ServerFault::Contradiction { name, entries: [0, 1] });
}

#[test]
fn the_lowest_version_holds() {
    let authority = Authority::new("ca");
    let mut entry = authority.entry(&["a.test"], ClientAuth::None);
    let old = ClientSpec {
        verify: Verify::By(Roots::from_pem(authority.pem.as_bytes()).unwrap()),
        identity: None,
        min_version: MinVersion::Tls12,
        suites: vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
    };
    let old = ClientSide::new(&old, &[]);
    // A client of suites of TLS 1.2 alone speaks nothing else.
    let old = old.unwrap();
    let (_, far) = shaken(&old, "a.test", &server(&[entry.clone()]));
    assert_eq!(far.tls().unwrap().version, "TLSv1.2");
    assert_eq!(far.tls().unwrap().cipher, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    entry.policy.min_version = MinVersion::Tls13;
    let (near, far) = shake(&old, "a.test", &server(&[entry]));
    assert!(near.is_err());
    assert_eq!(far.unwrap_err().word(), "incompatible");
}

#[test]
fn what_is_no_identity_says_why() {
    let authority = Authority::new("ca");
    let (chain, key) = authority.pair(&["a.test"]);
    let (_, other) = authority.pair(&["a.test"]);
    let of = |chain: &str, key: &str| Identity::from_pem(chain.as_bytes(), key.as_bytes(), None);
    assert_eq!(of(&chain, &other).unwrap_err(), IdentityFault::Mismatch);
    assert_eq!(of("", &key).unwrap_err(), IdentityFault::NoCertificate);
    assert_eq!(of(&chain, &chain).unwrap_err(), IdentityFault::NoKey);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(of(&chain, encrypted).unwrap_err(), IdentityFault::EncryptedKey);
    let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(of(&chain, broken).unwrap_err(), IdentityFault::BadKey);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(of(broken, &key).unwrap_err(), IdentityFault::BadCertificate);
}

#[test]
fn what_is_not_tls_ends_in_the_handshake() {
    let authority = Authority::new("ca");
    let side = server(&[authority.entry(&["a.test"], ClientAuth::None)]);
    let said = |text: &[u8]| {
        let (near, far) = MemoryStream::pair();
        let mut near = Stream::Memory(near);
        one(async {
            poll_fn(|cx| near.poll_write_vectored(cx, &[IoSlice::new(text)])).await.unwrap();
            near.poll_shutdown(&mut Context::from_waker(Waker::noop())).is_ready();
            let mut far = Stream::Memory(far);
            accept(&mut far, Arc::clone(&side)).await.unwrap_err().word()
        })
    };
    assert_eq!(said(b"GET / HTTP/1.1\r\n\r\n"), "plain-http");
    assert_eq!(said(b"\0\0\0\0"), "protocol");
    assert_eq!(said(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), "protocol");
    assert_eq!(said(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"), "protocol");
    assert_eq!(said(b"\x16\x03"), "closed");
    assert_eq!(said(b""), "closed");
}

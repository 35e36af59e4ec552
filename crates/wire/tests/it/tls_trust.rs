//! Whom TLS lets in: names, certificates, policies, tickets.

use crate::tls::{Authority, both, both_async, one, read_some, server, shake, shaken, write};
use gatehouse_wire::Stream;
use gatehouse_wire::memory::MemoryStream;
use gatehouse_wire::tls::{
    ACME_PROTOCOL, Accepted, Challenges, ClientAuth, ClientSide, ClientSpec, Identity,
    IdentityFault, MinVersion, Roots, ServerFault, ServerId, ServerSide, Verify, accept, connect,
};
use proptest::prelude::*;
use std::future::{Future, poll_fn};
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
fn a_challenge_is_shown_by_its_name_to_those_who_speak_its_protocol_alone() {
    let authority = Authority::new("ca");
    let side = server(&[authority.entry(&["a.test"], authority.required())]);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
    let made = params.self_signed(&key).unwrap().der().to_vec();
    let mut challenges = Challenges::default();
    challenges.add("a.test", made, key.serialize_der()).unwrap();
    let alone = &[ACME_PROTOCOL][..];
    for (name, protocols, given, expected) in [
        ("a.test", alone, Some(&challenges), Some(Accepted::Challenge)),
        // Whoever wants to be served as well is held to the listener's rules.
        ("a.test", &[ACME_PROTOCOL, b"http/1.1"], Some(&challenges), None),
        ("a.test", &[b"http/1.1"], Some(&challenges), None),
        ("b.test", alone, Some(&challenges), None),
        ("a.test", alone, None, None),
    ] {
        let (verify, min_version) = (Verify::NotAtAll, MinVersion::default());
        let spec = ClientSpec { verify, identity: None, min_version, suites: vec![] };
        let client = ClientSide::new(&spec, protocols).unwrap();
        let (near, far) = MemoryStream::pair();
        let mut far = Stream::Memory(far);
        let id = ServerId::new(name).unwrap();
        let connected = async {
            let mut stream = connect(Stream::Memory(near), &client, &id).await.ok()?;
            poll_fn(|cx| stream.poll_flush(cx)).await.ok()
        };
        let accepting = async { accept(&mut far, Arc::clone(&side), given).await.ok() };
        let (_, accepted) = both(connected, accepting);
        assert_eq!(accepted, expected, "{name} {protocols:?}");
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
            accept(&mut far, Arc::clone(&side), None).await.unwrap_err().word()
        })
    };
    assert_eq!(said(b"GET / HTTP/1.1\r\n\r\n"), "plain-http");
    assert_eq!(said(b"\0\0\0\0"), "protocol");
    assert_eq!(said(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), "protocol");
    assert_eq!(said(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"), "protocol");
    assert_eq!(said(b"\x16\x03"), "closed");
    assert_eq!(said(b""), "closed");
}

/// Everything one side of a conversation sends: a handshake, a request or an answer, the end.
fn recorded(side: &Arc<ServerSide>, client: &ClientSide) -> [Vec<u8>; 2] {
    let ends = [MemoryStream::pair(), MemoryStream::pair()];
    let [(near, middle_near), (middle_far, far)] = ends;
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let talk = async {
        let mut near =
            connect(Stream::Memory(near), client, &ServerId::new("a.test").unwrap()).await.unwrap();
        write(&mut near, &[b"ask"]).await.unwrap();
        read_some(&mut near, 100).await.unwrap();
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
    };
    let answer = async {
        let mut stream = Stream::Memory(far);
        accept(&mut stream, Arc::clone(side), None).await.unwrap();
        read_some(&mut stream, 100).await.unwrap();
        write(&mut stream, &[b"answer"]).await.unwrap();
        poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
    };
    let (mut one, mut two) = (Stream::Memory(middle_near), Stream::Memory(middle_far));
    let relay = poll_fn(|cx| {
        let moved = [
            carry(cx, &mut one, &mut two, &mut to_server),
            carry(cx, &mut two, &mut one, &mut to_client),
        ];
        if moved == [true, true] { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    both(both_async(talk, answer), relay);
    [to_server, to_client]
}

/// Passes on what there is and keeps it; true once it has ended.
fn carry(cx: &mut Context<'_>, from: &mut Stream, to: &mut Stream, kept: &mut Vec<u8>) -> bool {
    let mut room = [0; 20_000];
    loop {
        match from.poll_read(cx, &mut room) {
            std::task::Poll::Ready(Ok(count)) if count > 0 => {
                kept.extend_from_slice(&room[..count]);
                let _ = to.poll_write_vectored(cx, &[IoSlice::new(&room[..count])]);
            }
            std::task::Poll::Ready(_) => return true,
            std::task::Poll::Pending => return false,
        }
    }
}

/// Hands `bytes` to one side in pieces, and has it read, write, look and end, whatever it says.
fn feed(bytes: &[u8], piece: usize, server: Option<&Arc<ServerSide>>, client: &ClientSide) {
    let (near, far) = MemoryStream::pair();
    let mut cx = Context::from_waker(Waker::noop());
    let mut far = Stream::Memory(far);
    let mut own = Stream::Memory(near);
    let mut pieces = bytes.chunks(piece);
    let id = ServerId::new("a.test").unwrap();
    let mut shaking: std::pin::Pin<Box<dyn Future<Output = Option<Stream>>>> = match server {
        Some(side) => Box::pin(async {
            accept(&mut own, Arc::clone(side), None).await.ok()?;
            Some(own)
        }),
        None => Box::pin(async { connect(own, client, &id).await.ok() }),
    };
    let mut shaken = None;
    let mut room = vec![0; 3000];
    for _ in 0..bytes.len() / piece + 3 {
        match pieces.next() {
            Some(piece) => drop(far.poll_write_vectored(&mut cx, &[IoSlice::new(piece)])),
            None => drop(far.poll_shutdown(&mut cx)),
        }
        match &mut shaken {
            None => {
                if let std::task::Poll::Ready(done) = shaking.as_mut().poll(&mut cx) {
                    let Some(stream) = done else { return };
                    shaken = Some(stream);
                }
            }
            Some(stream) => {
                let _ = stream.poll_read(&mut cx, &mut room);
                let _ = stream.poll_write_vectored(&mut cx, &[IoSlice::new(b"more")]);
                let _ = stream.glance();
            }
        }
    }
    if let Some(stream) = &mut shaken {
        let _ = stream.poll_shutdown(&mut cx);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_of_a_peer_end_in_a_panic(
        toward_server in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        twice in any::<bool>(),
        piece in 1_usize..2000,
    ) {
        thread_local! {
            static MADE: (Arc<ServerSide>, ClientSide, [Vec<u8>; 2]) = {
                let authority = Authority::new("ca");
                let side = server(&[authority.entry(&["a.test"], ClientAuth::None)]);
                let client = authority.client(None);
                let bytes = recorded(&side, &client);
                (side, client, bytes)
            };
        }
        MADE.with(|(side, client, recorded)| {
            let mut bytes = recorded[usize::from(!toward_server)].clone();
            for (at, byte) in &changes {
                *at.get_mut(&mut bytes) = *byte;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            if twice {
                bytes.extend_from_within(..);
            }
            feed(&bytes, piece, toward_server.then_some(side), client);
        });
    }
}

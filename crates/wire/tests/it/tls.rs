//! TLS over the tests' network: both sides are the gateway's own; other people's are met in the
//! tests of the whole gateway.

use gatehouse_wire::Stream;
use gatehouse_wire::memory::MemoryStream;
use gatehouse_wire::socket::Probe;
use gatehouse_wire::tls::{
    ClientAuth, ClientSide, ClientSpec, HandshakeError, Identity, MinVersion, Policy, Roots,
    ServerEntry, ServerId, ServerSide, Verify, accept, connect,
};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Turns that end a test in which nothing moves any more.
const TURNS_MAX: usize = 100_000;

pub(crate) fn both<A, B>(one: impl Future<Output = A>, two: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut two) = (pin!(one), pin!(two));
    let (mut first, mut second) = (None, None);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..TURNS_MAX {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(&mut cx)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = two.as_mut().poll(&mut cx)
        {
            second = Some(done);
        }
        if first.is_some() && second.is_some() {
            break;
        }
    }
    (first.expect("the first came to no end"), second.expect("the second came to no end"))
}

pub(crate) fn one<A>(future: impl Future<Output = A>) -> A {
    both(future, async {}).0
}

/// Who signs, in a test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let (chain, key) = self.pair(names);
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), None).unwrap()
    }

    pub(crate) fn pair(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "someone");
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    pub(crate) fn entry(&self, names: &[&str], client: ClientAuth) -> ServerEntry {
        let policy = Policy { client, ..Policy::default() };
        ServerEntry { identity: self.identity(names), policy }
    }

    pub(crate) fn client(&self, identity: Option<Identity>) -> ClientSide {
        self.client_of(identity, MinVersion::Tls12)
    }

    pub(crate) fn client_of(
        &self,
        identity: Option<Identity>,
        min_version: MinVersion,
    ) -> ClientSide {
        let verify = Verify::By(Roots::from_pem(self.pem.as_bytes()).unwrap());
        let spec = ClientSpec { verify, identity, min_version, suites: vec![] };
        ClientSide::new(&spec, &[b"http/1.1"]).unwrap()
    }

    pub(crate) fn required(&self) -> ClientAuth {
        ClientAuth::Required(ClientAuth::issuers(self.pem.as_bytes()).unwrap())
    }
}

pub(crate) fn server(entries: &[ServerEntry]) -> Arc<ServerSide> {
    Arc::new(ServerSide::new(entries, &[b"http/1.1"], None).unwrap())
}

pub(crate) type Shaken = (Result<Stream, HandshakeError>, Result<Stream, HandshakeError>);

/// The client's end, the server's end.
pub(crate) fn shake(client: &ClientSide, name: &str, side: &Arc<ServerSide>) -> Shaken {
    let (near, far) = MemoryStream::pair();
    let id = ServerId::new(name).unwrap();
    let connected = async {
        let mut stream = connect(Stream::Memory(near), client, &id).await?;
        // The end of the handshake waits for what is written first, or for a read.
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        Ok(stream)
    };
    both(connected, async {
        let mut stream = Stream::Memory(far);
        accept(&mut stream, Arc::clone(side), None).await.map(|_| stream)
    })
}

pub(crate) fn shaken(client: &ClientSide, name: &str, side: &Arc<ServerSide>) -> (Stream, Stream) {
    let (near, far) = shake(client, name, side);
    (near.unwrap(), far.unwrap())
}

fn pair() -> (Stream, Stream) {
    let authority = Authority::new("ca");
    let side = server(&[authority.entry(&["a.test"], ClientAuth::None)]);
    shaken(&authority.client(None), "a.test", &side)
}

pub(crate) async fn write(stream: &mut Stream, parts: &[&[u8]]) -> io::Result<()> {
    let text = parts.concat();
    let mut cuts: Vec<usize> = Vec::new();
    let mut at = 0;
    for part in parts {
        at += part.len();
        cuts.push(at);
    }
    let mut written = 0;
    while written < text.len() {
        let mut start = written;
        let mut slices = Vec::new();
        for cut in cuts.iter().filter(|cut| **cut > written) {
            slices.push(IoSlice::new(&text[start..*cut]));
            start = *cut;
        }
        written += poll_fn(|cx| stream.poll_write_vectored(cx, &slices)).await?;
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

pub(crate) async fn read_some(stream: &mut Stream, most: usize) -> io::Result<Vec<u8>> {
    let mut room = vec![0; most];
    let count = poll_fn(|cx| stream.poll_read(cx, &mut room)).await?;
    room.truncate(count);
    Ok(room)
}

async fn read_to_end(stream: &mut Stream, most: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let some = read_some(stream, most).await?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

async fn shut(stream: &mut Stream) {
    poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
}

#[test]
fn a_handshake_settles_version_cipher_name_and_protocol() {
    let (near, far) = pair();
    let facts = far.tls().unwrap();
    assert_eq!(facts.version, "TLSv1.3");
    assert_eq!(facts.cipher, "TLS_AES_256_GCM_SHA384");
    assert_eq!(facts.name.as_deref(), Some("a.test"));
    assert_eq!(facts.protocol.as_deref(), Some(&b"http/1.1"[..]));
    assert!(!facts.resumed && facts.peer.is_none());
    assert_eq!(near.tls().unwrap().protocol.as_deref(), Some(&b"http/1.1"[..]));
}

fn next(number: &mut u32) -> u8 {
    *number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*number >> 24) as u8
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_written_in_any_pieces_is_read_in_any_pieces(
        sizes in proptest::collection::vec(0_usize..70_000, 1..12),
        group in 1_usize..6,
        most in 1_usize..40_000,
    ) {
        let (mut near, mut far) = pair();
        let mut number = 0_u32;
        let texts: Vec<Vec<u8>> = sizes
            .iter()
            .map(|size| (0..*size).map(|_| next(&mut number)).collect())
            .collect();
        let expected = texts.concat();
        let (_, read) = both(
            async {
                for group in texts.chunks(group) {
                    let parts: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
                    write(&mut near, &parts).await.unwrap();
                }
                shut(&mut near).await;
            },
            read_to_end(&mut far, most),
        );
        prop_assert!(read.unwrap() == expected);
    }
}

#[test]
fn a_socket_that_ends_without_close_notify_is_an_error_and_one_with_it_is_an_end() {
    let (mut near, mut far) = pair();
    one(write(&mut near, &[b"part"])).unwrap();
    near.reset_on_close();
    drop(near);
    let broken = one(read_to_end(&mut far, 100)).unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);

    let (near, far) = MemoryStream::pair();
    let authority = Authority::new("ca");
    let side = server(&[authority.entry(&["a.test"], ClientAuth::None)]);
    // A relay in the middle that stops after so many bytes of the server's.
    let (middle_near, middle_far) = MemoryStream::pair();
    let client = authority.client(None);
    let id = ServerId::new("a.test").unwrap();
    let relay = relay(Stream::Memory(far), Stream::Memory(middle_near));
    let ((read, ()), ()) = both(
        async {
            both_async(
                async {
                    let mut near = connect(Stream::Memory(near), &client, &id).await.unwrap();
                    write(&mut near, &[b"ask"]).await.unwrap();
                    read_to_end(&mut near, 100).await
                },
                async {
                    let mut stream = Stream::Memory(middle_far);
                    accept(&mut stream, Arc::clone(&side), None).await.unwrap();
                    assert_eq!(read_some(&mut stream, 100).await.unwrap(), b"ask");
                    write(&mut stream, &[b"whole-looking"]).await.unwrap();
                    shut(&mut stream).await;
                },
            )
            .await
        },
        relay,
    );
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

pub(crate) async fn both_async<A, B>(
    one: impl Future<Output = A>,
    two: impl Future<Output = B>,
) -> (A, B) {
    let (mut one, mut two) = (pin!(one), pin!(two));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(cx)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = two.as_mut().poll(cx)
        {
            second = Some(done);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first.unwrap(), second.unwrap())
}

/// Passes records on, but not the last: the server's close_notify.
async fn relay(mut client: Stream, mut server: Stream) {
    let mut back = Vec::new();
    let mut ended = false;
    let mut room = vec![0; 20_000];
    poll_fn(|cx| {
        while let Poll::Ready(Ok(count)) = client.poll_read(cx, &mut room) {
            if count == 0 {
                break;
            }
            let _ = server.poll_write_vectored(cx, &[IoSlice::new(&room[..count])]);
        }
        while let Poll::Ready(read) = server.poll_read(cx, &mut room) {
            let count = read.unwrap_or(0);
            ended |= count == 0;
            if count == 0 {
                break;
            }
            back.extend_from_slice(&room[..count]);
        }
        // Whole records but the last go on; at the end the last, which is known then, does not.
        while let Some(head) = back.first_chunk::<5>() {
            let length = 5 + usize::from(u16::from_be_bytes([head[3], head[4]]));
            let alert = length == 5 + 2 + 1 + 16;
            if back.len() < length || alert {
                break;
            }
            let _ = client.poll_write_vectored(cx, &[IoSlice::new(&back[..length])]);
            back.drain(..length);
        }
        if ended { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    poll_fn(|cx| client.poll_shutdown(cx)).await.unwrap();
    poll_fn(|_| Poll::<()>::Ready(())).await;
    // It stays open for reading, so that nothing is reset.
    std::mem::forget(client);
}

#[test]
fn who_asks_and_closes_in_the_last_flight_of_a_handshake_is_heard() {
    let authority = Authority::new("ca");
    let side = server(&[authority.entry(&["a.test"], ClientAuth::None)]);
    let client = authority.client(None);
    let (near, far) = MemoryStream::pair();
    let asked = async {
        let id = ServerId::new("a.test").unwrap();
        let mut stream = connect(Stream::Memory(near), &client, &id).await.unwrap();
        write(&mut stream, &[b"ask"]).await.unwrap();
        poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
        stream
    };
    let heard = async {
        let mut stream = Stream::Memory(far);
        accept(&mut stream, Arc::clone(&side), None).await.unwrap();
        let first = read_some(&mut stream, 100).await.unwrap();
        (first, read_some(&mut stream, 100).await.unwrap())
    };
    let (_, (first, second)) = both(asked, heard);
    assert_eq!((&*first, &*second), (&b"ask"[..], &b""[..]));
}

#[test]
fn an_end_is_half_a_close() {
    let (mut near, mut far) = pair();
    one(async {
        write(&mut near, &[b"ask"]).await.unwrap();
        shut(&mut near).await;
        assert_eq!(read_to_end(&mut far, 7).await.unwrap(), b"ask");
        write(&mut far, &[b"answer"]).await.unwrap();
        shut(&mut far).await;
        assert_eq!(read_to_end(&mut near, 7).await.unwrap(), b"answer");
    });
}

#[test]
fn a_ticket_on_an_idle_connection_is_taken_in_and_bytes_or_an_end_are_not() {
    let (mut near, mut far) = pair();
    // The server's tickets go out with its first write, or when it waits.
    let _ = far.poll_read(&mut Context::from_waker(Waker::noop()), &mut [0; 10]);
    assert_eq!(near.glance(), Probe::Quiet);
    assert_eq!(near.probe(), Probe::Quiet);
    one(async {
        write(&mut near, &[b"ask"]).await.unwrap();
        assert_eq!(read_some(&mut far, 100).await.unwrap(), b"ask");
        write(&mut far, &[b"unasked"]).await.unwrap();
    });
    assert_eq!(near.glance(), Probe::Stale);
    let (mut near, mut far) = pair();
    one(shut(&mut far));
    assert_eq!(near.probe(), Probe::Stale);
    let (mut near, far) = pair();
    assert_eq!(near.glance(), Probe::Quiet);
    drop(far);
    assert_eq!(near.glance(), Probe::Stale);
}

#[test]
fn what_comes_behind_an_answer_is_not_taken_for_quiet() {
    let (mut near, mut far) = pair();
    one(async {
        write(&mut far, &[b"answer", b"and more"]).await.unwrap();
        assert_eq!(read_some(&mut near, 6).await.unwrap(), b"answer");
    });
    assert_eq!(near.glance(), Probe::Stale);
    assert_eq!(near.probe(), Probe::Stale);
}

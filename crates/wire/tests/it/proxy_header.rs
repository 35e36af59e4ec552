//! PROXY headers: those HAProxy writes are understood, each cut of them waits, what bends a rule
//! is refused, and what is written is read back.

use gatehouse_core::chance::Chance;
use gatehouse_wire::proxy_header::{
    Ends, Header, Malformed, Progress, V1_BYTES_MAX, V2_BYTES_MAX, Version, read,
};
use proptest::prelude::*;
use std::net::SocketAddr;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What HAProxy 2.6 sent with `send-proxy`, `send-proxy-v2`, and `proxy-v2-options
/// crc32c,unique-id`: two type-length-values behind the addresses.
const BY_HAPROXY: [(&[u8], &str, &str); 5] = [
    (b"PROXY TCP4 127.0.0.1 127.0.0.1 45554 28081\r\n", "127.0.0.1:45554", "127.0.0.1:28081"),
    (b"PROXY TCP6 ::1 ::1 59530 28082\r\n", "[::1]:59530", "[::1]:28082"),
    (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\xb1\xf4\x6d\xb1",
        "127.0.0.1:45556",
        "127.0.0.1:28081",
    ),
    (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
          \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xe8\x98\x6d\xb2",
        "[::1]:59544",
        "[::1]:28082",
    ),
    (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x16\x7f\x00\x00\x01\x7f\x00\x00\x01\xb1\xf8\x6d\xb1\
          \x03\x00\x04\xf5\x05\xe8\xf3\x05\x00\x00",
        "127.0.0.1:45560",
        "127.0.0.1:28081",
    ),
];

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// Reads `header` with `rest` behind it, after every cut of it has been found to wait.
#[track_caller]
fn whole(header: &[u8], rest: &[u8]) -> Option<Ends> {
    for cut in 0..header.len() {
        assert_eq!(read(&header[..cut]), Ok(Progress::More), "cut at {cut}");
    }
    let told = match read(&[header, rest].concat()) {
        Ok(Progress::Done { bytes, ends }) if bytes == header.len() => ends,
        other => panic!("{other:?} of {header:?}"),
    };
    assert_eq!(read(header), Ok(Progress::Done { bytes: header.len(), ends: told }));
    told
}

fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2, &[version_command, family], &length, body].concat()
}

#[test]
fn what_haproxy_writes_is_understood_and_ends_where_it_ends() {
    for (header, source, destination) in BY_HAPROXY {
        assert_eq!(whole(header, b"hello"), Some(ends(source, destination)));
        assert_eq!(whole(header, b"\r\n\r\n"), Some(ends(source, destination)));
    }
}

#[test]
fn a_header_that_speaks_of_nobody_leaves_the_connections_own_addresses() {
    let unix = [0; 216];
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n".to_vec(),
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, b"\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02"),
        v2(0x20, 0x11, b"short"),
        v2(0x20, 0x42, b""),
        v2(0x21, 0x00, b"\x03\0\0"),
        v2(0x21, 0x31, &unix),
    ] {
        assert_eq!(whole(&header, b"GET"), None, "{header:?}");
    }
}

#[test]
fn a_line_that_bends_a_rule_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 15));
    assert_eq!(long.len(), V1_BYTES_MAX + 1);
    for line in [
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2\r\n",
        "PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
        "PROXY TCP6 [::1] ::2 1 2\r\n",
        "PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rX",
        "PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
        &long,
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line:?}");
    }
    assert!(read(b"PROXY TCP4 1.1.1.1 2.2.2.\xff 1 2\r\n").is_err());
    let just = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 16));
    assert_eq!(whole(just.as_bytes(), b""), None);
}

#[test]
fn a_binary_header_that_bends_a_rule_is_refused() {
    for (header, why) in [
        (v2(0x11, 0x11, &[0; 12]), "version 1"),
        (v2(0x22, 0x11, &[0; 12]), "an unknown command"),
        (v2(0x21, 0x12, &[0; 12]), "a datagram"),
        (v2(0x21, 0x22, &[0; 36]), "a datagram"),
        (v2(0x21, 0x41, &[0; 36]), "an unknown family"),
        (v2(0x21, 0x10, &[0; 12]), "no transport"),
        (v2(0x21, 0x11, &[0; 11]), "too short for IPv4"),
        (v2(0x21, 0x21, &[0; 35]), "too short for IPv6"),
        (v2(0x21, 0x31, &[0; 215]), "too short for UNIX"),
        (v2(0x21, 0x11, &[0; V2_BYTES_MAX - 15]), "too long"),
        (v2(0x20, 0x00, &[0; V2_BYTES_MAX - 15]), "too long"),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), "another signature"),
    ] {
        assert!(read(&header).is_err(), "{why}");
    }
    // It is refused by its length, not once all of it has come.
    assert!(read(&v2(0x21, 0x11, &[0xff; 5000])[..16]).is_err());
    assert_eq!(whole(&v2(0x21, 0, &[7; V2_BYTES_MAX - 16]), b"x"), None);
}

#[test]
fn what_is_written_is_what_haproxy_writes() {
    for (header, source, destination) in &BY_HAPROXY[..4] {
        let version = if header[0] == b'P' { Version::V1 } else { Version::V2 };
        let own = Header::new(version, Some(ends(source, destination)));
        assert_eq!(own.bytes(), *header);
    }
    assert_eq!(Header::new(Version::V1, None).bytes(), b"PROXY UNKNOWN\r\n");
    assert_eq!(Header::new(Version::V2, None).bytes(), v2(0x21, 0, b""));
    assert_eq!(Header::local(Version::V1).bytes(), b"PROXY UNKNOWN\r\n");
    assert_eq!(Header::local(Version::V2).bytes(), v2(0x20, 0, b""));
    let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    let header = Header::new(Version::V1, Some(ends(longest, longest)));
    assert_eq!(whole(header.bytes(), b""), Some(ends(longest, longest)));
}

#[test]
fn both_addresses_of_a_written_header_are_of_one_family() {
    for (source, destination, written) in [
        ("[::ffff:192.0.2.1]:1", "192.0.2.2:2", ends("192.0.2.1:1", "192.0.2.2:2")),
        ("192.0.2.1:1", "[2001:db8::1]:2", ends("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2")),
    ] {
        for version in [Version::V1, Version::V2] {
            let header = Header::new(version, Some(ends(source, destination)));
            assert_eq!(whole(header.bytes(), b"x"), Some(written));
        }
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u16; 8], u16)>().prop_map(SocketAddr::from),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        source in address(),
        destination in address(),
        one in any::<bool>(),
        rest in any::<Vec<u8>>(),
    ) {
        let version = if one { Version::V1 } else { Version::V2 };
        let header = Header::new(version, Some(Ends { source, destination }));
        let told = whole(header.bytes(), &rest).unwrap();
        let plain = |a: SocketAddr| (a.ip().to_canonical(), a.port());
        prop_assert_eq!(plain(told.source), plain(source));
        prop_assert_eq!(plain(told.destination), plain(destination));
    }
}

/// One byte at a time and all at once must say the same: a reader that asks again may neither
/// change its mind nor read past the end.
fn agrees_with_itself(bytes: &[u8]) {
    let at_once = read(bytes);
    for cut in 0..bytes.len() {
        match read(&bytes[..cut]) {
            Ok(Progress::More) => {}
            Ok(done) => assert_eq!(at_once, Ok(done), "{bytes:?} cut at {cut}"),
            Err(Malformed(_)) => return assert!(at_once.is_err(), "{bytes:?} cut at {cut}"),
        }
    }
    if let Ok(Progress::Done { bytes: used, .. }) = at_once {
        assert!(used <= bytes.len() && used <= V2_BYTES_MAX);
    }
    if at_once == Ok(Progress::More) {
        assert!(bytes.len() < V2_BYTES_MAX, "waits for ever");
    }
}

#[test]
fn arbitrary_bytes_never_change_their_meaning_as_they_come() {
    crate::fuzz::fuzz("proxy header", |chance: &mut Chance| {
        let mut bytes = match chance.below(8) {
            at @ 0..5 => BY_HAPROXY[at as usize].0.to_vec(),
            5 => b"PROXY UNKNOWN\r\n".to_vec(),
            6 => v2(0x21, 0x31, &[1; 216]),
            _ => V2.to_vec(),
        };
        for _ in 0..chance.below(4) {
            let at = chance.below(bytes.len() as u32 + 1) as usize;
            let byte = match chance.below(3) {
                0 => chance.next_u64() as u8,
                1 => b"\r\n \0:.0"[chance.below(7) as usize],
                _ => 0x20 | chance.below(4) as u8,
            };
            match chance.below(3) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        bytes.extend((0..chance.below(40)).map(|_| chance.next_u64() as u8));
        agrees_with_itself(&bytes);
    });
}

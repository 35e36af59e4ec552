//! Server names of ClientHellos: those of real clients, in any number of records, and whatever
//! else bytes can be.

use gatehouse_core::chance::Chance;
use gatehouse_wire::client_hello::{CLIENT_HELLO_BYTES_MAX, HelloReader, Malformed, Start};

/// First flights as a real client sent them, each with the name it asks for.
fn real() -> Vec<(Option<&'static str>, Vec<u8>)> {
    let text = include_str!("../data/client_hello.txt");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut found = Vec::new();
    while let (Some(head), Some(hex)) = (lines.next(), lines.next()) {
        let name = head.split_once(": ").expect("`kind: name`").1;
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let bytes = (0..hex.len()).step_by(2).map(digit).collect();
        found.push(((name != "-").then_some(name), bytes));
    }
    assert_eq!(found.len(), 3);
    found
}

/// What `bytes` are, read at once.
fn read(bytes: &[u8]) -> Result<Option<Option<String>>, String> {
    let mut reader = HelloReader::default();
    match reader.read(bytes) {
        Ok(Start::More) => Err("more".to_owned()),
        Ok(Start::NotTls) => Ok(None),
        Ok(Start::Hello { name, .. }) => Ok(Some(name.map(str::to_owned))),
        Err(Malformed(why)) => Err(why.to_owned()),
    }
}

/// The same message in records of at most `size` bytes.
fn cut_into_records(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1, length[0], length[1]], part].concat()
    };
    hello[5..].chunks(size).flat_map(record).collect()
}

/// A ClientHello with these extensions.
fn hello(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]], &body[..]].concat();
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&[22, 3, 1, length[0], length[1]], &message[..]].concat()
}

/// A server_name extension.
fn named(kind: u8, name: &[u8]) -> Vec<u8> {
    let length = |more: usize| u16::try_from(name.len() + more).unwrap().to_be_bytes();
    let ([a, b], [c, d], [e, f]) = (length(5), length(3), length(0));
    [&[0, 0, a, b, c, d, kind, e, f], name].concat()
}

#[test]
fn the_name_a_real_client_asks_for_is_found_wherever_its_bytes_are_cut() {
    for (name, bytes) in real() {
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), Err("more".to_owned()), "cut at {cut}");
        }
        assert_eq!(read(&bytes), Ok(Some(name.map(str::to_owned))));
        let mut slow = HelloReader::default();
        let mut last = None;
        for end in 0..=bytes.len() {
            last = match slow.read(&bytes[..end]).unwrap() {
                Start::Hello { name, .. } => Some(name.map(str::to_owned)),
                _ => None,
            };
        }
        assert_eq!(last, Some(name.map(str::to_owned)));
    }
}

#[test]
fn a_hello_in_many_records_is_the_same_hello() {
    for (name, bytes) in real() {
        for size in [1, 2, 3, 4, 5, 63, 100] {
            let cut = cut_into_records(&bytes, size);
            let mut slow = HelloReader::default();
            for end in 0..cut.len() {
                assert_eq!(slow.read(&cut[..end]), Ok(Start::More), "{size}: cut at {end}");
            }
            assert_eq!(
                slow.read(&cut),
                Ok(Start::Hello { name, sole_protocol: None }),
                "records of {size}"
            );
        }
    }
}

#[test]
fn what_is_no_tls_is_known_at_once() {
    let first =
        [&b"GET / HTTP/1.1\r\n"[..], b"\x80\x2e\x01\x03\x01", b"\x16\x02", b"*1\r\n", b"\0"];
    for bytes in first {
        assert_eq!(read(bytes), Ok(None), "{bytes:?}");
    }
    for bytes in [&b""[..], b"\x16", b"\x16\x03"] {
        assert_eq!(read(bytes), Err("more".to_owned()), "{bytes:?}");
    }
}

#[test]
fn a_name_is_compared_in_lower_case_and_is_a_host_name() {
    assert_eq!(read(&hello(&named(0, b"DB.Example.com"))), Ok(Some(Some("db.example.com".into()))));
    assert_eq!(read(&hello(&[])), Ok(Some(None)));
    let mut long = vec![b'a'; 254];
    for name in [&b""[..], b".a", b"a.", b"a\0b", b"a b", b"\xc3\xa4", b"a/b", b"[::1]", &long] {
        assert!(read(&hello(&named(0, name))).is_err(), "{name:?}");
    }
    long.pop();
    assert!(read(&hello(&named(0, &long))).is_ok());
    assert!(read(&hello(&named(1, b"a.example"))).is_err());
}

#[test]
fn a_hello_that_says_two_things_is_refused() {
    let one = named(0, b"a.example");
    let two = [one.clone(), named(0, b"b.example")].concat();
    assert_eq!(read(&hello(&two)), Err("two server_name extensions".into()));
    // Two names in one extension.
    let list = [&[0, 0, 0, 16, 0, 14, 0, 0, 4][..], b"a.ex", &[0, 0, 4], b"b.ex"].concat();
    assert!(read(&hello(&list)).is_err());
    let mut longer = hello(&one);
    longer[8] += 1;
    longer[4] += 1;
    longer.push(0);
    assert!(read(&longer).is_err(), "a byte behind the extensions");
    let mut cut = hello(&one);
    let last = cut.len() - 1;
    cut[8] -= 1;
    cut.truncate(last);
    cut[4] -= 1;
    assert!(read(&cut).is_err(), "extensions longer than the message");
}

#[test]
fn records_that_cannot_be_a_hello_are_refused_before_they_are_there() {
    for (bytes, why) in [
        (&b"\x16\x03\x01\x00\x00"[..], "an empty record"),
        (b"\x16\x03\x01\x40\x01", "a record of more than 16 KiB"),
        (b"\x16\x03\x01\x00\x20\x02", "a ServerHello"),
        (b"\x16\x03\x01\x00\x04\x01\x01\x00\x00", "a message of 64 KiB"),
        (b"\x16\x03\x01\x00\x01\x01\x15\x03\x01\x00\x02", "an alert in between"),
    ] {
        assert!(read(bytes).is_err(), "{why}");
        assert_ne!(read(bytes), Err("more".into()), "{why}");
    }
    let endless: Vec<u8> = [22, 3, 1, 0, 1, 1].repeat(CLIENT_HELLO_BYTES_MAX / 6 + 1);
    let mut reader = HelloReader::default();
    let refused = (0..=endless.len()).find(|end| reader.read(&endless[..*end]).is_err());
    assert!(refused.is_some_and(|end| end <= CLIENT_HELLO_BYTES_MAX + 6));
}

#[test]
fn arbitrary_bytes_never_change_their_meaning_as_they_come() {
    let real = real();
    crate::fuzz::fuzz("client hello", |chance: &mut Chance| {
        let mut bytes = real[chance.below(3) as usize].1.clone();
        if chance.below(2) == 0 {
            bytes = cut_into_records(&bytes, 1 + chance.below(200) as usize);
        }
        for _ in 0..chance.below(4) {
            let at = chance.below(bytes.len() as u32) as usize;
            match chance.below(3) {
                0 => bytes[at] = chance.next_u64() as u8,
                1 => bytes[at] = bytes[at].wrapping_add(chance.below(3) as u8).wrapping_sub(1),
                _ => bytes.truncate(at + 1),
            }
        }
        let at_once = read(&bytes);
        let mut slow = HelloReader::default();
        let mut end = 0;
        while end < bytes.len() {
            end = (end + 1 + chance.below(64) as usize).min(bytes.len());
            let seen = match slow.read(&bytes[..end]) {
                Ok(Start::More) => continue,
                Ok(Start::NotTls) => Ok(None),
                Ok(Start::Hello { name, .. }) => Ok(Some(name.map(str::to_owned))),
                Err(Malformed(why)) => Err(why.to_owned()),
            };
            assert_eq!(seen, at_once, "at {end} of {}", bytes.len());
            break;
        }
    });
}

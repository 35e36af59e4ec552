//! Answers bent at random, and rubbish: nothing panics, nothing goes on for ever, and what is
//! accepted is what was asked for.
//!
//! The same trials each time; `GATEHOUSE_FUZZ_SECONDS=600` goes on after them for so long, and
//! `GATEHOUSE_FUZZ_SEED` begins with another. The seed is in every message.

use super::tests::{ASKED, Made, asked, read, wire};
use super::*;
use gatehouse_core::chance::Chance;
use std::time::Instant;

/// Trials that are always made.
const TRIALS: u64 = 60_000;

/// What the grammar turns on: pointers to the name that was asked for, to the header, forwards and
/// to nowhere, lengths that are too long, counts, kinds, times.
const PIECES: [&[u8]; 20] = [
    &[0],
    &[0, 0],
    &[0xc0, 12],
    &[0xc0, 0],
    &[0xc0, 40],
    &[0xff, 0xff],
    &[0x3f],
    &[0x40],
    &[0x80],
    &[0, 1, 0, 1],
    &[0, 5, 0, 1],
    &[0, 28, 0, 1],
    &[0, 33, 0, 1],
    &[0, 6, 0, 1],
    &[0, 0, 0, 60],
    &[0xff; 4],
    &[0, 4, 10, 0, 0, 1],
    b"\x03api\x08internal\0",
    b"\x01b\xc0\x0c",
    &[0x82, 0x80],
];

/// Right answers to what is asked: each is cut, copied and written over.
fn right(kind: Kind) -> Vec<Vec<u8>> {
    let question = asked(kind);
    let made = |flags, counts| Made::to(&question, flags, counts);
    let mut soa = [wire("ns.internal"), wire("ops.internal")].concat();
    soa.extend([1_u32, 2, 3, 4, 15].iter().flat_map(|number| number.to_be_bytes()));
    let server = [&[0, 1, 0, 2, 0x1f, 0x90][..], &wire("a1.internal")].concat();
    let (code, data) = match kind {
        Kind::A => (1, vec![10, 0, 0, 1]),
        Kind::Aaaa => (28, vec![0xfd; 16]),
        Kind::Srv => (33, server),
    };
    let target = wire("b.internal");
    let all =
        [
            made(0, [1, 0]).record(ASKED, code, 60, &data),
            made(0, [3, 0])
                .record(ASKED, code, 60, &data)
                .record(ASKED, 16, 9, b"\x04text")
                .record(ASKED, code, u32::MAX, &data),
            made(0, [2, 0]).record(ASKED, CNAME, 9, &target).record(&target, code, 60, &data),
            made(0, [1, 0]).record(ASKED, CNAME, 9, &target),
            made(0, [0, 1]).record(&wire("internal"), SOA, 60, &soa),
            made(3, [1, 1]).record(ASKED, CNAME, 9, &target).record(&wire("x"), SOA, 60, &soa),
            made(2, [0, 0]),
            made(0x0200, [0, 0]),
        ];
    all.into_iter().map(|made| made.0).collect()
}

fn pick(chance: &mut Chance, count: usize) -> usize {
    chance.below(count as u32) as usize
}

/// An answer near a right one, one with its question alone right, or rubbish.
fn bend(chance: &mut Chance, right: &[Vec<u8>], kind: Kind) -> Vec<u8> {
    let rubbish = |chance: &mut Chance, most: u32| -> Vec<u8> {
        let length = chance.below(most);
        (0..length).map(|_| chance.next_u64() as u8).collect()
    };
    let mut bytes = match chance.below(16) {
        0 => return rubbish(chance, 600),
        1 => {
            let counts = [chance.below(6) as u16, chance.below(3) as u16];
            let mut bytes = Made::to(&asked(kind), 0, counts).0;
            for _ in 0..chance.below(40) {
                bytes.extend_from_slice(PIECES[pick(chance, PIECES.len())]);
            }
            bytes.extend(rubbish(chance, 60));
            bytes
        }
        _ => right[pick(chance, right.len())].clone(),
    };
    for _ in 0..chance.below(5) {
        let at = pick(chance, bytes.len() + 1);
        match chance.below(6) {
            0 if at < bytes.len() => bytes[at] = chance.next_u64() as u8,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at.max(12)),
            3 => {
                let end = (at + 1 + pick(chance, 40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let piece = PIECES[pick(chance, PIECES.len())];
                let end = (at + piece.len()).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
            _ => {
                let piece = PIECES[pick(chance, PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

/// A name that is read: in lower case, and no longer than one can be.
fn assert_name(name: &str) {
    assert!(name.len() < NAME_BYTES_MAX, "{} bytes", name.len());
    assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
}

/// What holds of whatever is accepted.
fn assert_sound(bytes: &[u8], said: &Said, kind: Kind) {
    assert_eq!(read(bytes, kind).as_ref(), Some(said), "it reads differently again");
    let longer = [bytes, &[0xc0, 12, 0, 1, 0xff]].concat();
    assert_eq!(read(&longer, kind).as_ref(), Some(said), "what is behind it counts");
    assert_eq!(answer(bytes, 8, "api.internal", kind), None, "another id");
    assert_eq!(answer(bytes, 7, "api.interna1", kind), None, "another name");
    let ttl_max = Duration::from_secs(i32::MAX as u64);
    match said {
        Said::Records { records, ttl } => {
            assert!(!records.is_empty() && records.len() <= bytes.len() / 11 && *ttl <= ttl_max);
            for record in records {
                match record {
                    Record::Address(ip) => assert_eq!(ip.is_ipv4(), kind == Kind::A),
                    Record::Server(server) => {
                        assert_eq!(kind, Kind::Srv);
                        assert_name(&server.target);
                    }
                }
            }
        }
        Said::Alias { target, ttl } => {
            assert_name(target);
            assert!(target != "api.internal" && *ttl <= ttl_max);
        }
        Said::Nothing { ttl, .. } => assert!(ttl.is_none_or(|ttl| ttl <= ttl_max)),
        Said::Refused(code) => assert!(matches!(code, 1 | 2 | 4..=15)),
        Said::Truncated => assert_ne!(bytes[2] & 2, 0),
    }
}

#[test]
fn whatever_a_server_sends_is_refused_or_answers_what_was_asked() {
    let number = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let more = Duration::from_secs(number("GATEHOUSE_FUZZ_SECONDS").unwrap_or(0));
    let first = number("GATEHOUSE_FUZZ_SEED").unwrap_or(1);
    let kinds = [Kind::A, Kind::Aaaa, Kind::Srv].map(|kind| (kind, right(kind)));
    let (begun, mut seed, mut accepted) = (Instant::now(), first, [0_u64; 5]);
    while seed - first < TRIALS || begun.elapsed() < more {
        let trial = std::panic::AssertUnwindSafe(|| {
            let mut chance = Chance::seeded(seed);
            let (kind, right) = &kinds[pick(&mut chance, kinds.len())];
            let bytes = bend(&mut chance, right, *kind);
            let said = read(&bytes, *kind)?;
            assert_sound(&bytes, &said, *kind);
            Some(said)
        });
        match std::panic::catch_unwind(trial) {
            Ok(None) => {}
            Ok(Some(Said::Records { .. })) => accepted[0] += 1,
            Ok(Some(Said::Alias { .. })) => accepted[1] += 1,
            Ok(Some(Said::Nothing { .. })) => accepted[2] += 1,
            Ok(Some(Said::Refused(_))) => accepted[3] += 1,
            Ok(Some(Said::Truncated)) => accepted[4] += 1,
            Err(cause) => {
                eprintln!("repeat with GATEHOUSE_FUZZ_SEED={seed}");
                std::panic::resume_unwind(cause);
            }
        }
        seed += 1;
    }
    assert!(accepted.iter().all(|count| *count > 1_000), "{accepted:?}: it proves nothing");
}

//! Answers as servers send them, and as others do.

use super::*;
use proptest::prelude::*;

/// An answer that is put together piece by piece.
pub(super) struct Made(pub(super) Vec<u8>);

impl Made {
    /// An answer to `question` with these flags and counts.
    pub(super) fn to(question: &[u8], flags: u16, [answers, authorities]: [u16; 2]) -> Made {
        let mut bytes = question[..question.len() - 11].to_vec();
        bytes[2..4].copy_from_slice(&(0x8180 | flags).to_be_bytes());
        bytes[6..8].copy_from_slice(&answers.to_be_bytes());
        bytes[8..10].copy_from_slice(&authorities.to_be_bytes());
        bytes[10..12].copy_from_slice(&[0, 0]);
        Made(bytes)
    }

    /// A record; `owner` and `data` are as on the wire.
    pub(super) fn record(mut self, owner: &[u8], code: u16, ttl: u32, data: &[u8]) -> Made {
        self.0.extend_from_slice(owner);
        self.0.extend_from_slice(&code.to_be_bytes());
        self.0.extend_from_slice(&INTERNET.to_be_bytes());
        self.0.extend_from_slice(&ttl.to_be_bytes());
        self.0.extend_from_slice(&(data.len() as u16).to_be_bytes());
        self.0.extend_from_slice(data);
        self
    }
}

/// The name that was asked for, where its question has it.
pub(super) const ASKED: &[u8] = &[0xc0, 12];

pub(super) fn asked(kind: Kind) -> Vec<u8> {
    question(7, "api.internal", kind).expect("a name")
}

pub(super) fn wire(name: &str) -> Vec<u8> {
    wire_name(name).expect("a name")
}

pub(super) fn read(bytes: &[u8], kind: Kind) -> Option<Said> {
    answer(bytes, 7, "api.internal", kind)
}

fn ip(text: &str) -> Record {
    Record::Address(text.parse().expect("an address"))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn addresses_are_read_with_the_least_of_their_times() {
    let made = Made::to(&asked(Kind::A), 0, [2, 0]);
    let made = made.record(ASKED, 1, 60, &[10, 0, 0, 1]).record(ASKED, 1, 30, &[10, 0, 0, 2]);
    let records = vec![ip("10.0.0.1"), ip("10.0.0.2")];
    assert_eq!(read(&made.0, Kind::A), Some(Said::Records { records, ttl: seconds(30) }));
    let made = Made::to(&asked(Kind::Aaaa), 0, [1, 0]);
    let made = made.record(ASKED, 28, u32::MAX, &[0xfd; 16]);
    let records = vec![ip("fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd")];
    assert_eq!(read(&made.0, Kind::Aaaa), Some(Said::Records { records, ttl: seconds(0) }));
}

#[test]
fn servers_are_read_in_lower_case() {
    let mut data = vec![0, 1, 0, 2, 0x1f, 0x90];
    data.extend(wire("A1.internal"));
    let made = Made::to(&asked(Kind::Srv), 0, [1, 0]).record(ASKED, 33, 5, &data);
    let target = "a1.internal".to_owned();
    let server = Server { priority: 1, weight: 2, port: 8_080, target };
    let expected = Said::Records { records: vec![Record::Server(server)], ttl: seconds(5) };
    assert_eq!(read(&made.0, Kind::Srv), Some(expected));
}

#[test]
fn an_alias_is_followed_within_its_answer_and_told_where_it_leads_out_of_it() {
    let made = Made::to(&asked(Kind::A), 0, [2, 0]).record(ASKED, CNAME, 9, &wire("b.internal"));
    let whole = made.record(&wire("B.internal"), 1, 60, &[10, 0, 0, 1]);
    let expected = Said::Records { records: vec![ip("10.0.0.1")], ttl: seconds(9) };
    assert_eq!(read(&whole.0, Kind::A), Some(expected));
    let made = Made::to(&asked(Kind::A), 0, [1, 0]).record(ASKED, CNAME, 9, &wire("b.internal"));
    let expected = Said::Alias { target: "b.internal".to_owned(), ttl: seconds(9) };
    assert_eq!(read(&made.0, Kind::A), Some(expected));
}

#[test]
fn what_nobody_asked_for_is_passed_over() {
    let made = Made::to(&asked(Kind::A), 0, [3, 0]);
    let made = made.record(&wire("bank.example"), 1, 60, &[6, 6, 6, 6]);
    let made = made.record(ASKED, 16, 60, b"\x04text").record(ASKED, 1, 60, &[10, 0, 0, 1]);
    let expected = Said::Records { records: vec![ip("10.0.0.1")], ttl: seconds(60) };
    assert_eq!(read(&made.0, Kind::A), Some(expected));
}

#[test]
fn nothing_is_told_from_nobody_with_its_time() {
    let mut soa = [wire("ns.internal"), wire("ops.internal")].concat();
    soa.extend([1_u32, 2, 3, 4, 15].iter().flat_map(|number| number.to_be_bytes()));
    let made = |flags| Made::to(&asked(Kind::A), flags, [0, 1]).record(&wire("x"), SOA, 60, &soa);
    let of = |nobody| Said::Nothing { nobody, ttl: Some(seconds(15)) };
    assert_eq!(read(&made(3).0, Kind::A), Some(of(Nobody::Name)));
    assert_eq!(read(&made(0).0, Kind::A), Some(of(Nobody::Record)));
    let bare = Made::to(&asked(Kind::A), 3, [0, 0]);
    let expected = Said::Nothing { nobody: Nobody::Name, ttl: None };
    assert_eq!(read(&bare.0, Kind::A), Some(expected));
}

#[test]
fn refusals_and_truncation_are_told() {
    let made = |flags| Made::to(&asked(Kind::A), flags, [0, 0]).0;
    assert_eq!(read(&made(2), Kind::A), Some(Said::Refused(2)));
    assert_eq!(read(&made(5), Kind::A), Some(Said::Refused(5)));
    assert_eq!(read(&made(0x0200), Kind::A), Some(Said::Truncated));
}

#[test]
fn an_answer_to_another_question_is_none() {
    let good = Made::to(&asked(Kind::A), 0, [1, 0]).record(ASKED, 1, 60, &[10, 0, 0, 1]).0;
    assert!(read(&good, Kind::A).is_some());
    assert_eq!(answer(&good, 8, "api.internal", Kind::A), None, "another id");
    assert_eq!(answer(&good, 7, "api.interna1", Kind::A), None, "another name");
    assert_eq!(answer(&good, 7, "api.internal", Kind::Aaaa), None, "another kind");
    for (at, byte, why) in [(2, 0x01, "a question"), (5, 0, "no question"), (5, 2, "two")] {
        let mut bytes = good.clone();
        bytes[at] = byte;
        assert_eq!(read(&bytes, Kind::A), None, "{why}");
    }
}

#[test]
fn names_that_lead_round_or_are_too_long_are_refused() {
    let question = asked(Kind::A);
    let behind = question.len() as u16 - 11;
    let to = |at: u16| (0xc000 | at).to_be_bytes();
    // To itself, forwards, and round: the second points at the first, which goes on behind itself.
    for owner in [to(behind).to_vec(), to(behind + 20).to_vec()] {
        let made = Made::to(&question, 0, [1, 0]).record(&owner, 1, 60, &[10, 0, 0, 1]);
        assert_eq!(read(&made.0, Kind::A), None, "{owner:?}");
    }
    let round = [&[1, b'a'][..], &to(behind)].concat();
    let made = Made::to(&question, 0, [1, 0]).record(&round, 1, 60, &[10, 0, 0, 1]);
    assert_eq!(read(&made.0, Kind::A), None, "round");
    let long: Vec<u8> = [[63_u8; 64]; 4].concat().into_iter().chain([0]).collect();
    let made = Made::to(&question, 0, [1, 0]).record(&long, 1, 60, &[10, 0, 0, 1]);
    assert_eq!(read(&made.0, Kind::A), None, "257 bytes");
}

#[test]
fn pointers_in_a_row_are_followed_only_so_far() {
    let question = asked(Kind::A);
    // Each points at the one before it, the first at the name that was asked for; a record that
    // does not matter holds them, and the owner of the next points at the last.
    let read_over = |pointers: u16| {
        let made = Made::to(&question, 0, [2, 0]);
        let first = made.0.len() as u16 + 12;
        let at = |number: u16| (0xc000 | (first + 2 * number)).to_be_bytes();
        let row = (1..pointers).flat_map(|number| at(number - 1));
        let row: Vec<u8> = ASKED.iter().copied().chain(row).collect();
        let made = made.record(ASKED, 16, 60, &row);
        read(&made.record(&at(pointers - 1), 1, 60, &[10, 0, 0, 1]).0, Kind::A)
    };
    assert!(matches!(read_over(100), Some(Said::Records { .. })));
    assert_eq!(read_over(200), None);
}

#[test]
fn aliases_that_lead_round_end() {
    let made = Made::to(&asked(Kind::A), 0, [2, 0]);
    let made = made.record(ASKED, CNAME, 9, &wire("b.internal"));
    let made = made.record(&wire("b.internal"), CNAME, 9, ASKED);
    assert_eq!(read(&made.0, Kind::A), Some(Said::Refused(2)));
}

#[test]
fn records_of_a_wrong_length_and_cut_answers_are_refused() {
    let made = Made::to(&asked(Kind::A), 0, [1, 0]).record(ASKED, 1, 60, &[10, 0, 0]);
    assert_eq!(read(&made.0, Kind::A), None);
    let good = Made::to(&asked(Kind::A), 0, [1, 0]).record(ASKED, 1, 60, &[10, 0, 0, 1]).0;
    for end in 0..good.len() {
        assert_eq!(read(&good[..end], Kind::A), None, "{end} bytes");
    }
}

#[test]
fn what_cannot_be_a_name_is_not_asked_for() {
    let long = "a".repeat(64);
    let longer = vec!["a".repeat(63); 5].join(".");
    for name in ["", ".", "a..b", &long, &longer] {
        assert_eq!(question(7, name, Kind::A), None, "{name}");
    }
}

proptest! {
    #[test]
    fn no_answer_is_too_much(tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut bytes = asked(Kind::Srv);
        bytes.truncate(bytes.len() - 11);
        bytes[2] = 0x81;
        bytes[7] = 3;
        bytes[9] = 1;
        bytes.extend(tail);
        let _ = read(&bytes, Kind::Srv);
    }

    #[test]
    fn no_byte_of_a_good_answer_may_be_anything_and_panic(at in 0_usize..80, byte: u8) {
        let made = Made::to(&asked(Kind::A), 0, [2, 0]);
        let made = made.record(ASKED, CNAME, 9, &wire("b.internal"));
        let mut bytes = made.record(&wire("b.internal"), 1, 60, &[10, 0, 0, 1]).0;
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = read(&bytes, Kind::A);
    }
}

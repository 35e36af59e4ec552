//! One question and one answer, as they are on the wire (RFC 1035 section 4). Bounded, and in
//! doubt refused: an answer comes from whoever can send a datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Bytes of an answer that may come in a datagram: what passes without fragments nearly everywhere
/// (RFC 9715).
pub(super) const DATAGRAM_BYTES_MAX: usize = 1_232;

/// Bytes of a name on the wire, the lengths of its labels included.
const NAME_BYTES_MAX: usize = 255;

/// Pointers that one name may be spread over: as many as it can have labels. Without it an answer
/// of 64 KiB has the reader walk thirty million of them.
const POINTERS_MAX: usize = 128;

/// Records that are looked at; those behind are left out.
const RECORDS_MAX: usize = 4_096;

/// Names that may stand for one another before an address comes.
const ALIASES_MAX: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Servers of a service (RFC 2782).
    Srv,
}

impl Kind {
    const fn code(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Aaaa => 28,
            Kind::Srv => 33,
        }
    }
}

const CNAME: u16 = 5;
const SOA: u16 = 6;
const OPT: u16 = 41;
const INTERNET: u16 = 1;

/// One record of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Record {
    Address(IpAddr),
    Server(Server),
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Server {
    /// The lowest is asked first.
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// In lower case, without a dot at its end; empty where the service is decidedly not there.
    pub target: String,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// These, for so long.
    Records { records: Vec<Record>, ttl: Duration },
    /// The name stands for this one, of which nothing more is said.
    Alias { target: String, ttl: Duration },
    /// There is no such record, or no such name; for so long, where it says so.
    Nothing { nobody: Nobody, ttl: Option<Duration> },
    /// The whole answer does not fit into a datagram.
    Truncated,
    /// It cannot or will not answer: its code.
    Refused(u8),
}

/// How there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    /// There is no such name.
    Name,
    /// The name has no such record.
    Record,
}

/// A name as it is on the wire; `None` where it cannot be a name.
fn wire_name(name: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        wire.push(length);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= NAME_BYTES_MAX).then_some(wire)
}

/// The question for a name, without a dot at its end; `None` where it cannot be a name.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64);
    // A standard query, recursion desired; one question, and one additional record.
    for word in [id, 0x0100, 1, 0, 0, 1] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend(wire_name(name)?);
    bytes.extend_from_slice(&kind.code().to_be_bytes());
    bytes.extend_from_slice(&INTERNET.to_be_bytes());
    // EDNS (RFC 6891): how long a datagram may be.
    bytes.push(0);
    bytes.extend_from_slice(&OPT.to_be_bytes());
    bytes.extend_from_slice(&(DATAGRAM_BYTES_MAX as u16).to_be_bytes());
    bytes.extend_from_slice(&[0; 6]);
    Some(bytes)
}

/// What an answer says; `None` where it is none to this question, or no answer at all.
pub(super) fn answer(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Option<Said> {
    let mut reader = Reader { bytes, at: 0 };
    let (own_id, flags) = (reader.word()?, reader.word()?);
    let counts = [reader.word()?, reader.word()?, reader.word()?];
    let _additional = reader.word()?;
    let is_answer = flags & 0xf800 == 0x8000;
    if own_id != id || !is_answer || counts[0] != 1 {
        return None;
    }
    let asked = (reader.name()?, reader.word()?, reader.word()?);
    if asked != (name.to_ascii_lowercase(), kind.code(), INTERNET) {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Said::Truncated);
    }
    let code = (flags & 0xf) as u8;
    if code != 0 && code != 3 {
        return Some(Said::Refused(code));
    }
    let (owned, negative_ttl) = sections(&mut reader, counts[1], counts[2], kind)?;
    Some(meaning(name, &owned, code, negative_ttl))
}

/// A record that may matter.
struct Owned {
    owner: String,
    ttl: Duration,
    data: Data,
}

enum Data {
    Alias(String),
    Record(Record),
}

/// The records of an answer that may matter, and how long nothing is nothing.
fn sections(
    reader: &mut Reader<'_>,
    answers: u16,
    authorities: u16,
    kind: Kind,
) -> Option<(Vec<Owned>, Option<Duration>)> {
    let (mut owned, mut negative_ttl) = (Vec::new(), None);
    let both = usize::from(answers) + usize::from(authorities);
    for at in 0..both.min(RECORDS_MAX) {
        let owner = reader.name()?;
        let (code, class) = (reader.word()?, reader.word()?);
        let ttl = ttl(reader.double()?);
        let length = usize::from(reader.word()?);
        let end = reader.at.checked_add(length).filter(|end| *end <= reader.bytes.len())?;
        if class == INTERNET && at < usize::from(answers) {
            let data = reader.data(code, length, kind)?;
            owned.extend(data.map(|data| Owned { owner, ttl, data }));
        } else if class == INTERNET && code == SOA {
            // RFC 2308 section 5: the lesser of the record's own and of its last number.
            reader.name()?;
            reader.name()?;
            let numbers = (reader.at..end).len();
            reader.at = (numbers == 20).then_some(end - 4)?;
            negative_ttl = Some(self::ttl(reader.double()?).min(ttl));
        }
        if reader.at > end {
            return None;
        }
        reader.at = end;
    }
    Some((owned, negative_ttl))
}

/// What the records say of a name. Those of other names count where an alias leads to them.
fn meaning(name: &str, owned: &[Owned], code: u8, negative_ttl: Option<Duration>) -> Said {
    let mut wanted = name.to_ascii_lowercase();
    let mut least = Duration::MAX;
    for _ in 0..=ALIASES_MAX {
        let (mut records, mut alias) = (Vec::new(), None);
        for one in owned.iter().filter(|one| one.owner == wanted) {
            least = least.min(one.ttl);
            match &one.data {
                Data::Record(record) => records.push(record.clone()),
                Data::Alias(target) => alias = Some(target.clone()),
            }
        }
        if !records.is_empty() {
            return Said::Records { records, ttl: least };
        }
        match alias {
            Some(target) => wanted = target,
            None if code == 3 => return Said::Nothing { nobody: Nobody::Name, ttl: negative_ttl },
            None if wanted == name.to_ascii_lowercase() => {
                return Said::Nothing { nobody: Nobody::Record, ttl: negative_ttl };
            }
            // Who says nothing of where an alias leads, and says until when, has looked there.
            None if negative_ttl.is_some() => {
                return Said::Nothing { nobody: Nobody::Record, ttl: negative_ttl };
            }
            None => return Said::Alias { target: wanted, ttl: least },
        }
    }
    // They lead round, or too far.
    Said::Refused(2)
}

/// RFC 2181 section 8: with its first bit set it is none.
fn ttl(seconds: u32) -> Duration {
    Duration::from_secs(if seconds > i32::MAX as u32 { 0 } else { seconds.into() })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*taken)
    }

    fn word(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn double(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// A name in lower case, without a dot at its end. A pointer leads before where the part that
    /// it ends has begun, so that none leads round.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let (mut at, mut start, mut after) = (self.at, self.at, None);
        let (mut length, mut pointers) = (1, 0);
        loop {
            let first = usize::from(*self.bytes.get(at)?);
            match first {
                0 => break,
                1..=63 => {
                    length += first + 1;
                    if length > NAME_BYTES_MAX {
                        return None;
                    }
                    let label = self.bytes.get(at + 1..at + 1 + first)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    // What is no letter cannot be what was asked for, nor be looked up.
                    let plain = label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.');
                    let label = std::str::from_utf8(label).ok().filter(|_| plain);
                    name.push_str(&label.unwrap_or("?").to_ascii_lowercase());
                    at += 1 + first;
                }
                192.. => {
                    let target = (first & 63) << 8 | usize::from(*self.bytes.get(at + 1)?);
                    after = after.or(Some(at + 2));
                    pointers += 1;
                    if target >= start || pointers > POINTERS_MAX {
                        return None;
                    }
                    (at, start) = (target, target);
                }
                _ => return None,
            }
        }
        self.at = after.unwrap_or(at + 1);
        Some(name)
    }

    /// The data of a record of the answer; `Some(None)` where it does not matter.
    fn data(&mut self, code: u16, length: usize, kind: Kind) -> Option<Option<Data>> {
        let address = |ip: IpAddr| Some(Some(Data::Record(Record::Address(ip))));
        match kind {
            _ if code == CNAME => Some(Some(Data::Alias(self.name()?))),
            _ if code != kind.code() => Some(None),
            Kind::A if length == 4 => address(Ipv4Addr::from(self.take::<4>()?).into()),
            Kind::Aaaa if length == 16 => address(Ipv6Addr::from(self.take::<16>()?).into()),
            Kind::A | Kind::Aaaa => None,
            Kind::Srv => {
                let (priority, weight, port) = (self.word()?, self.word()?, self.word()?);
                let target = self.name()?;
                let server = Server { priority, weight, port, target };
                Some(Some(Data::Record(Record::Server(server))))
            }
        }
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "message_fuzz.rs"]
mod fuzz;

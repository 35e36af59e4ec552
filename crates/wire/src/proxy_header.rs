//! The PROXY protocol, versions 1 and 2: a proxy in front says, before anything else on the
//! connection, whose connection it passes on (haproxy.org, `doc/proxy-protocol.txt`).
//!
//! Bytes in, addresses out, and back; no socket. Whether a peer may speak for others is not
//! asked here.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its CR LF included (section 2.1).
pub const V1_BYTES_MAX: usize = 107;

/// The longest header of version 2 that is taken, its type-length-values included.
pub const V2_BYTES_MAX: usize = 4096;

/// Bytes before the variable part of version 2 (section 2.2).
const V2_FIXED: usize = 16;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

// A v2 header with two IPv6 addresses fits what `Header` holds.
const _: () = assert!(V2_FIXED + 36 <= V1_BYTES_MAX && V1_BYTES_MAX < V2_BYTES_MAX);

/// Which version is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Both ends of the connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's address.
    pub source: SocketAddr,
    /// The address it connected to.
    pub destination: SocketAddr,
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All bytes so far belong to the header, and more have to come.
    More,
    /// The header is complete.
    Done {
        /// Its length: what follows is the client's.
        bytes: usize,
        /// The connection it speaks of; `None` for `UNKNOWN`, `LOCAL` and UNIX sockets, where the
        /// addresses of the connection itself hold.
        ends: Option<Ends>,
    },
}

/// Why bytes are no header: the rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads the header that `bytes` start with. Asked again with more bytes, it never takes back
/// what it said of fewer.
///
/// # Errors
/// [`Malformed`], as soon as no further byte could make it a header.
pub fn read(bytes: &[u8]) -> Result<Progress, Malformed> {
    match bytes.first() {
        None => Ok(Progress::More),
        Some(b'P') => read_v1(bytes),
        Some(b'\r') => read_v2(bytes),
        Some(_) => Err(Malformed("no PROXY header")),
    }
}

/// Whether `bytes` are, as far as they go, `start`.
fn starts(bytes: &[u8], start: &[u8]) -> Result<(), Malformed> {
    let seen = bytes.len().min(start.len());
    if bytes[..seen] == start[..seen] { Ok(()) } else { Err(Malformed("no PROXY header")) }
}

fn read_v1(bytes: &[u8]) -> Result<Progress, Malformed> {
    starts(bytes, V1_START)?;
    let seen = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = seen.iter().position(|byte| matches!(byte, b'\r' | b'\n' | b'\0')) else {
        return match seen.len() {
            V1_BYTES_MAX => Err(Malformed("a line of more than 107 bytes")),
            _ => Ok(Progress::More),
        };
    };
    match (seen[end], seen.get(end + 1)) {
        (b'\r', Some(b'\n')) => {}
        (b'\r', None) if seen.len() < V1_BYTES_MAX => return Ok(Progress::More),
        _ => return Err(Malformed("a line that does not end in CR LF")),
    }
    let line =
        std::str::from_utf8(&seen[..end]).map_err(|_| Malformed("a line that is no text"))?;
    let ends = line_ends(line.get(V1_START.len()..).unwrap_or(""))?;
    Ok(Progress::Done { bytes: end + 2, ends })
}

/// What stands between `PROXY ` and the end of the line.
fn line_ends(line: &str) -> Result<Option<Ends>, Malformed> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or("");
    if family == "UNKNOWN" {
        // What follows is ignored (section 2.1).
        return Ok(None);
    }
    let mut word = || words.next().ok_or(Malformed("a line that lacks an address or a port"));
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(Malformed("a line with more than two addresses and ports"));
    }
    let address = |text: &str| -> Result<IpAddr, Malformed> {
        let bad = Malformed("an address that is none of its family");
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| bad),
            "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| bad),
            _ => Err(Malformed("a family that is none of TCP4, TCP6 and UNKNOWN")),
        }
    };
    Ok(Some(Ends {
        source: SocketAddr::new(address(source)?, source_port),
        destination: SocketAddr::new(address(destination)?, destination_port),
    }))
}

fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    match text.parse() {
        Ok(port) if plain && !padded => Ok(port),
        _ => Err(Malformed("a port that is no number from 0 to 65535")),
    }
}

fn read_v2(bytes: &[u8]) -> Result<Progress, Malformed> {
    starts(bytes, V2_START)?;
    let local = match bytes.get(12) {
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Malformed("neither LOCAL nor PROXY of version 2")),
        None => return Ok(Progress::More),
    };
    // A connection over TCP or a UNIX stream was passed on, never a datagram.
    let need = match bytes.get(13) {
        Some(0x00) => 0,
        Some(0x11) => 12,
        Some(0x21) => 36,
        Some(0x31) => 216,
        // What LOCAL carries is not looked at (section 2.2).
        Some(_) if local => 0,
        Some(_) => return Err(Malformed("a family that no stream has")),
        None => return Ok(Progress::More),
    };
    let (Some(high), Some(low)) = (bytes.get(14), bytes.get(15)) else {
        return Ok(Progress::More);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if V2_FIXED + length > V2_BYTES_MAX {
        return Err(Malformed("more than 4096 bytes"));
    }
    if !local && length < need {
        return Err(Malformed("fewer bytes than its addresses take"));
    }
    let Some(body) = bytes.get(V2_FIXED..V2_FIXED + length) else { return Ok(Progress::More) };
    let ends = if local { None } else { binary_ends(&body[..need]) };
    Ok(Progress::Done { bytes: V2_FIXED + length, ends })
}

/// The addresses of version 2; what follows them, the type-length-values, is skipped.
fn binary_ends(body: &[u8]) -> Option<Ends> {
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    if body.len() == 12 {
        let v4 = |at: usize| <[u8; 4]>::try_from(body.get(at..at + 4)?).ok().map(Ipv4Addr::from);
        let source = SocketAddr::new(v4(0)?.into(), port(8)?);
        return Some(Ends { source, destination: SocketAddr::new(v4(4)?.into(), port(10)?) });
    }
    let v6 = |at: usize| <[u8; 16]>::try_from(body.get(at..at + 16)?).ok().map(Ipv6Addr::from);
    if body.len() != 36 {
        return None;
    }
    let source = SocketAddr::new(v6(0)?.into(), port(32)?);
    Some(Ends { source, destination: SocketAddr::new(v6(16)?.into(), port(34)?) })
}

/// A header to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; V1_BYTES_MAX],
    len: usize,
}

impl Header {
    /// The header for a connection; without its ends it says that they are unknown.
    pub fn new(version: Version, ends: Option<Ends>) -> Header {
        let mut header = Header { bytes: [0; V1_BYTES_MAX], len: 0 };
        let ends = ends.map(Ends::of_one_family);
        match version {
            Version::V1 => header.line(ends),
            Version::V2 => header.binary(ends),
        }
        header
    }

    /// The header of a connection that is the gateway's own, passed on for nobody: a check.
    pub fn local(version: Version) -> Header {
        let mut header = Header::new(version, None);
        if version == Version::V2 {
            header.bytes[V2_START.len()] = 0x20;
        }
        header
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn line(&mut self, ends: Option<Ends>) {
        let mut rest = &mut self.bytes[..];
        let wrote = match ends {
            None => write!(rest, "PROXY UNKNOWN\r\n"),
            Some(Ends { source, destination }) => {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                let (from, to) = (source.ip(), destination.ip());
                let (from_port, to_port) = (source.port(), destination.port());
                write!(rest, "PROXY {family} {from} {to} {from_port} {to_port}\r\n")
            }
        };
        let left = rest.len();
        // 107 bytes hold any two addresses: the format was made so.
        self.len = if wrote.is_ok() { V1_BYTES_MAX - left } else { 0 };
    }

    fn binary(&mut self, ends: Option<Ends>) {
        self.put(V2_START);
        self.put(&[0x21]);
        match ends.map(|ends| (ends, ends.source.ip(), ends.destination.ip())) {
            Some((ends, IpAddr::V4(from), IpAddr::V4(to))) => {
                self.put(&[0x11, 0, 12]);
                self.put(&from.octets());
                self.put(&to.octets());
                self.put_ports(ends);
            }
            Some((ends, IpAddr::V6(from), IpAddr::V6(to))) => {
                self.put(&[0x21, 0, 36]);
                self.put(&from.octets());
                self.put(&to.octets());
                self.put_ports(ends);
            }
            Some((_, IpAddr::V4(_), IpAddr::V6(_)) | (_, IpAddr::V6(_), IpAddr::V4(_))) | None => {
                self.put(&[0x00, 0, 0]);
            }
        }
    }

    fn put_ports(&mut self, ends: Ends) {
        self.put(&ends.source.port().to_be_bytes());
        self.put(&ends.destination.port().to_be_bytes());
    }

    fn put(&mut self, more: &[u8]) {
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
    }
}

impl Ends {
    /// Both addresses of one family: IPv4 where both are, however they were written.
    fn of_one_family(self) -> Ends {
        let map = |address: SocketAddr, to: fn(IpAddr) -> IpAddr| {
            SocketAddr::new(to(address.ip()), address.port())
        };
        let both =
            |to| Ends { source: map(self.source, to), destination: map(self.destination, to) };
        let plain = both(|ip| ip.to_canonical());
        if plain.source.is_ipv4() == plain.destination.is_ipv4() {
            return plain;
        }
        both(|ip| match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            IpAddr::V6(v6) => v6.into(),
        })
    }
}

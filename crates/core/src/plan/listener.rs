//! Where clients come in, and what they may cost.

use crate::address::Bind;
use crate::rate::Rate;
use std::net::IpAddr;
use std::time::Duration;

/// A listener's place in its Plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u8);

/// What a client may cost. Every number holds for the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of a request head, request line included.
    pub head_bytes_max: u32,
    /// Field lines of a request head.
    pub fields_max: u16,
    /// Bytes of a request target.
    pub target_bytes_max: u32,
    /// Bytes of a request body; `None` is no limit.
    pub body_bytes_max: Option<u64>,
    /// Requests under way at once on one connection of HTTP/2.
    pub streams_max: u32,
    /// Connections open at once; one more is closed as it comes.
    pub connections_max: u32,
    /// The same of one address; an IPv6 client is its network of 64 bits. Trusted proxies are not
    /// counted. `None` is no limit.
    pub address_connections_max: Option<u32>,
    /// From accept to the end of a TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// Connections taken in a time; one more is closed as it comes. `None` is no limit.
    pub connection_rate: Option<Rate>,
    /// From a connection's first byte (or, on a fresh one, from accept) to the end of the head;
    /// also from accept to the end of a PROXY header, and of a ClientHello that is looked at.
    pub head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// Bytes a second below which a request body is too slow, after 10 s of grace; 0 is no limit.
    pub body_rate_min: u32,
    /// Bytes a second below which a client that is waited for reads its answer too slowly, once
    /// it was waited for through a route's idle time; 0 is no limit.
    pub read_rate_min: u32,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits {
            head_bytes_max: 32 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
            body_bytes_max: None,
            streams_max: 100,
            connections_max: 20_000,
            address_connections_max: None,
            tls_handshake_timeout: Duration::from_secs(10),
            connection_rate: None,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_rate_min: 128,
            read_rate_min: 128,
        }
    }
}

/// Which versions of HTTP a listener's clients may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersions {
    /// HTTP/1.1 and HTTP/1.0.
    #[default]
    Http1,
    /// HTTP/2: in clear text a client has to know it before.
    Http2,
    /// Both: TLS settles which, the first bytes do in clear text.
    Both,
}

impl HttpVersions {
    /// Whether HTTP/1.1 is among them.
    pub const fn has_http1(self) -> bool {
        matches!(self, HttpVersions::Http1 | HttpVersions::Both)
    }

    /// Whether HTTP/2 is among them.
    pub const fn has_http2(self) -> bool {
        matches!(self, HttpVersions::Http2 | HttpVersions::Both)
    }
}

/// A range of addresses, `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// Any address of the range.
    pub address: IpAddr,
    /// Leading bits that must agree: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `address` is in the range. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let ((own, own_width), (other, width)) = (bits(self.address), bits(address));
        let shift = 128 - u32::from(self.prefix.min(own_width));
        own_width == width && (own ^ other).checked_shr(shift).unwrap_or(0) == 0
    }
}

/// What lies beneath what a listener's clients speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Nothing.
    #[default]
    Clear,
    /// TLS. The certificates are no part of the Plan: they change without it.
    Tls,
}

/// What a listener's connections carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carries {
    /// HTTP.
    #[default]
    Http,
    /// Bytes that nobody looks into.
    Tcp,
}

/// Whether a connection starts with a PROXY header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announced {
    /// It does not.
    #[default]
    No,
    /// It does, of version 1 or 2; from a peer that is no trusted proxy it is not taken.
    ByProxyHeader,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerPlan {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// What it binds.
    pub bind: Bind,
    /// What lies beneath what its clients speak.
    pub transport: Transport,
    /// What its connections carry.
    pub carries: Carries,
    /// Whether they start with a PROXY header.
    pub announced: Announced,
    /// Whose forwarding fields, and whose PROXY headers, are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// What its clients may speak.
    pub versions: HttpVersions,
    /// What its clients may cost.
    pub limits: ClientLimits,
}

impl ListenerPlan {
    /// Whether forwarding fields from this peer are believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_own_addresses_and_no_others() {
        let range = |address: &str, prefix| Cidr { address: address.parse().unwrap(), prefix };
        for (range, address, expected) in [
            (range("10.0.0.0", 8), "10.255.0.1", true),
            (range("10.0.0.0", 8), "11.0.0.1", false),
            (range("10.0.0.0", 8), "::ffff:10.1.2.3", true),
            (range("0.0.0.0", 0), "203.0.113.9", true),
            (range("0.0.0.0", 0), "2001:db8::1", false),
            (range("2001:db8::", 32), "2001:db8:ffff::1", true),
            (range("2001:db8::", 32), "2001:db9::1", false),
            (range("192.0.2.1", 32), "192.0.2.1", true),
            (range("192.0.2.1", 32), "192.0.2.2", false),
        ] {
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{range:?} {address}");
        }
    }
}

//! Listeners: what they bind, whom they believe, what their clients may cost.

use super::super::problem::{Kind, Problem};
use super::super::source::Place;
use super::super::tree::{Named, Table, Text};
use super::super::units;
use super::merge::Merged;
use super::{Fault, Lower};
use gatehouse_core::plan::{
    Announced, Bind, Carries, Cidr, ClientLimits, HttpVersions, ListenerId, ListenerPlan, Transport,
};
use gatehouse_core::rate::Rate;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The most listeners a Plan holds.
const LISTENERS_MAX: usize = 64;
/// The longest path a UNIX socket's address holds, its end included (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 108;

impl Lower<'_> {
    /// All listeners; those that cannot be lowered are left out, their names kept.
    pub(super) fn listeners(&mut self, merged: &Merged<'_>) -> Vec<ListenerPlan> {
        let mut plans: Vec<ListenerPlan> = Vec::new();
        let carried: Vec<Carries> =
            merged.listeners.iter().map(|named| self.carries_of(named)).collect();
        for (at, named) in merged.listeners.iter().enumerate() {
            let Some(table) = named.item.table() else { continue };
            let Some((bind, place)) = self.bind(table) else { continue };
            self.taken(&bind, place);
            self.bound.push(Bound { bind: bind.clone(), place, listener: named.name.clone() });
            let carries = carried[at];
            let announced = self.announced(table, &bind);
            let trusted_proxies = self.ranges(table);
            let limits = self.limits(table.table("limits"));
            let versions = self.versions(table);
            self.streams_that_cannot_apply(table, carries, versions);
            let tls = self.listener_tls(table, carries, versions);
            let transport = if tls.is_some() { Transport::Tls } else { Transport::Clear };
            self.handshake_that_cannot_apply(table, transport);
            self.tls.listeners.push(tls);
            let name = named.name.clone();
            plans.push(ListenerPlan {
                name,
                bind,
                transport,
                carries,
                announced,
                trusted_proxies,
                versions,
                limits,
            });
        }
        if let Some(extra) = merged.listeners.get(LISTENERS_MAX) {
            let reason = format!("more than {LISTENERS_MAX} listeners");
            self.error(Kind::BadValue, extra.place, reason);
        }
        plans
    }

    fn handshake_that_cannot_apply(&mut self, table: &Table, transport: Transport) {
        let entry = table.table("limits").and_then(|limits| limits.entry("tls-handshake-timeout"));
        if let Some(entry) = entry.filter(|_| transport == Transport::Clear) {
            let reason = "`tls-handshake-timeout` does not apply to a listener without `tls`";
            self.error(Kind::NotApplicable, entry.place, reason);
        }
    }

    /// Takes in a listener's name, and what its connections carry.
    fn carries_of(&mut self, named: &Named) -> Carries {
        let id = ListenerId(u8::try_from(self.listeners.places().len()).unwrap_or(u8::MAX));
        self.listeners.add(&named.name, named.place, self.report);
        let carries = named.item.table().map_or(Carries::Http, |own| self.listener_carries(own));
        if carries == Carries::Tcp {
            self.tcp_listeners = self.tcp_listeners.with(id);
        }
        carries
    }

    /// Whether connections start with a PROXY header.
    fn announced(&mut self, table: &Table, bind: &Bind) -> Announced {
        if table.flag("proxy-protocol") != Some(true) {
            return Announced::No;
        }
        let nobody =
            table.list("trusted-proxies").is_empty() && !table.is_broken("trusted-proxies");
        if let (Some(entry), true, Bind::Ip(_)) = (table.entry("proxy-protocol"), nobody, bind) {
            let reason = "`proxy-protocol` without `trusted-proxies`: nobody could connect";
            let hint = "write trusted-proxies = [\"10.0.0.0/8\"] with the proxies in front";
            self.error_hint(Kind::Missing, entry.place, reason, hint);
        }
        Announced::ByProxyHeader
    }

    fn connection_rate(&mut self, limits: &Table) -> Option<Rate> {
        let Text { text, place } = limits.text("connection-rate")?;
        match units::rate(text) {
            Ok((count, period)) => Some(Rate::new(count, period)),
            Err(fault) => {
                let problem = Problem::error(Kind::BadValue, place, fault.reason);
                self.report.add(problem.hint_if(fault.hint));
                None
            }
        }
    }

    /// Reports an address that connections would share with a listener before it.
    pub(super) fn taken(&mut self, bind: &Bind, place: Place) {
        let Some(first) = self.bound.iter().find(|other| overlap(&other.bind, bind)) else {
            return;
        };
        let (own, name) = (show_bind(bind), &first.listener);
        let (reason, hint) = if first.bind == *bind {
            (format!("{own} is taken by listener {name}"), "give one of them another port")
        } else {
            let (other, hint) =
                (show_bind(&first.bind), "give one of them another port or address");
            (format!("{own} overlaps with {other}, which is listener {name}"), hint)
        };
        let problem = Problem::error(Kind::Duplicate, place, reason).hint(hint);
        self.report.add(problem.related(first.place, "here"));
    }

    fn bind(&mut self, table: &Table) -> Option<(Bind, Place)> {
        let Text { text, place } = table.text("bind")?;
        if let Some(path) = text.strip_prefix("unix:") {
            let path = self.unix_path(path, place)?;
            return Some((Bind::Unix(path), place));
        }
        match parse_bind(text) {
            Ok(address) => Some((Bind::Ip(address), place)),
            Err(fault) => {
                self.fault(place, fault);
                None
            }
        }
    }

    /// The path of a UNIX socket, relative to the file it stands in.
    pub(super) fn unix_path(&mut self, path: &str, place: Place) -> Option<std::path::PathBuf> {
        let resolved = self.sources.resolve(place, path);
        let bytes = resolved.as_os_str().len();
        let fault = if path.is_empty() {
            Fault::bad("unix: without a path").hint("write \"unix:/run/gatehouse.sock\"")
        } else if path.contains('\0') {
            Fault::bad("a NUL in a path")
        } else if bytes >= UNIX_PATH_BYTES_MAX {
            Fault::bad(format!(
                "a UNIX socket's path of {bytes} bytes; {} is the most",
                UNIX_PATH_BYTES_MAX - 1
            ))
        } else {
            return Some(resolved);
        };
        self.fault(place, fault);
        None
    }

    /// What is spoken there. The list has words that the schema knows, and may be empty.
    fn versions(&mut self, table: &Table) -> HttpVersions {
        let Some(entry) = table.entry("protocols") else { return HttpVersions::default() };
        let words: Vec<&str> = table.texts("protocols").map(|text| text.text).collect();
        match (words.contains(&"h1"), words.contains(&"h2")) {
            (true, false) => HttpVersions::Http1,
            (false, true) => HttpVersions::Http2,
            (true, true) => HttpVersions::Both,
            (false, false) if words.contains(&"tcp") => HttpVersions::default(),
            (false, false) => {
                let place = entry.item.place;
                self.fault(
                    place,
                    Fault::bad("a listener that speaks nothing").hint("write [\"h1\"]"),
                );
                HttpVersions::default()
            }
        }
    }

    /// Streams are HTTP/2's.
    fn streams_that_cannot_apply(&mut self, table: &Table, carries: Carries, of: HttpVersions) {
        let limits = table.table("limits");
        if let Some(entry) = limits.and_then(|limits| limits.entry("streams"))
            && carries == Carries::Http
            && !of.has_http2()
        {
            let reason = "`streams` does not apply to a listener without HTTP/2";
            let hint = "add \"h2\" to its `protocols`, or take it out";
            self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
        }
    }

    fn ranges(&mut self, table: &Table) -> Vec<Cidr> {
        let mut ranges = Vec::new();
        for Text { text, place } in table.texts("trusted-proxies") {
            match parse_range(text) {
                Ok(range) => ranges.push(range),
                Err(fault) => self.fault(place, fault),
            }
        }
        ranges
    }

    fn limits(&mut self, table: Option<&Table>) -> ClientLimits {
        let usual = ClientLimits::default();
        let Some(table) = table else { return usual };
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let limits = ClientLimits {
            head_bytes_max: table.bytes("head-bytes").map_or(usual.head_bytes_max, small),
            fields_max: table
                .count("fields")
                .map_or(usual.fields_max, |count| u16::try_from(count).unwrap_or(u16::MAX)),
            target_bytes_max: table.bytes("target-bytes").map_or(usual.target_bytes_max, small),
            body_bytes_max: table.bytes("body-bytes"),
            connection_rate: self.connection_rate(table),
            streams_max: table.count("streams").map_or(usual.streams_max, small),
            connections_max: table.count("connections").map_or(usual.connections_max, small),
            address_connections_max: table.count("connections-per-address").map(small),
            tls_handshake_timeout: table
                .duration("tls-handshake-timeout")
                .unwrap_or(usual.tls_handshake_timeout),
            head_timeout: table.duration("head-timeout").unwrap_or(usual.head_timeout),
            idle_timeout: table.duration("idle-timeout").unwrap_or(usual.idle_timeout),
            body_rate_min: table.bytes("body-rate").map_or(usual.body_rate_min, small),
            read_rate_min: table.bytes("read-rate").map_or(usual.read_rate_min, small),
        };
        if let Some(entry) = table.entry("target-bytes")
            && limits.target_bytes_max > limits.head_bytes_max
        {
            let reason = format!(
                "`target-bytes` of {} can never be reached: the whole head has at most {} bytes",
                limits.target_bytes_max, limits.head_bytes_max
            );
            let hint = "raise `head-bytes` above it";
            self.error_hint(Kind::NotApplicable, entry.item.place, reason, hint);
        }
        limits
    }
}

/// An address that a listener has taken.
#[derive(Debug)]
pub(super) struct Bound {
    pub bind: Bind,
    pub place: Place,
    pub listener: Box<str>,
}

/// Whether a connection could be for either. Port 0 is any free port.
fn overlap(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        (Bind::Unix(one), Bind::Unix(other)) => one == other,
        (Bind::Ip(one), Bind::Ip(other)) => {
            let both = covers(one.ip(), other.ip()) || covers(other.ip(), one.ip());
            one.port() == other.port() && one.port() != 0 && both
        }
        (Bind::Ip(_), Bind::Unix(_)) | (Bind::Unix(_), Bind::Ip(_)) => false,
    }
}

/// Whether who listens on `one` is given what is sent to `other`. `::` takes IPv4 too.
pub(super) fn covers(one: IpAddr, other: IpAddr) -> bool {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    one == other || one.is_unspecified() && (one.is_ipv6() || other.is_ipv4())
}

fn show_bind(bind: &Bind) -> String {
    match bind {
        Bind::Ip(address) => address.to_string(),
        Bind::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Whether this is an address without a port.
pub(super) fn port_missing(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn parse_bind(text: &str) -> Result<SocketAddr, Fault> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    if let Some(port) = text.strip_prefix(':').and_then(port) {
        return Ok(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let fault = Fault::bad(format!("\"{}\" is no address to listen on", text.escape_debug()));
    Err(match text.rsplit_once(':') {
        _ if port(text).is_some() => fault.hint(format!("write \":{text}\"")),
        _ if text.parse::<Ipv6Addr>().is_ok() => fault.hint(format!("write \"[{text}]:8080\"")),
        _ if port_missing(text) => fault.hint(format!("add a port: \"{text}:8080\"")),
        Some(("*", port)) => fault.hint(format!("write \":{port}\"")),
        Some(("localhost", port)) => fault.hint(format!("write \"127.0.0.1:{port}\"")),
        _ if Path::new(text).is_absolute() => fault.hint(format!("write \"unix:{text}\"")),
        _ => fault.hint("write \":8080\", \"127.0.0.1:8080\" or \"unix:/path\""),
    })
}

/// A range of addresses, or one.
fn parse_range(text: &str) -> Result<Cidr, Fault> {
    let bad = || Fault::bad(format!("\"{}\" is no range of addresses", text.escape_debug()));
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr =
        address.parse().map_err(|_| bad().hint("write \"10.0.0.0/8\" or \"2001:db8::/32\""))?;
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(bad().hint(format!("write it as IPv4: {v4} also means {v6}")));
    }
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.map(str::parse::<u8>) {
        None => width,
        Some(Ok(prefix)) if prefix <= width => prefix,
        Some(_) => return Err(bad().hint(format!("the prefix is a number from 0 to {width}"))),
    };
    let start = masked(address, prefix);
    if start != address {
        return Err(bad().hint(format!("the range starts at \"{start}/{prefix}\"")));
    }
    Ok(Cidr { address, prefix })
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

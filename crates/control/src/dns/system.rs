//! What this machine's own configuration says of names: `/etc/resolv.conf` (resolv.conf(5)) and
//! `/etc/hosts` (hosts(5)). Text is understood here; who reads the files is elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// Servers that are asked; those behind are left out.
const SERVERS_MAX: usize = 3;

/// Domains that a name is looked for in; those behind are left out.
const DOMAINS_MAX: usize = 6;

/// Addresses that a name may have in the hosts file.
const HOSTS_MAX: usize = 64;

/// Where servers listen.
pub(crate) const PORT: u16 = 53;

/// Whom names are asked of, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub servers: Vec<SocketAddr>,
    /// Domains that a name is looked for in.
    pub domains: Vec<String>,
    /// A name with at least so many dots is looked for as it is first.
    pub dots_min: usize,
    /// How long one server may take, the first time; twice as long the next.
    pub timeout: Duration,
    /// How often each is asked.
    pub attempts: u32,
    /// Whether they are asked over TCP alone.
    pub over: Over,
}

/// How servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// By datagrams, and over TCP where an answer does not fit.
    Udp,
    Tcp,
}

impl Settings {
    /// These servers and nothing else.
    pub fn of(servers: Vec<SocketAddr>) -> Settings {
        let domains = Vec::new();
        let (timeout, over) = (Duration::from_secs(1), Over::Udp);
        Settings { servers, domains, dots_min: 1, timeout, attempts: 2, over }
    }

    /// What a resolv.conf says; what it does not say well, it does not say.
    pub fn parse(text: &str) -> Settings {
        let mut settings = Settings::of(Vec::new());
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    settings.servers.extend(words.next().and_then(server));
                }
                Some("domain" | "search") => {
                    let plain = |domain: &str| domain.trim_matches('.').to_ascii_lowercase();
                    let domains = words.map(plain).filter(|domain| !domain.is_empty());
                    settings.domains = domains.take(DOMAINS_MAX).collect();
                }
                Some("options") => words.for_each(|word| settings.option(word)),
                _ => {}
            }
        }
        settings.servers.truncate(SERVERS_MAX);
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
        }
        settings
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<u32>().ok();
        match (name, number) {
            ("ndots", Some(dots)) => self.dots_min = dots.min(15) as usize,
            ("timeout", Some(seconds)) => {
                self.timeout = Duration::from_secs(seconds.clamp(1, 5).into());
            }
            ("attempts", Some(attempts)) => self.attempts = attempts.clamp(1, 5),
            ("use-vc", None) => self.over = Over::Tcp,
            _ => {}
        }
    }

    /// The names that one stands for, in the order in which they are asked for.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let own = name.trim_end_matches('.').to_ascii_lowercase();
        if name.ends_with('.') {
            return vec![own];
        }
        let mut all: Vec<String> =
            self.domains.iter().map(|domain| format!("{own}.{domain}")).collect();
        all.insert(if dots >= self.dots_min { 0 } else { all.len() }, own);
        all
    }
}

/// `10.0.0.2`, `fd00::2`, `fe80::1%2`.
fn server(text: &str) -> Option<SocketAddr> {
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, scope.parse().ok()?),
        None => (text, 0),
    };
    match address.parse().ok()? {
        IpAddr::V4(ip) => Some(SocketAddr::from((ip, PORT))),
        IpAddr::V6(ip) => Some(SocketAddrV6::new(ip, PORT, 0, scope).into()),
    }
}

/// The addresses that a hosts file gives a name; loopback for `localhost` where it gives none
/// (RFC 6761 section 6.3).
pub(crate) fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        let Some(address) = address else { continue };
        if words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name))
            && !found.contains(&address)
            && found.len() < HOSTS_MAX
        {
            found.push(address);
        }
    }
    if found.is_empty() && is_localhost(name) {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    found
}

fn is_localhost(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_understood_and_bounded() {
        let text = "# made by hand\nnameserver 10.0.0.2\nnameserver fe80::1%3\nnameserver rubbish\n\
                    nameserver 10.0.0.3\nnameserver 10.0.0.4\ndomain old.example\n\
                    search a.example. B.example\noptions ndots:2 timeout:30 attempts:9 rotate\n";
        let settings = Settings::parse(text);
        let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.2:53", "[fe80::1%3]:53", "10.0.0.3:53"]);
        assert_eq!(settings.domains, ["a.example", "b.example"]);
        let bounded = (settings.dots_min, settings.timeout.as_secs(), settings.attempts);
        assert_eq!(bounded, (2, 5, 5));
        assert_eq!(settings.over, Over::Udp);
        let empty = Settings::parse("options use-vc\n");
        assert_eq!(empty.servers, ["127.0.0.1:53".parse().expect("an address")]);
        assert_eq!(empty.over, Over::Tcp);
    }

    #[test]
    fn a_name_is_looked_for_in_domains_by_its_dots() {
        let settings = Settings::parse("search a.example b.example\noptions ndots:2\n");
        let table: [(&str, &[&str]); 4] = [
            ("api", &["api.a.example", "api.b.example", "api"]),
            ("API.x", &["api.x.a.example", "api.x.b.example", "api.x"]),
            ("api.x.y", &["api.x.y", "api.x.y.a.example", "api.x.y.b.example"]),
            ("api.", &["api"]),
        ];
        for (name, expected) in table {
            assert_eq!(settings.candidates(name), expected, "{name}");
        }
    }

    #[test]
    fn a_hosts_file_gives_names_their_addresses() {
        let text = "127.0.0.1 localhost\n10.0.0.1 api.internal api # 10.0.0.9 other\nfd00::1 API\n\
                    rubbish other\n10.0.0.1 api\n";
        let of = |name: &str| -> Vec<String> {
            hosts(text, name).iter().map(ToString::to_string).collect()
        };
        assert_eq!(of("api"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(of("api.internal."), ["10.0.0.1"]);
        assert_eq!(of("other"), [""; 0]);
        assert_eq!(of("localhost"), ["127.0.0.1"]);
        assert_eq!(of("db.localhost"), ["127.0.0.1", "::1"]);
    }
}

//! A ZooKeeper ensemble, as an operator wrote it: which servers, how they are spoken to, and who
//! the gateway is to them. Who talks to them is elsewhere.

use super::registries::{Login, RegistryTls};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Servers of one ensemble, and how they are spoken to. Whatever has the same shares a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ZooKeeperServers {
    /// Hosts and ports; at least one.
    pub servers: Vec<(Arc<str>, u16)>,
    /// What all paths stand beneath; empty is nothing.
    pub chroot: Box<str>,
    /// Who the gateway is.
    pub login: Option<(ZooKeeperMechanism, Login)>,
    /// How TLS is spoken; `None` is in clear.
    pub tls: Option<ZooKeeperTls>,
    /// How long a session outlives silence.
    pub session_timeout: Duration,
}

/// How one says who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZooKeeperMechanism {
    /// ZooKeeper's own `digest` scheme: user and password, as they are.
    Digest,
    /// SASL's DIGEST-MD5.
    DigestMd5,
}

/// How TLS is spoken to the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ZooKeeperTls {
    /// Who each server has to be; `None` is the host it is known by.
    pub name: Option<Arc<str>>,
    /// Whose word is believed, and who the gateway is.
    pub files: RegistryTls,
}

/// The children of a node, as endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ZooKeeperSource {
    /// Where the node stands.
    pub servers: Arc<ZooKeeperServers>,
    /// The node.
    pub path: Box<str>,
    /// The node that says their weights, where there is one.
    pub weights: Option<Box<str>>,
}

impl fmt::Display for ZooKeeperSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zookeeper {} {}", self.servers, self.path)
    }
}

/// The port of a server that gives none.
const PORT: u16 = 2181;

/// Servers one ensemble may have.
pub(crate) const SERVERS_MAX: usize = 64;

/// How long a session outlives silence where nothing is written: the first generation's.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(5);

/// Servers as they were written, and the path behind them, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written<'a> {
    pub servers: Vec<(Arc<str>, u16)>,
    pub path: &'a str,
}

/// `zk1:2181,zk2:2181/chroot`: hosts and ports, and what stands behind them, a path or nothing.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_servers(text: &str) -> Result<Written<'_>, String> {
    let at = text.find('/').unwrap_or(text.len());
    let (hosts, path) = text.split_at(at);
    let servers: Vec<_> = hosts.split(',').map(server).collect::<Result<_, _>>()?;
    match servers.len() > SERVERS_MAX {
        true => Err(format!("{} servers; {SERVERS_MAX} is the most", servers.len())),
        false => Ok(Written { servers, path }),
    }
}

fn server(text: &str) -> Result<(Arc<str>, u16), String> {
    let bad = |why: &str| Err(format!("\"{}\" is no server: {why}", text.escape_debug()));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(rest))),
            None => return bad("a ] is missing"),
        },
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let in_brackets = text.starts_with('[');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let sound = match in_brackets {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => !host.is_empty() && host.chars().all(plain),
    };
    if !sound {
        return bad("write host:port, 10.0.0.1:2181 or [::1]:2181");
    }
    match port.map_or(Ok(PORT), str::parse) {
        Ok(0) | Err(_) => bad("its port is no number from 1 to 65535"),
        Ok(port) => Ok((host.into(), port)),
    }
}

/// Without who the gateway is.
impl fmt::Display for ZooKeeperServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (host, port)) in self.servers.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match host.contains(':') {
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        f.write_str(&self.chroot)
    }
}

/// Where the first generation's endpoints are, and where their weights.
const FIRST_ENDPOINTS: &str = "/gateway_servers_";
const FIRST_WEIGHTS: &str = "/gateway_servers_config_";

/// Where the weights of the first generation's endpoints are.
pub(crate) fn first_weights(path: &str) -> Option<Box<str>> {
    let name = path.strip_prefix(FIRST_ENDPOINTS)?;
    let plain = !name.is_empty() && !name.contains('/') && !path.starts_with(FIRST_WEIGHTS);
    plain.then(|| format!("{FIRST_WEIGHTS}{name}").into())
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::*;

    #[test]
    fn servers_have_a_host_a_port_and_perhaps_a_path() {
        let shown = |text: &str| {
            let Written { servers, path } = parse_servers(text).expect("servers");
            let each = servers.iter().map(|(host, port)| format!("{host} {port}"));
            format!("{}{path}", each.collect::<Vec<_>>().join(" + "))
        };
        assert_eq!(shown("zk1:2181,zk2"), "zk1 2181 + zk2 2181");
        assert_eq!(shown("10.0.0.1:1/a/b"), "10.0.0.1 1/a/b");
        assert_eq!(shown("[::1]:2182,[fe80::1]"), "::1 2182 + fe80::1 2181");
        for text in
            ["", ",", "zk1,", "zk1:0", "zk1:x", "zk1:65536", "[::1", "[zk]:1", "a b:1", ":1"]
        {
            assert!(parse_servers(text).is_err(), "{text}");
        }
        assert!(parse_servers(&vec!["zk"; SERVERS_MAX + 1].join(",")).is_err());
    }

    #[test]
    fn what_is_shown_has_no_password_in_it() {
        let Written { servers, .. } = parse_servers("zk1:1,[::1]:2").expect("servers");
        let login = Login { user: "ops".into(), password: Secret::Text("sesame".into()) };
        let all = ZooKeeperServers {
            servers,
            chroot: "/app".into(),
            login: Some((ZooKeeperMechanism::Digest, login)),
            tls: None,
            session_timeout: SESSION_TIMEOUT,
        };
        assert_eq!(all.to_string(), "zk1:1,[::1]:2/app");
        assert!(!format!("{all:?}").contains("sesame"));
    }
}

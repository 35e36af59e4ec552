//! Where endpoints come from, as an operator wrote it: which source, and how its answers are
//! taken. Who asks the sources is elsewhere.

use super::registries::{ConsulSource, EtcdSource};
use super::zookeeper::ZooKeeperSource;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A source, and how its answers are taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiscoverySpec {
    /// Who is asked.
    pub source: SourceSpec,
    /// A set of fewer endpoints than this share of the last one is held back: in 1/1,000.
    pub min_healthy_permille: u16,
    /// The folder where the last good set is kept for a start while the source is away.
    pub storage: Option<PathBuf>,
    /// How its endpoints are spoken to.
    pub beneath: Beneath,
    /// Requests in flight at once at each of its endpoints; `None` is no limit.
    pub connections_max: Option<u32>,
}

/// How endpoints that were found are spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Beneath {
    /// In clear.
    Clear,
    /// Under TLS.
    Tls {
        /// Who each has to be; `None` is whom it was found as.
        name: Option<Arc<str>>,
    },
}

/// Who is asked: one variant a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceSpec {
    /// A file with a list.
    File(FileSource),
    /// Nodes of ZooKeeper.
    ZooKeeper(ZooKeeperSource),
    /// Keys of etcd.
    Etcd(EtcdSource),
    /// A service of Consul's.
    Consul(ConsulSource),
    /// A name of DNS.
    Dns(DnsSource),
}

/// A file with a list of endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
}

/// A name of DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsSource {
    /// The name, in lower case.
    pub name: Arc<str>,
    /// What is asked for.
    pub asks: DnsAsks,
    /// Which addresses are used.
    pub family: DnsFamily,
    /// Who is asked; none is whom this machine's files name.
    pub servers: Vec<SocketAddr>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsAsks {
    /// Addresses.
    Addresses {
        /// The port of the endpoints.
        port: u16,
    },
    /// The servers of a service.
    Service,
}

/// Which addresses are used where a name has both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsFamily {
    /// Those of the kind that can be reached.
    Auto,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// All.
    Both,
}

impl DiscoverySpec {
    /// A file, all else as it is where nothing was written.
    #[cfg(test)]
    pub(crate) fn of_file(path: PathBuf) -> DiscoverySpec {
        let (source, beneath) = (SourceSpec::File(FileSource { path }), Beneath::Clear);
        let (storage, connections_max) = (None, None);
        DiscoverySpec { source, min_healthy_permille: 500, storage, beneath, connections_max }
    }

    /// A number that is the same for the same settings.
    pub(crate) fn id(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// A few words for people, without secrets.
impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceSpec::File(FileSource { path }) => write!(f, "file {}", path.display()),
            SourceSpec::ZooKeeper(own) => own.fmt(f),
            SourceSpec::Etcd(etcd) => etcd.fmt(f),
            SourceSpec::Consul(consul) => consul.fmt(f),
            SourceSpec::Dns(DnsSource { name, asks: DnsAsks::Addresses { port }, .. }) => {
                write!(f, "dns {name}:{port}")
            }
            SourceSpec::Dns(DnsSource { name, asks: DnsAsks::Service, .. }) => {
                write!(f, "dns {name} srv")
            }
        }
    }
}

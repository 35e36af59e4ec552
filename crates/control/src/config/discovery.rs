//! Where endpoints come from, as an operator wrote it: which source, and how its answers are
//! taken. Who asks the sources is elsewhere.

use super::registries::{ConsulSource, EtcdSource};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

/// A source, and how its answers are taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiscoverySpec {
    /// Who is asked.
    pub source: SourceSpec,
    /// A set of fewer endpoints than this share of the last one is held back: in 1/1,000.
    pub min_healthy_permille: u16,
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
    /// Keys of etcd.
    Etcd(EtcdSource),
    /// A service of Consul's.
    Consul(ConsulSource),
}

/// A file with a list of endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
}

impl DiscoverySpec {
    /// A file, all else as it is where nothing was written.
    #[cfg(test)]
    pub(crate) fn of_file(path: PathBuf) -> DiscoverySpec {
        let (source, beneath) = (SourceSpec::File(FileSource { path }), Beneath::Clear);
        DiscoverySpec { source, min_healthy_permille: 500, beneath, connections_max: None }
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
            SourceSpec::Etcd(etcd) => etcd.fmt(f),
            SourceSpec::Consul(consul) => consul.fmt(f),
        }
    }
}

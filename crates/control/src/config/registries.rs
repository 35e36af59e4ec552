//! Registries that are spoken to over HTTP, as an operator wrote them: etcd and Consul.

use super::env::Env;
use super::secret::Secret;
use gatehouse_core::address::Address;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A server, by its URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// As it is shown.
    pub url: Box<str>,
    /// Where it is.
    pub address: Address,
    /// Host and port, as requests name them.
    pub authority: Box<str>,
    /// What every path begins with.
    pub base: Arc<str>,
    /// Who it has to be, where it is spoken to under TLS.
    pub tls: Option<Arc<str>>,
}

/// How servers are spoken to under TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegistryTls {
    /// Whose word is believed about who they are; the system's where there are none.
    pub roots: Option<PathBuf>,
    /// Who the gateway is: chain and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl RegistryTls {
    /// What the environment says, under names that begin like this.
    ///
    /// # Errors
    /// That it says only half.
    pub(crate) fn of_environment(prefix: &str, env: &dyn Env) -> Result<RegistryTls, String> {
        let var = |name: &str| env.var(&format!("{prefix}_{name}"));
        let identity = match (var("CERT"), var("KEY")) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => return Err(format!("{prefix}_CERT goes with {prefix}_KEY")),
        };
        Ok(RegistryTls { roots: var("ROOTS").map(Into::into), identity })
    }
}

/// Who asks etcd.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// The user.
    pub user: Box<str>,
    /// The password.
    pub password: Secret,
}

/// An etcd, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EtcdSpec {
    /// Its servers; at least one.
    pub servers: Vec<Server>,
    /// Who asks, where it wants to know.
    pub login: Option<Login>,
    /// How it is spoken to under TLS.
    pub tls: RegistryTls,
}

/// Endpoints that are keys of etcd.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EtcdSource {
    /// Which etcd.
    pub etcd: EtcdSpec,
    /// What their keys begin with.
    pub prefix: Box<str>,
}

/// Instances whose every check passes, or also those that only warn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checks {
    /// Every one passes.
    Passing,
    /// None is critical.
    NotCritical,
}

/// Endpoints that are instances of a service of Consul's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsulSource {
    /// Who is asked: an agent, or a server.
    pub server: Server,
    /// How it is spoken to under TLS.
    pub tls: RegistryTls,
    /// What says who asks.
    pub token: Option<Secret>,
    /// The service's name.
    pub service: Box<str>,
    /// Tags that each instance has.
    pub tags: Vec<Box<str>>,
    /// The datacenter; that of whoever is asked where there is none.
    pub datacenter: Option<Box<str>>,
    /// What its checks say.
    pub checks: Checks,
}

impl fmt::Display for EtcdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> = self.etcd.servers.iter().map(|server| &*server.url).collect();
        write!(f, "etcd {} {}", urls.join(","), self.prefix)
    }
}

impl fmt::Display for ConsulSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consul {} {}", self.server.url, self.service)
    }
}

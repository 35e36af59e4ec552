//! `zk://zk1:2181,zk2:2181/path`: a node, as it is named on a command line. Who asks, and whom is
//! believed, is in the environment, where no list of processes shows it.

use super::env::Env;
use super::registries::{Login, RegistryTls};
use super::secret::Secret;
use super::zookeeper::{
    SESSION_TIMEOUT, Written, ZooKeeperMechanism, ZooKeeperServers, ZooKeeperTls, parse_servers,
};
use crate::zookeeper::path::path_fault;
use std::fmt;
use std::sync::Arc;

/// A node, and the servers it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUrl {
    /// The servers.
    pub servers: Arc<ZooKeeperServers>,
    /// The node's path.
    pub path: Box<str>,
}

/// What such a URL looks like.
const FORM: &str = "write zk://HOST:PORT,HOST:PORT/PATH, or zks:// for TLS";

impl NodeUrl {
    /// Reads one. `GATEHOUSE_ZK_USER` with `GATEHOUSE_ZK_PASSWORD` or `GATEHOUSE_ZK_PASSWORD_FILE`
    /// says who asks, `GATEHOUSE_ZK_MECHANISM` how, `GATEHOUSE_ZK_ROOTS`, `_CERT` and `_KEY` how
    /// TLS is spoken.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, env: &dyn Env) -> Result<NodeUrl, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        if !matches!(scheme, "zk" | "zks") {
            return Err(format!("this is no zk:// URL: {FORM}"));
        }
        if rest.split('/').next().is_some_and(|hosts| hosts.contains('@')) {
            let why = "a URL carries no user and password: they are in GATEHOUSE_ZK_USER and \
                       GATEHOUSE_ZK_PASSWORD";
            return Err(why.to_owned());
        }
        let Written { servers, path } = parse_servers(rest)?;
        let path = if path.is_empty() { "/" } else { path };
        if let Some(why) = path_fault(path) {
            return Err(format!("\"{}\" is no path of a node: {why}", path.escape_debug()));
        }
        let var = |name: &str| env.var(&format!("GATEHOUSE_ZK_{name}"));
        let files = RegistryTls::of_environment("GATEHOUSE_ZK", env)?;
        let servers = ZooKeeperServers {
            servers,
            chroot: "".into(),
            login: login(&var)?,
            tls: (scheme == "zks").then_some(ZooKeeperTls { name: None, files }),
            session_timeout: SESSION_TIMEOUT,
        };
        Ok(NodeUrl { servers: Arc::new(servers), path: path.into() })
    }
}

fn login(
    var: &impl Fn(&str) -> Option<String>,
) -> Result<Option<(ZooKeeperMechanism, Login)>, String> {
    let mechanism = match var("MECHANISM").as_deref() {
        None | Some("digest") => ZooKeeperMechanism::Digest,
        Some("digest-md5") => ZooKeeperMechanism::DigestMd5,
        Some(_) => return Err("GATEHOUSE_ZK_MECHANISM is digest or digest-md5".to_owned()),
    };
    let password = var("PASSWORD").map(|text| Secret::Text(text.into()));
    let password = password.or_else(|| var("PASSWORD_FILE").map(|path| Secret::File(path.into())));
    match (var("USER"), password) {
        (Some(user), Some(password)) => {
            Ok(Some((mechanism, Login { user: user.into(), password })))
        }
        (None, None) => Ok(None),
        _ => Err("GATEHOUSE_ZK_USER goes with GATEHOUSE_ZK_PASSWORD, or with \
                  GATEHOUSE_ZK_PASSWORD_FILE"
            .to_owned()),
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.servers.tls.is_some() { "zks" } else { "zk" };
        write!(f, "{scheme}://{}{}", self.servers, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, env: &dyn Env) -> String {
        match NodeUrl::parse(text, env) {
            Ok(url) => format!("{url} {:?}", url.servers.login),
            Err(why) => why,
        }
    }

    #[test]
    fn a_url_names_servers_and_a_node_and_the_environment_who_asks() {
        assert_eq!(shown("zk://zk1/a/b", &[]), "zk://zk1:2181/a/b None");
        assert_eq!(shown("zk://zk1:1,[::1]:2", &[]), "zk://zk1:1,[::1]:2/ None");
        let env = [("GATEHOUSE_ZK_USER", "ops"), ("GATEHOUSE_ZK_PASSWORD", "sesame")];
        let said = shown("zks://zk1/a@b", &env);
        assert!(said.starts_with("zks://zk1:2181/a@b Some((Digest, "), "{said}");
        assert!(!said.contains("sesame"), "{said}");
    }

    #[test]
    fn what_is_wrong_is_said_and_no_password_with_it() {
        for (text, why) in [
            ("http://zk1/a", "no zk:// URL"),
            ("zk://zk1/a/", "is no path of a node: it ends with /"),
            ("zk:///a", "is no server"),
            ("zk://ops:sesame@zk1/a", "carries no user and password"),
        ] {
            let said = shown(text, &[]);
            assert!(said.contains(why) && !said.contains("sesame"), "{text}: {said}");
        }
        for env in [("GATEHOUSE_ZK_USER", "ops"), ("GATEHOUSE_ZK_MECHANISM", "kerberos")] {
            assert!(shown("zk://zk1/a", &[env]).contains(env.0));
        }
    }
}

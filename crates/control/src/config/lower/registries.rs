//! Registries that are spoken to over HTTP: etcd and Consul.

use super::super::problem::Kind;
use super::super::registries::{
    Checks, ConsulSource, EtcdSource, EtcdSpec, Login, RegistryTls, Server,
};
use super::super::secret::Secret;
use super::super::tree::{Table, Text, Value};
use super::endpoint::parse;
use super::{Fault, Lower};
use gatehouse_core::address::Address;
use gatehouse_wire::tls::ServerId;
use std::sync::Arc;

/// Servers of one registry.
const SERVERS_MAX: usize = 16;

/// Bytes of a prefix, a name, a tag.
const NAME_BYTES_MAX: usize = 1_024;

impl Lower<'_> {
    /// Endpoints that are keys of etcd.
    pub(super) fn etcd_source(&mut self, own: &Table) -> Option<EtcdSource> {
        let etcd = self.etcd(own);
        let prefix = own.text("prefix").and_then(|written| self.registry_name(written, "prefix"));
        Some(EtcdSource { etcd: etcd?, prefix: prefix? })
    }

    fn etcd(&mut self, own: &Table) -> Option<EtcdSpec> {
        let entry = own.entry("servers")?;
        let written: Vec<Text<'_>> = own.texts("servers").collect();
        if written.is_empty() && entry.item.value != Value::Broken {
            let hint = "for example servers = [\"http://127.0.0.1:2379\"]";
            self.error_hint(Kind::BadValue, entry.item.place, "no server", hint);
        }
        if written.len() > SERVERS_MAX {
            let reason = format!("{} servers; {SERVERS_MAX} is the most", written.len());
            self.error(Kind::BadValue, entry.item.place, reason);
        }
        let usual = "http://127.0.0.1:2379";
        let count = written.len();
        let servers: Vec<Server> =
            written.into_iter().filter_map(|text| self.server(text, usual)).collect();
        let whole = servers.len() == count && count > 0;
        let (servers, tls) = self.registry_tls(own, servers);
        let login = self.login(own);
        whole.then_some(EtcdSpec { servers, login, tls })
    }

    pub(super) fn login(&mut self, own: &Table) -> Option<Login> {
        let secret = self.secret(own, "password");
        let user = own.text("user").and_then(|user| self.registry_name(user, "user"));
        for (one, other) in [("user", "password"), ("password", "user")] {
            if let Some(entry) = own.entry(one).filter(|_| !own.means(other)) {
                let reason = format!("`{one}` without `{other}`");
                let hint = "write both, or neither where nobody is asked who he is";
                self.error_hint(Kind::Missing, entry.place, reason, hint);
            }
        }
        Some(Login { user: user?, password: secret? })
    }

    /// Endpoints that are instances of a service of Consul's.
    pub(super) fn consul_source(&mut self, own: &Table) -> Option<ConsulSource> {
        let server = own.text("server").and_then(|text| self.server(text, "http://127.0.0.1:8500"));
        let (mut servers, tls) = self.registry_tls(own, server.into_iter().collect());
        let service = own.text("service").and_then(|text| self.registry_name(text, "service"));
        let tags = own.texts("tag").collect::<Vec<_>>().into_iter();
        let tags = tags.filter_map(|tag| self.registry_name(tag, "tag")).collect();
        let datacenter =
            own.text("datacenter").and_then(|text| self.registry_name(text, "datacenter"));
        let checks = match own.flag("passing") {
            Some(false) => Checks::NotCritical,
            Some(true) | None => Checks::Passing,
        };
        let token = self.secret(own, "token");
        let server = servers.pop();
        Some(ConsulSource {
            server: server?,
            tls,
            token,
            service: service?,
            tags,
            datacenter,
            checks,
        })
    }

    /// A text that registries take as a name: something, and not too much.
    fn registry_name(&mut self, written: Text<'_>, noun: &str) -> Option<Box<str>> {
        let Text { text, place } = written;
        let reason = match text {
            "" => format!("no {noun}"),
            _ if text.len() > NAME_BYTES_MAX => {
                format!("{} bytes in a {noun}; {NAME_BYTES_MAX} is the most", text.len())
            }
            _ if text.contains(char::is_control) => format!("a control character in a {noun}"),
            _ => return Some(text.into()),
        };
        self.error(Kind::BadValue, place, reason);
        None
    }

    /// A secret as it is written, or where it stands.
    pub(super) fn secret(&mut self, own: &Table, name: &str) -> Option<Secret> {
        if let Some(table) = own.table(name) {
            let file = table.text("file").and_then(|text| self.file(text))?;
            return Some(Secret::File(file.path));
        }
        let Text { text, place } = own.text(name)?;
        if text.is_empty() || text.contains(char::is_control) {
            let reason = format!("`{name}` is no secret: one line of text");
            self.error(Kind::BadValue, place, reason);
            return None;
        }
        Some(Secret::Text(text.into()))
    }

    fn server(&mut self, written: Text<'_>, usual: &str) -> Option<Server> {
        match server(written.text) {
            Ok(server) => Some(server),
            Err(fault) => {
                let hint = format!("for example \"{usual}\"");
                let fault = if fault.hint.is_none() { fault.hint(hint) } else { fault };
                self.fault(written.place, fault);
                None
            }
        }
    }

    /// How these servers are spoken to under TLS; gives them the name they have to have.
    fn registry_tls(
        &mut self,
        own: &Table,
        mut servers: Vec<Server>,
    ) -> (Vec<Server>, RegistryTls) {
        let secured = servers.iter().any(|server| server.tls.is_some());
        let Some(table) = own.table("tls") else { return (servers, RegistryTls::default()) };
        if let Some(entry) = own.entry("tls").filter(|_| !secured && !servers.is_empty()) {
            let reason = "`tls` does not apply: no server begins with https://";
            self.error_hint(Kind::NotApplicable, entry.place, reason, "write \"https://host\"");
        }
        if let Some(Text { text, place }) = table.text("name") {
            match ServerId::new(text) {
                Some(_) => {
                    let name: Arc<str> = text.into();
                    let secured = servers.iter_mut().filter(|server| server.tls.is_some());
                    secured.for_each(|server| server.tls = Some(Arc::clone(&name)));
                }
                None => {
                    let reason = format!("\"{}\" is no host name", text.escape_debug());
                    self.error(Kind::BadValue, place, reason);
                }
            }
        }
        let roots = table.text("roots").and_then(|text| self.file(text));
        let identity = self.identity(table);
        let identity = identity.map(|(cert, key)| (cert.path, key.path));
        (servers, RegistryTls { roots: roots.map(|file| file.path), identity })
    }
}

/// A server by its URL, as it is written elsewhere than in a file.
///
/// # Errors
/// Why it is none.
pub(crate) fn registry_server(text: &str) -> Result<Server, String> {
    server(text).map_err(|fault| fault.reason)
}

fn server(text: &str) -> Result<Server, Fault> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    // Who writes a password here should not find it in a log.
    let rest = rest.ok_or_else(|| Fault::bad("a server is written as a URL"))?;
    if rest.contains('@') {
        let fault = Fault::bad("a URL carries no user and password");
        return Err(fault.hint("they have keys of their own, which are never shown"));
    }
    if rest.is_empty() || rest.starts_with([':', '/']) {
        return Err(Fault::bad("a URL without a host is no server"));
    }
    let parsed = parse(text)?;
    let authority = match &parsed.address {
        Address::Ip(address) => address.to_string(),
        Address::Name { host, port } => format!("{host}:{port}"),
        Address::Unix(_) => "localhost".to_owned(),
    };
    Ok(Server {
        url: text.trim_end_matches('/').into(),
        authority: authority.into(),
        address: parsed.address,
        base: parsed.base_path,
        tls: parsed.tls,
    })
}

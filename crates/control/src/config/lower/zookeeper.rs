//! ZooKeeper: where endpoints are found, and what is announced there.

use super::super::json::Json;
use super::super::problem::{Kind, Problem};
use super::super::register::{RegisterSpec, announceable, content};
use super::super::registries::{Login, RegistryTls};
use super::super::tree::{Table, Text};
use super::super::zookeeper::{
    SESSION_TIMEOUT, Written, ZooKeeperMechanism, ZooKeeperServers, ZooKeeperSource, ZooKeeperTls,
    first_weights, parse_servers,
};
use super::Lower;
use super::merge::Merged;
use crate::zookeeper::Acl;
use crate::zookeeper::path::path_fault;
use gatehouse_wire::tls::ServerId;
use std::sync::Arc;

/// Announcements of one gateway.
const REGISTERS_MAX: usize = 64;

/// Bytes of what an announcement says.
const CONTENT_BYTES_MAX: usize = 32 << 10;

impl Lower<'_> {
    /// Endpoints that are children of a node.
    pub(super) fn zookeeper_source(&mut self, own: &Table) -> Option<ZooKeeperSource> {
        let servers = self.zookeeper_servers(own);
        let path = own.text("path").and_then(|written| self.node_path(&written));
        let weights = match own.text("weights") {
            Some(written) => self.node_path(&written),
            None => path.as_deref().and_then(first_weights),
        };
        Some(ZooKeeperSource { servers: servers?, path: path?, weights })
    }

    fn zookeeper_servers(&mut self, own: &Table) -> Option<Arc<ZooKeeperServers>> {
        let login = self.zookeeper_login(own);
        let tls = self.zookeeper_tls(own);
        let Text { text, place } = own.text("servers")?;
        let Written { servers, path: chroot } = match parse_servers(text) {
            Ok(parsed) => parsed,
            Err(why) => {
                self.error_hint(Kind::BadValue, place, why, "for example \"zk1:2181,zk2:2181\"");
                return None;
            }
        };
        let chroot = if chroot == "/" { "" } else { chroot };
        if let Some(why) = path_fault(chroot).filter(|_| !chroot.is_empty()) {
            let reason = format!("\"{}\" is no chroot: {why}", chroot.escape_debug());
            self.error(Kind::BadValue, place, reason);
            return None;
        }
        let session_timeout = own.duration("session-timeout").unwrap_or(SESSION_TIMEOUT);
        let chroot = chroot.into();
        Some(Arc::new(ZooKeeperServers { servers, chroot, login, tls, session_timeout }))
    }

    fn zookeeper_login(&mut self, own: &Table) -> Option<(ZooKeeperMechanism, Login)> {
        let mechanism = match own.word("mechanism") {
            Some("digest-md5") => ZooKeeperMechanism::DigestMd5,
            _ => ZooKeeperMechanism::Digest,
        };
        if let Some(entry) = own.entry("mechanism").filter(|_| !own.means("user")) {
            let reason = "`mechanism` does not apply without `user`";
            self.error(Kind::NotApplicable, entry.place, reason);
        }
        let login = self.login(own)?;
        if login.user.contains([':', '"', '\\']) {
            let place = own.entry("user").map_or(own.place, |entry| entry.item.place);
            self.error(
                Kind::BadValue,
                place,
                "a user of ZooKeeper's has no : \" or \\ in its name",
            );
        }
        Some((mechanism, login))
    }

    fn zookeeper_tls(&mut self, own: &Table) -> Option<ZooKeeperTls> {
        let Some(table) = own.table("tls") else {
            return own.flag("tls").filter(|tls| *tls).map(|_| ZooKeeperTls::default());
        };
        let name = table.text("name");
        if let Some(Text { text, place }) = name.filter(|name| ServerId::new(name.text).is_none()) {
            self.error(
                Kind::BadValue,
                place,
                format!("\"{}\" is no host name", text.escape_debug()),
            );
        }
        let roots = table.text("roots").and_then(|text| self.file(text));
        let identity = self.identity(table);
        let identity = identity.map(|(cert, key)| (cert.path, key.path));
        let files = RegistryTls { roots: roots.map(|file| file.path), identity };
        Some(ZooKeeperTls { name: name.map(|name| name.text.into()), files })
    }

    fn node_path(&mut self, written: &Text<'_>) -> Option<Box<str>> {
        let Text { text, place } = *written;
        match path_fault(text) {
            None => Some(text.into()),
            Some(why) => {
                let reason = format!("\"{}\" is no path of a node: {why}", text.escape_debug());
                self.error_hint(Kind::BadValue, place, reason, "for example \"/services/users\"");
                None
            }
        }
    }

    /// What is announced.
    pub(super) fn registers(&mut self, merged: &Merged<'_>) -> Vec<Arc<RegisterSpec>> {
        let mut specs: Vec<(Arc<RegisterSpec>, &Table)> = Vec::new();
        for table in &merged.registers {
            let Some(spec) = self.register(table) else { continue };
            let same = |other: &RegisterSpec| {
                other.node() == spec.node() && other.servers.servers == spec.servers.servers
            };
            if let Some((_, first)) = specs.iter().find(|(other, _)| same(other)) {
                let reason = format!("{} is announced twice", spec.address.escape_debug());
                let problem = Problem::error(Kind::Duplicate, table.place, reason);
                self.report.add(problem.related(first.place, "first here").hint("keep one"));
                continue;
            }
            specs.push((Arc::new(spec), table));
        }
        if let Some(table) = merged.registers.get(REGISTERS_MAX) {
            let count = merged.registers.len();
            let reason = format!("{count} announcements; {REGISTERS_MAX} is the most");
            self.error(Kind::BadValue, table.place, reason);
        }
        specs.into_iter().map(|(spec, _)| spec).collect()
    }

    fn register(&mut self, table: &Table) -> Option<RegisterSpec> {
        let own = table.table("zookeeper");
        let servers = own.and_then(|own| self.zookeeper_servers(own));
        let path = own.and_then(|own| own.text("path"));
        let path = path.and_then(|written| self.node_path(&written));
        let address = table.text("address").and_then(|written| self.announced_address(&written));
        let content = self.announced_content(table);
        let acl = match table.word("acl") {
            Some("creator") => Acl::Creator,
            _ => Acl::Open,
        };
        let servers = servers?;
        if let Some(entry) = table.entry("acl").filter(|_| acl == Acl::Creator)
            && servers.login.is_none()
        {
            let reason = "acl = \"creator\" without `user`: nobody could change the node";
            let hint = "add user and password to `zookeeper`";
            self.error_hint(Kind::Missing, entry.place, reason, hint);
        }
        Some(RegisterSpec { servers, path: path?, address: address?, content: content?, acl })
    }

    /// An address that others can reach.
    fn announced_address(&mut self, written: &Text<'_>) -> Option<Box<str>> {
        let Text { text, place } = *written;
        let why = match announceable(text) {
            Ok(()) => return Some(text.into()),
            Err(why) => why,
        };
        self.error_hint(Kind::BadValue, place, why, "for example \"10.0.0.7:8080\"");
        None
    }

    /// What a node says besides its name: nothing, or JSON.
    fn announced_content(&mut self, table: &Table) -> Option<Box<[u8]>> {
        let metadata: Vec<(String, Json)> = table
            .map("metadata")
            .iter()
            .filter_map(|named| Some((named.name.to_string(), Json::text(named.item.text()?.text))))
            .collect();
        let zone = table.text("zone").map(|zone| zone.text);
        let content = content(table.count("weight"), zone, metadata);
        if content.len() > CONTENT_BYTES_MAX {
            let reason = format!("{} bytes; {CONTENT_BYTES_MAX} is the most", content.len());
            self.error(Kind::BadValue, table.place, reason);
            return None;
        }
        Some(content)
    }
}

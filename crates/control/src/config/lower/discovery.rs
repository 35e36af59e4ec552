//! Where an upstream's endpoints come from, where they are not written.

use super::super::discovery::{
    Beneath, DiscoverySpec, DnsAsks, DnsFamily, DnsSource, FileSource, SourceSpec,
};
use super::super::problem::{Kind, Problem};
use super::super::tree::{Entry, Table, Text, Value};
use super::Lower;
use super::matcher::is_host_name;
use crate::dns::PORT as DNS_PORT;
use gatehouse_core::plan::Discovery;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// The keys of the sources; one of them is written.
const SOURCES: [&str; 5] = ["file", "dns", "zookeeper", "etcd", "consul"];

/// Whether what an upstream finds is spoken to under TLS.
pub(super) fn is_secured(table: &Table) -> bool {
    table.table("discovery").and_then(|own| own.word("scheme")) == Some("https")
}

/// Servers of DNS that one source may ask.
const DNS_SERVERS_MAX: usize = 8;

/// Half of the last set.
const MIN_HEALTHY_USUAL: f64 = 0.5;

impl Lower<'_> {
    /// Lowers `discovery` and keeps it for whoever asks the sources; to be called once for each
    /// upstream, in the order of their ids.
    pub(super) fn discovery(&mut self, table: &Table) -> Option<Discovery> {
        let spec = self.discovery_spec(table).map(Arc::new);
        self.discovery.push(spec.clone());
        spec.map(|spec| Discovery { source: spec.source.to_string().into(), id: spec.id() })
    }

    fn discovery_spec(&mut self, table: &Table) -> Option<DiscoverySpec> {
        let Some(entry) = table.entry("discovery") else {
            if !table.means("endpoints") && !table.means("discovery") {
                let hint = "add `endpoints = [\"10.0.0.1:9000\"]`, or `discovery`";
                let reason = "an upstream needs `endpoints`";
                self.error_hint(Kind::Missing, table.place, reason, hint);
            }
            return None;
        };
        if let Some(endpoints) = table.entry("endpoints") {
            let reason = "`discovery` does not apply beside `endpoints`: they are listed already";
            let problem = Problem::error(Kind::NotApplicable, entry.place, reason);
            self.report.add(problem.related(endpoints.place, "listed here").hint("keep one"));
        }
        let own = table.table("discovery")?;
        let source = self.source(entry, own)?;
        let min_healthy = own.number("min-healthy").unwrap_or(MIN_HEALTHY_USUAL);
        let min_healthy_permille = (min_healthy * 1_000.0).round() as u16;
        let tls = table.table("tls");
        let beneath = match is_secured(table) {
            true => {
                let name = tls.and_then(|tls| tls.text("name"));
                Beneath::Tls { name: name.map(|name| name.text.into()) }
            }
            false => Beneath::Clear,
        };
        let connections_max =
            own.count("max-connections").map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let storage = self.found_storage(own);
        Some(DiscoverySpec { source, min_healthy_permille, storage, beneath, connections_max })
    }

    /// As it is written, or where the service manager keeps state for the gateway.
    fn found_storage(&mut self, own: &Table) -> Option<PathBuf> {
        match own.text("storage") {
            Some(text) => Some(self.file(text)?.path),
            None => Some(PathBuf::from(self.state_folder.as_deref()?).join("discovery")),
        }
    }

    fn source(&mut self, entry: &Entry, own: &Table) -> Option<SourceSpec> {
        let mut written = SOURCES.iter().filter_map(|name| own.entry(name));
        let Some(first) = written.next() else {
            if !SOURCES.iter().any(|name| own.means(name)) && entry.item.value != Value::Broken {
                let hint = format!("add one of {}", SOURCES.join(", "));
                self.error_hint(
                    Kind::Missing,
                    entry.item.place,
                    "a discovery needs a source",
                    hint,
                );
            }
            return None;
        };
        for other in written {
            let reason = format!("`{}` does not apply beside `{}`", other.key.name, first.key.name);
            let hint = "an upstream has one source; write a split of two upstreams";
            self.error_hint(Kind::NotApplicable, other.place, reason, hint);
        }
        let table = first.item.table()?;
        match first.key.name {
            "file" => self.file_source(table).map(SourceSpec::File),
            "zookeeper" => self.zookeeper_source(table).map(SourceSpec::ZooKeeper),
            "etcd" => self.etcd_source(table).map(SourceSpec::Etcd),
            "consul" => self.consul_source(table).map(SourceSpec::Consul),
            "dns" => self.dns_source(table).map(SourceSpec::Dns),
            _ => None,
        }
    }

    fn dns_source(&mut self, table: &Table) -> Option<DnsSource> {
        let servers = self.dns_servers(table);
        let service = table.word("type") == Some("srv");
        let asks = match (service, table.count("port")) {
            (false, Some(port)) => {
                Some(DnsAsks::Addresses { port: u16::try_from(port).unwrap_or(u16::MAX) })
            }
            (false, None) => {
                if !table.means("port") && !table.is_broken("type") {
                    let hint = "add `port = 9000`, or `type = \"srv\"` for a service";
                    let reason = "addresses of DNS need a `port`";
                    self.error_hint(Kind::Missing, table.place, reason, hint);
                }
                None
            }
            (true, _) => {
                if let Some(entry) = table.entry("port") {
                    let reason = "`port` does not apply to type = \"srv\": its records say it";
                    self.error(Kind::NotApplicable, entry.place, reason);
                }
                Some(DnsAsks::Service)
            }
        };
        let family = match table.word("family") {
            Some("ipv4") => DnsFamily::V4,
            Some("ipv6") => DnsFamily::V6,
            Some("both") => DnsFamily::Both,
            Some(_) | None => DnsFamily::Auto,
        };
        let Text { text, place } = table.text("name")?;
        let name = text.to_ascii_lowercase();
        let bare = name.strip_suffix('.').unwrap_or(&name);
        // A service is `_http._tcp` below a domain.
        let labels = bare.split('.').map(|label| match service {
            true => label.strip_prefix('_').unwrap_or(label),
            false => label,
        });
        let plain = labels.collect::<Vec<_>>().join(".");
        if !is_host_name(&plain) || bare.parse::<IpAddr>().is_ok() {
            let reason = format!("\"{}\" is no name to ask for", text.escape_debug());
            let hint = match service {
                true => "write \"_http._tcp.api.internal\"",
                false => "write \"api.internal\"; addresses stand in `endpoints`",
            };
            self.error_hint(Kind::BadValue, place, reason, hint);
            return None;
        }
        Some(DnsSource { name: name.into(), asks: asks?, family, servers })
    }

    fn dns_servers(&mut self, table: &Table) -> Vec<SocketAddr> {
        let mut servers = Vec::new();
        for Text { text, place } in table.texts("servers") {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            let address = bare.unwrap_or(text).parse::<IpAddr>();
            let address = address.map(|ip| SocketAddr::new(ip, DNS_PORT)).ok();
            match text.parse().ok().or(address) {
                Some(server) => servers.push(server),
                None => {
                    let reason = format!("\"{}\" is no address", text.escape_debug());
                    let hint = "write \"10.0.0.2\" or \"10.0.0.2:5353\"";
                    self.error_hint(Kind::BadValue, place, reason, hint);
                }
            }
        }
        if let Some(entry) = table.entry("servers")
            && table.list("servers").is_empty()
            && entry.item.value != Value::Broken
        {
            let hint = "leave it out to ask whom /etc/resolv.conf names";
            self.error_hint(Kind::BadValue, entry.item.place, "no server", hint);
        }
        if servers.len() > DNS_SERVERS_MAX {
            let reason = format!("{} servers; {DNS_SERVERS_MAX} is the most", servers.len());
            self.error(Kind::BadValue, table.place, reason);
        }
        servers
    }

    fn file_source(&mut self, table: &Table) -> Option<FileSource> {
        let path = table.text("path")?;
        Some(FileSource { path: self.file(path)?.path })
    }
}

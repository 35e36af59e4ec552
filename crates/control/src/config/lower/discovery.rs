//! Where an upstream's endpoints come from, where they are not written.

use super::super::discovery::{Beneath, DiscoverySpec, FileSource, SourceSpec};
use super::super::problem::{Kind, Problem};
use super::super::tree::{Entry, Table, Value};
use super::Lower;
use gatehouse_core::plan::Discovery;
use std::sync::Arc;

/// The keys of the sources; one of them is written.
const SOURCES: [&str; 5] = ["file", "dns", "zookeeper", "etcd", "consul"];

/// Whether what an upstream finds is spoken to under TLS.
pub(super) fn is_secured(table: &Table) -> bool {
    table.table("discovery").and_then(|own| own.word("scheme")) == Some("https")
}

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
        let min_healthy_permille = (min_healthy * 1_000.0).ceil() as u16;
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
        Some(DiscoverySpec { source, min_healthy_permille, beneath, connections_max })
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
            "etcd" => self.etcd_source(table).map(SourceSpec::Etcd),
            "consul" => self.consul_source(table).map(SourceSpec::Consul),
            _ => None,
        }
    }

    fn file_source(&mut self, table: &Table) -> Option<FileSource> {
        let path = table.text("path")?;
        Some(FileSource { path: self.file(path)?.path })
    }
}

//! TLS of listeners and upstreams: which files, which rules.

use super::super::problem::{Kind, Problem};
use super::super::source::Place;
use super::super::tls::{CertificateSpec, ClientCert, FileSpec, ListenerTls, Trust, UpstreamTls};
use super::super::tree::{Table, Text, Value};
use super::Lower;
use super::discovery::is_secured;
use gatehouse_core::plan::{Carries, EndpointSpec, HttpVersions};
use gatehouse_wire::tls::{MinVersion, ServerId, suite_named};
use std::sync::Arc;

/// Certificates one listener may have.
const CERTIFICATES_MAX: usize = 10_000;

/// What HTTP/1.1 is called in ALPN (RFC 7301 section 6).
const HTTP_1_1: &str = "http/1.1";

/// What HTTP/2 is (RFC 9113 section 3.2).
const HTTP_2: &str = "h2";

impl Lower<'_> {
    /// A listener's certificates, where it has any.
    pub(super) fn listener_tls(
        &mut self,
        listener: &Table,
        carries: Carries,
        versions: HttpVersions,
    ) -> Option<ListenerTls> {
        let entry = listener.entry("tls")?;
        let tables: Vec<&Table> = listener.tables("tls").collect();
        if tables.is_empty() && entry.item.value != Value::Broken {
            let hint = "write tls = { cert = \"site.pem\", key = \"site.key\" }";
            self.error_hint(Kind::BadValue, entry.item.place, "no certificate", hint);
        }
        if tables.len() > CERTIFICATES_MAX {
            let reason = format!("{} certificates; {CERTIFICATES_MAX} is the most", tables.len());
            self.error(Kind::BadValue, entry.item.place, reason);
        }
        let mut certificates = Vec::new();
        for table in tables {
            match table.has("acme") {
                true => self.acme_entry(table),
                false => certificates.extend(self.certificate(table)),
            }
        }
        // A client of TCP may name a protocol that nobody here knows: that is not refused.
        let protocols = match (carries, versions) {
            (Carries::Tcp, _) => Vec::new(),
            (Carries::Http, HttpVersions::Http1) => vec![HTTP_1_1],
            (Carries::Http, HttpVersions::Http2) => vec![HTTP_2],
            (Carries::Http, HttpVersions::Both) => vec![HTTP_2, HTTP_1_1],
        };
        Some(ListenerTls { certificates, protocols })
    }

    fn certificate(&mut self, table: &Table) -> Option<CertificateSpec> {
        for (name, usual) in [("cert", "site.pem"), ("key", "site.key")] {
            if !table.has(name) && !table.mistyped.contains(&name) {
                let reason = format!("a certificate needs `{name}`");
                let hint = format!("add `{name} = \"{usual}\"`, or write `acme` instead of files");
                self.error_hint(Kind::Missing, table.place, reason, hint);
            }
        }
        let (min_version, ciphers, client) = self.certificate_parts(table);
        Some(CertificateSpec {
            cert: self.file(table.text("cert")?)?,
            key: self.file(table.text("key")?)?,
            ocsp: table.text("ocsp").and_then(|text| self.file(text)),
            min_version,
            ciphers,
            client,
            acme: None,
        })
    }

    /// What clients are held to, however the certificate comes.
    pub(super) fn certificate_parts(
        &mut self,
        table: &Table,
    ) -> (MinVersion, Vec<&'static str>, ClientCert) {
        let client = self.client_cert(table);
        (min_version(table), self.ciphers(table), client)
    }

    fn client_cert(&mut self, table: &Table) -> ClientCert {
        let issuers = table.text("client-ca").and_then(|text| self.file(text));
        match (issuers, table.word("client-cert")) {
            (Some(issuers), Some("optional")) => ClientCert::Optional(issuers),
            (Some(issuers), _) => ClientCert::Required(issuers),
            (None, Some(_)) if !table.has("client-ca") => {
                let place = table.entry("client-cert").map_or(table.place, |entry| entry.place);
                let reason = "`client-cert` without `client-ca`: nobody could have issued it";
                let hint = "add client-ca = \"clients.pem\"";
                self.error_hint(Kind::Missing, place, reason, hint);
                ClientCert::None
            }
            (None, _) => ClientCert::None,
        }
    }

    /// The path of a file, relative to the one it is asked for in.
    pub(super) fn file(&mut self, written: Text<'_>) -> Option<FileSpec> {
        let Text { text, place } = written;
        if text.is_empty() || text.contains('\0') {
            let hint = "write a path, absolute or as seen from this file";
            self.error_hint(Kind::BadValue, place, "this names no file and no folder", hint);
            return None;
        }
        Some(FileSpec { path: self.sources.resolve(place, text), place })
    }

    /// Suites by name; those of another version than the lowest allows cannot apply.
    fn ciphers(&mut self, table: &Table) -> Vec<&'static str> {
        let modern = min_version(table) == MinVersion::Tls13;
        let mut names = Vec::new();
        for Text { text, place } in table.texts("ciphers") {
            let Some(name) = suite_named(text) else { continue };
            if modern && name.contains("_WITH_") {
                let reason = format!("{name} does not apply to min-version = \"1.3\"");
                let hint = "take it out: it belongs to TLS 1.2";
                self.error_hint(Kind::NotApplicable, place, reason, hint);
            }
            names.push(name);
        }
        if let Some(entry) = table.entry("ciphers")
            && table.list("ciphers").is_empty()
            && entry.item.value != Value::Broken
        {
            let hint = "leave it out to allow all";
            self.error_hint(Kind::BadValue, entry.item.place, "no cipher", hint);
        }
        names
    }

    /// How an upstream's endpoints under TLS are spoken to; gives them the name they have to have.
    pub(super) fn upstream_tls(
        &mut self,
        name: &str,
        place: Place,
        table: &Table,
        endpoints: &mut [EndpointSpec],
    ) -> Option<UpstreamTls> {
        let secured = endpoints.iter().any(|endpoint| endpoint.tls.is_some()) || is_secured(table);
        let own = table.table("tls");
        if let Some(entry) = table.entry("tls").filter(|_| !secured) {
            let hints = [
                (
                    "discovery",
                    "the endpoints are not under TLS",
                    "write discovery.scheme = \"https\"",
                ),
                ("endpoints", "no endpoint begins with https://", "write \"https://host\""),
            ];
            let found = hints.into_iter().find(|(key, ..)| match *key {
                "endpoints" => !endpoints.is_empty(),
                other => table.table(other).is_some(),
            });
            if let Some((_, why, hint)) = found {
                let reason = format!("`tls` does not apply: {why}");
                self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
            }
        }
        if !secured {
            return None;
        }
        let own_name = own.and_then(|own| own.text("name"));
        if let Some(Text { text, place }) = own_name {
            match ServerId::new(text) {
                Some(_) => {
                    let text: Arc<str> = text.into();
                    let secured = endpoints.iter_mut().filter(|endpoint| endpoint.tls.is_some());
                    secured.for_each(|endpoint| endpoint.tls = Some(Arc::clone(&text)));
                }
                None => {
                    let reason = format!("\"{}\" is no host name", text.escape_debug());
                    self.error(Kind::BadValue, place, reason);
                }
            }
        }
        Some(UpstreamTls {
            place: own.map_or(place, |own| own.place),
            trust: self.trust(name, own),
            identity: own.and_then(|own| self.identity(own)),
            min_version: own.map_or(MinVersion::default(), min_version),
            ciphers: own.map_or_else(Vec::new, |own| self.ciphers(own)),
            protocols: match table.word("protocol") {
                Some("h2" | "grpc") => vec![HTTP_2],
                _ => vec![HTTP_1_1],
            },
        })
    }

    fn trust(&mut self, name: &str, own: Option<&Table>) -> Trust {
        let Some(own) = own else { return Trust::System };
        let roots = own.text("roots").and_then(|text| self.file(text));
        if own.flag("insecure-skip-verify") != Some(true) {
            return roots.map_or(Trust::System, Trust::Roots);
        }
        let place = own.entry("insecure-skip-verify").map_or(own.place, |entry| entry.place);
        for other in ["roots", "name"] {
            if let Some(entry) = own.entry(other) {
                let reason = format!("`{other}` does not apply where nothing is verified");
                self.error(Kind::NotApplicable, entry.place, reason);
            }
        }
        let reason = format!(
            "upstream {name} believes whoever answers: what is sent there can be read and changed \
             on the way"
        );
        let hint = "write roots = \"ca.pem\" with the certificate of whoever issued theirs";
        self.report.add(Problem::warning(Kind::Certificate, place, reason).hint(hint));
        Trust::Anybody
    }

    pub(super) fn identity(&mut self, own: &Table) -> Option<(FileSpec, FileSpec)> {
        for (one, other) in [("cert", "key"), ("key", "cert")] {
            if let Some(entry) = own.entry(one).filter(|_| !own.has(other)) {
                let reason = format!("`{one}` without `{other}`");
                self.error_hint(Kind::Missing, entry.place, reason, format!("add `{other}`"));
            }
        }
        let cert = own.text("cert").and_then(|text| self.file(text));
        let key = own.text("key").and_then(|text| self.file(text));
        cert.zip(key)
    }
}

fn min_version(table: &Table) -> MinVersion {
    match table.word("min-version") {
        Some("1.3") => MinVersion::Tls13,
        _ => MinVersion::Tls12,
    }
}

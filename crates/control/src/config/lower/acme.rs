//! Certificates that are asked for by ACME: of whom, for which names.

use super::super::problem::{Kind, Problem};
use super::super::source::Place;
use super::super::tls::{
    AcmeOrder, AcmeSpec, CertificateSpec, ClientCert, FileSpec, Proof, certificate_of,
};
use super::super::tree::{Table, Text, Value};
use super::Lower;
use super::matcher::is_host_name;
use crate::config::parse_request;
use gatehouse_core::plan::{Carries, ListenerId, ListenerPlan, Transport};
use gatehouse_core::route::HostRule;
use gatehouse_wire::tls::MinVersion;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Who is asked where the file does not say.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names that one entry may have certificates for.
const NAMES_MAX: usize = 1_000;

/// An `acme` entry of a listener, whose names are not known before the routes are.
pub(super) struct Wanted {
    /// The listener's place in the Plan.
    listener: usize,
    place: Place,
    spec: Arc<AcmeSpec>,
    /// The names it gives; empty where the routes say.
    given: Vec<Box<str>>,
    min_version: MinVersion,
    ciphers: Vec<&'static str>,
    client: ClientCert,
}

impl Lower<'_> {
    /// Takes in an entry with `acme`.
    pub(super) fn acme_entry(&mut self, table: &Table) {
        let Some(entry) = table.entry("acme") else { return };
        let place = entry.item.place;
        for other in ["cert", "key", "ocsp"] {
            if let Some(entry) = table.entry(other) {
                let reason = format!("`{other}` does not apply beside `acme`");
                let hint = "write another table for it: tls = [{ acme = … }, { cert = … }]";
                self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
            }
        }
        let parts = self.certificate_parts(table);
        let Some((spec, given)) = self.acme_spec(table, place) else { return };
        let (min_version, ciphers, client) = parts;
        let listener = self.tls.listeners.len();
        let spec = Arc::new(spec);
        let wanted = Wanted { listener, place, spec, given, min_version, ciphers, client };
        self.wanted.push(wanted);
    }

    fn acme_spec(&mut self, table: &Table, place: Place) -> Option<(AcmeSpec, Vec<Box<str>>)> {
        let own = table.table("acme");
        let email = match own {
            Some(own) => own.text("email"),
            None => table.text("acme"),
        };
        let email = email.filter(|email| self.is_email(email));
        let directory = own.and_then(|own| own.text("directory"));
        let directory = directory.map_or(Some(LETS_ENCRYPT), |written| self.directory(written));
        let roots = own.and_then(|own| own.text("roots")).and_then(|text| self.file(text));
        let storage = match own.and_then(|own| own.text("storage")) {
            Some(text) => self.file(text)?.path,
            None => self.usual_storage(place),
        };
        let names = own.map(|own| self.acme_names_given(own)).unwrap_or_default();
        let proofs = own.map(proofs).unwrap_or_default();
        let spec = AcmeSpec {
            email: email?.text.into(),
            directory: directory?.into(),
            roots,
            storage,
            proofs,
        };
        Some((spec, names))
    }

    fn is_email(&mut self, email: &Text<'_>) -> bool {
        let Text { text, place } = *email;
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>,;:?&".contains(&byte);
        let sound = text.len() <= 254 && text.bytes().all(plain);
        let parts =
            text.split_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty());
        if sound && parts.is_some() {
            return true;
        }
        let reason = format!("\"{}\" is no e-mail address", text.escape_debug());
        self.error_hint(Kind::BadValue, place, reason, "write \"ops@example.com\"");
        false
    }

    fn directory<'a>(&mut self, Text { text, place }: Text<'a>) -> Option<&'a str> {
        let asked = parse_request("GET", text).ok();
        if asked.is_some_and(|asked| asked.transport == Transport::Tls) {
            return Some(text);
        }
        let reason = format!("\"{}\" is no https URL", text.escape_debug());
        self.error_hint(Kind::BadValue, place, reason, format!("for example \"{LETS_ENCRYPT}\""));
        None
    }

    /// Where the service manager keeps state for the gateway, or beside the file.
    fn usual_storage(&self, place: Place) -> PathBuf {
        match self.state_folder.as_deref() {
            Some(folder) => PathBuf::from(folder).join("acme"),
            None => self.sources.resolve(place, "acme"),
        }
    }

    fn acme_names_given(&mut self, own: &Table) -> Vec<Box<str>> {
        let mut names: Vec<Box<str>> = Vec::new();
        for Text { text, place } in own.texts("names") {
            let name = text.to_ascii_lowercase();
            if !can_be_proved(&name) {
                let reason = format!("\"{}\" cannot be proved by ACME here", text.escape_debug());
                let hint = "a single host name; wildcards and addresses need `cert` and `key`";
                self.error_hint(Kind::BadValue, place, reason, hint);
            } else if !names.iter().any(|own| **own == *name) {
                names.push(name.into());
            }
        }
        if let Some(entry) = own.entry("names")
            && own.list("names").is_empty()
            && entry.item.value != Value::Broken
        {
            let hint = "leave it out for the hosts of the listener's routes";
            self.error_hint(Kind::BadValue, entry.item.place, "no name", hint);
        }
        names
    }

    /// Says which names certificates are asked for, now that the routes are known.
    pub(super) fn acme_names(&mut self, listeners: &[ListenerPlan]) {
        let in_clear = |plan: &ListenerPlan| {
            plan.transport == Transport::Clear && plan.carries == Carries::Http
        };
        let in_clear = listeners.iter().any(in_clear);
        for mut wanted in std::mem::take(&mut self.wanted) {
            if wanted.spec.proofs.is_empty() {
                // Who asks in clear is heard by no listener of TLS.
                let mut proofs = vec![Proof::TlsAlpn];
                proofs.extend(in_clear.then_some(Proof::Http));
                Arc::make_mut(&mut wanted.spec).proofs = proofs;
            }
            let names = match wanted.given.is_empty() {
                true => self.hosts_of(&wanted),
                false => wanted.given.clone(),
            };
            if names.is_empty() && self.report.errors() == 0 {
                let reason =
                    "no name to ask a certificate for: no route of this listener has a host";
                let hint = "write acme = { email = …, names = [\"shop.example.com\"] }";
                self.error_hint(Kind::Missing, wanted.place, reason, hint);
            }
            if names.len() > NAMES_MAX {
                let reason = format!("{} names; {NAMES_MAX} is the most", names.len());
                self.error(Kind::BadValue, wanted.place, reason);
            }
            self.take_in(&wanted, names);
        }
    }

    /// The exact hosts of a listener's routes.
    fn hosts_of(&mut self, wanted: &Wanted) -> Vec<Box<str>> {
        let id = ListenerId(u8::try_from(wanted.listener).unwrap_or(u8::MAX));
        let mut names: Vec<Box<str>> = Vec::new();
        let mut wildcard: Option<Box<str>> = None;
        let rules = self.rules.iter().filter(|rule| rule.listeners.contains(id));
        for host in rules.flat_map(|rule| &rule.hosts) {
            match host {
                HostRule::Exact(name) if names.contains(name) || !can_be_proved(name) => {}
                HostRule::Exact(name) => names.push(name.clone()),
                HostRule::Wildcard(suffix) => wildcard = Some(suffix.clone()),
            }
        }
        if let Some(suffix) = wildcard {
            let suffix = suffix.trim_start_matches('.');
            let reason =
                format!("no certificate is asked for *.{suffix}: ACME proves single names");
            let hint = format!("give one with `cert` and `key`, or `names` below {suffix}");
            let problem = Problem::warning(Kind::Certificate, wanted.place, reason).hint(hint);
            self.report.add(problem);
        }
        names
    }

    fn take_in(&mut self, wanted: &Wanted, names: Vec<Box<str>>) {
        let Some(Some(listener)) = self.tls.listeners.get_mut(wanted.listener) else { return };
        for name in &names {
            let path = certificate_of(&wanted.spec, name);
            let file = FileSpec { path, place: wanted.place };
            listener.certificates.push(CertificateSpec {
                cert: file.clone(),
                key: file,
                ocsp: None,
                min_version: wanted.min_version,
                ciphers: wanted.ciphers.clone(),
                client: wanted.client.clone(),
                acme: Some(name.clone()),
            });
        }
        let orders = &mut self.tls.acme;
        match orders.iter_mut().find(|order| order.spec == wanted.spec) {
            Some(order) => {
                let new = names.into_iter().filter(|name| !order.names.contains(name));
                let new: Vec<Box<str>> = new.collect();
                order.names.extend(new);
            }
            None => orders.push(AcmeOrder { spec: Arc::clone(&wanted.spec), names }),
        }
    }
}

/// Whether ACME over HTTP and TLS can prove that somebody has a name: a single one of DNS.
fn can_be_proved(name: &str) -> bool {
    is_host_name(name) && name.parse::<IpAddr>().is_err()
}

fn proofs(own: &Table) -> Vec<Proof> {
    let of = |text: Text<'_>| match text.text {
        "http-01" => Proof::Http,
        _ => Proof::TlsAlpn,
    };
    let mut proofs: Vec<Proof> = own.texts("challenges").map(of).collect();
    proofs.dedup();
    proofs
}

//! Upstreams: how an endpoint is chosen, what is kept open.

use super::super::problem::{Kind, Problem};
use super::super::source::Place;
use super::super::tree::{Item, Table, Text, Value};
use super::carried::Written;
use super::merge::Merged;
use super::{Fault, Lower, edits};
use gatehouse_core::endpoints::ENDPOINTS_MAX;
use gatehouse_core::health::HealthRule;
use gatehouse_core::plan::{
    Balance, Discovery, EndpointSpec, HashBy, Keepalive, ProxyVersion, Ring, UpstreamPlan,
};
use std::collections::HashMap;

impl Lower<'_> {
    /// The upstreams of `[upstreams.NAME]`.
    pub(super) fn named_upstreams(&mut self, merged: &Merged<'_>) {
        for named in &merged.upstreams {
            match named.item.table() {
                Some(table) => self.upstream(&named.name, named.place, table),
                None => self.broken_upstream(&named.name, named.place),
            };
        }
    }

    /// Lowers an upstream and returns its id. One that is wrong keeps its id and its name, so that
    /// what refers to it is not reported as well.
    pub(super) fn upstream(&mut self, name: &str, place: Place, table: &Table) -> usize {
        self.upstreams.add(name, place, self.report);
        let (mut endpoints, weight) = self.endpoints(table);
        let discovery = self.discovery(table);
        let tls = self.upstream_tls(name, place, table, &mut endpoints);
        self.tls.upstreams.push(tls);
        let (balance, hash) = self.balance(table, weight, discovery.as_ref());
        let retry = self.retry(table);
        self.idle_options(table);
        let announce = self.announce(table);
        let speaks = self.speaks(table, &endpoints);
        let health = self.health(table, speaks).map(|rule| HealthRule { announce, ..rule });
        let breaker = self.breaker(table);
        let queue = self.queue(table, &endpoints);
        let (concurrency, hedge) = (self.concurrency(table), self.hedge(table, speaks));
        let plan = UpstreamPlan {
            name: name.into(),
            endpoints,
            discovery,
            balance,
            hash,
            retry,
            keepalive: self.keepalive(table),
            health,
            outlier: self.outlier(table),
            panic_below: table.number("panic-below").unwrap_or(0.0),
            breaker,
            concurrency,
            hedge,
            queue,
            speaks,
            announce,
            slow_start: table.duration("slow-start").unwrap_or_default(),
        };
        self.keep_upstream(plan, Written::of(table))
    }

    fn broken_upstream(&mut self, name: &str, place: Place) -> usize {
        self.upstreams.add(name, place, self.report);
        self.tls.upstreams.push(None);
        self.discovery.push(None);
        self.keep_upstream(UpstreamPlan::of(name, Vec::new()), Written::default())
    }

    /// The PROXY header its connections start with.
    fn announce(&mut self, table: &Table) -> Option<ProxyVersion> {
        let version = match table.word("proxy-protocol")? {
            "v1" => ProxyVersion::V1,
            _ => ProxyVersion::V2,
        };
        if let Some(entry) = table.entry("keepalive") {
            let reason = "`keepalive` does not apply beside `proxy-protocol`: a connection is kept \
                          for its client alone, as long as that stays";
            self.error(Kind::NotApplicable, entry.place, reason);
        }
        Some(version)
    }

    fn keep_upstream(&mut self, plan: UpstreamPlan, written: Written) -> usize {
        self.upstream_plans.push(plan);
        self.upstreams_written.push(written);
        self.upstream_used.push(false);
        self.upstream_plans.len() - 1
    }

    /// The endpoints, and where the first weight stands.
    fn endpoints(&mut self, table: &Table) -> (Vec<EndpointSpec>, Option<Place>) {
        let items = table.list("endpoints");
        let mut specs: Vec<EndpointSpec> = Vec::with_capacity(items.len());
        let mut seen: HashMap<&str, Place> = HashMap::new();
        let mut weight = None;
        for item in items {
            let Some((text, own)) = endpoint_text(item) else { continue };
            weight = weight.or(own.and_then(|own| Some(own.entry("weight")?.place)));
            if let Some(first) = seen.insert(text.text, text.place) {
                let reason = format!("endpoint {} is listed twice", text.text.escape_debug());
                let problem = Problem::error(Kind::Duplicate, text.place, reason);
                let hint = "give it a higher weight instead";
                self.report.add(problem.related(first, "first here").hint(hint));
                continue;
            }
            if let Some(spec) = self.endpoint(text, own) {
                self.note_own_listener(&spec.address, text.place);
                specs.push(spec);
            }
        }
        if let Some(entry) = table.entry("endpoints") {
            if items.is_empty() && entry.item.value != Value::Broken {
                let hint = "list one, or answer with `respond = { status = 503 }` in the route";
                self.error_hint(Kind::BadValue, entry.item.place, "no endpoint", hint);
            }
            if items.len() > ENDPOINTS_MAX {
                let reason = format!("{} endpoints; {ENDPOINTS_MAX} is the most", items.len());
                self.error(Kind::BadValue, entry.item.place, reason);
            }
        }
        (specs, weight)
    }

    fn balance(
        &mut self,
        table: &Table,
        weight: Option<Place>,
        discovery: Option<&Discovery>,
    ) -> (Balance, HashBy) {
        let hash = table.table("hash");
        let ring_word = hash.and_then(|hash| hash.word("ring")).unwrap_or("default");
        let load_bound = hash.and_then(|hash| hash.number("load-bound"));
        let ring = match ring_word {
            "crc32" => Ring::Crc32,
            _ => Ring::Default { load_bound },
        };
        let written = table.word("balance");
        let balance = match written {
            Some("random") => Balance::Random,
            Some("weighted-round-robin") => Balance::WeightedRoundRobin,
            Some("least-request") => Balance::LeastRequest,
            Some("peak-ewma") => Balance::PeakEwma,
            Some("consistent-hash") => Balance::ConsistentHash(ring),
            Some("maglev") => Balance::Maglev,
            // Whatever is found may have a weight.
            None if weight.is_some() || discovery.is_some() => Balance::WeightedRoundRobin,
            Some(_) | None => Balance::RoundRobin,
        };
        if !table.is_broken("balance") {
            self.balance_that_cannot_apply(table, balance, weight);
        }
        let by = hash.map_or(HashBy::ClientIp, |hash| self.hash_by(hash));
        (balance, by)
    }

    /// Options that this way of choosing would ignore.
    fn balance_that_cannot_apply(
        &mut self,
        table: &Table,
        balance: Balance,
        weight: Option<Place>,
    ) {
        let hashes = matches!(balance, Balance::ConsistentHash(_) | Balance::Maglev);
        let crc32 = matches!(balance, Balance::ConsistentHash(Ring::Crc32));
        let mut refuse = |place, reason: &str, hint: &str| {
            self.report.add(Problem::error(Kind::NotApplicable, place, reason).hint(hint));
        };
        if let Some(hash) = table.entry("hash").filter(|_| !hashes) {
            let word = table.word("balance").unwrap_or("round-robin");
            let reason = format!("`hash` does not apply to balance = \"{word}\"");
            refuse(hash.place, &reason, "write balance = \"consistent-hash\" or \"maglev\"");
        }
        let ring = table.table("hash").and_then(|hash| hash.entry("ring"));
        if let Some(ring) = ring.filter(|_| balance == Balance::Maglev) {
            let reason = "`ring` does not apply to balance = \"maglev\"";
            refuse(ring.place, reason, "take it out, or write balance = \"consistent-hash\"");
        }
        let bound = table.table("hash").and_then(|hash| hash.entry("load-bound"));
        if let Some(bound) = bound.filter(|_| balance == Balance::Maglev || crc32) {
            let other = if crc32 { "ring = \"crc32\"" } else { "balance = \"maglev\"" };
            let reason = format!("`load-bound` does not apply to {other}");
            refuse(bound.place, &reason, "it needs consistent-hash with the default ring");
        }
        if let Some(weight) = weight.filter(|_| crc32) {
            let reason = "`weight` does not apply to ring = \"crc32\", which ignores weights";
            refuse(weight, reason, "take it out, or use the default ring");
        }
        if let Some(weight) = weight.filter(|_| balance == Balance::RoundRobin) {
            let reason = "`weight` does not apply to balance = \"round-robin\"";
            refuse(weight, reason, "write balance = \"weighted-round-robin\"");
        }
    }

    fn hash_by(&mut self, hash: &Table) -> HashBy {
        let Some(Text { text, place }) = hash.text("by") else { return HashBy::ClientIp };
        match parse_hash_by(text) {
            Ok(by) => by,
            Err(fault) => {
                self.fault(place, fault);
                HashBy::ClientIp
            }
        }
    }

    fn keepalive(&mut self, table: &Table) -> Keepalive {
        let usual = Keepalive::default();
        let Some(table) = table.table("keepalive") else { return usual };
        let idle_per_worker = table
            .count("idle-per-worker")
            .map_or(usual.idle_per_worker, |count| u32::try_from(count).unwrap_or(u32::MAX));
        if let Some(entry) = table.entry("idle-timeout").filter(|_| idle_per_worker == 0) {
            let reason = "`idle-timeout` does not apply where `idle-per-worker` keeps none";
            self.error(Kind::NotApplicable, entry.place, reason);
        }
        let idle_timeout = table.duration("idle-timeout").unwrap_or(usual.idle_timeout);
        Keepalive { idle_per_worker, idle_timeout }
    }
}

/// An endpoint's address, and its table where it has one.
fn endpoint_text(item: &Item) -> Option<(Text<'_>, Option<&Table>)> {
    match item.table() {
        Some(table) => Some((table.text("address")?, Some(table))),
        None => Some((item.text()?, None)),
    }
}

fn parse_hash_by(text: &str) -> Result<HashBy, Fault> {
    let bad = || Fault::bad(format!("\"{}\" is nothing to hash by", text.escape_debug()));
    let forms = "write \"client-ip\", \"header:NAME\", \"cookie:NAME\", \"path\" or \"query:NAME\"";
    match text.split_once(':') {
        None if text == "client-ip" => Ok(HashBy::ClientIp),
        None if text == "path" => Ok(HashBy::Path),
        Some(("header", name)) => Ok(HashBy::Header(edits::field_name(name)?)),
        Some(("cookie", name)) if edits::is_token(name) => Ok(HashBy::Cookie(name.into())),
        Some(("query", name)) if !name.is_empty() => Ok(HashBy::Query(name.into())),
        _ => Err(bad().hint(forms)),
    }
}

//! What applies to TCP, bytes that nobody looks into, and what does not.

use super::super::problem::{Kind, Problem};
use super::super::source::Place;
use super::super::tree::{Item, Table};
use super::Lower;
use super::discovery::is_secured;
use super::merge::Merged;
use gatehouse_core::plan::{Action, Carries, ListenerId, Speaks, Target, UpstreamId};
use gatehouse_core::route::ListenerSet;

/// What a route matches by and does where it has requests before it.
const OF_REQUESTS: [&str; 12] = [
    "path",
    "path-mode",
    "methods",
    "headers",
    "query",
    "rewrite",
    "request-headers",
    "response-headers",
    "body-bytes",
    "buffer",
    "redirect",
    "respond",
];

/// What requests may cost.
const LIMITS_OF_REQUESTS: [&str; 8] = [
    "head-bytes",
    "fields",
    "target-bytes",
    "body-bytes",
    "streams",
    "idle-timeout",
    "body-rate",
    "read-rate",
];

/// An upstream as it was written, until it is known what its routes carry.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Its `protocol`, where one is written.
    protocol: Option<(&'static str, Place)>,
    /// What of it does not apply to TCP, and why.
    not_for_tcp: Vec<(Place, String)>,
    /// Routes that send to it: what they carry, and where they say so.
    used: Vec<(Carries, Place)>,
}

impl Lower<'_> {
    /// What the connections of a listener carry.
    pub(super) fn listener_carries(&mut self, table: &Table) -> Carries {
        let words: Vec<_> = table.texts("protocols").collect();
        let Some(tcp) = words.iter().find(|word| word.text == "tcp") else { return Carries::Http };
        if words.len() > 1 {
            let reason = "\"tcp\" does not apply beside another protocol: nobody looks into it";
            let hint = "give it a listener of its own";
            self.error_hint(Kind::NotApplicable, tcp.place, reason, hint);
        }
        let limits = table.table("limits");
        let written = limits.into_iter().flat_map(|limits| &limits.entries);
        for entry in written.filter(|entry| LIMITS_OF_REQUESTS.contains(&entry.key.name)) {
            let reason = format!("`{}` does not apply to a listener of TCP", entry.key.name);
            let hint = match entry.key.name {
                "streams" => "take it out: `connections` limits how many there are",
                "idle-timeout" | "body-rate" | "read-rate" => {
                    "take it out: `timeout.tunnel` of a route limits how long nothing may move"
                }
                _ => "take it out: nobody looks into what is carried",
            };
            self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
        }
        if let Some(entry) = table.entry("trusted-proxies")
            && table.flag("proxy-protocol") != Some(true)
            && !table.is_broken("proxy-protocol")
        {
            let reason = "`trusted-proxies` does not apply to TCP without `proxy-protocol`";
            let hint = "add `proxy-protocol = true`, or take it out";
            self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
        }
        Carries::Tcp
    }

    /// The listeners of a route that names none: all that speak HTTP.
    pub(super) fn usual_listeners(&mut self, table: &Table) -> ListenerSet {
        if self.tcp_listeners == ListenerSet::NONE {
            return ListenerSet::ALL;
        }
        let all = self.listeners.places().len();
        let ids = (0..all).map(|id| ListenerId(u8::try_from(id).unwrap_or(u8::MAX)));
        let http = ids.filter(|id| !self.tcp_listeners.contains(*id));
        let http = http.fold(ListenerSet::NONE, ListenerSet::with);
        if http == ListenerSet::NONE {
            let reason = "the route is for nobody: it names no listener, and none speaks HTTP";
            let hint = "write listeners = [\"NAME\"] with the listener of TCP it is for";
            self.error_hint(Kind::Missing, table.place, reason, hint);
        }
        http
    }

    /// What the connections of a route's listeners carry; reports where they disagree.
    pub(super) fn route_carries(&mut self, table: &Table, set: ListenerSet) -> Carries {
        if !table.has("listeners") || !set.meets(self.tcp_listeners) {
            return Carries::Http;
        }
        let ids = (0..64).map(ListenerId).filter(|id| set.contains(*id));
        let entry = table.entry("listeners");
        if let (Some(_), Some(entry)) =
            (ids.into_iter().find(|id| !self.tcp_listeners.contains(*id)), entry)
        {
            let reason = "some of these listeners carry TCP, and some HTTP";
            let hint = "write a route for each";
            self.error_hint(Kind::NotApplicable, entry.item.place, reason, hint);
            return Carries::Tcp;
        }
        for entry in table.entries.iter().filter(|entry| OF_REQUESTS.contains(&entry.key.name)) {
            let reason = format!("`{}` does not apply to TCP: it has no requests", entry.key.name);
            self.error(Kind::NotApplicable, entry.place, reason);
        }
        for name in ["first-byte", "idle", "header"] {
            if let Some(entry) = table.table("timeout").and_then(|timeout| timeout.entry(name)) {
                let reason = format!("`{name}` does not apply to TCP");
                let hint = "`tunnel` limits how long nothing may move";
                self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
            }
        }
        Carries::Tcp
    }

    /// Remembers where a route sends what it carries.
    pub(super) fn uses(&mut self, table: &Table, carries: Carries, action: &Action) {
        let Action::Forward(forward) = action else { return };
        let place = table.entry("upstream").map_or(table.place, |entry| entry.item.place);
        let ids: Vec<UpstreamId> = match &forward.target {
            Target::One(id) => vec![*id],
            Target::Split(split) => split.parts().map(|(id, _)| id).collect(),
        };
        for id in ids {
            self.upstreams_written[id.0 as usize].used.push((carries, place));
        }
    }

    /// What is spoken to each upstream: what it says, or what its routes carry.
    pub(super) fn spoken(&mut self) {
        for (id, written) in std::mem::take(&mut self.upstreams_written).into_iter().enumerate() {
            let name = self.upstream_plans[id].name.clone();
            let of = |carries| written.used.iter().find(|(used, _)| *used == carries);
            let (tcp, http) = (of(Carries::Tcp), of(Carries::Http));
            let wrong = match (written.protocol, tcp, http) {
                (_, Some((_, place)), Some((_, other))) => {
                    Some((*place, "a route of TCP", "a route of HTTP", *other))
                }
                (Some(("tcp", at)), _, Some((_, place))) => {
                    Some((*place, "a route of HTTP", "protocol = \"tcp\"", at))
                }
                (Some((word, at)), Some((_, place)), _) if word != "tcp" => {
                    Some((*place, "a route of TCP", "another protocol", at))
                }
                _ => None,
            };
            if let Some((place, what, against, other)) = wrong {
                let reason = format!("{what} sends to upstream {name}, which has {against} too");
                let problem = Problem::error(Kind::NotApplicable, place, reason);
                let hint = "write two upstreams, one for each protocol";
                self.report.add(problem.related(other, against).hint(hint));
                continue;
            }
            if tcp.is_none() && written.protocol.is_none_or(|(word, _)| word != "tcp") {
                continue;
            }
            self.upstream_plans[id].speaks = Speaks::Tcp;
            for (place, reason) in written.not_for_tcp {
                self.error(Kind::NotApplicable, place, reason);
            }
        }
    }

    /// Warns of TCP listeners whose connections could only be closed.
    pub(super) fn silent_listeners(&mut self, merged: &Merged<'_>) {
        if self.report.errors() > 0 {
            return;
        }
        let places = self.listeners.places();
        for (at, named) in merged.listeners.iter().enumerate() {
            let id = ListenerId(u8::try_from(at).unwrap_or(u8::MAX));
            let routed = self.rules.iter().any(|rule| rule.listeners.contains(id));
            if self.tcp_listeners.contains(id) && !routed {
                let reason = format!(
                    "no route names listener {}: its connections would be closed",
                    named.name
                );
                let hint = format!("add `[[routes]]` with listeners = [\"{}\"]", named.name);
                self.report.add(Problem::warning(Kind::Unused, places[at], reason).hint(hint));
            }
        }
    }
}

impl Written {
    /// What is to be remembered of an upstream's table.
    pub(super) fn of(table: &Table) -> Written {
        let mut not_for_tcp = Vec::new();
        let mut refuse = |place, reason: &str| not_for_tcp.push((place, reason.to_owned()));
        if let Some(entry) = table.entry("keepalive") {
            refuse(
                entry.place,
                "`keepalive` does not apply to TCP: every connection is its client's",
            );
        }
        for name in ["concurrency", "hedge"] {
            if let Some(entry) = table.entry(name) {
                let reason = format!("`{name}` does not apply to TCP: it has no answers");
                refuse(entry.place, &reason);
            }
        }
        let by = table.table("hash").and_then(|hash| hash.text("by"));
        if let Some(by) = by.filter(|by| by.text != "client-ip") {
            refuse(by.place, "a hash of TCP can be taken of \"client-ip\" only");
        }
        let retry_on = table.table("retry").and_then(|retry| retry.entry("on"));
        if let Some(entry) = retry_on {
            refuse(entry.place, "`on` does not apply to TCP: only connecting is tried again");
        }
        for item in table.list("endpoints") {
            let text = item.table().map_or_else(|| item.text(), |own| own.text("address"));
            if let Some(text) = text.filter(|text| text.text.contains("://")) {
                refuse(text.place, "an endpoint of TCP is \"host:port\" or \"unix:/path\"");
            }
        }
        let scheme = table.table("discovery").and_then(|own| own.item("scheme"));
        if let Some(item) = scheme.filter(|_| is_secured(table)) {
            refuse(item.place, "TCP is carried as it is: discovery.scheme does not apply");
        }
        let place = table.item("protocol").map_or(table.place, |item: &Item| item.place);
        let protocol = table.word("protocol").map(|word| (word, place));
        Written { protocol, not_for_tcp, used: Vec::new() }
    }
}

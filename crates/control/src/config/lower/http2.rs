//! What applies to endpoints that speak HTTP/2, and what does not.

use super::super::problem::Kind;
use super::super::source::Place;
use super::super::tree::Table;
use super::Lower;
use super::discovery::is_secured;
use gatehouse_core::plan::{EndpointSpec, Speaks};

impl Lower<'_> {
    /// What an upstream says of what is spoken to its endpoints. (TCP is found out later, by what
    /// its routes carry.)
    pub(super) fn speaks(&mut self, table: &Table, endpoints: &[EndpointSpec]) -> Speaks {
        let Some(word) = table.word("protocol") else { return Speaks::Http1 };
        let place = table.item("protocol").map_or(table.place, |item| item.place);
        let speaks = match word {
            "h2" | "h2c" => Speaks::Http2,
            "grpc" => Speaks::Grpc,
            _ => return Speaks::Http1,
        };
        self.transport_that_cannot_apply(word, place, endpoints);
        let (found, secured) = (table.table("discovery").is_some(), is_secured(table));
        if found && (word == "h2" && !secured || word == "h2c" && secured) {
            let scheme = if secured { "https" } else { "http" };
            let reason = format!("protocol = \"{word}\" does not apply to what is found: {scheme}");
            let hint = "h2 is under TLS, with discovery.scheme = \"https\"; h2c is in clear";
            self.error_hint(Kind::NotApplicable, place, reason, hint);
        }
        if let Some(entry) = table.entry("proxy-protocol") {
            let reason = "`proxy-protocol` does not apply to HTTP/2: its connections carry the \
                          requests of many clients";
            self.error(Kind::NotApplicable, entry.place, reason);
        }
        let keepalive = table.table("keepalive");
        if let Some(entry) = keepalive.and_then(|keepalive| keepalive.entry("idle-per-worker")) {
            let reason = "`idle-per-worker` does not apply to HTTP/2: its connections are shared";
            self.error(Kind::NotApplicable, entry.place, reason);
        }
        speaks
    }

    /// HTTP/2 is agreed on with TLS, or known beforehand.
    fn transport_that_cannot_apply(
        &mut self,
        word: &str,
        place: Place,
        endpoints: &[EndpointSpec],
    ) {
        let (clear, secured) =
            endpoints.iter().partition::<Vec<_>, _>(|endpoint| endpoint.tls.is_none());
        let (wrong, hint) = match word {
            "h2" => (clear, "write \"https://host\", or protocol = \"h2c\" for HTTP/2 in clear"),
            "h2c" => (secured, "write protocol = \"h2\" for HTTP/2 under TLS"),
            _ => return,
        };
        if let Some(endpoint) = wrong.first() {
            let text = endpoint.text.escape_debug();
            let reason = format!("protocol = \"{word}\" does not apply to endpoint {text}");
            self.error_hint(Kind::NotApplicable, place, reason, hint);
        }
    }
}

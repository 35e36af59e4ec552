//! `[[expect]]`: a request and what should become of it.

use super::super::probe::{Question, parse_request};
use super::super::problem::Kind;
use super::super::source::Place;
use super::super::tree::{Table, Text};
use super::merge::Merged;
use super::{Lower, edits};
use std::net::{IpAddr, Ipv4Addr};

/// One `[[expect]]` row.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Where it stands.
    pub place: Place,
    /// What is asked.
    pub question: Question,
    /// What should become of it.
    pub expected: Expected,
}

/// What should become of a request; what is `None` is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The name of the route.
    pub route: Option<String>,
    /// The name of the upstream.
    pub upstream: Option<String>,
    /// Path and query as sent.
    pub sends: Option<String>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The status of an answer the gateway gives by itself.
    pub status: Option<u16>,
}

/// The keys of [`Expected`].
const EXPECTED: [&str; 5] = ["route", "upstream", "sends", "location", "status"];

/// Where requests come from where nothing is said.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Lower<'_> {
    pub(super) fn expects(&mut self, merged: &Merged<'_>) -> Vec<Expect> {
        merged.expects.iter().filter_map(|table| self.expect(table)).collect()
    }

    fn expect(&mut self, table: &Table) -> Option<Expect> {
        for (key, names) in
            [("route", &self.routes), ("upstream", &self.upstreams), ("listener", &self.listeners)]
        {
            if let Some(Text { text, place }) = table.text(key) {
                names.find(text, place, self.report);
            }
        }
        let own = |key: &str| table.text(key).map(|text| text.text.to_owned());
        let expected = Expected {
            route: own("route"),
            upstream: own("upstream"),
            sends: own("sends"),
            location: own("location"),
            status: table.count("status").and_then(|status| u16::try_from(status).ok()),
        };
        let broken = EXPECTED.iter().any(|key| table.is_broken(key));
        if expected == Expected::default() && !broken {
            let reason = "the row expects nothing";
            let hint = "add `route`, `upstream`, `sends`, `location` or `status`";
            self.error_hint(Kind::Missing, table.place, reason, hint);
        }
        let question = self.question(table)?;
        Some(Expect { place: table.place, question, expected })
    }

    fn question(&mut self, table: &Table) -> Option<Question> {
        let Text { text, place } = table.text("request")?;
        let parsed = text.trim().split_once(' ').map(|(method, url)| {
            parse_request(method, url.trim()).map_err(|fault| fault.to_string())
        });
        let mut question = match parsed {
            Some(Ok(question)) => question,
            Some(Err(reason)) => {
                self.error(Kind::BadValue, place, reason);
                return None;
            }
            None => {
                let reason = format!("\"{}\" is no request", text.escape_debug());
                let hint = "write \"GET http://example.com/path\"";
                self.error_hint(Kind::BadValue, place, reason, hint);
                return None;
            }
        };
        question.client = self.client(table)?;
        question.listener = table.text("listener").map(|text| text.text.to_owned());
        for named in table.map("headers") {
            let value = named.item.text()?;
            match (edits::field_name(&named.name), edits::field_value(value.text)) {
                (Ok(name), Ok(value)) => question.headers.push((name.into(), value.into())),
                (Err(fault), _) => self.fault(named.place, fault),
                (_, Err(fault)) => self.fault(value.place, fault),
            }
        }
        Some(question)
    }

    fn client(&mut self, table: &Table) -> Option<IpAddr> {
        let Some(Text { text, place }) = table.text("client") else { return Some(CLIENT) };
        let client = text.parse().ok();
        if client.is_none() {
            let reason = format!("\"{}\" is no IP address", text.escape_debug());
            self.error(Kind::BadValue, place, reason);
        }
        client
    }
}

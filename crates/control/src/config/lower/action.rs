//! What a route does: forward, redirect, respond.

use super::super::near::nearest;
use super::super::problem::{Kind, Problem};
use super::super::source::Place;
use super::super::tree::{Item, Table, Text, Value};
use super::edits::{self, Of};
use super::{Fault, Lower, matcher};
use gatehouse_core::message::Known;
use gatehouse_core::plan::{
    Forward, PathMode, Redirect, Respond, Split, Target, Template, Timeouts, UpstreamId,
};
use gatehouse_core::route::Rewrite;

/// Where nothing is said, a redirect is temporary and keeps the method: a permanent one cannot be
/// taken back from the browsers that saw it.
const REDIRECT_STATUS: u16 = 307;
const REDIRECT_STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

impl Lower<'_> {
    pub(super) fn forward(&mut self, name: &str, table: &Table) -> Option<Forward> {
        let target = self.target(name, table);
        let mode = matcher::path_mode(table);
        let rewrite = match table.table("rewrite") {
            Some(rewrite) => self.rewrite(rewrite, mode),
            None => Some(Rewrite::Keep),
        };
        let request_edits = self.edits(table.table("request-headers"), Of::Request);
        let timeouts = self.timeouts(table.table("timeout"));
        let deadline_field = table.table("timeout").and_then(|timeout| self.deadline(timeout));
        let bytes = table.bytes("buffer").unwrap_or(0);
        let buffer_bytes_max = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (target, rewrite) = (target?, rewrite?);
        let deadline = deadline_field;
        Some(Forward {
            target,
            rewrite,
            request_edits,
            timeouts,
            buffer_bytes_max,
            deadline_field: deadline,
        })
    }

    fn target(&mut self, name: &str, table: &Table) -> Option<Target> {
        let entry = table.entry("upstream")?;
        let id = match &entry.item.value {
            Value::Text(text) => self.find_upstream(Text { text, place: entry.item.place })?,
            Value::Table(upstream) => {
                let id = self.upstream(name, entry.place, upstream);
                self.upstream_used[id] = true;
                UpstreamId(id as u32)
            }
            Value::List(parts) => return self.split(parts, entry.item.place),
            _ => return None,
        };
        Some(Target::One(id))
    }

    fn find_upstream(&mut self, Text { text, place }: Text<'_>) -> Option<UpstreamId> {
        let id = self.upstreams.find(text, place, self.report)?;
        self.upstream_used[id] = true;
        Some(UpstreamId(id as u32))
    }

    fn split(&mut self, parts: &[Item], place: Place) -> Option<Target> {
        let before = self.report.errors();
        let mut weights: Vec<(UpstreamId, u32)> = Vec::with_capacity(parts.len());
        let mut broken = false;
        for table in parts.iter().map(Item::table) {
            let named = table.and_then(|table| Some((table.text("upstream")?, table)));
            let Some((name, table)) = named else {
                broken = true;
                continue;
            };
            let Some(id) = self.find_upstream(name) else { continue };
            if weights.iter().any(|(other, _)| *other == id) {
                let reason = format!("upstream {} is listed twice", name.text);
                self.error(Kind::Duplicate, name.place, reason);
            }
            let Some(weight) = table.count("weight") else {
                broken = true;
                continue;
            };
            weights.push((id, u32::try_from(weight).unwrap_or(u32::MAX)));
        }
        if broken || self.report.errors() > before {
            return None;
        }
        let split = Split::new(&weights).map(Target::Split);
        if split.is_none() {
            let reason = "no part of the split has a weight above 0";
            self.error_hint(Kind::BadValue, place, reason, "give one of them a weight");
        }
        split
    }

    fn rewrite(&mut self, table: &Table, mode: PathMode) -> Option<Rewrite> {
        let (strip, pattern, to) = (table.text("strip"), table.text("match"), table.text("to"));
        if let (Some(entry), true) = (table.entry("strip"), table.has("match") || table.has("to")) {
            let reason = "`strip` does not apply beside `match` and `to`";
            self.error_hint(Kind::NotApplicable, entry.place, reason, "choose one of them");
            return None;
        }
        if let Some(strip) = strip {
            return self.strip(strip, mode);
        }
        match (pattern, to) {
            (Some(pattern), Some(to)) => {
                let pattern = self.pattern(pattern, 0)?;
                let to = self.replacement(&pattern, to)?;
                Some(Rewrite::Replace { pattern, to })
            }
            _ if ["strip", "match", "to"].iter().any(|key| table.is_broken(key)) => None,
            _ => {
                let reason = "a rewrite needs `strip`, or `match` and `to`";
                let hint = "write { strip = \"/v1\" } or { match = \"^/dir(/.*)?$\", to = \"$1\" }";
                self.error_hint(Kind::Missing, table.place, reason, hint);
                None
            }
        }
    }

    fn strip(&mut self, Text { text, place }: Text<'_>, mode: PathMode) -> Option<Rewrite> {
        let bare = text.strip_suffix("/*").unwrap_or(text).trim_end_matches('/');
        let fault = if !text.starts_with('/') {
            Fault::bad(format!("\"{}\" does not start with a slash", text.escape_debug()))
                .hint(format!("write \"/{bare}\""))
        } else if bare.is_empty() {
            Fault::bad("there is nothing to strip").hint("leave `rewrite` out")
        } else if bare != text {
            let reason = format!("\"{}\" does not end at a segment", text.escape_debug());
            Fault::bad(reason).hint(format!("write \"{bare}\""))
        } else {
            match matcher::normal_path(text) {
                Err(fault) if mode == PathMode::Normal => fault,
                _ => return Some(Rewrite::Strip(text.into())),
            }
        };
        self.fault(place, fault);
        None
    }

    fn timeouts(&mut self, table: Option<&Table>) -> Timeouts {
        let usual = Timeouts::default();
        let Some(table) = table else { return usual };
        self.timeouts_that_contradict(table);
        Timeouts {
            total: table.duration("total"),
            connect: table.duration("connect").unwrap_or(usual.connect),
            first_byte: table.duration("first-byte").unwrap_or(usual.first_byte),
            idle: table.duration("idle").unwrap_or(usual.idle),
            tunnel: table.duration("tunnel").unwrap_or(usual.tunnel),
        }
    }

    /// The field that tells an endpoint how much time is left.
    fn deadline(&mut self, timeout: &Table) -> Option<Box<str>> {
        let Text { text, place } = timeout.text("header")?;
        if !timeout.means("total") {
            let reason = "`header` does nothing without total: there is no time to tell";
            self.error_hint(Kind::NotApplicable, place, reason, "add total = \"30s\"");
        }
        let name = self.edited_name(Text { text, place })?;
        if Known::of(name.as_bytes()) != Known::Other {
            let reason = format!("`{name}` has a meaning of its own");
            self.error_hint(Kind::BadValue, place, reason, "write \"x-request-timeout-ms\"");
        }
        Some(name)
    }

    pub(super) fn redirect(&mut self, table: &Table) -> Option<Redirect> {
        let status = match table.count("status") {
            Some(status) => {
                let known = REDIRECT_STATUSES.iter().find(|known| u64::from(**known) == status);
                if known.is_none() {
                    let place = table.item("status").map_or(table.place, |item| item.place);
                    let reason = format!("{status} is no redirect");
                    let hint = "one of 301, 302, 303, 307 and 308";
                    self.error_hint(Kind::BadValue, place, reason, hint);
                }
                *known?
            }
            None => REDIRECT_STATUS,
        };
        let Text { text, place } = table.text("to")?;
        match location(text) {
            Ok(to) => Some(Redirect { to, status }),
            Err(fault) => {
                self.fault(place, fault);
                None
            }
        }
    }

    pub(super) fn respond(&mut self, table: &Table) -> Option<Respond> {
        let status = table.count("status").and_then(|status| u16::try_from(status).ok());
        let status = status.unwrap_or(200);
        let body = table.text("body").map_or("", |body| body.text);
        if let (204 | 205 | 304, Some(entry), false) =
            (status, table.entry("body"), body.is_empty())
        {
            let reason = format!("an answer of status {status} has no body");
            self.report.add(Problem::error(Kind::NotApplicable, entry.place, reason));
        }
        if let Some(entry) =
            table.entry("content-type").filter(|_| body.is_empty() && !table.is_broken("body"))
        {
            let reason = "`content-type` does not apply to an answer without a body";
            self.error(Kind::NotApplicable, entry.place, reason);
        }
        let content_type = match table.text("content-type") {
            None => CONTENT_TYPE.into(),
            Some(Text { text, place }) => match edits::field_value(text) {
                Ok(value) if value.contains('/') => value,
                Ok(_) => {
                    let reason = format!("\"{}\" is no media type", text.escape_debug());
                    let hint = "write \"text/html\" or \"application/json\"";
                    self.error_hint(Kind::BadValue, place, reason, hint);
                    return None;
                }
                Err(fault) => {
                    self.fault(place, fault);
                    return None;
                }
            },
        };
        Some(Respond { status, body: body.as_bytes().into(), content_type })
    }
}

/// A `Location` with the request's own parts in it.
fn location(text: &str) -> Result<Template, Fault> {
    edits::field_value(text)?;
    if text.contains(' ') || !text.is_ascii() {
        let reason = format!("\"{}\" is no URL", text.escape_debug());
        return Err(Fault::bad(reason).hint("write spaces and non-ASCII letters as %20 and so on"));
    }
    let starts = ["http://", "https://", "/", "$scheme://", "$path"];
    if !starts.iter().any(|start| text.starts_with(start)) {
        let reason = format!("\"{}\" is no URL", text.escape_debug());
        return Err(Fault::bad(reason).hint("write \"https://example.com$path$query\""));
    }
    Template::compile(text).map_err(|fault| {
        let bad = Fault::bad(format!("`${}` is no part of a request", fault.name));
        let longest = Template::NAMES.into_iter().find(|name| fault.name.starts_with(name));
        bad.hint(match nearest(&fault.name, Template::NAMES).or(longest) {
            Some(near) => format!("did you mean `${near}`?"),
            None => "there are $scheme, $host, $path and $query".to_owned(),
        })
    })
}

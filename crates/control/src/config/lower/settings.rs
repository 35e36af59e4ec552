//! What holds for the whole gateway: workers, drain, admin, the access log.

use super::super::problem::Kind;
use super::super::source::Place;
use super::super::tree::{Entry, Table, Text};
use super::Lower;
use super::listener::port_missing;
use super::merge::Merged;
use gatehouse_core::overload::Ceilings;
use gatehouse_core::plan::{Bind, LogFormat};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// How long a stop waits where nothing is said.
const DRAIN: Duration = Duration::from_secs(30);

/// Where lines of the access log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTo {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of this file.
    File(PathBuf),
}

/// What holds for the whole gateway.
pub(super) struct Settings {
    pub(super) workers: Option<NonZeroUsize>,
    pub(super) drain: Duration,
    pub(super) admin: Option<SocketAddr>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) access_log: AccessTo,
    pub(super) access_log_place: Place,
    pub(super) ceilings: Ceilings,
}

impl Lower<'_> {
    pub(super) fn settings(&mut self, merged: &Merged<'_>) -> Settings {
        let of = |entry: Option<&Entry>| entry.map(|entry| entry.item.value.clone());
        let workers = match of(merged.workers) {
            Some(super::super::tree::Value::Count(count)) => usize::try_from(count).ok(),
            _ => None,
        };
        let drain = match of(merged.drain) {
            Some(super::super::tree::Value::Duration(duration)) => duration,
            _ => DRAIN,
        };
        let limits = merged.limits.and_then(|entry| entry.item.table());
        let connections = limits.and_then(|limits| limits.count("connections"));
        let admin = merged.admin.and_then(|entry| entry.item.table());
        let log = merged.log.and_then(|entry| entry.item.table());
        let (log_format, access_log) = self.access_log(log);
        let access_to = log.and_then(|log| log.table("access")?.text("to"));
        let access_log_place = access_to.map(|to| to.place).unwrap_or_default();
        Settings {
            workers: workers.and_then(NonZeroUsize::new),
            drain,
            admin: admin.and_then(|admin| self.admin(admin)),
            log_format,
            access_log,
            access_log_place,
            ceilings: Ceilings {
                memory_bytes: limits.and_then(|limits| limits.bytes("memory")),
                connections: connections.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
            },
        }
    }

    fn admin(&mut self, admin: &Table) -> Option<SocketAddr> {
        let Text { text, place } = admin.text("bind")?;
        let Ok(address) = text.parse::<SocketAddr>() else {
            let reason = format!("\"{}\" is no address and port", text.escape_debug());
            let hint = match port_missing(text) {
                true => format!("add a port: \"{text}:9900\""),
                false => "write \"127.0.0.1:9900\"".to_owned(),
            };
            self.error_hint(Kind::BadValue, place, reason, hint);
            return None;
        };
        if !address.ip().to_canonical().is_loopback() {
            let reason = format!(
                "the admin interface cannot listen on {address}: tokens are not in this version, \
                 so anybody could steer the gateway"
            );
            let hint = format!("write \"127.0.0.1:{}\"", address.port());
            self.error_hint(Kind::NotInThisVersion, place, reason, hint);
            return None;
        }
        self.taken(&Bind::Ip(address), place);
        Some(address)
    }

    fn access_log(&mut self, log: Option<&Table>) -> (Option<LogFormat>, AccessTo) {
        let access = log.and_then(|log| log.table("access"));
        let format = match access.and_then(|access| access.word("format")) {
            Some("combined") => Some(LogFormat::Combined),
            Some("off") => None,
            _ => Some(LogFormat::Json),
        };
        let to = access.and_then(|access| access.text("to"));
        if let (None, Some(to)) = (format, to) {
            let reason = "`to` does not apply where the format is \"off\"";
            self.error(Kind::NotApplicable, to.place, reason);
        }
        let to = match to {
            None | Some(Text { text: "stdout", .. }) => AccessTo::Stdout,
            Some(Text { text: "stderr", .. }) => AccessTo::Stderr,
            Some(Text { text: "", place }) => {
                self.error(Kind::BadValue, place, "the access log's file has no name");
                AccessTo::Stdout
            }
            Some(Text { text, place }) => AccessTo::File(self.sources.resolve(place, text)),
        };
        (format, to)
    }
}

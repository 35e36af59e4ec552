//! Settings of the whole gateway, compared.

use super::reload::Settled;
use crate::config::{AccessTo, RegisterSpec};
use gatehouse_core::plan::LogFormat;
use std::fmt::Display;
use std::sync::Arc;

/// A line for each setting that is different.
pub(super) fn changed(old: &Settled, new: &Settled) -> Vec<String> {
    let Settled { plan, workers, admin, access_log, register, prepared, .. } = new;
    let mut lines = Vec::new();
    let mut note = |name: &str, old: String, new: String| {
        if old != new {
            lines.push(format!("{name} {old} -> {new}"));
        }
    };
    note("workers", shown(old.workers, "one per core"), shown(*workers, "one per core"));
    note("admin.bind", shown(old.admin, "none"), shown(*admin, "none"));
    let seconds = |plan: &gatehouse_core::plan::Plan| format!("{:?}", plan.drain);
    note("drain", seconds(&old.plan), seconds(plan));
    let (was, is) = (old.plan.ceilings, plan.ceilings);
    let of = |bytes: Option<u64>| shown(bytes, "what is allowed");
    note("limits.memory", of(was.memory_bytes), of(is.memory_bytes));
    let of = |count: Option<u32>| shown(count, "what descriptors are enough for");
    note("limits.connections", of(was.connections), of(is.connections));
    note("log.access.to", target(&old.access_log), target(access_log));
    let format = |format: Option<LogFormat>| match format {
        None => "off".to_owned(),
        Some(LogFormat::Json) => "json".to_owned(),
        Some(LogFormat::Combined) => "combined".to_owned(),
    };
    note("log.access.format", format(old.plan.access_log), format(plan.access_log));
    note("register", announced(&old.register), announced(register));
    if *prepared != old.prepared {
        lines.push("certificates are others".to_owned());
    }
    lines
}

fn announced(register: &[Arc<RegisterSpec>]) -> String {
    let nodes: Vec<String> = register.iter().map(|spec| spec.node()).collect();
    if nodes.is_empty() { "nothing".to_owned() } else { nodes.join(", ") }
}

fn shown(value: Option<impl Display>, none: &str) -> String {
    value.map_or(none.to_owned(), |value| value.to_string())
}

fn target(to: &AccessTo) -> String {
    match to {
        AccessTo::Stdout => "stdout".to_owned(),
        AccessTo::Stderr => "stderr".to_owned(),
        AccessTo::File(path) => path.display().to_string(),
    }
}

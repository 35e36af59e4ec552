//! Upstreams: how their failures are met.

use super::super::problem::Kind;
use super::super::tree::{Table, Text, Value};
use super::super::units;
use super::{Fault, Lower};
use gatehouse_core::breaker::BreakerRule;
use gatehouse_core::concurrency::ConcurrencyRule;
use gatehouse_core::health::{Check, Condition, HealthRule};
use gatehouse_core::hedge::HedgeRule;
use gatehouse_core::outlier::OutlierRule;
use gatehouse_core::plan::{EndpointSpec, Retry, RetryStatuses, Speaks};
use gatehouse_core::queue::QueueRule;
use gatehouse_core::retry_budget::RetryBudget;
use std::ops::RangeInclusive;
use std::time::Duration;

impl Lower<'_> {
    pub(super) fn retry(&mut self, table: &Table) -> Retry {
        let usual = Retry::default();
        let Some(rule) = table.table("retry") else {
            let attempts = table.count("retry").map_or(usual.attempts, small);
            return Retry { attempts, ..usual };
        };
        let mut retry = Retry {
            attempts: rule.count("attempts").map_or(usual.attempts, small),
            try_timeout: rule.duration("try-timeout"),
            backoff: rule.duration("backoff").unwrap_or(usual.backoff),
            budget: RetryBudget {
                share: rule.number("budget").unwrap_or(usual.budget.share),
                ..usual.budget
            },
            ..usual
        };
        let Some(on) = rule.entry("on") else { return retry };
        let broken = on.item.value == Value::Broken;
        let listed = |word| rule.texts("on").any(|on| on.text == word) || broken;
        retry.on_connect = listed("connect");
        retry.on_reset = listed("reset");
        retry.on_timeout = listed("timeout");
        retry.on_unavailable = listed("unavailable");
        let statuses = rule.texts("on").filter_map(|on| on.text.parse().ok());
        retry.on_statuses = statuses.fold(RetryStatuses::NONE, RetryStatuses::with);
        if rule.list("on").is_empty() && !broken {
            let hint = "write `retry = 0` for no retries";
            self.error_hint(Kind::BadValue, on.item.place, "`on` lists nothing", hint);
        }
        retry
    }

    pub(super) fn health(&mut self, table: &Table, speaks: Speaks) -> Option<HealthRule> {
        let usual = HealthRule { speaks, ..usual_health() };
        if let Some(path) = table.text("health") {
            if speaks == Speaks::Grpc {
                let hint = "write health = { check = \"grpc\" }";
                let reason = "a path to ask for does not apply to protocol = \"grpc\"";
                self.error_hint(Kind::NotApplicable, path.place, reason, hint);
            }
            return Some(HealthRule { check: self.http_check(Some(path), None), ..usual });
        }
        let rule = table.table("health")?;
        let asked = match (rule.word("check"), speaks) {
            (Some(word), _) => word,
            (None, Speaks::Grpc) => "grpc",
            (None, _) => "http",
        };
        let of_http = ["path", "host", "status", "body"];
        let check = match asked {
            "connect" => {
                self.not_for_check(rule, &[&of_http[..], &["service"]].concat(), "connect");
                Check::Connect
            }
            "grpc" => {
                self.not_for_check(rule, &of_http, "grpc");
                self.grpc_check(rule, speaks)
            }
            _ => {
                self.not_for_check(rule, &["service"], "http");
                self.http_check(rule.text("path"), Some(rule))
            }
        };
        let health = HealthRule {
            speaks,
            announce: None,
            check,
            interval: rule.duration("interval").unwrap_or(usual.interval),
            timeout: rule.duration("timeout").unwrap_or(usual.timeout),
            unhealthy_after: rule.count("unhealthy-after").map_or(usual.unhealthy_after, small),
            healthy_after: rule.count("healthy-after").map_or(usual.healthy_after, small),
            start: match rule.word("start") {
                Some("unhealthy") => Condition::Unhealthy,
                Some(_) | None => Condition::Healthy,
            },
        };
        Some(health)
    }

    /// Keys of other checks.
    fn not_for_check(&mut self, rule: &Table, names: &[&str], check: &str) {
        for name in names {
            if let Some(entry) = rule.entry(name) {
                let reason = format!("`{name}` does not apply to check = \"{check}\"");
                let hint = "take it out, or write another check";
                self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
            }
        }
    }

    /// gRPC's own check (grpc.io, health-checking).
    fn grpc_check(&mut self, rule: &Table, speaks: Speaks) -> Check {
        if !speaks.is_http2() {
            let place = rule.entry("check").map_or(rule.place, |entry| entry.place);
            let reason = "check = \"grpc\" does not apply to endpoints that speak HTTP/1.1";
            let hint = "write protocol = \"grpc\"";
            self.error_hint(Kind::NotApplicable, place, reason, hint);
        }
        Check::Grpc { service: rule.text("service").map_or("", |service| service.text).into() }
    }

    fn http_check(&mut self, path: Option<Text<'_>>, rule: Option<&Table>) -> Check {
        if let Some(path) = path.filter(|path| !is_target(path.text)) {
            let reason = format!("\"{}\" is no path to ask for", path.text.escape_debug());
            let hint = "write a path that begins with /, without spaces: \"/healthz\"";
            self.error_hint(Kind::BadValue, path.place, reason, hint);
        }
        let host = rule.and_then(|rule| rule.text("host"));
        if let Some(host) = host.filter(|host| !is_host(host.text)) {
            let reason = format!("\"{}\" is no host", host.text.escape_debug());
            self.error_hint(Kind::BadValue, host.place, reason, "write \"api.internal\"");
        }
        let status = rule.and_then(|rule| rule.text("status"));
        let statuses = status.map_or(Ok(200..=299), |status| {
            statuses(status.text).map_err(|fault| self.fault(status.place, fault))
        });
        Check::Http {
            path: path.map_or("/", |path| path.text).into(),
            host: host.map(|host| host.text.into()),
            statuses: statuses.unwrap_or(200..=299),
            body: rule.and_then(|rule| rule.text("body")).map(|body| body.text.into()),
        }
    }

    pub(super) fn outlier(&mut self, table: &Table) -> Option<OutlierRule> {
        let usual = OutlierRule::default();
        let Some(rule) = table.table("outlier") else {
            return table.flag("outlier").unwrap_or(true).then_some(usual);
        };
        let outlier = OutlierRule {
            consecutive_errors: rule
                .count("consecutive-errors")
                .map_or(usual.consecutive_errors, narrow),
            error_rate: rule.number("error-rate"),
            requests_min: rule.count("min-requests").map_or(usual.requests_min, narrow),
            window: rule.duration("window").unwrap_or(usual.window),
            latency_factor: rule.number("latency-factor"),
            eject_for: rule.duration("eject-for").unwrap_or(usual.eject_for),
            ejected_max: rule.number("max-ejected").unwrap_or(usual.ejected_max),
            probes: rule.count("probes").map_or(usual.probes, narrow),
        };
        let windowed = rule.means("error-rate") || rule.means("latency-factor");
        for name in ["window", "min-requests"] {
            if let Some(entry) = rule.entry(name).filter(|_| !windowed) {
                let reason = format!("`{name}` does nothing without error-rate or latency-factor");
                self.error(Kind::NotApplicable, entry.place, reason);
            }
        }
        if outlier.consecutive_errors == 0 && !windowed && !rule.is_broken("consecutive-errors") {
            let hint = "write `outlier = false` to leave nobody out";
            self.error_hint(Kind::NotApplicable, rule.place, "`outlier` looks at nothing", hint);
        }
        Some(outlier)
    }

    pub(super) fn breaker(&mut self, table: &Table) -> Option<BreakerRule> {
        let rule = table.table("breaker")?;
        let usual = BreakerRule::default();
        let breaker = BreakerRule {
            in_flight_max: rule.count("max-in-flight").map(narrow),
            error_rate: rule.number("error-rate"),
            requests_min: rule.count("min-requests").map_or(usual.requests_min, narrow),
            window: rule.duration("window").unwrap_or(usual.window),
            open_for: rule.duration("open-for").unwrap_or(usual.open_for),
            probes: rule.count("probes").map_or(usual.probes, narrow),
        };
        for name in ["window", "min-requests", "open-for", "probes"] {
            if let Some(entry) = rule.entry(name).filter(|_| !rule.means("error-rate")) {
                let reason = format!("`{name}` does nothing without error-rate");
                let hint = "add error-rate = \"50%\", or take it out";
                self.error_hint(Kind::NotApplicable, entry.place, reason, hint);
            }
        }
        if !rule.means("max-in-flight") && !rule.means("error-rate") {
            let hint = "give it max-in-flight, error-rate or both";
            self.error_hint(Kind::NotApplicable, rule.place, "`breaker` does nothing", hint);
        }
        Some(breaker)
    }

    pub(super) fn concurrency(&mut self, table: &Table) -> Option<ConcurrencyRule> {
        let entry = table.entry("concurrency")?;
        let usual = ConcurrencyRule::default();
        let Some(rule) = table.table("concurrency") else { return Some(usual) };
        let max = rule.count("max").map_or(usual.max, narrow);
        let found = ConcurrencyRule {
            min: rule.count("min").map_or(usual.min.min(max), narrow),
            max,
            tolerance: rule.number("tolerance").unwrap_or(usual.tolerance),
        };
        if found.min > found.max {
            let reason = format!("min = {} is above max = {}", found.min, found.max);
            let hint = "the limit is looked for between the two";
            self.error_hint(Kind::BadValue, entry.place, reason, hint);
        }
        Some(found)
    }

    pub(super) fn hedge(&mut self, table: &Table, speaks: Speaks) -> Option<HedgeRule> {
        let written = table.text("hedge")?;
        let refused = match speaks {
            Speaks::Grpc => Some(("protocol = \"grpc\": calls may not be sent twice", "")),
            Speaks::Http1 | Speaks::Http2 | Speaks::Tcp => table.has("proxy-protocol").then_some((
                "`proxy-protocol`: a connection is its client's alone",
                ", or the other",
            )),
        };
        if let Some((beside, other)) = refused {
            let reason = format!("`hedge` does not apply beside {beside}");
            let hint = format!("take it out{other}");
            self.error_hint(Kind::NotApplicable, written.place, reason, hint);
        }
        if table.list("endpoints").len() == 1 && endpoint_is_one(table) {
            let reason = "`hedge` does nothing: there is no second endpoint";
            self.error_hint(Kind::NotApplicable, written.place, reason, "add one, or take it out");
        }
        match hedge_rule(written.text) {
            Ok(rule) => Some(rule),
            Err(fault) => {
                self.fault(written.place, fault);
                None
            }
        }
    }

    pub(super) fn queue(&mut self, table: &Table, endpoints: &[EndpointSpec]) -> Option<QueueRule> {
        let rule = table.table("queue")?;
        let usual = Duration::from_secs(1);
        let found = table.table("discovery");
        let capped = endpoints.iter().any(|endpoint| endpoint.connections_max.is_some())
            || found.is_some_and(|found| found.means("max-connections"));
        let limited = table.table("breaker").is_some_and(|breaker| breaker.means("max-in-flight"));
        if !capped && !limited && !table.means("concurrency") {
            let reason = "`queue` does nothing: nothing limits what is in flight";
            let hint = "give endpoints max-connections, or write concurrency = \"adaptive\" or \
                        breaker = { max-in-flight = 1000 }";
            self.error_hint(Kind::NotApplicable, rule.place, reason, hint);
        }
        Some(QueueRule {
            waiting_max: narrow(rule.count("max")?),
            timeout: rule.duration("timeout").unwrap_or(usual),
        })
    }
}

/// Whether the only endpoint is one for certain: a name may stand for several addresses.
fn endpoint_is_one(table: &Table) -> bool {
    let only = table.list("endpoints").first();
    let text = only.and_then(|item| item.table().map_or(item.text(), |own| own.text("address")));
    text.is_some_and(|text| text.text.parse::<std::net::SocketAddr>().is_ok())
}

fn hedge_rule(text: &str) -> Result<HedgeRule, Fault> {
    let bad = |reason: String| Fault::bad(reason).hint("write \"p95\" or \"50ms\"");
    if let Some(percent) = text.strip_prefix('p') {
        let percent = percent.parse::<f64>().ok();
        let fits = percent.filter(|percent| (50.0..=99.9).contains(percent));
        let reason = || format!("\"{}\" is no percentile from p50 to p99.9", text.escape_debug());
        let rule = fits.map(|percent| HedgeRule::Percentile(percent / 100.0));
        return rule.ok_or_else(|| bad(reason()));
    }
    let after = units::duration(text);
    let after = after.ok().filter(|after| (HEDGE_MIN..=HEDGE_MAX).contains(after));
    let reason =
        || format!("\"{}\" is neither a percentile nor a time of 1ms to 1h", text.escape_debug());
    after.map(HedgeRule::After).ok_or_else(|| bad(reason()))
}

/// The least and the most that a second endpoint may be waited with.
const HEDGE_MIN: Duration = Duration::from_millis(1);
const HEDGE_MAX: Duration = Duration::from_secs(3600);

/// A count that its shape keeps within a byte.
fn small(count: u64) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// A count that its shape keeps within 32 bits.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn usual_health() -> HealthRule {
    HealthRule {
        announce: None,
        check: Check::Connect,
        speaks: Speaks::default(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        unhealthy_after: 2,
        healthy_after: 1,
        start: Condition::Healthy,
    }
}

fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

fn is_host(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

fn statuses(text: &str) -> Result<RangeInclusive<u16>, Fault> {
    let status =
        |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(Fault::bad(format!("\"{}\" is no range of statuses", text.escape_debug()))
            .hint("write \"200\" or \"200-399\"")),
    }
}

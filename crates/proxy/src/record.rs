//! Step 12, record: counters, the access log, everything given back. It cannot fail.

use crate::client::Client;
use crate::date::{Civil, since_epoch};
use crate::forwarded::client_text;
use crate::log::Format;
use crate::trace::Trace;
use crate::worker::Worker;
use gatehouse_core::failure::Side;
use gatehouse_core::message::{Known, RequestHead, Version};
use gatehouse_wire::timer::now;
use std::io::Write;
use std::time::Duration;

/// Counts an exchange and writes its line.
pub(crate) fn record(worker: &Worker, client: &Client, head: &RequestHead, trace: &Trace) {
    let took = now().since(trace.started);
    let view = trace.view.clone().unwrap_or_else(|| worker.view());
    let meter = view.meter(&worker.meters, trace.route);
    meter.classes[usize::from(trace.status / 100).min(5)].add(1);
    meter.latency.observe(took);
    meter.received_bytes.add(trace.received_bytes);
    meter.sent_bytes.add(trace.sent_bytes);
    meter.retries.add(u64::from(trace.attempts.saturating_sub(1)));
    if let Some(failure) = trace.failure {
        let side = match failure.side() {
            Side::Client => 0,
            Side::Upstream => 1,
            Side::Gateway => 2,
        };
        meter.failures[side].add(1);
    }
    let Some(log) = worker.log.as_ref().filter(|_| view.plan.access_log) else { return };
    let entry = Entry { client, head, trace, took };
    let lost = log.line(|out| match log.format {
        Format::Json => entry.json(out),
        Format::Combined => entry.combined(out),
    });
    worker.meters.log_lines_lost.add(lost);
}

struct Entry<'a> {
    client: &'a Client,
    head: &'a RequestHead,
    trace: &'a Trace,
    took: Duration,
}

/// Appends formatted text; writing to a Vec cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => { drop(write!($out, $($format)*)) };
}

impl Entry<'_> {
    fn json(&self, out: &mut Vec<u8>) {
        let Entry { client, head, trace, took } = self;
        out.extend_from_slice(b"{\"time\":\"");
        put_time(out);
        put!(out, "\",\"id\":\"{:016x}\"", trace.id);
        put_text(out, "client", client_text(client, head));
        put_text(out, "method", head.text(head.method_text));
        put_text(out, "host", head.text(head.authority));
        put_text(out, "path", head.text(head.raw_path));
        if let Some(query) = head.query {
            put_text(out, "query", head.text(query));
        }
        put!(out, ",\"status\":{},\"duration_ms\":{}", trace.status, Millis(*took));
        if let Some(answered) = trace.answered {
            let waited = answered.since(trace.read.unwrap_or(trace.started));
            put!(out, ",\"upstream_ms\":{}", Millis(waited));
        }
        put!(out, ",\"received\":{},\"sent\":{}", trace.received_bytes, trace.sent_bytes);
        self.put_path(out);
        if let Some(failure) = trace.failure {
            let facts = failure.kind.facts();
            put!(out, ",\"failure\":\"{}\",\"step\":\"{}\"", facts.word, failure.step.word());
            put!(out, ",\"side\":\"{}\"", facts.side.word());
            put_text(out, "detail", failure.detail.as_bytes());
        }
        if let Some(agent) = head.fields.get(Known::UserAgent) {
            put_text(out, "user_agent", agent);
        }
        out.extend_from_slice(b"}\n");
    }

    /// Route, upstream and endpoint, as far as the exchange got.
    fn put_path(&self, out: &mut Vec<u8>) {
        let trace = self.trace;
        let Some(view) = &trace.view else { return };
        if let Some(route) = trace.route {
            put_text(out, "route", view.plan.route(route).name.as_bytes());
        }
        if let Some(upstream) = trace.upstream {
            put_text(out, "upstream", view.plan.upstream(upstream).name.as_bytes());
            if let Some(endpoint) = trace.endpoint {
                let endpoint = view.upstream(upstream).endpoints.get(endpoint);
                put_text(out, "endpoint", endpoint.text.as_bytes());
            }
            put!(out, ",\"attempts\":{},\"reused\":{}", trace.attempts, trace.reused);
        }
    }

    fn combined(&self, out: &mut Vec<u8>) {
        let Entry { client, head, trace, .. } = self;
        out.extend_from_slice(client_text(client, head));
        let Civil { year, day, hour, minute, second, .. } = Civil::of(since_epoch().as_secs());
        let month = Civil::of(since_epoch().as_secs()).month_name();
        put!(out, " - - [{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000] \"");
        escape_hex(out, head.text(head.method_text));
        out.push(b' ');
        escape_hex(out, head.text(head.raw_path));
        if let Some(query) = head.query {
            out.push(b'?');
            escape_hex(out, head.text(query));
        }
        let version = if head.version == Version::Http10 { "1.0" } else { "1.1" };
        put!(out, " HTTP/{version}\" {} {} \"", trace.status, trace.sent_bytes);
        escape_hex(out, head.fields.get(Known::Referer).unwrap_or(b"-"));
        out.extend_from_slice(b"\" \"");
        escape_hex(out, head.fields.get(Known::UserAgent).unwrap_or(b"-"));
        out.extend_from_slice(b"\"\n");
    }
}

/// A duration in milliseconds with three decimals.
struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = self.0.as_micros();
        write!(f, "{}.{:03}", us / 1000, us % 1000)
    }
}

/// RFC 3339, UTC, milliseconds.
fn put_time(out: &mut Vec<u8>) {
    let time = since_epoch();
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(time.as_secs());
    put!(
        out,
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        time.subsec_millis()
    );
}

fn put_text(out: &mut Vec<u8>, key: &str, text: &[u8]) {
    put!(out, ",\"{key}\":\"");
    escape_json(out, text);
    out.push(b'"');
}

/// JSON's escapes (RFC 8259 section 7) for everything that is not plain ASCII; a byte that is
/// none becomes the code point of its value, so that no line can be broken or forged.
fn escape_json(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => put!(out, "\\u{byte:04x}"),
        }
    }
}

/// nginx's `\xHH` for quotes, backslashes and everything that is not plain ASCII.
fn escape_hex(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => put!(out, "\\x{byte:02X}"),
            b' '..=b'~' => out.push(byte),
            _ => put!(out, "\\x{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_break_or_forge_a_line() {
        let mut out = Vec::new();
        escape_json(&mut out, b"a\"b\\c\r\n\x1b[31m\xff");
        assert_eq!(out, br#"a\"b\\c\u000d\u000a\u001b[31m\u00ff"#);
        out.clear();
        escape_hex(&mut out, b"a\"b\n\x1b");
        assert_eq!(out, br"a\x22b\x0A\x1B");
    }

    #[test]
    fn durations_are_milliseconds_with_three_decimals() {
        assert_eq!(Millis(Duration::from_micros(12_034)).to_string(), "12.034");
    }
}

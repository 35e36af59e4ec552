//! Answers of the gateway's own, as bytes: failures, redirects, fixed answers.

use crate::client::Client;
use crate::grpc;
use crate::route::allowed;
use crate::trace::Trace;
use crate::worker::{Heads, Worker};
use gatehouse_core::failure::{Facts, Failure, Kind};
use gatehouse_core::message::{Known, Method, Version};
use gatehouse_core::plan::Edits;
use gatehouse_wire::h1::encode;
use gatehouse_wire::timer::now;
use std::io::Write;
use std::time::Duration;

/// What an answer says.
pub(crate) struct Content<'a> {
    pub status: u16,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// Whether the client is told that the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Keep,
    Close,
}

/// Starts an answer: the fields that all of the gateway's own have.
pub(crate) fn begin(worker: &Worker, heads: &mut Heads, content: &Content<'_>) {
    let answer = &mut heads.answer;
    answer.clear();
    answer.status = content.status;
    answer.reason = answer.fields.note(encode::reason(content.status).as_bytes());
    answer.fields.append_known(Known::Date, b"Date: ", |line| {
        worker.calendar.write_http(now(), line);
    });
    if !matches!(content.status, 204 | 304) {
        if !content.content_type.is_empty() {
            answer.fields.append(b"Content-Type", content.content_type.as_bytes());
        }
        let length = content.body.len();
        // Writing to a Vec cannot fail.
        answer.fields.append_with(b"Content-Length", |line| drop(write!(line, "{length}")));
    }
}

/// Last it: the route's edits, the connection's fate, head and body as one text. Over HTTP/2 the
/// text is the body alone: the head goes beside it.
pub(crate) fn finish(
    heads: &mut Heads,
    edits: Option<&Edits>,
    ending: Ending,
    body: &[u8],
    out: &mut Vec<u8>,
) {
    let fields = &mut heads.answer.fields;
    if let Some(edits) = edits {
        edits.apply(fields);
    }
    match (ending, heads.request.version) {
        (_, Version::Http2) | (Ending::Keep, Version::Http11) => {}
        (Ending::Close, _) => fields.append(b"Connection", b"close"),
        (Ending::Keep, Version::Http10) => fields.append(b"Connection", b"keep-alive"),
    }
    if heads.request.version != Version::Http2 {
        encode::response(&heads.answer, out);
    }
    let bodiless =
        heads.request.method() == Method::Head || matches!(heads.answer.status, 204 | 304);
    if !bodiless {
        out.extend_from_slice(body);
    }
}

/// Writes a failure's answer, without its end: status, `Proxy-Status`, a short body in the form
/// the client prefers.
pub(crate) fn failure(
    worker: &Worker,
    client: &Client,
    heads: &mut Heads,
    failure: Failure,
    trace: &Trace,
    body: &mut Vec<u8>,
) {
    if let Some(call) = trace.call {
        // An answer that is nothing but its head (grpc.io, PROTOCOL-HTTP2, Trailers-Only).
        begin(worker, heads, &Content { status: 200, content_type: call.content_type(), body });
        if heads.request.version == Version::Http2 {
            heads.answer.fields.remove(Known::ContentLength);
        }
        return grpc::write_status(failure, trace.id, &mut heads.answer.fields);
    }
    let facts = failure.kind.facts();
    let json = heads.request.fields.all(Known::Accept).any(prefers_json);
    write_body(failure, facts, trace.id, json, body);
    let content_type = if json { "application/json" } else { "text/plain; charset=utf-8" };
    begin(worker, heads, &Content { status: facts.status, content_type, body });
    let id = trace.id;
    heads.answer.fields.append_with(b"Proxy-Status", |line| {
        let token = facts.proxy_status;
        drop(write!(line, "gatehouse; error={token}; details=\"{failure}; exchange {id:016x}\""));
    });
    if let Some(seconds) = retry_after(failure.kind, trace) {
        let text = |line: &mut Vec<u8>| drop(write!(line, "{seconds}"));
        heads.answer.fields.append_with(b"Retry-After", text);
    }
    if failure.kind == Kind::MethodNotAllowed
        && let Some(view) = &trace.view
    {
        let allow = allowed(view, client, &heads.request);
        heads.answer.fields.append_with(b"Allow", |line| {
            for (at, method) in allow.iter().enumerate() {
                line.extend_from_slice(if at > 0 { b", " } else { b"" });
                line.extend_from_slice(method.text().as_bytes());
            }
        });
    }
}

/// After how many seconds it is worth asking again (RFC 9110 section 10.2.3), where the gateway
/// turns somebody away for now.
fn retry_after(kind: Kind, trace: &Trace) -> Option<u64> {
    let plan = || Some(trace.view.as_ref()?.plan.upstream(trace.upstream?));
    let wait = match kind {
        Kind::BreakerOpen => plan()?.breaker?.open_for,
        Kind::QueueFull | Kind::QueueTimeout => plan()?.queue?.timeout,
        Kind::UpstreamAtCap | Kind::EndpointsAtCap => Duration::ZERO,
        Kind::Overloaded | Kind::OutOfSockets => Duration::ZERO,
        _ => return None,
    };
    Some(wait.as_secs_f64().ceil().max(1.0) as u64)
}

fn write_body(failure: Failure, facts: Facts, id: u64, json: bool, body: &mut Vec<u8>) {
    let Facts { status, word, .. } = facts;
    let reason = encode::reason(status);
    // Writing to a Vec cannot fail. The texts are the gateway's own and need no escaping.
    drop(if json {
        writeln!(
            body,
            "{{\"status\":{status},\"error\":\"{word}\",\"message\":\"{failure}\",\
             \"exchange\":\"{id:016x}\"}}"
        )
    } else {
        writeln!(body, "{status} {reason}: {failure} (exchange {id:016x})")
    });
}

/// Whether JSON comes before anything a person would rather read.
fn prefers_json(accept: &[u8]) -> bool {
    let first = |word: &[u8]| accept.windows(word.len()).position(|window| window == word);
    match (first(b"json"), first(b"text/")) {
        (Some(json), Some(text)) => json < text,
        (json, _) => json.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_those_who_ask_for_it_first() {
        for (accept, expected) in [
            (&b"application/json"[..], true),
            (b"application/problem+json, text/html", true),
            (b"text/html, application/json;q=0.9", false),
            (b"*/*", false),
        ] {
            assert_eq!(prefers_json(accept), expected);
        }
    }
}

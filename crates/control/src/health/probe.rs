//! One check of one endpoint.

use crate::client::{Answer, Door, NoAnswer, fetch, knock};
use crate::client_http2::{Question, ask};
use gatehouse_core::endpoints::Endpoint;
use gatehouse_core::health::{Check, HealthRule, Verdict};
use gatehouse_core::message::Method;
use gatehouse_core::plan::ProxyVersion;
use gatehouse_wire::proxy_header::{Header, Version};
use gatehouse_wire::tls::ClientSide;
use gatehouse_wire::{DialError, Net};

/// Bytes of a body that are looked at.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Asks an endpoint; says what it found where the check did not pass.
pub(super) async fn probe(
    net: &Net,
    endpoint: &Endpoint,
    side: Option<&ClientSide>,
    rule: &HealthRule,
) -> Found {
    let first = header(rule);
    let (address, name) = (&endpoint.address, endpoint.tls.as_deref());
    let door = Door { net, address, name, first: &first, side };
    match &rule.check {
        Check::Grpc { service } => {
            let message = check_message(service);
            let question = Question {
                method: Method::Post,
                path: "/grpc.health.v1.Health/Check",
                authority: &endpoint.authority,
                fields: &[("content-type", "application/grpc"), ("user-agent", "gatehouse-health")],
                body: &message,
            };
            judge_grpc(ask(&door, &question, ANSWER_BYTES_MAX, rule.timeout).await)
        }
        Check::Connect => match knock(&door, rule.timeout).await {
            Ok(()) => Found::passed(),
            Err(why) => Found::unanswered(why),
        },
        Check::Http { path, host, statuses, body } => {
            let host = host.as_deref().unwrap_or(&endpoint.authority);
            let base = &endpoint.base_path;
            let most = if body.is_some() { BODY_BYTES_MAX } else { 0 };
            if rule.speaks.is_http2() {
                let question = Question {
                    method: Method::Get,
                    path: &format!("{base}{path}"),
                    authority: host,
                    fields: &[("user-agent", "gatehouse-health"), ("accept", "*/*")],
                    body: b"",
                };
                let answer = ask(&door, &question, most, rule.timeout).await;
                let answer = answer.map(|(answer, _)| (answer.status, answer.body));
                return judge(answer, statuses, body.as_deref());
            }
            let request = format!(
                "GET {base}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gatehouse-health\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            );
            let answer = fetch(&door, &request, most, rule.timeout).await;
            judge(answer.map(|answer| (answer.status, answer.body)), statuses, body.as_deref())
        }
    }
}

/// Bytes of a `HealthCheckResponse` with its frame that are looked at.
const ANSWER_BYTES_MAX: usize = 1024;

/// A `HealthCheckRequest` in its frame: field 1 is the service's name.
fn check_message(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        // Base 128, the lower digits first.
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &message].concat()
}

/// What a gRPC health check came to.
fn judge_grpc(answer: Result<(Answer, Option<String>), NoAnswer>) -> Found {
    // SERVING is 1 in field 1.
    const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 1];
    match answer {
        Err(why) => Found::unanswered(why),
        Ok((answer, _)) if answer.status != 200 => {
            Found::failed(format!("status {}", answer.status))
        }
        Ok((_, Some(status))) if status != "0" => match status.as_str() {
            "5" => Found::failed("it does not know the service".to_owned()),
            "12" => Found::failed("it does not offer grpc.health.v1".to_owned()),
            _ => Found::failed(format!("grpc-status {}", status.escape_debug())),
        },
        Ok((answer, _)) if answer.body == SERVING => Found::passed(),
        Ok(_) => Found::failed("it is not serving".to_owned()),
    }
}

/// What every connection to the endpoint starts with: a check is nobody's but the gateway's own.
fn header(rule: &HealthRule) -> Vec<u8> {
    let version = match rule.announce {
        None => return Vec::new(),
        Some(ProxyVersion::V1) => Version::V1,
        Some(ProxyVersion::V2) => Version::V2,
    };
    Header::local(version).bytes().to_vec()
}

/// What a check came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// `None` where nobody was asked: that says nothing of the endpoint.
    pub verdict: Option<Verdict>,
    /// Why it did not pass.
    pub why: String,
}

impl Found {
    fn passed() -> Found {
        Found { verdict: Some(Verdict::Passed), why: String::new() }
    }

    fn failed(why: String) -> Found {
        Found { verdict: Some(Verdict::Failed), why }
    }

    /// Of a check that came to no answer: the endpoint's fault, unless this machine had no room to
    /// ask it.
    fn unanswered(why: NoAnswer) -> Found {
        let nobody_asked = why == NoAnswer::Dial(DialError::Exhausted);
        let verdict = (!nobody_asked).then_some(Verdict::Failed);
        Found { verdict, why: why.to_string() }
    }
}

fn judge(
    answer: Result<(u16, Vec<u8>), NoAnswer>,
    statuses: &std::ops::RangeInclusive<u16>,
    wanted: Option<&str>,
) -> Found {
    match answer {
        Err(why) => Found::unanswered(why),
        Ok((status, _)) if !statuses.contains(&status) => Found::failed(format!("status {status}")),
        Ok((_, body)) => match wanted {
            Some(wanted) if !holds(&body, wanted.as_bytes()) => {
                Found::failed(format!("its body does not hold \"{}\"", wanted.escape_debug()))
            }
            Some(_) | None => Found::passed(),
        },
    }
}

fn holds(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|part| part == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_health_message_is_framed_and_its_name_counted() {
        assert_eq!(check_message(""), [0, 0, 0, 0, 0]);
        assert_eq!(check_message("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = check_message(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn only_serving_passes_a_grpc_check() {
        let serving = &[0, 0, 0, 0, 2, 8, 1][..];
        let not_serving = &[0, 0, 0, 0, 2, 8, 2][..];
        for (status, body, grpc, why) in [
            (200, serving, Some("0"), ""),
            (200, not_serving, Some("0"), "it is not serving"),
            (200, &[], Some("0"), "it is not serving"),
            (200, &[], Some("12"), "it does not offer grpc.health.v1"),
            (200, &[], Some("5"), "it does not know the service"),
            (200, serving, Some("14"), "grpc-status 14"),
            (503, &[], None, "status 503"),
        ] {
            let answer = Answer { status, body: body.to_vec() };
            assert_eq!(judge_grpc(Ok((answer, grpc.map(str::to_owned)))).why, why);
        }
    }

    #[test]
    fn status_and_body_decide() {
        let ok = || Ok((200, b"all is ok".to_vec()));
        for (answer, wanted, why) in [
            (ok(), None, ""),
            (ok(), Some("ok"), ""),
            (ok(), Some(""), ""),
            (ok(), Some("well"), "its body does not hold \"well\""),
            (Ok((503, vec![])), None, "status 503"),
            (Err(NoAnswer::Closed), None, "closed before its answer ended"),
        ] {
            let found = judge(answer, &(200..=299), wanted);
            assert_eq!(found.why, why);
            assert_eq!(found.verdict == Some(Verdict::Passed), why.is_empty());
        }
    }

    #[test]
    fn what_could_not_be_asked_says_nothing_of_an_endpoint() {
        for (why, verdict) in [
            (NoAnswer::Dial(DialError::Exhausted), None),
            (NoAnswer::Dial(DialError::Refused), Some(Verdict::Failed)),
            (NoAnswer::TimedOut(Duration::ZERO), Some(Verdict::Failed)),
        ] {
            assert_eq!(judge(Err(why), &(200..=299), None).verdict, verdict, "{why}");
            assert_eq!(judge_grpc(Err(why)).verdict, verdict, "{why}");
        }
    }
}

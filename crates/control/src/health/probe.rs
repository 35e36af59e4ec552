//! One check of one endpoint.

use crate::client::{Door, NoAnswer, fetch, knock};
use gatehouse_core::endpoints::Endpoint;
use gatehouse_core::health::{Check, HealthRule, Verdict};
use gatehouse_core::plan::ProxyVersion;
use gatehouse_wire::Net;
use gatehouse_wire::proxy_header::{Header, Version};
use gatehouse_wire::tls::ClientSide;

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
        Check::Connect => match knock(&door, rule.timeout).await {
            Ok(()) => Found::passed(),
            Err(why) => Found::failed(why.to_string()),
        },
        Check::Http { path, host, statuses, body } => {
            let host = host.as_deref().unwrap_or(&endpoint.authority);
            let base = &endpoint.base_path;
            let request = format!(
                "GET {base}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gatehouse-health\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            );
            let most = if body.is_some() { BODY_BYTES_MAX } else { 0 };
            let answer = fetch(&door, &request, most, rule.timeout).await;
            judge(answer.map(|answer| (answer.status, answer.body)), statuses, body.as_deref())
        }
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
    pub verdict: Verdict,
    /// Why it did not pass.
    pub why: String,
}

impl Found {
    fn passed() -> Found {
        Found { verdict: Verdict::Passed, why: String::new() }
    }

    fn failed(why: String) -> Found {
        Found { verdict: Verdict::Failed, why }
    }
}

fn judge(
    answer: Result<(u16, Vec<u8>), NoAnswer>,
    statuses: &std::ops::RangeInclusive<u16>,
    wanted: Option<&str>,
) -> Found {
    match answer {
        Err(why) => Found::failed(why.to_string()),
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
            assert_eq!(found.verdict == Verdict::Passed, why.is_empty());
        }
    }
}

//! Consul: endpoints are the instances of a service, by its health API and blocking queries.

mod talk;

use super::failures::Failures;
use super::found::{Found, Problem, Set};
use super::reports::Reports;
use crate::caller::{Bounds, Caller, Question, Reply, pace};
use crate::config::{Checks, ConsulSource, endpoint_address};
use gatehouse_core::chance::Chance;
use gatehouse_wire::timer::now;
use std::time::Duration;
use talk::{Instance, Listed, next_index, read_health};

/// How long a query waits for a change.
const WAIT: Duration = Duration::from_secs(15);

/// How long an answer may take: Consul adds up to a sixteenth of the wait, and the way is long.
const ANSWER_MOST: Duration = Duration::from_secs(WAIT.as_secs() + WAIT.as_secs() / 16 + 5);

/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Between two questions, however fast they are answered.
const SPACING: Duration = Duration::from_millis(100);

/// The same where an answer that could have waited came at once with nothing new.
const SPACING_IDLE: Duration = Duration::from_secs(1);

/// Characters of somebody's words that are shown.
const WORDS_MAX: usize = 200;

/// Why somebody is refused.
enum Refused {
    /// He may not.
    Forbidden(String),
    /// Anything else.
    Other(String),
}

/// Follows the instances of a service.
pub(super) async fn follow(source: ConsulSource, reports: Reports, chance: Chance) {
    let mut caller = Caller::new(vec![source.server.clone()], 0, source.tls.clone());
    let mut failures = Failures::new(chance);
    let mut index = None;
    loop {
        let asked = now();
        let answered = match ask(&mut caller, &source, index).await {
            Ok(reply) => {
                let came = now();
                let read = understand(caller.url(), &source, &reply);
                read.map(|(set, at)| {
                    reports.found(set);
                    (at, came)
                })
            }
            Err(refused) => Err(refused),
        };
        match answered {
            Ok((at, came)) => {
                let next = next_index(index, at);
                let idle = next == index || next.is_none();
                index = next;
                // Whoever has waited may ask again at once.
                let waited = came.since(asked);
                let least = if idle { SPACING_IDLE } else { SPACING };
                pace(least.saturating_sub(waited), now().since(came)).await;
            }
            Err(refused) => {
                // What it says next may be of another state.
                index = None;
                match refused {
                    Refused::Forbidden(why) => {
                        reports.failed(why);
                        failures.wait().await;
                    }
                    Refused::Other(why) => {
                        reports.failed(why);
                        failures.wait_a_little().await;
                    }
                }
            }
        }
    }
}

/// Asks who is there: at once, or once that is another than at `index`.
async fn ask(
    caller: &mut Caller,
    source: &ConsulSource,
    index: Option<u64>,
) -> Result<Reply, Refused> {
    let token = source.token.as_ref().map(|token| token.reveal()).transpose();
    let token = token.map_err(Refused::Other)?;
    let fields: Vec<(&str, &str)> =
        token.iter().map(|token| ("X-Consul-Token", token.as_str())).collect();
    let bounds = Bounds { bytes_max: ANSWER_BYTES_MAX, most: ANSWER_MOST };
    let path = source.path(index, WAIT);
    let question = Question { method: "GET", path: &path, fields: &fields, body: b"" };
    let answered = match caller.ask_kept(&question, bounds).await {
        Some(answered) => answered,
        None => {
            // Whoever answers now may be another, to whom the same index means something else.
            let path = source.path(None, WAIT);
            let question = Question { path: &path, ..question };
            caller.ask(&question, bounds).await
        }
    };
    answered.map_err(|why| Refused::Other(why.to_string()))
}

/// Who is there, and at which index.
fn understand(url: &str, source: &ConsulSource, reply: &Reply) -> Result<(Set, u64), Refused> {
    let said = |why: &str| Refused::Other(format!("{url}: service {}: {why}", source.service));
    if reply.head.status != 200 {
        return Err(refusal(url, source, reply));
    }
    let at = reply.field("x-consul-index").and_then(|index| index.parse().ok());
    let at = at.ok_or_else(|| said("its answer has no X-Consul-Index: is it Consul?"))?;
    let text = reply.text().map_err(said)?;
    let listed = read_health(text, source.checks).map_err(|why| said(&why))?;
    let filtered = reply.field("x-consul-results-filtered-by-acls") == Some("true");
    Ok((set(source, listed, filtered), at))
}

fn refusal(url: &str, source: &ConsulSource, reply: &Reply) -> Refused {
    let words = String::from_utf8_lossy(&reply.body);
    let shown: String = words.trim().chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
    let (service, status) = (&source.service, reply.head.status);
    let why = format!("{url}: service {service}: status {status}: {shown}");
    match status {
        401 | 403 => {
            let token = match source.token {
                Some(_) => "its token is wrong, or may not read the service and its nodes",
                None => "it wants a token; set `token`",
            };
            Refused::Forbidden(format!("{why}: {token}"))
        }
        _ => Refused::Other(why),
    }
}

/// The endpoints that some instances are.
fn set(source: &ConsulSource, listed: Listed, filtered: bool) -> Set {
    let service = || format!("service {}", source.service);
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let complaints = listed.complaints.into_iter();
    problems.extend(complaints.map(|why| Problem { at: service(), why }));
    if listed.instances.is_empty() {
        let which = match source.checks {
            Checks::Passing => "that passes its checks",
            Checks::NotCritical => "whose checks are not critical",
        };
        let rights = if filtered { ", or none that this token may see" } else { "" };
        let why = format!("there is no instance {which}{rights}");
        problems.push(Problem { at: service(), why });
    }
    for instance in listed.instances {
        match endpoint(&instance) {
            Ok(one) => found.push(one),
            Err(why) => {
                let at = format!("{}, instance {}", service(), instance.id);
                problems.push(Problem { at, why });
            }
        }
    }
    Set::new(found, problems)
}

fn endpoint(instance: &Instance) -> Result<Found, String> {
    let Instance { id: _, host, port, weight, zone, metadata } = instance;
    let text = match host.contains(':') {
        true => format!("[{}]:{port}", host.trim_matches(['[', ']'])),
        false => format!("{host}:{port}"),
    };
    let metadata =
        metadata.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    Ok(Found {
        weight: *weight,
        zone: zone.as_deref().map(Into::into),
        metadata: metadata.collect(),
        ..Found::at(endpoint_address(&text)?)
    })
}

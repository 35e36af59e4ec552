//! What happens to a request once its route is known.

use super::edits::Edits;
use super::upstream::UpstreamId;
use crate::chance::Chance;
use crate::queue::Priority;
use crate::route::Rewrite;
use std::time::Duration;

/// A route's place in its Plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// Which form of the path a route sees and sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathMode {
    /// The normal form of RFC 3986 section 6.2.2; what has none is refused.
    #[default]
    Normal,
    /// The bytes the client sent.
    Raw,
}

/// How long the parts of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the end of the request head to the last byte of the answer; `None` is no limit.
    pub total: Option<Duration>,
    /// To open a connection to an endpoint.
    pub connect: Duration,
    /// From the last byte of the request to the first of the answer's head.
    pub first_byte: Duration,
    /// Without any byte of a body moving, either way.
    pub idle: Duration,
    /// Without any byte moving, either way, in a tunnel: WebSocket, TCP.
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            total: None,
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
        }
    }
}

/// One route.
#[derive(Debug)]
pub struct RoutePlan {
    /// Its name, given or derived from its place.
    pub name: Box<str>,
    /// Which form of the path it sees and sends.
    pub path_mode: PathMode,
    /// What it does.
    pub action: Action,
    /// Edits of the answer's fields, the gateway's own answers on this route included.
    pub response_edits: Edits,
    /// Bytes of a request body; `None` leaves it to the listener.
    pub body_bytes_max: Option<u64>,
    /// How important its requests are.
    pub priority: Priority,
}

/// What a route does.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all forward, and every request looks there")]
pub enum Action {
    /// Sends the request to an upstream.
    Forward(Forward),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Answers by itself.
    Respond(Respond),
}

/// Sending a request to an upstream.
#[derive(Debug)]
pub struct Forward {
    /// Where.
    pub target: Target,
    /// What becomes of the path.
    pub rewrite: Rewrite,
    /// Edits of the request's fields.
    pub request_edits: Edits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Bytes of a request body up to which it is read whole before an endpoint is chosen; 0 is
    /// never.
    pub buffer_bytes_max: u32,
    /// The request field, in lower case, in which an endpoint is told how much of the total time is
    /// left, in milliseconds.
    pub deadline_field: Option<Box<str>>,
}

/// One upstream, or a weighted choice.
#[derive(Debug)]
pub enum Target {
    /// This one.
    One(UpstreamId),
    /// One of several, by weight.
    Split(Split),
}

impl Target {
    /// The upstream of one request.
    pub fn choose(&self, chance: &mut Chance) -> UpstreamId {
        match self {
            Target::One(upstream) => *upstream,
            Target::Split(split) => split.choose(chance),
        }
    }
}

/// A weighted choice among upstreams.
#[derive(Debug)]
pub struct Split {
    /// Upstreams with the running sum of weights up to and with each.
    sums: Vec<(UpstreamId, u32)>,
}

impl Split {
    /// A choice by these weights; those of 0 are never chosen. `None` where no weight is above 0
    /// or their sum passes `u32::MAX`.
    pub fn new(parts: &[(UpstreamId, u32)]) -> Option<Split> {
        let mut sum = 0_u32;
        let mut sums = Vec::with_capacity(parts.len());
        for (upstream, weight) in parts.iter().filter(|(_, weight)| *weight > 0) {
            sum = sum.checked_add(*weight)?;
            sums.push((*upstream, sum));
        }
        (sum > 0).then_some(Split { sums })
    }

    /// Each upstream with its weight.
    pub fn parts(&self) -> impl Iterator<Item = (UpstreamId, u32)> {
        let mut before = 0;
        self.sums.iter().map(move |(upstream, sum)| {
            let weight = sum - before;
            before = *sum;
            (*upstream, weight)
        })
    }

    fn choose(&self, chance: &mut Chance) -> UpstreamId {
        let total = self.sums.last().map_or(0, |(_, sum)| *sum);
        let ticket = chance.below(total);
        let at = self.sums.partition_point(|(_, sum)| *sum <= ticket);
        self.sums[at.min(self.sums.len() - 1)].0
    }
}

/// Sending the client elsewhere.
#[derive(Debug)]
pub struct Redirect {
    /// The `Location`.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Answering by itself.
#[derive(Debug)]
pub struct Respond {
    /// The status, 200 to 599.
    pub status: u16,
    /// The body; may be empty.
    pub body: Box<[u8]>,
    /// Its `Content-Type`.
    pub content_type: Box<str>,
}

/// A text with the request's own parts in it: `$scheme`, `$host`, `$path`, `$query` (with its
/// `?`, or empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Scheme,
    Host,
    Path,
    Query,
}

/// What a template's names stand for.
#[derive(Clone, Copy, Debug)]
pub struct TemplateFacts<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port as the client wrote them.
    pub authority: &'a [u8],
    /// The path the route saw.
    pub path: &'a [u8],
    /// The query without `?`.
    pub query: Option<&'a [u8]>,
}

/// A `$name` no template knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFault {
    /// The unknown name, without `$`.
    pub name: String,
}

impl Template {
    /// The names a template knows.
    pub const NAMES: [&'static str; 4] = ["scheme", "host", "path", "query"];

    /// Compiles `text`.
    ///
    /// # Errors
    /// The first `$name` that is none of [`Template::NAMES`].
    pub fn compile(text: &str) -> Result<Template, TemplateFault> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            if at > 0 {
                parts.push(Part::Text(rest[..at].into()));
            }
            let tail = &rest[at + 1..];
            let end = tail.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tail.len());
            parts.push(match &tail[..end] {
                "scheme" => Part::Scheme,
                "host" => Part::Host,
                "path" => Part::Path,
                "query" => Part::Query,
                name => return Err(TemplateFault { name: name.to_owned() }),
            });
            rest = &tail[end..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Template(parts))
    }

    /// Writes it for one request.
    pub fn write(&self, facts: TemplateFacts<'_>, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Scheme => out.extend_from_slice(facts.scheme.as_bytes()),
                Part::Host => out.extend_from_slice(facts.authority),
                Part::Path => out.extend_from_slice(facts.path),
                Part::Query => {
                    if let Some(query) = facts.query {
                        out.push(b'?');
                        out.extend_from_slice(query);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_the_requests_own_parts() {
        let template = Template::compile("https://new.example.com$path$query").unwrap();
        let mut out = Vec::new();
        let facts =
            TemplateFacts { scheme: "http", authority: b"old", path: b"/a", query: Some(b"b=1") };
        template.write(facts, &mut out);
        assert_eq!(out, b"https://new.example.com/a?b=1");
        assert_eq!(Template::compile("$pth").unwrap_err().name, "pth");
    }

    #[test]
    fn a_split_follows_its_weights() {
        let (a, b, never) = (UpstreamId(0), UpstreamId(1), UpstreamId(2));
        let split = Split::new(&[(a, 95), (never, 0), (b, 5)]).unwrap();
        let mut chance = Chance::seeded(1);
        let picks: Vec<_> = (0..10_000).map(|_| split.choose(&mut chance)).collect();
        let share = |id| picks.iter().filter(|pick| **pick == id).count();
        assert_eq!(share(never), 0);
        assert!((9_400..9_600).contains(&share(a)), "{}", share(a));
        assert_eq!(split.parts().collect::<Vec<_>>(), [(a, 95), (b, 5)]);
    }
}

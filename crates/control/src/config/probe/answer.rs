//! What would become of a request, to be printed or compared with what was expected.

use super::super::json::Json;
use super::super::lower::Expected;
use super::Choice;
use gatehouse_core::message::path::PathFault;
use gatehouse_core::plan::Timeouts;
use gatehouse_core::route::Verdict;

/// What would become of a request, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The listener it comes in by.
    pub listener: String,
    /// Why that one.
    pub listener_why: ListenerWhy,
    /// The host routes are compared with.
    pub host: String,
    /// The path in normal form; `None` where it could be read two ways.
    pub path: Option<String>,
    /// Why there is no normal form.
    pub path_fault: Option<PathFault>,
    /// Every route and what became of it, in file order.
    pub routes: Vec<RouteVerdict>,
    /// What becomes of the request.
    pub outcome: Outcome,
}

/// Why a request comes in by a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerWhy {
    /// The question names it.
    Named,
    /// It has the URL's port.
    Port(u16),
    /// There is no other.
    Only,
    /// It stands first of those that speak the URL's scheme, and none has its port.
    First(u16),
}

impl ListenerWhy {
    /// The reason as a sentence says it.
    pub fn text(self) -> String {
        match self {
            ListenerWhy::Named => "as asked".to_owned(),
            ListenerWhy::Port(port) => format!("it has port {port}"),
            ListenerWhy::Only => "there is no other".to_owned(),
            ListenerWhy::First(port) => format!("the first; none has port {port}"),
        }
    }
}

/// A route and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteVerdict {
    /// The route.
    pub route: String,
    /// What the router says.
    pub verdict: Verdict,
    /// The same as a sentence says it.
    pub text: String,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is sent to an upstream.
    Forward(Forwarded),
    /// The client is sent elsewhere.
    Redirect {
        /// The route.
        route: String,
        /// The status.
        status: u16,
        /// Where to.
        location: String,
        /// What is done to the answer's fields.
        response_edits: Vec<String>,
    },
    /// The gateway answers by itself.
    Respond {
        /// The route.
        route: String,
        /// The status.
        status: u16,
        /// Bytes of the body.
        body_bytes: usize,
        /// What is done to the answer's fields.
        response_edits: Vec<String>,
    },
    /// Routes match all but the method: 405.
    MethodNotAllowed {
        /// The methods that would have matched.
        allow: Vec<&'static str>,
    },
    /// The bytes of a TCP connection go to an upstream.
    Carry(Carried),
    /// No route matches a TCP connection: it is closed.
    Closed,
    /// No route matches: 404.
    NoRoute,
    /// The path could be read two ways: 400.
    PathAmbiguous,
    /// The rewrite makes something that is no path: 502.
    RewriteInvalid {
        /// The route.
        route: String,
        /// What is wrong with it.
        fault: String,
    },
}

/// What is sent to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The route.
    pub route: String,
    /// Path and query as sent, before an endpoint's base path.
    pub sends: String,
    /// What is done to the request's fields.
    pub request_edits: Vec<String>,
    /// What is done to the answer's fields.
    pub response_edits: Vec<String>,
    /// The upstream; several for a split.
    pub upstreams: Vec<Choice>,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// Where the bytes of a TCP connection go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The route.
    pub route: String,
    /// The upstream; several for a split.
    pub upstreams: Vec<Choice>,
    /// How long it may take.
    pub timeouts: Timeouts,
}

impl Outcome {
    /// The route that is taken.
    pub fn route(&self) -> Option<&str> {
        match self {
            Outcome::Forward(Forwarded { route, .. })
            | Outcome::Carry(Carried { route, .. })
            | Outcome::Redirect { route, .. }
            | Outcome::Respond { route, .. }
            | Outcome::RewriteInvalid { route, .. } => Some(route),
            Outcome::MethodNotAllowed { .. }
            | Outcome::NoRoute
            | Outcome::Closed
            | Outcome::PathAmbiguous => None,
        }
    }

    /// The status of an answer the gateway gives by itself.
    pub fn status(&self) -> Option<u16> {
        match self {
            Outcome::Forward(_) | Outcome::Carry(_) | Outcome::Closed => None,
            Outcome::Redirect { status, .. } | Outcome::Respond { status, .. } => Some(*status),
            Outcome::MethodNotAllowed { .. } => Some(405),
            Outcome::NoRoute => Some(404),
            Outcome::PathAmbiguous => Some(400),
            Outcome::RewriteInvalid { .. } => Some(502),
        }
    }

    /// What becomes of it in a word or a few.
    pub fn summary(&self) -> String {
        match self {
            Outcome::Forward(Forwarded { upstreams, .. }) => {
                format!("sent to {}", upstream_names(upstreams))
            }
            Outcome::Carry(Carried { upstreams, .. }) => {
                format!("carried to {}", upstream_names(upstreams))
            }
            Outcome::Closed => "closed, no route matches".to_owned(),
            Outcome::Redirect { status, location, .. } => format!("{status}, to {location}"),
            Outcome::Respond { status, .. } => format!("{status}, a fixed answer"),
            Outcome::MethodNotAllowed { allow } => {
                format!("405, the method is not one of {}", allow.join(", "))
            }
            Outcome::NoRoute => "404, no route matches".to_owned(),
            Outcome::PathAmbiguous => "400, the path could be read two ways".to_owned(),
            Outcome::RewriteInvalid { fault, .. } => format!("502, the rewrite fails: {fault}"),
        }
    }
}

fn upstream_names(upstreams: &[Choice]) -> String {
    let names: Vec<&str> = upstreams.iter().map(|choice| &*choice.upstream).collect();
    names.join(" or ")
}

/// Where an answer is not what was expected: one line each, empty where all is well.
pub fn differences(expected: &Expected, answer: &Answer) -> Vec<String> {
    let outcome = &answer.outcome;
    let (sends, upstreams) = match outcome {
        Outcome::Forward(forwarded) => (Some(&*forwarded.sends), &forwarded.upstreams[..]),
        Outcome::Carry(carried) => (None, &carried.upstreams[..]),
        _ => (None, &[][..]),
    };
    let location = match outcome {
        Outcome::Redirect { location, .. } => Some(&**location),
        _ => None,
    };
    let mut lines = Vec::new();
    let mut compare = |key: &str, wanted: &Option<String>, got: Option<&str>| {
        if let Some(wanted) = wanted.as_deref().filter(|wanted| got != Some(*wanted)) {
            let got = got.map_or_else(|| outcome.summary(), str::to_owned);
            lines.push(format!("{key}: expected {wanted}, got {got}"));
        }
    };
    compare("route", &expected.route, outcome.route());
    let any = |wanted: &String| upstreams.iter().any(|choice| choice.upstream == *wanted);
    if !expected.upstream.as_ref().is_some_and(any) {
        let got = upstreams.first().map(|choice| &*choice.upstream);
        compare("upstream", &expected.upstream, got);
    }
    compare("sends", &expected.sends, sends);
    compare("location", &expected.location, location);
    if expected.status.is_some() && expected.status != outcome.status() {
        let wanted = expected.status.unwrap_or(0);
        lines.push(format!("status: expected {wanted}, got {}", outcome.summary()));
    }
    lines
}

impl Answer {
    /// The answer for scripts.
    pub fn json(&self) -> Json {
        let routes = self.routes.iter().map(|verdict| {
            Json::object([
                ("route", Json::text(&verdict.route)),
                ("taken", Json::Flag(verdict.verdict == Verdict::Wins)),
                ("why", Json::text(&verdict.text)),
            ])
        });
        let mut members = vec![
            ("listener".to_owned(), Json::text(&self.listener)),
            ("listener-why".to_owned(), Json::text(self.listener_why.text())),
            ("host".to_owned(), Json::text(&self.host)),
            ("path".to_owned(), Json::text_or_null(self.path.as_deref())),
            ("path-fault".to_owned(), Json::text_or_null(self.path_fault.map(PathFault::text))),
            ("routes".to_owned(), Json::list(routes)),
            ("outcome".to_owned(), Json::text(self.outcome.summary())),
            ("route".to_owned(), Json::text_or_null(self.outcome.route())),
        ];
        let status = self.outcome.status().map_or(Json::Null, |status| Json::Count(status.into()));
        members.push(("status".to_owned(), status));
        members.extend(outcome_json(&self.outcome));
        Json::Object(members)
    }
}

fn outcome_json(outcome: &Outcome) -> Vec<(String, Json)> {
    let texts = |texts: &[String]| Json::list(texts.iter().map(Json::text));
    let own = |name: &str, value: Json| (name.to_owned(), value);
    let choice = |choice: &Choice| {
        Json::object([
            ("upstream", Json::text(&choice.upstream)),
            ("weight", Json::Count(choice.weight.into())),
            ("endpoint", Json::text_or_null(choice.endpoint.as_deref())),
            ("path", Json::text_or_null(choice.path.as_deref())),
            ("why", Json::text(&choice.why)),
        ])
    };
    match outcome {
        Outcome::Forward(forwarded) => {
            vec![
                own("sends", Json::text(&forwarded.sends)),
                own("request-headers", texts(&forwarded.request_edits)),
                own("response-headers", texts(&forwarded.response_edits)),
                own("upstreams", Json::list(forwarded.upstreams.iter().map(choice))),
            ]
        }
        Outcome::Carry(carried) => {
            vec![own("upstreams", Json::list(carried.upstreams.iter().map(choice)))]
        }
        Outcome::Redirect { location, response_edits, .. } => vec![
            own("location", Json::text(location)),
            own("response-headers", texts(response_edits)),
        ],
        Outcome::Respond { response_edits, .. } => {
            vec![own("response-headers", texts(response_edits))]
        }
        Outcome::MethodNotAllowed { allow } => {
            vec![own("allow", Json::list(allow.iter().copied().map(Json::text)))]
        }
        Outcome::NoRoute
        | Outcome::Closed
        | Outcome::PathAmbiguous
        | Outcome::RewriteInvalid { .. } => Vec::new(),
    }
}

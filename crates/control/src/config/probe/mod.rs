//! What would become of a request, decided by the code the data path uses: `gatehouse explain` and
//! `gatehouse test`. Nothing is sent, nothing is resolved.

mod answer;
mod choice;
mod question;

pub use answer::{Answer, Carried, Forwarded, ListenerWhy, Outcome, RouteVerdict, differences};
pub use choice::Choice;
pub use question::{About, Question, QuestionFault, parse_request};

use gatehouse_core::message::path::{self, PathFault};
use gatehouse_core::message::{Known, Method, MethodSet, RequestHead, Span};
use gatehouse_core::plan::{
    Action, Bind, Carries, Edits, Forward, ListenerId, PathMode, Plan, RouteId, RoutePlan, Target,
    TemplateFacts, Transport, UpstreamId,
};
use gatehouse_core::route::{Asked, Found, Rewrite, Verdict};

/// Decides what would become of a request.
///
/// # Errors
/// A question that names a listener that is not there.
pub fn ask(plan: &Plan, question: &Question) -> Result<Answer, QuestionFault> {
    let (listener, listener_why) = listener(plan, question)?;
    let (head, path_fault) = head(question);
    let asked = asked(listener, &head);
    let found = plan.router.find(&asked);
    let routes = verdicts(plan, &asked);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = head.path.map(|path| text(head.text(path)));
    let answer = |outcome| Answer {
        listener: plan.listener(listener).name.to_string(),
        listener_why,
        host: text(head.text(head.host)),
        path,
        path_fault,
        routes,
        outcome,
    };
    Ok(answer(match found {
        Found::Route(id) if question.about == About::Connection => {
            carried(plan, question, listener, id)
        }
        Found::NoRoute if question.about == About::Connection => Outcome::Closed,
        Found::Route(id) => taken(plan, question, listener, id, &head),
        Found::MethodNotAllowed { allow } => Outcome::MethodNotAllowed { allow: names(allow) },
        Found::NoRoute => Outcome::NoRoute,
        Found::PathAmbiguous => Outcome::PathAmbiguous,
    }))
}

fn names(methods: MethodSet) -> Vec<&'static str> {
    methods.iter().map(Method::text).collect()
}

/// The listener of the URL's port; where none has it, the first: the gateway may stand behind
/// something that has.
fn listener(plan: &Plan, question: &Question) -> Result<(ListenerId, ListenerWhy), QuestionFault> {
    let id = |at: usize| ListenerId(u8::try_from(at).unwrap_or(u8::MAX));
    if let Some(name) = &question.listener {
        let named = plan.listeners.iter().position(|listener| *listener.name == **name);
        let at = named.ok_or_else(|| QuestionFault::Listener(name.clone()))?;
        fits(plan, question, at)?;
        return Ok((id(at), ListenerWhy::Named));
    }
    let port = question.port;
    let has_port = plan.listeners.iter().position(|listener| match &listener.bind {
        Bind::Ip(address) => address.port() == port,
        Bind::Unix(_) => false,
    });
    let all = || 0..plan.listeners.len();
    let fitting = || all().filter(|at| plan.listeners[*at].carries == carries(question));
    // Behind whatever maps ports, a client of https comes in where that is spoken.
    let beneath = fitting().find(|at| plan.listeners[*at].transport == question.transport);
    let first = beneath.or_else(|| fitting().next());
    let at = has_port.or(first).unwrap_or(0);
    fits(plan, question, at)?;
    let why = match has_port {
        Some(_) => ListenerWhy::Port(port),
        None if plan.listeners.len() == 1 => ListenerWhy::Only,
        None => ListenerWhy::First(port),
    };
    Ok((id(at), why))
}

/// What a listener carries for such a question.
fn carries(question: &Question) -> Carries {
    match question.about {
        About::Request => Carries::Http,
        About::Connection => Carries::Tcp,
    }
}

/// Whether the listener carries what the question is about.
fn fits(plan: &Plan, question: &Question, at: usize) -> Result<(), QuestionFault> {
    let listener = &plan.listeners[at];
    let name = &listener.name;
    match (listener.carries, question.about) {
        (Carries::Tcp, About::Request) => Err(QuestionFault::CarriesTcp(name.to_string())),
        (Carries::Http, About::Connection) => {
            Err(QuestionFault::SpeaksHttp(format!("listener {name}")))
        }
        (Carries::Http, About::Request) | (Carries::Tcp, About::Connection) => Ok(()),
    }
}

/// Where the route sends the bytes of a TCP connection.
fn carried(plan: &Plan, question: &Question, listener: ListenerId, id: RouteId) -> Outcome {
    let route = plan.route(id);
    let Action::Forward(forward) = &route.action else { return Outcome::Closed };
    let head = RequestHead::default();
    let client = choice::client_text(plan.listener(listener), question, &head);
    let choose = |(id, weight)| choice::choose(plan.upstream(id), weight, &head, &client, "");
    Outcome::Carry(Carried {
        route: route.name.to_string(),
        upstreams: targets(&forward.target).into_iter().map(choose).collect(),
        timeouts: forward.timeouts,
    })
}

/// Each upstream with its weight.
fn targets(target: &Target) -> Vec<(UpstreamId, u32)> {
    match target {
        Target::One(upstream) => vec![(*upstream, 1)],
        Target::Split(split) => split.parts().collect(),
    }
}

/// The head as the gateway would have read it.
fn head(question: &Question) -> (RequestHead, Option<PathFault>) {
    let mut head = RequestHead::default();
    head.fields.append(b"host", question.authority.as_bytes());
    for (name, value) in &question.headers {
        match Known::of(name.as_bytes()) {
            Known::Host => head.fields.set(b"host", value.as_bytes()),
            _ => head.fields.append(name.as_bytes(), value.as_bytes()),
        }
    }
    head.method = Some(Method::of(question.method.as_bytes()));
    head.method_text = head.fields.note(question.method.as_bytes());
    head.authority = head.fields.only(Known::Host).ok().flatten().unwrap_or_default();
    let host = question::host_of(head.text(head.authority));
    head.host = head.fields.note(&host);
    head.raw_path = head.fields.note(question.path.as_bytes());
    head.query = question.query.as_ref().map(|query| head.fields.note(query.as_bytes()));
    let mut normal = Vec::new();
    match path::normalize(question.path.as_bytes(), &mut normal) {
        Ok(()) => head.path = Some(head.fields.note(&normal)),
        Err(fault) => head.path_fault = Some(fault),
    }
    let fault = head.path_fault;
    (head, fault)
}

fn asked(listener: ListenerId, head: &RequestHead) -> Asked<'_> {
    Asked {
        listener,
        host: head.text(head.host),
        path: head.path.map(|path| head.text(path)),
        raw_path: head.text(head.raw_path),
        query: head.query.map(|query: Span| head.text(query)),
        method: head.method(),
        method_text: head.text(head.method_text),
        fields: &head.fields,
    }
}

fn verdicts(plan: &Plan, asked: &Asked<'_>) -> Vec<RouteVerdict> {
    let say = |(at, verdict): (usize, Verdict)| {
        let rule = plan.router.rule(RouteId(at as u32));
        let text = match &verdict {
            Verdict::Wins => "taken".to_owned(),
            Verdict::Outranked { by } => {
                format!("matches too, but route {} goes first", plan.route(*by).name)
            }
            Verdict::Listener => "for other listeners".to_owned(),
            Verdict::Host => "the host does not match".to_owned(),
            Verdict::Path => "the path does not match".to_owned(),
            Verdict::Method => {
                let methods = names(rule.methods.unwrap_or_default()).join(", ");
                format!("the method does not match: it takes {methods}")
            }
            Verdict::Header(name) => format!("the header {name} does not match"),
            Verdict::Query(name) => format!("the query parameter {name} does not match"),
        };
        RouteVerdict { route: plan.routes[at].name.to_string(), verdict, text }
    };
    plan.router.explain(asked).into_iter().enumerate().map(say).collect()
}

/// What the route does with the request.
fn taken(
    plan: &Plan,
    question: &Question,
    listener: ListenerId,
    id: RouteId,
    head: &RequestHead,
) -> Outcome {
    let route = plan.route(id);
    let name = route.name.to_string();
    let response_edits = edits(&route.response_edits);
    match &route.action {
        Action::Forward(forward) => match sends(route, forward, head) {
            Ok(sends) => {
                let client = choice::client_text(plan.listener(listener), question, head);
                let upstreams = targets(&forward.target);
                let choose =
                    |(id, weight)| choice::choose(plan.upstream(id), weight, head, &client, &sends);
                Outcome::Forward(Forwarded {
                    route: name,
                    upstreams: upstreams.into_iter().map(choose).collect(),
                    request_edits: edits(&forward.request_edits),
                    response_edits,
                    timeouts: forward.timeouts,
                    sends,
                })
            }
            Err(fault) => Outcome::RewriteInvalid { route: name, fault },
        },
        Action::Redirect(redirect) => {
            let mut location = Vec::new();
            let facts = TemplateFacts {
                scheme: match plan.listener(listener).transport {
                    Transport::Clear => "http",
                    Transport::Tls => "https",
                },
                authority: head.text(head.authority),
                path: head.path_text(),
                query: head.query.map(|query| head.text(query)),
            };
            redirect.to.write(facts, &mut location);
            let location = String::from_utf8_lossy(&location).into_owned();
            Outcome::Redirect { route: name, status: redirect.status, location, response_edits }
        }
        Action::Respond(respond) => {
            let body_bytes = respond.body.len();
            Outcome::Respond { route: name, status: respond.status, body_bytes, response_edits }
        }
    }
}

/// Path and query as an endpoint is asked for them, before its base path.
fn sends(route: &RoutePlan, forward: &Forward, head: &RequestHead) -> Result<String, String> {
    let seen = match route.path_mode {
        PathMode::Normal => head.path_text(),
        PathMode::Raw => head.text(head.raw_path),
    };
    let mut path = Vec::new();
    forward.rewrite.apply(seen, &mut path);
    if !matches!(forward.rewrite, Rewrite::Keep) && route.path_mode == PathMode::Normal {
        let mut normal = Vec::new();
        path::normalize(&path, &mut normal).map_err(|fault| fault.text().to_owned())?;
        path = normal;
    }
    let plain = |byte: &u8| !matches!(byte, 0..=b' ' | 0x7f | b'?' | b'#');
    if path.first() != Some(&b'/') || !path.iter().all(plain) {
        return Err("the rewritten path is not a path".to_owned());
    }
    if let Some(query) = head.query {
        path.push(b'?');
        path.extend_from_slice(head.text(query));
    }
    Ok(String::from_utf8_lossy(&path).into_owned())
}

fn edits(edits: &Edits) -> Vec<String> {
    let remove = edits.remove.iter().map(|name| format!("remove {name}"));
    let set = edits.set.iter().map(|edit| format!("set {}: {}", edit.name, edit.value));
    let add = edits.add.iter().map(|edit| format!("add {}: {}", edit.name, edit.value));
    remove.chain(set).chain(add).collect()
}

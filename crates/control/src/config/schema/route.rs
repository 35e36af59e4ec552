//! Routes: what they match, what they change, what they do.

use super::upstream::{UPSTREAM, WEIGHT};
use super::{DAY, GIB, HOUR, MIB, Section, Shape, Word, duration, key, later, text, word};

pub(super) static ROUTE: Section = Section {
    noun: "a route",
    heading: "[[routes]]",
    doc: "What becomes of some requests: exactly one of `upstream`, `redirect` and `respond`. \
          All matchers have to agree. What becomes of a TCP connection too: then `listeners` names \
          listeners of `tcp`, `host` is the server name that the TLS client asks for, read without \
          decrypting (a route without one takes the others, what is no TLS included), `upstream` is \
          where its bytes go, and `timeout` may hold `connect`, `tunnel` and `total`; nothing else \
          applies.",
    keys: &[
        key("name", text("a name"), "\"api\"", "What logs and metrics call it.")
            .otherwise("`route-N`, counted from 1"),
        key(
            "listeners",
            Shape::List { of: &text("a listener's name") },
            "[\"web\"]",
            "Which listeners it is for.",
        )
        .otherwise("all that speak HTTP"),
        key(
            "host",
            Shape::Many { of: &text("a host name") },
            "[\"api.example.com\", \"*.api.example.com\"]",
            "Which hosts it is for, without port. `*.` stands for one label or more.",
        )
        .otherwise("any host"),
        key(
            "path",
            text("a path"),
            "\"/v1/*\"",
            "`\"/v1/*\"` is a prefix that ends at a segment boundary and matches `/v1` too, \
             `\"/v1\"` is exact, `\"~ ^/v(\\\\d+)/\"` is a regular expression.",
        )
        .default("\"/*\""),
        key(
            "path-mode",
            Shape::Words(PATH_MODES),
            "\"raw\"",
            "Which form of the path is matched and sent.",
        )
        .default("\"normal\""),
        key(
            "methods",
            Shape::List { of: &text("a method") },
            "[\"GET\", \"POST\"]",
            "Which methods it is for; GET includes HEAD. Where only the method disagrees the \
             answer is 405.",
        )
        .otherwise("any method"),
        key(
            "headers",
            Shape::Map { key: "FIELD", value: &text("a value") },
            "{ x-beta = \"1\" }",
            "Request fields it asks for; `\"*\"` is any value.",
        ),
        key(
            "query",
            Shape::Map { key: "PARAMETER", value: &text("a value") },
            "{ debug = \"*\" }",
            "Query parameters it asks for; `\"*\"` is any value.",
        ),
        key(
            "rewrite",
            Shape::Table(&REWRITE),
            "{ strip = \"/v1\" }",
            "What becomes of the path on its way to an endpoint.",
        ),
        key(
            "request-headers",
            Shape::Table(&EDITS),
            "{ set = { x-env = \"prod\" }, remove = [\"x-debug\"] }",
            "Edits of the request's fields on their way to an endpoint.",
        ),
        key(
            "response-headers",
            Shape::Table(&EDITS),
            "{ set = { x-frame-options = \"DENY\" } }",
            "Edits of the answer's fields, those of the gateway's own answers included.",
        ),
        key("timeout", Shape::Table(&TIMEOUT), "{ total = \"30s\" }", "How long it may take."),
        key(
            "body-bytes",
            Shape::Bytes { min: 0, max: 1_024 * GIB },
            "\"1GiB\"",
            "Bytes of a request body; more are answered 413.",
        )
        .otherwise("the listener's"),
        key(
            "priority",
            Shape::Words(PRIORITIES),
            "\"low\"",
            "How important its requests are: who is served first from a `queue`, and who is turned \
             away first when it is full.",
        )
        .default("\"normal\""),
        key(
            "buffer",
            Shape::Bytes { min: 1, max: MIB },
            "\"16KiB\"",
            "A request body whose length is told and is at most this is read whole before an \
             endpoint is chosen: a slow upload holds none, and a request that may be repeated is \
             tried again with its body. A client that waits for 100 (Continue) is told to go on. \
             Others are passed on as they come.",
        )
        .otherwise("all bodies are passed on as they come"),
        key(
            "upstream",
            Shape::Either(&[
                text("an upstream's name"),
                Shape::Table(&UPSTREAM),
                Shape::List { of: &Shape::Table(&SPLIT) },
            ]),
            "\"api\"",
            "Where the request goes: the name of an upstream, an upstream itself (it gets the \
             route's name), or a split by weight.",
        ),
        key(
            "redirect",
            Shape::Table(&REDIRECT),
            "{ to = \"https://new.example.com$path\", status = 308 }",
            "Sends the client elsewhere.",
        ),
        key(
            "respond",
            Shape::Table(&RESPOND),
            "{ status = 404, body = \"nothing here\" }",
            "Answers without asking anybody.",
        ),
        later("limit", "How many requests a client may make."),
        later("policies", "Named policies it shares with other routes."),
    ],
};

const PRIORITIES: &[Word] = &[
    word("high", "Served before all others, and the last to be turned away."),
    word("normal", "Neither."),
    word("low", "Served when no other waits, and the first to be turned away."),
];

const PATH_MODES: &[Word] = &[
    word(
        "normal",
        "RFC 3986 section 6.2.2 applied: `/x/../admin` and `/%61dmin` are `/admin`. What could be \
         read two ways (`%2F`, `%5C`, `%00`, `\\`) is answered 400.",
    ),
    word("raw", "The bytes the client sent."),
];

static REWRITE: Section = Section {
    noun: "a rewrite",
    heading: "rewrite = { … }",
    doc: "Either `strip`, or `match` and `to`.",
    keys: &[
        key(
            "strip",
            text("a path"),
            "\"/v1\"",
            "A prefix that is taken off at a segment boundary: `/v1/items` becomes `/items`, \
             `/v1` becomes `/`.",
        ),
        key(
            "match",
            text("a regular expression"),
            "\"^/dir(/.*)?$\"",
            "What is replaced in the path.",
        ),
        key(
            "to",
            text("a replacement"),
            "\"$1\"",
            "What is put in its place; `$1` is the first group, `$${1}` where a letter or digit \
             follows, `$${name}` a named one.",
        ),
    ],
};

static EDITS: Section = Section {
    noun: "header edits",
    heading: "request-headers, response-headers = { … }",
    doc: "Done in this order: remove, set, add. Names are case-insensitive. Fields that frame a \
          message or belong to one connection cannot be edited.",
    keys: &[
        key(
            "remove",
            Shape::List { of: &text("a field name") },
            "[\"x-debug\"]",
            "Fields taken out.",
        ),
        key(
            "set",
            Shape::Map { key: "FIELD", value: &text("a value") },
            "{ x-env = \"prod\" }",
            "Fields put in place of all others of their name.",
        ),
        key(
            "add",
            Shape::Map { key: "FIELD", value: &text("a value") },
            "{ via-team = \"edge\" }",
            "Fields added beside others of their name.",
        ),
    ],
};

static TIMEOUT: Section = Section {
    noun: "timeouts",
    heading: "timeout = { … }",
    doc: "How long the parts of an exchange may take.",
    keys: &[
        key(
            "total",
            duration(DAY),
            "\"30s\"",
            "From the end of the request head to the last byte of the answer; of TCP, from accept \
             to the end.",
        )
        .otherwise("no limit"),
        key(
            "header",
            text("a field name"),
            "\"x-envoy-expected-rq-timeout-ms\"",
            "The request field in which an endpoint is told how much of `total` is left, in whole \
             milliseconds, anew for each try; what the client wrote there is taken out. A gRPC \
             call is told in `grpc-timeout` whatever stands here.",
        )
        .otherwise("endpoints of HTTP are not told"),
        key("connect", duration(HOUR), "\"500ms\"", "To open a connection to an endpoint.")
            .default("\"3s\""),
        key(
            "first-byte",
            duration(DAY),
            "\"5s\"",
            "From the last byte of the request to the first of the answer.",
        )
        .default("\"1m\""),
        key("idle", duration(7 * DAY), "\"60s\"", "Without any byte of a body moving, either way.")
            .default("\"1m\""),
        key(
            "tunnel",
            duration(7 * DAY),
            "\"10m\"",
            "Without any byte moving, either way, on a connection that is carried through: \
             WebSocket, TCP.",
        )
        .default("\"1h\""),
    ],
};

static SPLIT: Section = Section {
    noun: "a part of a split",
    heading: "upstream = [{ … }, { … }]",
    doc: "One of several upstreams, chosen by weight for every request.",
    keys: &[
        key("upstream", text("an upstream's name"), "\"api-next\"", "Which one.").required(),
        key(
            "weight",
            Shape::Count { min: 0, max: 1_000_000 },
            "5",
            "Its share of the requests, relative to the others; 0 is none.",
        )
        .required(),
    ],
};

static REDIRECT: Section = Section {
    noun: "a redirect",
    heading: "redirect = { … }",
    doc: "Sends the client elsewhere.",
    keys: &[
        key(
            "to",
            text("a URL"),
            "\"https://new.example.com$path$query\"",
            "The `Location`. `$scheme`, `$host`, `$path` and `$query` (with its `?`, or empty) \
             are the request's own.",
        )
        .required(),
        key("status", Shape::Count { min: 301, max: 308 }, "308", "301, 302, 303, 307 or 308.")
            .default("307"),
    ],
};

static RESPOND: Section = Section {
    noun: "a fixed answer",
    heading: "respond = { … }",
    doc: "Answers without asking anybody.",
    keys: &[
        key("status", Shape::Count { min: 200, max: 599 }, "404", "The status.").default("200"),
        key("body", text("a text"), "\"nothing here\"", "The body.").default("\"\""),
        key("content-type", text("a media type"), "\"application/json\"", "What the body is.")
            .default("\"text/plain; charset=utf-8\""),
    ],
};

const _: () = assert!(WEIGHT.1 == u16::MAX as u64);

//! What an upstream's failures are met with: checks, ejection, breaker, retries.

use super::{DAY, HOUR, Section, Shape, Word, duration, key, text, word};

pub(super) static HEALTH: Section = Section {
    noun: "a check",
    heading: "health = { … }",
    doc: "How endpoints are checked. All are checked at the same time, so that one that hangs \
          delays no other.",
    keys: &[
        key("check", Shape::Words(CHECKS), "\"connect\"", "What is asked.")
            .otherwise("`\"http\"`, or `\"grpc\"` where that is the upstream's protocol"),
        key(
            "service",
            text("a service"),
            "\"shop.Catalogue\"",
            "The service that `grpc` asks for.",
        )
        .otherwise("the server as a whole"),
        key("path", text("a path"), "\"/healthz\"", "What `http` asks for.").default("\"/\""),
        key("host", text("a host"), "\"api.internal\"", "The `Host` that `http` sends.")
            .otherwise("the endpoint's own address"),
        key(
            "status",
            text("a status or a range"),
            "\"200-399\"",
            "The statuses that pass an `http` check: one, or a range.",
        )
        .default("\"200-299\""),
        key(
            "body",
            text("a text"),
            "\"ok\"",
            "What the first 64 KiB of the body of an `http` check must hold.",
        )
        .otherwise("any body"),
        key(
            "interval",
            duration(HOUR),
            "\"2s\"",
            "From one check to the next, less up to a tenth.",
        )
        .default("\"5s\""),
        key("timeout", duration(HOUR), "\"1s\"", "How long a check may take.").default("\"2s\""),
        key(
            "unhealthy-after",
            Shape::Count { min: 1, max: 100 },
            "2",
            "Checks that must fail in a row; the first of all decides at once.",
        )
        .default("2"),
        key(
            "healthy-after",
            Shape::Count { min: 1, max: 100 },
            "1",
            "Checks that must pass in a row; the first of all decides at once.",
        )
        .default("1"),
        key("start", Shape::Words(STARTS), "\"unhealthy\"", "What it is before its first check.")
            .default("\"healthy\""),
    ],
};

const CHECKS: &[Word] = &[
    word("http", "A GET, over what is spoken to the endpoints."),
    word("grpc", "A call of `grpc.health.v1.Health/Check`, which must be answered with SERVING."),
    word("connect", "A connection that opens, and nothing more."),
];

const STARTS: &[Word] = &[
    word("healthy", "It is asked at once."),
    word("unhealthy", "It is asked once its first check has passed."),
];

pub(super) static OUTLIER: Section = Section {
    noun: "an outlier rule",
    heading: "outlier = { … }",
    doc: "When an endpoint is left out for what it does with real requests: a circuit breaker of \
          each endpoint. Once it was out for its time it is given a few requests (`probing`): all \
          of them going well give it its share again, and one that fails ejects it for twice as \
          long as before, up to 16 times `eject-for`.",
    keys: &[
        key(
            "consecutive-errors",
            Shape::Count { min: 0, max: 1_000_000 },
            "5",
            "Errors in a row; 0 looks at no row.",
        )
        .default("5"),
        key(
            "error-rate",
            Shape::Share,
            "\"50%\"",
            "The share of a window's requests that may fail.",
        )
        .otherwise("any"),
        key(
            "latency-factor",
            Shape::Number { min: 1.1, max: 1_000.0 },
            "3.0",
            "How many times slower than the median of the others it may be through a whole window.",
        )
        .otherwise("any"),
        key("window", duration(HOUR), "\"10s\"", "How long a window is.").default("\"10s\""),
        key(
            "min-requests",
            Shape::Count { min: 1, max: 1_000_000 },
            "20",
            "Requests a window must hold before its share or its latency counts.",
        )
        .default("20"),
        key("eject-for", duration(DAY), "\"10s\"", "How long the first ejection lasts.")
            .default("\"10s\""),
        key(
            "max-ejected",
            Shape::Share,
            "\"50%\"",
            "The share of endpoints that may be out at once; of two or more, one may always go, \
             and the last never does.",
        )
        .default("\"50%\""),
        key(
            "probes",
            Shape::Count { min: 1, max: 1_000 },
            "3",
            "Requests it is given once its ejection is over, before it has its share again.",
        )
        .default("3"),
    ],
};

pub(super) static BREAKER: Section = Section {
    noun: "a breaker",
    heading: "breaker = { … }",
    doc: "When an upstream is not asked. Once open, it stays so for `open-for`; then a few \
          requests try, and all of them going well closes it.",
    keys: &[
        key(
            "max-in-flight",
            Shape::Count { min: 1, max: 10_000_000 },
            "1000",
            "Requests in flight at once over all its endpoints.",
        )
        .otherwise("no limit"),
        key(
            "error-rate",
            Shape::Share,
            "\"50%\"",
            "The share of a window's requests above which it opens.",
        )
        .otherwise("never opens"),
        key("window", duration(HOUR), "\"10s\"", "How long a window is.").default("\"10s\""),
        key(
            "min-requests",
            Shape::Count { min: 1, max: 1_000_000 },
            "20",
            "Requests a window must hold before its share counts.",
        )
        .default("20"),
        key("open-for", duration(HOUR), "\"5s\"", "How long it stays open.").default("\"5s\""),
        key(
            "probes",
            Shape::Count { min: 1, max: 1_000 },
            "3",
            "Requests that try before it closes.",
        )
        .default("3"),
    ],
};

pub(super) const FOUND_OUT: &[Word] =
    &[word("adaptive", "It is found out, within the defaults of the table.")];

pub(super) static CONCURRENCY: Section = Section {
    noun: "a concurrency rule",
    heading: "concurrency = { … }",
    doc: "How many requests in flight an upstream bears is found out: each 100 ms, or as long as \
          an answer takes, the median latency is held against the lowest one known, and the limit \
          falls by what lies above `tolerance` times that, or grows by its square root where it \
          is used up. Statuses 429 and 503 and timeouts above a tenth of all make it fall too. \
          Every 30 s the lowest latency is measured anew, at a third of the limit where that is \
          used up.",
    keys: &[
        key("min", Shape::Count { min: 1, max: 1_000_000 }, "4", "It never falls below this.")
            .default("4"),
        key("max", Shape::Count { min: 1, max: 1_000_000 }, "1000", "It never rises above this.")
            .default("10000"),
        key(
            "tolerance",
            Shape::Number { min: 1.0, max: 10.0 },
            "1.5",
            "How many times its lowest latency an upstream may take.",
        )
        .default("1.5"),
    ],
};

pub(super) static QUEUE: Section = Section {
    noun: "a queue",
    heading: "queue = { … }",
    doc: "How requests wait for a place at an upstream that is full.",
    keys: &[
        key(
            "max",
            Shape::Count { min: 1, max: 100_000 },
            "1000",
            "Requests waiting at once. One more takes the place of the newest of those of the \
             lowest priority, where its own is higher.",
        )
        .required(),
        key("timeout", duration(HOUR), "\"500ms\"", "How long a request waits.").default("\"1s\""),
    ],
};

pub(super) static RETRY: Section = Section {
    noun: "a retry rule",
    heading: "retry = { … }",
    doc: "When a request is tried again, on another endpoint while one is ready.",
    keys: &[
        key(
            "attempts",
            Shape::Count { min: 0, max: 10 },
            "2",
            "How many further times. Unless it is 0, endpoints that refuse the connection are \
             asked one after another, each once, up to eight.",
        )
        .default("2"),
        key(
            "on",
            Shape::List { of: &Shape::Words(RETRY_ON) },
            "[\"connect\", \"reset\", \"503\"]",
            "After what.",
        )
        .default("[\"connect\", \"reset\"]"),
        key(
            "try-timeout",
            duration(HOUR),
            "\"500ms\"",
            "How long one attempt may take until its answer begins, connecting included; where a \
             body is passed on as it comes, from its end. With `\"timeout\"` in `on`, \
             another follows.",
        )
        .otherwise("as long as the route allows"),
        key(
            "backoff",
            Shape::Duration {
                min: std::time::Duration::ZERO,
                max: std::time::Duration::from_secs(10),
            },
            "\"25ms\"",
            "The wait before the first retry to an upstream that answered or broke off; doubles \
             with each, up to ten times, and half of it is drawn by lot. After a refused \
             connection or a timeout nothing is waited for.",
        )
        .default("\"25ms\""),
        key(
            "budget",
            Shape::Share,
            "\"20%\"",
            "The share of the requests of the last 10 s that may be retries, beside 10 a second \
             that always may. Refused connections are not counted.",
        )
        .default("\"20%\""),
    ],
};

const RETRY_ON: &[Word] = &[
    word("connect", "A connection could not be opened: nothing was sent, so any method."),
    word("reset", "A connection died before an answer began: only methods that may be repeated."),
    word("timeout", "No answer began in time: only methods that may be repeated."),
    word(
        "unavailable",
        "A gRPC answer that is nothing but the status UNAVAILABLE, to a call of at most 16 KiB: \
         whoever writes it says that the calls may be repeated.",
    ),
    word("429", "This status: only methods that may be repeated; the same for those below."),
    word("500", "This status."),
    word("502", "This status."),
    word("503", "This status."),
    word("504", "This status."),
];

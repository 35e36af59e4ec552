//! Upstreams: their endpoints, how one is chosen, when it is tried again, what is kept open.

use super::discovery::DISCOVERY;
use super::resilience::{BREAKER, CONCURRENCY, FOUND_OUT, HEALTH, OUTLIER, QUEUE, RETRY};
use super::tls::UPSTREAM_TLS;
use super::{DAY, HOUR, Section, Shape, Word, duration, key, later_word, text, word};

/// The least and the most weight an endpoint can have.
pub(super) const WEIGHT: (u64, u64) = (1, 65_535);

pub(super) static UPSTREAM: Section = Section {
    noun: "an upstream",
    heading: "[upstreams.NAME]",
    doc: "Who can answer, and how one of them is chosen.",
    keys: &[
        key(
            "endpoints",
            Shape::List { of: &Shape::Either(&[text("an address"), Shape::Table(&ENDPOINT)]) },
            "[\"10.0.0.1:9000\", { address = \"10.0.0.2:9000\", weight = 3 }]",
            "At least one: `\"host:port\"`, `\"http://host:port/base\"` (the base path is joined \
             with one slash; `https://` for TLS), `\"unix:/path\"`, or a table.",
        )
        .otherwise("`discovery` says where they come from"),
        key(
            "discovery",
            Shape::Table(&DISCOVERY),
            "{ file = { path = \"backends.json\" } }",
            "Where its endpoints come from, in place of `endpoints`.",
        )
        .otherwise("`endpoints` are listed"),
        key("balance", Shape::Words(BALANCES), "\"least-request\"", "How an endpoint is chosen.")
            .otherwise(
                "`\"round-robin\"`, or `\"weighted-round-robin\"` where an endpoint has a weight \
                 or is found by `discovery`",
            ),
        key(
            "hash",
            Shape::Table(&HASH),
            "{ by = \"header:x-user\" }",
            "What the choice is taken from, for `consistent-hash` and `maglev`.",
        ),
        key(
            "retry",
            Shape::Either(&[Shape::Count { min: 0, max: 10 }, Shape::Table(&RETRY)]),
            "2",
            "How many further times a request is tried, or a table. A request whose bytes have \
             been sent is tried again only where its method allows that.",
        )
        .default("2"),
        key(
            "keepalive",
            Shape::Table(&KEEPALIVE),
            "{ idle-per-worker = 64, idle-timeout = \"60s\" }",
            "What is kept open between requests.",
        ),
        key("protocol", Shape::Words(PROTOCOLS), "\"h1\"", "What is spoken to its endpoints.")
            .otherwise("`\"h1\"`, or `\"tcp\"` where the routes that send to it carry TCP"),
        key(
            "proxy-protocol",
            Shape::Words(PROXY_VERSIONS),
            "\"v2\"",
            "Every connection to its endpoints starts with a PROXY header that tells the client's \
             address. Such a connection carries the requests of one client connection alone.",
        )
        .otherwise("none is sent"),
        key(
            "tls",
            Shape::Table(&UPSTREAM_TLS),
            "{ name = \"secure.internal\", roots = \"ca.pem\" }",
            "How its endpoints that begin with `https://` are spoken to.",
        ),
        key(
            "health",
            Shape::Either(&[text("a path"), Shape::Table(&HEALTH)]),
            "\"/healthz\"",
            "Active checks: the path to ask for, or a table. An endpoint whose checks fail is \
             asked only when no other is ready.",
        )
        .otherwise("no checks"),
        key(
            "outlier",
            Shape::Either(&[Shape::Flag, Shape::Table(&OUTLIER)]),
            "{ consecutive-errors = 5, eject-for = \"10s\", max-ejected = \"50%\" }",
            "Leaves out endpoints that fail what they are asked: connections refused or broken, \
             timeouts, statuses from 500 on and what gRPC calls that. `false` never does.",
        )
        .default("true"),
        key(
            "panic-below",
            Shape::Share,
            "\"30%\"",
            "The share of endpoints that must be ready: below it those that are unhealthy or \
             ejected are asked too, since the few that are left would fail under the load of all.",
        )
        .otherwise("they are asked only where none is ready"),
        key(
            "breaker",
            Shape::Table(&BREAKER),
            "{ max-in-flight = 1000, error-rate = \"50%\", open-for = \"5s\" }",
            "When the upstream as a whole is not asked: its requests get 503 at once.",
        )
        .otherwise("always asked"),
        key(
            "concurrency",
            Shape::Either(&[Shape::Words(FOUND_OUT), Shape::Table(&CONCURRENCY)]),
            "\"adaptive\"",
            "Finds out how many requests in flight the upstream bears before it gets slower, and \
             gives it no more: the others wait in the `queue`, or get 503 at once. For upstreams \
             whose requests take about equally long; long streams and tunnels hold places.",
        )
        .otherwise("no limit but `max-in-flight`"),
        key(
            "hedge",
            text("a percentile or a time"),
            "\"p95\"",
            "Asks a second endpoint the same once the first has not begun its answer for so long, \
             and hears whoever answers first; the other is cancelled. A time, or a percentile of \
             the upstream's own latency of the last 10 to 20 s. Only what may be sent twice: an \
             idempotent method, without a body or with one that `buffer` holds. Once a request, \
             within the `budget` of `retry`.",
        )
        .otherwise("nobody else is asked"),
        key(
            "queue",
            Shape::Table(&QUEUE),
            "{ max = 1000, timeout = \"1s\" }",
            "Has requests wait for a place where all endpoints are at their `max-connections`, or \
             the upstream at its `max-in-flight` or `concurrency`. Those of a higher `priority` go first, others in \
             the order they came. Who finds the queue full, or waits in vain, gets 503 with \
             `Retry-After`.",
        )
        .otherwise("they get 503 at once"),
        key(
            "slow-start",
            duration(HOUR),
            "\"10s\"",
            "How long an endpoint that came back, from a failed check, an ejection or a drain, or \
             that was added beside others that are ready, is given less than its share: from a \
             tenth, evenly growing. Balances by hash do not follow it.",
        )
        .otherwise("the whole share at once"),
    ],
};

const PROTOCOLS: &[Word] = &[
    word("h1", "HTTP/1.1."),
    word("h2", "HTTP/2, under TLS: many requests share a connection."),
    word("h2c", "HTTP/2 in clear text, by prior knowledge."),
    word(
        "grpc",
        "gRPC: HTTP/2, under TLS or in clear as the endpoints say. Each call is balanced by \
         itself.",
    ),
    later_word("h3"),
    word("tcp", "Whatever the client speaks: its bytes, untouched."),
];

const PROXY_VERSIONS: &[Word] =
    &[word("v1", "A line of text."), word("v2", "Binary: shorter, and quicker to read.")];

const BALANCES: &[Word] = &[
    word("random", "Uniform by weight."),
    word("round-robin", "In turn, starting at the first; weights cannot be given.")
        .elsewhere(&["roundrobin", "rr"]),
    word("weighted-round-robin", "Smooth, in nginx's order.").elsewhere(&[
        "weighted",
        "wrr",
        "swrr",
        "weighted-rr",
    ]),
    word(
        "least-request",
        "Fewest in flight by weight, of two drawn at random; of all when few. Those with none \
         share by weight.",
    )
    .elsewhere(&["least-conn", "leastconn", "least-connection", "least-connections", "p2c"]),
    word("peak-ewma", "Lowest latency times in flight, of two drawn at random.").elsewhere(&[
        "ewma",
        "p2c-ewma",
        "least-time",
        "latency",
    ]),
    word("consistent-hash", "A hash ring.").elsewhere(&[
        "ip-hash",
        "hash",
        "ring-hash",
        "ketama",
        "source",
        "sticky",
        "cookie",
    ]),
    word("maglev", "Maglev's table: more even than a ring, moves a little more on a change."),
];

static ENDPOINT: Section = Section {
    noun: "an endpoint",
    heading: "endpoints = [{ … }]",
    doc: "One endpoint.",
    keys: &[
        key("address", text("an address"), "\"10.0.0.2:9000\"", "Where it is.").required(),
        key(
            "weight",
            Shape::Count { min: WEIGHT.0, max: WEIGHT.1 },
            "3",
            "Its share of the load, relative to the others.",
        )
        .default("1"),
        key(
            "max-connections",
            Shape::Count { min: 1, max: 1_000_000 },
            "200",
            "Requests in flight at once, or TCP connections, over all workers.",
        )
        .otherwise("no limit"),
        key("backup", Shape::Flag, "true", "Used only while no other endpoint is ready.")
            .default("false"),
    ],
};

static HASH: Section = Section {
    noun: "a hash",
    heading: "hash = { … }",
    doc: "What the choice of an endpoint is taken from.",
    keys: &[
        key(
            "by",
            text("what is hashed"),
            "\"cookie:session\"",
            "`\"client-ip\"`, `\"header:NAME\"`, `\"cookie:NAME\"`, `\"path\"` or \
             `\"query:NAME\"`.",
        )
        .default("\"client-ip\""),
        key("ring", Shape::Words(RINGS), "\"crc32\"", "Which ring `consistent-hash` walks.")
            .default("\"default\""),
        key(
            "load-bound",
            Shape::Number { min: 1.0, max: 1_000.0 },
            "1.25",
            "An endpoint takes no new request while it has more than this times the mean in \
             flight.",
        )
        .otherwise("no bound"),
    ],
};

const RINGS: &[Word] = &[
    word("default", "Many points an endpoint, by weight."),
    word(
        "crc32",
        "The first generation's, point for point: ten CRC-32 points an endpoint; neither weights \
         nor `load-bound`.",
    ),
];

static KEEPALIVE: Section = Section {
    noun: "keepalive",
    heading: "keepalive = { … }",
    doc: "What is kept open between requests.",
    keys: &[
        key(
            "idle-per-worker",
            Shape::Count { min: 0, max: 100_000 },
            "1024",
            "Idle connections one worker keeps to one endpoint; 0 keeps none.",
        )
        .default("1024"),
        key(
            "idle-timeout",
            duration(DAY),
            "\"60s\"",
            "How long an idle connection is kept. Stay below what the endpoints allow.",
        )
        .default("\"55s\""),
    ],
};

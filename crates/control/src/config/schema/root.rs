//! The top of the file, listeners, the log, and expectations.

use super::route::ROUTE;
use super::tls::CERTIFICATE;
use super::upstream::UPSTREAM;
use super::zookeeper::REGISTER;
use super::{
    DAY, GIB, HOUR, KIB, Key, MIB, Section, Shape, Word, duration, key, later, later_word, text,
    word,
};
use std::time::Duration;

pub(crate) static ROOT: Section = Section {
    noun: "the top of the file",
    heading: "(top of the file)",
    doc: "One file, or one file and what it includes.",
    keys: &[
        key(
            "workers",
            Shape::Count { min: 1, max: 1_024 },
            "4",
            "Threads that serve. Each owns its connections and buffers.",
        )
        .otherwise("one per core"),
        key(
            "drain",
            duration(DAY),
            "\"30s\"",
            "How long a stop waits for requests in flight before it cuts what is left.",
        )
        .default("\"30s\""),
        key(
            "include",
            Shape::List { of: &text("a file or a pattern") },
            "[\"conf.d/*.toml\"]",
            "Further files, relative to this one. `*` and `?` match within a name; what a \
             pattern finds is read in the order of its names, behind this file. A file may \
             stand in one place only.",
        ),
        key(
            "limits",
            Shape::Table(&PROCESS_LIMITS),
            "{ memory = \"512MiB\", connections = 10000 }",
            "What the whole process may use.",
        ),
        key("admin", Shape::Table(&ADMIN), "{ bind = \"127.0.0.1:9900\" }", "The admin interface."),
        key(
            "listeners",
            Shape::Map { key: "NAME", value: &Shape::Table(&LISTENER) },
            "{ web = { bind = \":8080\" } }",
            "Where clients come in, by name. At least one, at most 64.",
        ),
        key(
            "routes",
            Shape::List { of: &Shape::Table(&ROUTE) },
            "[{ path = \"/v1/*\", upstream = \"api\" }]",
            "What becomes of a request, or of a TCP connection. The host decides first (exact, \
             then the longest wildcard, then none), then the path (exact, then patterns in file \
             order, then the longest prefix), then the number of further matchers.",
        ),
        key(
            "upstreams",
            Shape::Map { key: "NAME", value: &Shape::Table(&UPSTREAM) },
            "{ api = { endpoints = [\"10.0.0.1:9000\"] } }",
            "Who can answer, by name.",
        ),
        key("log", Shape::Table(&LOG), "{ access = { format = \"combined\" } }", "What is logged."),
        key(
            "expect",
            Shape::List { of: &Shape::Table(&EXPECT) },
            "[{ request = \"GET http://example.com/\", route = \"home\" }]",
            "Unit tests of the routing, run by `gatehouse test`.",
        ),
        later("policies", "Named policies that routes share."),
        key(
            "register",
            Shape::List { of: &Shape::Table(&REGISTER) },
            "[{ zookeeper = { servers = \"zk1:2181\", path = \"/services/gateways\" }, address = \
             \"10.0.0.7:8080\" }]",
            "What is announced in registries. At most 64.",
        ),
    ],
};

static PROCESS_LIMITS: Section = Section {
    noun: "the limits of the process",
    heading: "[limits]",
    doc: "What the whole process may use. Load is shed before it uses more: at 85 % of its memory \
          requests of low `priority` are answered 503 with `Retry-After`, at 90 % those of normal \
          priority too, at 95 % all, and no connection is taken.",
    keys: &[
        key(
            "memory",
            Shape::Bytes { min: 32 * MIB, max: 1_024 * GIB },
            "\"512MiB\"",
            "Memory of the process; the kernel's socket buffers are not counted. The limits of its \
             cgroups, in which they are, hold besides.",
        )
        .otherwise("80 % of what its cgroup, or else the machine, allows"),
        key(
            "connections",
            Shape::Count { min: 1, max: 10_000_000 },
            "10000",
            "Client connections open at once, over all listeners; one more is closed as it comes. \
             Each needs two open files.",
        )
        .otherwise("as many as the limit on open files is enough for"),
    ],
};

static ADMIN: Section = Section {
    noun: "the admin interface",
    heading: "[admin]",
    doc: "The admin interface of a running gateway.",
    keys: &[key(
        "bind",
        text("an address"),
        "\"127.0.0.1:9900\"",
        "Where it listens: a loopback address, since tokens are not in this version.",
    )
    .required()],
};

static LISTENER: Section = Section {
    noun: "a listener",
    heading: "[listeners.NAME]",
    doc: "Where clients come in.",
    keys: &[
        key(
            "bind",
            text("an address to listen on"),
            "\":8080\"",
            "`\":8080\"` (IPv4 and IPv6), `\"[::]:8080\"` (the same), `\"127.0.0.1:80\"`, or \
             `\"unix:/run/gatehouse.sock\"`.",
        )
        .required(),
        key(
            "protocols",
            Shape::List { of: &Shape::Words(PROTOCOLS) },
            "[\"h1\"]",
            "What is spoken there.",
        )
        .default("[\"h1\"]"),
        key(
            "proxy-protocol",
            Shape::Flag,
            "true",
            "Every connection starts with a PROXY header, version 1 or 2, before TLS; the client's \
             address is the one it tells. Only `trusted-proxies` may connect, and on a UNIX \
             socket whoever its file lets in: a connection from anybody else, and one without a \
             sound header within `head-timeout`, is closed and counted.",
        )
        .default("false"),
        key(
            "trusted-proxies",
            Shape::List { of: &text("an address or a range") },
            "[\"10.0.0.0/8\"]",
            "Whose `Forwarded`, `X-Forwarded-*` and PROXY headers are believed. From anybody else \
             the former are replaced by what the gateway saw.",
        )
        .default("[]"),
        key(
            "limits",
            Shape::Table(&LIMITS),
            "{ head-bytes = \"64KiB\" }",
            "What its clients may cost.",
        ),
        key(
            "tls",
            Shape::Either(&[
                Shape::Table(&CERTIFICATE),
                Shape::List { of: &Shape::Table(&CERTIFICATE) },
            ]),
            "{ cert = \"site.pem\", key = \"site.key\" }",
            "TLS, and the certificates that clients are shown by the name they ask for (SNI). A \
             client that asks for none, or for one that no certificate has, is shown the first. \
             Certificates for one name may differ in the kind of their key: a client gets the \
             elliptic curve's if it can. A request for a host that another rule (`min-version`, \
             `ciphers`, `client-ca`) holds for than its connection was made under is answered 421.",
        ),
    ],
};

const PROTOCOLS: &[Word] = &[
    word("h1", "HTTP/1.1 and HTTP/1.0, WebSocket included."),
    word(
        "h2",
        "HTTP/2: agreed on with TLS, by prior knowledge in clear text. gRPC and WebSocket (RFC \
         8441) included.",
    ),
    later_word("h3"),
    word("tcp", "Raw bytes, whatever they are; alone. See `[[routes]]` for what becomes of them."),
];

static LIMITS: Section = Section {
    noun: "a listener's limits",
    heading: "[listeners.NAME.limits]",
    doc: "What the clients of a listener may cost. Every number holds for the process.",
    keys: LIMIT_KEYS,
};

const LIMIT_KEYS: &[Key] = &[
    key(
        "head-bytes",
        Shape::Bytes { min: KIB, max: MIB },
        "\"64KiB\"",
        "Bytes of a request head, request line included; more is answered 431.",
    )
    .default("\"32KiB\""),
    key(
        "fields",
        Shape::Count { min: 8, max: 1_000 },
        "200",
        "Field lines of a request head; more are answered 431.",
    )
    .default("100"),
    key(
        "target-bytes",
        Shape::Bytes { min: 64, max: MIB },
        "\"16KiB\"",
        "Bytes of a request target; more are answered 414.",
    )
    .default("\"8KiB\""),
    key(
        "body-bytes",
        Shape::Bytes { min: 0, max: 1_024 * GIB },
        "\"10MiB\"",
        "Bytes of a request body; more are answered 413. A route's own `body-bytes` goes before.",
    )
    .otherwise("no limit"),
    key(
        "streams",
        Shape::Count { min: 1, max: 1_000 },
        "250",
        "Requests under way at once on one connection of HTTP/2; one more is refused, to be tried \
         again.",
    )
    .default("100"),
    key(
        "connections",
        Shape::Count { min: 1, max: 10_000_000 },
        "50000",
        "Connections open at once; one more is closed as it comes.",
    )
    .default("20000"),
    key(
        "connections-per-address",
        Shape::Count { min: 1, max: 1_000_000 },
        "100",
        "Connections open at once from one IPv4 address, or one IPv6 network of 64 bits; one more \
         is closed as it comes. Trusted proxies are not counted, but whom they speak for with a \
         PROXY header is.",
    )
    .otherwise("no limit"),
    key(
        "tls-handshake-timeout",
        duration(HOUR),
        "\"5s\"",
        "From the accept of a new connection to the end of its TLS handshake.",
    )
    .default("\"10s\""),
    key(
        "connection-rate",
        text("a rate"),
        "\"500/s\"",
        "Connections taken in a time, over all clients, a second's worth of them at once; one more \
         is closed as it comes.",
    )
    .otherwise("no limit"),
    key(
        "head-timeout",
        duration(HOUR),
        "\"5s\"",
        "From a request's first byte, or the start of a new connection, to the end of the head. \
         Also from accept to the end of a PROXY header, and of the ClientHello where `tcp` is \
         routed by host.",
    )
    .default("\"10s\""),
    key(
        "idle-timeout",
        duration(DAY),
        "\"2m\"",
        "How long a connection may wait for its next request.",
    )
    .default("\"1m\""),
    key(
        "body-rate",
        Shape::ByteRate { max: GIB },
        "\"1KiB/s\"",
        "Below this a request body is too slow, after 10 s of grace; answered 408. `\"0B/s\"` is \
         no limit.",
    )
    .default("\"128B/s\""),
    key(
        "read-rate",
        Shape::ByteRate { max: GIB },
        "\"1KiB/s\"",
        "A client that is waited for, for longer than `timeout.idle` in all and a second more for \
         each so many bytes that it took meanwhile, reads too slowly: its answer is cut. \
         `\"0B/s\"` is no limit.",
    )
    .default("\"128B/s\""),
];

static LOG: Section = Section {
    noun: "the log",
    heading: "[log]",
    doc: "What is logged.",
    keys: &[key(
        "access",
        Shape::Table(&ACCESS),
        "{ format = \"json\", to = \"stdout\" }",
        "One line an exchange.",
    )],
};

static ACCESS: Section = Section {
    noun: "the access log",
    heading: "[log.access]",
    doc: "The access log: one line an exchange.",
    keys: &[
        key("format", Shape::Words(FORMATS), "\"combined\"", "How a line is written.")
            .default("\"json\""),
        key(
            "to",
            text("`stdout`, `stderr` or a file"),
            "\"access.log\"",
            "Where lines go: `\"stdout\"`, `\"stderr\"`, or a file relative to this one.",
        )
        .default("\"stdout\""),
    ],
};

const FORMATS: &[Word] = &[
    word("json", "One JSON object a line."),
    word("combined", "The combined log format of Apache and nginx."),
    word("off", "Nothing is written."),
];

static EXPECT: Section = Section {
    noun: "an expectation",
    heading: "[[expect]]",
    doc: "A request and what should become of it, checked by `gatehouse test`. Give at least one \
          of `route`, `upstream`, `sends`, `location` and `status`.",
    keys: &[
        key(
            "request",
            text("a method and a URL"),
            "\"GET https://api.example.com/v1/items?debug=1\"",
            "The method and the URL asked for.",
        )
        .required(),
        key(
            "headers",
            Shape::Map { key: "FIELD", value: &text("a value") },
            "{ x-beta = \"1\" }",
            "Fields the request carries.",
        ),
        key("client", text("an IP address"), "\"203.0.113.9\"", "Where the request comes from.")
            .default("\"127.0.0.1\""),
        key("listener", text("a listener's name"), "\"web\"", "Where it comes in.")
            .otherwise("the one whose port the URL has, else the first"),
        key("route", text("a route's name"), "\"api\"", "The route that is taken."),
        key("upstream", text("an upstream's name"), "\"api\"", "The upstream it goes to."),
        key(
            "sends",
            text("a path"),
            "\"/items?debug=1\"",
            "Path and query as they are sent, before an endpoint's base path.",
        ),
        key("location", text("a URL"), "\"https://example.com/\"", "Where a redirect leads."),
        key(
            "status",
            Shape::Count { min: 200, max: 599 },
            "404",
            "The status of an answer the gateway gives by itself: a redirect, a fixed answer, \
             404, 405 or 400.",
        ),
    ],
};

/// The longest duration any key takes: what is longer does not fit a timer of the data path.
const _: () = assert!(Duration::from_secs(7 * DAY).as_nanos() < u64::MAX as u128);

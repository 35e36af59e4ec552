//! ZooKeeper: where endpoints are found, and where the gateway is announced.

use super::registries::{REGISTRY_TLS, SECRET_SHAPE};
use super::upstream::WEIGHT;
use super::{HOUR, Key, Section, Shape, Word, key, text, word};
use std::time::Duration;

const SERVERS: Key = key(
    "servers",
    text("servers"),
    "\"zk1:2181,zk2:2181\"",
    "The servers of the ensemble; 2181 is their port where none is given. A path behind them is \
     the chroot: all other paths stand beneath it, and it has to be there.",
)
.required();

const USER: Key = key("user", text("a name"), "\"gatehouse\"", "Who asks.").otherwise("nobody");

const PASSWORD: Key = key(
    "password",
    SECRET_SHAPE,
    "{ file = \"/run/secrets/zookeeper\" }",
    "The user's password: `\"${ZK_PASSWORD}\"`, or a file.",
);

const MECHANISM: Key = key(
    "mechanism",
    Shape::Words(MECHANISMS),
    "\"digest-md5\"",
    "How the user and the password are told.",
)
.default("\"digest\"");

const MECHANISMS: &[Word] = &[
    word("digest", "ZooKeeper's own scheme, for ACLs: they are sent as they are."),
    word(
        "digest-md5",
        "SASL's DIGEST-MD5: the password is not sent, and the server proves itself.",
    )
    .elsewhere(&["sasl"]),
];

static TLS_SHAPES: &[Shape] = &[Shape::Flag, Shape::Table(&REGISTRY_TLS)];

const TLS: Key = key(
    "tls",
    Shape::Either(TLS_SHAPES),
    "{ roots = \"ca.pem\" }",
    "TLS towards the servers (their `secureClientPort`): `true`, or a table.",
)
.default("false");

const SESSION_TIMEOUT: Key = key(
    "session-timeout",
    Shape::Duration { min: Duration::from_millis(500), max: Duration::from_secs(HOUR) },
    "\"10s\"",
    "How long a session outlives silence, within what the servers allow. A server that is silent \
     for two thirds of it is left for another.",
)
.default("\"5s\"");

pub(super) static ZOOKEEPER: Section = Section {
    noun: "a ZooKeeper",
    heading: "zookeeper = { … }",
    doc: "The children of a node of ZooKeeper, 3.4 or later. A child is an endpoint: its name is \
          `host:port`, and its content nothing, JSON or `name=value` lines that may say `weight` \
          (0 takes it out), `backup`, `zone` and more; or its content is a `ServiceInstance` of \
          Curator's or Spring Cloud's; or its name is a provider URL of Dubbo's. A child that is \
          none of these is left out, and reported. Upstreams with the same servers share a \
          connection.",
    keys: &[
        SERVERS,
        key(
            "path",
            text("a path"),
            "\"/services/users\"",
            "The node whose children are the endpoints. It may come later.",
        )
        .required(),
        key(
            "weights",
            text("a path"),
            "\"/gateway_servers_config_users\"",
            "A node that says the weights of all: JSON, `{ \"10.0.0.1:80\": 20 }`, or lines such \
             as `10.0.0.1:80=20`. It goes before what children say; whom it does not name has 50.",
        )
        .otherwise(
            "`/gateway_servers_config_NAME` where the path is the first generation's, \
             `/gateway_servers_NAME`",
        ),
        USER,
        PASSWORD,
        MECHANISM,
        TLS,
        SESSION_TIMEOUT,
    ],
};

static REGISTER_ZOOKEEPER: Section = Section {
    noun: "a ZooKeeper to register with",
    heading: "[[register]] zookeeper = { … }",
    doc: "Where a node is made.",
    keys: &[
        SERVERS,
        key(
            "path",
            text("a path"),
            "\"/services/gateways\"",
            "The node beneath which it is made; made too, with its parents, where it is not there.",
        )
        .required(),
        USER,
        PASSWORD,
        MECHANISM,
        TLS,
        SESSION_TIMEOUT,
    ],
};

pub(super) static REGISTER: Section = Section {
    noun: "an announcement",
    heading: "[[register]]",
    doc: "Announces this gateway, or a service beside it, from when the gateway serves until it \
          drains: a node that ends with the gateway's session. One that an earlier process has \
          left is replaced at once.",
    keys: &[
        key(
            "zookeeper",
            Shape::Table(&REGISTER_ZOOKEEPER),
            "{ servers = \"zk1:2181\", path = \"/services/gateways\" }",
            "Where.",
        )
        .required(),
        key(
            "address",
            text("an address"),
            "\"10.0.0.7:8080\"",
            "What is announced, as others reach it: `host:port`. It is the name of the node.",
        )
        .required(),
        key(
            "weight",
            Shape::Count { min: WEIGHT.0, max: WEIGHT.1 },
            "3",
            "Its share of the load, for whoever finds it.",
        )
        .otherwise("not said"),
        key("zone", text("a name"), "\"a\"", "Where it stands, in your own words.")
            .otherwise("not said"),
        key(
            "metadata",
            Shape::Map { key: "NAME", value: &text("a text") },
            "{ version = \"1.2\" }",
            "What else is said of it.",
        ),
        key("acl", Shape::Words(ACLS), "\"creator\"", "Who may change the node.")
            .default("\"open\""),
    ],
};

const ACLS: &[Word] =
    &[word("open", "Anybody."), word("creator", "This user alone; anybody may read it.")];

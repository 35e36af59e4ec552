//! Discovery: where an upstream's endpoints come from, where they are not written.
//!
//! One key a source; a source that has many keys has a file of its own beside this one.

use super::registries::{CONSUL, ETCD};
use super::zookeeper::ZOOKEEPER;
use super::{Section, Shape, Word, key, text, word};

pub(super) static DISCOVERY: Section = Section {
    noun: "a discovery",
    heading: "discovery = { … }",
    doc: "One source that an upstream's endpoints come from, and how its answers are taken. What \
          a source cannot say, or says wrongly, changes nothing: the last good endpoints stay.",
    keys: &[
        key(
            "file",
            Shape::Table(&FILE),
            "{ path = \"backends.json\" }",
            "A list in a file, taken in whenever that changes.",
        ),
        key(
            "dns",
            Shape::Table(&DNS),
            "{ name = \"api.internal\", port = 9000 }",
            "Addresses of a name, or the servers of a service, asked for again when an answer's \
             time is up.",
        ),
        key(
            "zookeeper",
            Shape::Table(&ZOOKEEPER),
            "{ servers = \"zk1:2181,zk2:2181\", path = \"/services/users\" }",
            "Nodes of ZooKeeper, watched.",
        ),
        key(
            "etcd",
            Shape::Table(&ETCD),
            "{ servers = \"http://127.0.0.1:2379\", prefix = \"/services/users/\" }",
            "Keys of etcd v3, watched.",
        ),
        key(
            "consul",
            Shape::Table(&CONSUL),
            "{ server = \"http://127.0.0.1:8500\", service = \"users\" }",
            "Instances of a service of Consul, by blocking queries.",
        ),
        key(
            "min-healthy",
            Shape::Share,
            "\"80%\"",
            "A set of fewer endpoints than this share of the last one is held back, and reported: \
             the last one stays until a larger set comes, or an operator accepts this one \
             (`gatehouse discovery accept UPSTREAM`). A set of none is always held back.",
        )
        .default("\"50%\""),
        key(
            "storage",
            text("a folder"),
            "\"/var/lib/gatehouse/discovery\"",
            "Where the last good set is kept, for a start while the source is away: it is used \
             until the source has given one. Upstreams may share it; each has a file.",
        )
        .otherwise("`discovery` in `STATE_DIRECTORY` where systemd sets it, else nowhere"),
        key(
            "scheme",
            Shape::Words(SCHEMES),
            "\"https\"",
            "How the endpoints are spoken to. Under TLS an endpoint has to be who `tls.name` says, \
             else the host it was found under, else its address.",
        )
        .default("\"http\""),
        key(
            "max-connections",
            Shape::Count { min: 1, max: 1_000_000 },
            "200",
            "Requests in flight at once at each endpoint, or TCP connections, over all workers.",
        )
        .otherwise("no limit"),
    ],
};

const SCHEMES: &[Word] = &[word("http", "In clear."), word("https", "Under TLS.")];

static FILE: Section = Section {
    noun: "a file of endpoints",
    heading: "file = { … }",
    doc: "A file with a list of endpoints: JSON, or TOML with `endpoints = […]` where its name \
          ends in `.toml`. An endpoint is `\"host:port\"`, or a table of `address`, and where \
          wanted `weight`, `backup`, `zone`, `metadata`. Replace it by renaming another over it.",
    keys: &[key("path", text("a path"), "\"backends.json\"", "The file.").required()],
};

static DNS: Section = Section {
    noun: "a name of DNS",
    heading: "dns = { … }",
    doc: "A name that is asked for. An answer holds as long as it says, from 1 s to 1 h; that \
          there is nothing holds for 1 min at most, and takes no endpoint away before an operator \
          accepts it.",
    keys: &[
        key(
            "name",
            text("a host name"),
            "\"api.internal\"",
            "The name; for a service `_service._proto.domain`.",
        )
        .required(),
        key("type", Shape::Words(ASKS), "\"srv\"", "What is asked for.").default("\"address\""),
        key(
            "port",
            Shape::Count { min: 1, max: 65_535 },
            "9000",
            "The port of the endpoints; a service says it itself.",
        ),
        key(
            "family",
            Shape::Words(FAMILIES),
            "\"ipv4\"",
            "Which addresses are used where a name has both kinds.",
        )
        .default("\"auto\""),
        key(
            "servers",
            Shape::Many { of: &text("an address") },
            "[\"10.0.0.2\", \"[fd00::2]:5353\"]",
            "Who is asked; port 53 where none is written.",
        )
        .otherwise("whom `/etc/resolv.conf` names, after `/etc/hosts`"),
    ],
};

const ASKS: &[Word] = &[
    word("address", "Its A and AAAA records."),
    word(
        "srv",
        "Its SRV records: targets, ports and weights; those of the lowest priority are used, the \
         others are backups.",
    ),
];

const FAMILIES: &[Word] = &[
    word(
        "auto",
        "The kind that can be reached: connections to both are opened, the IPv6 one first, and \
         whichever opens first says (RFC 8305).",
    ),
    word("ipv4", "IPv4 alone."),
    word("ipv6", "IPv6 alone."),
    word("both", "All, each an endpoint of its own."),
];

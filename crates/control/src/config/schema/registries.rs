//! Registries that are spoken to over HTTP: etcd and Consul.

use super::{Section, Shape, key, text};

/// A secret: written, or in a file.
pub(super) const SECRET_SHAPE: Shape = Shape::Either(&[text("a secret"), Shape::Table(&SECRET)]);

static SECRET: Section = Section {
    noun: "a secret",
    heading: "password = { … }",
    doc: "A secret that stands in a file of its own: read whenever it is needed, so that it may be \
          replaced, and shown nowhere.",
    keys: &[key("file", text("a path"), "\"/run/secrets/etcd\"", "The file: one line of text.")
        .required()],
};

/// How servers of a registry are spoken to under TLS.
pub(super) static REGISTRY_TLS: Section = Section {
    noun: "TLS towards a registry",
    heading: "tls = { … } of a registry",
    doc: "How servers that begin with `https://` are spoken to. Without it their certificates are \
          verified by the system's roots and their own host names. The files are read again for \
          new connections after a failure.",
    keys: &[
        key(
            "roots",
            text("a file"),
            "\"ca.pem\"",
            "Whoever issued their certificates, in PEM, instead of the system's roots.",
        )
        .otherwise("the system's"),
        key(
            "name",
            text("a host name"),
            "\"etcd.internal\"",
            "The name their certificates have to have, instead of their own.",
        )
        .otherwise("each server's own host"),
        key("cert", text("a file"), "\"me.pem\"", "What the gateway shows where it is asked."),
        key("key", text("a file"), "\"me.key\"", "Its private key."),
    ],
};

/// The keys that say which etcd, and as whom.
const SERVERS: super::Key = key(
    "servers",
    Shape::Many { of: &text("a URL") },
    "[\"http://127.0.0.1:2379\"]",
    "Its servers, one or many: each is asked where the one before does not answer.",
)
.required();

pub(super) static ETCD: Section = Section {
    noun: "an etcd",
    heading: "etcd = { … }",
    doc: "Keys of etcd v3, 3.4 or later, over its JSON gateway. What follows the prefix in a key \
          is `host:port`, or the key's value is; a value may say more in JSON: `address`, \
          `weight`, `backup`, `zone`, `metadata`.",
    keys: &[
        SERVERS,
        key(
            "prefix",
            text("a prefix"),
            "\"/services/users/\"",
            "What its keys begin with. With a slash at its end, that `/services/users2/` is not \
             meant too.",
        )
        .required(),
        key("user", text("a name"), "\"gatehouse\"", "Who asks, where etcd wants to know.")
            .otherwise("nobody"),
        key(
            "password",
            SECRET_SHAPE,
            "{ file = \"/run/secrets/etcd\" }",
            "Its password: `\"${ETCD_PASSWORD}\"`, or a file.",
        ),
        key(
            "tls",
            Shape::Table(&REGISTRY_TLS),
            "{ roots = \"ca.pem\" }",
            "How servers that begin with `https://` are spoken to.",
        ),
    ],
};

pub(super) static CONSUL: Section = Section {
    noun: "a Consul",
    heading: "consul = { … }",
    doc: "Instances of a service of Consul, by its health API and blocking queries. An instance \
          is at its service's address, or its node's where that has none; its weight is `Weights` \
          of the service, its metadata `Meta`, its zone `Locality`, or `zone` of `Meta`.",
    keys: &[
        key(
            "server",
            text("a URL"),
            "\"http://127.0.0.1:8500\"",
            "Who is asked: the agent of this machine, most often.",
        )
        .required(),
        key("service", text("a name"), "\"users\"", "The service.").required(),
        key(
            "tag",
            Shape::Many { of: &text("a tag") },
            "\"v2\"",
            "Only instances with this tag, or all of these.",
        )
        .otherwise("whatever their tags"),
        key("datacenter", text("a name"), "\"dc1\"", "The datacenter.")
            .otherwise("that of whoever is asked"),
        key(
            "token",
            SECRET_SHAPE,
            "{ file = \"/run/secrets/consul\" }",
            "Its token: `\"${CONSUL_TOKEN}\"`, or a file.",
        )
        .otherwise("none is sent"),
        key(
            "passing",
            Shape::Flag,
            "false",
            "Takes only instances whose every check passes. `false` takes those too that warn, \
             by their weight for that; one that is critical is never taken.",
        )
        .default("true"),
        key(
            "tls",
            Shape::Table(&REGISTRY_TLS),
            "{ roots = \"ca.pem\" }",
            "How a server that begins with `https://` is spoken to.",
        ),
    ],
};

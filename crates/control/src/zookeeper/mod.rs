//! A client of Apache ZooKeeper, over `wire`'s streams: names are resolved like all others, TLS
//! and its name check are the gateway's own, every wait and queue has a bound, and nothing of it
//! runs on the data path. docs/decisions/0005-zookeeper-client.md says why it is no dependency.

mod client;
mod digest_md5;
mod events;
mod greeting;
mod jute;
mod keep;
mod link;
mod md5;
mod message;
pub(crate) mod path;
mod shared;
mod trouble;

pub(crate) use client::Client;
pub(crate) use events::{Events, Told};
pub(crate) use message::{Acl, Code, Happened, Life, Stat, Watch};
pub(crate) use shared::Phase;
pub(crate) use trouble::Trouble;

//! What is announced in a registry, as an operator wrote it.

use super::json::Json;
use super::lower::endpoint_address;
use super::node_url::NodeUrl;
use super::zookeeper::ZooKeeperServers;
use crate::zookeeper::Acl;
use crate::zookeeper::path::child;
use gatehouse_core::address::Address;
use std::sync::Arc;

/// One announcement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegisterSpec {
    /// Where it is announced.
    pub servers: Arc<ZooKeeperServers>,
    /// The node that its own stands beneath.
    pub path: Box<str>,
    /// What is announced: `host:port`. Its node has this name.
    pub address: Box<str>,
    /// What its node says besides.
    pub content: Box<[u8]>,
    /// Who may change the node.
    pub(crate) acl: Acl,
}

impl RegisterSpec {
    /// One that stands on no file.
    ///
    /// # Errors
    /// Why the address cannot be announced.
    pub(crate) fn new(
        url: &NodeUrl,
        address: &str,
        weight: Option<u64>,
        zone: Option<&str>,
    ) -> Result<RegisterSpec, String> {
        announceable(address)?;
        Ok(RegisterSpec {
            servers: Arc::clone(&url.servers),
            path: url.path.clone(),
            address: address.into(),
            content: content(weight, zone, Vec::new()),
            acl: Acl::Open,
        })
    }

    /// Its node.
    pub fn node(&self) -> String {
        child(&self.path, &self.address)
    }
}

/// Whether others can reach an address.
///
/// # Errors
/// Why not.
pub(super) fn announceable(text: &str) -> Result<(), String> {
    match endpoint_address(text)? {
        Address::Ip(address) if address.ip().is_unspecified() => {
            Err(format!("{} is no address that anybody could reach", address.ip()))
        }
        Address::Ip(_) | Address::Name { .. } if !text.contains('/') => Ok(()),
        _ => Err("only host:port can be announced".to_owned()),
    }
}

/// What a node says besides its name: nothing, or JSON.
pub(super) fn content(
    weight: Option<u64>,
    zone: Option<&str>,
    metadata: Vec<(String, Json)>,
) -> Box<[u8]> {
    let mut members = Vec::new();
    members.extend(weight.map(|weight| ("weight".to_owned(), Json::Count(weight))));
    members.extend(zone.map(|zone| ("zone".to_owned(), Json::text(zone))));
    if !metadata.is_empty() {
        members.push(("metadata".to_owned(), Json::Object(metadata)));
    }
    match members.is_empty() {
        true => Box::default(),
        false => Json::Object(members).to_string().into_bytes().into(),
    }
}

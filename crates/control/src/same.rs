//! Whether endpoints are what they were.

use gatehouse_core::endpoints::Endpoint;
use std::sync::Arc;

/// Whether two lists would be balanced over in the same way and dialled at the same places.
pub(crate) fn same_list(old: &[Endpoint], new: &[Endpoint]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same_endpoint(old, new))
}

fn same_endpoint(old: &Endpoint, new: &Endpoint) -> bool {
    let Endpoint {
        text,
        address,
        authority,
        tls,
        base_path,
        weight,
        connections_max,
        backup,
        standing,
        warmth,
        vitals,
    } = new;
    *text == old.text
        && *address == old.address
        && *authority == old.authority
        && *tls == old.tls
        && *base_path == old.base_path
        && *weight == old.weight
        && *connections_max == old.connections_max
        && *backup == old.backup
        && *standing == old.standing
        && *warmth == old.warmth
        && Arc::ptr_eq(vitals, &old.vitals)
}

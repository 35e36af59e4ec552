//! ZooKeeper, made by others, started here, killed, and brought back.

mod chaos;
mod commands;
mod configuration;
mod endpoints;
mod ensemble;
mod outages;
mod registering;
mod trust;

use crate::front::{DOORS, LIMIT, ask_admin, get};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use std::collections::BTreeSet;

/// How soon a change is followed.
const SOON: std::time::Duration = std::time::Duration::from_secs(2);

/// A gateway whose endpoints are children of `/s`.
fn config(hosts: &str, more: &str) -> String {
    config_of(hosts, &format!("path = \"/s\"\n{more}"))
}

fn config_of(hosts: &str, more: &str) -> String {
    format!(
        "{DOORS}[log]\naccess = {{ format = \"off\" }}\n[[routes]]\nname = \"all\"\n\
         upstream = \"users\"\n[upstreams.users]\nretry = 0\n\
         [upstreams.users.discovery]\nmin-healthy = \"0%\"\n\
         [upstreams.users.discovery.zookeeper]\nservers = \"{hosts}\"\n{more}"
    )
}

fn origins<const N: usize>() -> [Origin; N] {
    std::array::from_fn(|at| Origin::start(&format!("o{at}")).expect("a port"))
}

fn node(origin: &Origin) -> String {
    format!("/s/{}", origin.address())
}

/// Who answers, asked more often than there are endpoints.
fn who(gateway: &Gateway) -> BTreeSet<String> {
    let web = gateway.listener("web");
    (0..12).map(|_| get(web, "/").text().trim().to_owned()).collect()
}

#[track_caller]
fn await_who(gateway: &Gateway, names: &[&str]) {
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    wait_until(LIMIT, || who(gateway) == wanted);
}

/// What `/status` says of this part.
fn status(gateway: &Gateway, part: &str) -> String {
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    format!("{:?}", status.at(part))
}

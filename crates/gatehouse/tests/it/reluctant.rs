//! Clients that ask for much and do not read it. By itself the kernel would keep megabytes for
//! each, and those of all of them are more than all sockets of a machine may have: it drops what it
//! cannot keep and sends it again later and later, to other tests too.

use crate::front::request;
use gatehouse_rig::origin::{Origin, Temper};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Response};
use std::net::Ipv4Addr;

/// How much the kernel keeps on either side of the gateway.
pub const KEPT: usize = 64 << 10;

/// A large answer that cannot be spliced past the gateway's own buffers.
const LARGE: &str = "/chunked/50000000";

pub fn origin_of_much() -> Origin {
    let temper = Temper { unread: KEPT, ..Temper::default() };
    Origin::start_as("a", (Ipv4Addr::LOCALHOST, 0).into(), temper).expect("a port")
}

/// Asks for something large, and reads no more of the answer than its head; the kernel keeps about
/// `kept` of the rest for it.
#[track_caller]
pub fn reads_nothing(gateway: &Gateway, kept: usize) -> (Client, Response) {
    let mut client = Client::connect_keeping(gateway.listener("web"), kept);
    let answer = client.send(request("GET", LARGE, "")).read_response_to_head();
    (client, answer)
}

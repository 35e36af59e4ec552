//! Which of a name's two kinds of addresses is used (RFC 8305, "happy eyeballs"): where it has
//! both, connections are opened to both, the IPv6 one first, and whichever opens first says. So a
//! machine whose IPv6 leads nowhere is not made to try it with every request. Done here, off the
//! data path, and not by each request: who answers one has answered.

use gatehouse_core::address::Address;
use gatehouse_wire::Net;
use gatehouse_wire::timer::{Timer, now};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How much later the next connection is tried (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// How long all of it may take.
const MOST: Duration = Duration::from_secs(2);

/// Addresses of one kind that are tried.
const TRIED_MAX: usize = 3;

/// The addresses that are to be used: those of the kind that can be reached; all where there is
/// one kind alone, or where none can be reached just now.
pub(super) async fn reachable(net: &Net, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let (v6, v4): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6());
    if v6.is_empty() || v4.is_empty() {
        return addresses.to_vec();
    }
    let tries = v6.len().max(v4.len()).min(TRIED_MAX);
    let in_turn = (0..tries).flat_map(|at| v6.get(at).into_iter().chain(v4.get(at)));
    match first(net, in_turn.copied().collect()).await {
        Some(SocketAddr::V6(_)) => v6,
        Some(SocketAddr::V4(_)) => v4,
        None => addresses.to_vec(),
    }
}

type Dialling<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;

/// The first of these that can be reached, each tried a little after the one before, or as soon as
/// all that are under way have failed.
async fn first(net: &Net, addresses: Vec<SocketAddr>) -> Option<SocketAddr> {
    let end = now().after(MOST);
    let (mut timer, mut next_at) = (Timer::default(), now());
    let mut waiting = addresses.into_iter();
    let mut under_way: Vec<(SocketAddr, Dialling<'_>)> = Vec::new();
    poll_fn(|cx| {
        loop {
            let mut opened = None;
            under_way.retain_mut(|(address, dialling)| match dialling.as_mut().poll(cx) {
                Poll::Ready(true) => {
                    opened = opened.or(Some(*address));
                    false
                }
                Poll::Ready(false) => false,
                Poll::Pending => true,
            });
            if opened.is_some() || now() >= end {
                return Poll::Ready(opened);
            }
            if under_way.is_empty() || now() >= next_at {
                match waiting.next() {
                    Some(address) => {
                        under_way.push((address, dial(net, address)));
                        next_at = now().after(STAGGER);
                        continue;
                    }
                    None if under_way.is_empty() => return Poll::Ready(None),
                    None => next_at = end,
                }
            }
            match timer.poll_until(cx, next_at.min(end)) {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

fn dial(net: &Net, address: SocketAddr) -> Dialling<'_> {
    Box::pin(async move { net.dial(&Address::Ip(address)).await.is_ok() })
}

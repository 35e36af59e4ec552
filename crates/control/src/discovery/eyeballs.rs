//! Which of a name's two kinds of addresses is used (RFC 8305, "happy eyeballs"): where it has
//! both, connections are opened to both, the IPv6 one first, and whichever opens first says. So a
//! machine whose IPv6 leads nowhere is not made to try it with every request. Done here, off the
//! data path, and not by each request: who answers one has answered.

use crate::dns::{Kind, Unknown};
use gatehouse_core::address::Address;
use gatehouse_core::moment::Moment;
use gatehouse_wire::Net;
use gatehouse_wire::timer::{Timer, now};
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How much later the next connection is tried (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// How long all of it may take.
const MOST: Duration = Duration::from_secs(2);

/// Addresses of one kind that are tried.
const TRIED_MAX: usize = 3;

/// How long it holds which kind of addresses of a name can be reached.
const REACHABLE_HOLDS: Duration = Duration::from_secs(30);

/// The addresses of one name, from one look-up to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    all: Vec<IpAddr>,
    /// Those that are used, and when that was found out.
    used: Option<(Vec<IpAddr>, Moment)>,
}

impl Remembered {
    /// What was found, and what nobody told of this time: that nobody says so does not mean that
    /// those of before are gone.
    pub fn completed(&self, mut list: Vec<IpAddr>, unknown: Option<&Unknown>) -> Vec<IpAddr> {
        if let Some(unknown) = unknown {
            let of_kind = |ip: &&IpAddr| ip.is_ipv4() == (unknown.kind == Kind::A);
            list.extend(self.all.iter().filter(of_kind));
            list.sort_unstable();
        }
        list
    }

    /// Remembers these, all of which are used.
    pub fn take_all(&mut self, list: &[IpAddr]) {
        self.all = list.to_vec();
        self.used = None;
    }

    /// Remembers these; gives those that are to be used.
    pub async fn choose(&mut self, list: Vec<IpAddr>, port: u16) -> Vec<IpAddr> {
        if let Some((used, since)) = &self.used
            && self.all == list
            && now().since(*since) < REACHABLE_HOLDS
        {
            return used.clone();
        }
        let addresses: Vec<SocketAddr> = list.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        let used = reachable(&Net::System, &addresses).await;
        let used: Vec<IpAddr> = used.iter().map(SocketAddr::ip).collect();
        self.all = list;
        self.used = Some((used.clone(), now()));
        used
    }
}

/// The addresses that are to be used: those of the kind that can be reached; all where there is
/// one kind alone, or where none can be reached just now.
async fn reachable(net: &Net, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_proxy::gate::block_on;
    use std::net::TcpListener;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn addresses_that_nobody_told_of_are_those_of_before() {
        let mut known = Remembered::default();
        known.take_all(&ips(&["10.0.0.1", "10.0.0.2", "fd00::1"]));
        let unknown = |kind| Unknown { kind, why: "no answer".to_owned() };
        let new = || ips(&["fd00::2"]);
        let expected = ips(&["10.0.0.1", "10.0.0.2", "fd00::2"]);
        assert_eq!(known.completed(new(), Some(&unknown(Kind::A))), expected);
        assert_eq!(known.completed(new(), None), new());
        let expected = ips(&["10.0.0.9", "fd00::1"]);
        assert_eq!(known.completed(ips(&["10.0.0.9"]), Some(&unknown(Kind::Aaaa))), expected);
    }

    #[test]
    fn the_kind_that_can_be_reached_is_used_and_all_where_none_can() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        // A discard prefix (RFC 6666): nobody is there.
        let both = ips(&["127.0.0.1", "100::1"]);
        let choose = |list: Vec<IpAddr>| {
            block_on(async { Remembered::default().choose(list, port).await }).expect("a runtime")
        };
        assert_eq!(choose(both.clone()), ips(&["127.0.0.1"]));
        drop(listener);
        assert_eq!(choose(both.clone()), both);
        assert_eq!(choose(ips(&["127.0.0.2"])), ips(&["127.0.0.2"]));
    }
}

//! The first part of step 2: a PROXY header that says whose connection this is. Nothing else of
//! the connection is read before it, and nothing behind it is.

use crate::worker::Worker;
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::plan::{Announced, ListenerPlan};
use gatehouse_wire::announced::{HeaderFault, HeaderReader};
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::{Peer, Stream};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The client.
    pub peer: Peer,
    /// What it connected to, where a proxy says so.
    pub destination: Option<SocketAddr>,
}

/// Learns whose connection it is: the peer's own, or on a listener that asks for it the one that
/// the peer's PROXY header speaks of.
pub(crate) async fn caller(
    worker: &Worker,
    rules: &ListenerPlan,
    stream: &mut Stream,
    peer: Peer,
) -> Result<Caller, Failure> {
    match rules.announced {
        Announced::No => Ok(Caller { peer, destination: None }),
        // Boxed: few listeners ask for it, and every connection would hold room for it.
        Announced::ByProxyHeader => {
            let told = Box::pin(told(rules, stream, peer)).await;
            worker.meters.proxy_headers_refused.add(u64::from(told.is_err()));
            told
        }
    }
}

async fn told(rules: &ListenerPlan, stream: &mut Stream, peer: Peer) -> Result<Caller, Failure> {
    let failure = |kind, why| Failure::because(Step::Handshake, kind, why);
    // Who may open a UNIX socket is up to its file.
    if let Peer::Ip(address) = peer
        && !rules.trusts(address.ip())
    {
        return Err(failure(Kind::PeerNotTrusted, ""));
    }
    let deadline = now().after(rules.limits.head_timeout);
    let mut timer = Timer::default();
    let mut reader = HeaderReader::default();
    let ends = poll_fn(|cx| match reader.poll(cx, stream) {
        Poll::Ready(Ok(ends)) => Poll::Ready(Ok(ends)),
        Poll::Ready(Err(HeaderFault::Malformed(why))) => {
            Poll::Ready(Err(failure(Kind::ProxyHeaderInvalid, why)))
        }
        Poll::Ready(Err(HeaderFault::Gone)) => Poll::Ready(Err(failure(Kind::ClientGone, ""))),
        Poll::Pending => {
            let late = || Err(failure(Kind::HandshakeTimeout, "PROXY header"));
            timer.poll_until(cx, deadline).map(|()| late())
        }
    })
    .await?;
    Ok(match ends {
        None => Caller { peer, destination: None },
        Some(ends) => Caller {
            peer: Peer::Ip(SocketAddr::new(ends.source.ip().to_canonical(), ends.source.port())),
            destination: Some(ends.destination),
        },
    })
}

//! Step 2, handshake: socket -> connection under TLS, within the listener's limit.

use crate::client::{Client, Wrote};
use crate::worker::Worker;
use gatehouse_core::plan::{Carries, Transport};
use gatehouse_wire::h2::Last;
use gatehouse_wire::timer::now;
use gatehouse_wire::tls::{Accepted, HandshakeError, accept};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Proof that a client may be heard.
#[derive(Debug)]
pub(crate) struct Shaken(());

/// What those are told who speak HTTP to a port of HTTPS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 52\r\n\
    Connection: close\r\n\r\n\
    400 Bad Request: this port speaks https, not http.\r\n";

/// How long a client may take to read that.
const PLAIN_HTTP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the last bytes of a challenge may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What became of a handshake, in the order of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeEnd {
    /// A new session.
    Full,
    /// An earlier session, taken up again.
    Resumed,
    /// The client closed.
    Closed,
    /// The client spoke HTTP in clear.
    PlainHttp,
    /// The client broke the protocol.
    Protocol,
    /// There was nothing that both could speak.
    Incompatible,
    /// The client's certificate was missing or not good.
    Certificate,
    /// The client refused.
    Alert,
    /// It took too long.
    Timeout,
    /// It proved a name to an ACME server.
    Challenge,
}

impl HandshakeEnd {
    /// All of them, in the order of the counters.
    pub const ALL: [HandshakeEnd; 10] = [
        HandshakeEnd::Full,
        HandshakeEnd::Resumed,
        HandshakeEnd::Closed,
        HandshakeEnd::PlainHttp,
        HandshakeEnd::Protocol,
        HandshakeEnd::Incompatible,
        HandshakeEnd::Certificate,
        HandshakeEnd::Alert,
        HandshakeEnd::Timeout,
        HandshakeEnd::Challenge,
    ];

    /// The word used in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            HandshakeEnd::Full => "full",
            HandshakeEnd::Resumed => "resumed",
            HandshakeEnd::Closed => "closed",
            HandshakeEnd::PlainHttp => "plain-http",
            HandshakeEnd::Protocol => "protocol",
            HandshakeEnd::Incompatible => "incompatible",
            HandshakeEnd::Certificate => "certificate",
            HandshakeEnd::Alert => "alert",
            HandshakeEnd::Timeout => "timeout",
            HandshakeEnd::Challenge => "challenge",
        }
    }

    fn of(error: &HandshakeError) -> HandshakeEnd {
        match error {
            HandshakeError::Gone => HandshakeEnd::Closed,
            HandshakeError::PlainHttp => HandshakeEnd::PlainHttp,
            HandshakeError::Protocol(_) => HandshakeEnd::Protocol,
            HandshakeError::Incompatible(_) => HandshakeEnd::Incompatible,
            HandshakeError::Certificate(_) => HandshakeEnd::Certificate,
            HandshakeError::Alert(_) => HandshakeEnd::Alert,
        }
    }
}

/// Makes a connection one under TLS where its listener is; `None` where it came to nothing. Costs
/// nothing where it is not, or is already.
pub(crate) async fn handshake(worker: &Worker, client: &mut Client) -> Option<Shaken> {
    match client.rules().transport {
        Transport::Clear => Some(Shaken(())),
        Transport::Tls if client.io.stream.tls().is_some() => Some(Shaken(())),
        // In a box of its own: a connection has no room for it while it is served.
        Transport::Tls => boxed(worker, client).await,
    }
}

fn boxed<'a>(
    worker: &'a Worker,
    client: &'a mut Client,
) -> Pin<Box<dyn Future<Output = Option<Shaken>> + 'a>> {
    Box::pin(shake(worker, client))
}

async fn shake(worker: &Worker, client: &mut Client) -> Option<Shaken> {
    let view = client.door().view(worker);
    // A listener under TLS is never served without: there is a side wherever the plan says so.
    let side = Arc::clone(view.credentials.listener(client.door().place())?);
    let deadline = client.since.after(client.limits().tls_handshake_timeout);
    let outcome = {
        let (io, timer) = (&mut client.io, &mut client.timer);
        let challenges = view.challenges.as_ref().map(|challenges| &challenges.handshakes);
        let mut accepting = pin!(accept(&mut io.stream, side, challenges));
        poll_fn(|cx| match accepting.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => timer.poll_until(cx, deadline).map(|()| None),
        })
        .await
    };
    let end = match &outcome {
        None => HandshakeEnd::Timeout,
        Some(Err(error)) => HandshakeEnd::of(error),
        Some(Ok(Accepted::Challenge)) => HandshakeEnd::Challenge,
        Some(Ok(Accepted::Client)) => match client.io.stream.tls() {
            Some(facts) if facts.resumed => HandshakeEnd::Resumed,
            _ => HandshakeEnd::Full,
        },
    };
    worker.meters.handshakes[end as usize].add(1);
    client.since = now();
    match end {
        HandshakeEnd::Full | HandshakeEnd::Resumed => return Some(Shaken(())),
        HandshakeEnd::PlainHttp if client.rules().carries == Carries::Http => explain(client).await,
        // The authority has seen what it came for.
        HandshakeEnd::Challenge => say_farewell(client).await,
        _ => {}
    }
    None
}

/// Tells a client in clear what this port speaks.
async fn explain(client: &mut Client) {
    let deadline = now().after(PLAIN_HTTP_TIMEOUT);
    if client.io.write(&mut client.timer, PLAIN_HTTP, Last::Yes, deadline).await == Wrote::All {
        drop(poll_fn(|cx| client.io.stream.poll_shutdown(cx)).await);
    }
}

/// Ends a connection with close_notify.
async fn say_farewell(client: &mut Client) {
    let deadline = now().after(FAREWELL_TIMEOUT);
    let (io, timer) = (&mut client.io, &mut client.timer);
    poll_fn(|cx| match io.stream.poll_shutdown(cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => timer.poll_until(cx, deadline),
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_in_clear_has_the_length_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn every_end_is_counted_in_its_own_place() {
        for (at, end) in HandshakeEnd::ALL.into_iter().enumerate() {
            assert_eq!(at, end as usize);
        }
    }
}

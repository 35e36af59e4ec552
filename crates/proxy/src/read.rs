//! Step 3, read: connection -> request head within limits, framing unambiguous.

use crate::client::Client;
use crate::trace::Trace;
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::RequestHead;
use gatehouse_wire::h1::{ReadError, RequestLimits, request};
use gatehouse_wire::timer::now;
use std::future::poll_fn;
use std::task::Poll;

/// Reads a request head.
pub(crate) async fn read(
    client: &mut Client,
    head: &mut RequestHead,
    trace: &mut Trace,
) -> Result<(), Failure> {
    head.clear();
    let limits = RequestLimits {
        head_bytes_max: client.limits().head_bytes_max as usize,
        fields_max: usize::from(client.limits().fields_max),
        target_bytes_max: client.limits().target_bytes_max as usize,
    };
    let since = if client.served == 0 { client.since } else { trace.started };
    let deadline = since.after(client.limits().head_timeout);
    let (io, timer) = (&mut client.io, &mut client.timer);
    let mut scanned = 0;
    let mut waited = false;
    let outcome = poll_fn(|cx| {
        match request::poll_read(cx, &mut io.stream, &mut io.inbox, &limits, &mut scanned, head) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(meaning)),
            Poll::Pending => {
                waited = true;
                let late = Failure::new(Step::Read, Kind::RequestHeadTimeout);
                timer.poll_until(cx, deadline).map(|()| Err(late))
            }
        }
    })
    .await;
    // A head that was there at once took no time worth a look at the clock.
    let read = if waited { now() } else { trace.started };
    trace.read = Some(read);
    trace.tried = read;
    outcome
}

/// What a read error means.
fn meaning(error: ReadError) -> Failure {
    let (kind, detail) = match error {
        ReadError::Closed | ReadError::Truncated | ReadError::Reset => (Kind::ClientGone, ""),
        ReadError::Malformed(detail) => (Kind::RequestMalformed, detail),
        ReadError::Ambiguous(detail) => (Kind::RequestFramingAmbiguous, detail),
        ReadError::Host(detail) => (Kind::RequestHostInvalid, detail),
        ReadError::TooLarge => (Kind::RequestHeadTooLarge, "too many bytes"),
        ReadError::TooManyFields => (Kind::RequestHeadTooLarge, "too many fields"),
        ReadError::TargetTooLong => (Kind::RequestTargetTooLong, ""),
        ReadError::Method => (Kind::RequestMethodUnsupported, "connect"),
        ReadError::Coding => (Kind::RequestCodingUnsupported, ""),
        ReadError::Version => (Kind::RequestVersionUnsupported, ""),
    };
    Failure::because(Step::Read, kind, detail)
}

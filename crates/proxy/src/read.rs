//! Step 3, read: connection -> request head within limits, framing unambiguous.

use crate::client::Client;
use crate::grpc::Call;
use crate::trace::Trace;
use crate::worker::Worker;
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{Known, RequestHead};
use gatehouse_core::plan::ClientLimits;
use gatehouse_wire::h1::{ReadError, RequestLimits, request, salvage};
use gatehouse_wire::timer::now;
use std::future::poll_fn;
use std::task::Poll;

/// Reads a request head.
pub(crate) async fn read(
    worker: &Worker,
    client: &mut Client,
    head: &mut RequestHead,
    trace: &mut Trace,
) -> Result<(), Failure> {
    head.clear();
    let limits = limits(client.limits());
    if let Some(stream) = client.io.stream.as_h2() {
        trace.read = Some(now());
        stream.read_request(&limits, head).map_err(meaning)?;
        if head.asks_upgrade() {
            append_key(worker, head);
        }
        trace.call = Call::of(head, now())?;
        return Ok(());
    }
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
    if let Err(failure) = outcome {
        salvage(io.inbox.bytes(), head);
        return Err(failure);
    }
    // gRPC-Web is what gRPC is over HTTP/1.1.
    if head.fields.has(Known::ContentType) {
        trace.call = Call::of(head, read)?.filter(|call| call.web.is_some());
    }
    Ok(())
}

/// How large a head may be.
pub(crate) fn limits(of: &ClientLimits) -> RequestLimits {
    RequestLimits {
        head_bytes_max: of.head_bytes_max as usize,
        fields_max: usize::from(of.fields_max),
        target_bytes_max: of.target_bytes_max as usize,
    }
}

/// A WebSocket that began with CONNECT has no key; the handshake of HTTP/1.1 needs one (RFC 8441
/// section 5.1).
fn append_key(worker: &Worker, head: &mut RequestHead) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    head.fields.remove(Known::SecWebSocketKey);
    let mut chance = worker.chance.borrow_mut();
    let mut key = [b'='; 24];
    // 16 bytes are 21 digits of 6 bits and one of 2.
    let bits = u128::from(chance.next_u64()) << 64 | u128::from(chance.next_u64());
    for (at, digit) in key.iter_mut().enumerate().take(22) {
        let six = if at < 21 { bits >> (122 - 6 * at) } else { bits << 4 };
        *digit = DIGITS[(six & 63) as usize];
    }
    head.fields.append(b"Sec-WebSocket-Key", &key);
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

//! Between admit and pick: a request body known to be small is read whole, where its route asks for
//! that. A client that sends it slowly holds no upstream meanwhile, and it can be sent again.
//! Never here: a body whose length is not known, or that is longer than the route's `buffer`.

use crate::admit::Admitted;
use crate::client::{Client, Wrote};
use crate::send::BODY_GRACE;
use crate::trace::{Blocker, Trace};
use crate::worker::{Desk, Heads};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{BodyLength, Fields, Known, RequestHead, Version, lists_token};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::Timeouts;
use gatehouse_wire::buffer::LARGE_BYTES;
use gatehouse_wire::h2::Last;
use gatehouse_wire::timer::now;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

/// Room for a request body that is read whole: made for the first exchange that needs it.
#[derive(Debug, Default)]
pub(crate) struct Whole(Option<Box<Body>>);

/// A request body that is read whole.
#[derive(Debug, Default)]
struct Body {
    held: bool,
    bytes: Vec<u8>,
    trailers: Option<Box<Fields>>,
}

impl Whole {
    fn body(&self) -> Option<&Body> {
        self.0.as_deref().filter(|body| body.held)
    }

    /// Whether the body of this exchange was read whole.
    pub fn is_held(&self) -> bool {
        self.body().is_some()
    }

    pub fn bytes(&self) -> &[u8] {
        self.body().map_or(&[], |body| &body.bytes)
    }

    /// What followed it, where its client speaks HTTP/2.
    pub fn trailers(&self) -> Option<&Fields> {
        self.body()?.trailers.as_deref()
    }

    /// Holds what another does.
    pub fn copy_from(&mut self, other: &Whole) {
        self.forget();
        let Some(from) = other.body() else { return };
        let body = self.0.get_or_insert_default();
        body.held = true;
        body.bytes.extend_from_slice(&from.bytes);
        body.trailers.clone_from(&from.trailers);
    }

    /// Forgets it; room for more than most bodies have is given back.
    pub fn forget(&mut self) {
        let Some(body) = &mut self.0 else { return };
        body.held = false;
        body.trailers = None;
        body.bytes.clear();
        body.bytes.shrink_to(ROOM_KEPT_MAX);
    }
}

/// Room that a desk keeps from one exchange to the next.
pub(crate) const ROOM_KEPT_MAX: usize = LARGE_BYTES / 4;

/// How long the body is that is to be read whole; `None` where it is not.
pub(crate) fn wanted(admitted: &Admitted<'_>, head: &RequestHead, trace: &Trace) -> Option<usize> {
    let most = admitted.forward().buffer_bytes_max;
    let BodyLength::Known(length) = head.body else { return None };
    // What is translated on its way is not sent as it came.
    let translated = || trace.call.is_some_and(|call| call.web.is_some());
    let fits = most > 0 && length <= u64::from(most) && !translated();
    fits.then_some(length as usize)
}

/// Reads a body of this length whole.
pub(crate) async fn fill(
    client: &mut Client,
    desk: &mut Desk,
    admitted: &Admitted<'_>,
    length: usize,
    trace: &mut Trace,
) -> Result<(), Failure> {
    let timeouts = &admitted.forward().timeouts;
    invite(client, &mut desk.heads, timeouts).await?;
    desk.whole.forget();
    let total = trace.total_deadline(timeouts);
    let limit = Limit::new(client.limits().body_rate_min, timeouts.idle);
    let (io, timer) = (&mut client.io, &mut client.timer);
    let body = desk.whole.0.get_or_insert_default();
    let Body { held, bytes, trailers } = &mut **body;
    let mut quiet_since = limit.began;
    let outcome = poll_fn(|cx| {
        loop {
            let count = io.inbox.bytes().len().min(length - bytes.len());
            bytes.extend_from_slice(&io.inbox.bytes()[..count]);
            io.inbox.consume(count);
            // A stream has more to say: that it has ended, and its trailers.
            if bytes.len() == length && !io.stream.is_h2() {
                return Poll::Ready(Ok(()));
            }
            match io.inbox.poll_fill(cx, &mut io.stream) {
                Poll::Ready(Ok(1..)) => quiet_since = now(),
                Poll::Ready(Ok(0)) if bytes.len() == length => {
                    *trailers = io.stream.as_h2().and_then(|stream| stream.take_trailers());
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(0)) => {
                    io.half_closed = true;
                    return Poll::Ready(Err(malformed("it was cut short")));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
                Poll::Pending => break,
            }
        }
        let slow = Failure::new(Step::Admit, Kind::RequestBodyTimeout);
        let (mut deadline, mut late) = (limit.deadline(bytes.len(), quiet_since), slow);
        if let Some(total) = total.filter(|total| total.at < deadline) {
            deadline = total.at;
            late = total.failure(Step::Admit, Blocker::Sender);
        }
        timer.poll_until(cx, deadline).map(|()| Err(late))
    })
    .await;
    *held = outcome.is_ok();
    trace.received_bytes = bytes.len() as u64;
    trace.tried = now();
    if outcome.is_err() {
        desk.whole.forget();
    }
    outcome
}

/// Tells a client that waits for it that its body is wanted (RFC 9110 section 10.1.1). The
/// endpoint, which gets head and body at once, is not told that it waited.
async fn invite(
    client: &mut Client,
    heads: &mut Heads,
    timeouts: &Timeouts,
) -> Result<(), Failure> {
    let Heads { request, answer } = heads;
    let waits = |value| lists_token(value, b"100-continue");
    if !request.fields.all(Known::Expect).any(waits) {
        return Ok(());
    }
    request.fields.remove(Known::Expect);
    if request.version == Version::Http10 || !client.io.inbox.is_empty() {
        return Ok(());
    }
    if let Some(stream) = client.io.stream.as_h2() {
        answer.clear();
        answer.status = 100;
        let sent = stream.send_interim(answer);
        return sent.map_err(|_| Failure::new(Step::Admit, Kind::Internal));
    }
    let deadline = now().after(timeouts.idle);
    let text = b"HTTP/1.1 100 Continue\r\n\r\n";
    match client.io.write(&mut client.timer, text, Last::No, deadline).await {
        Wrote::All => Ok(()),
        Wrote::Gone => Err(Failure::new(Step::Admit, Kind::ClientGone)),
        Wrote::TooSlow => Err(Failure::new(Step::Admit, Kind::ClientTooSlow)),
    }
}

/// How slow a body may be.
#[derive(Clone, Copy, Debug)]
struct Limit {
    began: Moment,
    rate_min: u32,
    idle: Duration,
}

impl Limit {
    fn new(rate_min: u32, idle: Duration) -> Limit {
        Limit { began: now(), rate_min, idle }
    }

    /// Until when more must come, after so many bytes.
    fn deadline(&self, bytes: usize, quiet_since: Moment) -> Moment {
        let idle = quiet_since.after(self.idle);
        let Some(earned) = (bytes as u64).checked_div(u64::from(self.rate_min)) else {
            return idle;
        };
        idle.min(self.began.after(BODY_GRACE + Duration::from_secs(earned)))
    }
}

fn malformed(detail: &'static str) -> Failure {
    Failure::because(Step::Admit, Kind::RequestBodyMalformed, detail)
}

fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => malformed("its trailers cannot be passed on"),
        _ => Failure::new(Step::Admit, Kind::ClientGone),
    }
}

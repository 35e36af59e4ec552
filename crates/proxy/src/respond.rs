//! Step 11, respond: stream the answer, switch protocols, or turn a Failure into an answer.

use crate::admit::{Admitted, Own};
use crate::client::{Client, Wrote};
use crate::grpc;
use crate::hop::{self, Upgrade};
use crate::lease::{Complete, Lease};
use crate::own::{self, Content, Ending};
use crate::progress::Progress;
use crate::receive::Answered;
use crate::send::{Upload, UploadState};
use crate::trace::{Blocker, Trace};
use crate::tunnel;
use crate::verdict::{self, Verdict};
use crate::worker::{Desk, Heads, Worker};
use gatehouse_core::failure::{Failure, Kind, Side, Step};
use gatehouse_core::message::{BodyLength, Fields, Known, Method, ResponseHead, Version};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{Action, Edits};
use gatehouse_wire::h1::Decoder;
use gatehouse_wire::h1::encode::{self, Framing};
use gatehouse_wire::h2::{H2Stream, Last, Unsendable};
use gatehouse_wire::pump::{Pump, PumpError, Waits};
use gatehouse_wire::timer::now;
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It carries another exchange.
    Keep,
    /// It is closed.
    Close,
    /// It is closed, and what the client still sends is thrown away for a while.
    Linger,
    /// It is reset: the client must not take what it has for whole.
    Reset,
}

/// How long a client may take to read one of the gateway's own answers.
const OWN_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request body that are read and thrown away to keep a connection, once its answer
/// has ended without it.
const DISCARD_BYTES_MAX: u64 = 64 * 1024;

/// Streams an upstream's answer.
pub(crate) async fn respond(
    worker: &Worker,
    client: &mut Client,
    desk: &mut Desk,
    admitted: &Admitted<'_>,
    answered: Answered,
    trace: &mut Trace,
) -> Result<After, Failure> {
    let Desk { heads, upload, download, progress, .. } = desk;
    if heads.answer.status == 101 {
        // In a box of its own: few exchanges end so, and all would have room for it.
        let switched = tunnel::switch(worker, client, heads, admitted, answered, trace);
        return Box::pin(switched).await;
    }
    let wants_more = heads.request.keep_alive && !client.io.has_ended();
    let keep = wants_more && !client.door().is_leaving() && !unending(heads);
    let web = trace.call.filter(|call| call.web.is_some() && admitted.translates());
    if let Some(call) = web {
        call.translate_answer(&mut heads.answer);
    }
    let framing = prepare(worker, heads, admitted, keep, trace.answered.unwrap_or(trace.started));
    let Answered { mut lease } = answered;
    let length = lease.origin.stream.framed(heads.answer.body);
    let text = download.begin(length, framing, None);
    match client.io.stream.as_h2() {
        None => encode::response(&heads.answer, text),
        Some(stream) => send_head(stream, heads)?,
    }
    if let Some(form) = web.and_then(|call| call.web) {
        download.translate(form.of_answer());
    }
    trace.streams = true;
    *progress = Progress::default();
    let bodies = Bodies { upload, download, progress };
    let outcome = stream(worker, client, &mut lease, bodies, admitted, trace).await;
    trace.streams = false;
    download.give_back(&worker.pipes);
    trace.sent_bytes = download.payload();
    trace.received_bytes = upload.payload();
    if trace.verdict.get() != Verdict::Head {
        verdict::end(outcome, download, admitted, lease.pick(), trace);
    }
    if let Err(failure) = outcome {
        if trace.blames_endpoint(failure, &admitted.forward().timeouts) {
            lease.pick().count_failure();
        }
        if let Some(stream) = client.io.stream.as_h2()
            && tell_call(stream, failure, trace)
        {
            trace.status = heads.answer.status;
            return Ok(After::Close);
        }
        return cut(failure, download, length, framing, heads.answer.status, trace);
    }
    let ended = now();
    trace.status = heads.answer.status;
    trace.ended = Some(ended);
    let done = upload.state() == UploadState::Done;
    let kept_alive = heads.answer.keep_alive && !worker.draining.get();
    let complete = Complete::of(done, true, kept_alive, &lease);
    if let Some(complete) = complete {
        lease.finish(client, admitted, complete, ended);
    } else {
        drop(lease);
    }
    Ok(after(client, upload, keep, !heads.request.keep_alive).await)
}

/// Sends an answer's head on an HTTP/2 stream; all of it where there is no body.
fn send_head(stream: &mut H2Stream, heads: &Heads) -> Result<(), Failure> {
    let ends = if heads.answer.body.is_none() { Last::Yes } else { Last::No };
    stream.send_answer(&heads.answer, ends).map_err(|Unsendable(detail)| {
        Failure::because(Step::Respond, Kind::UpstreamMalformed, detail)
    })
}

/// Tells a gRPC call in its trailers of a failure that came in the middle of its answer. False
/// where it is none, or nobody is there to be told.
fn tell_call(stream: &mut H2Stream, failure: Failure, trace: &mut Trace) -> bool {
    let gone = matches!(failure.kind, Kind::ClientGone | Kind::ClientTooSlow);
    if trace.call.is_none_or(|call| call.web.is_some()) || gone {
        return false;
    }
    trace.failure = Some(failure);
    let mut trailers = Fields::default();
    grpc::write_status(failure, trace.id, &mut trailers);
    stream.send_trailers(&trailers).is_ok()
}

/// Whether only the end of the connection can tell this client that the answer has ended.
fn unending(heads: &Heads) -> bool {
    heads.request.version == Version::Http10
        && matches!(heads.answer.body, BodyLength::Chunked | BodyLength::UntilClose)
}

/// Makes the upstream's head the client's: hop-by-hop fields, framing, the route's edits.
fn prepare(
    worker: &Worker,
    heads: &mut Heads,
    admitted: &Admitted<'_>,
    keep: bool,
    now: Moment,
) -> Framing {
    let version = heads.request.version;
    let answer = &mut heads.answer;
    let fields = &mut answer.fields;
    hop::strip(fields, Upgrade::Drop);
    if answer.status == 204 {
        fields.remove(Known::ContentLength);
    }
    if !fields.has(Known::Date) {
        fields.append_known(Known::Date, b"Date: ", |line| worker.calendar.write_http(now, line));
    }
    let edits = &admitted.route().response_edits;
    if !edits.is_empty() {
        edits.apply(fields);
    }
    if version == Version::Http2 {
        return Framing::Frames;
    }
    if answer.version == Version::Http2 && says_nothing_of_its_end(heads.request.method(), answer) {
        answer.fields.append(b"Content-Length", b"0");
    }
    let fields = &mut answer.fields;
    let unsized_body = matches!(answer.body, BodyLength::Chunked | BodyLength::UntilClose);
    let framing = if unsized_body && version == Version::Http11 {
        fields.append(b"Transfer-Encoding", b"chunked");
        Framing::Chunked
    } else {
        Framing::Plain
    };
    match (keep, version) {
        (false, _) => fields.append(b"Connection", b"close"),
        (true, Version::Http10) => fields.append(b"Connection", b"keep-alive"),
        (true, Version::Http11 | Version::Http2) => {}
    }
    framing
}

/// Whether an answer that ended with its head would go on for ever in HTTP/1.1.
fn says_nothing_of_its_end(asked: Method, answer: &ResponseHead) -> bool {
    answer.body == BodyLength::None
        && !answer.fields.has(Known::ContentLength)
        && asked != Method::Head
        && !matches!(answer.status, 204 | 304)
}

/// What moves while an answer is on its way.
struct Bodies<'a> {
    upload: &'a mut Upload,
    download: &'a mut Pump,
    progress: &'a mut Progress,
}

/// Carries the answer, and what is left of the request beside it.
fn stream(
    worker: &Worker,
    client: &mut Client,
    lease: &mut Lease,
    bodies: Bodies<'_>,
    admitted: &Admitted<'_>,
    trace: &Trace,
) -> impl Future<Output = Result<(), Failure>> {
    let until = trace.total_deadline(&admitted.forward().timeouts);
    let rate_min = client.limits().read_rate_min;
    let (io, timer) = (&mut client.io, &mut client.timer);
    let Bodies { upload, download, progress } = bodies;
    poll_fn(move |cx| {
        let (origin, pick) = lease.parts();
        // A fault in the rest of the upload ends the upload; the answer is still owed.
        if let Poll::Ready(failure) = upload.poll(cx, io, &mut origin.stream)
            && failure.kind == Kind::ClientGone
        {
            return Poll::Ready(Err(failure));
        }
        let pipes = Some(&worker.pipes);
        match download.poll(cx, &mut origin.stream, &mut origin.inbox, &mut io.stream, pipes) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(meaning(error))),
            Poll::Pending => {}
        }
        if download.payload() > 0 && matches!(trace.verdict.get(), Verdict::Open(_)) {
            verdict::begun(admitted, pick, trace);
        }
        // An origin may wait for the rest of the request before it goes on with its answer.
        let (waits, written) = (download.waits(), download.written());
        progress.note(download.progress() + upload.progress(), written, waits, now);
        let mut late = match waits {
            Waits::Source => Failure::new(Step::Respond, Kind::UpstreamIdleTimeout),
            Waits::Sink => Failure::new(Step::Respond, Kind::ClientTooSlow),
        };
        if waits == Waits::Source && !upload.reads() && io.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::new(Step::Respond, Kind::ClientGone)));
        }
        let idle = admitted.forward().timeouts.idle;
        let mut deadline = progress.idle_until(idle);
        let read = progress.read_until(written, idle, rate_min);
        if let Some(read) = read.filter(|at| *at < deadline) {
            deadline = read;
            late = Failure::because(Step::Respond, Kind::ClientTooSlow, "below its `read-rate`");
        }
        if let Some(until) = until.filter(|until| until.at < deadline) {
            deadline = until.at;
            let blocker = match waits {
                Waits::Source if upload.reads() => Blocker::Sender,
                Waits::Source => Blocker::Endpoint,
                Waits::Sink => Blocker::Reader,
            };
            late = until.failure(Step::Respond, blocker);
        }
        timer.poll_until(cx, deadline).map(|()| Err(late))
    })
}

fn meaning(error: PumpError) -> Failure {
    match error {
        PumpError::Cut | PumpError::Reset => Failure::new(Step::Respond, Kind::UpstreamBodyCut),
        PumpError::Malformed(detail) => {
            Failure::because(Step::Respond, Kind::UpstreamBodyCut, detail)
        }
        PumpError::TooLarge => Failure::new(Step::Respond, Kind::Internal),
        PumpError::Sink => Failure::new(Step::Respond, Kind::ClientGone),
    }
}

/// An answer that broke off: another can be given only while nothing of it was sent; otherwise
/// the connection ends in a way that nobody takes for a whole answer.
fn cut(
    failure: Failure,
    download: &Pump,
    length: BodyLength,
    framing: Framing,
    status: u16,
    trace: &mut Trace,
) -> Result<After, Failure> {
    if !download.has_begun() && failure.side() == Side::Upstream {
        return Err(failure);
    }
    trace.failure = Some(failure);
    trace.status = status;
    let told_apart = match framing {
        Framing::Chunked => true,
        Framing::Plain => matches!(length, BodyLength::Known(_)),
        Framing::Frames => false,
    };
    Ok(if told_apart { After::Close } else { After::Reset })
}

/// What becomes of the client's connection after an answer that ended whole.
async fn after(client: &mut Client, upload: &mut Upload, keep: bool, asked: bool) -> After {
    if client.io.stream.is_h2() {
        return After::Close;
    }
    upload.give_up(&mut client.io);
    if upload.is_read() {
        return if keep { After::Keep } else { closing(client, asked) };
    }
    let Some(rest) = upload.rest().filter(|_| keep) else { return After::Linger };
    if discard(client, rest).await { After::Keep } else { After::Linger }
}

/// A connection that is to be closed lingers where the client may still be sending. A client
/// that asked for the end itself, and whose request was read whole, sends nothing more.
fn closing(client: &Client, asked: bool) -> After {
    let silent = client.io.half_closed || asked && client.io.inbox.is_empty();
    if silent { After::Close } else { After::Linger }
}

/// Reads the rest of a request body and throws it away, so that the next request is read from
/// the right byte. False where it is too long, too slow or broken.
async fn discard(client: &mut Client, decoder: &mut Decoder) -> bool {
    let deadline = now().after(Duration::from_secs(1));
    let (io, timer) = (&mut client.io, &mut client.timer);
    let mut thrown = 0;
    poll_fn(|cx| {
        loop {
            let Ok(decoded) = decoder.decode(io.inbox.bytes_mut()) else {
                return Poll::Ready(false);
            };
            thrown += decoded.consumed as u64;
            io.inbox.consume(decoded.consumed);
            if decoded.done || thrown > DISCARD_BYTES_MAX {
                return Poll::Ready(decoded.done);
            }
            match io.inbox.poll_fill(cx, &mut io.stream) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return timer.poll_until(cx, deadline).map(|()| false),
            }
        }
    })
    .await
}

/// Gives an answer of the gateway's own that is no failure.
pub(crate) async fn own(
    worker: &Worker,
    client: &mut Client,
    heads: &mut Heads,
    own: Own<'_>,
    trace: &mut Trace,
) -> After {
    let route = own.route;
    let (body, content_type): (&[u8], &str) = match &route.action {
        Action::Respond(respond) => (&respond.body, &respond.content_type),
        Action::Redirect(_) | Action::Forward(_) => (b"", ""),
    };
    own::begin(worker, heads, &Content { status: own.status, content_type, body });
    if own.location {
        let location = std::mem::take(&mut worker.scratch.borrow_mut().text);
        heads.answer.fields.append(b"Location", &location);
        worker.scratch.borrow_mut().text = location;
    }
    trace.status = own.status;
    give(worker, client, heads, Some(&route.response_edits), body, trace).await
}

/// Tells an ACME server what it asks for (RFC 8555 section 8.3).
pub(crate) async fn challenge(
    worker: &Worker,
    client: &mut Client,
    heads: &mut Heads,
    answer: &str,
    trace: &mut Trace,
) -> After {
    let content_type = "application/octet-stream";
    let body = answer.as_bytes();
    own::begin(worker, heads, &Content { status: 200, content_type, body });
    trace.status = 200;
    give(worker, client, heads, None, body, trace).await
}

/// Sends an answer that was begun, and says what becomes of the connection.
async fn give(
    worker: &Worker,
    client: &mut Client,
    heads: &mut Heads,
    edits: Option<&Edits>,
    body: &[u8],
    trace: &mut Trace,
) -> After {
    let mut text = worker.buffers.take_text();
    let unread = heads.request.body;
    let asked = !heads.request.keep_alive;
    let keep = heads.request.keep_alive && !client.door().is_leaving() && !client.io.has_ended();
    let ending = if keep { Ending::Keep } else { Ending::Close };
    own::finish(heads, edits, ending, body, &mut text);
    let wrote = write_own(client, heads, &text, trace).await;
    trace.sent_bytes = body.len() as u64;
    worker.buffers.give_text(text);
    match wrote {
        Wrote::Gone | Wrote::TooSlow => After::Close,
        Wrote::All if client.io.stream.is_h2() => After::Close,
        Wrote::All if !keep => closing(client, asked && unread == BodyLength::None),
        Wrote::All if discard(client, &mut Decoder::new(unread)).await => After::Keep,
        Wrote::All => After::Linger,
    }
}

/// Turns a failure into an answer, where one is still owed.
pub(crate) async fn failure(
    worker: &Worker,
    client: &mut Client,
    heads: &mut Heads,
    failure: Failure,
    trace: &mut Trace,
) -> After {
    trace.failure = Some(failure);
    if matches!(failure.kind, Kind::ClientGone | Kind::ClientTooSlow) {
        return After::Close;
    }
    let mut body = worker.buffers.take_text();
    own::failure(worker, client, heads, failure, trace, &mut body);
    // A request that was refused while it was read has no end to go on from; one with a body
    // has been read to an unknown place.
    let whole = failure.step > Step::Read && heads.request.body == BodyLength::None;
    let wants_more = heads.request.keep_alive && !client.io.has_ended();
    let keep = whole && wants_more && !client.door().is_leaving();
    let ending = if keep { Ending::Keep } else { Ending::Close };
    let view = trace.view.clone();
    let edits =
        trace.route.zip(view.as_ref()).map(|(id, view)| &view.plan.route(id).response_edits);
    let mut text = worker.buffers.take_text();
    own::finish(heads, edits, ending, &body, &mut text);
    trace.status = heads.answer.status;
    let wrote = write_own(client, heads, &text, trace).await;
    trace.sent_bytes = body.len() as u64;
    worker.buffers.give_text(text);
    worker.buffers.give_text(body);
    match wrote {
        Wrote::All if client.io.stream.is_h2() => After::Close,
        Wrote::All if keep => After::Keep,
        Wrote::All => closing(client, whole && !heads.request.keep_alive),
        Wrote::Gone | Wrote::TooSlow => After::Close,
    }
}

async fn write_own(client: &mut Client, heads: &Heads, text: &[u8], trace: &mut Trace) -> Wrote {
    let deadline = now().after(OWN_ANSWER_TIMEOUT);
    let begun = match client.io.stream.as_h2() {
        None => true,
        Some(stream) => {
            let ends = if text.is_empty() { Last::Yes } else { Last::No };
            stream.send_answer(&heads.answer, ends).is_ok()
        }
    };
    let wrote = if begun {
        client.io.write(&mut client.timer, text, Last::Yes, deadline).await
    } else {
        Wrote::Gone
    };
    trace.ended = Some(now());
    let kind = match wrote {
        Wrote::All => return wrote,
        Wrote::Gone => Kind::ClientGone,
        Wrote::TooSlow => Kind::ClientTooSlow,
    };
    trace.failure.get_or_insert(Failure::new(Step::Respond, kind));
    wrote
}

//! Step 10, receive: the answer's head, judged; interim answers passed on.

use crate::admit::Admitted;
use crate::attempts::{Attempts, Lost};
use crate::client::{Client, Wrote};
use crate::hop::{self, Upgrade};
use crate::lease::Lease;
use crate::pick::{Caller, Pick};
use crate::send::UploadState;
use crate::trace::{Trace, Until};
use crate::verdict;
use crate::worker::{Desk, Heads};
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{Known, RequestHead, ResponseHead, Version, lists_token, tokens};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::Timeouts;
use gatehouse_wire::h1::{AnswerError, encode, response};
use gatehouse_wire::h2::{Last, Unsendable};
use gatehouse_wire::timer::now;
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// Interim answers one exchange may have; an origin that sends more is not going to answer.
const INTERIM_MAX: u8 = 16;

/// An answer whose head is there; the request may still be under way.
pub(crate) struct Answered {
    pub lease: Lease,
}

/// Receives the head of the final answer.
pub(crate) async fn receive(
    client: &mut Client,
    desk: &mut Desk,
    admitted: &Admitted<'_>,
    mut lease: Lease,
    attempts: &Attempts<'_>,
    trace: &mut Trace,
) -> Result<Answered, Lost> {
    let timeouts = &admitted.forward().timeouts;
    let first_byte = match admitted.upstream_plan().retry.try_timeout {
        Some(one) => timeouts.first_byte.min(one),
        None => timeouts.first_byte,
    };
    let before = trace.interim;
    let whole = desk.upload.is_given();
    let outcome = loop {
        let until = try_deadline(admitted, trace, whole);
        match head(client, desk, &mut lease, first_byte, until).await {
            Err(failure) => break Err(failure),
            Ok(()) if !(100..200).contains(&desk.heads.answer.status) => break Ok(()),
            Ok(()) if desk.heads.answer.status == 101 => {
                break judge_switch(&desk.heads.request, &desk.heads.answer);
            }
            Ok(()) => trace.interim += 1,
        }
        if desk.heads.answer.status == 100 {
            desk.upload.go_on();
        }
        lease.origin.inbox.release_if_empty();
        if trace.interim > INTERIM_MAX {
            let failure =
                Failure::because(Step::Receive, Kind::UpstreamMalformed, "endless 1xx answers");
            break Err(failure);
        }
        let Heads { request, answer, .. } = &mut desk.heads;
        if attempts.caller() == Caller::Hedge {
            // The client is the other attempt's to speak with. A 100 is for whoever waits to send
            // a body, and this one was read whole.
            if answer.status != 100 {
                desk.interims.get_or_insert_default().0.push(std::mem::take(answer));
            }
            continue;
        }
        attempts.commit();
        if let Err(failure) = pass_on(client, request.version, answer, timeouts).await {
            break Err(failure);
        }
    };
    trace.received_bytes = desk.upload.payload();
    let pick = lease.pick();
    match outcome {
        Ok(()) => {
            count_answer(desk, admitted, pick, trace);
            Ok(Answered { lease })
        }
        Err(failure) => {
            if trace.blames_endpoint(failure, timeouts) {
                pick.count_failure();
            }
            let late = failure.kind == Kind::UpstreamFirstByteTimeout;
            if late && admitted.upstream_plan().counts_latencies() {
                admitted.upstream_view().endpoints.vitals().latencies().count_refusal();
            }
            let untouched = trace.interim == before && desk.upload.is_intact();
            let unanswered = matches!(
                failure.kind,
                Kind::UpstreamClosed | Kind::UpstreamRefused | Kind::UpstreamFirstByteTimeout
            );
            let intact = untouched && unanswered;
            Err(Lost { failure, endpoint: Some(pick.id()), intact })
        }
    }
}

/// Counts an answer whose head is there.
fn count_answer(desk: &Desk, admitted: &Admitted<'_>, pick: &Pick, trace: &mut Trace) {
    let now = now();
    trace.answered = Some(now);
    let took = now.since(asked(desk, trace));
    pick.endpoint().vitals.observe(took, now);
    verdict::head(&desk.heads.answer, took, admitted, pick, trace);
}

/// Until when the head has to be there at the latest. Where no client has a part in it, that is
/// as long as one try may take, its connecting included.
fn try_deadline(admitted: &Admitted<'_>, trace: &Trace, whole: bool) -> Option<Until> {
    let total = trace.total_deadline(&admitted.forward().timeouts);
    let Some(one) = admitted.upstream_plan().retry.try_timeout.filter(|_| whole) else {
        return total;
    };
    let own = Until { at: trace.tried.after(one), late: Kind::UpstreamFirstByteTimeout };
    total.filter(|total| total.at <= own.at).or(Some(own))
}

/// When the endpoint had all it needed to answer, as far as that is known: what the client took to
/// send a body, and what was waited for a place, says nothing of it.
fn asked(desk: &Desk, trace: &Trace) -> Moment {
    desk.upload.quiet_since().max(trace.read.unwrap_or(trace.started))
}

/// Receives one head, interim or final, while the upload goes on. Not async: a future around
/// this one would copy what it is given.
fn head(
    client: &mut Client,
    desk: &mut Desk,
    lease: &mut Lease,
    first_byte: Duration,
    until: Option<Until>,
) -> impl Future<Output = Result<(), Failure>> {
    let Desk { heads, upload, .. } = desk;
    let asked = heads.request.method();
    let (io, timer) = (&mut client.io, &mut client.timer);
    let mut scanned = 0;
    poll_fn(move |cx| {
        let origin = &mut lease.origin;
        if let Poll::Ready(failure) = upload.poll(cx, io, &mut origin.stream) {
            return Poll::Ready(Err(failure));
        }
        let (stream, inbox) = (&mut origin.stream, &mut origin.inbox);
        let answer = &mut heads.answer;
        let polled = match stream.as_h2() {
            None => response::poll_read(cx, stream, inbox, asked, &mut scanned, answer),
            Some(stream) => stream.poll_answer(cx, asked, answer),
        };
        match polled {
            Poll::Ready(outcome) => return Poll::Ready(outcome.map_err(meaning)),
            Poll::Pending => {}
        }
        if !upload.reads() && io.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::new(Step::Receive, Kind::ClientGone)));
        }
        let (mut deadline, mut late) = match upload.state() {
            UploadState::Active => upload.deadline(),
            UploadState::Done | UploadState::Refused | UploadState::Broken => {
                let late = Failure::new(Step::Receive, Kind::UpstreamFirstByteTimeout);
                (upload.quiet_since().after(first_byte), late)
            }
        };
        if let Some(until) = until.filter(|until| until.at < deadline) {
            deadline = until.at;
            late = until.failure(Step::Receive, upload.blocker(until.at));
        }
        timer.poll_until(cx, deadline).map(|()| Err(late))
    })
}

/// Passes on what an attempt that is heard now was told before its answer.
pub(crate) async fn pass_held(
    client: &mut Client,
    desk: &mut Desk,
    timeouts: &Timeouts,
) -> Result<(), Failure> {
    let held = desk.interims.take().map(|held| held.0).unwrap_or_default();
    for mut interim in held {
        pass_on(client, desk.heads.request.version, &mut interim, timeouts).await?;
    }
    Ok(())
}

/// Passes an interim answer on to a client that knows what it is (RFC 9110 section 15.2).
async fn pass_on(
    client: &mut Client,
    asked: Version,
    interim: &mut ResponseHead,
    timeouts: &Timeouts,
) -> Result<(), Failure> {
    if asked == Version::Http10 {
        return Ok(());
    }
    let fields = &mut interim.fields;
    hop::strip(fields, Upgrade::Drop);
    fields.remove(Known::ContentLength);
    if let Some(stream) = client.io.stream.as_h2() {
        return stream.send_interim(interim).map_err(|Unsendable(detail)| {
            Failure::because(Step::Receive, Kind::UpstreamMalformed, detail)
        });
    }
    let mut text = Vec::with_capacity(256);
    encode::response(interim, &mut text);
    let deadline = now().after(timeouts.idle);
    match client.io.write(&mut client.timer, &text, Last::No, deadline).await {
        Wrote::All => Ok(()),
        Wrote::Gone => Err(Failure::new(Step::Receive, Kind::ClientGone)),
        Wrote::TooSlow => Err(Failure::new(Step::Receive, Kind::ClientTooSlow)),
    }
}

/// A 101 is right only where the client asked for just this protocol.
fn judge_switch(request: &RequestHead, answer: &ResponseHead) -> Result<(), Failure> {
    let asked = request.fields.has(Known::Upgrade);
    let mut names = answer.fields.all(Known::Upgrade).flat_map(tokens).peekable();
    let named = names.peek().is_some()
        && names
            .all(|name| request.fields.all(Known::Upgrade).any(|asked| lists_token(asked, name)));
    if asked && named {
        Ok(())
    } else {
        Err(Failure::new(Step::Receive, Kind::UpstreamUpgradeInvalid))
    }
}

/// What an answer error means.
fn meaning(error: AnswerError) -> Failure {
    let (kind, detail) = match error {
        AnswerError::Closed | AnswerError::Reset { begun: false } => (Kind::UpstreamClosed, ""),
        AnswerError::Truncated | AnswerError::Reset { begun: true } => {
            (Kind::UpstreamMalformed, "the answer's head was cut short")
        }
        AnswerError::Malformed(detail) | AnswerError::Ambiguous(detail) => {
            (Kind::UpstreamMalformed, detail)
        }
        AnswerError::Unprocessed => (Kind::UpstreamRefused, ""),
        AnswerError::TooLarge => (Kind::UpstreamHeadTooLarge, ""),
    };
    Failure::because(Step::Receive, kind, detail)
}

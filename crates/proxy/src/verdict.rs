//! What an endpoint's answer says of the endpoint: with its head, or, where that is of a gRPC call
//! whose status is still to come, with what follows. Never here: whether anybody is asked again.

use crate::admit::Admitted;
use crate::grpc;
use crate::pick::Pick;
use crate::trace::Trace;
use gatehouse_core::failure::Failure;
use gatehouse_core::message::ResponseHead;
use gatehouse_wire::pump::Pump;
use std::time::Duration;

/// How far an answer has been judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By its head, once that is there.
    #[default]
    Head,
    /// Not at all: a call's status is still to come, behind a head that took so many microseconds.
    Open(u32),
    /// As well begun, with its first message; its status is still to come.
    Begun,
}

/// Judges an answer whose head took so long.
pub(crate) fn head(
    answer: &ResponseHead,
    took: Duration,
    admitted: &Admitted<'_>,
    pick: &Pick,
    trace: &Trace,
) {
    let Some(call) = trace.call else {
        trace.verdict.set(Verdict::Head);
        pick.count_answer(answer.status);
        return count_latency(admitted, answer.status, took);
    };
    if call.tells_in_the_end(answer, admitted.translates()) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        return trace.verdict.set(Verdict::Open(micros));
    }
    trace.verdict.set(Verdict::Head);
    let status = grpc::judged_status(answer);
    pick.count_answer(status);
    count_latency(admitted, status, took);
}

/// A call's first message has come, which may be long before its end.
pub(crate) fn begun(admitted: &Admitted<'_>, pick: &Pick, trace: &Trace) {
    if let Verdict::Open(micros) = trace.verdict.replace(Verdict::Begun) {
        pick.count_begun();
        count_latency(admitted, 200, Duration::from_micros(micros.into()));
    }
}

/// Judges a call's answer that is over, by its status; one that was left before it came, by
/// whether a message had come. What has failed is counted as that.
pub(crate) fn end(
    outcome: Result<(), Failure>,
    download: &Pump,
    admitted: &Admitted<'_>,
    pick: &Pick,
    trace: &Trace,
) {
    let left = || {
        let blamed = |failure| trace.blames_endpoint(failure, &admitted.forward().timeouts);
        outcome.is_err_and(|failure| blamed(failure) || download.payload() == 0)
    };
    let status = match download.call_status() {
        None if left() => return,
        None => 200,
        Some(told) => grpc::as_http(told).unwrap_or(200),
    };
    match trace.verdict.replace(Verdict::Head) {
        Verdict::Head => return,
        Verdict::Open(micros) => {
            count_latency(admitted, status, Duration::from_micros(micros.into()));
        }
        // How long it took is counted.
        Verdict::Begun if status < 400 => {}
        Verdict::Begun => count_latency(admitted, status, Duration::ZERO),
    }
    pick.count_end(status);
}

/// Counts how long an answer took, where somebody wants to know, or that the upstream says it has
/// too much to do. Other errors say nothing of either.
fn count_latency(admitted: &Admitted<'_>, status: u16, took: Duration) {
    if !admitted.upstream_plan().counts_latencies() {
        return;
    }
    let latencies = admitted.upstream_view().endpoints.vitals().latencies();
    match status {
        429 | 503 => latencies.count_refusal(),
        500.. => {}
        _ => latencies.observe(took),
    }
}

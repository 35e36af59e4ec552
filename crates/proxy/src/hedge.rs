//! Steps 7 to 10 at two endpoints at once: where the first takes longer than nearly all answers
//! do, a second is asked the same, and whoever answers first is heard. The other attempt is
//! dropped: its connection is closed, or its stream reset.
//!
//! Never here: a request that may not be sent twice, a body that is not held whole, a third
//! endpoint, a byte to the client.

use crate::admit::Admitted;
use crate::attempts::{Attempts, Lost};
use crate::client::Client;
use crate::receive::Answered;
use crate::trace::Trace;
use crate::worker::{Desk, Worker};
use gatehouse_core::failure::{Failure, Kind, Side, Step};
use gatehouse_core::hedge::HedgeRule;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::{Timer, now};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// After how long a second endpoint is asked; `None` where none is.
pub(crate) fn after(admitted: &Admitted<'_>, attempts: &Attempts<'_>) -> Option<Duration> {
    let rule = admitted.upstream_plan().hedge?;
    if !attempts.may_hedge() {
        return None;
    }
    match rule {
        HedgeRule::After(after) => Some(after),
        HedgeRule::Percentile(_) => admitted.upstream_view().endpoints.vitals().hedge_after(),
    }
}

/// Which of the two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    First,
    Second,
}

/// Two attempts: what the second works with, and what is remembered of both.
pub(crate) struct Race<'t, 'v> {
    after: Duration,
    /// The exchange's, which that of the attempt that is heard becomes.
    trace: &'t mut Trace,
    pub first: Trace,
    pub second: Trace,
    heard: Which,
    pub beside: Beside<'v>,
}

/// What the second attempt works with.
pub(crate) struct Beside<'v> {
    /// The client's facts. What it is sent, and what it sends, is the first attempt's.
    pub client: Box<Client>,
    pub desk: Box<Desk>,
    pub attempts: Attempts<'v>,
}

impl<'t, 'v> Race<'t, 'v> {
    pub fn new(
        worker: &Worker,
        client: &Client,
        desk: &Desk,
        attempts: &Attempts<'v>,
        trace: &'t mut Trace,
        after: Duration,
    ) -> Race<'t, 'v> {
        let mut own = worker.take_desk();
        own.copy_request(desk);
        let beside =
            Beside { client: client.beside(worker), desk: own, attempts: attempts.beside() };
        let (first, second) = (trace.clone(), trace.clone());
        Race { after, trace, first, second, heard: Which::First, beside }
    }

    /// After how long the second endpoint is asked.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// Puts the answer that is heard on the exchange's desk.
    pub fn hear(
        &mut self,
        which: Which,
        desk: &mut Desk,
        admitted: &Admitted<'_>,
        attempts: &Attempts<'_>,
    ) {
        self.heard = which;
        let Beside { desk: own, attempts: theirs, .. } = &mut self.beside;
        match (which, theirs.at()) {
            (Which::First, None) => {}
            // Whatever follows goes to neither of them.
            (Which::First, Some(at)) => attempts.avoid(at),
            (Which::Second, _) => {
                std::mem::swap(&mut desk.heads.answer, &mut own.heads.answer);
                std::mem::swap(&mut desk.interims, &mut own.interims);
                std::mem::swap(&mut desk.upload, &mut own.upload);
                admitted.upstream_view().endpoints.vitals().count_hedge_won();
            }
        }
    }
}

impl Drop for Race<'_, '_> {
    fn drop(&mut self) {
        let Race { trace, first, second, heard, .. } = self;
        let made = second.attempts - trace.attempts;
        let attempts = first.attempts.saturating_add(made);
        let heard_trace = match heard {
            Which::First => first,
            Which::Second => second,
        };
        std::mem::swap(*trace, heard_trace);
        trace.attempts = attempts;
        if made > 0 {
            trace.hedge = Some(*heard);
        }
    }
}

/// What an answer is worth while another may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    Good,
    /// It says that something went wrong: a better one is waited for.
    Poor,
}

impl Worth {
    pub fn of(status: u16, admitted: &Admitted<'_>) -> Worth {
        let poor = status >= 500 || admitted.upstream_plan().retry.on_statuses.contain(status);
        if poor { Worth::Poor } else { Worth::Good }
    }
}

/// What came of one of two attempts.
pub(crate) type Tried = Result<(Answered, Worth), Lost>;

/// Whether nothing better is waited for: a good answer, or a client that is gone.
fn is_final(tried: &Tried) -> bool {
    match tried {
        Ok((_, worth)) => *worth == Worth::Good,
        Err(lost) => lost.failure.side() == Side::Client,
    }
}

fn rank(tried: &Tried) -> u8 {
    match tried {
        tried if is_final(tried) => 2,
        Ok(_) => 1,
        Err(_) => 0,
    }
}

/// The better of two.
pub(crate) fn better(first: Tried, second: Tried) -> (Which, Tried) {
    if rank(&second) > rank(&first) { (Which::Second, second) } else { (Which::First, first) }
}

/// How a race stands when its first attempt has ended, or is not waited for any more.
pub(crate) enum Stand {
    /// One is heard.
    Over(Which, Tried),
    /// The first has failed, and the second is under way.
    Alone(Tried),
}

/// How the second attempt stands.
enum Second {
    /// It is not its time yet.
    Waits,
    Runs,
    Ended(Tried),
    Never,
}

/// Runs the first attempt, and after a while the second beside it. A second attempt that has ended,
/// or is not wanted any more, is gone from its place.
pub(crate) async fn run(
    mut first: Pin<&mut impl Future<Output = Tried>>,
    mut second: Pin<&mut Option<impl Future<Output = Tried>>>,
    (mine, theirs): (&Attempts<'_>, &Attempts<'_>),
    admitted: &Admitted<'_>,
    after: Duration,
) -> Stand {
    let mut timer = Timer::default();
    let mut begun: Option<Moment> = None;
    let mut stands = Second::Waits;
    poll_fn(|cx| {
        if let Poll::Ready(tried) = first.as_mut().poll(cx) {
            return Poll::Ready(match std::mem::replace(&mut stands, Second::Never) {
                Second::Runs if is_final(&tried) => {
                    waited_in_vain(admitted, theirs, now().since(begun.unwrap_or_default()));
                    Stand::Over(Which::First, tried)
                }
                Second::Runs => Stand::Alone(tried),
                Second::Ended(other) => {
                    let (which, tried) = better(tried, other);
                    Stand::Over(which, tried)
                }
                Second::Waits | Second::Never => Stand::Over(Which::First, tried),
            });
        }
        if mine.is_committed() && !matches!(stands, Second::Never) {
            second.set(None);
            stands = Second::Never;
        }
        if let (Second::Waits, Some(at)) = (&stands, mine.at()) {
            let due = begun.get_or_insert_with(now).after(after);
            if timer.poll_until(cx, due).is_pending() {
                return Poll::Pending;
            }
            theirs.begin_beside(mine, at);
            mine.hedge();
            stands = Second::Runs;
        }
        if !matches!(stands, Second::Runs) {
            return Poll::Pending;
        }
        let polled = second.as_mut().as_pin_mut().map(|second| second.poll(cx));
        let Some(Poll::Ready(tried)) = polled else { return Poll::Pending };
        if is_final(&tried) {
            let waited = now().since(begun.unwrap_or_default());
            waited_in_vain(admitted, mine, waited);
            if admitted.upstream_plan().counts_latencies() {
                admitted.upstream_view().endpoints.vitals().latencies().observe(waited);
            }
            return Poll::Ready(Stand::Over(Which::Second, tried));
        }
        second.set(None);
        stands = Second::Ended(tried);
        Poll::Pending
    })
    .await
}

/// An endpoint that was too slow is slow at least so much: it must not look quick because nobody
/// has waited for it.
fn waited_in_vain(admitted: &Admitted<'_>, attempts: &Attempts<'_>, waited: Duration) {
    let Some(at) = attempts.at() else { return };
    let renewed = attempts.renewed();
    let seen = admitted.seen_in(renewed.as_deref());
    let vitals = &seen.upstream_view().endpoints.get(at).vitals;
    vitals.observe_at_least(waited, now());
}

/// Waits for the second attempt alone, while the client is still there.
pub(crate) async fn last(
    client: &mut Client,
    mut second: Pin<&mut Option<impl Future<Output = Tried>>>,
) -> Tried {
    poll_fn(|cx| {
        let Some(attempt) = second.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(gone()));
        };
        if let Poll::Ready(tried) = attempt.poll(cx) {
            return Poll::Ready(tried);
        }
        client.io.poll_gone(cx).map(|()| Err(gone()))
    })
    .await
}

fn gone() -> Lost {
    Lost::for_good(Failure::new(Step::Receive, Kind::ClientGone))
}

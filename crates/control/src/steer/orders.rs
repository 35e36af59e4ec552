//! What the control thread is asked to do, and what it answers: orders come from the admin
//! interface, from signals and from threads that read files, and are carried out one at a time.

use super::looks::Look;
use super::reload::Read;
use crate::config::Json;
use crate::registry::Duty;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Orders that may wait; one more is refused.
const WAITING_MAX: usize = 64;

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Order {
    /// Put the file as it is now in force.
    Reload(Cause),
    /// Say what that would change.
    Diff(Option<PathBuf>),
    /// Put this file in force, for good or until somebody fails to confirm it.
    Apply { file: PathBuf, confirm: Option<Duration> },
    /// Keep what is on trial.
    Confirm,
    /// Drain an endpoint, or give it requests again.
    Duty { upstream: String, endpoint: String, duty: Duty },
    /// Take what is held back of what was found for this upstream.
    AcceptFound(String),
    /// Go on with a file that has been read.
    Adopt(Box<Read>),
    /// Go on without it: reading it has failed in a way nothing was made for.
    NotRead,
    /// Give way to a successor, or go on without it.
    Upgraded(Result<u32, String>),
    /// Go on with what a look at the certificates has found.
    Looked(Box<Look>),
    /// The same where it has failed in a way nothing was made for.
    NotLooked,
}

/// Who asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    Admin,
    /// The files differ from what was last read.
    Files,
    /// What stands in the registry differs from what was last read.
    Registry,
    Apply,
    /// Nobody has confirmed it.
    TakenBack,
}

impl Cause {
    /// The word shown.
    pub const fn word(self) -> &'static str {
        match self {
            Cause::Signal => "signal",
            Cause::Admin => "admin",
            Cause::Files => "files",
            Cause::Registry => "registry",
            Cause::Apply => "apply",
            Cause::TakenBack => "not-confirmed",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// As HTTP says it: 200 done, 404 no such thing, 409 not now, 422 what is written is wrong,
    /// 500 the world failed.
    pub status: u16,
    /// For people, ended by a line feed.
    pub text: String,
    /// For scripts.
    pub json: Json,
}

impl Answer {
    /// One line, and the same for scripts.
    pub fn line(status: u16, text: impl Into<String>) -> Answer {
        let text = text.into();
        let json = Json::object([
            ("ok", Json::Flag(status == 200)),
            ("message", Json::text(text.trim_end())),
        ]);
        Answer { status, text: format!("{}\n", text.trim_end()), json }
    }
}

#[derive(Debug, Default)]
struct Slot {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

/// Where an order's answer goes. One that is dropped says that nobody answered.
#[derive(Debug)]
pub(crate) struct Reply(Arc<Mutex<Slot>>);

/// Where an order's answer comes from.
#[derive(Debug)]
pub(crate) struct Awaited(Arc<Mutex<Slot>>);

/// The two ends of one answer.
pub(crate) fn reply() -> (Reply, Awaited) {
    let slot: Arc<Mutex<Slot>> = Arc::default();
    (Reply(Arc::clone(&slot)), Awaited(slot))
}

impl Reply {
    /// For what nobody waits for.
    pub fn unread() -> Reply {
        reply().0
    }

    /// Answers.
    pub fn give(self, answer: Answer) {
        self.set(answer);
    }

    fn set(&self, answer: Answer) {
        let mut slot = lock(&self.0);
        if slot.answer.is_none() {
            slot.answer = Some(answer);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.set(Answer::line(503, "the gateway is ending"));
    }
}

impl Awaited {
    /// Ready once there is an answer.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut slot = lock(&self.0);
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    /// What a thread of the gateway's own has finished; goes before what is waiting.
    finished: VecDeque<(Order, Reply)>,
    orders: VecDeque<(Order, Reply)>,
    waker: Option<Waker>,
}

/// Orders on their way to the control thread, from any thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mailbox(Arc<Mutex<Waiting>>);

/// Whether the control thread is waiting for a thread that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    No,
    /// Then only what that thread finishes is taken.
    Reading,
}

impl Mailbox {
    /// Puts an order behind the others; the answer will say so where too many are waiting.
    pub fn post(&self, order: Order) -> Awaited {
        let (reply, awaited) = reply();
        let mut waiting = lock(&self.0);
        if waiting.orders.len() >= WAITING_MAX {
            reply.give(Answer::line(503, "too many orders are waiting; ask again later"));
            return awaited;
        }
        waiting.orders.push_back((order, reply));
        wake(waiting);
        awaited
    }

    /// Has the configuration read again because a signal says so, which nobody could be told was
    /// refused: it goes behind the others however many there are. One reload does for all signals
    /// that came before it.
    pub fn post_signalled(&self) {
        let mut waiting = lock(&self.0);
        let again = |order: &Order| matches!(order, Order::Reload(Cause::Signal));
        waiting.orders.retain(|(order, _)| !again(order));
        waiting.orders.push_back((Order::Reload(Cause::Signal), Reply::unread()));
        wake(waiting);
    }

    /// Hands back what a thread has finished, with whoever waits for it.
    fn finish(&self, order: Order, reply: Reply) {
        let mut waiting = lock(&self.0);
        waiting.finished.push_back((order, reply));
        wake(waiting);
    }

    /// Has `work` done by a thread of its own; what it makes is the next order, or `failed` where
    /// it panics: the control thread waits for one of them.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn run(
        &self,
        name: &str,
        reply: Reply,
        failed: Order,
        work: impl FnOnce() -> Order + Send + 'static,
    ) -> io::Result<()> {
        let mailbox = self.clone();
        let work = move || {
            let made = catch_unwind(AssertUnwindSafe(work));
            mailbox.finish(made.unwrap_or(failed), reply);
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
    }

    /// The next order.
    pub fn poll_take(&self, cx: &mut Context<'_>, busy: Busy) -> Poll<(Order, Reply)> {
        let mut waiting = lock(&self.0);
        if let Some(order) = waiting.finished.pop_front() {
            return Poll::Ready(order);
        }
        let next = match busy {
            Busy::No => waiting.orders.pop_front(),
            Busy::Reading => None,
        };
        match next {
            Some(order) => Poll::Ready(order),
            None => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let waker = waiting.waker.take();
    drop(waiting);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_heard_though_too_many_orders_are_waiting() {
        let mailbox = Mailbox::default();
        let posted: Vec<Awaited> = (0..WAITING_MAX).map(|_| mailbox.post(Order::Confirm)).collect();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(mailbox.post(Order::Confirm).poll(&mut cx).is_ready(), "it is refused");
        (0..3).for_each(|_| mailbox.post_signalled());
        for awaited in posted {
            let Poll::Ready((Order::Confirm, _)) = mailbox.poll_take(&mut cx, Busy::No) else {
                panic!("not in their order");
            };
            assert!(awaited.poll(&mut cx).is_ready(), "it went with its order");
        }
        let taken = mailbox.poll_take(&mut cx, Busy::No);
        assert!(matches!(taken, Poll::Ready((Order::Reload(Cause::Signal), _))), "{taken:?}");
        assert!(mailbox.poll_take(&mut cx, Busy::No).is_pending(), "once is enough");
    }
}

//! Connections of one worker to one endpoint that speaks HTTP/2: each carries many requests, so
//! that none of them is lent as a whole.

use crate::worker::Worker;
use gatehouse_core::moment::Moment;
use gatehouse_core::vitals::EndpointVitals;
use gatehouse_wire::Stream;
use gatehouse_wire::h2::{Session, SessionDriver};
use gatehouse_wire::timer::{Timer, now};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Connections of one worker to one endpoint: more requests than these carry are refused.
const SESSIONS_MAX: usize = 64;

/// How long an endpoint that owes an answer may say nothing before it is asked whether it is
/// still there.
const QUIET: Duration = Duration::from_secs(30);

/// The same once it has said so: some servers take more PINGs than that for an attack.
const QUIET_AGAIN: Duration = Duration::from_secs(300);

/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(10);

/// How long it may take nothing of what is sent.
const STALLED: Duration = Duration::from_secs(30);

/// One worker's connections to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: RefCell<Vec<Session>>,
    /// Whether somebody opens another.
    dialling: Cell<bool>,
    /// Who waits for that.
    waiting: RefCell<Vec<Waker>>,
}

/// What somebody who needs a stream is given.
#[derive(Debug)]
pub(crate) enum Turn {
    /// A stream of a connection that is there.
    Stream(Stream),
    /// The right to open a connection.
    Dial(Dialling),
    /// Nothing: there are as many connections as may be, and none has room.
    Full,
}

/// The right to open a connection: nobody else does meanwhile.
#[derive(Debug)]
pub(crate) struct Dialling(Rc<Sessions>);

impl Drop for Dialling {
    fn drop(&mut self) {
        self.0.dialling.set(false);
        self.0.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl Sessions {
    /// A stream; or, where there is none, the right to open a connection; pending while somebody
    /// else does.
    pub fn poll_turn(self: &Rc<Sessions>, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Some(stream) = self.lease() {
            return Poll::Ready(Turn::Stream(stream));
        }
        if self.open.borrow().len() >= SESSIONS_MAX {
            return Poll::Ready(Turn::Full);
        }
        if self.dialling.replace(true) {
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(Turn::Dial(Dialling(Rc::clone(self))))
    }

    /// A stream of the first connection that has room, so that few of them are busy.
    pub fn lease(&self) -> Option<Stream> {
        let mut open = self.open.borrow_mut();
        open.retain(|session| !session.is_over());
        open.iter().find_map(Session::lease)
    }

    /// Keeps a connection that was opened.
    pub fn add(&self, session: Session) {
        self.open.borrow_mut().push(session);
    }

    /// Ends what carries nothing and has done so for `most`.
    pub fn sweep(&self, now: Moment, most: Duration) {
        self.open.borrow_mut().retain(|session| {
            let old = session.idle_since().is_some_and(|since| now.since(since) >= most);
            if old {
                session.close();
            }
            !old && !session.is_over()
        });
    }

    /// Ends what carries nothing; what carries something ends with that.
    pub fn clear(&self) {
        self.open.borrow_mut().drain(..).for_each(|session| session.close());
    }

    /// Connections that are open and take requests.
    #[cfg(feature = "memory")]
    pub fn len(&self) -> usize {
        self.open.borrow().iter().filter(|session| !session.is_over()).count()
    }
}

/// A connection, counted while it is open.
struct Counted(Arc<EndpointVitals>);

impl Counted {
    fn new(vitals: Arc<EndpointVitals>) -> Counted {
        vitals.connection_opened();
        Counted(vitals)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// Speaks HTTP/2 on a fresh connection, and drives it as long as it lives.
pub(crate) async fn start(
    worker: &Worker,
    stream: Stream,
    vitals: Arc<EndpointVitals>,
) -> Option<Session> {
    let (session, driver) = Session::start(stream, &worker.buffers).await?;
    let counted = Counted::new(vitals);
    worker.tasks.spawn(async move {
        let mut driven = Driven { driver, timer: Timer::default(), quiet: QUIET, free_at: now() };
        poll_fn(|cx| driven.poll(cx)).await;
        drop(driven);
        drop(counted);
    });
    Some(session)
}

struct Driven {
    driver: SessionDriver,
    timer: Timer,
    /// How long the endpoint may say nothing while it owes an answer.
    quiet: Duration,
    /// When nothing was owed last.
    free_at: Moment,
}

/// What is done when a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection is given up.
    Leave,
    /// The endpoint is asked whether it is there.
    Ask,
    /// Nothing is.
    Look,
}

impl Driven {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.driver.poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let (deadline, then) = self.deadline();
            if self.timer.poll_until(cx, deadline).is_pending() {
                return Poll::Pending;
            }
            match then {
                Then::Leave => return Poll::Ready(()),
                Then::Ask => {
                    self.driver.ping();
                    self.quiet = QUIET_AGAIN;
                }
                Then::Look => self.free_at = now(),
            }
        }
    }

    /// Until when it may stay as it is, and what then.
    fn deadline(&mut self) -> (Moment, Then) {
        if let Some(since) = self.driver.stalled_since() {
            return (since.after(STALLED), Then::Leave);
        }
        if let Some(since) = self.driver.pinged_since() {
            return (since.after(PONG), Then::Leave);
        }
        if self.driver.open() == 0 {
            self.quiet = QUIET;
            self.free_at = now();
            return (self.free_at.after(QUIET), Then::Look);
        }
        (self.driver.heard_at().max(self.free_at).after(self.quiet), Then::Ask)
    }
}

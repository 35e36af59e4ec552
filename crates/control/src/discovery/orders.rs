//! What the discovery thread is told, from any thread.

use super::Wanted;
use crate::registry::Name;
use crate::steer::orders::Reply;
use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What it is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Ask these too, and say when each has answered or failed.
    Prepare { wanted: Vec<Wanted>, names: Vec<Name>, done: Sender<()> },
    /// Ask these and no others.
    Follow { wanted: Vec<Wanted>, names: Vec<Name> },
    /// Publish everything anew: there is a data plane.
    Republish,
    /// Take what is held back of this upstream.
    Accept(String, Reply),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Thread {
    #[default]
    NotStarted,
    Running,
    Ended,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: VecDeque<Order>,
    waker: Option<Waker>,
    thread: Thread,
}

/// Orders on their way. There are few: one a reload, and what an operator types.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<Waiting>);

impl Orders {
    /// Posts an order; starts the thread where that does not run and `start` says how. Gives the
    /// order back where nobody will carry it out.
    pub fn post(&self, order: Order, start: Option<&dyn Fn() -> Result<(), ()>>) -> Option<Order> {
        let mut waiting = self.lock();
        if let (Thread::NotStarted, Some(start)) = (waiting.thread, start)
            && start().is_ok()
        {
            waiting.thread = Thread::Running;
        }
        if waiting.thread != Thread::Running {
            return Some(order);
        }
        waiting.orders.push_back(order);
        wake(waiting);
        None
    }

    /// Has the thread end.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.thread = Thread::Ended;
        waiting.orders.clear();
        wake(waiting);
    }

    /// The next order; `None` where there will be no more.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Order>> {
        let mut waiting = self.lock();
        match waiting.orders.pop_front() {
            Some(order) => Poll::Ready(Some(order)),
            None if waiting.thread == Thread::Ended => Poll::Ready(None),
            None => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let waker = waiting.waker.take();
    drop(waiting);
    if let Some(waker) = waker {
        waker.wake();
    }
}

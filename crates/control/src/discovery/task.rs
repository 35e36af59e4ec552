//! Tasks of the discovery thread that end when whoever started them lets go.

use gatehouse_proxy::gate::spawn;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A task. Dropping this ends it, and drops what it holds.
#[derive(Debug)]
pub(super) struct Task(Rc<Stop>);

#[derive(Debug, Default)]
struct Stop {
    stopped: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Task {
    /// Runs `work` beside what runs on this thread.
    pub fn start(work: impl Future<Output = ()> + 'static) -> Task {
        let stop: Rc<Stop> = Rc::default();
        let own = Rc::clone(&stop);
        let mut work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(work);
        spawn(poll_fn(move |cx| {
            if own.stopped.get() {
                return Poll::Ready(());
            }
            own.waker.replace(Some(cx.waker().clone()));
            work.as_mut().poll(cx)
        }));
        Task(stop)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.stopped.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

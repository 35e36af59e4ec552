//! Places for questions under way: each has a socket, and there may be thousands of names.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Questions that one thread has under way at once; others wait.
const PLACES: usize = 128;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Taken(());

/// Waits for a place.
pub(super) async fn take() -> Taken {
    poll_fn(|cx| {
        if TAKEN.get() < PLACES {
            TAKEN.set(TAKEN.get() + 1);
            return Poll::Ready(Taken(()));
        }
        WAITING.with_borrow_mut(|waiting| waiting.push(cx.waker().clone()));
        Poll::Pending
    })
    .await
}

impl Drop for Taken {
    fn drop(&mut self) {
        TAKEN.set(TAKEN.get() - 1);
        // All of them: one that is not there any more would keep its turn from the others.
        let waiting = WAITING.with_borrow_mut(std::mem::take);
        waiting.into_iter().for_each(Waker::wake);
    }
}

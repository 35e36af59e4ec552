//! Wakes: of a thread that waits, and of tasks that go behind the others.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// What ends a thread's wait, from whichever thread.
pub(crate) struct Bell(OwnedFd);

impl Bell {
    /// A waker that writes to this descriptor.
    pub fn waker(descriptor: OwnedFd) -> Waker {
        Waker::from(Arc::new(Bell(descriptor)))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        // It fails only where it has rung 2^64 times unheard.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

thread_local! {
    static LATER: Cell<bool> = const { Cell::new(false) };
}

/// Wakes, and lets whoever is woken know whether it goes behind the others.
pub(crate) fn wake(waker: &Waker, later: bool) {
    LATER.set(later);
    waker.wake_by_ref();
    LATER.set(false);
}

/// Whether the wake that is being made is of one that goes behind the others.
pub fn wakes_later() -> bool {
    LATER.get()
}

//! How the data path asks to be judged before the next look is due.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Rung by anybody, heard by one task. Rung often before it is heard, it is heard once.
#[derive(Debug, Default)]
pub struct Bell {
    is_rung: AtomicBool,
    /// Locked only by the listener, and by the first who rings.
    listener: Mutex<Option<Waker>>,
}

impl Bell {
    /// Wakes whoever listens, now or later.
    pub fn ring(&self) {
        if self.is_rung.swap(true, SeqCst) {
            return;
        }
        let listener = self.listener().take();
        listener.into_iter().for_each(Waker::wake);
    }

    /// Ready once it was rung since it was last heard.
    pub fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        // First the waker, then the look: whoever rings in between finds one of them.
        *self.listener() = Some(cx.waker().clone());
        if self.is_rung.swap(false, SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn listener(&self) -> MutexGuard<'_, Option<Waker>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    #[derive(Default)]
    struct Wakings(AtomicU32);

    impl Wake for Wakings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn it_is_heard_once_however_often_and_whenever_it_was_rung() {
        let (bell, wakings) = (Bell::default(), Arc::<Wakings>::default());
        let waker = Waker::from(Arc::clone(&wakings));
        let mut cx = Context::from_waker(&waker);
        bell.ring();
        assert!(bell.poll_heard(&mut cx).is_ready(), "rung before anybody listened");
        assert!(bell.poll_heard(&mut cx).is_pending());
        (0..3).for_each(|_| bell.ring());
        assert_eq!(wakings.0.load(SeqCst), 1);
        assert!(bell.poll_heard(&mut cx).is_ready());
        assert!(bell.poll_heard(&mut cx).is_pending());
    }
}

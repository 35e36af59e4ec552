//! The driver of a thread that a tokio runtime runs: the control side, and the tests, whose clock
//! is tokio's.

use crate::driver;
use crate::sys;
use crate::timer::now;
use gatehouse_core::moment::Moment;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Turns this thread's driver from inside the tokio runtime that this is run on, for ever.
///
/// # Errors
/// Where there is no descriptor for it, or the runtime ends.
pub async fn attend() -> io::Result<()> {
    let events = sys::watch(driver::descriptor()?)?;
    let mut sleep = Sleep::default();
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(ready) = events.poll_read_ready(cx) {
                ready?.clear_ready();
            }
            let next = driver::turn_for(cx.waker())?;
            let Some(next) = next else { return Poll::Pending };
            ready!(sleep.poll_until(cx, next));
        }
    })
    .await
}

/// One point in time by both clocks: tokio's, and [`now`]'s.
static ORIGIN: OnceLock<Origin> = OnceLock::new();

#[derive(Debug)]
struct Origin {
    instant: Instant,
    moment: Moment,
}

/// Deadlines past this are clamped: 30 years, well inside what an `Instant` holds.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

#[derive(Debug, Default)]
struct Sleep {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    until: Moment,
}

impl Sleep {
    /// Ready once `until` has passed.
    fn poll_until(&mut self, cx: &mut Context<'_>, until: Moment) -> Poll<()> {
        if now() >= until {
            return Poll::Ready(());
        }
        if self.until != until {
            let origin = ORIGIN.get_or_init(|| Origin { instant: Instant::now(), moment: now() });
            let at = origin.instant + until.since(origin.moment).min(FAR);
            self.until = until;
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(at),
                None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// tokio's clock, which tests pause.
#[cfg(feature = "memory")]
pub(crate) fn clock_nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

//! The clock and the timers of the process. One of the few files that name the driver.

use gatehouse_core::moment::Moment;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// One point in time by both clocks: the driver's, and [`now`]'s.
static ORIGIN: OnceLock<Origin> = OnceLock::new();

#[derive(Debug)]
struct Origin {
    instant: Instant,
    nanos: u64,
}

fn origin() -> &'static Origin {
    ORIGIN.get_or_init(|| Origin { instant: Instant::now(), nanos: clock_nanos() })
}

/// The kernel's clock. Read directly: an `Instant` costs three times as much to make and to
/// subtract, and this is asked several times a request.
#[cfg(not(feature = "memory"))]
fn clock_nanos() -> u64 {
    crate::sys::monotonic_nanos()
}

/// The driver's clock, which tests pause.
#[cfg(feature = "memory")]
fn clock_nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Now, by the driver's clock: tests pause it.
pub fn now() -> Moment {
    Moment::from_nanos(clock_nanos())
}

/// Waits.
pub async fn sleep(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// One connection's deadline. It is armed lazily: a deadline that moves away costs nothing, and
/// only one that comes nearer than what is armed touches the driver. A connection that keeps
/// busy therefore pays for a timer about once a timeout, not once a request.
#[derive(Debug)]
pub struct Timer {
    sleep: Pin<Box<Sleep>>,
    armed: Moment,
    registered: bool,
}

impl Timer {
    /// A timer armed for `wait` from now.
    pub fn after(wait: Duration) -> Timer {
        Timer {
            sleep: Box::pin(tokio::time::sleep(wait)),
            armed: now().after(wait),
            registered: false,
        }
    }

    /// Ready once `deadline` has passed.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Moment) -> Poll<()> {
        if deadline < self.armed {
            self.arm(deadline);
        }
        // Once it knows whom to wake, a sleep need not be polled before it has fired. A timer is
        // its task's own: the waker is always the same.
        if self.registered && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            self.registered = self.sleep.as_mut().poll(cx).is_pending();
            if self.registered {
                return Poll::Pending;
            }
            if now() >= deadline {
                return Poll::Ready(());
            }
            self.arm(deadline);
        }
    }

    fn arm(&mut self, deadline: Moment) {
        let origin = origin();
        let wait = deadline.nanos().saturating_sub(origin.nanos).min(FAR_NANOS);
        let at = origin.instant + Duration::from_nanos(wait);
        self.sleep.as_mut().reset(at);
        self.armed = deadline;
        self.registered = false;
    }
}

/// Deadlines past this are clamped: 30 years, well inside what an `Instant` holds.
const FAR_NANOS: u64 = 30 * 365 * 24 * 3600 * 1_000_000_000;

//! Places that come free are taken by those that wait, however many threads give and take them.

use gatehouse_core::queue::{Priority, Ticket, Turn};
use gatehouse_core::vitals::UpstreamVitals;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

const PLACES: u32 = 2;

/// Takes a place, waiting for it where there is none. Whoever is not called within ten seconds has
/// been forgotten.
fn take(vitals: &UpstreamVitals, waker: &Waker) {
    if vitals.waiting() == 0 && vitals.try_enter(Some(PLACES)) {
        return;
    }
    let joined: Option<Ticket> = vitals.join_queue(Priority::Normal, 1000, waker);
    let ticket = joined.expect("there is room in the queue");
    loop {
        if vitals.turn(ticket, waker) == Turn::Called && vitals.try_enter(Some(PLACES)) {
            return vitals.leave_queue(ticket);
        }
        let began = std::time::Instant::now();
        thread::park_timeout(Duration::from_secs(10));
        assert!(began.elapsed() < Duration::from_secs(9), "nobody called");
    }
}

#[test]
fn no_place_that_comes_free_is_left_to_nobody() {
    let (vitals, inside) = (UpstreamVitals::default(), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                for _ in 0..3_000 {
                    take(&vitals, &waker);
                    assert!(inside.fetch_add(1, SeqCst) < PLACES, "more are in than may be");
                    inside.fetch_sub(1, SeqCst);
                    vitals.leave();
                }
            });
        }
    });
    assert_eq!((vitals.waiting(), vitals.in_flight()), (0, 0));
}

#[test]
fn who_takes_one_of_two_places_calls_the_next() {
    let vitals = UpstreamVitals::default();
    let enters = || vitals.try_enter(Some(PLACES));
    assert!(enters() && enters());
    let waker = Waker::noop();
    let join = || vitals.join_queue(Priority::Normal, 9, waker).expect("room");
    let (one, two) = (join(), join());
    assert_eq!((vitals.turn(one, waker), enters()), (Turn::Called, false));
    assert_eq!(vitals.turn(two, waker), Turn::Waits);
    // Both call the first.
    vitals.leave();
    vitals.leave();
    assert_eq!((vitals.turn(one, waker), enters()), (Turn::Called, true));
    assert_eq!(vitals.turn(two, waker), Turn::Waits);
    vitals.leave_queue(one);
    assert_eq!((vitals.turn(two, waker), enters()), (Turn::Called, true));
    vitals.leave_queue(two);
}

#[test]
fn whoever_waits_is_called_when_more_may_be_in_flight() {
    let (vitals, waker) = (UpstreamVitals::default(), Waker::noop());
    vitals.set_concurrency(1);
    assert!(vitals.try_enter(vitals.concurrency()));
    let ticket = vitals.join_queue(Priority::Normal, 9, waker).expect("room");
    // The first is called at once, and finds no place.
    assert_eq!(vitals.turn(ticket, waker), Turn::Called);
    for (most, turn) in [(1, Turn::Waits), (2, Turn::Called), (1, Turn::Waits)] {
        vitals.set_concurrency(most);
        assert_eq!(vitals.turn(ticket, waker), turn, "{most}");
    }
    vitals.leave_queue(ticket);
}

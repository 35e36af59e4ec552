//! The clock and the timers of the process.

use crate::driver;
use gatehouse_core::moment::Moment;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The kernel's clock. Read directly: an `Instant` costs three times as much to make and to
/// subtract, and this is asked several times a request. Tests pause theirs.
#[cfg(not(feature = "memory"))]
use crate::sys::monotonic_nanos as clock_nanos;

#[cfg(feature = "memory")]
use crate::attend::clock_nanos;

/// Now; tests pause it.
pub fn now() -> Moment {
    Moment::from_nanos(clock_nanos())
}

/// Waits.
pub async fn sleep(wait: Duration) {
    let mut timer = Timer::default();
    let until = now().after(wait);
    poll_fn(|cx| timer.poll_until(cx, until)).await;
}

/// No timer has this number.
const UNARMED: u32 = u32::MAX;

/// One task's deadline. It is armed lazily: a deadline that moves away costs nothing, and only one
/// that comes nearer than what is armed touches the driver. Who keeps busy therefore pays for a
/// timer about once a timeout, not once a request.
#[derive(Debug)]
pub struct Timer {
    number: u32,
    armed: Moment,
}

impl Default for Timer {
    fn default() -> Timer {
        Timer { number: UNARMED, armed: Moment::default() }
    }
}

impl Timer {
    /// Ready once `deadline` has passed and the driver has told of all that came before it: a task
    /// that asks what came and then for the time takes nobody for late whose bytes wait in the
    /// kernel, however long its process stood still in between. A timer is its task's own: the
    /// waker is always the same.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Moment) -> Poll<()> {
        let waiting = self.number != UNARMED
            && driver::with_timers(|timers| timers.is_waiting(self.number)) == Some(true);
        if waiting && self.armed <= deadline {
            return Poll::Pending;
        }
        // The clock of a test may begin anew, before what was told under the one before.
        if driver::told_until() >= deadline && now() >= deadline {
            return Poll::Ready(());
        }
        self.armed = deadline;
        let sooner = driver::with_timers(|timers| {
            if self.number == UNARMED {
                self.number = timers.add();
            }
            timers.arm(self.number, deadline, cx.waker());
            timers.next() == Some(deadline)
        });
        if sooner == Some(true) {
            driver::is_sooner();
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.number != UNARMED {
            let _ = driver::with_timers(|timers| timers.remove(self.number));
        }
    }
}

/// One thread's timers: a heap by deadline, whose entries know where they are.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    armed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Moment,
    /// Of those with one deadline the one armed first fires first, so that tests can tell.
    order: u32,
    number: u32,
}

impl Entry {
    fn is_before(self, other: Entry) -> bool {
        (self.deadline, self.order) < (other.deadline, other.order)
    }
}

#[derive(Debug)]
struct Slot {
    /// Where its entry is in the heap, or `UNARMED`.
    place: u32,
    waker: Option<Waker>,
}

impl Timers {
    pub const fn new() -> Timers {
        Timers { heap: Vec::new(), slots: Vec::new(), free: Vec::new(), armed: 0 }
    }

    /// The nearest deadline.
    pub fn next(&self) -> Option<Moment> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Wakes those whose deadline has passed, `most` at most, the first ones first.
    pub fn fire(&mut self, now: Moment, most: usize) {
        for _ in 0..most {
            let due = self.heap.first().copied().filter(|first| first.deadline <= now);
            let Some(first) = due else { return };
            self.disarm(first.number);
            if let Some(waker) = &self.slots[first.number as usize].waker {
                waker.wake_by_ref();
            }
        }
    }

    fn add(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { place: UNARMED, waker: None });
            (self.slots.len() - 1) as u32
        })
    }

    fn is_waiting(&self, number: u32) -> bool {
        self.slots[number as usize].place != UNARMED
    }

    fn arm(&mut self, number: u32, deadline: Moment, waker: &Waker) {
        let slot = &mut self.slots[number as usize];
        match &mut slot.waker {
            Some(known) => known.clone_from(waker),
            None => slot.waker = Some(waker.clone()),
        }
        self.armed = self.armed.wrapping_add(1);
        let entry = Entry { deadline, order: self.armed, number };
        let at = if slot.place == UNARMED {
            self.heap.push(entry);
            self.heap.len() - 1
        } else {
            let at = slot.place as usize;
            self.heap[at] = entry;
            at
        };
        self.settle(at);
    }

    fn disarm(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let at = std::mem::replace(&mut slot.place, UNARMED) as usize;
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            self.settle(at);
        }
    }

    fn remove(&mut self, number: u32) {
        if self.is_waiting(number) {
            self.disarm(number);
        }
        self.slots[number as usize].waker = None;
        self.free.push(number);
    }

    /// Moves the entry at `at` to where it belongs.
    fn settle(&mut self, mut at: usize) {
        let entry = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / 2;
            if !entry.is_before(self.heap[parent]) {
                break;
            }
            self.put(at, self.heap[parent]);
            at = parent;
        }
        loop {
            let mut child = 2 * at + 1;
            let Some(left) = self.heap.get(child) else { break };
            if self.heap.get(child + 1).is_some_and(|right| right.is_before(*left)) {
                child += 1;
            }
            if !self.heap[child].is_before(entry) {
                break;
            }
            self.put(at, self.heap[child]);
            at = child;
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: Entry) {
        self.heap[at] = entry;
        self.slots[entry.number as usize].place = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    struct Note(u32, Arc<Mutex<Vec<u32>>>);

    impl Wake for Note {
        fn wake(self: Arc<Note>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Arm(usize, u64),
        Remove(usize),
        Fire(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0..20_usize, 0..1000_u64).prop_map(|(timer, at)| Act::Arm(timer, at)),
            (0..20_usize).prop_map(Act::Remove),
            (0..1000_u64).prop_map(Act::Fire),
        ]
    }

    proptest! {
        #[test]
        fn timers_fire_as_a_sorted_list_would(
            acts in prop::collection::vec(act(), 0..200),
            most in 1..30_usize,
        ) {
            let fired: Arc<Mutex<Vec<u32>>> = Arc::default();
            let mut timers = Timers::new();
            let mut numbers: Vec<Option<u32>> = vec![None; 20];
            let mut expected: BTreeMap<(u64, u32), u32> = BTreeMap::new();
            let order = AtomicU32::new(0);
            for act in acts {
                match act {
                    Act::Arm(timer, at) => {
                        let number = *numbers[timer].get_or_insert_with(|| timers.add());
                        let waker = Waker::from(Arc::new(Note(number, Arc::clone(&fired))));
                        timers.arm(number, Moment::from_nanos(at), &waker);
                        expected.retain(|_, known| *known != number);
                        expected.insert((at, order.fetch_add(1, Ordering::Relaxed)), number);
                    }
                    Act::Remove(timer) => {
                        if let Some(number) = numbers[timer].take() {
                            timers.remove(number);
                            expected.retain(|_, known| *known != number);
                        }
                    }
                    Act::Fire(now) => {
                        timers.fire(Moment::from_nanos(now), most);
                        let mut later = expected.split_off(&(now + 1, 0));
                        while expected.len() > most {
                            let (at, number) = expected.pop_last().unwrap();
                            later.insert(at, number);
                        }
                        let due: Vec<u32> = expected.into_values().collect();
                        expected = later;
                        prop_assert_eq!(std::mem::take(&mut *fired.lock().unwrap()), due);
                    }
                }
                let next = expected.keys().next().map(|(at, _)| Moment::from_nanos(*at));
                prop_assert_eq!(timers.next(), next);
            }
        }
    }
}

//! Tasks of one worker: run in turn on its thread, each until it waits. One of the few files that
//! name tokio.
//!
//! Between two rounds the thread's driver is turned once. A task that reads and writes without an
//! end goes behind all that have less to do, and so does one that a peer feeds slowly: the others
//! run first, and a few of those each round.

use gatehouse_wire::driver::{self, Wait};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Tasks run before the driver is turned again.
const ROUND_MAX: usize = 1024;

/// Reads and writes a task may do before the others have their turn. Most exchanges need fewer.
const ALLOWANCE: u32 = 16;

/// Tasks run in a round that have used up what they were allowed: what has become ready meanwhile
/// waits for no more of them than these.
const BUSY_MAX: usize = 4;

/// Tasks run in a round whose peers are slow ([`gatehouse_wire::Stream::yields`]): thousands of
/// them may send at one moment, and what has become ready meanwhile waits for no more than these.
const LATER_MAX: usize = 64;

/// No task of a worker runs.
const NONE: u32 = u32::MAX;

thread_local! {
    static HERE: Here = const {
        Here {
            worker: Cell::new(0),
            ready: RefCell::new(VecDeque::new()),
            later: RefCell::new(VecDeque::new()),
        }
    };
}

/// The tasks that were woken by this thread while its worker ran.
struct Here {
    /// The number of the worker that runs on this thread now; 0 is none.
    worker: Cell<u64>,
    ready: RefCell<VecDeque<u32>>,
    /// Those of them that go behind.
    later: RefCell<VecDeque<u32>>,
}

/// The tasks that were woken from elsewhere.
#[derive(Debug)]
struct Elsewhere {
    worker: u64,
    any: AtomicBool,
    woken: Mutex<Woken>,
}

#[derive(Debug, Default)]
struct Woken {
    tasks: Vec<u32>,
    /// Whom to tell.
    bell: Option<Waker>,
}

impl Elsewhere {
    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What wakes one task; it lives as long as the place the task has.
#[derive(Debug)]
struct Alarm {
    task: u32,
    /// Whether the task is among the ready ones already.
    queued: AtomicBool,
    elsewhere: Arc<Elsewhere>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Alarm>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Alarm>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let here = HERE.try_with(|here| {
            let own = here.worker.get() == self.elsewhere.worker;
            if own {
                let queue = if gatehouse_wire::wakes_later() { &here.later } else { &here.ready };
                queue.borrow_mut().push_back(self.task);
            }
            own
        });
        if here == Ok(true) {
            return;
        }
        let mut woken = self.elsewhere.lock();
        woken.tasks.push(self.task);
        // Behind others: it was rung for them, and nobody has looked since.
        if !self.elsewhere.any.swap(true, Ordering::AcqRel)
            && let Some(bell) = &woken.bell
        {
            bell.wake_by_ref();
        }
    }
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

struct Place {
    /// `None` while it runs, and once it has ended.
    running: Option<Running>,
    alarm: Arc<Alarm>,
    /// The same, as a task is given it; `None` while it runs.
    waker: Option<Waker>,
}

/// One worker's tasks.
pub(crate) struct Tasks {
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<u32>>,
    elsewhere: Arc<Elsewhere>,
    /// Tasks that run again once the driver was turned.
    put_off: RefCell<Vec<u32>>,
    /// Tasks that have used up what they were allowed, and were not woken: they count as queued.
    busy: RefCell<VecDeque<u32>>,
    current: Cell<u32>,
    ended: Cell<bool>,
    #[cfg(feature = "memory")]
    pub polls: Cell<u64>,
}

impl Default for Tasks {
    fn default() -> Tasks {
        static WORKERS: AtomicU64 = AtomicU64::new(1);
        let elsewhere = Elsewhere {
            worker: WORKERS.fetch_add(1, Ordering::Relaxed),
            any: AtomicBool::new(false),
            woken: Mutex::default(),
        };
        Tasks {
            places: RefCell::default(),
            free: RefCell::default(),
            elsewhere: Arc::new(elsewhere),
            put_off: RefCell::default(),
            busy: RefCell::default(),
            current: Cell::new(NONE),
            ended: Cell::new(false),
            #[cfg(feature = "memory")]
            polls: Cell::new(0),
        }
    }
}

impl Tasks {
    /// Runs `future` on this worker. A panic in it ends that task alone and is printed.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        if self.ended.get() {
            return;
        }
        let mut places = self.places.borrow_mut();
        let free = self.free.borrow_mut().pop();
        let at = free.unwrap_or_else(|| {
            let task = places.len() as u32;
            let elsewhere = Arc::clone(&self.elsewhere);
            let alarm = Arc::new(Alarm { task, queued: AtomicBool::new(false), elsewhere });
            let waker = Some(Waker::from(Arc::clone(&alarm)));
            places.push(Place { running: None, alarm, waker });
            task
        });
        let place = &mut places[at as usize];
        place.running = Some(Box::pin(future));
        place.alarm.wake_by_ref();
    }

    /// Runs the calling task again after the driver was turned: what has become ready meanwhile
    /// goes first.
    pub async fn next_round(&self) {
        let mut put_off = false;
        poll_fn(|_| {
            if std::mem::replace(&mut put_off, true) {
                return Poll::Ready(());
            }
            self.put_off.borrow_mut().push(self.current.get());
            Poll::Pending
        })
        .await;
    }

    /// Drops all tasks but the calling one, and what they hold.
    pub fn clear(&self) {
        let count = self.places.borrow().len();
        for at in 0..count {
            let running = self.places.borrow_mut()[at].running.take();
            drop(catch_unwind(AssertUnwindSafe(|| drop(running))));
        }
    }

    /// Runs tasks on this thread until `main`, which is one of them, has ended; then drops them
    /// all. `bell` is what ends a wait of this thread's driver.
    ///
    /// # Errors
    /// What the driver says, or that `main` panicked.
    pub fn run<T: 'static>(
        &self,
        bell: Waker,
        main: impl Future<Output = T> + 'static,
    ) -> io::Result<T> {
        let _end = End(self);
        self.elsewhere.lock().bell = Some(bell);
        let result = Rc::new(Cell::new(None));
        let set = Rc::clone(&result);
        self.spawn(async move { set.set(Some(main.await)) });
        let _entered = Entered::new(&self.elsewhere);
        loop {
            let more = self.round();
            if Rc::strong_count(&result) == 1 {
                return result.take().ok_or_else(|| io::Error::other("the worker panicked"));
            }
            driver::turn(if more { Wait::No } else { Wait::Yes })?;
        }
    }

    /// Runs tasks from inside another runtime, which turns this thread's driver too, for ever;
    /// dropped, it drops them all.
    #[cfg(feature = "memory")]
    pub async fn attend(self: Rc<Tasks>) {
        let tasks = &*self;
        let _end = End(tasks);
        poll_fn(|cx| {
            let mut woken = tasks.elsewhere.lock();
            if !woken.bell.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                woken.bell = Some(cx.waker().clone());
            }
            drop(woken);
            let entered = Entered::new(&tasks.elsewhere);
            let more = tasks.round();
            drop(entered);
            if more {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    }

    /// Runs what is ready, and what becomes so meanwhile. True where more is waiting to run.
    fn round(&self) -> bool {
        for _ in 0..ROUND_MAX {
            self.take_from_elsewhere();
            let Some(task) = HERE.with(|here| here.ready.borrow_mut().pop_front()) else { break };
            self.poll(task);
        }
        for _ in 0..LATER_MAX {
            let Some(task) = HERE.with(|here| here.later.borrow_mut().pop_front()) else { break };
            self.poll(task);
        }
        for _ in 0..BUSY_MAX {
            let Some(task) = self.busy.borrow_mut().pop_front() else { break };
            self.poll(task);
        }
        let mut put_off = self.put_off.borrow_mut();
        HERE.with(|here| {
            let mut ready = here.ready.borrow_mut();
            let places = self.places.borrow();
            for task in put_off.drain(..) {
                if !places[task as usize].alarm.queued.swap(true, Ordering::AcqRel) {
                    ready.push_back(task);
                }
            }
            let later = here.later.borrow();
            !(ready.is_empty() && later.is_empty() && self.busy.borrow().is_empty())
        })
    }

    fn take_from_elsewhere(&self) {
        if self.elsewhere.any.load(Ordering::Acquire) {
            let mut woken = self.elsewhere.lock();
            self.elsewhere.any.store(false, Ordering::Release);
            HERE.with(|here| here.ready.borrow_mut().extend(woken.tasks.drain(..)));
        }
    }

    fn poll(&self, task: u32) {
        let mut places = self.places.borrow_mut();
        let place = &mut places[task as usize];
        place.alarm.queued.swap(false, Ordering::AcqRel);
        // Whoever was woken may have ended since.
        let Some(mut running) = place.running.take() else { return };
        let Some(waker) = place.waker.take() else { return };
        drop(places);
        #[cfg(feature = "memory")]
        self.polls.set(self.polls.get() + 1);
        self.current.set(task);
        driver::allow(ALLOWANCE);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            running.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        self.current.set(NONE);
        let spent = driver::is_spent();
        let waits = matches!(polled, Ok(Poll::Pending));
        let mut places = self.places.borrow_mut();
        let place = &mut places[task as usize];
        place.waker = Some(waker);
        if waits {
            place.running = Some(running);
            // One that was woken meanwhile is in the other queue already.
            if spent && !place.alarm.queued.swap(true, Ordering::AcqRel) {
                self.busy.borrow_mut().push_back(task);
            }
            return;
        }
        drop(places);
        // What it held is dropped here, which may panic as well.
        drop(catch_unwind(AssertUnwindSafe(|| drop(running))));
        self.free.borrow_mut().push(task);
    }
}

/// Drops all tasks, and what they hold, in the end: they hold the worker that holds them.
struct End<'a>(&'a Tasks);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ended.set(true);
        let places = std::mem::take(&mut *self.0.places.borrow_mut());
        let ended = catch_unwind(AssertUnwindSafe(|| drop(places)));
        drop(ended);
    }
}

/// While it lives, wakes from this thread take the short way.
struct Entered {
    before: u64,
    elsewhere: Arc<Elsewhere>,
}

impl Entered {
    fn new(elsewhere: &Arc<Elsewhere>) -> Entered {
        let before = HERE.with(|here| here.worker.replace(elsewhere.worker));
        Entered { before, elsewhere: Arc::clone(elsewhere) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.with(|here| {
            here.worker.set(self.before);
            // What is ready still waits where another worker of this thread does not look.
            for queue in [&here.ready, &here.later] {
                let mut queue = queue.borrow_mut();
                if !queue.is_empty() {
                    self.elsewhere.lock().tasks.extend(queue.drain(..));
                    self.elsewhere.any.store(true, Ordering::Release);
                }
            }
        });
    }
}

/// Runs `future` beside the one that a tokio runtime runs on this thread.
pub(crate) fn spawn_service(future: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(future);
}

#[cfg(test)]
mod tests;

//! Announces the gateway, or a service beside it, in a registry, on a thread of its own: as long as
//! this process lives and serves. Nothing waits for a registry but the end of the process, and that
//! not for long.

mod announce;
mod shown;

pub(crate) use shown::{Seen, json, metrics};
use shown::{Shown, Standing};

use crate::config::RegisterSpec;
use announce::announce;
use gatehouse_core::chance::Chance;
use gatehouse_proxy::gate::{block_on, spawn};
use shown::Report;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long the end of the process waits for its announcements to be taken back.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Announces until it is stopped.
#[derive(Debug)]
pub(crate) struct Register {
    seed: u64,
    seen: Seen,
    told: Arc<Told>,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Told {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: Vec<Arc<RegisterSpec>>,
    /// Grows with each change of what is wanted.
    changes: u64,
    thread: Thread,
    /// Whether another process announces the same.
    leaving: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Thread {
    #[default]
    NotStarted,
    Running,
    /// It is to end once all is taken back.
    Ending,
    Ended,
}

impl Register {
    /// One that announces nothing yet.
    pub fn new(seed: u64) -> Register {
        Register { seed, seen: Seen::default(), told: Arc::default() }
    }

    /// What is shown of it.
    pub fn seen(&self) -> Seen {
        Arc::clone(&self.seen)
    }

    /// Announces these from now on, and takes all others back. What has not changed goes on.
    pub fn follow(&self, wanted: &[Arc<RegisterSpec>]) {
        let mut state = self.told.lock();
        if matches!(state.thread, Thread::Ending | Thread::Ended) {
            return;
        }
        state.wanted = wanted.to_vec();
        state.changes += 1;
        if state.thread == Thread::NotStarted && !wanted.is_empty() {
            let (told, seen, seed) = (Arc::clone(&self.told), self.seen(), self.seed);
            let work = move || {
                if let Err(error) = block_on(keep(&told, &seen, seed)) {
                    eprintln!("error: nothing is registered any more: {error}");
                }
                told.lock().thread = Thread::Ended;
                told.ended.notify_all();
            };
            match std::thread::Builder::new().name("register".to_owned()).spawn(work) {
                Ok(_) => state.thread = Thread::Running,
                Err(error) => eprintln!("error: nothing is registered: no thread: {error}"),
            }
        }
        wake(state);
    }

    /// Takes everything back. Does not wait for it.
    pub fn stop(&self) {
        let mut state = self.told.lock();
        state.wanted.clear();
        state.changes += 1;
        state.thread = match state.thread {
            Thread::Running | Thread::Ending => Thread::Ending,
            Thread::NotStarted | Thread::Ended => Thread::Ended,
        };
        wake(state);
    }

    /// Takes everything back once whoever has taken over has announced the same, or soon. Does not
    /// wait for it.
    pub fn leave(&self) {
        self.told.lock().leaving = true;
        self.stop();
    }

    /// Waits until all is taken back, but not for long.
    pub fn join(&self) {
        let until = Instant::now() + STOP_MAX;
        let mut state = self.told.lock();
        while state.thread == Thread::Ending {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.told.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// One announcement that is under way.
struct Running {
    spec: Arc<RegisterSpec>,
    stop: Rc<Stop>,
}

/// Tells one announcement to end, and that it has.
#[derive(Default)]
struct Stop {
    wanted: Cell<bool>,
    /// Whether somebody else is expected to announce the same.
    patient: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Stop {
    fn now(&self, patient: bool) {
        self.wanted.set(true);
        self.patient.set(patient);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.wanted.get() {
            return Poll::Ready(());
        }
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// The thread's own work.
async fn keep(told: &Arc<Told>, seen: &Seen, seed: u64) {
    let mut chance = Chance::seeded(seed);
    let mut running: Vec<Running> = Vec::new();
    let alive: Rc<Cell<usize>> = Rc::default();
    let mut known = 0;
    loop {
        let (wanted, ending) = poll_fn(|cx| poll_told(cx, told, &mut known, &alive)).await;
        let leaving = told.lock().leaving;
        for one in &running {
            if !wanted.contains(&one.spec) {
                one.stop.now(leaving);
            }
        }
        running.retain(|one| wanted.contains(&one.spec));
        show(seen, &wanted);
        for spec in &wanted {
            if running.iter().any(|one| one.spec == *spec) {
                continue;
            }
            let stop: Rc<Stop> = Rc::default();
            running.push(Running { spec: Arc::clone(spec), stop: Rc::clone(&stop) });
            let report = Report::new(spec, seen);
            let (seed, alive, told) = (chance.next_u64(), Rc::clone(&alive), Arc::clone(told));
            alive.set(alive.get() + 1);
            spawn(async move {
                announce(&report.spec, seed, &report, &stop).await;
                alive.set(alive.get() - 1);
                wake(told.lock());
            });
        }
        if ending && alive.get() == 0 {
            return;
        }
    }
}

/// What is wanted, and whether that is the end, once either has changed or all have ended.
fn poll_told(
    cx: &mut Context<'_>,
    told: &Told,
    known: &mut u64,
    alive: &Cell<usize>,
) -> Poll<(Vec<Arc<RegisterSpec>>, bool)> {
    let mut state = told.lock();
    let ending = state.thread == Thread::Ending;
    if state.changes != *known || ending && alive.get() == 0 {
        *known = state.changes;
        return Poll::Ready((state.wanted.clone(), ending));
    }
    state.waker = Some(cx.waker().clone());
    Poll::Pending
}

/// Shows these; what is known of them stays.
fn show(seen: &Seen, wanted: &[Arc<RegisterSpec>]) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let known = |spec: &Arc<RegisterSpec>| seen.iter().find(|shown| shown.spec == *spec).cloned();
    let fresh =
        |spec: &Arc<RegisterSpec>| Shown { spec: Arc::clone(spec), standing: Standing::default() };
    let shown = wanted.iter().map(|spec| known(spec).unwrap_or_else(|| fresh(spec))).collect();
    *seen = shown;
}

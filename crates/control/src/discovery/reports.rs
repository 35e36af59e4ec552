//! How a source reports: only the newest report is kept, so that neither side waits for the other.

use super::found::Set;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::now;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Where a source reports, for as long as it likes and as often as it likes.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    slot: Rc<Slot>,
    bell: Rc<Bell>,
}

/// What a source has reported and nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The newest whole answer.
    pub set: Option<Arc<Set>>,
    /// When the source last vouched for what it has said.
    pub vouched: Option<Moment>,
    /// Why it cannot answer, where that is newer than its last good word.
    pub failed: Option<String>,
}

/// Where a source's news lie until they are taken.
#[derive(Debug, Default)]
pub(super) struct Slot {
    news: RefCell<News>,
    is_new: Cell<bool>,
}

/// Wakes the keeper where there is news of anybody.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Reports {
    /// One source's, and where its news lie.
    pub(super) fn new(bell: &Rc<Bell>) -> (Reports, Rc<Slot>) {
        let slot: Rc<Slot> = Rc::default();
        (Reports { slot: Rc::clone(&slot), bell: Rc::clone(bell) }, slot)
    }

    /// This is everybody, now. An answer that says that nobody is there is an answer too.
    pub fn found(&self, set: Set) {
        let set = Some(Arc::new(set));
        self.put(|news| *news = News { set, vouched: Some(now()), failed: None });
    }

    /// What was said last still holds.
    pub fn still(&self) {
        self.put(|news| (news.vouched, news.failed) = (Some(now()), None));
    }

    /// There is no answer just now; what was said last is all there is. In words for people, such
    /// as `127.0.0.1:2181: connection refused`.
    pub fn failed(&self, why: impl Into<String>) {
        self.put(|news| news.failed = Some(why.into()));
    }

    fn put(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.slot.news.borrow_mut());
        self.slot.is_new.set(true);
        self.bell.ring();
    }
}

impl Slot {
    /// Whether there is news.
    pub fn is_new(&self) -> bool {
        self.is_new.get()
    }

    /// Takes it.
    pub fn take(&self) -> News {
        self.is_new.set(false);
        self.news.take()
    }
}

impl Bell {
    /// Wakes the keeper.
    pub fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready once it was rung since it was last asked.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rung.take() {
            return Poll::Ready(());
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::super::found::Found;
    use super::*;

    fn set(count: usize) -> Set {
        let found = (0..count).map(|n| Found::parse(&format!("10.0.0.1:{}", n + 1)));
        Set::new(found.map(|found| found.expect("an address")).collect(), Vec::new())
    }

    #[test]
    fn a_source_that_is_faster_than_whoever_takes_leaves_its_newest_set_alone() {
        let (reports, slot) = Reports::new(&Rc::default());
        assert!(!slot.is_new());
        (1..=1_000).for_each(|count| reports.found(set(count % 7)));
        assert!(slot.is_new());
        assert_eq!(slot.take().set.map(|set| set.len()), Some(1_000 % 7));
        assert!(!slot.is_new() && slot.take().set.is_none());
    }

    #[test]
    fn a_failure_takes_no_set_away_and_a_good_word_ends_it() {
        let (reports, slot) = Reports::new(&Rc::default());
        reports.found(set(3));
        reports.failed("connection refused");
        let news = slot.take();
        assert_eq!(news.set.map(|set| set.len()), Some(3));
        assert_eq!(news.failed.as_deref(), Some("connection refused"));
        reports.failed("connection refused");
        reports.still();
        let news = slot.take();
        assert!(news.failed.is_none() && news.vouched.is_some() && news.set.is_none());
    }
}

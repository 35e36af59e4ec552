//! What has happened to nodes that are watched, as one user is told of it: each node once, however
//! often something happened to it.

use super::message::Happened;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// Nodes that are told of at once; where it is more, everything may have changed.
const NODES_MAX: usize = 16_384;

/// What one user is told.
#[derive(Debug)]
pub(crate) struct Events(Rc<Inbox>);

/// What happened meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// This, to these nodes.
    Some(BTreeSet<(Box<str>, Happened)>),
    /// More than is counted.
    Everything,
}

#[derive(Debug)]
pub(super) struct Inbox {
    paths: Vec<String>,
    told: RefCell<BTreeSet<(Box<str>, Happened)>>,
    overflown: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Events {
    /// Of these nodes and what is beneath them, and where they are put.
    pub(super) fn new(paths: Vec<String>) -> (Events, Weak<Inbox>) {
        let inbox = Rc::new(Inbox {
            paths,
            told: RefCell::default(),
            overflown: Cell::new(false),
            waker: RefCell::default(),
        });
        let weak = Rc::downgrade(&inbox);
        (Events(inbox), weak)
    }

    /// What has happened since it was last asked; waits until something has.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Told> {
        if self.0.overflown.take() {
            self.0.told.take();
            return Poll::Ready(Told::Everything);
        }
        let told = self.0.told.take();
        if told.is_empty() {
            self.0.waker.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        Poll::Ready(Told::Some(told))
    }
}

impl Inbox {
    pub fn put(&self, happened: Happened, path: &str) {
        let beneath = |own: &String| {
            let rest = path.strip_prefix(own.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !self.paths.iter().any(beneath) {
            return;
        }
        let mut told = self.told.borrow_mut();
        match told.len() < NODES_MAX {
            true => drop(told.insert((path.into(), happened))),
            false => self.overflown.set(true),
        }
        drop(told);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: &Events) -> Option<Told> {
        match events.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(told) => Some(told),
            Poll::Pending => None,
        }
    }

    #[test]
    fn only_its_own_nodes_are_told_of_each_once() {
        let (events, inbox) = Events::new(vec!["/a".to_owned(), "/b/c".to_owned()]);
        let inbox = inbox.upgrade().expect("it is there");
        assert_eq!(told(&events), None);
        for path in ["/a", "/a/1", "/a/1", "/ab", "/b", "/b/c", "/b/cd"] {
            inbox.put(Happened::Changed, path);
        }
        let expected = ["/a", "/a/1", "/b/c"].map(|path| (path.into(), Happened::Changed));
        assert_eq!(told(&events), Some(Told::Some(expected.into())));
        assert_eq!(told(&events), None);
    }

    #[test]
    fn too_much_is_everything() {
        let (events, inbox) = Events::new(vec!["/".to_owned()]);
        let inbox = inbox.upgrade().expect("it is there");
        (0..=NODES_MAX).for_each(|n| inbox.put(Happened::Deleted, &format!("/{n}")));
        assert_eq!(told(&events), Some(Told::Everything));
        assert_eq!(told(&events), None);
    }
}

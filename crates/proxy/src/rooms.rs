//! Rooms: tasks in which exchanges run. A connection has one only while it has something to say;
//! the room that was left last is the next to be used, so that few are touched.

use crate::client::{Client, Silence};
use crate::exchange::exchange;
use crate::handshake::handshake;
use crate::respond::After;
use crate::streams::{self, Spoken};
use crate::worker::Worker;
use gatehouse_wire::timer::Timer;
use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Empty rooms kept for later; more are given back to the allocator.
const KEPT_MAX: usize = 4096;

/// One worker's empty rooms.
#[derive(Default)]
pub(crate) struct Rooms {
    empty: RefCell<Vec<Rc<Room>>>,
}

/// What stays in a room when a connection leaves it.
#[derive(Default)]
struct Room {
    next: Cell<Option<Box<Client>>>,
    timer: Cell<Timer>,
    waker: OnceCell<Waker>,
}

/// Gives a connection that has something to say a room.
pub(crate) fn serve(worker: &Rc<Worker>, client: Box<Client>) {
    let found = worker.rooms.empty.borrow_mut().pop();
    let room = found.unwrap_or_default();
    room.next.set(Some(client));
    match room.waker.get() {
        Some(waker) => waker.wake_by_ref(),
        None => worker.tasks.spawn(live(Rc::clone(worker), room)),
    }
}

/// The life of a room: one connection after another.
async fn live(worker: Rc<Worker>, room: Rc<Room>) {
    loop {
        let mut present = Some(room.next_client().await);
        while let Some(mut client) = present.take() {
            client.timer = room.timer.take();
            let left = stay(&worker, &mut client).await;
            room.timer.set(std::mem::take(&mut client.timer));
            match left {
                Left::Idle => present = worker.parking.park(client),
                Left::Many => streams::serve(&worker, client),
                Left::Over => {}
            }
        }
        let mut empty = worker.rooms.empty.borrow_mut();
        if empty.len() >= KEPT_MAX {
            return;
        }
        empty.push(Rc::clone(&room));
    }
}

impl Room {
    async fn next_client(&self) -> Box<Client> {
        poll_fn(|cx| match self.next.take() {
            Some(client) => Poll::Ready(client),
            None => {
                self.waker.get_or_init(|| cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// How a connection leaves its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It may carry another exchange.
    Idle,
    /// It carries many exchanges at once.
    Many,
    /// It is at its end.
    Over,
}

/// Runs the exchanges of a connection until it has nothing more to say.
async fn stay(worker: &Rc<Worker>, client: &mut Client) -> Left {
    if client.io.stream.is_h2() {
        if exchange(worker, client).await == After::Reset {
            client.io.stream.reset_on_close();
        }
        return Left::Over;
    }
    let met = client.silence() != Silence::Handshake;
    if handshake(worker, client).await.is_none() {
        return Left::Over;
    }
    if !met && may_park(client) {
        return Left::Idle;
    }
    while client.awaits_request(worker).await {
        #[cfg(feature = "memory")]
        assert!(!worker.faulty.replace(false), "a test asked for this");
        if client.served == 0 && client.rules().versions.has_http2() {
            match streams::spoken(client).await {
                Spoken::Http1 => {}
                Spoken::Http2 => return Left::Many,
                Spoken::Neither => return Left::Over,
            }
        }
        match exchange(worker, client).await {
            After::Keep => {}
            After::Close => return Left::Over,
            After::Linger => {
                client.linger().await;
                return Left::Over;
            }
            After::Reset => {
                client.io.stream.reset_on_close();
                return Left::Over;
            }
        }
        if may_park(client) {
            return Left::Idle;
        }
    }
    Left::Over
}

/// Nothing is parked whose listener is closed: it would wait for what it must not wait for.
fn may_park(client: &Client) -> bool {
    client.is_idle() && !client.door().is_closed()
}

/// Bytes of a room.
#[cfg(feature = "memory")]
pub(crate) fn bytes() -> usize {
    fn of<F: Future>(_: impl FnOnce(Rc<Worker>, Rc<Room>) -> F) -> usize {
        size_of::<F>()
    }
    of(live)
}

//! Step 1, accept: listener -> socket, within the listener's limit; then one exchange after
//! another on it.

use crate::client::Client;
use crate::exchange::exchange;
use crate::handshake::handshake;
use crate::rooms::Rooms;
use crate::worker::Worker;
use crate::{proxied, tcp};
use gatehouse_core::plan::{Carries, ListenerId, ListenerPlan};
use gatehouse_wire::timer::{Timer, now, sleep};
use gatehouse_wire::{Listener, Peer, Stream};
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

/// How long to wait after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the worker drains and nothing is queued any more.
pub(crate) async fn accept(worker: Rc<Worker>, mut listener: Listener, id: ListenerId) {
    let rules = Rc::new(worker.view().plan.listener(id).clone());
    let rooms = Rc::new(Rooms::new());
    let key = worker.next_id();
    loop {
        let taken = poll_fn(|cx| match listener.poll_accept(cx) {
            Poll::Ready(taken) => Poll::Ready(Some(taken)),
            Poll::Pending if worker.draining.get() => Poll::Ready(None),
            Poll::Pending => {
                worker.remember(key, cx.waker().clone());
                Poll::Pending
            }
        });
        match taken.await {
            None => break,
            Some(Ok((stream, peer))) => {
                let Some(open) = Open::new(&worker, id, &rules) else { continue };
                let (worker_, rules) = (Rc::clone(&worker), Rc::clone(&rules));
                match rules.carries {
                    Carries::Http => {
                        let rooms = Rc::clone(&rooms);
                        let serving = serve(worker_, open, stream, peer, rules, rooms, exchange);
                        worker.tasks.spawn(serving);
                    }
                    Carries::Tcp => {
                        worker.tasks.spawn(tcp::serve(worker_, open, stream, peer, rules));
                    }
                }
            }
            Some(Err(error)) => {
                worker.meters.accept_errors.add(1);
                if is_exhaustion(&error) {
                    worker.drop_idle();
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    worker.forget(key);
}

/// Whether the process, not the connection, is at its end.
fn is_exhaustion(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    const ENOMEM: i32 = 12;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOBUFS | ENOMEM))
}

/// An open client connection, counted.
pub(crate) struct Open {
    worker: Rc<Worker>,
    listener: ListenerId,
    key: u64,
}

impl Open {
    fn new(worker: &Rc<Worker>, listener: ListenerId, rules: &ListenerPlan) -> Option<Open> {
        worker.meters.accepted.add(1);
        if !worker.within_rate(listener, &rules.limits) {
            worker.meters.refused.add(1);
            return None;
        }
        if worker.clients_of(listener).fetch_add(1, Relaxed) >= rules.limits.connections_max {
            worker.clients_of(listener).fetch_sub(1, Relaxed);
            worker.meters.refused.add(1);
            return None;
        }
        worker.meters.clients.add(1);
        Some(Open { worker: Rc::clone(worker), listener, key: worker.next_id() })
    }

    /// Where it came in.
    pub fn listener(&self) -> ListenerId {
        self.listener
    }

    /// Has this task woken when the worker drains.
    pub async fn heed_drain(&self) {
        poll_fn(|cx| {
            self.worker.remember(self.key, cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.forget(self.key);
        self.worker.meters.clients.sub(1);
        self.worker.clients_of(self.listener).fetch_sub(1, Relaxed);
    }
}

/// Serves one connection to its end. The exchange runs in a room of its own, so that a
/// connection between two of them holds nothing of it.
async fn serve<F>(
    worker: Rc<Worker>,
    open: Open,
    mut stream: Stream,
    peer: Peer,
    rules: Rc<ListenerPlan>,
    rooms: Rc<Rooms<F>>,
    exchange: impl Fn(Rc<Worker>, Client) -> F,
) where
    F: Future<Output = Option<Client>>,
{
    open.heed_drain().await;
    let Ok(caller) = proxied::caller(&worker, &rules, &mut stream, peer).await else { return };
    let mut client = Client::new(&worker, stream, caller, open.listener, rules);
    if handshake(&worker, &mut client).await.is_none() {
        return;
    }
    while client.awaits_request(&worker).await {
        match rooms.run(|| exchange(Rc::clone(&worker), client)).await {
            Some(kept) => client = kept,
            None => return,
        }
    }
}

/// How often a worker sends off its log and looks after its idle connections.
const HOUSEKEEPING: Duration = Duration::from_millis(200);

/// Looks after what no exchange does.
pub(crate) async fn housekeeping(worker: Rc<Worker>) {
    let mut timer = Timer::after(HOUSEKEEPING);
    let mut rounds = 0_u64;
    loop {
        let next = now().after(HOUSEKEEPING);
        poll_fn(|cx| timer.poll_until(cx, next)).await;
        worker.flush_log();
        worker.meters.beat(now());
        // A worker without exchanges follows too, so that nothing old is held open by it.
        drop(worker.view());
        rounds += 1;
        if rounds.is_multiple_of(5) {
            worker.sweep(now());
        }
    }
}

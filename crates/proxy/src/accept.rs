//! Step 1, accept: listener -> socket, within the listener's limit.

use crate::client::Client;
use crate::proxied::{self, Caller};
use crate::rooms;
use crate::tcp;
use crate::worker::{Alive, Worker};
use gatehouse_core::plan::{Announced, Carries, ListenerId, ListenerPlan};
use gatehouse_wire::timer::{now, sleep};
use gatehouse_wire::{Listener, Peer, Stream};
use std::future::poll_fn;
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
    let mut told = None;
    let _alive = Alive::new(&worker);
    loop {
        let taken = poll_fn(|cx| match listener.poll_accept(cx) {
            Poll::Ready(taken) => Poll::Ready(Some(taken)),
            Poll::Pending if worker.draining.get() => Poll::Ready(None),
            Poll::Pending => {
                told.get_or_insert_with(|| worker.tell_of_drain(cx.waker()));
                Poll::Pending
            }
        });
        match taken.await {
            None => break,
            Some(Ok((stream, peer))) => {
                let Some(open) = Open::new(&worker, id, &rules) else { continue };
                let rules = Rc::clone(&rules);
                match (rules.carries, rules.announced) {
                    (Carries::Http, Announced::No) => {
                        let caller = Caller { peer, destination: None };
                        begin(&worker, Client::new(&worker, stream, caller, open, rules));
                    }
                    (Carries::Http, Announced::ByProxyHeader) => {
                        let worker_ = Rc::clone(&worker);
                        worker.tasks.spawn(greet(worker_, open, stream, peer, rules));
                    }
                    (Carries::Tcp, _) => {
                        let worker_ = Rc::clone(&worker);
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
}

/// Whether the process, not the connection, is at its end.
fn is_exhaustion(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    const ENOMEM: i32 = 12;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOBUFS | ENOMEM))
}

/// Learns whose connection it is before it waits for its first request.
async fn greet(
    worker: Rc<Worker>,
    open: Open,
    mut stream: Stream,
    peer: Peer,
    rules: Rc<ListenerPlan>,
) {
    let Ok(caller) = proxied::caller(&worker, &rules, &mut stream, peer).await else { return };
    begin(&worker, Client::new(&worker, stream, caller, open, rules));
}

/// Lets a connection wait for its first request.
fn begin(worker: &Rc<Worker>, client: Client) {
    let mut client = Box::new(client);
    if worker.draining.get() {
        // What it has sent is still answered; it does not wait for what it has not.
        client.io.stream.doubt();
        rooms::serve(worker, client);
    } else if let Some(client) = worker.parking.park(client) {
        rooms::serve(worker, client);
    }
}

/// An open client connection, counted.
pub(crate) struct Open {
    alive: Alive,
    pub listener: ListenerId,
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
        Some(Open { alive: Alive::new(worker), listener })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let worker = self.alive.worker();
        worker.meters.clients.sub(1);
        worker.clients_of(self.listener).fetch_sub(1, Relaxed);
    }
}

/// How often a worker sends off its log and looks after its idle connections.
const HOUSEKEEPING: Duration = Duration::from_millis(200);

/// Looks after what no exchange does.
pub(crate) async fn housekeeping(worker: Rc<Worker>) {
    let mut rounds = 0_u64;
    loop {
        sleep(HOUSEKEEPING).await;
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

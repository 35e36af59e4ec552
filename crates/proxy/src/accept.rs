//! Step 1, accept: listener -> socket, within the listener's limit.

use crate::addresses::Counted;
use crate::client::Client;
use crate::door::{Door, Entrance, OverLimit, Until};
use crate::proxied::{self, Caller};
use crate::rooms;
use crate::tcp;
use crate::worker::{Alive, Worker};
use gatehouse_core::plan::{Announced, Carries};
use gatehouse_wire::timer::{now, sleep};
use gatehouse_wire::{Listener, Peer, Stream, is_exhaustion};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

/// How long to wait after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the listener is gone and nothing is queued on it any more, or until
/// another process takes them.
pub(crate) async fn accept(worker: Rc<Worker>, mut listener: Listener, entrance: Rc<Entrance>) {
    let mut told = None;
    let _alive = Alive::new(&worker);
    loop {
        let taken = poll_fn(|cx| match entrance.until() {
            Until::Told => {
                told.get_or_insert_with(|| worker.tell_of_drain(cx.waker()));
                listener.poll_accept(cx).map(Some)
            }
            // The kernel knows what is queued before this thread is told.
            Until::Empty => Poll::Ready(listener.take_queued().transpose()),
            Until::Now => Poll::Ready(None),
        });
        match taken.await {
            None => break,
            Some(Ok((stream, peer))) => {
                worker.follow();
                let open = Open::new(&worker, entrance.door());
                let open = open.and_then(|open| match open.door.rules.announced {
                    Announced::No => open.of(peer),
                    // Whose it is, its PROXY header will say.
                    Announced::ByProxyHeader => Some(open),
                });
                if let Some(open) = open {
                    meet(&worker, open, stream, peer);
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

/// Begins what a listener does with its connections.
fn meet(worker: &Rc<Worker>, open: Open, stream: Stream, peer: Peer) {
    let rules = &open.door.rules;
    match (rules.carries, rules.announced) {
        (Carries::Http, Announced::No) => {
            let caller = Caller { peer, destination: None };
            begin(worker, Client::new(worker, stream, caller, open));
        }
        (Carries::Http, Announced::ByProxyHeader) => {
            worker.tasks.spawn(greet(Rc::clone(worker), open, stream, peer));
        }
        (Carries::Tcp, _) => {
            worker.tasks.spawn(tcp::serve(Rc::clone(worker), open, stream, peer));
        }
    }
}

/// Learns whose connection it is before it waits for its first request.
async fn greet(worker: Rc<Worker>, open: Open, mut stream: Stream, peer: Peer) {
    let told = proxied::caller(&worker, &open.door.rules, &mut stream, peer);
    let Ok(caller) = told.await else { return };
    let Some(open) = open.of(caller.peer) else { return };
    begin(&worker, Client::new(&worker, stream, caller, open));
}

/// Lets a connection wait for its first request.
fn begin(worker: &Rc<Worker>, client: Client) {
    let mut client = Box::new(client);
    if client.door().is_closed() {
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
    pub door: Rc<Door>,
    /// What it is counted under beside all others of its door.
    address: Option<Counted>,
}

impl Open {
    fn new(worker: &Rc<Worker>, door: Rc<Door>) -> Option<Open> {
        worker.meters.accepted.add(1);
        if !door.within_rate() {
            worker.meters.refused.add(1);
            return None;
        }
        if door.clients().fetch_add(1, Relaxed) >= door.rules.limits.connections_max {
            door.clients().fetch_sub(1, Relaxed);
            worker.meters.refused.add(1);
            return None;
        }
        if !worker.shared.load.try_enter() {
            door.clients().fetch_sub(1, Relaxed);
            worker.meters.refused.add(1);
            return None;
        }
        worker.meters.clients.add(1);
        Some(Open { alive: Alive::new(worker), door, address: None })
    }

    /// Counts it under its client's address too; `None` where that has as many as it may.
    pub fn of(mut self, peer: Peer) -> Option<Open> {
        if self.address.is_some() {
            return Some(self);
        }
        match self.door.enter_address(peer) {
            Ok(address) => {
                self.address = address;
                Some(self)
            }
            Err(OverLimit) => {
                self.alive.worker().meters.refused.add(1);
                None
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.alive.worker().meters.clients.sub(1);
        self.alive.worker().shared.load.leave();
        self.door.clients().fetch_sub(1, Relaxed);
        self.address.into_iter().for_each(|counted| self.door.leave_address(counted));
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
        worker.follow();
        worker.look_after_doors();
        worker.save();
        rounds += 1;
        if rounds.is_multiple_of(5) {
            worker.sweep(now());
        }
    }
}

//! Who is well: endpoints are checked on the control thread, and what real traffic says of them is
//! judged there, a few times a second and off the data path.

pub(crate) mod judge;
mod probe;

use crate::registry::{Due, Registry};
use gatehouse_core::bell::Bell;
use gatehouse_core::chance::Chance;
use gatehouse_core::moment::Moment;
use gatehouse_proxy::gate::{Handle, spawn};
use gatehouse_wire::Net;
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::tls::ClientSide;
use probe::probe;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How often everything is judged.
const TICK: Duration = Duration::from_millis(100);

/// Whoever has failed too often is judged at once, but not sooner after the last time than this.
const PAUSE: Duration = Duration::from_millis(5);

/// Checks under way at once; further ones wait for the next tick.
const CHECKS_MAX: usize = 256;

/// Judges for as long as the runtime this is called on lives.
pub(crate) fn start(registry: Registry, handle: Handle, seed: u64) {
    spawn(watch(Rc::new(Watch {
        registry,
        handle,
        chance: RefCell::new(Chance::seeded(seed)),
        running: Cell::new(0),
    })));
}

struct Watch {
    registry: Registry,
    handle: Handle,
    chance: RefCell<Chance>,
    running: Cell<usize>,
}

async fn watch(watch: Rc<Watch>) {
    let (mut timer, bell) = (Timer::default(), watch.registry.bell());
    loop {
        let begun = now();
        let room = CHECKS_MAX - watch.running.get();
        let (due, news) = watch.registry.judge(&watch.handle, now(), room);
        news.iter().for_each(|line| eprintln!("{line}"));
        for due in due {
            watch.running.set(watch.running.get() + 1);
            // By its name while it has that.
            let tls = due.endpoint.tls.as_ref();
            let side = tls.and_then(|_| watch.handle.client_side(&due.upstream));
            spawn(check(Rc::clone(&watch), due, side));
        }
        next_look(&mut timer, &bell, begun).await;
    }
}

/// Waits until it is time to judge again, when it was done at `begun`.
async fn next_look(timer: &mut Timer, bell: &Bell, begun: Moment) {
    let next = begun.after(TICK);
    let heard = |cx: &mut Context<'_>| match bell.poll_heard(cx) {
        Poll::Ready(()) => Poll::Ready(begun.after(PAUSE)),
        Poll::Pending => timer.poll_until(cx, next).map(|()| next),
    };
    let earliest = poll_fn(heard).await;
    poll_fn(|cx| timer.poll_until(cx, earliest)).await;
}

async fn check(watch: Rc<Watch>, due: Due, side: Option<Arc<ClientSide>>) {
    let found = probe(&Net::System, &due.endpoint, side.as_deref(), &due.rule).await;
    watch.running.set(watch.running.get() - 1);
    let mut chance = watch.chance.borrow_mut();
    let said = (found.verdict, &*found.why);
    let news = watch.registry.checked(&watch.handle, &due, said, now(), &mut chance);
    news.iter().for_each(|line| eprintln!("{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_proxy::gate::block_on;
    use gatehouse_wire::timer::sleep;

    #[test]
    fn a_bell_is_answered_after_a_pause_and_long_before_the_next_tick() {
        let (silent, rung) = block_on(async {
            let (mut timer, bell) = (Timer::default(), Arc::<Bell>::default());
            let mut look = async |begun: Moment| {
                next_look(&mut timer, &bell, begun).await;
                now().since(begun)
            };
            let silent = look(now()).await;
            let begun = now();
            let ringer = Arc::clone(&bell);
            spawn(async move {
                sleep(PAUSE / 2).await;
                ringer.ring();
            });
            (silent, look(begun).await)
        })
        .expect("a runtime");
        assert!(silent >= TICK, "{silent:?}");
        // Half a tick is room for a busy machine.
        assert!((PAUSE..TICK / 2).contains(&rung), "{rung:?}");
    }
}

//! Who is well: endpoints are checked on the control thread, and what real traffic says of them is
//! judged there, a few times a second and off the data path.

pub(crate) mod judge;
mod probe;

use crate::registry::{Due, Registry};
use gatehouse_core::chance::Chance;
use gatehouse_proxy::gate::{Handle, spawn};
use gatehouse_wire::Net;
use gatehouse_wire::timer::{Timer, now};
use probe::probe;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

/// How often everything is judged.
const TICK: Duration = Duration::from_millis(100);

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
    let mut timer = Timer::default();
    loop {
        let next = now().after(TICK);
        let room = CHECKS_MAX - watch.running.get();
        let (due, news) = watch.registry.judge(&watch.handle, now(), room);
        news.iter().for_each(|line| eprintln!("{line}"));
        for due in due {
            watch.running.set(watch.running.get() + 1);
            spawn(check(Rc::clone(&watch), due));
        }
        poll_fn(|cx| timer.poll_until(cx, next)).await;
    }
}

async fn check(watch: Rc<Watch>, due: Due) {
    let side = match due.endpoint.tls {
        Some(_) => watch.handle.client_side(&due.upstream),
        None => None,
    };
    let found = probe(&Net::System, &due.endpoint, side.as_deref(), &due.rule).await;
    watch.running.set(watch.running.get() - 1);
    let mut chance = watch.chance.borrow_mut();
    let said = (found.verdict, &*found.why);
    let news = watch.registry.checked(&watch.handle, &due, said, now(), &mut chance);
    news.iter().for_each(|line| eprintln!("{line}"));
}

//! The discovery thread: keeps one task for each source, judges what these report, publishes it.

use super::ledger::{Ledger, Outcome, Severity};
use super::orders::Order;
use super::reports::{Bell, Reports, Slot};
use super::shown::Shown;
use super::task::Task;
use super::{Common, Wanted, source};
use crate::steer::orders::{Answer, Reply};
use gatehouse_core::chance::Chance;
use gatehouse_core::moment::Moment;
use gatehouse_proxy::gate::block_on;
use gatehouse_wire::timer::{Timer, now};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// Longer than anything waits without being woken.
const LONG: Duration = Duration::from_secs(3_600);

/// One source that is asked.
struct Asked {
    wanted: Wanted,
    ledger: Ledger,
    slot: Rc<Slot>,
    /// Ends with this.
    _task: Task,
}

/// Whoever waits for sources to answer.
struct Waiting {
    of: Vec<Wanted>,
    done: Sender<()>,
}

/// The thread's own.
pub(super) struct Keeper {
    common: Arc<Common>,
    chance: Chance,
    bell: Rc<Bell>,
    asked: Vec<Asked>,
    waiting: Vec<Waiting>,
}

/// What the loop is woken by.
enum Event {
    Order(Order),
    /// There is news, or some may be taken now.
    Look,
    End,
}

impl Wanted {
    fn is(&self, other: &Wanted) -> bool {
        self.upstream == other.upstream && self.spec == other.spec
    }
}

impl Keeper {
    /// One that asks nobody yet.
    pub fn new(common: Arc<Common>) -> Keeper {
        let chance = Chance::seeded(common.seed);
        Keeper { common, chance, bell: Rc::default(), asked: vec![], waiting: vec![] }
    }

    /// Keeps for as long as somebody gives orders.
    pub fn run(mut self) {
        if let Err(error) = block_on(async move { self.keep().await }) {
            eprintln!("error: endpoints are not discovered any more: {error}");
        }
    }

    async fn keep(&mut self) {
        let mut timer = Timer::default();
        loop {
            let due = self.look(now());
            match self.next(&mut timer, due).await {
                Event::Order(order) => self.carry_out(order),
                Event::Look => {}
                Event::End => return,
            }
        }
    }

    async fn next(&self, timer: &mut Timer, due: Moment) -> Event {
        poll_fn(|cx| {
            if let Poll::Ready(order) = self.common.orders.poll_take(cx) {
                return Poll::Ready(order.map_or(Event::End, Event::Order));
            }
            if self.bell.poll(cx).is_ready() {
                return Poll::Ready(Event::Look);
            }
            timer.poll_until(cx, due).map(|()| Event::Look)
        })
        .await
    }

    /// Takes in the news that may be taken now, and says when to look again.
    fn look(&mut self, now: Moment) -> Moment {
        let mut again = now.after(LONG);
        let mut looked = false;
        for asked in self.asked.iter_mut().filter(|asked| asked.slot.is_new()) {
            let due = asked.ledger.due();
            if due > now {
                again = again.min(due);
                continue;
            }
            looked = true;
            let outcome = asked.ledger.take(asked.slot.take(), now);
            publish(&self.common, &asked.wanted, outcome);
        }
        if looked {
            self.show();
            self.tell_waiting();
        }
        again
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Prepare(wanted, done) => {
                for one in &wanted {
                    if !self.asked.iter().any(|asked| asked.wanted.is(one)) {
                        self.ask(one);
                    }
                }
                self.waiting.push(Waiting { of: wanted, done });
                self.tell_waiting();
            }
            Order::Follow(wanted) => {
                self.asked.retain(|asked| wanted.iter().any(|one| asked.wanted.is(one)));
                for one in &wanted {
                    if !self.asked.iter().any(|asked| asked.wanted.is(one)) {
                        self.ask(one);
                    }
                }
                self.tell_waiting();
            }
            Order::Republish => self.asked.iter().for_each(|asked| {
                let publish_again = Outcome { publish: asked.ledger.last.clone(), said: vec![] };
                publish(&self.common, &asked.wanted, publish_again);
            }),
            Order::Accept(upstream, reply) => self.accept(&upstream, reply),
        }
        self.show();
    }

    /// Begins to ask a source.
    fn ask(&mut self, wanted: &Wanted) {
        let (reports, slot) = Reports::new(&self.bell);
        let chance = Chance::seeded(self.chance.next_u64());
        let ledger = Ledger::new(wanted.spec.min_healthy_permille);
        let _task = source::start(&wanted.spec, reports, chance);
        self.asked.push(Asked { wanted: wanted.clone(), ledger, slot, _task });
    }

    fn accept(&mut self, upstream: &str, reply: Reply) {
        let mut all = self.asked.iter_mut();
        let Some(asked) = all.find(|asked| *asked.wanted.upstream == *upstream) else {
            let text = format!("the endpoints of upstream {upstream} are not discovered");
            return reply.give(Answer::line(404, text));
        };
        match asked.ledger.accept(now()) {
            Some(outcome) => {
                let count = outcome.publish.as_ref().map_or(0, |set| set.len());
                publish(&self.common, &asked.wanted, outcome);
                let text = format!("upstream {upstream}: {count} endpoints accepted");
                eprintln!("{text}");
                reply.give(Answer::line(200, text));
            }
            None => {
                let text = format!("upstream {upstream}: nothing is held back");
                reply.give(Answer::line(409, text));
            }
        }
    }

    /// Lets go whoever waits for sources that have all answered, or are not asked any more.
    fn tell_waiting(&mut self) {
        let asked = &self.asked;
        let is_open = |one: &Wanted| {
            asked.iter().any(|asked| asked.wanted.is(one) && !asked.ledger.has_answered())
        };
        self.waiting.retain(|waiting| {
            let open = waiting.of.iter().any(is_open);
            if !open {
                // Whoever has waited too long is gone.
                let _ = waiting.done.send(());
            }
            open
        });
    }

    fn show(&self) {
        let shown = self.asked.iter().map(|asked| Shown {
            upstream: Arc::clone(&asked.wanted.upstream),
            source: asked.wanted.spec.source.to_string().into(),
            ledger: asked.ledger.clone(),
        });
        let shown = shown.collect();
        *self.common.seen.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

/// Publishes what is to be published, and says what is to be said.
fn publish(common: &Common, wanted: &Wanted, outcome: Outcome) {
    let source = &wanted.spec.source;
    for (severity, line) in &outcome.said {
        let word = match severity {
            Severity::Info => "",
            Severity::Warn => "warn: ",
        };
        eprintln!("{word}upstream {}, {source}: {line}", wanted.upstream);
    }
    if let Some(set) = outcome.publish {
        let specs = set.specs(&wanted.spec);
        common.registry.set_found(common.handle.get(), &wanted.upstream, wanted.id, specs);
    }
}

//! The discovery thread: keeps one task for each source, judges what these report, publishes it.

use super::kept::{self, Keeping};
use super::ledger::{Ledger, Outcome, Severity};
use super::named::Named;
use super::orders::Order;
use super::reports::{Bell, Reports, Slot};
use super::shown::{All, Shown, ShownName, lock};
use super::task::Task;
use super::{Common, Wanted, source};
use crate::registry::Name;
use crate::steer::orders::{Answer, Reply};
use gatehouse_core::chance::Chance;
use gatehouse_core::moment::Moment;
use gatehouse_proxy::gate::block_on;
use gatehouse_wire::timer::{Timer, now};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

/// Longer than anything waits without being woken.
const LONG: Duration = Duration::from_secs(3_600);

/// How often a set that has not changed is kept again, so that it is known until when it was good.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// One source that is asked.
struct Asked {
    wanted: Wanted,
    /// Shared with whoever shows it; nobody else changes it.
    ledger: Arc<Mutex<Ledger>>,
    slot: Rc<Slot>,
    /// When its last good set was kept on disk.
    kept: Cell<Option<Moment>>,
    /// Ends with this.
    _task: Task,
}

/// Whoever waits for sources and names to answer.
struct Waiting {
    of: Vec<Wanted>,
    names: Vec<Name>,
    done: Sender<()>,
}

/// The thread's own.
pub(super) struct Keeper {
    common: Arc<Common>,
    chance: Chance,
    bell: Rc<Bell>,
    asked: Vec<Asked>,
    /// Names that stand where endpoints are written or found.
    named: HashMap<Name, Named>,
    /// Those of them that the plan has.
    written: Vec<Name>,
    waiting: Vec<Waiting>,
    /// Sets on disk.
    keeping: Keeping,
}

/// What the loop is woken by.
enum Event {
    Order(Order),
    /// There is news, or some may be taken now.
    Look,
    End,
}

impl Wanted {
    /// What tells it from others.
    fn key(&self) -> (Arc<str>, u64) {
        (Arc::clone(&self.upstream), self.id)
    }
}

impl Asked {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Keeps its last good set on disk, where that is wanted and due.
    fn keep(&self, keeping: &Keeping, outcome: &Outcome, now: Moment) {
        let Some(folder) = &self.wanted.spec.storage else { return };
        let ledger = self.ledger();
        let due = self.kept.get().is_none_or(|at| now.since(at) >= KEEP_EVERY);
        let vouched = ledger.failing.is_none() && ledger.held.is_none();
        if !(outcome.publish.is_some() || due && vouched) || ledger.remembered.is_some() {
            return;
        }
        let Some(set) = &ledger.last else { return };
        let source = self.wanted.spec.source.to_string();
        keeping.keep(folder, &self.wanted.upstream, &source, set);
        self.kept.set(Some(now));
    }

    fn has_names(&self) -> bool {
        self.ledger().last.as_ref().is_some_and(|set| set.names().next().is_some())
    }
}

impl Keeper {
    /// One that asks nobody yet.
    pub fn new(common: Arc<Common>) -> Keeper {
        let chance = Chance::seeded(common.seed);
        Keeper {
            common,
            chance,
            bell: Rc::default(),
            asked: Vec::new(),
            named: HashMap::new(),
            written: Vec::new(),
            waiting: Vec::new(),
            keeping: Keeping::default(),
        }
    }

    /// Keeps for as long as somebody gives orders.
    pub fn run(mut self) {
        let keeping = self.keeping.clone();
        if let Err(error) = block_on(async move { self.keep().await }) {
            eprintln!("error: endpoints are not discovered any more: {error}");
        }
        keeping.end();
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
        let mut named = false;
        for asked in self.asked.iter().filter(|asked| asked.slot.is_new()) {
            let due = asked.ledger().due();
            if due > now {
                again = again.min(due);
                continue;
            }
            let had_names = asked.has_names();
            let outcome = asked.ledger().take(asked.slot.take(), now);
            named |= outcome.publish.is_some() && (had_names || asked.has_names());
            asked.keep(&self.keeping, &outcome, now);
            publish(&self.common, &asked.wanted, outcome);
        }
        if named {
            self.follow_names();
        }
        self.tell_waiting();
        again
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Prepare { wanted, names, done } => {
                self.ask_all(&wanted);
                names.iter().for_each(|name| self.resolve(name));
                self.show();
                self.waiting.push(Waiting { of: wanted, names, done });
            }
            Order::Follow { wanted, names } => {
                let wanted_set: HashSet<(&Arc<str>, u64)> =
                    wanted.iter().map(|one| (&one.upstream, one.id)).collect();
                let is_wanted = |own: &Wanted| wanted_set.contains(&(&own.upstream, own.id));
                self.asked.retain(|asked| is_wanted(&asked.wanted));
                self.ask_all(&wanted);
                self.written = names;
                self.follow_names();
            }
            Order::Republish => self.asked.iter().for_each(|asked| {
                let publish_again = Outcome { publish: asked.ledger().last.clone(), said: vec![] };
                publish(&self.common, &asked.wanted, publish_again);
            }),
            Order::Accept(upstream, reply) => self.accept(&upstream, reply),
        }
    }

    /// Asks those of these that are not asked yet.
    fn ask_all(&mut self, wanted: &[Wanted]) {
        let known: HashSet<(Arc<str>, u64)> =
            self.asked.iter().map(|asked| asked.wanted.key()).collect();
        wanted.iter().filter(|one| !known.contains(&one.key())).for_each(|one| self.ask(one));
    }

    /// Resolves all names that are written or found, and no others.
    fn follow_names(&mut self) {
        let mut all: HashSet<Name> = self.written.iter().cloned().collect();
        for asked in &self.asked {
            all.extend(asked.ledger().last.iter().flat_map(|set| set.names()));
        }
        self.named.retain(|name, _| all.contains(name));
        all.iter().for_each(|name| self.resolve(name));
        self.show();
    }

    fn resolve(&mut self, name: &Name) {
        if !self.named.contains_key(name) {
            let chance = Chance::seeded(self.chance.next_u64());
            let named = Named::start(name, &self.common, &self.bell, chance);
            self.named.insert(name.clone(), named);
        }
    }

    /// Begins to ask a source.
    fn ask(&mut self, wanted: &Wanted) {
        let (reports, slot) = Reports::new(&self.bell);
        let chance = Chance::seeded(self.chance.next_u64());
        let mut ledger = Ledger::new(wanted.spec.min_healthy_permille);
        let key = (wanted.upstream.to_string(), wanted.spec.source.to_string());
        let inherited = &self.common.inherited;
        let set = lock(inherited).remove(&key);
        let folder = wanted.spec.storage.as_deref().filter(|_| set.is_none());
        if let Some(set) = set {
            ledger.last = Some(Arc::new(set));
        } else if let Some(kept) = folder.and_then(|own| kept::read(own, &key.0, &key.1)) {
            ledger.remember(Arc::new(kept.set), kept.good);
        }
        if let Some(set) = ledger.last.clone() {
            publish(&self.common, wanted, Outcome { publish: Some(set), said: Vec::new() });
        }
        let _task = source::start(&wanted.spec, reports, chance);
        let ledger = Arc::new(Mutex::new(ledger));
        let (wanted, kept) = (wanted.clone(), Cell::default());
        self.asked.push(Asked { wanted, ledger, slot, kept, _task });
    }

    fn accept(&mut self, upstream: &str, reply: Reply) {
        let mut all = self.asked.iter();
        let Some(asked) = all.find(|asked| *asked.wanted.upstream == *upstream) else {
            let text = format!("the endpoints of upstream {upstream} are not discovered");
            return reply.give(Answer::line(404, text));
        };
        let accepted = asked.ledger().accept(now());
        match accepted {
            Some(outcome) => {
                let count = outcome.publish.as_ref().map_or(0, |set| set.len());
                asked.keep(&self.keeping, &outcome, now());
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
        if self.waiting.is_empty() {
            return;
        }
        let open = self.asked.iter().filter(|asked| !asked.ledger().has_answered());
        let open: HashSet<(Arc<str>, u64)> = open.map(|asked| asked.wanted.key()).collect();
        let named = &self.named;
        let is_open = |name: &Name| named.get(name).is_some_and(|named| !named.has_answered());
        self.waiting.retain(|waiting| {
            let open = waiting.of.iter().any(|one| open.contains(&one.key()))
                || waiting.names.iter().any(is_open);
            if !open {
                // Whoever has waited too long is gone.
                let _ = waiting.done.send(());
            }
            open
        });
    }

    fn show(&self) {
        let sources = self.asked.iter().map(|asked| Shown {
            upstream: Arc::clone(&asked.wanted.upstream),
            source: asked.wanted.spec.source.to_string().into(),
            ledger: Arc::clone(&asked.ledger),
        });
        let mut names: Vec<ShownName> = self
            .named
            .iter()
            .map(|((host, port), named)| ShownName {
                name: format!("{host}:{port}").into(),
                look_ups: named.look_ups(),
            })
            .collect();
        names.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let all = All { sources: sources.collect(), names };
        *lock(&self.common.seen) = all;
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

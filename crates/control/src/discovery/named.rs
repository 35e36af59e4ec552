//! Names that stand where endpoints are written: each is resolved again when its answer's time is
//! up. One that does not resolve keeps its last good addresses.

use super::Common;
use super::eyeballs::Remembered;
use super::ledger::Failing;
use super::reports::Bell;
use super::shown::lock;
use super::source::retry_wait;
use super::task::Task;
use crate::dns::{Families, Names};
use crate::registry::Name;
use gatehouse_core::chance::Chance;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::{now, sleep};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is known of a name.
#[derive(Debug, Default)]
pub(super) struct LookUps {
    /// Addresses that are in force.
    pub addresses: usize,
    /// When it last resolved.
    pub good: Option<Moment>,
    pub failing: Option<Failing>,
    /// How often it failed after it had resolved, or from the start.
    pub failures: u64,
}

impl LookUps {
    /// It has so many addresses. Whether that ends a failure.
    fn succeed(&mut self, addresses: usize, now: Moment) -> bool {
        self.addresses = addresses;
        self.good = Some(now);
        self.failing.take().is_some()
    }

    /// It has none just now. What an operator is told, where that is not known yet.
    fn fail(&mut self, why: String, now: Moment) -> Option<String> {
        let before = self.failing.as_ref();
        if before.is_some_and(|before| before.why == why) {
            return None;
        }
        let since = before.map_or(now, |before| before.since);
        self.failures += u64::from(before.is_none());
        let stays = match self.addresses {
            0 => "it has no address yet".to_owned(),
            count => format!("its last good addresses stay, {count}"),
        };
        let said = format!("{why}; {stays}");
        self.failing = Some(Failing { why, since });
        Some(said)
    }
}

/// A name that is resolved again and again, until this is dropped.
#[derive(Debug)]
pub(super) struct Named {
    answered: Rc<Cell<bool>>,
    look_ups: Arc<Mutex<LookUps>>,
    _task: Task,
}

impl Named {
    /// Begins to resolve a name.
    pub fn start(name: &Name, common: &Arc<Common>, bell: &Rc<Bell>, chance: Chance) -> Named {
        let answered: Rc<Cell<bool>> = Rc::default();
        let addresses = common.registry.address_count(name);
        let look_ups = Arc::new(Mutex::new(LookUps { addresses, ..LookUps::default() }));
        let resolving = Resolving {
            name: name.clone(),
            common: Arc::clone(common),
            answered: Rc::clone(&answered),
            bell: Rc::clone(bell),
            chance,
            known: Remembered::default(),
            look_ups: Arc::clone(&look_ups),
        };
        let _task = Task::start(resolving.run());
        Named { answered, look_ups, _task }
    }

    /// Whether it was resolved, or could not be.
    pub fn has_answered(&self) -> bool {
        self.answered.get()
    }

    /// What is known of it, for whoever shows that.
    pub fn look_ups(&self) -> Arc<Mutex<LookUps>> {
        Arc::clone(&self.look_ups)
    }
}

struct Resolving {
    name: Name,
    common: Arc<Common>,
    answered: Rc<Cell<bool>>,
    bell: Rc<Bell>,
    chance: Chance,
    known: Remembered,
    look_ups: Arc<Mutex<LookUps>>,
}

impl Resolving {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let wait = match self.once().await {
                Ok(ttl) => {
                    failures = 0;
                    ttl
                }
                Err(why) => {
                    failures += 1;
                    self.complain(why);
                    retry_wait(failures, &mut self.chance)
                }
            };
            if !self.answered.replace(true) {
                self.bell.ring();
            }
            sleep(wait).await;
        }
    }

    /// Resolves it and hands on what is new; how long that holds.
    async fn once(&mut self) -> Result<Duration, String> {
        let (host, port) = &self.name;
        let found = Names::System.addresses(host, Families::Both).await?;
        if let Some(nobody) = found.nobody {
            self.complain(nobody.words().to_owned());
            return Ok(found.ttl);
        }
        let list = self.known.completed(found.list, found.unknown.as_ref());
        let used = self.known.choose(list, *port).await;
        let used: Vec<SocketAddr> = used.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect();
        let again = lock(&self.look_ups).succeed(used.len(), now());
        self.common.registry.set_addresses(self.common.handle.get(), &self.name, used);
        if again {
            eprintln!("endpoint {}:{port}: the name resolves again", self.name.0);
        }
        Ok(found.ttl)
    }

    fn complain(&self, why: String) {
        let said = lock(&self.look_ups).fail(why, now());
        if let Some(said) = said {
            let (host, port) = &self.name;
            eprintln!("warn: endpoint {host}:{port}: {said}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_once_keeps_what_there_was_and_has_an_end() {
        let at = |seconds| Moment::default().after(Duration::from_secs(seconds));
        let mut known = LookUps::default();
        let said = known.fail("refused".to_owned(), at(1));
        assert_eq!(said.as_deref(), Some("refused; it has no address yet"));
        assert_eq!(known.fail("refused".to_owned(), at(2)), None);
        assert!(known.succeed(2, at(3)) && !known.succeed(2, at(4)));
        let said = known.fail("reset".to_owned(), at(5));
        assert_eq!(said.as_deref(), Some("reset; its last good addresses stay, 2"));
        assert!(known.fail("refused".to_owned(), at(6)).is_some(), "other words are said");
        let since = known.failing.as_ref().map(|failing| failing.since);
        assert_eq!((since, known.good, known.failures), (Some(at(5)), Some(at(4)), 2));
    }
}

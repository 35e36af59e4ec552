//! Names that stand where endpoints are written: each is resolved again when its answer's time is
//! up. One that does not resolve keeps its last good addresses.

use super::Common;
use super::eyeballs::Remembered;
use super::reports::Bell;
use super::source::retry_wait;
use super::task::Task;
use crate::dns::{Families, Names};
use crate::registry::Name;
use gatehouse_core::chance::Chance;
use gatehouse_wire::timer::sleep;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A name that is resolved again and again, until this is dropped.
#[derive(Debug)]
pub(super) struct Named {
    answered: Rc<Cell<bool>>,
    _task: Task,
}

impl Named {
    /// Begins to resolve a name.
    pub fn start(name: &Name, common: &Arc<Common>, bell: &Rc<Bell>, chance: Chance) -> Named {
        let answered: Rc<Cell<bool>> = Rc::default();
        let resolving = Resolving {
            name: name.clone(),
            common: Arc::clone(common),
            answered: Rc::clone(&answered),
            bell: Rc::clone(bell),
            chance,
            known: Remembered::default(),
            complained: None,
        };
        let _task = Task::start(resolving.run());
        Named { answered, _task }
    }

    /// Whether it was resolved, or could not be.
    pub fn has_answered(&self) -> bool {
        self.answered.get()
    }
}

struct Resolving {
    name: Name,
    common: Arc<Common>,
    answered: Rc<Cell<bool>>,
    bell: Rc<Bell>,
    chance: Chance,
    known: Remembered,
    /// What an operator was told of last.
    complained: Option<String>,
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
        let used = used.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect();
        self.common.registry.set_addresses(self.common.handle.get(), &self.name, used);
        if self.complained.take().is_some() {
            eprintln!("endpoint {}:{port}: the name resolves again", self.name.0);
        }
        Ok(found.ttl)
    }

    fn complain(&mut self, why: String) {
        if self.complained.as_ref() != Some(&why) {
            let (host, port) = &self.name;
            let stays = match self.known.len() {
                0 => "it has no address yet".to_owned(),
                count => format!("its last good addresses stay, {count}"),
            };
            eprintln!("warn: endpoint {host}:{port}: {why}; {stays}");
            self.complained = Some(why);
        }
    }
}

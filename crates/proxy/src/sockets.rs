//! The listening sockets of the process. They outlive workers and reloads: a member of a group
//! that is closed resets what is queued on it. What a new plan needs is bound before anything is
//! swapped; what it still wants it keeps; what it does not want is given up here and drained by
//! the workers, who have it too.

use crate::door::Seat;
use crate::gate::StartError;
use gatehouse_core::address::Bind;
use gatehouse_core::plan::{ListenerPlan, Plan};
use gatehouse_wire::net::{Bound, WorkerSocket};
use std::io;
use std::num::NonZeroUsize;

/// The sockets of one listener.
#[derive(Debug)]
struct Open {
    seat: Seat,
    name: Box<str>,
    /// As its plan has it; the port the kernel chose is the socket's.
    bind: Bind,
    bound: Bound,
}

/// A socket on its way to the worker that takes from it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub worker: usize,
    /// The listener's.
    pub number: u32,
    pub socket: WorkerSocket,
}

/// The listening sockets of the process, in the order of the plan in force.
#[derive(Debug)]
pub(crate) struct Sockets {
    workers: NonZeroUsize,
    next: u32,
    open: Vec<Open>,
}

/// Sockets for a plan that is not in force yet. Dropping it closes those that are new.
#[derive(Debug)]
pub struct Provided(Vec<Found>);

#[derive(Debug)]
enum Found {
    /// The one at this place.
    Kept(usize),
    New {
        bound: Bound,
        sockets: Vec<(usize, WorkerSocket)>,
    },
}

impl Sockets {
    pub fn new(workers: NonZeroUsize) -> Sockets {
        Sockets { workers, next: 0, open: Vec::new() }
    }

    /// Finds or binds what a plan needs. Those that were inherited are taken by name.
    ///
    /// # Errors
    /// [`StartError::Bind`]; nothing has changed then.
    pub fn provide(
        &self,
        plan: &Plan,
        mut inherited: Vec<(Box<str>, Bound)>,
    ) -> Result<Provided, StartError> {
        let mut taken = vec![false; self.open.len()];
        let mut found: Vec<Option<Found>> = Vec::new();
        // By name first, so that two listeners that swap what they bind are both found.
        for listener in &plan.listeners {
            let known = self.open.iter().position(|open| open.serves(listener));
            known.inspect(|at| taken[*at] = true);
            found.push(known.map(Found::Kept));
        }
        for (listener, found) in plan.listeners.iter().zip(&mut found) {
            if found.is_none() {
                let renamed = self.open.iter().enumerate();
                let mut renamed = renamed.filter(|(at, _)| !taken[*at]);
                let at = renamed.find(|(_, open)| open.is_at(&listener.bind)).map(|(at, _)| at);
                at.inspect(|at| taken[*at] = true);
                *found = at.map(Found::Kept);
            }
        }
        let each = plan.listeners.iter().zip(found).map(|(listener, found)| match found {
            Some(found) => Ok(found),
            None => self.bind(listener, &mut inherited).map_err(|error| StartError::Bind {
                listener: listener.name.clone(),
                bind: listener.bind.clone(),
                error,
            }),
        });
        each.collect::<Result<_, _>>().map(Provided)
    }

    fn bind(
        &self,
        listener: &ListenerPlan,
        inherited: &mut Vec<(Box<str>, Bound)>,
    ) -> io::Result<Found> {
        let workers = self.workers.get();
        let at = inherited.iter().position(|(name, _)| *name == listener.name);
        let bound = match at {
            Some(at) => inherited.swap_remove(at).1,
            None if self.open.iter().any(|open| open.shares_port(&listener.bind)) => {
                Bound::beside_own(&listener.bind, workers)?
            }
            None => Bound::new(&listener.bind, workers)?,
        };
        let mut sockets = Vec::new();
        for worker in 0..workers {
            let own = bound.for_worker(worker, workers)?;
            sockets.extend(own.into_iter().map(|socket| (worker, socket)));
        }
        Ok(Found::New { bound, sockets })
    }

    /// Makes them those of a plan that comes in force now: the seats of its listeners, and what
    /// workers are to take from.
    pub fn adopt(&mut self, plan: &Plan, provided: Provided) -> (Vec<Seat>, Vec<Arrival>) {
        let mut before: Vec<Option<Open>> = self.open.drain(..).map(Some).collect();
        let mut arrivals = Vec::new();
        for (listener, found) in plan.listeners.iter().zip(provided.0) {
            let (name, bind) = (listener.name.clone(), listener.bind.clone());
            let kept = match found {
                Found::Kept(at) => before.get_mut(at).and_then(Option::take),
                Found::New { bound, sockets } => {
                    let number = self.next;
                    self.next += 1;
                    arrivals.extend(sockets.into_iter().map(|(worker, socket)| Arrival {
                        worker,
                        number,
                        socket,
                    }));
                    let (seat, name, bind) = (Seat::new(number), name.clone(), bind.clone());
                    Some(Open { seat, name, bind, bound })
                }
            };
            self.open.extend(kept.map(|open| Open { name, bind, ..open }));
        }
        (self.open.iter().map(|open| open.seat.clone()).collect(), arrivals)
    }

    /// Each listener's, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Bound)> {
        self.open.iter().map(|open| (&*open.name, &open.bound))
    }

    /// Gives them up.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// Leaves the paths of UNIX sockets to another process.
    pub fn disown(&mut self) {
        self.open.iter_mut().for_each(|open| open.bound.disown());
    }
}

impl Open {
    /// Whether this listener goes on with these sockets. What a service manager has handed over is
    /// not bound by the gateway, whatever the plan says.
    fn serves(&self, listener: &ListenerPlan) -> bool {
        let inherited = matches!(self.bound, Bound::Inherited(_));
        self.name == listener.name && (inherited || self.bind == listener.bind)
    }

    /// Whether a listener of another name binds just this.
    fn is_at(&self, bind: &Bind) -> bool {
        let any_port = matches!(bind, Bind::Ip(address) if address.port() == 0);
        let inherited = matches!(self.bound, Bound::Inherited(_));
        !any_port && !inherited && self.bind == *bind
    }

    fn shares_port(&self, bind: &Bind) -> bool {
        match (&self.bind, bind) {
            (Bind::Ip(own), Bind::Ip(other)) => own.port() == other.port() && own.port() != 0,
            (Bind::Ip(_) | Bind::Unix(_), _) => false,
        }
    }
}

//! The control thread's loop: signals, orders, and what threads have finished, one after the
//! other, so that no two changes of the gateway can meet.

pub(crate) mod facts;
pub(crate) mod looks;
pub(crate) mod orders;
pub(crate) mod reload;
mod report;
mod settings;
pub(crate) mod trial;
pub(crate) mod upgrade;
pub(crate) mod watch;

use crate::access_log::AccessLog;
use crate::acme::Acme;
use crate::admin::{Admin, Door, Shown};
use crate::discovery::Discovery;
use crate::register::Register;
use crate::registry::{Duty, Named, Registry};
use crate::remote::Remote;
use crate::supervisor::{Supervisor, Word};
use facts::Facts;
use gatehouse_proxy::gate::Gate;
use gatehouse_proxy::signals::{Signal, Signals};
use gatehouse_wire::timer::{Timer, now};
use looks::Looking;
use orders::{Answer, Busy, Mailbox, Order, Reply};
use reload::{Purpose, Settled};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use trial::Trial;
use upgrade::{Program, Starting};
use watch::LastRead;

/// How often a drain is looked at.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// How often certificates are looked at.
const CERTIFICATES_LOOK: Duration = Duration::from_secs(2);

/// Longer than anything waits without being woken.
const LONG: Duration = Duration::from_secs(3600);

/// Everything the control thread steers.
pub(crate) struct Steering {
    pub gate: Gate,
    pub log: AccessLog,
    pub registry: Registry,
    pub acme: Acme,
    pub discovery: Discovery,
    pub register: Register,
    pub supervisor: Supervisor,
    /// The admin interface, while there is one.
    pub admin: Option<Door>,
    pub shown: Rc<Shown>,
    pub mailbox: Mailbox,
    pub facts: Rc<RefCell<Facts>>,
    pub in_force: Settled,
    /// How many run.
    pub workers: NonZeroUsize,
    pub busy: Busy,
    /// What stood in the file when it was last read.
    pub last_read: LastRead,
    /// Where the configuration stands, where that is no file.
    pub remote: Option<Remote>,
    /// What waits to be confirmed.
    pub trial: Option<Trial>,
    /// What is started when it is to be followed.
    pub program: Option<Program>,
    /// What is to follow it, until it serves.
    pub starting: Option<Arc<Starting>>,
    /// While certificates are being looked at.
    pub looking: Option<Looking>,
    pub draining: bool,
}

/// What the loop is woken by.
enum Event {
    Signal(Signal),
    Order(Order, Reply),
    /// Time has passed.
    Look,
}

impl Steering {
    /// Steers until the gateway was told to end and has drained. A second signal cuts what is left
    /// at once.
    pub async fn steer(&mut self, mut signals: Signals) {
        let mut timer = Timer::default();
        // What was to follow has ended before this process does.
        while !(self.draining && self.gate.is_drained() && self.starting.is_none()) {
            match self.next(&mut signals, &mut timer).await {
                Event::Look => self.look_at_certificates(),
                Event::Signal(Signal::Terminate) => self.terminate(),
                Event::Signal(Signal::Hangup) => self.mailbox.post_signalled(),
                Event::Signal(Signal::Upgrade) => self.upgrade(),
                Event::Order(order, reply) => self.carry_out(order, reply),
            }
            self.end_trial();
        }
    }

    async fn next(&self, signals: &mut Signals, timer: &mut Timer) -> Event {
        let mut until = now().after(match self.in_force.prepared.is_empty() {
            _ if self.draining => DRAIN_LOOK,
            true => LONG,
            false => CERTIFICATES_LOOK,
        });
        if let Some(trial) = &self.trial {
            until = until.min(trial.until);
        }
        poll_fn(|cx| {
            if let Poll::Ready(signal) = signals.poll_next(cx) {
                return Poll::Ready(Event::Signal(signal));
            }
            if let Poll::Ready((order, reply)) = self.mailbox.poll_take(cx, self.busy) {
                return Poll::Ready(Event::Order(order, reply));
            }
            timer.poll_until(cx, until).map(|()| Event::Look)
        })
        .await
    }

    fn terminate(&mut self) {
        // One that is starting ends too.
        if let Some(starting) = &self.starting {
            starting.call_off();
        }
        self.drop_trial();
        self.acme.stop();
        // Before anything else ends: others stop sending requests here.
        self.register.stop();
        let limit = if self.draining { Duration::ZERO } else { self.in_force.plan.drain };
        self.gate.drain(limit);
        self.supervisor.tell(Word::Stopping(limit));
        self.draining = true;
    }

    fn carry_out(&mut self, order: Order, reply: Reply) {
        match order {
            Order::Reload(cause) => self.begin(None, Purpose::Reload(cause), reply),
            Order::Diff(file) => self.begin(file, Purpose::Diff, reply),
            Order::Apply { file, confirm } => {
                self.begin(Some(file), Purpose::Apply(confirm), reply);
            }
            Order::Confirm => reply.give(self.confirm()),
            Order::Upgraded(started) => self.end_upgrade(started),
            Order::Adopt(read) => self.go_on(*read, reply),
            Order::NotRead => {
                self.busy = Busy::No;
                reply.give(Answer::line(500, "reading the configuration failed; this is a bug"));
            }
            Order::Looked(look) => self.take_in(*look),
            Order::NotLooked => self.looking = None,
            Order::AcceptFound(upstream) => self.discovery.accept(upstream, reply),
            Order::Duty { upstream, endpoint, duty } => {
                reply.give(self.set_duty(&upstream, &endpoint, duty));
            }
        }
    }

    fn set_duty(&self, upstream: &str, endpoint: &str, duty: Duty) -> Answer {
        let named = self.registry.set_duty(&self.gate.handle(), upstream, endpoint, duty);
        let state = match duty {
            Duty::Off => "drained",
            Duty::On => "given requests",
        };
        let what = format!("upstream {upstream}, endpoint {endpoint}");
        match named {
            Named::Done => {
                eprintln!("{what}: {state}");
                Answer::line(200, format!("{what}: {state}"))
            }
            Named::Already => Answer::line(200, format!("{what}: {state} already")),
            Named::NoUpstream => Answer::line(404, format!("there is no upstream {upstream}")),
            Named::NoEndpoint => {
                let plan = &self.in_force.plan;
                let found = plan.upstreams.iter().find(|other| *other.name == *upstream);
                let texts = found.map(|found| self.registry.some_texts(found, 16));
                let texts: Vec<Arc<str>> = texts.unwrap_or_default();
                let text = format!(
                    "upstream {upstream} has no endpoint {endpoint}; it has: {}",
                    texts.join(", ")
                );
                Answer::line(404, text)
            }
        }
    }

    /// Serves the admin interface at another place; the one before takes no more connections.
    fn serve_admin(&mut self, admin: Admin) -> io::Result<()> {
        self.admin = Some(admin.serve(Rc::clone(&self.shown))?);
        Ok(())
    }
}

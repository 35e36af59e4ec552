//! The start of a successor: a thread of its own starts the program again, hands it the sockets
//! and waits until it serves. Until then nothing changes here; where it does not come, it is
//! ended, and this process goes on as it was.

use super::Steering;
use super::orders::{Busy, Order, Reply};
use crate::succession::{Estate, VARIABLE, await_ready};
use crate::supervisor::Word;
use gatehouse_wire::handover::Line;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a successor may take until it serves.
const READY_MAX: Duration = Duration::from_secs(30);

/// How often is looked whether it still lives.
const LOOK: Duration = Duration::from_millis(50);

/// How a process is started again: what it was started with.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program, as it was called: a path, or a name that is looked for in `PATH`.
    pub name: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// A successor that is starting.
#[derive(Debug, Default)]
pub(crate) struct Starting {
    called_off: AtomicBool,
    /// Its process, until somebody has waited for its end.
    process: Mutex<Option<Pid>>,
}

impl Starting {
    /// Ends it at once, whatever it does; whether it had come up by then is still told.
    pub fn call_off(&self) {
        self.called_off.store(true, SeqCst);
        self.kill();
    }

    /// Notes its process, which is ended where that was called off meanwhile.
    fn is(&self, process: Option<Pid>) {
        *self.lock() = process;
        if self.is_called_off() {
            self.kill();
        }
    }

    fn is_called_off(&self) -> bool {
        self.called_off.load(SeqCst)
    }

    fn kill(&self) {
        // Its number is nobody else's as long as nobody has waited for it.
        if let Some(process) = *self.lock() {
            let _ = kill_process(process, Signal::KILL);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steering {
    /// Begins to start a successor.
    pub(super) fn upgrade(&mut self) {
        let program = match self.upgradable() {
            Ok(program) => program,
            Err(why) => return eprintln!("error: no upgrade: {why}"),
        };
        let estate = match self.estate() {
            Ok(estate) => estate,
            Err(error) => return eprintln!("error: no upgrade: {error}"),
        };
        let starting: Arc<Starting> = Arc::default();
        let own = Arc::clone(&starting);
        let work = move || {
            let started = start(&program, &estate, &own).map_err(|error| error.to_string());
            Order::Upgraded(started)
        };
        let failed = Order::Upgraded(Err("starting it failed; this is a bug".to_owned()));
        match self.mailbox.run("upgrade", Reply::unread(), failed, work) {
            Ok(()) => self.starting = Some(starting),
            Err(error) => eprintln!("error: no upgrade: no thread: {error}"),
        }
    }

    /// What is started, or why nothing can be.
    fn upgradable(&self) -> Result<Program, String> {
        let Some(program) = &self.program else {
            return Err("this command is not made to be followed".to_owned());
        };
        if std::process::id() == 1 {
            let why = "this is process 1, with which its container ends; start another container \
                       and stop this one";
            return Err(why.to_owned());
        }
        if self.busy == Busy::Reading {
            return Err("the configuration is being read; ask again".to_owned());
        }
        self.hindrance().map_or_else(|| Ok(program.clone()), Err)
    }

    fn estate(&self) -> io::Result<Estate> {
        let mut estate = Estate::default();
        for (name, bound) in self.gate.sockets() {
            let mut listeners = self.in_force.plan.listeners.iter();
            if let Some(listener) = listeners.find(|listener| *listener.name == *name) {
                estate.add(listener, bound)?;
            }
        }
        if let (Some(address), Some(door)) = (self.in_force.admin, &self.admin) {
            estate.add_admin(address.to_string(), door.bound())?;
        }
        let drained = self.registry.drained().into_iter();
        estate.drained = drained.map(|(a, b)| (a.to_string(), b.to_string())).collect();
        estate.found = self.discovery.found();
        estate.names = self.registry.addresses();
        Ok(estate)
    }

    /// Gives way to a successor that serves, or goes on without it.
    pub(super) fn end_upgrade(&mut self, started: Result<u32, String>) {
        self.starting = None;
        match started {
            Ok(process) if self.draining => {
                // It came up while this one was told to end, which was meant for both.
                let successor = i32::try_from(process).ok().and_then(Pid::from_raw);
                successor.map(|process| kill_process(process, Signal::TERM));
            }
            Err(why) if self.draining => eprintln!("no upgrade: {why}"),
            Err(why) => eprintln!("error: the upgrade failed, and this process goes on: {why}"),
            Ok(process) => {
                eprintln!("process {process} has taken over");
                self.supervisor.tell(Word::Successor(process));
                self.admin = None;
                self.acme.stop();
                self.discovery.stop();
                self.register.leave();
                self.gate.leave(self.in_force.plan.drain);
                self.draining = true;
            }
        }
    }
}

/// Starts a successor and waits until it serves.
fn start(program: &Program, estate: &Estate, starting: &Starting) -> io::Result<u32> {
    let (line, other) = Line::pair()?;
    let mut child = Command::new(&program.name)
        .args(&program.arguments)
        .env(VARIABLE, std::process::id().to_string())
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_FDNAMES")
        .stdin(Stdio::from(other))
        .spawn()
        .map_err(|error| {
            io::Error::other(format!("{}: {error}", program.name.to_string_lossy()))
        })?;
    starting.is(Some(Pid::from_child(&child)));
    let ready = estate.send(&line).and_then(|()| follow(&line, &mut child, starting));
    starting.is(None);
    match ready {
        Ok(()) => Ok(child.id()),
        Err(error) => {
            // It may have ended by itself; then its own words say why.
            drop(child.kill());
            let ended = child.wait();
            match ended.map(|status| status.code()) {
                Ok(Some(code)) => {
                    Err(io::Error::other(format!("the new process ended with exit code {code}")))
                }
                Ok(None) | Err(_) => Err(error),
            }
        }
    }
}

/// Whether it has ended. Once that was asked its number may be another's.
fn has_ended(child: &mut Child, starting: &Starting) -> io::Result<bool> {
    let mut process = starting.lock();
    let ended = child.try_wait()?.is_some();
    if ended {
        *process = None;
    }
    Ok(ended)
}

/// Waits until the successor serves.
fn follow(line: &Line, child: &mut Child, starting: &Starting) -> io::Result<()> {
    let end = Instant::now() + READY_MAX;
    while Instant::now() < end {
        if await_ready(line, LOOK)?.is_some() {
            return Ok(());
        }
        if starting.is_called_off() {
            return Err(io::Error::other("called off"));
        }
        if has_ended(child, starting)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let text = format!("the new process was not ready within {} s", READY_MAX.as_secs());
    Err(io::Error::new(io::ErrorKind::TimedOut, text))
}

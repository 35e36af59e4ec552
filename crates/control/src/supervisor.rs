//! What a service manager hands a process and wants to hear of it, by systemd's conventions:
//! listening sockets by name (sd_listen_fds(3)), and a word when it serves and when it ends
//! (sd_notify(3)). A process that follows another is handed its sockets instead, and tells that
//! one.
//! Never here: what a socket is used for.

use crate::config::Env;
use crate::gateway::Fault;
use crate::succession::{Estate, Taken, VARIABLE, tell_ready};
use gatehouse_core::plan::Plan;
use gatehouse_wire::handover::Line;
use gatehouse_wire::net::Bound;
use std::io;
use std::os::fd::RawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The first descriptor that is handed over; the others follow.
const FIRST: RawFd = 3;

/// Sockets that can be handed over: as many as there can be listeners.
const SOCKETS_MAX: usize = 64;

/// How long a manager that does not read may hold the process up.
const NOTIFY_MAX: Duration = Duration::from_secs(1);

/// Beyond the drain's own limit, for what comes after it: logs written, threads ended.
const END_SLACK: Duration = Duration::from_secs(5);

/// Who started this process, as far as it says so; the default is nobody.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// How many descriptors there are, as it was written.
    count: Option<String>,
    names: String,
    notify: Option<String>,
    /// Whether the process that started this one hands over to it.
    succeeds: bool,
    /// The line to it, until this one serves.
    line: Option<Line>,
}

/// What a manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Every listener is served.
    Ready,
    /// The end has begun, and takes at most so long.
    Stopping(Duration),
    /// This process has taken over; it is the one to watch.
    Successor(u32),
}

impl Supervisor {
    /// Reads what the environment says to the process of this id. Descriptors that were meant for
    /// another process, such as the one that started this, are left alone.
    pub fn from_env(env: &dyn Env, process: u32, parent: u32) -> Supervisor {
        let meant = env.var("LISTEN_PID").is_some_and(|id| id == process.to_string());
        Supervisor {
            count: env.var("LISTEN_FDS").filter(|_| meant),
            names: env.var("LISTEN_FDNAMES").unwrap_or_default(),
            notify: env.var("NOTIFY_SOCKET").filter(|path| !path.is_empty()),
            succeeds: env.var(VARIABLE).is_some_and(|id| id == parent.to_string()),
            line: None,
        }
    }

    /// Takes what was handed over: each socket for the listener of its name, and from a process
    /// before this one also the socket of an admin interface that listens on `admin`.
    ///
    /// # Errors
    /// A name that no listener has or that comes twice, or what is no listening socket.
    pub(crate) fn take(
        &mut self,
        plan: &Plan,
        admin: Option<String>,
        workers: usize,
    ) -> Result<Taken, Fault> {
        if !self.succeeds {
            let listeners = self.sockets(plan)?;
            return Ok(Taken { listeners, ..Taken::default() });
        }
        let received = Line::from_stdin().and_then(|line| {
            let estate = Estate::receive(&line)?;
            Ok((line, estate))
        });
        let (line, estate) = received.map_err(|error| {
            let what = "the process before this one does not hand over".to_owned();
            Fault::new(what, error, format!("start without {VARIABLE}"))
        })?;
        self.line = Some(line);
        estate.take(plan, admin, workers)
    }

    /// The sockets that a service manager has handed over.
    fn sockets(&self, plan: &Plan) -> Result<Vec<(Box<str>, Bound)>, Fault> {
        let Some(written) = &self.count else { return Ok(Vec::new()) };
        let count = written.parse().ok().filter(|count| *count <= SOCKETS_MAX);
        let Some(count) = count else {
            let what = format!("LISTEN_FDS={written}");
            let hint = format!("whoever sets it writes a number from 0 to {SOCKETS_MAX}");
            return Err(Fault::new(what, io::Error::other("no number of descriptors"), hint));
        };
        let mut sockets: Vec<(Box<str>, Bound)> = Vec::new();
        let mut names = self.names.split(':');
        for descriptor in (FIRST..).take(count) {
            let name = names.next().unwrap_or_default();
            let taken = sockets.iter().any(|(other, _)| **other == *name);
            let listener = plan.listeners.iter().find(|listener| *listener.name == *name);
            let Some(listener) = listener.filter(|_| !taken) else {
                return Err(misnamed(descriptor, name, plan));
            };
            let bound = Bound::inherited(descriptor).map_err(|error| {
                let what = format!("descriptor {descriptor}, handed over for listener {name}");
                let error = match error.kind() {
                    io::ErrorKind::NotFound => io::Error::other("nothing is open there"),
                    io::ErrorKind::InvalidInput => io::Error::other("it is no listening socket"),
                    _ => error,
                };
                Fault::new(what, error, "hand over a stream socket that listens".to_owned())
            })?;
            sockets.push((listener.name.clone(), bound));
        }
        Ok(sockets)
    }

    /// Tells it. One that does not listen is no reason to end. A manager listens to the process it
    /// watches alone: it is told of this one by the one before, and of the next by this one, which
    /// says nothing more then.
    pub(crate) fn tell(&mut self, word: Word) {
        if let (Word::Ready, Some(line)) = (word, self.line.take()) {
            if let Err(error) = tell_ready(&line) {
                eprintln!("warn: the process before this one is gone: {error}");
            }
            return;
        }
        let path = match word {
            Word::Successor(_) => self.notify.take(),
            Word::Ready | Word::Stopping(_) => self.notify.clone(),
        };
        let Some(path) = &path else { return };
        let text = match word {
            Word::Ready => "READY=1".to_owned(),
            Word::Successor(process) => format!("MAINPID={process}\nREADY=1"),
            Word::Stopping(limit) => {
                let within = limit.saturating_add(END_SLACK).as_micros();
                format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={within}")
            }
        };
        if let Err(error) = send(path, &text) {
            eprintln!("warn: NOTIFY_SOCKET {path} cannot be told {text:?}: {error}");
        }
    }
}

fn send(path: &str, text: &str) -> io::Result<()> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(NOTIFY_MAX))?;
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

fn misnamed(descriptor: RawFd, name: &str, plan: &Plan) -> Fault {
    let what = format!("descriptor {descriptor} was handed over as {name:?}");
    let names: Vec<&str> = plan.listeners.iter().map(|listener| &*listener.name).collect();
    let error = io::Error::other("no listener that is still without a socket has that name");
    let hint = format!(
        "one socket unit a listener, with FileDescriptorName= and one of: {}",
        names.join(", ")
    );
    Fault::new(what, error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    fn refusal(env: &dyn Env) -> String {
        let text = "[listeners.web]\nbind = \":80\"\n[[routes]]\nrespond = {}\n";
        let plan = load_text("test.toml", text, &[]).lowered.expect("a good configuration").plan;
        match Supervisor::from_env(env, 7, 1).sockets(&plan) {
            Ok(sockets) => format!("{} sockets", sockets.len()),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn descriptors_for_another_process_or_none_are_none() {
        assert_eq!(refusal(&[]), "0 sockets");
        assert_eq!(refusal(&[("LISTEN_PID", "8"), ("LISTEN_FDS", "1")]), "0 sockets");
        assert_eq!(refusal(&[("LISTEN_FDS", "1")]), "0 sockets");
        assert_eq!(refusal(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "0")]), "0 sockets");
    }

    #[test]
    fn what_cannot_be_taken_is_refused_with_its_name() {
        let said = refusal(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "many")]);
        assert!(said.contains("LISTEN_FDS=many"), "{said}");
        let said = refusal(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "1")]);
        assert!(said.contains("descriptor 3 was handed over as \"\""), "{said}");
        let named = [("LISTEN_PID", "7"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "door:web")];
        let said = refusal(&named);
        assert!(said.contains("as \"door\"") && said.contains("one of: web"), "{said}");
    }
}

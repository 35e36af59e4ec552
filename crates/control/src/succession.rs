//! One process following another without a refused connection: what is handed over, on both ends
//! of the line. The predecessor goes on serving until the successor says that it is ready.

use crate::gateway::{Fault, Shows};
use gatehouse_core::plan::{ListenerPlan, Plan};
use gatehouse_wire::handover::{Line, Packet, SOCKETS_MAX, TEXT_MAX};
use gatehouse_wire::net::Bound;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The variable that tells a successor to look at its standard input: the predecessor's id.
pub(crate) const VARIABLE: &str = "GATEHOUSE_PREDECESSOR";

/// The first packet: another number is another way of handing over.
const GREETING: &str = "gatehouse 1";

/// What a successor says once it serves.
const READY: &str = "ready";

/// How long one packet may take to be sent or to come.
const PACKET_MAX: Duration = Duration::from_secs(10);

/// How a listener's sockets are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Bound by the gateway, to what its configuration says.
    Own,
    /// Handed to the gateway by a service manager: what they are bound to is not its business.
    Inherited,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Own => "own",
            Kind::Inherited => "inherited",
        }
    }
}

/// The sockets of one listener.
#[derive(Debug)]
struct Handed {
    name: String,
    kind: Kind,
    /// As its configuration wrote it.
    bind: String,
    sockets: Vec<OwnedFd>,
}

/// The endpoints that a source has found last, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundBefore {
    pub upstream: String,
    /// The source, as it is shown.
    pub source: String,
    pub endpoints: Vec<String>,
}

/// The last good addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameBefore {
    pub host: String,
    pub port: u16,
    pub addresses: Vec<SocketAddr>,
}

/// What a successor is handed.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    listeners: Vec<Handed>,
    admin: Option<Handed>,
    /// Upstream and endpoint.
    pub drained: Vec<(String, String)>,
    pub found: Vec<FoundBefore>,
    pub names: Vec<NameBefore>,
}

/// What of it serves a plan.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub listeners: Vec<(Box<str>, Bound)>,
    pub admin: Option<Bound>,
    pub drained: Vec<(String, String)>,
    pub found: Vec<FoundBefore>,
    pub names: Vec<NameBefore>,
}

impl Estate {
    /// Adds a listener's sockets.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn add(&mut self, plan: &ListenerPlan, bound: &Bound) -> io::Result<()> {
        let kind = match bound {
            Bound::Tcp(_) | Bound::Unix(..) => Kind::Own,
            Bound::Inherited(_) => Kind::Inherited,
        };
        let (name, bind) = (plan.name.to_string(), Shows(&plan.bind).to_string());
        self.listeners.push(Handed { name, kind, bind, sockets: copies(bound)? });
        Ok(())
    }

    /// Adds the admin interface's, which was asked to listen on `bind`.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn add_admin(&mut self, bind: String, bound: &Bound) -> io::Result<()> {
        let sockets = copies(bound)?;
        self.admin = Some(Handed { name: String::new(), kind: Kind::Own, bind, sockets });
        Ok(())
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// What the line says.
    pub fn send(&self, line: &Line) -> io::Result<()> {
        line.send(GREETING, &[], PACKET_MAX)?;
        for (word, handed) in self.listeners.iter().map(|handed| ("listener", handed)) {
            handed.send(word, line)?;
        }
        if let Some(admin) = &self.admin {
            admin.send("admin", line)?;
        }
        for (upstream, endpoint) in &self.drained {
            let text = format!("drained\n{upstream}\n{endpoint}");
            // Longer than any that a configuration may have in earnest: it is given requests again.
            if text.len() <= TEXT_MAX {
                line.send(&text, &[], PACKET_MAX)?;
            }
        }
        for found in &self.found {
            let first = format!("found\n{}\n{}", found.upstream, found.source);
            send_lines(line, &first, found.endpoints.iter().map(String::as_str))?;
        }
        for NameBefore { host, port, addresses } in &self.names {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let first = format!("name\n{host}\n{port}");
            send_lines(line, &first, addresses.iter().map(String::as_str))?;
        }
        line.send("end", &[], PACKET_MAX)
    }

    /// Receives all of it.
    ///
    /// # Errors
    /// What the line says; `InvalidData` for what this version does not understand.
    pub fn receive(line: &Line) -> io::Result<Estate> {
        let next = || -> io::Result<Packet> {
            line.receive(PACKET_MAX)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        if next()?.text != GREETING {
            let text = "it hands over in another way; restart instead";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut estate = Estate::default();
        loop {
            let Packet { text, sockets } = next()?;
            let mut words = text.split('\n');
            let word = words.next().unwrap_or_default();
            let words: Vec<&str> = words.collect();
            match (word, &*words) {
                ("end", []) => return Ok(estate),
                ("drained", [upstream, endpoint]) => {
                    estate.drained.push(((*upstream).to_owned(), (*endpoint).to_owned()));
                }
                ("found", [upstream, source, lines @ ..]) => {
                    estate.add_found(upstream, source, lines);
                }
                ("name", [host, port, lines @ ..]) => {
                    let port = port.parse().map_err(|_| invalid(word))?;
                    let each = lines.iter().map(|line| line.parse().map_err(|_| invalid(word)));
                    let addresses = each.collect::<io::Result<Vec<SocketAddr>>>()?;
                    estate.names.push(NameBefore { host: (*host).to_owned(), port, addresses });
                }
                ("admin", words) => estate.admin = Some(Handed::read(words, sockets)?),
                ("listener", words) => {
                    let handed = Handed::read(words, sockets)?;
                    match estate.listeners.iter_mut().find(|other| other.name == handed.name) {
                        Some(begun) => begun.sockets.extend(handed.sockets),
                        None => estate.listeners.push(handed),
                    }
                }
                _ => return Err(invalid(word)),
            }
        }
    }

    /// What was found comes in several packets.
    fn add_found(&mut self, upstream: &str, source: &str, lines: &[&str]) {
        let is_it = |known: &&mut FoundBefore| known.upstream == upstream && known.source == source;
        let known = match self.found.iter_mut().find(is_it) {
            Some(known) => known,
            None => {
                let (upstream, source) = (upstream.to_owned(), source.to_owned());
                self.found.push(FoundBefore { upstream, source, endpoints: Vec::new() });
                let last = self.found.len() - 1;
                &mut self.found[last]
            }
        };
        known.endpoints.extend(lines.iter().map(|line| (*line).to_owned()));
    }

    /// What of it serves this plan; the rest is closed here, and drained by the predecessor.
    ///
    /// # Errors
    /// [`Fault`] for sockets that cannot be used.
    pub fn take(self, plan: &Plan, admin: Option<String>, workers: usize) -> Result<Taken, Fault> {
        let Estate { drained, found, names, .. } = self;
        let mut taken = Taken { drained, found, names, ..Taken::default() };
        for handed in self.listeners {
            let found = plan.listeners.iter().find(|listener| *listener.name == *handed.name);
            let Some(listener) = found.filter(|listener| handed.serves(listener)) else { continue };
            let bound = match handed.kind {
                Kind::Own => Bound::succeed(&listener.bind, handed.sockets, workers),
                Kind::Inherited => one(handed.sockets).and_then(Bound::succeed_inherited),
            };
            let bound = bound.map_err(|error| unusable(&listener.name, error))?;
            taken.listeners.push((listener.name.clone(), bound));
        }
        if let Some(handed) = self.admin.filter(|handed| Some(&handed.bind) == admin.as_ref()) {
            let bound = one(handed.sockets).and_then(Bound::succeed_inherited);
            taken.admin = Some(bound.map_err(|error| unusable("admin", error))?);
        }
        Ok(taken)
    }
}

impl Handed {
    fn send(&self, word: &str, line: &Line) -> io::Result<()> {
        let Handed { name, kind, bind, sockets } = self;
        let all: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        for part in all.chunks(SOCKETS_MAX) {
            let count = part.len();
            let text = format!("{word}\n{name}\n{}\n{bind}\n{count}", kind.word());
            line.send(&text, part, PACKET_MAX)?;
        }
        Ok(())
    }

    fn read(words: &[&str], sockets: Vec<OwnedFd>) -> io::Result<Handed> {
        let [name, kind, bind, count] = words else { return Err(invalid("listener")) };
        let kind = [Kind::Own, Kind::Inherited].into_iter().find(|known| known.word() == *kind);
        let kind = kind.ok_or_else(|| invalid(name))?;
        // The kernel leaves out what this process has no descriptors for, and tells it softly.
        if count.parse() != Ok(sockets.len()) {
            return Err(io::Error::other(format!("of the sockets of {name} some did not come")));
        }
        Ok(Handed { name: (*name).to_owned(), kind, bind: (*bind).to_owned(), sockets })
    }

    /// Whether these are what the listener would bind.
    fn serves(&self, listener: &ListenerPlan) -> bool {
        self.kind == Kind::Inherited || Shows(&listener.bind).to_string() == self.bind
    }
}

/// Tells the predecessor that this process serves.
///
/// # Errors
/// Where it is gone.
pub(crate) fn tell_ready(line: &Line) -> io::Result<()> {
    line.send(READY, &[], PACKET_MAX)
}

/// Waits until the successor serves; `None` where it has not said so within `limit` yet.
///
/// # Errors
/// Where it is gone.
pub(crate) fn await_ready(line: &Line, limit: Duration) -> io::Result<Option<()>> {
    match line.receive(limit) {
        Ok(Some(packet)) if packet.text == READY => Ok(Some(())),
        Ok(Some(packet)) => Err(invalid(&packet.text)),
        Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends lines under `first`, in as many packets as they need. What does not fit into one alone is
/// left out: it is found again.
fn send_lines<'a>(
    line: &Line,
    first: &str,
    lines: impl Iterator<Item = &'a str>,
) -> io::Result<()> {
    let mut text = first.to_owned();
    for one in lines.filter(|one| first.len() + 1 + one.len() <= TEXT_MAX && !one.contains('\n')) {
        if text.len() + 1 + one.len() > TEXT_MAX {
            line.send(&text, &[], PACKET_MAX)?;
            first.clone_into(&mut text);
        }
        text.push('\n');
        text.push_str(one);
    }
    match text.len() > first.len() {
        true => line.send(&text, &[], PACKET_MAX),
        false => Ok(()),
    }
}

fn copies(bound: &Bound) -> io::Result<Vec<OwnedFd>> {
    bound.sockets().into_iter().map(|socket| socket.try_clone_to_owned()).collect()
}

fn one(mut sockets: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    let first = sockets.pop().filter(|_| sockets.is_empty());
    first.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn invalid(what: &str) -> io::Error {
    let text = format!("{what:?} is not understood; restart instead");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn unusable(what: &str, error: io::Error) -> Fault {
    let what = format!("listener {what}: the sockets of the process before cannot be used");
    Fault::new(what, error, "restart instead".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use gatehouse_core::address::Bind;

    fn plan(text: &str) -> Plan {
        let text = format!("{text}[[routes]]\nrespond = {{}}\n");
        load_text("test.toml", &text, &[]).lowered.expect("a good configuration").plan
    }

    fn bound(plan: &Plan, workers: usize) -> Estate {
        let mut estate = Estate::default();
        for listener in &plan.listeners {
            estate.add(listener, &Bound::new(&listener.bind, workers).unwrap()).unwrap();
        }
        estate
    }

    fn passed_on(estate: &Estate) -> Estate {
        let (own, other) = Line::pair().unwrap();
        std::thread::scope(|scope| {
            let receiving = scope.spawn(|| Estate::receive(&Line::of(other)).unwrap());
            estate.send(&own).unwrap();
            receiving.join().unwrap()
        })
    }

    const WEB: &str = "[listeners.web]\nbind = \"127.0.0.1:0\"\n";

    #[test]
    fn all_members_of_a_group_arrive_and_it_never_shrinks() {
        let plan = plan(WEB);
        for (before, after, expected) in [(2, 2, 2), (2, 3, 3), (3, 1, 3), (200, 200, 200)] {
            let estate = bound(&plan, before);
            let taken = passed_on(&estate).take(&plan, None, after).unwrap();
            let (_, group) = &taken.listeners[0];
            assert_eq!(group.sockets().len(), expected, "{before} workers, then {after}");
            let workers: Vec<usize> =
                (0..after).map(|worker| group.for_worker(worker, after).unwrap().len()).collect();
            assert_eq!(workers.iter().sum::<usize>(), expected, "each has a worker: {workers:?}");
        }
    }

    #[test]
    fn a_listener_that_is_bound_elsewhere_now_takes_nothing() {
        let estate = bound(&plan(WEB), 2);
        let moved = plan("[listeners.web]\nbind = \"127.0.0.2:0\"\n[listeners.b]\nbind = \":0\"\n");
        assert_eq!(passed_on(&estate).take(&moved, None, 2).unwrap().listeners.len(), 0);
    }

    #[test]
    fn who_is_drained_and_the_admin_interface_are_passed_on() {
        let drained = vec![("api".to_owned(), "http://10.0.0.1/base".to_owned())];
        let mut estate = Estate { drained: drained.clone(), ..Estate::default() };
        let bind = Bind::Ip("127.0.0.1:0".parse().unwrap());
        let admin = Bound::new(&bind, 1).unwrap();
        estate.add_admin("127.0.0.1:0".to_owned(), &admin).unwrap();
        let plan = plan(WEB);
        let taken = passed_on(&estate).take(&plan, Some("127.0.0.1:0".to_owned()), 1).unwrap();
        assert_eq!(taken.drained, drained);
        assert_eq!(taken.admin.unwrap().address().unwrap(), admin.address().unwrap());
        let taken = passed_on(&estate).take(&plan, Some("127.0.0.2:0".to_owned()), 1).unwrap();
        assert!(taken.admin.is_none());
    }

    #[test]
    fn what_was_found_is_passed_on_however_much_it_is() {
        let found = |upstream: &str, count: usize| FoundBefore {
            upstream: upstream.to_owned(),
            source: "file a.json".to_owned(),
            endpoints: (0..count).map(|n| format!("10.0.0.1:{n} 1 -")).collect(),
        };
        let name = NameBefore {
            host: "api.internal".to_owned(),
            port: 80,
            addresses: vec!["10.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()],
        };
        let all = vec![found("api", 10_000), found("other", 1)];
        let names = vec![name];
        let estate = Estate { found: all.clone(), names: names.clone(), ..Estate::default() };
        let passed = passed_on(&estate);
        assert_eq!((passed.found, passed.names), (all, names));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for packets in [&["gatehouse 2"][..], &[GREETING, "listener\nweb"], &[GREETING, "x"]] {
            let (own, other) = Line::pair().unwrap();
            packets.iter().for_each(|text| own.send(text, &[], PACKET_MAX).unwrap());
            let error = Estate::receive(&Line::of(other)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{packets:?}");
        }
    }
}

//! Nodes of ZooKeeper: the children of one node are the endpoints. An outage of the registry is
//! nothing but a failed report: no node that was read is forgotten before all are read again.

mod content;
mod dubbo;
mod node;
mod weights;

use super::found::{Found, Problem, Set};
use super::reports::Reports;
use crate::config::{Beneath, ZooKeeperSource, first_weights};
use crate::zookeeper::path::child;
use crate::zookeeper::{Client, Code, Events, Happened, Phase, Told, Trouble, Watch};
use content::short;
use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::ENDPOINTS_MAX;
use gatehouse_wire::timer::{Timer, now, sleep};
use node::{Node, Port, node};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use weights::{WEIGHT_USUAL, Weights, weights};

/// Between two looks at what has changed: a registry that changes all the time is asked no more
/// often.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often a quiet session is vouched for: its pings are answered.
const VOUCH_EVERY: Duration = Duration::from_secs(5);

/// Nodes whose content is asked for at once.
const ASKED_MAX: usize = 1_024;

/// Follows the children of a node, for as long as it is polled.
pub(super) async fn follow(
    source: ZooKeeperSource,
    beneath: Beneath,
    reports: Reports,
    mut chance: Chance,
) {
    let client = Client::of(&source.servers, chance.next_u64());
    let port = match beneath {
        Beneath::Clear => Port::Plain,
        Beneath::Tls { .. } => Port::Secure,
    };
    let mut following = Following {
        client,
        source,
        port,
        reports,
        seen: u64::MAX,
        nodes: BTreeMap::new(),
        weights: Kept::default(),
    };
    loop {
        let Following { client, reports, seen, .. } = &mut following;
        client.connected(seen, |trouble| reports.failed(trouble.to_string())).await;
        if let Err(trouble) = following.keep_up().await {
            let why = following.meaning(trouble).await;
            following.reports.failed(why);
            // A server that refuses is not asked all the time.
            following.pause().await;
        }
    }
}

struct Following {
    client: Client,
    source: ZooKeeperSource,
    port: Port,
    reports: Reports,
    /// Which phases of the session were seen.
    seen: u64,
    /// What every child is; `None` of those that are not read yet.
    nodes: BTreeMap<String, Option<Read>>,
    weights: Kept,
}

/// The weights of all.
#[derive(Default)]
struct Kept {
    /// The last that could be read.
    good: Weights,
    /// What is wrong with those that are there now.
    wrong: Option<String>,
    /// Whether they are to be read.
    stale: bool,
}

/// What a node was read as.
enum Read {
    Node(Node),
    /// It could not be read, and why.
    Refused(Code),
}

/// What ends a wait.
enum Woken {
    Told(Told),
    Phase(Phase),
    Quiet,
}

/// How long a source that was refused waits; nothing tells when it will not be.
const REFUSED_WAIT: Duration = Duration::from_secs(1);

/// How long it waits for a node that is not there, and whose coming is told.
const ABSENT_WAIT: Duration = Duration::from_secs(10);

impl Following {
    /// Reads everything, then what changes, until the connection ends or a server refuses.
    async fn keep_up(&mut self) -> Result<(), Trouble> {
        let path = self.source.path.to_string();
        let paths =
            std::iter::once(path.clone()).chain(self.source.weights.as_deref().map(Into::into));
        // Before anything is asked: what happens from then on is told.
        let events = self.client.events(paths.collect());
        let mut told = Told::Everything;
        loop {
            if self.take(&told) {
                self.list(&path).await?;
            }
            self.read(&path).await?;
            self.report();
            told = loop {
                match self.woken(&events).await {
                    Woken::Told(told) => break told,
                    Woken::Phase(Phase::Away(trouble)) => return Err(trouble),
                    // Nothing is watched any more: from the beginning.
                    Woken::Phase(_) => break Told::Everything,
                    Woken::Quiet if self.asks_again() => break Told::Some(BTreeSet::new()),
                    Woken::Quiet => self.reports.still(),
                }
            };
        }
    }

    /// Whether there are nodes that could not be read: nothing tells when they can.
    fn asks_again(&mut self) -> bool {
        let mut any = false;
        for read in self.nodes.values_mut() {
            if matches!(read, Some(Read::Refused(_))) {
                *read = None;
                any = true;
            }
        }
        any
    }

    /// Forgets what has changed. Says whether the children are to be listed again.
    fn take(&mut self, told: &Told) -> bool {
        let Told::Some(told) = told else {
            self.nodes.clear();
            self.weights.stale = true;
            return true;
        };
        let mut lists = false;
        for (path, happened) in told {
            if self.source.weights.as_deref() == Some(&**path) {
                self.weights.stale = true;
            } else if **path == *self.source.path {
                lists |= *happened != Happened::Changed;
            } else if let Some((_, name)) = path.rsplit_once('/')
                && let Some(read) = self.nodes.get_mut(name)
            {
                match happened {
                    // The list of the children tells of it too.
                    Happened::Deleted | Happened::Children => {}
                    Happened::Created | Happened::Changed => *read = None,
                }
            }
        }
        lists
    }

    async fn list(&mut self, path: &str) -> Result<(), Trouble> {
        let (names, _) = self.client.children(path, Watch::Yes).await?;
        let names: BTreeSet<String> = names.into_iter().take(ENDPOINTS_MAX * 2).collect();
        self.nodes.retain(|name, _| names.contains(name));
        for name in names {
            self.nodes.entry(name).or_default();
        }
        Ok(())
    }

    /// Reads all that is not read yet.
    async fn read(&mut self, path: &str) -> Result<(), Trouble> {
        let open = self.nodes.iter().filter(|(_, read)| read.is_none());
        let open: Vec<String> = open.map(|(name, _)| name.clone()).collect();
        for names in open.chunks(ASKED_MAX) {
            let ask = |name: &String| self.client.content(&child(path, name), Watch::Yes);
            // All are asked before the first is waited for.
            let asked: Vec<_> = names.iter().map(ask).collect();
            for (name, asked) in names.iter().zip(asked) {
                let read = match asked.await {
                    Ok((content, _)) => Read::Node(node(name, &content, self.port)),
                    Err(Trouble::Refused { code: Code::NO_NODE, .. }) => {
                        // It went meanwhile.
                        self.nodes.remove(name);
                        continue;
                    }
                    Err(Trouble::Refused { code, .. }) => Read::Refused(code),
                    Err(trouble) => return Err(trouble),
                };
                self.nodes.insert(name.clone(), Some(read));
            }
        }
        if self.weights.stale {
            self.read_weights().await?;
        }
        Ok(())
    }

    async fn read_weights(&mut self) -> Result<(), Trouble> {
        let Some(path) = &self.source.weights else { return Ok(()) };
        let read = match self.client.content(path, Watch::Yes).await {
            Ok((content, _)) => weights(&content),
            // It may come later.
            Err(trouble) if trouble.is(Code::NO_NODE) => {
                self.client.look(path, Watch::Yes).await?;
                // Beside the first generation's path it is looked for without being written.
                let written = first_weights(&self.source.path).as_ref() != Some(path);
                let why = format!("does not exist; all have weight {WEIGHT_USUAL}");
                let problems = if written { vec![why] } else { Vec::new() };
                Ok(Weights { problems, ..Weights::default() })
            }
            Err(Trouble::Refused { code, .. }) => Err(code.to_string()),
            Err(trouble) => return Err(trouble),
        };
        let kept = &mut self.weights;
        kept.stale = false;
        match read {
            Ok(read) => (kept.good, kept.wrong) = (read, None),
            Err(why) => kept.wrong = Some(why),
        }
        Ok(())
    }

    /// Reports everybody who is there.
    fn report(&self) {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        let problem = |name: &str, why: String| {
            let at = child(&self.source.path, &short(name));
            Problem { at, why }
        };
        for (name, read) in &self.nodes {
            match read {
                Some(Read::Node(Node::Endpoint(endpoint, wrong))) => {
                    problems.extend(wrong.iter().map(|why| problem(name, why.clone())));
                    found.push(endpoint.clone());
                }
                Some(Read::Node(Node::Useless(why))) => problems.push(problem(name, why.clone())),
                Some(Read::Refused(code)) => problems.push(problem(name, code.to_string())),
                Some(Read::Node(Node::Off)) | None => {}
            }
        }
        if let Some(path) = &self.source.weights {
            let wrong = self.weights.good.problems.iter().chain(&self.weights.wrong);
            problems.extend(wrong.map(|why| Problem { at: path.to_string(), why: why.clone() }));
            found = weighted(found, &self.weights.good);
        }
        self.reports.found(Set::new(found, problems));
    }

    async fn woken(&mut self, events: &Events) -> Woken {
        sleep(LOOK_EVERY).await;
        let (mut timer, quiet) = (Timer::default(), now().after(VOUCH_EVERY));
        poll_fn(|cx| {
            if let Poll::Ready(phase) = self.client.poll_phase(cx, &mut self.seen) {
                return Poll::Ready(Woken::Phase(phase));
            }
            if let Poll::Ready(told) = events.poll(cx) {
                return Poll::Ready(Woken::Told(told));
            }
            timer.poll_until(cx, quiet).map(|()| Woken::Quiet)
        })
        .await
    }

    /// What a refusal means here; has it watched where the node may still come.
    async fn meaning(&self, trouble: Trouble) -> String {
        if !trouble.is(Code::NO_NODE) {
            return trouble.to_string();
        }
        let chroot = &self.source.servers.chroot;
        match self.client.look("/", Watch::No).await {
            Ok(None) if !chroot.is_empty() => format!("the chroot {chroot} does not exist"),
            Ok(_) => trouble.to_string(),
            Err(trouble) => trouble.to_string(),
        }
    }

    /// Waits after a refusal, until the node is there, the connection is another, or for a while.
    async fn pause(&self) {
        let events = self.client.events(vec![self.source.path.to_string()]);
        // Where it cannot be asked, time will tell.
        let there = self.client.look(&self.source.path, Watch::Yes).await;
        let wait = if there == Ok(None) { ABSENT_WAIT } else { REFUSED_WAIT };
        let (mut timer, until) = (Timer::default(), now().after(wait));
        poll_fn(|cx| {
            if self.client.poll_phase(cx, &mut self.seen.clone()).is_ready() {
                return Poll::Ready(());
            }
            if events.poll(cx).is_ready() { Poll::Ready(()) } else { timer.poll_until(cx, until) }
        })
        .await;
    }
}

/// Gives all endpoints the weights that an operator keeps for them; 0 takes one out.
fn weighted(found: Vec<Found>, weights: &Weights) -> Vec<Found> {
    let each = found.into_iter().filter_map(|mut endpoint| {
        endpoint.weight = weights.of.get(&endpoint.address).copied().unwrap_or(WEIGHT_USUAL);
        (endpoint.weight > 0).then_some(endpoint)
    });
    each.collect()
}

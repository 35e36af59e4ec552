//! Registries for people at a terminal: what the commands `registry` and `push` do. Each call has a
//! session of its own, closed in the end.

use crate::config::{NodeUrl, RegisterSpec};
use crate::register::Register;
use crate::remote::zookeeper::{CLOSE_MAX, UP_MAX, seed};
use crate::zookeeper::path::child;
use crate::zookeeper::{
    Acl, Client, Code, Events, Happened, Life, Phase, Stat, Told, Trouble, Watch,
};
use gatehouse_proxy::gate::block_on;
use gatehouse_proxy::signals::{Signal, Signals};
use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Poll;

/// The largest content that servers take, unless they were told otherwise.
pub const CONTENT_BYTES_MAX: usize = 1_000_000;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// What was asked for is wrong: no such node, another version.
    Asked(String),
    /// The registry cannot be asked.
    World(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Asked(why) | Failed::World(why) => f.write_str(why),
        }
    }
}

/// A node, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name beneath the node that was asked for.
    pub name: String,
    /// How often its content was changed.
    pub version: i32,
    /// Bytes of its content.
    pub bytes: i32,
    /// How many children it has.
    pub children: i32,
    /// The session it ends with; 0 where it stays.
    pub owner: i64,
}

/// What a write has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The node was made.
    Created,
    /// Its content was changed; this is its version now.
    Changed(i32),
    /// It was the same already; this is its version.
    Same(i32),
}

/// Which version a node has to have where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The one it has when it is looked at just before.
    Current,
    /// This.
    Version(i32),
}

/// The children of a node, in order.
///
/// # Errors
/// [`Failed`].
pub fn list(url: &NodeUrl) -> Result<Vec<Listed>, Failed> {
    with(url, async |client| {
        let (names, _) = client.children(&url.path, Watch::No).await?;
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            // One that has gone meanwhile is none.
            if let Some(stat) = client.look(&child(&url.path, &name), Watch::No).await? {
                let Stat { version, bytes, children, owner, .. } = stat;
                listed.push(Listed { name, version, bytes, children, owner });
            }
        }
        Ok(listed)
    })
}

/// A node's content and version.
///
/// # Errors
/// [`Failed`].
pub fn get(url: &NodeUrl) -> Result<(Vec<u8>, i32), Failed> {
    with(url, async |client| {
        let (content, stat) = client.content(&url.path, Watch::No).await?;
        Ok((content, stat.version))
    })
}

/// Writes a node, if it has the version that is expected; makes it, and its parents, where it is
/// not there.
///
/// # Errors
/// [`Failed`]; nothing was written then.
pub fn set(url: &NodeUrl, content: &[u8], expected: Expected) -> Result<Written, Failed> {
    if content.len() > CONTENT_BYTES_MAX {
        let bytes = content.len();
        let why = format!("{bytes} bytes: a node takes {CONTENT_BYTES_MAX} at most");
        return Err(Failed::Asked(why));
    }
    with(url, async |client| set_with(client, &url.path, content, expected).await)
}

/// The same by a session that is there already.
pub(crate) async fn set_with(
    client: &Client,
    path: &str,
    content: &[u8],
    expected: Expected,
) -> Result<Written, Trouble> {
    let may_be_new = matches!(expected, Expected::Current | Expected::Version(0));
    let (before, version) = match client.content(path, Watch::No).await {
        Ok((before, stat)) => (before, stat.version),
        Err(trouble) if may_be_new && trouble.is(Code::NO_NODE) => {
            client.create_parents(path).await?;
            client.create(path, content, Life::Stays, Acl::Open).await?;
            return Ok(Written::Created);
        }
        Err(trouble) => return Err(trouble),
    };
    match expected {
        Expected::Version(wanted) if wanted != version => {
            let why = format!("{path}: it has version {version}, not {wanted}");
            return Err(Trouble::Impossible(why));
        }
        Expected::Version(_) | Expected::Current => {}
    }
    if before == content {
        return Ok(Written::Same(version));
    }
    let stat = client.set(path, content, version).await?;
    Ok(Written::Changed(stat.version))
}

/// Says what happens to a node and its children: a line for each change, until `say` breaks off or
/// the process is told to end.
///
/// # Errors
/// [`Failed`].
pub fn watch(url: &NodeUrl, say: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<(), Failed> {
    with(url, async |client| {
        let mut signals = Signals::new().map_err(|e| Trouble::Impossible(e.to_string()))?;
        let mut watching = Watching::new(client, &url.path);
        let mut children = watching.look(None, say).await?;
        loop {
            let told = poll_fn(|cx| match signals.poll_next(cx) {
                Poll::Ready(Signal::Terminate) => Poll::Ready(Ok(None)),
                Poll::Ready(_) | Poll::Pending => watching.poll(cx).map_ok(Some),
            });
            let Some(told) = told.await? else { return Ok(()) };
            let Some(before) = children else { return Ok(()) };
            children = watching.look(Some((before, told)), say).await?;
            if children.is_none() {
                return Ok(());
            }
        }
    })
}

struct Watching<'a> {
    client: &'a Client,
    path: &'a str,
    events: Events,
    seen: u64,
}

impl<'a> Watching<'a> {
    fn new(client: &'a Client, path: &'a str) -> Watching<'a> {
        Watching { client, path, events: client.events(vec![path.to_owned()]), seen: u64::MAX }
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<Told, Trouble>> {
        while let Poll::Ready(phase) = self.client.poll_phase(cx, &mut self.seen) {
            match phase {
                Phase::Away(trouble) => return Poll::Ready(Err(trouble)),
                Phase::Up { .. } | Phase::Beginning => {}
            }
        }
        self.events.poll(cx).map(Ok)
    }

    /// Looks at what has changed and says so. Gives the children that are there now; `None` where
    /// that was enough.
    async fn look(
        &self,
        known: Option<(BTreeSet<String>, Told)>,
        say: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Option<BTreeSet<String>>, Trouble> {
        let (names, _) = self.client.children(self.path, Watch::Yes).await?;
        let names: BTreeSet<String> = names.into_iter().collect();
        let mut lines = Vec::new();
        let (before, changed) = match known {
            None => (BTreeSet::new(), vec![String::new()]),
            Some((before, told)) => {
                let of = changed(self.path, &told);
                (before, of)
            }
        };
        lines.extend(before.difference(&names).map(|name| format!("removed {name}")));
        lines.extend(names.difference(&before).map(|name| format!("added {name}")));
        let fresh = names.difference(&before).cloned().collect::<Vec<_>>();
        for name in fresh.into_iter().chain(changed) {
            let path = if name.is_empty() { self.path.to_owned() } else { child(self.path, &name) };
            let Ok((content, stat)) = self.client.content(&path, Watch::Yes).await else {
                continue;
            };
            if before.contains(&name) || name.is_empty() {
                let shown = String::from_utf8_lossy(&content);
                let (version, shown) = (stat.version, shown.escape_debug());
                lines.push(format!("{path} version {version}: {shown}"));
            }
        }
        match lines.iter().any(|line| say(line).is_break()) {
            true => Ok(None),
            false => Ok(Some(names)),
        }
    }
}

/// The children whose content has changed; empty is the node's own.
fn changed(own: &str, told: &Told) -> Vec<String> {
    let Told::Some(told) = told else { return vec![String::new()] };
    let content = told.iter().filter(|(_, happened)| *happened == Happened::Changed);
    let name = |path: &str| {
        let rest = path.strip_prefix(own.trim_end_matches('/')).unwrap_or_default();
        rest.trim_start_matches('/').to_owned()
    };
    content.map(|(path, _)| name(path)).collect()
}

/// Announces an address beneath a node until the process is told to end, and takes it back.
///
/// # Errors
/// Where that is no address, or signals cannot be waited for.
pub fn announce(
    url: &NodeUrl,
    address: &str,
    weight: Option<u16>,
    zone: Option<&str>,
) -> Result<(), Failed> {
    let weight = weight.map(u64::from);
    let spec = RegisterSpec::new(url, address, weight, zone).map_err(Failed::Asked)?;
    let register = Register::new(seed());
    let waited = block_on(async {
        let mut signals = Signals::new()?;
        register.follow(&[Arc::new(spec)]);
        let told = |signal| matches!(signal, Signal::Terminate);
        while !told(poll_fn(|cx| signals.poll_next(cx)).await) {}
        Ok(())
    });
    register.stop();
    register.join();
    waited
        .and_then(|ended: std::io::Result<()>| ended)
        .map_err(|error| Failed::World(error.to_string()))
}

/// Runs `work` with a session, and closes it.
fn with<T>(
    url: &NodeUrl,
    work: impl AsyncFnOnce(&Client) -> Result<T, Trouble>,
) -> Result<T, Failed> {
    let run = async {
        let client = Client::alone(&url.servers, seed());
        let worked = match client.up(UP_MAX).await {
            Ok(_) => work(&client).await.map_err(|trouble| match trouble {
                Trouble::Away(_) => Failed::World(format!("{url}: {trouble}")),
                Trouble::Refused { .. } | Trouble::Impossible(_) => {
                    Failed::Asked(format!("{}: {trouble}", url.servers))
                }
            }),
            Err(trouble) => Err(Failed::World(format!("{url}: {trouble}"))),
        };
        client.close(CLOSE_MAX).await;
        worked
    };
    block_on(run).unwrap_or_else(|error| Err(Failed::World(error.to_string())))
}

//! A configuration that is a node of ZooKeeper: read, written with a version check, followed.

use super::{NotPut, Standing, TEXT_BYTES_MAX};
use crate::config::NodeUrl;
use crate::terminal::{Expected, Written, set_with};
use crate::zookeeper::{Client, Code, Events, Phase, Stat, Trouble, Watch};
use gatehouse_wire::timer::{Timer, now};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::task::Poll;
use std::time::Duration;

/// How long a connection may take.
pub(crate) const UP_MAX: Duration = Duration::from_secs(9);

/// How long the end of a session is waited for.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(1);

/// How often what stands there is read without being told: to learn whether it is still wanted.
const COMPARE_EVERY: Duration = Duration::from_secs(10);

/// What stands there now.
pub(super) async fn fetch(url: &NodeUrl) -> Standing {
    let client = Client::alone(&url.servers, seed());
    let read = match client.up(UP_MAX).await {
        Ok(_) => client.content(&url.path, Watch::No).await,
        Err(trouble) => Err(trouble),
    };
    client.close(CLOSE_MAX).await;
    read.map_err(|trouble| trouble.to_string()).and_then(standing)
}

/// Puts a text there, if what stands there has this version, or whichever it has now; 0 is also a
/// node that is not there. Gives the new version.
pub(super) async fn put(url: &NodeUrl, text: &str, version: Option<u64>) -> Result<u64, NotPut> {
    let expected = match version.map(i32::try_from) {
        None => Expected::Current,
        Some(Ok(version)) => Expected::Version(version),
        Some(Err(_)) => return Err(NotPut::Asked("no node has such a version".to_owned())),
    };
    let client = Client::alone(&url.servers, seed());
    let written = match client.up(UP_MAX).await {
        Ok(_) => set_with(&client, &url.path, text.as_bytes(), expected).await,
        Err(trouble) => Err(trouble),
    };
    client.close(CLOSE_MAX).await;
    match written {
        Ok(Written::Created) => Ok(0),
        Ok(Written::Changed(version) | Written::Same(version)) => Ok(version_of(version)),
        Err(trouble @ Trouble::Away(_)) => Err(NotPut::World(trouble.to_string())),
        Err(trouble) => Err(NotPut::Asked(trouble.to_string())),
    }
}

fn standing((content, stat): (Vec<u8>, Stat)) -> Standing {
    if content.len() > TEXT_BYTES_MAX {
        return Err(format!("it has {} bytes; {TEXT_BYTES_MAX} is the most", content.len()));
    }
    let text = String::from_utf8(content).map_err(|_| "it is not UTF-8")?;
    Ok((text, version_of(stat.version)))
}

fn version_of(version: i32) -> u64 {
    u64::try_from(version).unwrap_or_default()
}

pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// Follows a node, by one session.
pub(super) struct Follow {
    url: NodeUrl,
    client: Client,
    events: Events,
    seen: u64,
    begun: bool,
}

impl Follow {
    /// One that has read nothing yet. On a thread that runs tasks.
    pub fn new(url: &NodeUrl) -> Follow {
        let client = Client::alone(&url.servers, seed());
        let events = client.events(vec![url.path.to_string()]);
        Follow { url: url.clone(), client, events, seen: u64::MAX, begun: false }
    }

    /// What stands there, at once and then whenever that may have changed, or why nobody can say.
    pub async fn next(&mut self) -> Result<Standing, String> {
        if std::mem::replace(&mut self.begun, true) {
            self.wait().await;
        }
        let read = match self.client.up(UP_MAX).await {
            Ok(_) => self.client.content(&self.url.path, Watch::Yes).await,
            Err(trouble) => Err(trouble),
        };
        match read {
            Ok(read) => Ok(standing(read)),
            Err(trouble) if trouble.is(Code::NO_NODE) => {
                // Told when it comes back; where that cannot be asked, it is read again.
                drop(self.client.look(&self.url.path, Watch::Yes).await);
                Ok(Err(trouble.to_string()))
            }
            Err(
                trouble @ (Trouble::Away(_) | Trouble::Impossible(_) | Trouble::Refused { .. }),
            ) => Err(trouble.to_string()),
        }
    }

    /// Waits until the node has changed, the connection is another, or for a while.
    async fn wait(&mut self) {
        let (mut timer, until) = (Timer::default(), now().after(COMPARE_EVERY));
        poll_fn(|cx| {
            while let Poll::Ready(phase) = self.client.poll_phase(cx, &mut self.seen) {
                if let Phase::Up { .. } = phase {
                    return Poll::Ready(());
                }
            }
            match self.events.poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => timer.poll_until(cx, until),
            }
        })
        .await;
    }
}

//! One announcement: a node that lives as long as this process, kept through lost connections,
//! expired sessions, and nodes that an earlier process has left behind.
//!
//! A node of another session is replaced where it is older than any of ours: whoever held it was
//! here before. One that is newer is left alone: its maker has taken over, and is waited for.

use super::Stop;
use super::shown::{Report, Standing};
use crate::config::RegisterSpec;
use crate::zookeeper::{Client, Code, Events, Life, Phase, Stat, Trouble, Watch};
use gatehouse_wire::timer::{Timer, now, sleep};
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// Between two attempts: somebody who deletes the node all the time is not followed any faster.
const ATTEMPT_EVERY: Duration = Duration::from_millis(100);

/// How long is waited after a refusal.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// How long a process that is followed by another waits for its announcement.
const FOLLOWED_MAX: Duration = Duration::from_secs(10);

/// How long the end of a session is waited for.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Announces until `stop` is ready, then takes the announcement back.
pub(super) async fn announce(spec: &RegisterSpec, seed: u64, report: &Report, stop: &Stop) {
    let mut announcing = Announcing {
        client: Client::alone(&spec.servers, seed),
        spec,
        report,
        path: spec.node(),
        seen: u64::MAX,
        created: 0,
    };
    let mut work = Box::pin(announcing.work());
    poll_fn(|cx| match stop.poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => work.as_mut().poll(cx),
    })
    .await;
    let (mut timer, until) = (Timer::default(), now().after(FOLLOWED_MAX));
    poll_fn(|cx| {
        if !stop.patient.get() || report.is_followed() {
            return Poll::Ready(());
        }
        if work.as_mut().poll(cx).is_ready() || report.is_followed() {
            return Poll::Ready(());
        }
        timer.poll_until(cx, until)
    })
    .await;
    drop(work);
    // Its nodes end with it, and only its own.
    announcing.client.close(CLOSE_MAX).await;
    report.set(Standing::TakenBack);
}

struct Announcing<'a> {
    client: Client,
    spec: &'a RegisterSpec,
    report: &'a Report,
    path: String,
    seen: u64,
    /// The change that made the last node of ours; 0 where there was none.
    created: i64,
}

/// Whose node it is.
enum Whose {
    Ours,
    /// Of an earlier one, at this version.
    Stale(i32),
    /// Of one that came later.
    Newer(i64),
    /// Nobody's session's.
    Lasting,
}

impl Announcing<'_> {
    async fn work(&mut self) {
        loop {
            let away = |trouble: &Trouble| self.report.set(Standing::Not(trouble.to_string()));
            let session = self.client.connected(&mut self.seen, away).await;
            let Err(trouble) = self.hold(session).await;
            if let Trouble::Away(_) = trouble {
                self.report.set(Standing::Not(trouble.to_string()));
                continue;
            }
            let why = self.meaning(trouble).await;
            self.report.set(Standing::Not(why));
            self.pause(REFUSED_WAIT).await;
        }
    }

    /// Has the node there, and watches over it, until the connection ends or a server refuses.
    async fn hold(&mut self, session: i64) -> Result<std::convert::Infallible, Trouble> {
        let events = self.client.events(vec![self.path.clone()]);
        loop {
            self.make().await?;
            // Watched from here on; what happened before is seen in it.
            if let Some(stat) = self.client.look(&self.path, Watch::Yes).await? {
                match self.whose(&stat, session) {
                    Whose::Ours => {
                        self.created = stat.created;
                        self.update(&stat).await?;
                        self.report.set(Standing::Registered);
                        self.changed(&events).await?;
                    }
                    Whose::Stale(version) => self.replace(version).await?,
                    Whose::Newer(owner) => {
                        let why = format!(
                            "{}: another process has announced the same address since (session \
                             {owner:#x}): it is waited for",
                            self.path
                        );
                        self.report.set(Standing::Followed(why));
                        self.changed(&events).await?;
                    }
                    Whose::Lasting => {
                        let why = format!(
                            "{}: a node that ends with no session stands there: delete it",
                            self.path
                        );
                        return Err(Trouble::Impossible(why));
                    }
                }
            }
            sleep(ATTEMPT_EVERY).await;
        }
    }

    fn whose(&self, stat: &Stat, session: i64) -> Whose {
        match stat.owner {
            0 => Whose::Lasting,
            owner if owner == session => Whose::Ours,
            owner if self.created != 0 && stat.created > self.created => Whose::Newer(owner),
            _ => Whose::Stale(stat.version),
        }
    }

    /// Makes the node, and its parents, where it is not there.
    async fn make(&self) -> Result<(), Trouble> {
        let spec = self.spec;
        let create = || self.client.create(&self.path, &spec.content, Life::Session, spec.acl);
        let made = match create().await {
            Err(trouble) if trouble.is(Code::NO_NODE) => {
                self.client.create_parents(&self.path).await?;
                create().await
            }
            made => made,
        };
        match made {
            Err(trouble) if trouble.is(Code::NODE_EXISTS) => Ok(()),
            made => made,
        }
    }

    /// Puts the content there that it should have.
    async fn update(&self, stat: &Stat) -> Result<(), Trouble> {
        let (content, _) = self.client.content(&self.path, Watch::Yes).await?;
        if *content == *self.spec.content {
            return Ok(());
        }
        self.client.set(&self.path, &self.spec.content, stat.version).await.map(drop)
    }

    /// Puts a node of ours in the place of one that an earlier session has left.
    async fn replace(&self, version: i32) -> Result<(), Trouble> {
        let spec = self.spec;
        match self.client.replace(&self.path, version, &spec.content, spec.acl).await {
            // It has changed or gone meanwhile: it is looked at again.
            Err(Trouble::Refused {
                code: Code::BAD_VERSION | Code::NO_NODE | Code::NODE_EXISTS,
                ..
            }) => Ok(()),
            replaced => replaced,
        }
    }

    /// Waits until something happens to the node.
    async fn changed(&mut self, events: &Events) -> Result<(), Trouble> {
        poll_fn(|cx| {
            if let Poll::Ready(phase) = self.client.poll_phase(cx, &mut self.seen) {
                return Poll::Ready(match phase {
                    Phase::Away(trouble) => Err(trouble),
                    // Another connection: nothing is watched there.
                    Phase::Up { .. } | Phase::Beginning => {
                        Err(Trouble::Away("the connection is another".to_owned()))
                    }
                });
            }
            events.poll(cx).map(|_| Ok(()))
        })
        .await
    }

    async fn meaning(&self, trouble: Trouble) -> String {
        let chroot = &self.spec.servers.chroot;
        if trouble.is(Code::NO_NODE) && !chroot.is_empty() {
            return format!("the chroot {chroot} does not exist");
        }
        trouble.to_string()
    }

    /// Waits, or until the connection is another.
    async fn pause(&self, wait: Duration) {
        let (mut timer, until) = (Timer::default(), now().after(wait));
        poll_fn(|cx| match self.client.poll_phase(cx, &mut self.seen.clone()) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => timer.poll_until(cx, until),
        })
        .await;
    }
}

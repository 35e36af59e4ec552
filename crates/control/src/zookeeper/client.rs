//! A session with an ensemble, shared by everybody on this thread who asks the same servers in the
//! same way: one connection, however many upstreams are found there.
//!
//! A task of its own keeps it: it goes from server to server, takes the session up again where that
//! still lives, and waits between attempts. Whoever uses it is told when a connection begins and
//! ends: nothing is watched any more then, and everything has to be read again.

use super::events::Events;
use super::jute::{Malformed, Reader, Writer};
use super::keep::keep;
use super::link::{Call, Refusal, Slot};
use super::message::{self, Acl, Code, Life, Stat, Watch};
use super::shared::{Phase, Shared};
use super::trouble::Trouble;
use crate::config::ZooKeeperServers;
use gatehouse_core::chance::Chance;
use gatehouse_proxy::gate::spawn;
use gatehouse_wire::timer::{Timer, now};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Requests that wait to be sent; more are refused.
const CALLS_MAX: usize = 65_536;

/// A session, as one of its users holds it. The last one to let go closes it.
#[derive(Debug)]
pub(crate) struct Client(Rc<Shared>);

thread_local! {
    /// The sessions of this thread.
    static SESSIONS: RefCell<Vec<Weak<Shared>>> = const { RefCell::new(Vec::new()) };
}

impl Client {
    /// The session of this thread with these servers; begun where there is none. To be called on a
    /// thread that runs tasks.
    pub fn of(servers: &Arc<ZooKeeperServers>, seed: u64) -> Client {
        SESSIONS.with_borrow_mut(|all| {
            all.retain(|one| one.strong_count() > 0);
            let same = |one: &Rc<Shared>| one.servers == *servers && !one.wants_end.get();
            if let Some(shared) = all.iter().filter_map(Weak::upgrade).find(same) {
                return Client::sharing(shared);
            }
            let client = Client::alone(servers, seed);
            all.push(Rc::downgrade(&client.0));
            client
        })
    }

    /// A session that nobody shares: its nodes go when it is closed.
    pub fn alone(servers: &Arc<ZooKeeperServers>, seed: u64) -> Client {
        let shared = Rc::new(Shared::new(Arc::clone(servers)));
        spawn(keep(Rc::clone(&shared), Chance::seeded(seed)));
        Client::sharing(shared)
    }

    fn sharing(shared: Rc<Shared>) -> Client {
        shared.users.set(shared.users.get() + 1);
        Client(shared)
    }

    /// The phase, once it is another than the one that `seen` counts.
    pub fn poll_phase(&self, cx: &mut Context<'_>, seen: &mut u64) -> Poll<Phase> {
        let mut state = self.0.state.borrow_mut();
        if state.changes != *seen {
            *seen = state.changes;
            return Poll::Ready(state.phase.clone());
        }
        if !state.waiting.iter().any(|known| known.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until there is a connection, where there is none now; says which session it is of, and
    /// notes in `seen` what was looked at. Tells `away` why there is none.
    pub async fn connected(&self, seen: &mut u64, mut away: impl FnMut(&Trouble)) -> i64 {
        // Not what was seen last: a request may have failed before the change was.
        let mut known = u64::MAX;
        let session = poll_fn(|cx| {
            while let Poll::Ready(phase) = self.poll_phase(cx, &mut known) {
                match phase {
                    Phase::Up { session } => return Poll::Ready(session),
                    Phase::Away(trouble) => away(&trouble),
                    Phase::Beginning => {}
                }
            }
            Poll::Pending
        })
        .await;
        *seen = known;
        session
    }

    /// Waits until there is a connection, for at most `limit`.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn up(&self, limit: Duration) -> Result<i64, Trouble> {
        let until = now().after(limit);
        let (mut seen, mut timer) = (u64::MAX, Timer::default());
        let mut why = Trouble::Away("nobody has answered yet".to_owned());
        poll_fn(|cx| {
            while let Poll::Ready(phase) = self.poll_phase(cx, &mut seen) {
                match phase {
                    Phase::Up { session } => return Poll::Ready(Ok(session)),
                    // More time makes it no better.
                    Phase::Away(trouble @ Trouble::Impossible(_)) => {
                        return Poll::Ready(Err(trouble));
                    }
                    Phase::Away(trouble) => why = trouble,
                    Phase::Beginning => {}
                }
            }
            timer.poll_until(cx, until).map(|()| Err(why.clone()))
        })
        .await
    }

    /// What happens from now on to nodes that are watched, among these and what is beneath them.
    pub fn events(&self, paths: Vec<String>) -> Events {
        let (events, inbox) = Events::new(paths);
        let mut state = self.0.state.borrow_mut();
        state.inboxes.retain(|other| other.strong_count() > 0);
        state.inboxes.push(inbox);
        drop(state);
        events
    }

    /// The names of a node's children, in order.
    pub async fn children(&self, path: &str, watch: Watch) -> Result<(Vec<String>, Stat), Trouble> {
        let body = message::path_and_watch(&self.full(path), watch);
        let answer = self.ask(message::CHILDREN, body, path).await?;
        let mut reader = Reader(&answer);
        let names = reader.texts().and_then(|names| Ok((names, message::stat(&mut reader)?)));
        let (mut names, stat) = names.map_err(|_| self.malformed())?;
        names.sort_unstable();
        Ok((names, stat))
    }

    /// A node's content.
    pub fn content(
        &self,
        path: &str,
        watch: Watch,
    ) -> impl Future<Output = Result<(Vec<u8>, Stat), Trouble>> + use<> {
        let body = message::path_and_watch(&self.full(path), watch);
        // Asked now, so that many can be under way at once.
        let asked = self.post(message::GET, body);
        let path: Box<str> = path.into();
        let malformed = self.malformed();
        async move {
            let answer = answered(asked, &path).await?;
            let mut reader = Reader(&answer);
            let read = |reader: &mut Reader<'_>| -> Result<_, Malformed> {
                Ok((reader.bytes()?.to_vec(), message::stat(reader)?))
            };
            read(&mut reader).map_err(|_| malformed)
        }
    }

    /// What is known of a node, if it is there.
    pub async fn look(&self, path: &str, watch: Watch) -> Result<Option<Stat>, Trouble> {
        let body = message::path_and_watch(&self.full(path), watch);
        match self.ask(message::EXISTS, body, path).await {
            Ok(answer) => {
                message::stat(&mut Reader(&answer)).map(Some).map_err(|_| self.malformed())
            }
            Err(trouble) if trouble.is(Code::NO_NODE) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes a node; its parent has to be there.
    pub async fn create(
        &self,
        path: &str,
        content: &[u8],
        life: Life,
        acl: Acl,
    ) -> Result<(), Trouble> {
        let body = message::create(&self.full(path), content, life, acl);
        self.ask(message::CREATE, body, path).await.map(drop)
    }

    /// Makes the parents of a node that are not there; they stay.
    pub async fn create_parents(&self, path: &str) -> Result<(), Trouble> {
        // The whole path counts: the chroot may not be there either.
        let mut missing = Vec::new();
        let mut at = super::path::parent(path);
        while let Some(parent) = at {
            if self.look(parent, Watch::No).await?.is_some() {
                break;
            }
            missing.push(parent);
            at = super::path::parent(parent);
        }
        for parent in missing.into_iter().rev() {
            match self.create(parent, b"", Life::Stays, Acl::Open).await {
                Err(trouble) if !trouble.is(Code::NODE_EXISTS) => return Err(trouble),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Changes a node's content, if it has this version; -1 is any.
    pub async fn set(&self, path: &str, content: &[u8], version: i32) -> Result<Stat, Trouble> {
        let body = message::set(&self.full(path), content, version);
        let answer = self.ask(message::SET, body, path).await?;
        message::stat(&mut Reader(&answer)).map_err(|_| self.malformed())
    }

    /// Puts a node of this session in the place of another, if that has this version: both or
    /// neither.
    pub async fn replace(
        &self,
        path: &str,
        version: i32,
        content: &[u8],
        acl: Acl,
    ) -> Result<(), Trouble> {
        let full = self.full(path);
        let new = message::create(&full, content, Life::Session, acl);
        let all = vec![(message::DELETE, message::delete(&full, version)), (message::CREATE, new)];
        let answer = self.ask(message::MULTI, message::multi(all), path).await?;
        match message::multi_fault(Reader(&answer)) {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(Trouble::refused(path, code)),
            Err(Malformed) => Err(self.malformed()),
        }
    }

    /// Closes the session, so that its nodes are gone at once; waits for that, but not for long.
    pub async fn close(self, limit: Duration) {
        let until = now().after(limit);
        self.0.end();
        let mut timer = Timer::default();
        let mut seen = u64::MAX;
        poll_fn(|cx| {
            while self.poll_phase(cx, &mut seen).is_ready() {}
            match self.0.state.borrow().ended {
                true => Poll::Ready(()),
                false => timer.poll_until(cx, until),
            }
        })
        .await;
    }

    async fn ask(&self, op: i32, body: Writer, path: &str) -> Result<Vec<u8>, Trouble> {
        answered(self.post(op, body), path).await
    }

    fn post(&self, op: i32, body: Writer) -> Rc<Slot> {
        let slot: Rc<Slot> = Rc::default();
        let mut state = self.0.state.borrow_mut();
        match &state.phase {
            Phase::Up { .. } if state.calls.len() < CALLS_MAX => {
                state.calls.push_back(Call { op, body: body.0, slot: Rc::clone(&slot) });
            }
            Phase::Up { .. } => {
                let why = format!("more than {CALLS_MAX} requests wait");
                slot.put(Err(Refusal::Lost(Trouble::Impossible(why))));
            }
            Phase::Away(trouble) => slot.put(Err(Refusal::Lost(trouble.clone()))),
            Phase::Beginning => {
                let why = "nobody has answered yet".to_owned();
                slot.put(Err(Refusal::Lost(Trouble::Away(why))));
            }
        }
        drop(state);
        self.0.wake();
        slot
    }

    fn full(&self, path: &str) -> String {
        match (&*self.0.servers.chroot, path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    fn malformed(&self) -> Trouble {
        Trouble::Away(format!("{}: what it says is not ZooKeeper's protocol", self.0.servers))
    }
}

impl Clone for Client {
    fn clone(&self) -> Client {
        Client::sharing(Rc::clone(&self.0))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let left = self.0.users.get() - 1;
        self.0.users.set(left);
        if left == 0 {
            self.0.end();
        }
    }
}

/// The answer to a request.
async fn answered(slot: Rc<Slot>, path: &str) -> Result<Vec<u8>, Trouble> {
    match poll_fn(|cx| slot.poll(cx)).await {
        Ok(answer) => Ok(answer),
        Err(Refusal::Code(code)) => Err(Trouble::refused(path, code)),
        Err(Refusal::Lost(trouble)) => Err(trouble),
    }
}

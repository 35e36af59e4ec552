//! Follows keys of etcd: read as of a revision, then every change from the next one on. A broken
//! connection goes on where it was, at another server where there is one; what was compacted
//! meanwhile is read anew.

use super::talk::{
    About, End, Event, Pair, Range, Refusal, Told, ask_newest, ask_range, ask_token, ask_watch,
    read_range, read_refusal, read_token, read_told,
};
use crate::caller::{Bounds, Caller, Lines, Question, Reply};
use crate::client::NoAnswer;
use crate::config::{EtcdSpec, Json, Login};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long one question may take.
const ANSWER_MOST: Duration = Duration::from_secs(5);

/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Bytes of one line of what is watched.
const LINE_BYTES_MAX: usize = 32 << 20;

/// Keys that are followed at once.
pub(crate) const KEYS_MAX: u64 = 10_000;

/// Lines that are taken in at once.
const AT_ONCE_MAX: usize = 1_000;

/// How long a watch may say nothing before it is asked about: a connection may have died without
/// a word.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long what was missed may still be on its way.
const LATE_MAX: Duration = Duration::from_secs(2);

/// Which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// All that begin like this.
    Below(Box<str>),
    /// This one.
    Key(Box<str>),
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Followed::Below(text) | Followed::Key(text)) = self;
        f.write_str(text)
    }
}

/// What a key holds, and the revision it was written in.
pub(crate) type Keys = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// What is known of the keys.
struct Held {
    cluster: u64,
    /// As of which revision.
    revision: u64,
    keys: Keys,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The keys may be others.
    Changed,
    /// The server is there, and has nothing new.
    Alive,
}

/// Whether more may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    All,
    More,
}

/// What came of looking closer.
enum Look {
    News(News),
    /// Listen on.
    Nothing,
}

/// Why there is none: whom it concerns, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub about: About,
    pub why: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Keys that are followed.
pub(crate) struct Watch {
    caller: Caller,
    followed: Followed,
    login: Option<Login>,
    token: Option<String>,
    held: Option<Held>,
    lines: Option<Lines>,
}

impl Watch {
    /// Follows keys of this etcd, beginning with the server at `first`.
    pub fn new(etcd: &EtcdSpec, followed: Followed, first: usize) -> Watch {
        let caller = Caller::new(etcd.servers.clone(), first, etcd.tls.clone());
        let login = etcd.login.clone();
        Watch { caller, followed, login, token: None, held: None, lines: None }
    }

    /// What is known, the last that was.
    pub fn keys(&self) -> Option<&Keys> {
        self.held.as_ref().map(|held| &held.keys)
    }

    /// Waits for the next news. After an error it goes on where it was, at another server where
    /// there is one; when to do so is the caller's to say.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn next(&mut self) -> Result<News, Trouble> {
        let next = self.try_next().await;
        if next.is_err() {
            self.lines = None;
            self.caller.turn_away();
        }
        next
    }

    async fn try_next(&mut self) -> Result<News, Trouble> {
        loop {
            let Some(held) = &self.held else {
                self.read().await?;
                return Ok(News::Changed);
            };
            let from = held.revision + 1;
            let Some(lines) = &mut self.lines else {
                self.lines = Some(self.listen(from).await?);
                continue;
            };
            let bounds = Bounds { bytes_max: LINE_BYTES_MAX, most: SILENCE_MAX };
            let look = match lines.next(bounds).await {
                Ok(Some(line)) => self.hear(&line)?,
                Err(NoAnswer::TimedOut(_)) => self.look_closer().await?,
                Ok(None) => return Err(self.trouble("its watch has ended")),
                Err(why) => return Err(self.lost(&why)),
            };
            match look {
                Look::News(News::Changed) => {
                    for _ in 0..AT_ONCE_MAX {
                        let Some(lines) = &mut self.lines else { break };
                        let line = lines.next_held(bounds).await;
                        if self.hear_on(line) == Heard::All {
                            break;
                        }
                    }
                    return Ok(News::Changed);
                }
                Look::News(News::Alive) => return Ok(News::Alive),
                Look::Nothing => {}
            }
        }
    }

    /// Takes in what else has come already: many changes are one for whoever asks. What goes wrong
    /// meanwhile goes wrong again when it is asked for what comes next.
    fn hear_on(&mut self, line: Result<Option<Vec<u8>>, NoAnswer>) -> Heard {
        let heard = match line {
            Ok(None) => return Heard::All,
            Ok(Some(line)) => self.hear(&line).map(drop),
            Err(why) => Err(self.lost(&why)),
        };
        match heard {
            Ok(()) => Heard::More,
            Err(_) => {
                self.lines = None;
                Heard::All
            }
        }
    }

    fn lost(&mut self, why: &NoAnswer) -> Trouble {
        // Whatever was too much for a line is read as a whole.
        self.held = self.held.take().filter(|_| *why == NoAnswer::Closed);
        self.trouble(&format!("its watch has ended: {why}"))
    }

    fn question(&self) -> Json {
        match &self.followed {
            Followed::Below(prefix) => ask_range(prefix.as_bytes(), KEYS_MAX),
            Followed::Key(key) => super::talk::ask_key(key.as_bytes()),
        }
    }

    /// Reads all keys.
    async fn read(&mut self) -> Result<(), Trouble> {
        let Range { cluster, revision, pairs, count } = self.range(&self.question()).await?;
        if count > KEYS_MAX {
            let why = format!("{} holds {count} keys; {KEYS_MAX} is the most", self.followed);
            return Err(self.trouble(&why));
        }
        let pairs = pairs.into_iter().map(|pair| (pair.key, (pair.value, pair.revision)));
        self.held = Some(Held { cluster, revision, keys: pairs.collect() });
        self.lines = None;
        Ok(())
    }

    async fn range(&mut self, question: &Json) -> Result<Range, Trouble> {
        let reply = self.ask("/v3/kv/range", question).await?;
        let range = reply.text().map_err(str::to_owned).and_then(read_range);
        range.map_err(|why| self.trouble(&why))
    }

    /// Begins to watch.
    async fn listen(&mut self, from: u64) -> Result<Lines, Trouble> {
        let body = ask_watch(&self.question(), from).to_string();
        let token = self.known_token().await?;
        let fields = fields(token.as_deref());
        let body = body.as_bytes();
        let question = Question { method: "POST", path: "/v3/watch", fields: &fields, body };
        let begun = self.caller.listen(&question, ANSWER_MOST).await;
        let (status, mut lines) = begun.map_err(|why| other(why.to_string()))?;
        if status == 200 {
            return Ok(lines);
        }
        let bounds = Bounds { bytes_max: LINE_BYTES_MAX, most: ANSWER_MOST };
        let line = lines.next(bounds).await.ok().flatten().unwrap_or_default();
        Err(self.refused(read_refusal(status, &String::from_utf8_lossy(&line))))
    }

    /// Takes in what a watch tells.
    fn hear(&mut self, line: &[u8]) -> Result<Look, Trouble> {
        let line = std::str::from_utf8(line).map_err(|_| self.trouble("its answer is no text"))?;
        let Told { cluster, revision, events, end } = match read_told(line) {
            Ok(told) => told,
            Err(why) => return Err(self.trouble(&why)),
        };
        match end {
            Some(End::Compacted) => {
                // What was to be told is forgotten there; everything is read anew.
                self.held = None;
                return Ok(Look::Nothing);
            }
            Some(End::Refused(refusal)) => return Err(self.refused(refusal)),
            None => {}
        }
        let Some(held) = &mut self.held else { return Ok(Look::Nothing) };
        if cluster != held.cluster || revision < held.revision {
            // Another cluster, or one that was put back to an older state: revisions mean
            // something else there.
            self.held = None;
            return Ok(Look::Nothing);
        }
        if events.is_empty() {
            return Ok(Look::News(News::Alive));
        }
        for event in events {
            // The head's revision may be ahead of what was told.
            let of = match event {
                Event::Put(Pair { key, value, revision }) => {
                    held.keys.insert(key, (value, revision));
                    revision
                }
                Event::Deleted(key, revision) => {
                    held.keys.remove(&key);
                    revision
                }
            };
            held.revision = held.revision.max(of);
        }
        if held.keys.len() as u64 > KEYS_MAX {
            // Reading them anew says how many there are.
            self.held = None;
            return Ok(Look::Nothing);
        }
        Ok(Look::News(News::Changed))
    }

    /// Asks whether a watch that says nothing has missed anything.
    async fn look_closer(&mut self) -> Result<Look, Trouble> {
        let question = match &self.followed {
            Followed::Below(prefix) => ask_newest(prefix.as_bytes()),
            Followed::Key(_) => self.question(),
        };
        let watched = self.caller.url().to_owned();
        let range = self.range(&question).await?;
        if self.caller.url() != watched {
            // Who was to tell is silent; somebody else answers.
            self.lines = None;
        }
        let newest = range.pairs.iter().map(|pair| pair.revision).max().unwrap_or(0);
        let behind = |held: &Held| {
            held.cluster != range.cluster
                || held.revision < newest
                || held.keys.len() as u64 != range.count
        };
        if !self.held.as_ref().is_some_and(behind) {
            return Ok(Look::News(News::Alive));
        }
        // It may have come while that was asked.
        let bounds = Bounds { bytes_max: LINE_BYTES_MAX, most: LATE_MAX };
        if let Some(lines) = &mut self.lines
            && let Ok(Some(line)) = lines.next(bounds).await
        {
            return self.hear(&line);
        }
        self.held = None;
        Ok(Look::Nothing)
    }

    /// Asks, as whoever this is, with a new token where the old one is good no more.
    pub async fn ask(&mut self, path: &str, question: &Json) -> Result<Reply, Trouble> {
        for may_renew in [true, false] {
            let token = self.known_token().await?;
            let reply = self.post(path, question, token.as_deref()).await?;
            if reply.head.status == 200 {
                return Ok(reply);
            }
            let text = String::from_utf8_lossy(&reply.body);
            let refusal = read_refusal(reply.head.status, &text);
            if refusal.about != About::Token || self.token.take().is_none() || !may_renew {
                return Err(self.refused(refusal));
            }
        }
        Err(self.trouble("it takes no token that it gives"))
    }

    /// The token, asked for where there is none yet.
    async fn known_token(&mut self) -> Result<Option<String>, Trouble> {
        if let (None, Some(login)) = (&self.token, &self.login) {
            let login = login.clone();
            self.token = self.authenticate(&login).await?;
        }
        Ok(self.token.clone())
    }

    /// A token; none where nobody has to say who he is.
    async fn authenticate(&mut self, login: &Login) -> Result<Option<String>, Trouble> {
        let password = login.password.reveal().map_err(other)?;
        let question = ask_token(&login.user, &password);
        let reply = self.post("/v3/auth/authenticate", &question, None).await?;
        let text = String::from_utf8_lossy(&reply.body);
        if reply.head.status != 200 {
            let refusal = read_refusal(reply.head.status, &text);
            return match refusal.about {
                About::NoAuthentication => Ok(None),
                _ => Err(self.refused(refusal)),
            };
        }
        read_token(&text).map(Some).map_err(|why| self.trouble(&why))
    }

    async fn post(
        &mut self,
        path: &str,
        question: &Json,
        token: Option<&str>,
    ) -> Result<Reply, Trouble> {
        let body = question.to_string();
        let fields = fields(token);
        let question = Question { method: "POST", path, fields: &fields, body: body.as_bytes() };
        let bounds = Bounds { bytes_max: ANSWER_BYTES_MAX, most: ANSWER_MOST };
        let asked = self.caller.ask(&question, bounds).await;
        asked.map_err(|why| other(why.to_string()))
    }

    /// A refusal in words that say what to do.
    fn refused(&mut self, Refusal { about, why }: Refusal) -> Trouble {
        let url = self.caller.url();
        let why = match (about, &self.login) {
            (About::Credentials, None) => {
                format!("{url}: {why}: it asks who this is; set user and password")
            }
            (About::Credentials, Some(login)) => {
                format!("{url}: user {}: {why}: see to user and password", login.user)
            }
            (About::Permission, Some(login)) => format!(
                "{url}: user {} may not do this with {}: {why}: grant it a role that may",
                login.user, self.followed
            ),
            (About::Token, _) => {
                self.token = None;
                format!("{url}: {why}")
            }
            _ => format!("{url}: {why}"),
        };
        Trouble { about, why }
    }

    pub(super) fn trouble(&self, why: &str) -> Trouble {
        other(format!("{}: {why}", self.caller.url()))
    }
}

fn other(why: String) -> Trouble {
    Trouble { about: About::Other, why }
}

fn fields(token: Option<&str>) -> Vec<(&'static str, &str)> {
    let kind = ("Content-Type", "application/json");
    [Some(kind), token.map(|token| ("Authorization", token))].into_iter().flatten().collect()
}

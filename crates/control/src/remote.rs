//! A configuration that stands in a registry: `run -c etcd://HOST:PORT/KEY`. It is fetched at the
//! start and followed from then on; a change is read and judged like that of a file. A registry
//! that is away changes nothing, and does not stop a start where the last good one is kept.

mod kept;
pub(crate) mod zookeeper;

use crate::client::{in_time, pause};
use crate::config::{
    Env, EtcdSpec, Loaded, Login, NodeUrl, ProcessEnv, RegistryTls, Secret, Verdict, load_found,
    registry_server, state_folder,
};
use crate::discovery::etcd::{About, Followed, News, Put, Trouble, Watch, put};
use crate::steer::orders::{Cause, Mailbox, Order};
use crate::steer::watch::{LastRead, WatchedRead, fingerprint};
use gatehouse_proxy::gate::block_on;
use kept::Kept;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a start waits for the registry.
const FETCH_MOST: Duration = Duration::from_secs(10);

/// How long it is left alone after it did not answer, and after it refused.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_REFUSED: Duration = Duration::from_secs(10);

/// The largest configuration.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A configuration in a registry, by its URL.
#[derive(Clone, Debug)]
pub struct Remote {
    name: Arc<str>,
    place: Result<Place, String>,
    newest: Arc<Mutex<Option<Standing>>>,
    kept: Option<Arc<Kept>>,
}

/// Which registry, and where in it.
#[derive(Clone, Debug)]
enum Place {
    Etcd(EtcdSpec, Box<str>),
    ZooKeeper(NodeUrl),
}

/// Why a text does not stand there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPut {
    /// What was asked for is wrong: another version stands there, or nobody may write.
    Asked(String),
    /// The registry cannot be asked.
    World(String),
}

/// What stands there: the text and its version, or why there is none.
type Standing = Result<(String, u64), String>;

impl Remote {
    /// What this path means, where it is a URL of a registry's.
    pub fn of(path: &Path, env: &dyn Env) -> Option<Remote> {
        let name = path.to_str()?;
        let place = match name.split_once("://")? {
            (scheme @ ("etcd" | "etcds"), rest) => etcd(scheme, rest, env),
            ("zk" | "zks", _) => NodeUrl::parse(name, env).map(Place::ZooKeeper),
            _ => return None,
        };
        Some(Remote { name: shown(name).into(), place, newest: Arc::default(), kept: None })
    }

    /// Keeps the newest good one in the service's state folder, where it has one, for a start while
    /// the registry is away.
    pub fn keeping(self, env: &dyn Env) -> Remote {
        let folder = state_folder(env).map(|state| Path::new(&state).join("configuration"));
        Remote { kept: folder.map(|folder| Arc::new(Kept::new(folder))), ..self }
    }

    /// The configuration: the newest that is known. Where none is, and none can be fetched, it is
    /// the last good one that was kept.
    pub fn load(&self) -> Loaded {
        let why = match self.newest() {
            Ok((text, _)) => {
                let loaded = load_found(&self.name, Ok(&text), &ProcessEnv);
                if let (Verdict::Fine, Some(kept)) = (loaded.verdict(), &self.kept) {
                    kept.put(&self.name, &text);
                }
                return loaded;
            }
            Err(why) => why,
        };
        let kept = self.kept.as_ref().filter(|_| self.lock().is_none());
        let Some((kept, text)) = kept.and_then(|kept| Some((kept, kept.get(&self.name)?))) else {
            return load_found(&self.name, Err(&why), &ProcessEnv);
        };
        eprintln!(
            "warn: {}: {why}; the last good configuration is used until there is one: it stands \
             in {}",
            self.name,
            kept.path().display()
        );
        load_found(&self.name, Ok(&text), &ProcessEnv)
    }

    /// What stands there as far as is known; it is fetched where nothing is.
    fn newest(&self) -> Standing {
        if let Some(known) = &*self.lock() {
            return known.clone();
        }
        let fetched = fetched(self.place.as_ref().map_err(String::clone)?.fetch());
        if fetched.is_ok() {
            *self.lock() = Some(fetched.clone());
        }
        fetched
    }

    /// Puts a text there, where what stands there is of this version (0 is nothing), or else of
    /// whichever stands there now. Gives the new version.
    ///
    /// # Errors
    /// Why it does not stand there now.
    pub fn put(&self, text: &str, version: Option<u64>) -> Result<u64, NotPut> {
        let place = self.place.clone().map_err(NotPut::Asked)?;
        let put = fetched(async { Ok(place.put(text, version).await) });
        put.unwrap_or_else(|why| Err(NotPut::World(why)))
    }

    /// Keeps the newest, and asks for a reload where it is another than was last read, until the
    /// other ends of `last_read` are gone. On a thread of its own.
    pub(crate) fn follow(&self, mailbox: Mailbox, last_read: &LastRead) {
        let Ok(place) = self.place.clone() else { return };
        let (own, last_read) = (self.clone(), last_read.watched());
        let work = move || {
            let following = async move {
                let mut following = Following { own, mailbox, complained: String::new() };
                match place {
                    Place::Etcd(etcd, key) => following.etcd(&etcd, key, &last_read).await,
                    Place::ZooKeeper(url) => following.zookeeper(&url, &last_read).await,
                }
            };
            if let Err(error) = block_on(following) {
                eprintln!("error: the configuration is not followed any more: {error}");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("remote".to_owned()).spawn(work) {
            eprintln!("warn: the configuration is not followed: no thread: {error}");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Standing>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A URL without what stands where a user and a password would.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let hosts = rest.split('/').next().unwrap_or_default();
    match hosts.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://***{}", &rest[user.len()..]),
        None => url.to_owned(),
    }
}

impl Place {
    async fn fetch(&self) -> Standing {
        match self {
            Place::Etcd(etcd, key) => {
                let mut watch = Watch::new(etcd, Followed::Key(key.clone()), 0);
                watch.next().await.map_err(|trouble| trouble.to_string())?;
                standing(&watch)
            }
            Place::ZooKeeper(url) => zookeeper::fetch(url).await,
        }
    }

    async fn put(&self, text: &str, version: Option<u64>) -> Result<u64, NotPut> {
        match self {
            Place::Etcd(etcd, key) => put_key(etcd, key, text, version).await,
            Place::ZooKeeper(url) => zookeeper::put(url, text, version).await,
        }
    }
}

async fn put_key(
    etcd: &EtcdSpec,
    key: &str,
    text: &str,
    version: Option<u64>,
) -> Result<u64, NotPut> {
    let mut watch = Watch::new(etcd, Followed::Key(key.into()), 0);
    let away = |trouble: Trouble| NotPut::World(trouble.to_string());
    watch.next().await.map_err(away)?;
    // Whatever stands there: what is no configuration can be replaced as well.
    let now = watch.keys().and_then(|keys| keys.values().next()).map_or(0, |(_, version)| *version);
    let wanted = version.unwrap_or(now);
    match put(&mut watch, key, text, wanted).await.map_err(away)? {
        Put::Done(version) => Ok(version),
        Put::Changed => Err(NotPut::Asked(format!(
            "version {wanted} does not stand there any more: {now} does, or a newer one; see \
             what has changed, and push again"
        ))),
    }
}

/// What stands at the one key that is followed.
fn standing(watch: &Watch) -> Standing {
    let keys = watch.keys().ok_or("it is not known yet")?;
    let (value, version) = keys.values().next().ok_or("there is no such key")?;
    if value.len() > TEXT_BYTES_MAX {
        return Err(format!("it has {} bytes; {TEXT_BYTES_MAX} is the most", value.len()));
    }
    let text = String::from_utf8(value.clone()).map_err(|_| "it is not UTF-8")?;
    Ok((text, *version))
}

/// Who follows, and what it said last.
struct Following {
    own: Remote,
    mailbox: Mailbox,
    complained: String,
}

impl Following {
    async fn etcd(&mut self, etcd: &EtcdSpec, key: Box<str>, last_read: &WatchedRead) {
        let mut watch = Watch::new(etcd, Followed::Key(key), 0);
        loop {
            let next = watch.next().await;
            let Some(last_read) = last_read.upgrade() else { return };
            match next {
                Ok(news) => self.take(news, standing(&watch), &last_read),
                Err(trouble) => {
                    self.complain(trouble.to_string());
                    drop(last_read);
                    pause(match trouble.about {
                        About::Other | About::Token => AGAIN,
                        _ => AGAIN_REFUSED,
                    })
                    .await;
                }
            }
        }
    }

    async fn zookeeper(&mut self, url: &NodeUrl, last_read: &WatchedRead) {
        let mut follow = zookeeper::Follow::new(url);
        loop {
            let next = follow.next().await;
            let Some(last_read) = last_read.upgrade() else { return };
            match next {
                Ok(standing) => self.take(News::Changed, standing, &last_read),
                Err(why) => self.complain(why),
            }
        }
    }

    fn take(&mut self, news: News, standing: Standing, last_read: &LastRead) {
        if !std::mem::take(&mut self.complained).is_empty() {
            eprintln!("{}: answers again", self.own.name);
        }
        if news == News::Changed {
            *self.own.lock() = Some(standing);
        }
        // Where a reload could not be made when it was asked for, it is asked for again.
        if fingerprint(&self.own.load()) != last_read.fingerprint() {
            drop(self.mailbox.post(Order::Reload(Cause::Registry)));
        }
    }

    fn complain(&mut self, why: String) {
        if self.complained.is_empty() {
            eprintln!("warn: {}: {why}; the configuration in force stays", self.own.name);
        }
        self.complained = why;
    }
}

/// `HOST:PORT,HOST:PORT/KEY`; who asks, and whom is believed, is in the environment, where no list
/// of processes shows it.
fn etcd(scheme: &str, rest: &str, env: &dyn Env) -> Result<Place, String> {
    let (hosts, key) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    if key.len() < 2 {
        return Err(format!("no key: write {scheme}://HOST:2379/KEY"));
    }
    let http = if scheme == "etcds" { "https" } else { "http" };
    let servers = hosts.split(',').map(|host| {
        let port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        registry_server(&format!("{http}://{host}{}", if port { "" } else { ":2379" }))
    });
    let servers = servers.collect::<Result<_, _>>()?;
    let var = |name: &str| env.var(&format!("GATEHOUSE_ETCD_{name}"));
    let password = var("PASSWORD").map(|text| Secret::Text(text.into()));
    let password = password.or_else(|| var("PASSWORD_FILE").map(|path| Secret::File(path.into())));
    let login = match (var("USER"), password) {
        (Some(user), Some(password)) => Some(Login { user: user.into(), password }),
        (None, None) => None,
        _ => {
            return Err("GATEHOUSE_ETCD_USER goes with GATEHOUSE_ETCD_PASSWORD, or with \
                        GATEHOUSE_ETCD_PASSWORD_FILE"
                .to_owned());
        }
    };
    let tls = RegistryTls::of_environment("GATEHOUSE_ETCD", env)?;
    Ok(Place::Etcd(EtcdSpec { servers, login, tls }, key.into()))
}

/// What `work` comes to, from where nothing else is done; it may wait for so long.
fn fetched<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || Err(format!("no answer within {} s", FETCH_MOST.as_secs()));
    let done = block_on(async { in_time(FETCH_MOST, work).await.unwrap_or_else(late) });
    done.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str, env: &dyn Env) -> Option<Result<Place, String>> {
        Remote::of(Path::new(url), env).map(|remote| remote.place)
    }

    #[test]
    fn a_url_names_servers_and_a_key() {
        let found = place("etcd://10.0.0.1:2379,b,[::1]:7/gateway/config", &[]);
        let Some(Ok(Place::Etcd(etcd, key))) = found else { panic!("{found:?}") };
        let urls: Vec<&str> = etcd.servers.iter().map(|server| &*server.url).collect();
        assert_eq!(urls, ["http://10.0.0.1:2379", "http://b:2379", "http://[::1]:7"]);
        assert_eq!((&*key, etcd.login), ("/gateway/config", None));
        let env = [("GATEHOUSE_ETCD_USER", "u"), ("GATEHOUSE_ETCD_PASSWORD_FILE", "p")];
        let Some(Ok(Place::Etcd(etcd, _))) = place("etcds://b/k", &env) else { panic!() };
        assert_eq!(etcd.servers[0].tls.as_deref(), Some("b"));
        assert_eq!(etcd.login.map(|login| login.password), Some(Secret::File("p".into())));
    }

    #[test]
    fn a_url_that_is_wrong_says_why_and_a_path_is_none() {
        for (url, said) in [
            ("etcd://b:2379", "no key"),
            ("etcd://b:2379/", "no key"),
            ("etcd:///k", "without a host"),
            ("etcd://u:p@b/k", "no user and password"),
        ] {
            let why = place(url, &[]).expect("a URL").expect_err(url);
            assert!(why.contains(said), "{url}: {why}");
        }
        let half = [("GATEHOUSE_ETCD_USER", "u")];
        assert!(place("etcd://b/k", &half).expect("a URL").is_err());
        assert!(place("gatehouse.toml", &[]).is_none());
        assert!(place("http://b/k", &[]).is_none());
    }
}

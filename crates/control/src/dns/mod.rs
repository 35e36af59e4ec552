//! Names, resolved by the gateway itself: a small stub resolver (RFC 1034 section 5.3.1) that
//! knows how long an answer holds. The C library's is never asked: it blocks, tells no times, and
//! does not exist where the binary is linked statically.
//!
//! Never here: a cache. Whoever asks keeps what was answered, and asks again when its time is up.

mod client;
mod message;
mod places;
mod system;

pub(crate) use message::{Kind, Nobody, Record, Server};
pub(crate) use system::{PORT, Settings};

use client::{Answer, ask};
use gatehouse_proxy::gate::block_on;
use std::fs;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Answers hold at least so long: whatever a server says, it is not asked all the time.
const TTL_MIN: Duration = Duration::from_secs(1);

/// Answers hold at most so long: whatever a server says, a change is seen within the hour.
const TTL_MAX: Duration = Duration::from_secs(3_600);

/// That there is nothing holds at most so long.
const NOTHING_MAX: Duration = Duration::from_secs(60);

/// That there is nothing holds so long where nobody says.
const NOTHING_USUAL: Duration = Duration::from_secs(10);

/// How long what stands in the hosts file holds.
const HOSTS_HOLD: Duration = Duration::from_secs(10);

/// Addresses that one name may have; those behind are left out.
const ADDRESSES_MAX: usize = 1_024;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// What this machine's files say, which are read each time.
    System,
    /// These servers, whatever this machine's files say.
    Servers(Vec<SocketAddr>),
}

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Both,
}

/// What a look-up has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found<T> {
    /// What there is, in an order that does not change by itself.
    pub list: Vec<T>,
    /// How long it holds.
    pub ttl: Duration,
    /// What could not be found out: these of before may still be there.
    pub unknown: Option<Unknown>,
    /// Where the list is empty, how.
    pub nobody: Option<Nobody>,
}

/// Addresses that nobody has told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// Of this kind.
    pub kind: Kind,
    pub why: String,
}

impl Names {
    fn settings(&self) -> Settings {
        match self {
            Names::System => {
                Settings::parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
            }
            Names::Servers(servers) => Settings::of(servers.clone()),
        }
    }

    fn hosts(&self, name: &str) -> Vec<IpAddr> {
        match self {
            Names::System => {
                system::hosts(&fs::read_to_string("/etc/hosts").unwrap_or_default(), name)
            }
            Names::Servers(_) => Vec::new(),
        }
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// Why it could not be found out: that is not the same as that there are none.
    pub async fn addresses(&self, name: &str, families: Families) -> Result<Found<IpAddr>, String> {
        let wanted = |ip: &IpAddr| match families {
            Families::V4 => ip.is_ipv4(),
            Families::V6 => ip.is_ipv6(),
            Families::Both => true,
        };
        let mut list = self.hosts(name);
        list.retain(wanted);
        if !list.is_empty() {
            list.sort_unstable();
            return Ok(Found { list, ttl: HOSTS_HOLD, unknown: None, nobody: None });
        }
        let settings = self.settings();
        let mut last = Err(format!("{name:?} cannot be a name"));
        for candidate in settings.candidates(name) {
            let found = addresses_of(&settings, &candidate, families).await?;
            let ends = !found.list.is_empty();
            last = Ok(found);
            if ends {
                break;
            }
        }
        last
    }

    /// The servers of a service.
    ///
    /// # Errors
    /// As for [`Names::addresses`].
    pub async fn servers(&self, name: &str) -> Result<Found<Server>, String> {
        let settings = self.settings();
        let mut last = Err(format!("{name:?} cannot be a name"));
        for candidate in settings.candidates(name) {
            let found = records(ask(&settings, &candidate, Kind::Srv).await?);
            let (ttl, nobody) = (found.ttl, found.nobody);
            let servers = found.list.into_iter().filter_map(|record| match record {
                Record::Server(server) => Some(server),
                Record::Address(_) => None,
            });
            let list: Vec<Server> = servers.collect();
            let ends = !list.is_empty();
            last = Ok(Found { list, ttl, unknown: None, nobody });
            if ends {
                break;
            }
        }
        last
    }
}

async fn addresses_of(
    settings: &Settings,
    name: &str,
    families: Families,
) -> Result<Found<IpAddr>, String> {
    let (v4, v6) = both(
        async {
            match families {
                Families::V6 => None,
                Families::V4 | Families::Both => Some(ask(settings, name, Kind::A).await),
            }
        },
        async {
            match families {
                Families::V4 => None,
                Families::V6 | Families::Both => Some(ask(settings, name, Kind::Aaaa).await),
            }
        },
    )
    .await;
    let (v4, v6) = match (v4, v6) {
        (Some(Err(why)), None | Some(Err(_))) | (None, Some(Err(why))) => return Err(why),
        all => all,
    };
    let (mut list, mut holds, mut unknown) = (Vec::new(), Vec::new(), None);
    let (mut nobody, mut nothing_holds) = (None, NOTHING_USUAL);
    for (kind, answer) in [(Kind::A, v4), (Kind::Aaaa, v6)] {
        match answer {
            None => {}
            Some(Err(why)) => unknown = Some(Unknown { kind, why }),
            Some(Ok(answer)) => {
                let found = records(answer);
                if found.list.is_empty() {
                    nobody = Some(found.nobody.unwrap_or(Nobody::Record));
                    nothing_holds = found.ttl;
                } else {
                    holds.push(found.ttl);
                }
                list.extend(found.list.into_iter().filter_map(|record| match record {
                    Record::Address(ip) => Some(ip),
                    Record::Server(_) => None,
                }));
            }
        }
    }
    // That there is none of the other kind says nothing of whether the name is there.
    if let (true, Some(Unknown { why, .. })) = (list.is_empty(), &unknown) {
        return Err(why.clone());
    }
    list.sort_unstable();
    let ttl = holds.into_iter().min().unwrap_or(nothing_holds);
    let nobody = nobody.filter(|_| list.is_empty());
    Ok(Found { list, ttl, unknown, nobody })
}

/// An answer, bounded, in an order that does not change by itself: servers turn theirs round.
fn records(answer: Answer) -> Found<Record> {
    match answer {
        Answer::Records { mut records, ttl } => {
            records.sort_unstable();
            records.dedup();
            records.truncate(ADDRESSES_MAX);
            let ttl = ttl.clamp(TTL_MIN, TTL_MAX);
            Found { list: records, ttl, unknown: None, nobody: None }
        }
        Answer::Nothing { nobody, ttl } => {
            let ttl = ttl.unwrap_or(NOTHING_USUAL).clamp(TTL_MIN, NOTHING_MAX);
            Found { list: Vec::new(), ttl, unknown: None, nobody: Some(nobody) }
        }
    }
}

/// What both come to.
async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(cx)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = other.as_mut().poll(cx)
        {
            second = Some(done);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

impl Nobody {
    /// In words for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Nobody::Name => "there is no such name (NXDOMAIN)",
            Nobody::Record => "the name has no such record",
        }
    }
}

/// The addresses of a server by this machine's own configuration: those of a name, or the one that
/// is written. At least one.
///
/// # Errors
/// Why there is none, without the name.
pub(crate) async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = Names::System.addresses(host, Families::Both).await?;
    if found.list.is_empty() {
        return Err(found.nobody.map_or("the name has no address", Nobody::words).to_owned());
    }
    Ok(found.list.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// The same for whoever has nothing else to do meanwhile.
///
/// # Errors
/// As for `look_up`.
pub fn look_up_now(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    block_on(look_up(host, port)).map_err(|error| error.to_string())?
}

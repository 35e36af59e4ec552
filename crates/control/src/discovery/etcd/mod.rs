//! etcd v3: endpoints are the keys below a prefix, `ip:port` each, and what they hold says more of
//! them. Over its JSON gateway, which it has had since 3.4.

mod talk;
mod watch;

use super::content::endpoint;
use super::failures::Failures;
use super::found::{Problem, Set};
use super::reports::Reports;
use crate::caller::pace;
use crate::config::EtcdSource;
use gatehouse_core::chance::Chance;
use gatehouse_wire::timer::now;
use std::time::Duration;
pub(crate) use talk::About;
use talk::{ask_put, read_put};
use watch::Keys;
pub(crate) use watch::Trouble;
pub(crate) use watch::{Followed, News, Watch};

/// Between two sets, however fast keys change.
const SPACING: Duration = Duration::from_millis(100);

/// Follows the keys below a prefix.
pub(super) async fn follow(source: EtcdSource, reports: Reports, mut chance: Chance) {
    let servers = u32::try_from(source.etcd.servers.len()).unwrap_or(u32::MAX);
    let first = chance.below(servers.max(1)) as usize;
    let mut watch = Watch::new(&source.etcd, Followed::Below(source.prefix.clone()), first);
    let mut failures = Failures::new(chance);
    loop {
        match watch.next().await {
            Ok(News::Changed) => {
                let begun = now();
                // Where it is to be read anew, the last that is known stays.
                if let Some(keys) = watch.keys() {
                    reports.found(set(&source.prefix, keys));
                }
                pace(SPACING, now().since(begun)).await;
            }
            Ok(News::Alive) => reports.still(),
            Err(trouble) => {
                reports.failed(trouble.to_string());
                match trouble.about {
                    // A server that is back is found again soon; who is refused asks seldom.
                    About::Other | About::Token => failures.wait_a_little().await,
                    About::Credentials | About::Permission | About::NoAuthentication => {
                        failures.wait().await;
                    }
                }
            }
        }
    }
}

/// What came of putting a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It stands there, as of this revision.
    Done(u64),
    /// Something else stands there than was expected.
    Changed,
}

/// Puts a value where a key was last written in `revision`; 0 is where it is not there.
pub(crate) async fn put(
    watch: &mut Watch,
    key: &str,
    value: &str,
    revision: u64,
) -> Result<Put, Trouble> {
    let question = ask_put(key.as_bytes(), value.as_bytes(), revision);
    let reply = watch.ask("/v3/kv/txn", &question).await?;
    let read = reply.text().map_err(str::to_owned).and_then(read_put);
    let done = read.map_err(|why| watch.trouble(&why))?;
    Ok(done.map_or(Put::Changed, Put::Done))
}

/// The endpoints that some keys are.
fn set(prefix: &str, keys: &Keys) -> Set {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (key, (value, _)) in keys {
        let shown = String::from_utf8_lossy(key);
        let name = shown.strip_prefix(prefix).unwrap_or(&shown);
        match endpoint(name, value) {
            Ok(one) => found.push(one),
            Err(why) => problems.push(Problem { at: shown.escape_debug().to_string(), why }),
        }
    }
    if keys.is_empty() {
        problems.push(Problem { at: prefix.to_owned(), why: "no key begins like this".to_owned() });
    }
    Set::new(found, problems)
}

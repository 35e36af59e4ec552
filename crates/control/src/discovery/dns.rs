//! Endpoints from DNS: the addresses of a name, or the servers of a service (SRV, RFC 2782). Asked
//! again when an answer's time is up.

use super::eyeballs::Remembered;
use super::found::{Found, Problem, Set};
use super::reports::Reports;
use super::source::retry_wait;
use crate::config::{DnsAsks, DnsFamily, DnsSource};
use crate::dns::{self, Families, Names, Server};
use gatehouse_core::address::Address;
use gatehouse_core::chance::Chance;
use gatehouse_wire::timer::sleep;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Targets of one service; those behind are left out and reported.
const TARGETS_MAX: usize = 256;

/// Follows a name.
pub(super) async fn follow(source: DnsSource, reports: Reports, mut chance: Chance) {
    let mut failures = 0;
    let mut lookup = Lookup::new(&source);
    loop {
        let wait = match lookup.once(&source).await {
            Ok((set, ttl)) => {
                failures = 0;
                reports.found(set);
                ttl
            }
            Err(why) => {
                failures += 1;
                reports.failed(why);
                retry_wait(failures, &mut chance)
            }
        };
        sleep(wait).await;
    }
}

/// What is remembered from one look-up to the next.
struct Lookup {
    names: Names,
    /// The last addresses of each name: some of them may be unknown the next time.
    hosts: HashMap<String, Remembered>,
}

impl Lookup {
    fn new(source: &DnsSource) -> Lookup {
        let names = match source.servers.is_empty() {
            true => Names::System,
            false => Names::Servers(source.servers.clone()),
        };
        Lookup { names, hosts: HashMap::new() }
    }

    /// Everybody who is there, and how long that holds.
    async fn once(&mut self, source: &DnsSource) -> Result<(Set, Duration), String> {
        match source.asks {
            DnsAsks::Addresses { port } => self.addresses(source, port).await,
            DnsAsks::Service => self.service(source).await,
        }
    }

    async fn addresses(
        &mut self,
        source: &DnsSource,
        port: u16,
    ) -> Result<(Set, Duration), String> {
        let (ips, ttl, problem) = self.host(&source.name, source.family, port).await?;
        // A dot at the end says where to look; it is no part of who answers.
        let host: Arc<str> = source.name.trim_end_matches('.').into();
        let found = ips.into_iter().map(|ip| Found {
            host: Some(Arc::clone(&host)),
            ..Found::at(Address::Ip(SocketAddr::new(ip, port)))
        });
        Ok((Set::new(found.collect(), problem.into_iter().collect()), ttl))
    }

    async fn service(&mut self, source: &DnsSource) -> Result<(Set, Duration), String> {
        let found = self.names.servers(&source.name).await?;
        let mut problems: Vec<Problem> = Vec::new();
        let mut note = |at: &str, why: String| problems.push(Problem { at: at.to_owned(), why });
        if let Some(nobody) = found.nobody {
            note(&source.name, nobody.words().to_owned());
        }
        let (mut endpoints, mut ttl) = (Vec::new(), found.ttl);
        let first = found.list.iter().map(|server| server.priority).min().unwrap_or(0);
        for (at, server) in found.list.iter().enumerate() {
            let Server { priority, weight, port, target } = server;
            if target.is_empty() {
                note(&source.name, "the service is decidedly not available".to_owned());
                continue;
            }
            if at >= TARGETS_MAX {
                note(target, format!("{TARGETS_MAX} targets is the most; it is left out"));
                continue;
            }
            match self.host(target, source.family, *port).await {
                Ok((ips, holds, problem)) => {
                    ttl = ttl.min(holds);
                    problem.into_iter().for_each(|problem| note(&problem.at, problem.why));
                    endpoints.extend(ips.into_iter().map(|ip| Found {
                        host: Some(target.as_str().into()),
                        // RFC 2782: 0 is a very small share of what others get.
                        weight: (*weight).max(1),
                        backup: *priority > first,
                        ..Found::at(Address::Ip(SocketAddr::new(ip, *port)))
                    }));
                }
                Err(why) => return Err(format!("{target}: {why}")),
            }
        }
        let targets: Vec<&String> = found.list.iter().map(|server| &server.target).collect();
        self.hosts.retain(|name, _| targets.contains(&name));
        Ok((Set::new(endpoints, problems), ttl))
    }

    /// The addresses of a name that are used, how long that holds, and what is wrong with it.
    async fn host(
        &mut self,
        name: &str,
        family: DnsFamily,
        port: u16,
    ) -> Result<(Vec<IpAddr>, Duration, Option<Problem>), String> {
        let families = match family {
            DnsFamily::V4 => Families::V4,
            DnsFamily::V6 => Families::V6,
            DnsFamily::Auto | DnsFamily::Both => Families::Both,
        };
        let found = self.names.addresses(name, families).await?;
        let dns::Found { list, ttl, unknown, nobody } = found;
        let known = self.hosts.entry(name.to_owned()).or_default();
        let list = known.completed(list, unknown.as_ref());
        let why = nobody.map(|nobody| nobody.words().to_owned());
        let why = why.or_else(|| unknown.map(|unknown| unknown.why));
        let problem = why.map(|why| Problem { at: name.to_owned(), why });
        if family != DnsFamily::Auto {
            known.take_all(&list);
            return Ok((list, ttl, problem));
        }
        Ok((known.choose(list, port).await, ttl, problem))
    }
}

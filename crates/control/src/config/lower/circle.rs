//! Endpoints that are listeners of the gateway's own: what is sent to one comes in again, and goes
//! round for as long as its routes lead back there.

use super::super::problem::{Kind, Problem};
use super::super::source::Place;
use super::Lower;
use super::listener::{Bound, covers};
use gatehouse_core::plan::{Action, Address, Bind, ListenerId, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An endpoint that is a listener of the gateway's own.
#[derive(Debug)]
pub(super) struct OwnListener {
    upstream: usize,
    /// Its place among those that were bound.
    listener: usize,
    place: Place,
}

impl Lower<'_> {
    /// Remembers an endpoint of the upstream that is being lowered, where it is a listener of the
    /// gateway's own.
    pub(super) fn note_own_listener(&mut self, address: &Address, place: Place) {
        let upstream = self.upstream_plans.len();
        if let Some(listener) = self.bound.iter().position(|bound| takes(&bound.bind, address)) {
            self.own_listeners.push(OwnListener { upstream, listener, place });
        }
    }

    /// Warns of endpoints whose requests would come to them again. To send to a listener of one's
    /// own is no fault where its routes lead elsewhere.
    pub(super) fn circles(&mut self) {
        if self.report.errors() > 0 || self.own_listeners.is_empty() {
            return;
        }
        let mut next: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for own in &self.own_listeners {
            next.entry(own.upstream).or_default().push(own.listener);
        }
        let listeners: BTreeSet<usize> =
            self.own_listeners.iter().map(|own| own.listener).collect();
        let reached: BTreeMap<usize, BTreeSet<usize>> =
            listeners.into_iter().map(|from| (from, self.reached(from, &next))).collect();
        for OwnListener { upstream, listener, place } in &self.own_listeners {
            if !reached[listener].contains(upstream) {
                continue;
            }
            let Bound { place: bound, listener, .. } = &self.bound[*listener];
            let reason = format!(
                "this endpoint is listener {listener} of the gateway's own, whose routes lead back \
                 here: what comes would go in a circle"
            );
            let hint = "write the address of who is to answer, or give the listener another port";
            let problem = Problem::warning(Kind::Circle, *place, reason);
            self.report.add(problem.related(*bound, "it listens here").hint(hint));
        }
    }

    /// The upstreams that what comes in by a listener can be sent to, through further listeners
    /// too. `next` says which of those an upstream's endpoints are.
    fn reached(&self, from: usize, next: &BTreeMap<usize, Vec<usize>>) -> BTreeSet<usize> {
        let (mut upstreams, mut seen) = (BTreeSet::new(), BTreeSet::from([from]));
        let mut left = vec![from];
        while let Some(listener) = left.pop() {
            let id = ListenerId(u8::try_from(listener).unwrap_or(u8::MAX));
            let own = self.rules.iter().zip(&self.route_plans);
            for (_, route) in own.filter(|(rule, _)| rule.listeners.contains(id)) {
                upstreams.extend(targets(&route.action));
            }
            let further = upstreams.iter().filter_map(|upstream| next.get(upstream)).flatten();
            left.extend(further.filter(|listener| seen.insert(**listener)));
        }
        upstreams
    }
}

/// The upstreams that an action sends to.
fn targets(action: &Action) -> Vec<usize> {
    match action {
        Action::Forward(forward) => match &forward.target {
            Target::One(id) => vec![id.0 as usize],
            Target::Split(split) => split.parts().map(|(id, _)| id.0 as usize).collect(),
        },
        Action::Redirect(_) | Action::Respond(_) => Vec::new(),
    }
}

/// Whether a listener is given what is dialled at an address for certain. Which addresses a machine
/// has is not asked: the file may be checked on another.
fn takes(bind: &Bind, address: &Address) -> bool {
    match (bind, address) {
        (Bind::Unix(path), Address::Unix(dialled)) => **path == **dialled,
        (Bind::Ip(bind), Address::Ip(dialled)) => {
            bind.port() == dialled.port() && hears(bind.ip(), dialled.ip())
        }
        // By definition (RFC 6761 section 6.3).
        (Bind::Ip(bind), Address::Name { host, port }) if &**host == "localhost" => {
            let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            bind.port() == *port && loopback.into_iter().any(|ip| hears(bind.ip(), ip))
        }
        (Bind::Ip(_) | Bind::Unix(_), Address::Ip(_) | Address::Unix(_) | Address::Name { .. }) => {
            false
        }
    }
}

/// Whether who listens on `bind` is given what is dialled at `dialled`: to dial any address at all
/// is to dial this machine.
fn hears(bind: IpAddr, dialled: IpAddr) -> bool {
    let dialled = match dialled.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    bind.to_canonical() == dialled || dialled.is_loopback() && covers(bind, dialled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Severity, load_text};

    /// How often a circle is warned of.
    fn circles(binds: &[&str], rest: &str) -> usize {
        let listeners: String = binds
            .iter()
            .enumerate()
            .map(|(at, bind)| format!("[listeners.l{at}]\nbind = \"{bind}\"\n"))
            .collect();
        let loaded = load_text("test.toml", &format!("{listeners}{rest}"), &[]);
        assert!(loaded.lowered.is_some(), "{:?}", loaded.problems);
        let found = loaded.problems.iter().filter(|one| one.kind == Kind::Circle);
        found.inspect(|one| assert_eq!(one.severity, Severity::Warning)).count()
    }

    #[test]
    fn an_endpoint_that_is_a_listener_of_its_own_is_warned_of() {
        for (bind, endpoint, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", 1),
            ("127.0.0.1:80", "http://127.0.0.1/base", 1),
            ("127.0.0.1:80", "127.0.0.1:81", 0),
            ("127.0.0.1:80", "127.0.0.2:80", 0),
            ("10.0.0.1:80", "10.0.0.1:80", 1),
            ("0.0.0.0:80", "127.0.0.1:80", 1),
            ("0.0.0.0:80", "127.8.8.8:80", 1),
            ("0.0.0.0:80", "[::1]:80", 0),
            ("0.0.0.0:80", "10.0.0.1:80", 0),
            (":80", "127.0.0.1:80", 1),
            (":80", "[::1]:80", 1),
            (":80", "[::ffff:127.0.0.1]:80", 1),
            (":80", "0.0.0.0:80", 1),
            ("127.0.0.1:80", "0.0.0.0:80", 1),
            (":80", "localhost:80", 1),
            ("[::1]:80", "localhost:80", 1),
            (":80", "other:80", 0),
            ("unix:/run/a", "unix:/run/a", 1),
            ("unix:/run/a", "unix:/run/b", 0),
        ] {
            let route = format!("[[routes]]\nupstream = {{ endpoints = [\"{endpoint}\"] }}\n");
            assert_eq!(circles(&[bind], &route), expected, "{endpoint} behind {bind}");
        }
    }

    #[test]
    fn a_circle_may_go_through_several_listeners_and_a_chain_is_none() {
        let route = |listener: &str, endpoint: &str| {
            let to = format!("upstream = {{ endpoints = [\"{endpoint}\", \"10.0.0.1:1\"] }}");
            format!("[[routes]]\nlisteners = [\"{listener}\"]\n{to}\n")
        };
        let first = route("l0", "127.0.0.1:81");
        assert_eq!(circles(&[":80", ":81"], &first), 0);
        let both = format!("{first}{}", route("l1", "127.0.0.1:82"));
        assert_eq!(circles(&[":80", ":81", ":82"], &both), 0);
        let round = format!("{both}{}", route("l2", "127.0.0.1:80"));
        assert_eq!(circles(&[":80", ":81", ":82"], &round), 3);
        // Whoever is sent there is answered there.
        let answered = "[[routes]]\nlisteners = [\"l1\"]\nrespond = {}\n";
        assert_eq!(circles(&[":80", ":81"], &format!("{first}{answered}")), 0);
    }
}

//! What a source finds: a whole set of endpoints.

use crate::config::{Beneath, DiscoverySpec, endpoint_address};
use crate::registry::Name;
use gatehouse_core::address::Address;
use gatehouse_core::endpoints::ENDPOINTS_MAX;
use gatehouse_core::plan::EndpointSpec;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Metadata kept of one endpoint; the rest is left out.
const METADATA_MAX: usize = 32;

/// Bytes of a zone, and of a name or a value of metadata; what is longer is left out.
const TEXT_BYTES_MAX: usize = 256;

/// Problems kept of one set; the rest are counted.
const PROBLEMS_MAX: usize = 16;

/// One endpoint, as a source gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it is. A name is resolved like one that an operator wrote.
    pub address: Address,
    /// Whom it was found as, which it has to be under TLS; `None` is its address.
    pub host: Option<Arc<str>>,
    /// Its share of the load, at least 1.
    pub weight: u16,
    /// Whether it is used only when no other endpoint is ready.
    pub backup: bool,
    /// Where it stands, in the operator's own words.
    pub zone: Option<Box<str>>,
    /// What else the source says of it; shown, and obeyed by nobody.
    pub metadata: BTreeMap<Box<str>, Box<str>>,
}

impl Found {
    /// One of which nothing else is known.
    pub fn at(address: Address) -> Found {
        let metadata = BTreeMap::new();
        Found { address, host: None, weight: 1, backup: false, zone: None, metadata }
    }

    /// The same from `host:port`, `[::1]:port` or `unix:/path`.
    ///
    /// # Errors
    /// Why that is no address.
    pub fn parse(text: &str) -> Result<Found, String> {
        endpoint_address(text).map(Found::at)
    }
}

/// A weight, as a source may say it.
///
/// # Errors
/// Why it is none.
pub(crate) fn weight(count: u64) -> Result<u16, String> {
    let weight = u16::try_from(count).ok().filter(|weight| *weight > 0);
    weight.ok_or_else(|| format!("weight {count} is not from 1 to {}", u16::MAX))
}

/// Something of an answer that could not be used. The rest of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where: a path, a key, a record.
    pub at: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.why)
    }
}

/// A whole answer: everybody who is there, in the order of their addresses, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(super) endpoints: Vec<(Arc<str>, Found)>,
    pub(super) problems: Vec<Problem>,
    /// Problems that are not listed.
    pub(super) problems_more: usize,
}

impl Set {
    /// Of these endpoints, and of what could not be used.
    pub fn new(found: Vec<Found>, mut problems: Vec<Problem>) -> Set {
        let mut by_text: BTreeMap<Arc<str>, Found> = BTreeMap::new();
        for mut one in found {
            one.bound();
            let text: Arc<str> = shown(&one.address).into();
            if by_text.contains_key(&text) {
                problems.push(Problem { at: text.to_string(), why: "is there twice".to_owned() });
            } else if by_text.len() < ENDPOINTS_MAX {
                by_text.insert(text, one);
            } else {
                let why = format!("{ENDPOINTS_MAX} endpoints is the most; it is left out");
                problems.push(Problem { at: text.to_string(), why });
            }
        }
        let problems_more = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        Set { endpoints: by_text.into_iter().collect(), problems, problems_more }
    }

    /// Its endpoints in a line each, for a process that takes over: `3 - a.internal 10.0.0.1:80`.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(text, found): &(Arc<str>, Found)| {
            let role = if found.backup { "backup" } else { "-" };
            let host = found.host.as_deref().unwrap_or("-");
            format!("{} {role} {host} {text}", found.weight)
        };
        self.endpoints.iter().map(line).collect()
    }

    /// The same from such lines; those that are not understood are found again.
    pub(super) fn of_lines(lines: &[String]) -> Set {
        let found = |line: &String| {
            let mut parts = line.splitn(4, ' ');
            let [count, role, host, text] = [(); 4].map(|()| parts.next());
            Some(Found {
                weight: weight(count?.parse().ok()?).ok()?,
                backup: role? == "backup",
                host: host.filter(|host| *host != "-").map(Into::into),
                ..Found::parse(text?).ok()?
            })
        };
        Set::new(lines.iter().filter_map(found).collect(), Vec::new())
    }

    /// The names among them, which have to be resolved.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.endpoints.iter().filter_map(|(_, found)| match &found.address {
            Address::Name { host, port } => Some((Arc::clone(host), *port)),
            Address::Ip(_) | Address::Unix(_) => None,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// The same as if they had been written.
    pub(super) fn specs(&self, spec: &DiscoverySpec) -> Arc<[EndpointSpec]> {
        let of = |(text, found): &(Arc<str>, Found)| EndpointSpec {
            text: Arc::clone(text),
            address: found.address.clone(),
            tls: match &spec.beneath {
                Beneath::Clear => None,
                Beneath::Tls { name } => Some(name.clone().unwrap_or_else(|| found.identity())),
            },
            base_path: "".into(),
            weight: found.weight.max(1),
            connections_max: spec.connections_max,
            backup: found.backup,
        };
        self.endpoints.iter().map(of).collect()
    }
}

impl Found {
    /// Leaves out what is too much.
    fn bound(&mut self) {
        let fits = |text: &str| text.len() <= TEXT_BYTES_MAX;
        self.zone = self.zone.take().filter(|zone| fits(zone));
        let mut room = METADATA_MAX;
        self.metadata.retain(|name, value| {
            let kept = room > 0 && fits(name) && fits(value);
            room -= usize::from(kept);
            kept
        });
    }

    /// Who it has to be.
    fn identity(&self) -> Arc<str> {
        match (&self.host, &self.address) {
            (Some(host), _) => Arc::clone(host),
            (None, Address::Ip(address)) => address.ip().to_string().into(),
            (None, Address::Name { host, .. }) => Arc::clone(host),
            (None, Address::Unix(_)) => "localhost".into(),
        }
    }
}

fn shown(address: &Address) -> String {
    match address {
        Address::Ip(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Name { host, port } => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Found {
        Found::parse(text).expect("an address")
    }

    fn texts(set: &Set) -> Vec<&str> {
        set.endpoints.iter().map(|(text, _)| &**text).collect()
    }

    #[test]
    fn a_set_has_each_endpoint_once_in_an_order_of_its_own() {
        let heavy = Found { weight: 9, ..found("10.0.0.1:80") };
        let set = Set::new(vec![found("b:80"), found("10.0.0.1:80"), heavy], Vec::new());
        assert_eq!(texts(&set), ["10.0.0.1:80", "b:80"]);
        assert_eq!(set.endpoints[0].1.weight, 1, "the first one counts");
        assert_eq!(set.problems[0].to_string(), "10.0.0.1:80: is there twice");
        let other = Set::new(vec![found("10.0.0.1:80"), found("b:80")], Vec::new());
        assert_eq!(other.endpoints, set.endpoints);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let many = (0..ENDPOINTS_MAX + 20).map(|n| found(&format!("unix:/run/{n:06}"))).collect();
        let set = Set::new(many, Vec::new());
        assert_eq!(set.len(), ENDPOINTS_MAX);
        assert_eq!((set.problems.len(), set.problems_more), (16, 4));
        let mut one = found("10.0.0.1:80");
        let long: Box<str> = "x".repeat(TEXT_BYTES_MAX + 1).into();
        one.zone = Some(long.clone());
        one.metadata.insert("long".into(), long);
        one.metadata.extend((0..40).map(|n| (n.to_string().into(), "v".into())));
        let set = Set::new(vec![one], Vec::new());
        let (_, kept) = &set.endpoints[0];
        assert_eq!((kept.zone.as_ref(), kept.metadata.len()), (None, METADATA_MAX));
        assert!(!kept.metadata.contains_key("long"));
    }

    #[test]
    fn what_is_handed_on_is_understood() {
        let named = Found { host: Some("a".into()), weight: 3, ..found("10.0.0.1:80") };
        let backup = Found { backup: true, ..found("unix:/run/a b.sock") };
        let set = Set::new(vec![named, backup, found("[::1]:80"), found("b:80")], Vec::new());
        assert_eq!(Set::of_lines(&set.lines()), set);
        let rubbish = ["", "1", "0 - - 10.0.0.1:80", "1 - - 10.0.0.1"].map(str::to_owned);
        assert_eq!(Set::of_lines(&rubbish).len(), 0);
    }

    #[test]
    fn a_weight_is_from_1_to_65535() {
        assert_eq!((weight(1), weight(65_535)), (Ok(1), Ok(65_535)));
        for count in [0, 65_536, u64::MAX] {
            assert!(weight(count).is_err(), "{count}");
        }
    }

    #[test]
    fn who_has_to_answer_under_tls_is_said_by_name_host_or_address() {
        let mut spec = DiscoverySpec::of_file("f".into());
        let named = Found { host: Some("a.internal".into()), ..found("10.0.0.1:80") };
        let set = Set::new(vec![named, found("10.0.0.2:80"), found("b:80")], Vec::new());
        let who = |spec: &DiscoverySpec| -> Vec<Option<Arc<str>>> {
            set.specs(spec).iter().map(|spec| spec.tls.clone()).collect()
        };
        assert_eq!(who(&spec), [None, None, None]);
        spec.beneath = Beneath::Tls { name: None };
        assert_eq!(who(&spec), ["a.internal", "10.0.0.2", "b"].map(|name| Some(name.into())));
        spec.beneath = Beneath::Tls { name: Some("x".into()) };
        assert_eq!(who(&spec), ["x", "x", "x"].map(|name| Some(name.into())));
    }
}

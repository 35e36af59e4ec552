//! What Consul is asked over its HTTP API, and what its answers mean. No socket, no clock.

use crate::config::{Checks, ConsulSource, Json};
use crate::json_text::read_json;
use std::fmt::Write;
use std::time::Duration;

/// An instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Its own name, for messages.
    pub id: String,
    /// The host: the service's, or else its node's.
    pub host: String,
    pub port: u16,
    pub weight: u16,
    pub zone: Option<String>,
    pub metadata: Vec<(String, String)>,
}

/// What a service's list holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub instances: Vec<Instance>,
    /// Instances that are not used, and why.
    pub complaints: Vec<String>,
}

impl ConsulSource {
    /// The path and query that ask for them: at once, or when they are others than at `index`, but
    /// after `wait` at the latest.
    pub(crate) fn path(&self, index: Option<u64>, wait: Duration) -> String {
        let mut path = "/v1/health/service/".to_owned();
        escape(&self.service, &mut path);
        let mut sign = '?';
        let mut add = |name: &str, value: &str| {
            path.push(std::mem::replace(&mut sign, '&'));
            path.push_str(name);
            if !value.is_empty() {
                path.push('=');
                escape(value, &mut path);
            }
        };
        if self.checks == Checks::Passing {
            add("passing", "1");
        }
        self.tags.iter().for_each(|tag| add("tag", tag));
        if let Some(datacenter) = &self.datacenter {
            add("dc", datacenter);
        }
        if let Some(index) = index {
            add("index", &index.to_string());
            add("wait", &format!("{}s", wait.as_secs()));
        }
        path
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 section 2.3).
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// The index to wait at next, by the documented rules: what goes backwards begins anew, and 0 is
/// no index, but would be answered at once for ever.
pub(crate) fn next_index(before: Option<u64>, answered: u64) -> Option<u64> {
    match before {
        Some(before) if answered < before => None,
        _ => (answered > 0).then_some(answered),
    }
}

/// What `/v1/health/service/NAME` answers.
pub(crate) fn read_health(text: &str, checks: Checks) -> Result<Listed, String> {
    let answer = read_json(text).map_err(|why| format!("its answer is {why}"))?;
    let Json::List(entries) = &answer else {
        return Err("its answer is no list of instances: is it Consul?".to_owned());
    };
    let mut listed = Listed::default();
    for entry in entries {
        match instance(entry, checks) {
            Ok(Some(instance)) => listed.instances.push(instance),
            Ok(None) => {}
            Err(complaint) => listed.complaints.push(complaint),
        }
    }
    Ok(listed)
}

/// What an instance's checks come to, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Passing,
    Warning,
    Critical,
}

fn status(entry: &Json) -> Status {
    let Some(Json::List(checks)) = entry.member("Checks") else { return Status::Passing };
    let each = checks.iter().map(|check| match check.text_of("Status") {
        Some("passing") => Status::Passing,
        Some("warning") => Status::Warning,
        // Maintenance is a check that is critical; what nobody knows is not trusted.
        _ => Status::Critical,
    });
    each.max().unwrap_or(Status::Passing)
}

fn instance(entry: &Json, checks: Checks) -> Result<Option<Instance>, String> {
    let service = entry.member("Service").ok_or("an entry without a service is left out")?;
    let node = entry.member("Node");
    let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(100).collect();
    let id: String = shown(service.text_of("ID").unwrap_or("(no id)"));
    let own = service.text_of("Address").filter(|host| !host.is_empty());
    let nodes = || node?.text_of("Address").filter(|host| !host.is_empty());
    let host = own.or_else(nodes);
    let host = host.ok_or_else(|| format!("instance {id} is left out: it has no address"))?;
    let port = match service.member("Port") {
        Some(Json::Count(port)) => u16::try_from(*port).ok().filter(|port| *port > 0),
        _ => None,
    };
    let port = port.ok_or_else(|| format!("instance {id} is left out: it has no port"))?;
    let (name, status) = match status(entry) {
        Status::Critical => return Ok(None),
        Status::Warning if checks == Checks::Passing => return Ok(None),
        status @ Status::Warning => ("Warning", status),
        status @ Status::Passing => ("Passing", status),
    };
    let weight = match service.member("Weights").and_then(|weights| weights.member(name)) {
        // By its owner's word it is given nothing.
        Some(Json::Count(0)) if status == Status::Warning => return Ok(None),
        Some(Json::Count(weight)) => u16::try_from(*weight).unwrap_or(u16::MAX).max(1),
        _ => 1,
    };
    let metadata = metadata(service);
    let zone_of = |of: &Json| of.member("Locality")?.text_of("Zone").map(str::to_owned);
    let zone = zone_of(service).or_else(|| zone_of(node?));
    let zone = zone.or_else(|| {
        let found = metadata.iter().find(|(name, _)| name == "zone");
        found.map(|(_, value)| value.clone())
    });
    let zone = zone.filter(|zone| !zone.is_empty());
    Ok(Some(Instance { id, host: host.to_owned(), port, weight, zone, metadata }))
}

fn metadata(service: &Json) -> Vec<(String, String)> {
    let Some(Json::Object(members)) = service.member("Meta") else { return Vec::new() };
    let text = |(name, value): &(String, Json)| match value {
        Json::Text(value) => Some((name.clone(), value.clone())),
        _ => None,
    };
    members.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RegistryTls, Server};
    use gatehouse_core::address::Address;
    use proptest::prelude::*;

    fn source(service: &str) -> ConsulSource {
        let url = "http://127.0.0.1:8500";
        let server = Server {
            url: url.into(),
            address: Address::Ip(([127, 0, 0, 1], 8500).into()),
            authority: "127.0.0.1:8500".into(),
            base: "".into(),
            tls: None,
        };
        ConsulSource {
            server,
            tls: RegistryTls::default(),
            token: None,
            service: service.into(),
            tags: Vec::new(),
            datacenter: None,
            checks: Checks::Passing,
        }
    }

    #[test]
    fn a_question_is_escaped_and_waits_only_at_an_index() {
        let wait = Duration::from_secs(55);
        assert_eq!(source("users").path(None, wait), "/v1/health/service/users?passing=1");
        let all = ConsulSource {
            tags: vec!["v1&x".into(), "é".into()],
            datacenter: Some("dc1".into()),
            checks: Checks::NotCritical,
            ..source("a/b c")
        };
        assert_eq!(
            all.path(Some(12), wait),
            "/v1/health/service/a%2Fb%20c?tag=v1%26x&tag=%C3%A9&dc=dc1&index=12&wait=55s"
        );
    }

    #[test]
    fn an_index_that_goes_backwards_or_is_0_begins_anew() {
        for (before, answered, next) in [
            (None, 5, Some(5)),
            (Some(5), 5, Some(5)),
            (Some(5), 9, Some(9)),
            (Some(9), 5, None),
            (Some(9), 0, None),
            (None, 0, None),
        ] {
            assert_eq!(next_index(before, answered), next, "{before:?} {answered}");
        }
    }

    /// An entry as Consul documents it.
    fn entry(service: &str, checks: &[&str]) -> String {
        let checks: Vec<String> =
            checks.iter().map(|status| format!("{{\"Status\": \"{status}\"}}")).collect();
        format!(
            "{{\"Node\": {{\"ID\": \"1\", \"Node\": \"n1\", \"Address\": \"10.0.0.9\"}}, \
             \"Service\": {{\"ID\": \"u1\", \"Service\": \"users\"{service}}}, \
             \"Checks\": [{}]}}",
            checks.join(", ")
        )
    }

    fn listed(entries: &[String], checks: Checks) -> Listed {
        read_health(&format!("[{}]", entries.join(",")), checks).expect("a list")
    }

    #[test]
    fn an_instance_is_read_with_its_weight_its_meta_and_its_zone() {
        let service = ", \"Address\": \"10.0.0.1\", \"Port\": 80, \
                       \"Weights\": {\"Passing\": 7, \"Warning\": 2}, \
                       \"Meta\": {\"version\": \"1\", \"zone\": \"z1\"}";
        let found = listed(&[entry(service, &["passing", "passing"])], Checks::Passing);
        let text = |text: &str| text.to_owned();
        let instance = Instance {
            id: text("u1"),
            host: text("10.0.0.1"),
            port: 80,
            weight: 7,
            zone: Some(text("z1")),
            metadata: vec![(text("version"), text("1")), (text("zone"), text("z1"))],
        };
        assert_eq!(found, Listed { instances: vec![instance], complaints: Vec::new() });
        let local = format!("{service}, \"Locality\": {{\"Region\": \"r\", \"Zone\": \"z2\"}}");
        let found = listed(&[entry(&local, &[])], Checks::Passing);
        assert_eq!(found.instances[0].zone.as_deref(), Some("z2"));
    }

    #[test]
    fn an_instance_without_an_address_is_at_its_nodes() {
        for own in ["", ", \"Address\": \"\""] {
            let found = listed(&[entry(&format!("{own}, \"Port\": 80"), &[])], Checks::Passing);
            assert_eq!(found.instances[0].host, "10.0.0.9");
        }
    }

    #[test]
    fn checks_decide_who_is_taken_and_by_which_weight() {
        let weights = ", \"Port\": 80, \"Weights\": {\"Passing\": 7, \"Warning\": 2}";
        let none = ", \"Port\": 80, \"Weights\": {\"Passing\": 7, \"Warning\": 0}";
        for (service, checks, passing, not_critical) in [
            (weights, &["passing"][..], Some(7), Some(7)),
            (weights, &[], Some(7), Some(7)),
            (weights, &["passing", "warning"], None, Some(2)),
            (weights, &["warning", "critical"], None, None),
            (weights, &["maintenance"], None, None),
            (none, &["warning"], None, None),
            (", \"Port\": 80", &["warning"], None, Some(1)),
        ] {
            let weight = |of| {
                let found = listed(&[entry(service, checks)], of);
                assert!(found.complaints.is_empty());
                found.instances.first().map(|instance| instance.weight)
            };
            assert_eq!(weight(Checks::Passing), passing, "{checks:?}");
            assert_eq!(weight(Checks::NotCritical), not_critical, "{checks:?}");
        }
    }

    #[test]
    fn an_entry_that_is_wrong_is_named_and_the_rest_is_taken() {
        let good = entry(", \"Port\": 80", &[]);
        let bad = [
            "{}".to_owned(),
            entry("", &[]),
            entry(", \"Port\": 0", &[]),
            entry(", \"Port\": 70000", &[]),
            entry(", \"Port\": \"80\"", &[]),
            "{\"Service\": {\"ID\": \"u\\n2\", \"Port\": 80}}".to_owned(),
        ];
        let all: Vec<String> = bad.iter().cloned().chain([good]).collect();
        let found = listed(&all, Checks::Passing);
        assert_eq!(found.instances.len(), 1);
        assert_eq!(found.complaints.len(), bad.len());
        assert_eq!(found.complaints[1], "instance u1 is left out: it has no port");
        assert_eq!(found.complaints[5], "instance u2 is left out: it has no address");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "{}", "null", "[", "Permission denied"] {
            assert!(read_health(text, Checks::Passing).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_much(text in ".*") {
            let _ = read_health(&text, Checks::NotCritical);
        }

        #[test]
        fn a_question_is_one_word(service in ".*", tag in ".*") {
            let all = ConsulSource { tags: vec![tag.into()], ..source(&service) };
            let path = all.path(Some(1), Duration::from_secs(1));
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

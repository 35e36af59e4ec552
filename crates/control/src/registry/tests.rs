use super::*;
use crate::config::{ProcessEnv, load_text};
use gatehouse_core::plan::Changes;

fn plan(endpoints: &str) -> Plan {
    let text = format!(
        "[listeners.web]\nbind = \"127.0.0.1:0\"\n\
         [[routes]]\nupstream = {{ endpoints = [{endpoints}] }}\n"
    );
    load_text("test.toml", &text, &ProcessEnv).lowered.expect("a good configuration").plan
}

/// What is published when `new` comes behind `old`.
fn adopted(registry: &Registry, old: &Plan, new: &Plan) -> Vec<Arc<Endpoints>> {
    let mut published = Vec::new();
    let changes = Changes::between(old, new);
    registry.adopt(old, new, &changes.upstream_of, |all| published = all);
    published
}

#[test]
fn a_name_becomes_its_addresses_and_one_that_does_not_resolve_becomes_none() {
    let registry = Registry::default();
    let built = registry.endpoints(&plan("\"localhost:81\", \"127.0.0.1:82\", \"no.invalid:83\""));
    let texts: Vec<&str> = built[0].list().iter().map(|endpoint| &*endpoint.text).collect();
    assert!(texts.contains(&"localhost:81") && texts.contains(&"127.0.0.1:82"), "{texts:?}");
    assert!(!texts.contains(&"no.invalid:83"), "{texts:?}");
}

#[test]
fn defect_2_a_name_that_stops_resolving_keeps_its_last_good_addresses() {
    let registry = Registry::default();
    let plan = plan("\"gone.invalid:83\"");
    let name: Name = ("gone.invalid".into(), 83);
    let address = SocketAddr::from(([10, 0, 0, 1], 83));
    registry.lock().names.insert(name.clone(), vec![address]);
    let before = registry.endpoints(&plan);
    assert!(!registry.resolve(&[name]));
    let after = adopted(&registry, &plan, &plan);
    assert_eq!(after[0].list().len(), 1);
    assert!(Arc::ptr_eq(&before[0], &after[0]));
}

#[test]
fn an_upstream_that_is_as_it_was_is_published_as_it_was() {
    let registry = Registry::default();
    let (old, new) = (plan("\"127.0.0.1:81\""), plan("\"127.0.0.1:81\""));
    let first = registry.endpoints(&old);
    let second = adopted(&registry, &old, &new);
    assert!(Arc::ptr_eq(&first[0], &second[0]));
}

#[test]
fn vitals_are_those_of_the_same_endpoint_before() {
    let registry = Registry::default();
    let (old, new) = (plan("\"127.0.0.1:81\""), plan("\"127.0.0.1:80\", \"127.0.0.1:81\""));
    let first = registry.endpoints(&old);
    first[0].list()[0].vitals.count_pick();
    let second = adopted(&registry, &old, &new);
    let picked: Vec<u64> = second[0].list().iter().map(|e| e.vitals.picked()).collect();
    assert_eq!(picked, [0, 1]);
}

#[test]
fn an_endpoint_that_comes_back_is_new_unless_something_still_counts_in_it() {
    let registry = Registry::default();
    let (both, one) = (plan("\"127.0.0.1:80\", \"127.0.0.1:81\""), plan("\"127.0.0.1:80\""));
    let first = registry.endpoints(&both);
    first[0].list()[1].vitals.count_pick();
    adopted(&registry, &both, &one);
    let again = adopted(&registry, &one, &both);
    assert_eq!(again[0].list()[1].vitals.picked(), 0);
    again[0].list()[1].vitals.try_enter(None);
    adopted(&registry, &both, &one);
    let again = adopted(&registry, &one, &both);
    assert_eq!(again[0].list()[1].vitals.in_flight(), 1);
}

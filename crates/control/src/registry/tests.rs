use super::*;
use crate::config::{ProcessEnv, load_text};
use gatehouse_core::outlier::OutlierRule;
use gatehouse_core::plan::Changes;
use std::task::{Context, Waker};

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

fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
    ports.iter().map(|port| SocketAddr::from(([10, 0, 0, 1], *port))).collect()
}

#[test]
fn a_name_becomes_its_addresses_and_one_that_is_not_resolved_becomes_none() {
    let registry = Registry::default();
    let plan = plan("\"a.internal:81\", \"127.0.0.1:82\", \"b.internal:83\"");
    let names = [("a.internal".into(), 81), ("b.internal".into(), 83)];
    assert_eq!(registry.names(&plan), names);
    registry.set_addresses(None, &names[0], addresses(&[1, 2]));
    assert_eq!(registry.new_names(&plan), names[1..]);
    let built = registry.endpoints(&plan);
    let texts: Vec<&str> = built[0].list().iter().map(|endpoint| &*endpoint.text).collect();
    assert_eq!(texts, ["a.internal:81", "a.internal:81", "127.0.0.1:82"]);
}

#[test]
fn a_name_keeps_its_last_good_addresses_across_a_reload() {
    let registry = Registry::default();
    let plan = plan("\"gone.internal:83\"");
    registry.set_addresses(None, &("gone.internal".into(), 83), addresses(&[83]));
    let before = registry.endpoints(&plan);
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

#[test]
fn a_full_row_of_errors_rings_and_leaves_the_endpoint_out_at_the_look_that_follows() {
    let registry = Registry::default();
    let mut plan = plan("\"127.0.0.1:81\", \"127.0.0.1:82\"");
    plan.upstreams[0].outlier =
        Some(OutlierRule { consecutive_errors: 3, ..OutlierRule::default() });
    let (published, bell) = (registry.endpoints(&plan), registry.bell());
    let (vitals, mut now) = (&published[0].list()[1].vitals, Moment::START);
    let mut look = |after| {
        now = now.after(Duration::from_secs(after));
        let judged = registry.lock().judge(&plan.upstreams[0], now, 0, &mut Vec::new());
        judged.expect("it is published").news.len()
    };
    let mut cx = Context::from_waker(Waker::noop());
    let mut fails_until_heard = |most: u32| {
        (1..=most).find(|_| {
            vitals.count_failure();
            bell.poll_heard(&mut cx).is_ready()
        })
    };
    assert_eq!(look(1), 0);
    assert_eq!((fails_until_heard(9), look(1)), (Some(3), 1), "it is ejected");
    assert_eq!((fails_until_heard(9), look(1)), (None, 0), "it is out already");
    assert_eq!((look(10), fails_until_heard(9)), (1, Some(3)), "it is back");
}

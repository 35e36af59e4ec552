use super::*;
use crate::config::{ProcessEnv, load_text};
use gatehouse_core::breaker::{BreakerRule, Gate};
use gatehouse_core::outlier::OutlierRule;
use gatehouse_core::plan::Changes;
use gatehouse_core::retry_budget::RetryBudget;
use gatehouse_core::vitals::Probe;
use gatehouse_proxy::gate::{Gate as DataPath, Start};
use std::num::NonZeroUsize;
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
        let judged = registry.lock().judge(&plan.upstreams[0], now);
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
    assert_eq!((look(10), fails_until_heard(9)), (1, None), "it is given probes");
    let probes: Vec<Probe> = std::iter::from_fn(|| vitals.probing().pass()).collect();
    assert_eq!(probes.len(), 3);
    let mut cx = Context::from_waker(Waker::noop());
    for (probe, rings) in probes.into_iter().zip([false, false, true]) {
        vitals.went_well(probe);
        assert_eq!(bell.poll_heard(&mut cx).is_ready(), rings, "the last of them rings");
    }
    assert_eq!((look(0), fails_until_heard(9)), (1, Some(3)), "it is back");
}

/// A plan whose one upstream has a breaker.
fn breaking(endpoints: &str) -> Plan {
    let mut plan = plan(endpoints);
    let breaker = BreakerRule { error_rate: Some(0.5), ..BreakerRule::default() };
    plan.upstreams[0].breaker = Some(breaker);
    plan
}

/// What is new when everything is judged after so long.
fn judged(registry: &Registry, plan: &Plan, now: &mut Moment, seconds: u64) -> Vec<String> {
    *now = now.after(Duration::from_secs(seconds));
    let judged = registry.lock().judge(&plan.upstreams[0], *now);
    judged.expect("it is published").news
}

/// So many requests, all over, of which so many went wrong.
fn serve(endpoint: &Endpoint, count: u32, errors: u32) {
    (0..count).for_each(|_| endpoint.vitals.count_pick());
    (0..errors).for_each(|_| endpoint.vitals.count_failure());
}

#[test]
fn a_half_open_breaker_closes_though_an_endpoint_has_left_since() {
    let (registry, mut now) = (Registry::default(), Moment::START);
    let both = breaking("\"127.0.0.1:81\", \"127.0.0.1:82\"");
    let one = breaking("\"127.0.0.1:81\"");
    let published = registry.endpoints(&both);
    published[0].list().iter().for_each(|endpoint| serve(endpoint, 1_000, 1_000));
    assert!(judged(&registry, &both, &mut now, 1).concat().contains("breaker open"));
    assert!(judged(&registry, &both, &mut now, 5).concat().contains("half open"));
    let published = adopted(&registry, &both, &one);
    let probing = published[0].vitals().probing();
    for probe in std::iter::from_fn(|| probing.pass()).take(3) {
        serve(&published[0].list()[0], 1, 0);
        probing.went_well(probe);
    }
    assert!(judged(&registry, &one, &mut now, 0).concat().contains("breaker closed"));
    assert_eq!(probing.gate(), Gate::Closed);
}

#[test]
fn a_half_open_breaker_lets_others_pass_where_nothing_is_heard_of_its_probes() {
    let (registry, mut now) = (Registry::default(), Moment::START);
    let plan = breaking("\"127.0.0.1:81\"");
    let published = registry.endpoints(&plan);
    serve(&published[0].list()[0], 20, 20);
    judged(&registry, &plan, &mut now, 1);
    judged(&registry, &plan, &mut now, 5);
    let probing = published[0].vitals().probing();
    for _ in 0..3 {
        assert_eq!(std::iter::from_fn(|| probing.pass()).count(), 3);
        assert!(judged(&registry, &plan, &mut now, 4).is_empty());
        assert_eq!(probing.pass(), None);
        assert!(judged(&registry, &plan, &mut now, 1).is_empty());
    }
}

#[test]
fn a_breaker_is_not_blind_because_an_endpoint_has_left() {
    let (registry, mut now) = (Registry::default(), Moment::START);
    let both = breaking("\"127.0.0.1:81\", \"127.0.0.1:82\"");
    let one = breaking("\"127.0.0.1:81\"");
    let published = registry.endpoints(&both);
    serve(&published[0].list()[1], 1_000, 0);
    assert!(judged(&registry, &both, &mut now, 20).is_empty(), "a window is over");
    let published = adopted(&registry, &both, &one);
    serve(&published[0].list()[0], 20, 20);
    assert!(judged(&registry, &one, &mut now, 1).concat().contains("breaker open"));
}

/// How warm each published endpoint is.
fn warmths(endpoints: &Endpoints) -> Vec<u8> {
    endpoints.list().iter().map(|endpoint| endpoint.warmth).collect()
}

#[test]
fn who_comes_while_others_are_ready_warms_up_and_who_is_there_from_the_start_does_not() {
    let registry = Registry::default();
    let slow = |endpoints: &str| {
        let mut plan = plan(endpoints);
        plan.upstreams[0].slow_start = Duration::from_secs(3_600);
        plan
    };
    let nobody = slow("\"new.internal:81\"");
    let two = slow("\"127.0.0.1:81\", \"127.0.0.1:82\"");
    let three = slow("\"127.0.0.1:81\", \"127.0.0.1:82\", \"127.0.0.1:83\"");
    assert_eq!(warmths(&registry.endpoints(&nobody)[0]), []);
    assert_eq!(warmths(&adopted(&registry, &nobody, &two)[0]), [100, 100]);
    let published = adopted(&registry, &two, &three);
    assert_eq!(warmths(&published[0]), [100, 100, 10]);
    let name = published[0].list()[1].text.clone();
    let mut known = registry.lock();
    let kept = known.upstreams.get_mut(&three.upstreams[0].name).expect("it is known");
    kept.takes_back(&name, now());
    let upstream = &three.upstreams[0];
    assert_eq!(warmths(&known.build(upstream, now())), [100, 10, 10]);
    // What they are given more in the course of time is published.
    let later = now().after(Duration::from_secs(1_800));
    assert!(known.judge(upstream, later).expect("it is published").changed);
    assert_eq!(warmths(&known.build(upstream, later)), [100, 50, 50]);
    assert!(!known.judge(upstream, later).expect("it is published").changed);
}

#[test]
fn whoever_returns_from_an_ejection_warms_up() {
    let registry = Registry::default();
    let mut plan = plan("\"127.0.0.1:81\", \"127.0.0.1:82\"");
    plan.upstreams[0].slow_start = Duration::from_secs(3_600);
    let (published, mut now) = (registry.endpoints(&plan), Moment::START);
    let vitals = &published[0].list()[1].vitals;
    (0..OutlierRule::default().consecutive_errors).for_each(|_| vitals.count_failure());
    assert!(judged(&registry, &plan, &mut now, 1).concat().contains("ejected for 10000 ms"));
    assert!(judged(&registry, &plan, &mut now, 10).concat().contains("probing"));
    let probes: Vec<Probe> = std::iter::from_fn(|| vitals.probing().pass()).collect();
    probes.into_iter().for_each(|probe| vitals.went_well(probe));
    assert!(judged(&registry, &plan, &mut now, 1).concat().contains("no longer ejected"));
    let built = registry.lock().build(&plan.upstreams[0], now);
    assert_eq!(warmths(&built), [100, 10]);
}

#[test]
fn all_are_asked_where_fewer_are_ready_than_the_plan_says() {
    for (panic_below, panics) in [(0.5, false), (0.51, true)] {
        let registry = Registry::default();
        let mut plan = plan("\"127.0.0.1:81\", \"127.0.0.1:82\"");
        plan.upstreams[0].panic_below = panic_below;
        let (published, mut now) = (registry.endpoints(&plan), Moment::START);
        assert!(!published[0].panics());
        let vitals = &published[0].list()[1].vitals;
        (0..OutlierRule::default().consecutive_errors).for_each(|_| vitals.count_failure());
        assert_eq!(judged(&registry, &plan, &mut now, 1).len(), 1, "it is ejected");
        let built = registry.lock().build(&plan.upstreams[0], now);
        assert_eq!(built.panics(), panics, "{panic_below}");
    }
}

#[test]
fn no_more_is_tried_again_than_the_budget_allows() {
    let registry = Registry::default();
    let mut plan = plan("\"127.0.0.1:81\"");
    plan.upstreams[0].retry.budget = RetryBudget { share: 0.5, floor_per_second: 0 };
    let (published, mut now) = (registry.endpoints(&plan), Moment::START);
    let mut retries_after = |requests| {
        serve(&published[0].list()[0], requests, 0);
        judged(&registry, &plan, &mut now, 1);
        (0..999).take_while(|_| published[0].vitals().try_retry()).count()
    };
    assert_eq!([20, 0, 4].map(&mut retries_after), [10, 0, 2]);
}

/// A data plane whose endpoints are judged, at a time of the test's own.
struct Served {
    registry: Registry,
    gate: DataPath,
    plan: Arc<Plan>,
    now: Moment,
    chance: Chance,
}

impl Served {
    fn start(routes: &str) -> Served {
        let (registry, plan) = (Registry::default(), Arc::new(routed(routes)));
        let start = Start {
            plan: Arc::clone(&plan),
            endpoints: registry.endpoints(&plan),
            credentials: Arc::default(),
            workers: NonZeroUsize::MIN,
            seed: 1,
            inherited: Vec::new(),
        };
        let (gate, _) = DataPath::start(start).expect("a port");
        Served { registry, gate, plan, now: Moment::START, chance: Chance::seeded(1) }
    }

    fn reload(&mut self, routes: &str) {
        let plan = Arc::new(routed(routes));
        let changes = Changes::between(&self.plan, &plan);
        let provided = self.gate.provide(&plan).expect("its sockets");
        let Served { registry, gate, .. } = self;
        registry.adopt(&self.plan, &plan, &changes.upstream_of, |endpoints| {
            gate.publish(Arc::clone(&plan), endpoints, Arc::default(), provided);
        });
        self.plan = plan;
    }

    /// The checks that begin after so many milliseconds.
    fn due(&mut self, after: u64, room: usize) -> Vec<Due> {
        self.now = self.now.after(Duration::from_millis(after));
        self.registry.judge(&self.gate.handle(), self.now, room).0
    }

    fn fails(&mut self, due: &Due) -> Vec<String> {
        let (handle, said) = (self.gate.handle(), (Some(Verdict::Failed), "refused"));
        self.registry.checked(&handle, due, said, self.now, &mut self.chance)
    }

    fn standings(&self) -> Vec<Vec<Standing>> {
        let all = self.gate.observe().endpoints;
        let of = |one: &Arc<Endpoints>| one.list().iter().map(|one| one.standing).collect();
        all.iter().map(of).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.gate.drain(Duration::ZERO);
    }
}

fn routed(routes: &str) -> Plan {
    let text = format!("[listeners.web]\nbind = \"127.0.0.1:0\"\n{routes}");
    load_text("test.toml", &text, &ProcessEnv).lowered.expect("a good configuration").plan
}

/// A route whose upstream has no name of its own.
fn route(path: &str, endpoints: &str) -> String {
    format!(
        "[[routes]]\npath = \"{path}\"\n\
         upstream = {{ endpoints = [{endpoints}], health = {{ interval = \"2s\" }} }}\n"
    )
}

#[test]
fn a_check_that_outlives_a_reload_is_of_the_endpoint_it_was_of() {
    let own = route("/own/*", "\"127.0.0.1:81\"");
    let mut served = Served::start(&own);
    let due = served.due(1, 9);
    assert_eq!(&*due[0].upstream, "route-1");
    // Its name is that of another now, which has the same endpoint.
    served.reload(&[route("/new/*", "\"127.0.0.1:81\", \"127.0.0.1:82\""), own].concat());
    let new: Vec<String> = served.due(1, 9).iter().map(|due| due.upstream.to_string()).collect();
    assert_eq!(new, ["route-1", "route-1"], "the check of the other is under way");
    let said = served.fails(&due[0]);
    assert_eq!(said[0], "upstream route-2, endpoint 127.0.0.1:81: unhealthy: refused");
    use Standing::{Ready, Unhealthy};
    assert_eq!(served.standings(), [vec![Ready, Ready], vec![Unhealthy]]);
    let again: Vec<String> =
        served.due(2_000, 9).iter().map(|due| due.upstream.to_string()).collect();
    assert_eq!(again, ["route-2"], "it is checked as ever");
}

#[test]
fn a_shorter_interval_holds_from_the_next_look_on() {
    let hourly = route("/", "\"127.0.0.1:81\"").replace("2s", "1h");
    let mut served = Served::start(&hourly);
    let due = served.due(1, 9);
    served.fails(&due[0]);
    assert_eq!(served.due(10_000, 9).len(), 0);
    served.reload(&hourly.replace("1h", "2s"));
    assert_eq!((served.due(1, 9).len(), served.due(2_000, 9).len()), (0, 1));
}

#[test]
fn whoever_has_waited_for_longest_is_checked_first() {
    // Nobody answers; each is asked for a second, every two seconds.
    let many: Vec<String> =
        (0..900).map(|at| format!("\"10.0.{}.{}:1\"", at / 250, at % 250)).collect();
    let routes = [route("/many/*", &many.join(", ")), route("/one/*", "\"127.0.0.1:81\"")];
    let mut served = Served::start(&routes.concat());
    let (mut checks, mut of_one) = (0, 0);
    for _ in 0..20 {
        let due = served.due(1_000, 256);
        checks += due.len();
        of_one += due.iter().filter(|due| &*due.upstream == "route-2").count();
        for due in &due {
            served.fails(due);
        }
    }
    assert_eq!(checks, 20 * 256, "no room is left unused");
    assert!((5..=6).contains(&of_one), "as often as each of the others, and not {of_one} times");
}

use super::*;
use proptest::prelude::*;

const TICK: Duration = Duration::from_millis(100);

struct Bench {
    rule: OutlierRule,
    conducts: Vec<Conduct>,
    readings: Vec<Reading>,
    now: Moment,
}

impl Bench {
    fn new(rule: OutlierRule, count: usize) -> Bench {
        let (conducts, readings) =
            (vec![Conduct::default(); count], vec![Reading::default(); count]);
        Bench { rule, conducts, readings, now: Moment::from_nanos(1) }
    }

    fn tick(&mut self) -> Vec<(usize, Change)> {
        self.now = self.now.after(TICK);
        let mut told = Vec::new();
        judge(&self.rule, &mut self.conducts, &self.readings, self.now, |place, change| {
            told.push((place, change));
        });
        told
    }

    fn serve(&mut self, place: usize, good: u64, bad: u64) {
        let reading = &mut self.readings[place];
        reading.requests += good + bad;
        reading.errors += bad;
        reading.in_a_row = if good > 0 { 0 } else { reading.in_a_row + bad as u32 };
    }

    fn ticks_until_change(&mut self, most: usize) -> Option<(usize, Vec<(usize, Change)>)> {
        (1..=most).find_map(|count| {
            let told = self.tick();
            (!told.is_empty()).then_some((count, told))
        })
    }
}

#[test]
fn errors_in_a_row_eject_and_each_probe_that_fails_doubles_the_term() {
    let mut bench = Bench::new(OutlierRule::default(), 3);
    bench.serve(1, 0, 5);
    let mut reason = Reason::Consecutive(5);
    for doubled in [10, 20, 40, 80, 160, 160] {
        let told = bench.tick();
        let term = Duration::from_secs(doubled);
        assert_eq!(told, [(1, Change::Ejected { reason, term })]);
        bench.readings[1].trial = Trial::Idle;
        let (ticks, told) = bench.ticks_until_change(2000).expect("it may show itself");
        assert_eq!((ticks as u64, told), (doubled * 10, vec![(1, Change::Probing)]));
        assert!(bench.conducts[1].is_probing());
        bench.serve(1, 10, 10);
        assert!(bench.tick().is_empty(), "who came before is no probe");
        bench.readings[1].trial = Trial::Failed;
        reason = Reason::Probe;
    }
}

#[test]
fn it_has_its_share_again_once_all_probes_went_well() {
    let mut bench = Bench::new(OutlierRule::default(), 2);
    bench.serve(0, 0, 5);
    bench.tick();
    bench.ticks_until_change(101).expect("it may show itself");
    bench.readings[0].trial = Trial::UnderWay;
    assert!(bench.tick().is_empty());
    bench.readings[0].trial = Trial::Passed;
    assert_eq!(bench.tick(), [(0, Change::Returned)]);
    assert!(!bench.conducts[0].is_out());
}

#[test]
fn probes_that_nothing_is_heard_of_make_way_for_others_time_and_again() {
    let mut bench = Bench::new(OutlierRule::default(), 2);
    bench.serve(0, 0, 5);
    bench.tick();
    bench.ticks_until_change(101).expect("it may show itself");
    assert_eq!(bench.ticks_until_change(500), None, "nobody has come");
    bench.readings[0].trial = Trial::UnderWay;
    for _ in 0..3 {
        let (ticks, told) = bench.ticks_until_change(200).expect("others may come");
        assert_eq!((ticks, told), (100, vec![(0, Change::MoreProbes)]));
    }
}

#[test]
fn whoever_shows_that_it_is_well_again_counts_as_out() {
    let mut bench = Bench::new(OutlierRule::default(), 2);
    bench.serve(0, 0, 5);
    bench.tick();
    bench.ticks_until_change(101).expect("it may show itself");
    bench.serve(1, 0, 50);
    assert!(bench.tick().is_empty(), "the other is the last that is in");
}

#[test]
fn what_was_forgiven_is_not_charged_again_and_good_conduct_shortens_the_term() {
    let mut bench = Bench::new(OutlierRule::default(), 2);
    bench.serve(0, 0, 7);
    assert_eq!(bench.tick().len(), 1);
    bench.ticks_until_change(101).expect("it may show itself");
    bench.readings[0].trial = Trial::Passed;
    assert_eq!(bench.tick(), [(0, Change::Returned)]);
    assert!(bench.tick().is_empty(), "the old row was charged again");
    for _ in 0..250 {
        bench.serve(0, 1, 0);
        assert!(bench.tick().is_empty());
    }
    assert_eq!(bench.conducts[0].ejections(), 0);
}

#[test]
fn no_more_than_the_cap_are_ejected_and_never_the_last() {
    for (count, share, expected) in [
        (1, 1.0, 0),
        (2, 1.0, 1),
        (2, 0.1, 1),
        (4, 0.5, 2),
        (10, 0.5, 5),
        (10, 1.0, 9),
        (4, 0.0, 0),
    ] {
        let rule = OutlierRule { ejected_max: share, ..OutlierRule::default() };
        let mut bench = Bench::new(rule, count);
        (0..count).for_each(|place| bench.serve(place, 0, 9));
        assert_eq!(bench.tick().len(), expected, "{count} {share}");
        assert!(bench.tick().is_empty());
    }
}

#[test]
fn an_error_share_counts_only_with_enough_requests() {
    let rule =
        OutlierRule { consecutive_errors: 0, error_rate: Some(0.3), ..OutlierRule::default() };
    for (good, bad, ejected) in [(10, 5, false), (14, 6, false), (13, 7, true), (100, 10, false)] {
        let mut bench = Bench::new(rule, 2);
        bench.tick();
        bench.serve(0, good, bad);
        assert_eq!(!bench.tick().is_empty(), ejected, "{good} {bad}");
    }
}

#[test]
fn a_window_is_over_in_its_time_though_nobody_more_may_be_ejected_for_it() {
    let rule =
        OutlierRule { consecutive_errors: 5, error_rate: Some(0.3), ..OutlierRule::default() };
    let mut bench = Bench::new(rule, 2);
    bench.serve(0, 0, 5);
    assert_eq!(bench.tick().len(), 1);
    bench.serve(1, 10, 20);
    bench.serve(1, 1, 0);
    assert_eq!(bench.ticks_until_change(101).expect("it may show itself").1.len(), 1);
    bench.ticks_until_change(101);
    bench.readings[0].trial = Trial::Passed;
    assert_eq!(bench.tick(), [(0, Change::Returned)], "and the other was well since");
}

#[test]
fn only_slowness_that_lasts_a_whole_window_ejects() {
    let rule = OutlierRule { latency_factor: Some(3.0), ..OutlierRule::default() };
    for (pause, ejected) in [(false, true), (true, false)] {
        let mut bench = Bench::new(rule, 3);
        for tick in 0..110 {
            (0..3).for_each(|place| bench.serve(place, 5, 0));
            for (place, millis) in [(0, 10.0), (1, 12.0), (2, 90.0)] {
                bench.readings[place].latency_nanos = millis * 1e6;
            }
            if pause && tick == 50 {
                bench.readings[2].latency_nanos = 9e6;
            }
            bench.tick();
        }
        assert_eq!(bench.conducts[2].is_ejected(), ejected);
    }
}

proptest! {
    #[test]
    fn whatever_happens_one_stays_in_and_everybody_returns(
        served in prop::collection::vec((0..4_usize, 0_u64..3, 0_u64..8), 1..300),
    ) {
        let rule = OutlierRule { ejected_max: 1.0, ..OutlierRule::default() };
        let mut bench = Bench::new(rule, 4);
        for (place, good, bad) in served {
            bench.serve(place, good, bad);
            bench.tick();
            let trial = if good > 0 { Trial::Passed } else { Trial::Failed };
            bench.readings[place].trial = trial;
            prop_assert!(bench.conducts.iter().any(|conduct| !conduct.is_out()));
        }
        for place in 0..4 {
            bench.serve(place, 1, 0);
            bench.readings[place].trial = Trial::Passed;
        }
        for _ in 0..1700 {
            bench.tick();
        }
        prop_assert!(bench.conducts.iter().all(|conduct| !conduct.is_out()));
    }
}

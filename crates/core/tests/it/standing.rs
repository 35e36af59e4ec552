//! Who is asked, by how each endpoint stands.

use crate::pool::{ALL, endpoint, numbered};
use gatehouse_core::breaker::{Gate, Trial};
use gatehouse_core::chance::Chance;
use gatehouse_core::endpoints::{Ask, Endpoint, EndpointId, Endpoints, NoPick, Standing, Tried};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{Balance, Ring};
use std::sync::Arc;

const BALANCES: [Balance; 7] = [
    Balance::Random,
    Balance::RoundRobin,
    Balance::WeightedRoundRobin,
    Balance::LeastRequest,
    Balance::PeakEwma,
    Balance::ConsistentHash(Ring::Default { load_bound: None }),
    Balance::Maglev,
];

/// Places picked by 2,000 different keys, in their shares.
fn shares(balance: Balance, list: Vec<Endpoint>) -> Result<Vec<usize>, NoPick> {
    let mut shares = vec![0; list.len()];
    let endpoints = Endpoints::new(balance, list, Arc::default());
    let mut chance = Chance::seeded(7);
    for key in 0..2_000_u32 {
        let tried = Tried::default();
        let key = key.to_be_bytes();
        let mut ask = Ask { now: Moment::START, chance: &mut chance, key: &key, tried };
        let EndpointId(place) = endpoints.pick(&mut ask)?;
        endpoints.get(EndpointId(place)).vitals.leave();
        shares[usize::from(place)] += 1;
    }
    Ok(shares)
}

/// A letter an endpoint: ready, unhealthy, ejected, probing, drained; a capital is a backup.
fn list(letters: &str) -> Vec<Endpoint> {
    let one = |(at, letter): (usize, char)| Endpoint {
        standing: match letter.to_ascii_lowercase() {
            'r' => Standing::Ready,
            'u' => Standing::Unhealthy,
            'e' => Standing::Ejected,
            'p' => Standing::Probing,
            _ => Standing::Drained,
        },
        backup: letter.is_ascii_uppercase(),
        ..endpoint(&format!("10.0.0.{at}:80"), 1)
    };
    letters.chars().enumerate().map(one).collect()
}

#[test]
fn who_is_not_ready_is_left_out_unless_nobody_is() {
    for (letters, asked) in [
        ("rrr", "+++"),
        ("rur", "+-+"),
        ("red", "+--"),
        ("rrR", "++-"),
        ("ueR", "--+"),
        ("udR", "--+"),
        ("uee", "+++"),
        ("udU", "+--"),
        ("dU", "-+"),
    ] {
        for balance in BALANCES {
            let shares = shares(balance, list(letters)).expect("somebody is asked");
            let seen = |share: &usize| if *share > 0 { '+' } else { '-' };
            let seen: String = shares.iter().map(seen).collect();
            assert_eq!(seen, asked, "{letters} {balance:?}");
        }
    }
}

#[test]
fn drained_endpoints_are_not_asked_even_when_nobody_is_left() {
    for balance in BALANCES {
        assert_eq!(shares(balance, list("dD")), Err(NoPick::Empty));
    }
    assert!(!Endpoints::new(Balance::Random, list("dd"), Arc::default()).panics());
    assert!(Endpoints::new(Balance::Random, list("du"), Arc::default()).panics());
    assert!(!Endpoints::new(Balance::Random, list("ru"), Arc::default()).panics());
}

#[test]
fn where_less_than_so_many_are_ready_all_but_drained_ones_are_asked() {
    for (standings, share, asked) in [
        ("ruuu", 0.0, 1),
        ("ruuu", 0.25, 1),
        ("ruuu", 0.26, 4),
        ("rueudd", 0.5, 4),
        ("rruu", 0.5, 2),
        ("rrud", 0.7, 3),
        ("rrrr", 1.0, 4),
        ("rrru", 1.0, 4),
    ] {
        let balance = Balance::RoundRobin;
        let endpoints = Endpoints::panicking(balance, list(standings), share, Arc::default());
        let mut chance = Chance::seeded(1);
        let mut ask =
            Ask { now: Moment::START, chance: &mut chance, key: b"", tried: Tried::default() };
        let found: std::collections::BTreeSet<_> =
            (0..20).map(|_| endpoints.pick(&mut ask).expect("somebody").0).collect();
        assert_eq!(found.len(), asked, "{standings} {share}");
        assert_eq!(endpoints.panics(), asked > standings.matches('r').count());
    }
}

#[test]
fn an_endpoint_that_warms_up_has_its_part_of_its_share() {
    for balance in [Balance::Random, Balance::RoundRobin, Balance::WeightedRoundRobin] {
        let mut list = list("rrr");
        list[1].warmth = 10;
        let shares = shares(balance, list).expect("somebody is asked");
        assert!((70..=120).contains(&shares[1]), "{balance:?} {shares:?}");
    }
}

#[test]
fn a_key_stays_where_it_was_while_another_endpoint_is_out() {
    for balance in BALANCES.into_iter().skip(5) {
        let whole = Endpoints::new(balance, list("rrrr"), Arc::default());
        let less = Endpoints::new(balance, list("rrur"), Arc::default());
        let mut chance = Chance::seeded(1);
        let mut moved = 0;
        for key in 0..1_000_u32 {
            let key = key.to_be_bytes();
            let mut pick = |endpoints: &Endpoints| {
                let tried = Tried::default();
                let mut ask = Ask { now: Moment::START, chance: &mut chance, key: &key, tried };
                endpoints.pick(&mut ask).expect("somebody is ready")
            };
            let (before, after) = (pick(&whole), pick(&less));
            moved += usize::from(before != EndpointId(2) && before != after);
        }
        assert!(moved < 40, "{balance:?}: {moved} of 1,000 moved");
    }
}

#[test]
fn a_probing_endpoint_has_its_probes_and_the_others_have_the_rest() {
    for balance in BALANCES {
        for (letters, asked) in [("rp", "+-"), ("prr", "-++"), ("pR", "-+"), ("rPe", "+--")] {
            let list = list(letters);
            let probing = list.iter().find(|one| one.standing == Standing::Probing);
            let vitals = Arc::clone(&probing.expect("one is").vitals);
            vitals.probing().set(Gate::HalfOpen, 3);
            let shares = shares(balance, list).expect("somebody is asked");
            let place = letters.to_ascii_lowercase().find('p').expect("one is");
            // A backup is not asked while another is ready.
            let probes = if letters.contains('P') { 0 } else { 3 };
            assert_eq!(shares[place], probes, "{letters} {balance:?} {shares:?}");
            let seen = |share: &usize| if *share > 3 { '+' } else { '-' };
            assert_eq!(shares.iter().map(seen).collect::<String>(), asked, "{letters} {balance:?}");
        }
    }
}

#[test]
fn where_nobody_is_ready_a_probing_endpoint_is_asked_beyond_its_probes() {
    for balance in BALANCES {
        for letters in ["p", "pu", "pd", "peU"] {
            let list = list(letters);
            list[0].vitals.probing().set(Gate::HalfOpen, 3);
            let shares = shares(balance, list).expect("somebody is asked");
            assert!(shares[0] > 300, "{letters} {balance:?} {shares:?}");
        }
    }
}

#[test]
fn a_probe_that_finds_no_place_in_flight_is_given_back() {
    let mut list = list("rp");
    list[1].connections_max = Some(0);
    let vitals = Arc::clone(&list[1].vitals);
    vitals.probing().set(Gate::HalfOpen, 3);
    shares(Balance::RoundRobin, list).expect("one is ready");
    assert_eq!(vitals.probing().trial(), Trial::Idle);
}

#[test]
fn never_the_endpoint_that_has_just_failed_while_another_is_ready() {
    for (letters, ready) in [("rr", 2), ("rrr", 3), ("rR", 2), ("rre", 2), ("rrp", 2), ("ee", 2)] {
        for balance in ALL {
            let endpoints = Endpoints::new(balance, list(letters), Arc::default());
            for seed in 0..20_u64 {
                let mut chance = Chance::seeded(seed);
                let (mut tried, mut order) = (Tried::default(), Vec::new());
                // More than `Tried` holds.
                for _ in 0..12 {
                    let (key, now) = (seed.to_be_bytes(), Moment::START);
                    let mut ask = Ask { now, chance: &mut chance, key: &key, tried };
                    let id = endpoints.pick(&mut ask).expect("somebody is ready");
                    endpoints.get(id).vitals.leave();
                    tried.add(id);
                    order.push(id.0);
                }
                let context = format!("{letters} {balance:?} {order:?}");
                assert!(order.windows(2).all(|two| two[0] != two[1]), "{context}");
                let first: std::collections::BTreeSet<_> = order[..ready].iter().collect();
                assert_eq!(first.len(), ready, "{context}");
            }
        }
    }
}

#[test]
fn the_endpoint_that_has_just_failed_is_asked_where_nobody_else_has_room() {
    for (letters, room) in [("r", None), ("rd", None), ("rr", Some(0))] {
        for balance in ALL {
            let mut list = list(letters);
            list.iter_mut().skip(1).for_each(|other| other.connections_max = room);
            let endpoints = Endpoints::new(balance, list, Arc::default());
            let (mut chance, mut tried) = (Chance::seeded(1), Tried::default());
            for _ in 0..4 {
                let mut ask = Ask { now: Moment::START, chance: &mut chance, key: b"key", tried };
                let id = endpoints.pick(&mut ask).expect("one has room");
                endpoints.get(id).vitals.leave();
                assert_eq!(id, EndpointId(0), "{letters} {balance:?}");
                tried.add(id);
            }
        }
    }
}

#[test]
fn whoever_was_tried_is_known_among_others_by_who_it_is() {
    let list = numbered(4);
    let of = |list: &[Endpoint]| Endpoints::new(Balance::Random, list.to_vec(), Arc::default());
    let (before, after) =
        (of(&list[..3]), of(&[list[3].clone(), list[2].clone(), list[0].clone()]));
    let mut tried = Tried::default();
    [0, 1, 2].into_iter().for_each(|at| tried.add(EndpointId(at)));
    let moved = tried.moved(&before, &after);
    let known = [0, 1, 2].map(|at| moved.contains(EndpointId(at)));
    assert_eq!(known, [false, true, true]);
    assert!(moved.last().contains(EndpointId(1)));
}

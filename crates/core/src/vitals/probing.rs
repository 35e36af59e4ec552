//! What a circuit breaker tells the data path, and what the data path tells it of the few requests
//! that a half-open one lets pass: its probes. All of it in one word, so that no lock is taken and
//! whoever finds it closed reads nothing else.

use crate::breaker::{Gate, Trial};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most probes there can be.
pub const PROBES_MAX: u32 = (1 << 14) - 1;

/// Lets everybody pass, nobody, or a few whose fate it is told.
#[derive(Debug, Default)]
pub struct Probing(AtomicU64);

/// Whether somebody who passed is a probe, and of which opening: what is told of another one is
/// not heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe(u16);

impl Probe {
    /// One of many: nothing hangs on it.
    pub const NONE: Probe = Probe(0);

    /// Whether it is one.
    pub fn is_some(self) -> bool {
        self != Probe::NONE
    }
}

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;
/// The bits of a word that say which of these it is.
const STATE: u64 = 0b11;

/// The word, taken apart.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    state: u64,
    /// A probe has failed.
    has_failed: bool,
    /// Probes that have to go well; 0 where it was not half open since it was last set.
    wanted: u16,
    /// Those that have.
    good: u16,
    /// Those that may still pass.
    left: u16,
    /// Rises each time it is half opened; never 0 then.
    opening: u16,
}

impl Word {
    fn of(word: u64) -> Word {
        let field = |at: u32| (word >> at) as u16 & PROBES_MAX as u16;
        Word {
            state: word & STATE,
            has_failed: word & 4 > 0,
            wanted: field(3),
            good: field(17),
            left: field(31),
            opening: (word >> 45) as u16,
        }
    }

    fn bits(self) -> u64 {
        let Word { state, has_failed, wanted, good, left, opening } = self;
        let fields = [(u64::from(has_failed), 2), (wanted.into(), 3), (good.into(), 17)];
        let more = [(u64::from(left), 31), (u64::from(opening), 45)];
        fields.iter().chain(&more).fold(state, |word, (field, at)| word | field << at)
    }

    fn trial(self) -> Trial {
        let Word { state, has_failed, wanted, good, left, .. } = self;
        if has_failed {
            Trial::Failed
        } else if wanted > 0 && good >= wanted {
            Trial::Passed
        } else if state == HALF_OPEN && left < wanted - good {
            Trial::UnderWay
        } else {
            Trial::Idle
        }
    }
}

impl Probing {
    /// Lets everybody pass from now on, nobody, or so many probes. Forgets those before.
    pub fn set(&self, gate: Gate, probes: u32) {
        let wanted = probes.clamp(1, PROBES_MAX) as u16;
        let set = |Word { opening, .. }| {
            Some(match gate {
                Gate::Closed => Word { state: CLOSED, opening, ..Word::default() },
                Gate::Open => Word { state: OPEN, opening, ..Word::default() },
                Gate::HalfOpen => Word {
                    state: HALF_OPEN,
                    wanted,
                    left: wanted,
                    opening: opening.wrapping_add(1).max(1),
                    ..Word::default()
                },
            })
        };
        let _ = self.change(set);
    }

    /// Lets as many more pass as there are probes that nothing is known of yet.
    pub fn let_more_pass(&self) {
        let _ = self.change(|word| {
            let left = word.wanted.saturating_sub(word.good);
            (word.state == HALF_OPEN).then_some(Word { left, ..word })
        });
    }

    /// Whom it lets pass.
    pub fn gate(&self) -> Gate {
        match self.0.load(Relaxed) & STATE {
            CLOSED => Gate::Closed,
            OPEN => Gate::Open,
            _ => Gate::HalfOpen,
        }
    }

    /// How its probes do.
    pub fn trial(&self) -> Trial {
        Word::of(self.0.load(Relaxed)).trial()
    }

    /// Whether one more may pass, and as what.
    pub fn pass(&self) -> Option<Probe> {
        if self.0.load(Relaxed) & STATE == CLOSED {
            return Some(Probe::NONE);
        }
        self.pass_ajar()
    }

    #[cold]
    fn pass_ajar(&self) -> Option<Probe> {
        let before = self.change(|word| match word.state {
            HALF_OPEN if word.left > 0 => Some(Word { left: word.left - 1, ..word }),
            _ => None,
        });
        match before {
            Ok(before) => Some(Probe(before.opening)),
            Err(word) => (word.state == CLOSED).then_some(Probe::NONE),
        }
    }

    /// What somebody is who has passed just now.
    pub fn probe(&self) -> Probe {
        let word = Word::of(self.0.load(Relaxed));
        if word.state == HALF_OPEN { Probe(word.opening) } else { Probe::NONE }
    }

    /// A probe went well. The last of them closes it: nobody has to wait for that until it is
    /// judged.
    pub fn went_well(&self, probe: Probe) {
        self.hear(probe, |word| {
            let good = word.good.saturating_add(1);
            let state = if good >= word.wanted { CLOSED } else { HALF_OPEN };
            Word { good, state, ..word }
        });
    }

    /// A probe has failed: nobody passes any more.
    pub fn has_failed(&self, probe: Probe) {
        self.hear(probe, |word| Word { state: OPEN, has_failed: true, ..word });
    }

    /// A probe has taught nothing: somebody else may pass.
    pub fn give_back(&self, probe: Probe) {
        self.hear(probe, |word| {
            let left = (word.left + 1).min(word.wanted - word.good);
            Word { left, ..word }
        });
    }

    fn hear(&self, probe: Probe, change: impl Fn(Word) -> Word) {
        let of = |word: Word| word.state == HALF_OPEN && Probe(word.opening) == probe;
        let _ = self.change(|word| of(word).then(|| change(word)));
    }

    /// What it was before the change; what it is where there was none.
    fn change(&self, change: impl Fn(Word) -> Option<Word>) -> Result<Word, Word> {
        let change = |word| change(Word::of(word)).map(Word::bits);
        self.0.fetch_update(Relaxed, Relaxed, change).map(Word::of).map_err(Word::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half_open(probes: u32) -> Probing {
        let probing = Probing::default();
        probing.set(Gate::HalfOpen, probes);
        probing
    }

    fn passing(probing: &Probing) -> Vec<Probe> {
        (0..10).map_while(|_| probing.pass()).collect()
    }

    #[test]
    fn half_open_it_lets_exactly_its_probes_pass() {
        let probing = Probing::default();
        for (gate, expected) in
            [(Gate::Closed, 10), (Gate::Open, 0), (Gate::HalfOpen, 3), (Gate::Closed, 10)]
        {
            probing.set(gate, 3);
            assert_eq!((passing(&probing).len(), probing.gate()), (expected, gate));
        }
    }

    #[test]
    fn the_last_good_probe_closes_it_and_one_that_fails_opens_it() {
        let probing = half_open(2);
        assert_eq!(probing.trial(), Trial::Idle);
        let probes = passing(&probing);
        assert_eq!(probing.trial(), Trial::UnderWay);
        probing.went_well(probes[0]);
        assert_eq!((probing.trial(), probing.gate()), (Trial::UnderWay, Gate::HalfOpen));
        probing.went_well(probes[1]);
        assert_eq!((probing.trial(), probing.gate()), (Trial::Passed, Gate::Closed));
        probing.has_failed(probes[1]);
        assert_eq!(probing.trial(), Trial::Passed, "what was decided stays so");

        probing.set(Gate::HalfOpen, 2);
        let probes = passing(&probing);
        probing.went_well(probes[0]);
        probing.has_failed(probes[1]);
        assert_eq!((probing.trial(), probing.gate()), (Trial::Failed, Gate::Open));
        assert_eq!(passing(&probing), []);
    }

    #[test]
    fn what_was_given_back_may_be_taken_again_but_only_once() {
        let probing = half_open(2);
        let probes = passing(&probing);
        probing.give_back(probes[0]);
        assert_eq!(passing(&probing).len(), 1);
        probing.went_well(probes[1]);
        (0..5).for_each(|_| probing.give_back(probes[0]));
        assert_eq!(passing(&probing).len(), 1, "one has gone well: one more is wanted");
    }

    #[test]
    fn those_that_nothing_is_known_of_stand_in_nobodys_way_for_ever() {
        let probing = half_open(3);
        let probes = passing(&probing);
        probing.went_well(probes[0]);
        probing.let_more_pass();
        assert_eq!(passing(&probing).len(), 2);
        probing.went_well(probes[1]);
        probing.went_well(probes[2]);
        assert_eq!(probing.trial(), Trial::Passed, "late ones count all the same");
    }

    #[test]
    fn a_probe_of_another_opening_is_not_heard() {
        let probing = half_open(1);
        let old = passing(&probing)[0];
        for gate in [Gate::Open, Gate::HalfOpen] {
            probing.set(gate, 1);
            probing.went_well(old);
            probing.has_failed(old);
            assert_eq!((probing.gate(), probing.trial()), (gate, Trial::Idle));
        }
        assert_eq!(passing(&probing).len(), 1);
        probing.give_back(old);
        probing.give_back(Probe::NONE);
        assert_eq!(passing(&probing).len(), 0);
        probing.set(Gate::Closed, 1);
        assert_eq!(probing.probe(), Probe::NONE);
    }

    #[test]
    fn openings_go_round_without_a_probe_that_is_none() {
        let probing = Probing::default();
        for _ in 0..=u32::from(u16::MAX) + 1 {
            probing.set(Gate::HalfOpen, PROBES_MAX + 1);
            let probe = probing.pass().expect("a place");
            assert!(probe.is_some() && probing.probe() == probe);
        }
        assert_eq!(Word::of(probing.0.load(Relaxed)).left, PROBES_MAX as u16 - 1);
    }
}

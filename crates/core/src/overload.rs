//! When the gateway itself is short of memory: who is turned away, the least important first.
//!
//! Those that run go on; those that come are the newest, and they are the ones that are refused.

use crate::queue::Priority;

/// What the whole process may use, as far as an operator says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Bytes of memory towards which load is shed; `None` follows what the process is allowed.
    pub memory_bytes: Option<u64>,
    /// Client connections open at once, over all listeners; `None` follows the limit on
    /// descriptors.
    pub connections: Option<u32>,
}

/// How short of memory it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Not at all.
    #[default]
    None,
    /// Requests of low priority are turned away.
    Low,
    /// Those of normal priority too.
    Normal,
    /// All are, and no connection is taken.
    All,
}

/// Percent of the ceiling at which each pressure begins.
const BEGINS: [(Pressure, u64); 3] =
    [(Pressure::All, 95), (Pressure::Normal, 90), (Pressure::Low, 85)];

/// Percent below that at which it ends: one that comes and goes would answer at random.
const SLACK: u64 = 3;

impl Pressure {
    /// All, in rising order.
    pub const ALL: [Pressure; 4] = [Pressure::None, Pressure::Low, Pressure::Normal, Pressure::All];

    /// What it is after `before`, now that `used` of `most` bytes are.
    pub fn next(before: Pressure, used: u64, most: u64) -> Pressure {
        let share = u128::from(used) * 100 / u128::from(most.max(1));
        let holds = |(pressure, begins): &&(Pressure, u64)| {
            let slack = if *pressure <= before { SLACK } else { 0 };
            share >= u128::from(begins - slack)
        };
        BEGINS.iter().find(holds).map_or(Pressure::None, |(pressure, _)| *pressure)
    }

    /// Whether a request of this priority is turned away.
    pub const fn sheds(self, priority: Priority) -> bool {
        match self {
            Pressure::None => false,
            Pressure::Low => matches!(priority, Priority::Low),
            Pressure::Normal => matches!(priority, Priority::Low | Priority::Normal),
            Pressure::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_are_turned_away_first() {
        for (used, shed) in [
            (84, vec![]),
            (85, vec![Priority::Low]),
            (90, vec![Priority::Normal, Priority::Low]),
            (95, vec![Priority::High, Priority::Normal, Priority::Low]),
            (300, vec![Priority::High, Priority::Normal, Priority::Low]),
        ] {
            let pressure = Pressure::next(Pressure::None, used, 100);
            let sheds = Priority::ALL.into_iter().filter(|one| pressure.sheds(*one));
            assert_eq!(sheds.collect::<Vec<_>>(), shed, "{used}");
        }
    }

    #[test]
    fn a_pressure_ends_below_where_it_began() {
        let mut pressure = Pressure::None;
        for (used, expected) in [
            (94, Pressure::Normal),
            (95, Pressure::All),
            (93, Pressure::All),
            (91, Pressure::Normal),
            (87, Pressure::Normal),
            (86, Pressure::Low),
            (82, Pressure::Low),
            (81, Pressure::None),
            (84, Pressure::None),
        ] {
            pressure = Pressure::next(pressure, used, 100);
            assert_eq!(pressure, expected, "{used}");
        }
    }

    #[test]
    fn a_ceiling_of_nothing_turns_all_away() {
        assert_eq!(Pressure::next(Pressure::None, 1, 0), Pressure::All);
        assert_eq!(Pressure::next(Pressure::None, u64::MAX / 2, u64::MAX), Pressure::None);
    }
}

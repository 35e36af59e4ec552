//! Chance as the actors of a simulation use it.

use gatehouse_core::chance::Chance;
use std::ops::Range;
use std::time::Duration;

/// One actor's chance.
pub struct Dice(Chance);

impl Dice {
    /// The chance of actor `number` in the simulation of `seed`.
    pub fn of(seed: u64, number: u64) -> Dice {
        Dice(Chance::seeded(seed.wrapping_mul(0x9e37_79b9) ^ (number << 32)))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u32) as usize
    }

    /// True once in so many times; never for 0.
    pub fn one_in(&mut self, times: u32) -> bool {
        times > 0 && self.0.below(times) == 0
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: u32) -> bool {
        self.0.below(100) < share
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Some time.
    pub fn millis(&mut self, range: Range<u32>) -> Duration {
        Duration::from_millis((range.start + self.0.below(range.end - range.start)).into())
    }

    /// The length of a body: mostly short, now and then longer than any buffer.
    pub fn length(&mut self) -> usize {
        match self.below(12) {
            0 => 0,
            1..=6 => self.below(200),
            7..=9 => self.below(9_000),
            10 => self.below(40_000),
            _ => self.below(200_000),
        }
    }
}

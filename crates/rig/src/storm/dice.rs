//! Chance as the actors of a storm use it: one seed decides all of them.

use std::ops::Range;
use std::time::Duration;

/// One actor's chance: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The chance of actor `number` in the storm of `seed`.
    #[must_use]
    pub fn of(seed: u64, number: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9) ^ (number << 32))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, and 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 32) as usize % bound.max(1)
    }

    /// True once in so many times; never for 0.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times as usize) == 0 && times > 0
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: u32) -> bool {
        self.below(100) < share as usize
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Some time.
    pub fn millis(&mut self, range: Range<u32>) -> Duration {
        let most = (range.end - range.start) as usize;
        Duration::from_millis(u64::from(range.start) + self.below(most) as u64)
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

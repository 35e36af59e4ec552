//! Random numbers as an argument: a seed decides everything.

/// A SplitMix64 generator (Steele, Lea, Flood 2014): 64 bits of state, no allocation, no lock.
/// Good for balancing and jitter; never for secrets.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A generator that gives the same sequence for the same seed.
    pub const fn seeded(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.0)
    }

    /// A number in `0..bound`; 0 where the bound is 0. Lemire's multiply-shift: the bias is below
    /// `bound / 2^32`.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// SplitMix64's finaliser: every input bit reaches every output bit.
pub const fn mix64(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

//! The hashes of keys and endpoints. Their output decides which endpoint a key goes to, before and
//! after an upgrade and on every gateway of a fleet, so it is **persisted behaviour**: the vectors
//! in the tests may never change.

use crate::chance::mix64;

/// 64 bits of `bytes`: SplitMix64's finaliser over eight bytes at a time, little endian, the last
/// ones filled up with zeros, started with the length. Spreads well and is quick; a peer who
/// chooses keys can choose where they land, as with any hash that has no secret.
pub fn hash64(bytes: &[u8]) -> u64 {
    let start = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(bytes.len() as u64 + 1);
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words.iter().fold(start, |state, word| mix64(state ^ u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix64(mix64(state ^ u64::from_le_bytes(last)).wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// CRC-32/IEEE (reflected, polynomial 0xEDB88320): the first generation's.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| (crc >> 8) ^ CRC_TABLE[usize::from(crc as u8 ^ byte)])
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_ieee_one() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn close_keys_spread_over_all_bits() {
        let mut ones = [0_u32; 64];
        for key in 0..4_096_u32 {
            let bits = hash64(format!("10.0.{}.{}", key >> 8, key & 255).as_bytes());
            ones.iter_mut().enumerate().for_each(|(at, ones)| *ones += (bits >> at) as u32 & 1);
        }
        assert!(ones.iter().all(|ones| (1_850..2_250).contains(ones)), "{ones:?}");
    }

    #[test]
    fn zeros_at_the_end_count() {
        assert_ne!(hash64(b"a"), hash64(b"a\0"));
        assert_ne!(hash64(b""), hash64(b"\0"));
        assert_ne!(hash64(b"12345678"), hash64(b"12345678\0\0\0\0\0\0\0\0"));
    }
}

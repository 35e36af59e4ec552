//! How many connections each address has open at a listener. Only addresses with one are known, so
//! that there are never more of them than connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of the table, each under a lock of its own. It is asked once a connection, and only where
/// the listener limits them.
const PARTS: usize = 64;

/// Who is counted as one: an IPv4 address, or an IPv6 network of 64 bits, which one customer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Counted(u64);

impl Counted {
    pub fn of(address: IpAddr) -> Counted {
        Counted(match address.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            // Never in the range of the others: no network begins with 32 zeros but theirs.
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64 | 1 << 63,
        })
    }
}

/// The addresses of a listener's connections.
#[derive(Debug)]
pub(crate) struct Addresses([Mutex<HashMap<Counted, u32>>; PARTS]);

impl Default for Addresses {
    fn default() -> Addresses {
        Addresses(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Addresses {
    fn part(&self, counted: Counted) -> MutexGuard<'_, HashMap<Counted, u32>> {
        // Fibonacci hashing: neighbours come to lie apart.
        let at = counted.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        self.0[at as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection in, unless its address has `most`.
    pub fn try_enter(&self, counted: Counted, most: u32) -> bool {
        let mut part = self.part(counted);
        let open = part.entry(counted).or_default();
        let fits = *open < most;
        *open += u32::from(fits);
        fits
    }

    /// Counts one out.
    pub fn leave(&self, counted: Counted) {
        let mut part = self.part(counted);
        if let Some(open) = part.get_mut(&counted) {
            *open -= 1;
            if *open == 0 {
                part.remove(&counted);
            }
        }
        // What an attack has made it grow to is given back.
        if part.capacity() > 1024 && part.len() * 8 < part.capacity() {
            part.shrink_to_fit();
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.iter().map(|part| part.lock().map_or(0, |part| part.len())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_count_of_its_own_and_none_is_kept_for_nothing() {
        let addresses = Addresses::default();
        let of = |text: &str| Counted::of(text.parse().expect("an address"));
        for text in ["10.0.0.1", "10.0.0.2", "2001:db8::1", "::ffff:10.0.0.3"] {
            let enters = (0..4).map(|_| addresses.try_enter(of(text), 3));
            assert_eq!(enters.collect::<Vec<_>>(), [true, true, true, false], "{text}");
        }
        assert_eq!(of("10.0.0.3"), of("::ffff:10.0.0.3"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"), "one network");
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        addresses.leave(of("10.0.0.1"));
        assert!(addresses.try_enter(of("10.0.0.1"), 3));
        for text in ["10.0.0.1", "10.0.0.2", "2001:db8::9", "10.0.0.3"] {
            (0..3).for_each(|_| addresses.leave(of(text)));
        }
        assert_eq!(addresses.len(), 0);
    }
}

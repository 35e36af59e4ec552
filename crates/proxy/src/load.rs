//! What all workers share of how much the process carries: how many clients there are, and whether
//! it is short of memory.

use gatehouse_core::overload::Pressure;
use gatehouse_core::vitals::Padded;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

/// How much the process carries, and may.
#[derive(Debug)]
pub(crate) struct Load {
    clients: Padded<AtomicU32>,
    /// Read by every exchange, written when something is wrong.
    pressure: Padded<AtomicU8>,
    clients_max: AtomicU32,
}

impl Default for Load {
    fn default() -> Load {
        Load {
            clients: Padded::default(),
            pressure: Padded::default(),
            clients_max: AtomicU32::new(u32::MAX),
        }
    }
}

impl Load {
    /// Counts a client connection in, unless there are as many as may be.
    pub fn try_enter(&self) -> bool {
        let most = self.clients_max.load(Relaxed);
        let enter = |open: u32| (open < most).then_some(open + 1);
        self.pressure() != Pressure::All
            && self.clients.0.fetch_update(Relaxed, Relaxed, enter).is_ok()
    }

    /// Counts one out.
    pub fn leave(&self) {
        self.clients.0.fetch_sub(1, Relaxed);
    }

    pub fn pressure(&self) -> Pressure {
        Pressure::ALL[usize::from(self.pressure.0.load(Relaxed)).min(Pressure::ALL.len() - 1)]
    }

    pub fn set_pressure(&self, pressure: Pressure) {
        self.pressure.0.store(pressure as u8, Relaxed);
    }

    pub fn clients_max(&self) -> u32 {
        self.clients_max.load(Relaxed)
    }

    pub fn set_clients_max(&self, most: u32) {
        self.clients_max.store(most, Relaxed);
    }
}

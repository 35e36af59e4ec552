//! Tests, demonstrates and measures the gateway from the outside: origins, scripted peers, the
//! gateway as a process, a plain relay and a closed-loop load.
//!
//! It speaks HTTP with code of its own, so that a fault of the gateway's cannot hide in its tests.
//! Nothing but the `gatehouse` binary (for `demo` and `bench`) may depend on it outside of tests.

pub mod bench;
mod checksum;
pub mod consul;
pub mod frames;
pub mod hold;
pub mod load;
pub mod origin;
mod poller;
pub mod process;
pub mod relay;
pub mod script;
pub mod secured;
mod slab;
pub mod slow;
mod socket;
pub mod storm;
mod wait;

pub use wait::wait_until;

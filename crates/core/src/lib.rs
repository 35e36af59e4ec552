//! Decides: what a message is, which route it takes, which endpoint answers it, and what a
//! failure means.
//!
//! Never here: tokio, serde, sockets, files, a clock, a global random source, logging, async.
//! Time and chance are arguments, so every decision can be tested by a table.

pub mod address;
pub mod balance;
pub mod balance_key;
pub mod bell;
pub mod breaker;
pub mod chance;
pub mod concurrency;
pub mod endpoints;
pub mod failure;
pub mod health;
pub mod hedge;
pub mod latencies;
pub mod message;
pub mod moment;
pub mod outlier;
pub mod overload;
pub mod plan;
pub mod queue;
pub mod rate;
pub mod retry_budget;
pub mod route;
pub mod vitals;

//! What `gatehouse-core` promises, proved from outside.

mod allocations;
mod asking;
mod concurrent_picks;
mod golden;
mod hashing;
mod limiting;
mod oracle;
mod pool;
mod precedence;
mod rewriting;
mod scale;
mod sharing;
mod standing;
mod ties;
mod waiting;

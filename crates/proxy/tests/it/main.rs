//! The data path over an in-memory network with a paused clock. Each test states one fact.

mod allocations;
mod back_pressure;
mod bench;
mod buffering;
mod closing;
mod draining;
mod forwarding;
mod framing;
mod fuzzing;
mod h2;
mod hedging;
mod interim;
mod limits;
mod logging;
mod own_answers;
mod parking;
mod pipelining;
mod proxied;
mod queueing;
mod relaying;
mod retrying;
mod simulation;
mod talk;
mod tcp;
mod timeouts;
mod upgrade;

//! The data path over an in-memory network with a paused clock. Each test states one fact.

mod back_pressure;
mod bench;
mod closing;
mod forwarding;
mod framing;
mod interim;
mod pipelining;
mod relaying;
mod retrying;
mod talk;
mod upgrade;

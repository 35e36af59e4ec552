//! The data path over an in-memory network with a paused clock. Each test states one fact.

mod bench;
mod forwarding;
mod framing;
mod interim;
mod pipelining;
mod relaying;
mod talk;
mod upgrade;

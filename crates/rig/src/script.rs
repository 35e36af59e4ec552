//! Scripted peers for tests: a client and an origin that do exactly what they are told, byte by
//! byte, and say what they saw. They block, with a limit on every wait, and panic with a reason
//! when the other side does something else: a script is an assertion.

mod client;
mod message;
mod origin;
mod pipe;

pub use client::Client;
pub use message::{Head, Response};
pub use origin::{Gate, Script, ScriptedOrigin};
pub use pipe::Ending;

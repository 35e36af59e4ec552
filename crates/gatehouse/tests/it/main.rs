//! The binary from outside.

mod commands;
mod framing_bodies;
mod framing_heads;
mod front;

//! The binary from outside.

mod commands;
mod demo;
mod framing_bodies;
mod framing_heads;
mod front;
mod messages;
mod starting;

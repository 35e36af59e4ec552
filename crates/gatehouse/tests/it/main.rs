//! The binary from outside.

mod admin;
mod commands;
mod demo;
mod drain;
mod exposition;
mod framing_bodies;
mod framing_heads;
mod front;
mod json;
mod messages;
mod paths;
mod sockets;
mod starting;
mod websocket;

//! The binary from outside.

mod access_log;
mod admin;
mod bench;
mod bodies;
mod commands;
mod container;
mod demo;
mod drain;
mod exhaustion;
mod exposition;
mod first_generation;
mod framing_bodies;
mod framing_heads;
mod front;
mod health;
mod json;
mod messages;
mod packaging;
mod paths;
mod reload;
mod sockets;
mod starting;
mod storm;
mod systemd;
mod watch;
mod websocket;

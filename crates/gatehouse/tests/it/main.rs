//! The binary from outside.

mod commands;

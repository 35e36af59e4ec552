//! Steers: configuration, admin, metrics, access log.

pub mod access_log;
pub mod admin;
pub mod config;
pub mod gateway;
pub mod registry;
mod steer;
pub mod supervisor;

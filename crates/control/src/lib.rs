//! Steers: configuration, admin, metrics, access log.

pub mod config;

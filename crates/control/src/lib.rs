//! Steers: configuration, reload, health, admin, metrics, access log.

pub mod access_log;
mod acme;
pub mod admin;
mod base64;
mod caller;
pub mod certificates;
mod client;
mod client_http2;
pub mod config;
mod discovery;
pub mod dns;
pub mod gateway;
mod health;
mod json_text;
pub mod memory_bound;
pub mod overload;
mod register;
pub mod registry;
pub mod remote;
mod same;
mod steer;
mod succession;
pub mod supervisor;
pub mod terminal;
mod watched;
mod whole_file;
mod zookeeper;

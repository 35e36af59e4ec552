//! The configuration from outside: what is read, refused, written and measured.

mod changes;
mod commands;
mod documents;
mod examples;
mod formatting;
mod golden;
mod json_schema;
mod limits;
mod mutations;

//! HTTP/1.1 parsing and writing under arbitrary bytes.

mod fuzz;
mod oracle;

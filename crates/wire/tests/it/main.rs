//! What is parsed and written, under arbitrary bytes.

mod client_hello;
mod driver;
mod fuzz;
mod oracle;
mod proxy_header;
mod second_reading;
mod tls;
mod tls_trust;

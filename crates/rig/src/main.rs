//! (see lib.rs)
fn main() {}

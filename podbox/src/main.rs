//! podbox.
fn main() {}

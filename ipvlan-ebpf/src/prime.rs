//! Prime.
fn main() {}

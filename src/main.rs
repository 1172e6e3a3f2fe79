//! The `mailhaul` command.
fn main() {}

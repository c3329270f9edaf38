//! Jobs of this project that are more than one command.
fn main() {}

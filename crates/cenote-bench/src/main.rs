//! Every memory pool and allocator that one would pick instead of cenote, side by side in one run.
fn main() {}

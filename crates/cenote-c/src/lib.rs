//! The C ABI of the cenote memory pools.

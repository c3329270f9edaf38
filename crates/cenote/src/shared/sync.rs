//! The atomics and the lock of shared pools.

pub(crate) use crate::sync::modelled::{AtomicPtr, AtomicU64, AtomicUsize, Lock, Ordering, fence};

//! The atomics and the lock of shared pools: those of the standard library, or loom's where a
//! model of them is checked.

#[cfg(not(all(test, loom)))]
mod imp {
    pub(crate) use crate::sync::Lock;
    pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, fence};
}

#[cfg(all(test, loom))]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, fence};

    pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> impl core::ops::DerefMut<Target = T> + '_ {
            self.0.lock().unwrap()
        }
    }
}

pub(crate) use core::sync::atomic::Ordering;
pub(crate) use imp::*;

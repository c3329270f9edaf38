//! The one lock of the crate: for lists of accounts and thread records, never for allocation;
//! and what of locks and atomics models are checked with.

#[cfg(all(feature = "std", not(cenote_tsan)))]
mod imp {
    /// A mutex that a panic in its owner does not poison: what it guards is linked in single
    /// steps, and is whole at every point where a panic could be.
    pub(crate) struct Lock<T>(std::sync::Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> impl core::ops::DerefMut<Target = T> + '_ {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        /// The lock, unless somebody has it.
        #[cfg_attr(all(test, loom), allow(dead_code))]
        pub(crate) fn try_lock(&self) -> Option<impl core::ops::DerefMut<Target = T> + '_> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(std::sync::TryLockError::Poisoned(error)) => Some(error.into_inner()),
                Err(std::sync::TryLockError::WouldBlock) => None,
            }
        }

        /// What it guards, for who has the lock to himself.
        #[cfg_attr(all(test, loom), allow(dead_code))]
        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

// The standard library is not instrumented, so ThreadSanitizer does not see what its locks order.
#[cfg(any(not(feature = "std"), cenote_tsan))]
mod imp {
    use core::cell::UnsafeCell;
    use core::marker::PhantomData;
    use core::ops::{Deref, DerefMut};
    use core::sync::atomic::{AtomicBool, Ordering};

    /// A spinning lock, for want of an operating system to wait with.
    pub(crate) struct Lock<T> {
        taken: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: only the holder of the flag reaches the value, so sharing the lock among threads
    // hands the value from one to the next; that needs `T: Send`.
    unsafe impl<T: Send> Sync for Lock<T> {}

    /// Not `Sync` or `Send` by itself, whatever the lock is.
    pub(crate) struct Guard<'a, T>(&'a Lock<T>, PhantomData<*mut ()>);

    impl<T> Lock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
        }

        pub(crate) fn lock(&self) -> impl DerefMut<Target = T> + '_ {
            while self.taken.swap(true, Ordering::Acquire) {
                core::hint::spin_loop();
            }
            Guard(self, PhantomData)
        }

        /// The lock, unless somebody has it.
        pub(crate) fn try_lock(&self) -> Option<impl DerefMut<Target = T> + '_> {
            let free = !self.taken.swap(true, Ordering::Acquire);
            free.then(|| Guard(self, PhantomData))
        }

        /// What it guards, for who has the lock to himself.
        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.value.get_mut()
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            // SAFETY: the guard exists only while its thread holds the flag.
            unsafe { &*self.0.value.get() }
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: the guard exists only while its thread holds the flag, and is borrowed
            // exclusively here.
            unsafe { &mut *self.0.value.get() }
        }
    }

    impl<T> Drop for Guard<'_, T> {
        fn drop(&mut self) {
            self.0.taken.store(false, Ordering::Release);
        }
    }
}

pub(crate) use imp::Lock;

/// What threads share that loom has models of: the atomics and the lock of the standard library,
/// or loom's where the models are checked (`--cfg loom`, in this crate's tests only).
pub(crate) mod modelled {
    #[cfg(not(all(test, loom)))]
    mod imp {
        pub(crate) use super::super::Lock;
        pub(crate) use core::sync::atomic::{
            AtomicBool, AtomicI64, AtomicIsize, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence,
        };
    }

    #[cfg(all(test, loom))]
    mod imp {
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicI64, AtomicIsize, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence,
        };

        pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

        impl<T> Lock<T> {
            pub(crate) fn new(value: T) -> Self {
                Self(loom::sync::Mutex::new(value))
            }

            pub(crate) fn lock(&self) -> impl core::ops::DerefMut<Target = T> + '_ {
                self.0.lock().unwrap()
            }

            pub(crate) fn try_lock(&self) -> Option<impl core::ops::DerefMut<Target = T> + '_> {
                self.0.try_lock().ok()
            }

            pub(crate) fn get_mut(&mut self) -> &mut T {
                self.0.get_mut().unwrap()
            }
        }
    }

    pub(crate) use core::sync::atomic::Ordering;
    pub(crate) use imp::*;
}

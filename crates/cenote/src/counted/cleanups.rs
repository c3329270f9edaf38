//! What a counted pool does at its end: deferred calls, and owned values.

use super::CountedPool;
use crate::cleanup::{Cleanup, CleanupKey, Home, Owned, PoolPtr, Record};
use crate::error::{Mode, Must, Try, must};
use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

impl<S: BlockSource> Home for CountedPool<S> {
    unsafe fn spent(pool: PoolPtr, record: NonNull<Record>, entry: Layout) {
        // SAFETY: the caller's promise: a pool of this type, which registered it.
        let pool = unsafe { pool.cast::<Self>().as_ref() };
        // SAFETY: the caller's promise, passed on.
        unsafe { pool.lasting.spent(record, entry) }
    }
}

#[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
impl<S: BlockSource> CountedPool<S> {
    fn register<M: Mode, F: FnOnce(PoolPtr) + Send>(
        &self,
        key: CleanupKey,
        action: F,
    ) -> Result<Cleanup<'_>, M::Error> {
        // SAFETY: this pool and its list.
        unsafe {
            let (supply, list) = (&self.supply, &self.cleanups);
            self.lasting.register::<S, Self, F>(supply, list, self.erased(), key, action)
        }
        .or_else(M::refuse)
    }

    fn defer_with_in<M: Mode>(
        &self,
        action: impl FnOnce(&CountedPool<S>) + Send + 'static,
    ) -> Result<Cleanup<'_>, M::Error> {
        self.register::<M, _>(CleanupKey::NONE, move |pool| {
            // SAFETY: the list calls its actions with the pool that it belongs to.
            action(unsafe { pool.cast::<CountedPool<S>>().as_ref() });
        })
    }

    fn own_in<M: Mode, T: Send + 'static>(&self, value: T) -> Result<&mut T, M::Error> {
        let slot = self.lasting.place(&self.supply, Layout::new::<T>()).or_else(M::refuse)?;
        let slot = slot.cast::<T>();
        if core::mem::needs_drop::<T>() {
            let owned = Owned(slot);
            // Registered once its memory is there, and written before anything can run it.
            self.register::<M, _>(CleanupKey::NONE, move |_| owned.drop_value())?;
        }
        // SAFETY: memory for a `T` that is nobody else's. The cleanup reaches it when the pool is
        // reset or dropped, and no reference is left by then.
        let slot = unsafe { slot.cast::<MaybeUninit<T>>().as_mut() };
        Ok(slot.write(value))
    }

    /// Calls `action` when the pool is reset or dropped: last registered, first called.
    ///
    /// The closure must be `Send`, since the pool may be dropped on another thread, and
    /// `'static`, since it may outlive what it could borrow. It is kept apart from the
    /// objects, and holds none of their blocks back. Where a cleanup is cancelled or run
    /// early, its memory is used for later ones.
    ///
    /// ```
    /// use cenote::CountedPool;
    /// use std::sync::{Arc, Mutex};
    /// let order = Arc::new(Mutex::new(Vec::new()));
    /// let mut pool = CountedPool::new();
    /// for number in 1..=3 {
    ///     let order = order.clone();
    ///     pool.defer(move || order.lock().unwrap().push(number));
    /// }
    /// pool.defer(|| unreachable!()).cancel();
    /// pool.reset();
    /// assert_eq!(*order.lock().unwrap(), [3, 2, 1]);
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_defer`] fails, but for want of system memory: then it aborts.
    pub fn defer(&self, action: impl FnOnce() + Send + 'static) -> Cleanup<'_> {
        must(self.register::<Must, _>(CleanupKey::NONE, move |_| action()))
    }

    /// Calls `action` when the pool is reset or dropped.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The closure is dropped, not called.
    pub fn try_defer(
        &self,
        action: impl FnOnce() + Send + 'static,
    ) -> Result<Cleanup<'_>, AllocError> {
        self.register::<Try, _>(CleanupKey::NONE, move |_| action())
    }

    /// As [`CountedPool::defer`], to be found again by its key with [`CountedPool::cleanup`].
    ///
    /// ```
    /// use cenote::{CleanupKey, CountedPool};
    /// let pool = CountedPool::new();
    /// pool.defer_keyed(CleanupKey::new("timer", 7), || ());
    /// assert!(pool.cleanup(CleanupKey::new("timer", 7)).is_some_and(|timer| timer.cancel()));
    /// assert!(pool.cleanup(CleanupKey::new("timer", 7)).is_none());
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_defer_keyed`] fails, but for want of system memory: then it
    /// aborts.
    pub fn defer_keyed(
        &self,
        key: CleanupKey,
        action: impl FnOnce() + Send + 'static,
    ) -> Cleanup<'_> {
        must(self.register::<Must, _>(key, move |_| action()))
    }

    /// As [`CountedPool::try_defer`], to be found again by its key.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The closure is dropped, not called.
    pub fn try_defer_keyed(
        &self,
        key: CleanupKey,
        action: impl FnOnce() + Send + 'static,
    ) -> Result<Cleanup<'_>, AllocError> {
        self.register::<Try, _>(key, move |_| action())
    }

    /// Calls `action` with the pool itself when the pool is reset or dropped. What it leaks
    /// lives until the reset goes on; what it registers runs right after it.
    ///
    /// ```
    /// use cenote::CountedPool;
    /// let pool = CountedPool::new();
    /// pool.defer_with(|pool| {
    ///     let farewell = pool.alloc_str("closing");
    ///     assert_eq!(farewell.len(), 7);
    /// });
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_defer_with`] fails, but for want of system memory: then it
    /// aborts.
    pub fn defer_with(&self, action: impl FnOnce(&CountedPool<S>) + Send + 'static) -> Cleanup<'_>
    where
        S: 'static,
    {
        must(self.defer_with_in::<Must>(action))
    }

    /// Calls `action` with the pool itself when the pool is reset or dropped.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The closure is dropped, not called.
    pub fn try_defer_with(
        &self,
        action: impl FnOnce(&CountedPool<S>) + Send + 'static,
    ) -> Result<Cleanup<'_>, AllocError>
    where
        S: 'static,
    {
        self.defer_with_in::<Try>(action)
    }

    /// Keeps a value until the pool is reset or dropped, and then drops it.
    ///
    /// It is placed apart from the objects, so it holds none of their blocks back; it is not
    /// counted, and cannot be freed before. Costs a cleanup (about 100 bytes) where the type
    /// has a destructor. The value must be `Send` and `'static`, for the reasons given at
    /// [`CountedPool::defer`].
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// let names = pool.own(vec![String::from("dropped with the pool")]);
    /// names.push(String::from("so is this"));
    /// assert_eq!(pool.live(), 0);
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_own`] fails, but for want of system memory: then it aborts.
    pub fn own<T: Send + 'static>(&self, value: T) -> &mut T {
        must(self.own_in::<Must, T>(value))
    }

    /// Keeps a value until the pool is reset or dropped, and then drops it.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The value is dropped.
    pub fn try_own<T: Send + 'static>(&self, value: T) -> Result<&mut T, AllocError> {
        self.own_in::<Try, T>(value)
    }

    /// The newest pending cleanup with this key, to be cancelled or run early.
    pub fn cleanup(&self, key: CleanupKey) -> Option<Cleanup<'_>> {
        // SAFETY: the pool of this list.
        unsafe { self.cleanups.find(key, self.erased()) }
    }
}

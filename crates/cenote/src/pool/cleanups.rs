//! What a pool does at its end: deferred calls, owned values, files.

use super::Pool;
use crate::cleanup::{Cleanup, CleanupKey, Entry, Owned, PoolPtr, Stays};
use crate::error::{Mode, Must, Try, must};
use crate::{AllocError, BlockSource};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

#[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
impl<S: BlockSource> Pool<S> {
    #[inline]
    fn defer_in<M: Mode>(
        &self,
        key: CleanupKey,
        action: impl FnOnce() + Send + 'static,
    ) -> Result<Cleanup<'_>, M::Error> {
        self.register::<M, _>(key, move |_| action())
    }

    #[inline]
    fn defer_with_in<M: Mode>(
        &self,
        action: impl FnOnce(&Pool<S>) + Send + 'static,
    ) -> Result<Cleanup<'_>, M::Error> {
        self.register::<M, _>(CleanupKey::NONE, move |pool| {
            // SAFETY: the list calls its actions with the pool that it belongs to.
            action(unsafe { pool.cast::<Pool<S>>().as_ref() });
        })
    }

    #[inline]
    fn register<M: Mode, F: FnOnce(PoolPtr) + Send>(
        &self,
        key: CleanupKey,
        action: F,
    ) -> Result<Cleanup<'_>, M::Error> {
        let entry = self.bump::<M>(size_of::<Entry<F>>(), align_of::<Entry<F>>())?.cast();
        // SAFETY: memory for an entry, fresh from the pool.
        unsafe { entry.write(Entry::new::<Stays>(key, action)) };
        // SAFETY: just written; pool memory stays in place until the cleanups have run.
        Ok(unsafe { self.cleanups.push(entry, self.erased()) })
    }

    #[inline]
    fn own_in<M: Mode, T: Send + 'static>(&self, value: T) -> Result<&mut T, M::Error> {
        if !core::mem::needs_drop::<T>() {
            let slot = self.alloc_slot::<M, T>()?;
            // SAFETY: memory for a `T`, fresh from the pool. It stays until a `&mut self`.
            let slot = unsafe { slot.cast::<MaybeUninit<T>>().as_mut() };
            return Ok(slot.write(value));
        }
        let slot = self.alloc_slot::<M, T>()?;
        let owned = Owned(slot);
        // Registered only once its memory is there, and written before anything can run it.
        self.register::<M, _>(CleanupKey::NONE, move |_| owned.drop_value())?;
        // SAFETY: memory for a `T`, fresh from the pool. The cleanup reaches it when the pool is
        // reset or dropped, and no reference is left by then.
        let slot = unsafe { slot.cast::<MaybeUninit<T>>().as_mut() };
        Ok(slot.write(value))
    }

    /// Memory for a `T`, also for one without bytes.
    #[inline]
    fn alloc_slot<M: Mode, T>(&self) -> Result<NonNull<T>, M::Error> {
        if size_of::<T>() == 0 {
            return Ok(NonNull::dangling());
        }
        self.bump::<M>(size_of::<T>(), align_of::<T>()).map(NonNull::cast)
    }

    /// Calls `action` when the pool is reset or dropped: last registered, first called.
    ///
    /// The closure is kept in the pool. It must be `Send`, since the pool may be dropped on
    /// another thread, and `'static`, since it may outlive what it could borrow.
    ///
    /// ```
    /// use cenote::Pool;
    /// use std::sync::{Arc, Mutex};
    /// let order = Arc::new(Mutex::new(Vec::new()));
    /// let mut pool = Pool::new();
    /// for number in 1..=3 {
    ///     let order = order.clone();
    ///     pool.defer(move || order.lock().unwrap().push(number));
    /// }
    /// pool.reset();
    /// assert_eq!(*order.lock().unwrap(), [3, 2, 1]);
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_defer`] fails, but for want of system memory: then it aborts.
    #[inline]
    pub fn defer(&self, action: impl FnOnce() + Send + 'static) -> Cleanup<'_> {
        must(self.defer_in::<Must>(CleanupKey::NONE, action))
    }

    /// Calls `action` when the pool is reset or dropped.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The closure is dropped, not called.
    #[inline]
    pub fn try_defer(
        &self,
        action: impl FnOnce() + Send + 'static,
    ) -> Result<Cleanup<'_>, AllocError> {
        self.defer_in::<Try>(CleanupKey::NONE, action)
    }

    /// As [`Pool::defer`], to be found again by its key with [`Pool::cleanup`].
    ///
    /// # Panics
    /// Where [`Pool::try_defer_keyed`] fails, but for want of system memory: then it aborts.
    #[inline]
    pub fn defer_keyed(
        &self,
        key: CleanupKey,
        action: impl FnOnce() + Send + 'static,
    ) -> Cleanup<'_> {
        must(self.defer_in::<Must>(key, action))
    }

    /// As [`Pool::try_defer`], to be found again by its key with [`Pool::cleanup`].
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The closure is dropped, not called.
    #[inline]
    pub fn try_defer_keyed(
        &self,
        key: CleanupKey,
        action: impl FnOnce() + Send + 'static,
    ) -> Result<Cleanup<'_>, AllocError> {
        self.defer_in::<Try>(key, action)
    }

    /// Calls `action` with the pool itself when the pool is reset or dropped. What it
    /// allocates lives until the reset goes on; what it registers runs right after it.
    ///
    /// ```
    /// use cenote::Pool;
    /// let pool = Pool::new();
    /// pool.defer_with(|pool| {
    ///     let farewell = pool.alloc_str("closing");
    ///     assert_eq!(farewell.len(), 7);
    /// });
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_defer_with`] fails, but for want of system memory: then it aborts.
    #[inline]
    pub fn defer_with(&self, action: impl FnOnce(&Pool<S>) + Send + 'static) -> Cleanup<'_>
    where
        S: 'static,
    {
        must(self.defer_with_in::<Must>(action))
    }

    /// Calls `action` with the pool itself when the pool is reset or dropped.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The closure is dropped, not called.
    #[inline]
    pub fn try_defer_with(
        &self,
        action: impl FnOnce(&Pool<S>) + Send + 'static,
    ) -> Result<Cleanup<'_>, AllocError>
    where
        S: 'static,
    {
        self.defer_with_in::<Try>(action)
    }

    /// Keeps a value whose destructor runs when the pool is reset or dropped.
    ///
    /// Costs a cleanup (about 50 bytes) where the type has a destructor, nothing beyond
    /// [`Pool::alloc`] where it has none. The value must be `Send` and `'static`, for the
    /// reasons given at [`Pool::defer`].
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// let names = pool.own(vec![String::from("dropped with the pool")]);
    /// names.push(String::from("so is this"));
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_own`] fails, but for want of system memory: then it aborts.
    #[inline]
    pub fn own<T: Send + 'static>(&self, value: T) -> &mut T {
        must(self.own_in::<Must, T>(value))
    }

    /// Keeps a value whose destructor runs when the pool is reset or dropped.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The value is dropped.
    #[inline]
    pub fn try_own<T: Send + 'static>(&self, value: T) -> Result<&mut T, AllocError> {
        self.own_in::<Try, T>(value)
    }

    /// The newest pending cleanup with this key, to be cancelled or run early.
    pub fn cleanup(&self, key: CleanupKey) -> Option<Cleanup<'_>> {
        // SAFETY: the pool of this list.
        unsafe { self.cleanups.find(key, self.erased()) }
    }
}

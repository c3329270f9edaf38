//! What a pool does at its end: deferred calls, owned values.

use super::ChunkPool;
use crate::cleanup::{Cleanup, CleanupKey, Home, Owned, PoolPtr, Record};
use crate::error::{Hush, Mode, Must, Try, must};
use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

impl<S: BlockSource> Home for ChunkPool<S> {
    unsafe fn spent(pool: PoolPtr, record: NonNull<Record>, entry: Layout) {
        // SAFETY: the caller's promise: a pool of this type, which registered it.
        let pool = unsafe { pool.cast::<Self>().as_ref() };
        // SAFETY: the caller's promise, passed on.
        unsafe { pool.seats.put(record, entry, 0) }
    }
}

#[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
impl<S: BlockSource> ChunkPool<S> {
    fn register<M: Mode, F: FnOnce(PoolPtr) + Send>(
        &self,
        key: CleanupKey,
        action: F,
    ) -> Result<Cleanup<'_>, M::Error> {
        let fresh = |seat| self.take::<Hush>(seat);
        // SAFETY: this pool and its list; an object of the pool stays until it is freed, and
        // nobody frees these before the pool is reset or dropped.
        unsafe {
            let list = &self.cleanups;
            self.seats.register::<Self, F>(list, self.erased(), key, action, 0, fresh)
        }
        .or_else(M::refuse)
    }

    fn own_in<M: Mode, T: Send + 'static>(&self, value: T) -> Result<&mut T, M::Error> {
        let slot: NonNull<T> = self.take::<M>(Layout::new::<T>())?.cast();
        if core::mem::needs_drop::<T>() {
            let owned = Owned(slot);
            // Registered only once its memory is there, and written before anything can run it.
            let registered =
                self.register::<Hush, _>(CleanupKey::NONE, move |_| owned.drop_value());
            if let Err(error) = registered {
                // SAFETY: from this pool with this layout, and not used yet.
                unsafe { self.dealloc(slot.cast(), Layout::new::<T>()) };
                return M::refuse(error);
            }
        }
        // SAFETY: memory for a `T`, fresh from the pool. The cleanup reaches it when the pool is
        // reset or dropped, and no reference is left by then.
        let slot = unsafe { slot.cast::<MaybeUninit<T>>().as_mut() };
        Ok(slot.write(value))
    }

    /// Calls `action` when the pool is reset or dropped: last registered, first called.
    ///
    /// The closure is kept in the pool, as an object that stays until then; where the cleanup is
    /// cancelled or run early, its memory is used for later ones. It must be `Send`, since the
    /// pool may be dropped on another thread, and `'static`, since it may outlive what it could
    /// borrow.
    ///
    /// ```
    /// use cenote::ChunkPool;
    /// use std::sync::{Arc, Mutex};
    /// let order = Arc::new(Mutex::new(Vec::new()));
    /// let mut pool = ChunkPool::new();
    /// for number in 1..=3 {
    ///     let order = order.clone();
    ///     pool.defer(move || order.lock().unwrap().push(number));
    /// }
    /// pool.reset();
    /// assert_eq!(*order.lock().unwrap(), [3, 2, 1]);
    /// ```
    ///
    /// # Panics
    /// Where [`ChunkPool::try_defer`] fails, but for want of system memory: then it aborts.
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

    /// As [`ChunkPool::defer`], to be found again by its key with [`ChunkPool::cleanup`].
    ///
    /// # Panics
    /// Where [`ChunkPool::try_defer_keyed`] fails, but for want of system memory: then it
    /// aborts.
    pub fn defer_keyed(
        &self,
        key: CleanupKey,
        action: impl FnOnce() + Send + 'static,
    ) -> Cleanup<'_> {
        must(self.register::<Must, _>(key, move |_| action()))
    }

    /// As [`ChunkPool::try_defer`], to be found again by its key with [`ChunkPool::cleanup`].
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

    /// Keeps a value whose destructor runs when the pool is reset or dropped, not earlier.
    ///
    /// The value must be `Send` and `'static`, for the reasons given at [`ChunkPool::defer`].
    /// A value that is to go earlier belongs in a `Box` of `allocator-api2` in the pool.
    ///
    /// ```
    /// let pool = cenote::ChunkPool::new();
    /// let names = pool.own(vec![String::from("dropped with the pool")]);
    /// names.push(String::from("so is this"));
    /// ```
    ///
    /// # Panics
    /// Where [`ChunkPool::try_own`] fails, but for want of system memory: then it aborts.
    pub fn own<T: Send + 'static>(&self, value: T) -> &mut T {
        must(self.own_in::<Must, T>(value))
    }

    /// Keeps a value whose destructor runs when the pool is reset or dropped, not earlier.
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

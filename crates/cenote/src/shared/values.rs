//! Values, slices and text; what runs when the last handle goes.

use super::SharedPool;
use crate::cleanup::{CleanupKey, Entry, Owned, Stays};
use crate::error::{Mode, Must, Try, must};
use crate::fill;
use crate::{AllocError, BlockSource};
use core::fmt;
use core::mem::{self, MaybeUninit};
use core::ptr::NonNull;

impl<S: BlockSource> SharedPool<S> {
    /// Memory for elements of `bytes` in all, the size of a layout.
    #[inline(always)]
    fn place<M: Mode, T>(&self, bytes: usize) -> Result<NonNull<T>, M::Error> {
        if bytes == 0 {
            return Ok(NonNull::dangling());
        }
        if align_of::<T>() == 1 {
            // Nothing to align: packed at the other end of the block.
            self.state().bump_bytes::<M>(bytes).map(NonNull::cast)
        } else {
            self.state().bump::<M>(bytes, align_of::<T>()).map(NonNull::cast)
        }
    }
}

fill::borrows!(SharedPool);

/// # Allocating
///
/// As in a [`Pool`](crate::Pool), method for method. What is allocated borrows the handle that
/// it was allocated by, and is there as long as that handle is.
///
/// The methods without `try_` panic where a limit refuses or no object can be so large, and
/// call the process's allocation error handler where the system has no memory. In a service,
/// use the `try_` ones.
#[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
impl<S: BlockSource> SharedPool<S> {
    #[inline(always)]
    fn slot<M: Mode, T>(&self) -> Result<NonNull<T>, M::Error> {
        if size_of::<T>() == 0 {
            return Ok(NonNull::dangling());
        }
        self.state().bump::<M>(size_of::<T>(), align_of::<T>()).map(NonNull::cast)
    }

    #[inline(always)]
    fn alloc_with_in<M: Mode, T>(&self, make: impl FnOnce() -> T) -> Result<&mut T, M::Error> {
        let slot = self.slot::<M, T>()?;
        // `make` may use the pool, or panic: the slot is taken by then, and nobody's yet.
        let value = make();
        // SAFETY: aligned memory for a `T`, fresh from the pool, so nobody else's. It stays as long
        // as the handle, which is borrowed.
        let slot = unsafe { slot.cast::<MaybeUninit<T>>().as_mut() };
        Ok(slot.write(value))
    }

    #[inline]
    fn defer_in<M: Mode>(&self, action: impl FnOnce() + Send + 'static) -> Result<(), M::Error> {
        self.register::<M, _>(move |_| action())
    }

    #[inline]
    fn register<M: Mode, F: FnOnce(crate::cleanup::PoolPtr) + Send>(
        &self,
        action: F,
    ) -> Result<(), M::Error> {
        let entry = self.slot::<M, Entry<F>>()?;
        // SAFETY: memory for an entry, fresh from the pool.
        unsafe { entry.write(Entry::new::<Stays>(CleanupKey::NONE, action)) };
        // SAFETY: just written, in this pool's memory; its action is `Send`.
        unsafe { self.state().push_cleanup(entry) };
        Ok(())
    }

    #[inline]
    fn own_in<M: Mode, T: Send + 'static>(&self, value: T) -> Result<&mut T, M::Error> {
        let slot = self.slot::<M, T>()?;
        if mem::needs_drop::<T>() {
            let owned = Owned(slot);
            // Cannot run before the value is there: this handle keeps the pool until then.
            self.register::<M, _>(move |_| owned.drop_value())?;
        }
        // SAFETY: memory for a `T`, fresh from the pool. The cleanup reaches it when the last
        // handle goes, and no reference is left by then: this one borrows a handle.
        let slot = unsafe { slot.cast::<MaybeUninit<T>>().as_mut() };
        Ok(slot.write(value))
    }

    /// Puts a value into the pool. Its destructor will not run; see [`SharedPool::own`].
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc`] fails, but for want of system memory: then it aborts.
    #[inline(always)]
    pub fn alloc<T>(&self, value: T) -> &mut T {
        must(self.alloc_with_in::<Must, T>(|| value))
    }

    /// Puts a value into the pool.
    ///
    /// # Errors
    /// Where the block for it cannot be had. The value is dropped then.
    #[inline(always)]
    pub fn try_alloc<T>(&self, value: T) -> Result<&mut T, AllocError> {
        self.alloc_with_in::<Try, T>(|| value)
    }

    /// Puts the value that `make` returns into the pool; made once the memory is there.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_with`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_with<T>(&self, make: impl FnOnce() -> T) -> &mut T {
        must(self.alloc_with_in::<Must, T>(make))
    }

    /// Puts the value that `make` returns into the pool.
    ///
    /// # Errors
    /// Where the block for it cannot be had. `make` is not called then.
    #[inline(always)]
    pub fn try_alloc_with<T>(&self, make: impl FnOnce() -> T) -> Result<&mut T, AllocError> {
        self.alloc_with_in::<Try, T>(make)
    }

    /// Copies a slice into the pool.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_slice_copy`] fails, but for want of system memory: then
    /// it aborts.
    #[inline(always)]
    pub fn alloc_slice_copy<T: Copy>(&self, from: &[T]) -> &mut [T] {
        must(fill::copy::<Must, _, T>(self, from))
    }

    /// Copies a slice into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_slice_copy<T: Copy>(&self, from: &[T]) -> Result<&mut [T], AllocError> {
        fill::copy::<Try, _, T>(self, from)
    }

    /// Clones a slice's elements into the pool.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_slice_clone`] fails, but for want of system memory: then
    /// it aborts.
    #[inline]
    pub fn alloc_slice_clone<T: Clone>(&self, from: &[T]) -> &mut [T] {
        must(fill::with::<Must, _, T>(self, from.len(), |index| from[index].clone()))
    }

    /// Clones a slice's elements into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. Nothing is cloned then.
    #[inline]
    pub fn try_alloc_slice_clone<T: Clone>(&self, from: &[T]) -> Result<&mut [T], AllocError> {
        fill::with::<Try, _, T>(self, from.len(), |index| from[index].clone())
    }

    /// Makes a slice of `count` elements; `make` is called with each index in turn.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_slice_fill_with`] fails, but for want of system memory:
    /// then it aborts.
    #[inline]
    pub fn alloc_slice_fill_with<T>(&self, count: usize, make: impl FnMut(usize) -> T) -> &mut [T] {
        must(fill::with::<Must, _, T>(self, count, make))
    }

    /// Makes a slice of `count` elements; `make` is called with each index in turn.
    ///
    /// # Errors
    /// Where the memory for it cannot be had, or no slice can be so large. `make` is not
    /// called then.
    #[inline]
    pub fn try_alloc_slice_fill_with<T>(
        &self,
        count: usize,
        make: impl FnMut(usize) -> T,
    ) -> Result<&mut [T], AllocError> {
        fill::with::<Try, _, T>(self, count, make)
    }

    /// Collects an iterator into a slice, however many items it has.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_slice_fill_iter`] fails, but for want of system memory:
    /// then it aborts.
    #[inline]
    pub fn alloc_slice_fill_iter<T>(&self, items: impl IntoIterator<Item = T>) -> &mut [T] {
        must(fill::collect::<Must, _, T>(self, items))
    }

    /// Collects an iterator into a slice, however many items it has.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The items taken so far are dropped then.
    #[inline]
    pub fn try_alloc_slice_fill_iter<T>(
        &self,
        items: impl IntoIterator<Item = T>,
    ) -> Result<&mut [T], AllocError> {
        fill::collect::<Try, _, T>(self, items)
    }

    /// Copies a text into the pool, packed without padding.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_str`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_str(&self, text: &str) -> &mut str {
        must(fill::text::<Must, _>(self, text))
    }

    /// Copies a text into the pool, packed without padding.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_str(&self, text: &str) -> Result<&mut str, AllocError> {
        fill::text::<Try, _>(self, text)
    }

    /// Formats into the pool.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_fmt`] fails, but for want of system memory: then it
    /// aborts.
    #[inline]
    pub fn alloc_fmt(&self, args: fmt::Arguments<'_>) -> &mut str {
        must(fill::format::<Must, _>(self, args))
    }

    /// Formats into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had, or a value's `Display` or `Debug` returns an
    /// error of its own.
    #[inline]
    pub fn try_alloc_fmt(&self, args: fmt::Arguments<'_>) -> Result<&mut str, AllocError> {
        fill::format::<Try, _>(self, args)
    }

    /// `count` bytes, packed without padding, with whatever they held before.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_bytes`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_bytes(&self, count: usize) -> &mut [MaybeUninit<u8>] {
        must(fill::room::<Must, _, u8>(self, count))
    }

    /// `count` bytes, packed without padding, with whatever they held before.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_bytes(&self, count: usize) -> Result<&mut [MaybeUninit<u8>], AllocError> {
        fill::room::<Try, _, u8>(self, count)
    }

    /// `count` zeros, packed without padding.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_zeroed_bytes`] fails, but for want of system memory: then
    /// it aborts.
    #[inline(always)]
    pub fn alloc_zeroed_bytes(&self, count: usize) -> &mut [u8] {
        must(fill::zeroed::<Must, _>(self, count))
    }

    /// `count` zeros, packed without padding.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_zeroed_bytes(&self, count: usize) -> Result<&mut [u8], AllocError> {
        fill::zeroed::<Try, _>(self, count)
    }

    /// Calls `action` when the last handle goes: last registered, first called.
    ///
    /// It runs on the thread of the last handle, so it must be `Send`, and after anything that
    /// it could borrow, so it must be `'static`. If it has a handle on the pool itself, that
    /// is never the last one.
    ///
    /// ```
    /// use cenote::SharedPool;
    /// use std::sync::{Arc, Mutex};
    /// let order = Arc::new(Mutex::new(Vec::new()));
    /// let pool = SharedPool::new();
    /// for number in 1..=3 {
    ///     let order = order.clone();
    ///     pool.defer(move || order.lock().unwrap().push(number));
    /// }
    /// let other = pool.clone();
    /// drop(pool);
    /// assert!(order.lock().unwrap().is_empty());
    /// drop(other);
    /// assert_eq!(*order.lock().unwrap(), [3, 2, 1]);
    /// ```
    ///
    /// # Panics
    /// Where [`SharedPool::try_defer`] fails, but for want of system memory: then it aborts.
    #[inline]
    pub fn defer(&self, action: impl FnOnce() + Send + 'static) {
        must(self.defer_in::<Must>(action));
    }

    /// Calls `action` when the last handle goes.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The closure is dropped, not called.
    #[inline]
    pub fn try_defer(&self, action: impl FnOnce() + Send + 'static) -> Result<(), AllocError> {
        self.defer_in::<Try>(action)
    }

    /// Keeps a value whose destructor runs when the last handle goes.
    ///
    /// # Panics
    /// Where [`SharedPool::try_own`] fails, but for want of system memory: then it aborts.
    #[inline]
    pub fn own<T: Send + 'static>(&self, value: T) -> &mut T {
        must(self.own_in::<Must, T>(value))
    }

    /// Keeps a value whose destructor runs when the last handle goes.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The value is dropped.
    #[inline]
    pub fn try_own<T: Send + 'static>(&self, value: T) -> Result<&mut T, AllocError> {
        self.own_in::<Try, T>(value)
    }
}

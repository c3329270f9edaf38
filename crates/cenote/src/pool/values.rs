//! Values: `alloc`, `alloc_with`, and `own` for those with a destructor to run.

use super::Pool;
use crate::error::{Mode, Must, Try, must};
use crate::{AllocError, BlockSource};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

#[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
impl<S: BlockSource> Pool<S> {
    /// Memory for a `T`: nowhere in particular if it has no bytes.
    #[inline(always)]
    fn slot<M: Mode, T>(&self) -> Result<NonNull<T>, M::Error> {
        if size_of::<T>() == 0 {
            return Ok(NonNull::dangling());
        }
        self.bump::<M>(size_of::<T>(), align_of::<T>()).map(NonNull::cast)
    }

    #[inline(always)]
    fn alloc_with_in<M: Mode, T>(&self, make: impl FnOnce() -> T) -> Result<&mut T, M::Error> {
        let slot = self.slot::<M, T>()?;
        // `make` may use the pool, or panic: the slot is taken by then, and nobody's yet.
        let value = make();
        // SAFETY: aligned memory for a `T`, fresh from the pool, so nobody else's. It lives as long
        // as the pool is borrowed, since blocks are given back and reused only by a `&mut self`.
        let slot = unsafe { slot.cast::<MaybeUninit<T>>().as_mut() };
        Ok(slot.write(value))
    }

    /// Puts a value into the pool.
    ///
    /// Its destructor will not run; see [`Pool::own`]. A value without bytes takes none.
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// let point = pool.alloc((3, 4));
    /// point.0 += 1;
    /// assert_eq!(*point, (4, 4));
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc`] fails, but for want of system memory: then it aborts.
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
    /// `make` may allocate from the pool. If it panics, its slot stays unused until the reset.
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// let pair = pool.alloc_with(|| (pool.alloc(1), 2));
    /// assert_eq!((*pair.0, pair.1), (1, 2));
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_with`] fails, but for want of system memory: then it aborts.
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
}

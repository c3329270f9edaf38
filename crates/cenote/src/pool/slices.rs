//! Slices, text and bytes.

use super::{MIN_ALIGN, Pool};
use crate::error::{Mode, Must, Try, must};
use crate::fill;
use crate::{AllocError, BlockSource};
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

impl<S: BlockSource> Pool<S> {
    /// Memory for elements of `bytes` in all, the size of a layout.
    #[inline(always)]
    fn place<M: Mode, T>(&self, bytes: usize) -> Result<NonNull<T>, M::Error> {
        if align_of::<T>() == 1 {
            // Nothing to align: packed at the other end of the block.
            return self.bump_bytes::<M>(bytes).map(NonNull::cast);
        }
        // Nothing goes where the window is; but a window may end before such an alignment.
        if align_of::<T>() > MIN_ALIGN && bytes == 0 {
            return Ok(NonNull::dangling());
        }
        self.bump::<M>(bytes, align_of::<T>()).map(NonNull::cast)
    }
}

fill::borrows!(Pool);

#[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
impl<S: BlockSource> Pool<S> {
    /// Copies a slice into the pool.
    ///
    /// Elements of alignment 1 (bytes) are packed without padding, the others aligned.
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// assert_eq!(pool.alloc_slice_copy(&[1, 2, 3]), [1, 2, 3]);
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_slice_copy`] fails, but for want of system memory: then it aborts.
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

    /// Clones a slice's elements into the pool. They will not be dropped.
    ///
    /// If a `clone` panics, the clones made so far are dropped.
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// let names = pool.alloc_slice_clone(&[String::from("a"), String::from("b")]);
    /// assert_eq!(names.concat(), "ab");
    /// # for name in names { *name = String::new(); }
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_slice_clone`] fails, but for want of system memory: then it
    /// aborts.
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
    /// `make` may allocate from the pool. If it panics, the elements made so far are dropped.
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// assert_eq!(pool.alloc_slice_fill_with(4, |i| i * i), [0, 1, 4, 9]);
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_slice_fill_with`] fails, but for want of system memory: then it
    /// aborts.
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
    /// The iterator may allocate from the pool; the slice is then moved when it next grows.
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// assert_eq!(pool.alloc_slice_fill_iter((1..9).filter(|n| n % 3 == 0)), [3, 6]);
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_slice_fill_iter`] fails, but for want of system memory: then it
    /// aborts.
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
    /// ```
    /// let pool = cenote::Pool::new();
    /// let text = pool.alloc_str("cenote");
    /// text.make_ascii_uppercase();
    /// assert_eq!(text, "CENOTE");
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_str`] fails, but for want of system memory: then it aborts.
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
    /// The text grows in place as long as the block has room and the values formatted do not
    /// themselves allocate from the pool.
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// assert_eq!(pool.alloc_fmt(format_args!("{}-{:02}", "req", 7)), "req-07");
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_fmt`] fails, but for want of system memory: then it aborts.
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
    /// ```
    /// let pool = cenote::Pool::new();
    /// assert_eq!(pool.alloc_bytes(100).len(), 100);
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_bytes`] fails, but for want of system memory: then it aborts.
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
    /// ```
    /// let pool = cenote::Pool::new();
    /// assert!(pool.alloc_zeroed_bytes(100).iter().all(|&byte| byte == 0));
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_zeroed_bytes`] fails, but for want of system memory: then it
    /// aborts.
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
}

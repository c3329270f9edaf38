//! Slices, text and bytes.

use super::{Bytes, Growing, MIN_ALIGN, Pool};
use crate::copy::copy_slice;
use crate::error::{Mode, Must, Try, must};
use crate::{AllocError, BlockSource, size};
use core::fmt;
use core::mem::{self, MaybeUninit};
use core::ptr::{self, NonNull};
use core::slice;

/// Drops the elements written so far if filling a slice panics.
pub(crate) struct Filling<T> {
    start: NonNull<T>,
    done: usize,
}

impl<T> Filling<T> {
    /// Fills `count` slots with what `make` returns for each index.
    ///
    /// # Safety
    /// `start` has room for as many, aligned, and they are the caller's.
    #[inline(always)]
    pub(crate) unsafe fn fill<'p>(
        start: NonNull<T>,
        count: usize,
        mut make: impl FnMut(usize) -> T,
    ) -> &'p mut [T] {
        let mut filling = Self { start, done: 0 };
        while filling.done < count {
            let value = make(filling.done);
            // SAFETY: below `count`, for which there is room.
            let slot = unsafe { start.add(filling.done) };
            // SAFETY: aligned, and nobody else's.
            unsafe { slot.write(value) };
            filling.done += 1;
        }
        mem::forget(filling);
        // SAFETY: `count` elements were written.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), count) }
    }
}

impl<T> Drop for Filling<T> {
    fn drop(&mut self) {
        let written = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.done);
        // SAFETY: so many elements were written; the slice was not handed out.
        unsafe { ptr::drop_in_place(written) };
    }
}

#[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
impl<S: BlockSource> Pool<S> {
    /// Memory for `count` elements.
    #[inline(always)]
    fn slots<M: Mode, T>(&self, count: usize) -> Result<NonNull<T>, M::Error> {
        match size::total(0, count, size_of::<T>(), align_of::<T>()) {
            Some(bytes) => self.room::<M, T>(bytes),
            None => M::fail(too_many::<T>(count)),
        }
    }

    /// Memory for elements of `bytes` in all, the size of a layout.
    #[inline(always)]
    fn room<M: Mode, T>(&self, bytes: usize) -> Result<NonNull<T>, M::Error> {
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

    #[inline(always)]
    fn slice_copy_in<M: Mode, T: Copy>(&self, from: &[T]) -> Result<&mut [T], M::Error> {
        let start = self.room::<M, T>(size_of_val(from))?;
        // SAFETY: `start` has room for as many, and is fresh, so it does not overlap `from`.
        unsafe { copy_slice(from, start) };
        // SAFETY: so many elements were just written.
        Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), from.len()) })
    }

    #[inline(always)]
    fn slice_fill_in<M: Mode, T>(
        &self,
        count: usize,
        make: impl FnMut(usize) -> T,
    ) -> Result<&mut [T], M::Error> {
        let start = self.slots::<M, T>(count)?;
        // SAFETY: room for as many, fresh from the pool, which stays as long as it is borrowed.
        Ok(unsafe { Filling::fill(start, count, make) })
    }

    #[inline]
    fn slice_iter_in<M: Mode, T>(
        &self,
        items: impl IntoIterator<Item = T>,
    ) -> Result<&mut [T], M::Error> {
        Ok(Growing::collect::<M>(self, items)?.finish())
    }

    #[inline]
    fn fmt_in<M: Mode>(&self, args: fmt::Arguments<'_>) -> Result<&mut str, M::Error> {
        if let Some(text) = args.as_str() {
            return self.str_in::<M>(text);
        }
        let bytes = Bytes::of::<M>(self, args)?.finish();
        // SAFETY: written by `write_str` alone, so whole texts one after the other.
        Ok(unsafe { core::str::from_utf8_unchecked_mut(bytes) })
    }

    #[inline(always)]
    fn str_in<M: Mode>(&self, text: &str) -> Result<&mut str, M::Error> {
        let bytes = self.slice_copy_in::<M, u8>(text.as_bytes())?;
        // SAFETY: a copy of a `str`.
        Ok(unsafe { core::str::from_utf8_unchecked_mut(bytes) })
    }

    #[inline(always)]
    fn bytes_in<M: Mode>(&self, count: usize) -> Result<&mut [MaybeUninit<u8>], M::Error> {
        let start = self.slots::<M, MaybeUninit<u8>>(count)?;
        // SAFETY: fresh memory of that size; `MaybeUninit` needs no value.
        Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), count) })
    }

    #[inline(always)]
    fn zeroed_in<M: Mode>(&self, count: usize) -> Result<&mut [u8], M::Error> {
        let bytes = self.bytes_in::<M>(count)?;
        let start = bytes.as_mut_ptr().cast::<u8>();
        // SAFETY: `count` bytes that are the caller's.
        unsafe { start.write_bytes(0, count) };
        // SAFETY: just written.
        Ok(unsafe { slice::from_raw_parts_mut(start, count) })
    }

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
        must(self.slice_copy_in::<Must, T>(from))
    }

    /// Copies a slice into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_slice_copy<T: Copy>(&self, from: &[T]) -> Result<&mut [T], AllocError> {
        self.slice_copy_in::<Try, T>(from)
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
        must(self.slice_fill_in::<Must, T>(from.len(), |index| from[index].clone()))
    }

    /// Clones a slice's elements into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. Nothing is cloned then.
    #[inline]
    pub fn try_alloc_slice_clone<T: Clone>(&self, from: &[T]) -> Result<&mut [T], AllocError> {
        self.slice_fill_in::<Try, T>(from.len(), |index| from[index].clone())
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
        must(self.slice_fill_in::<Must, T>(count, make))
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
        self.slice_fill_in::<Try, T>(count, make)
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
        must(self.slice_iter_in::<Must, T>(items))
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
        self.slice_iter_in::<Try, T>(items)
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
        must(self.str_in::<Must>(text))
    }

    /// Copies a text into the pool, packed without padding.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_str(&self, text: &str) -> Result<&mut str, AllocError> {
        self.str_in::<Try>(text)
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
        must(self.fmt_in::<Must>(args))
    }

    /// Formats into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had, or a value's `Display` or `Debug` returns an
    /// error of its own.
    #[inline]
    pub fn try_alloc_fmt(&self, args: fmt::Arguments<'_>) -> Result<&mut str, AllocError> {
        self.fmt_in::<Try>(args)
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
        must(self.bytes_in::<Must>(count))
    }

    /// `count` bytes, packed without padding, with whatever they held before.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_bytes(&self, count: usize) -> Result<&mut [MaybeUninit<u8>], AllocError> {
        self.bytes_in::<Try>(count)
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
        must(self.zeroed_in::<Must>(count))
    }

    /// `count` zeros, packed without padding.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_zeroed_bytes(&self, count: usize) -> Result<&mut [u8], AllocError> {
        self.zeroed_in::<Try>(count)
    }
}

#[cold]
fn too_many<T>(count: usize) -> AllocError {
    AllocError::too_large(count.saturating_mul(size_of::<T>()))
}

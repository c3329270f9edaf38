//! What users put in: values, slices, text and bytes, each with an owner that frees it.

use super::{CountedBox, CountedPool};
use crate::error::{Mode, Must, Try, must};
use crate::fill::{self, Places, Room, Texts};
use crate::pool::Growing;
use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

// SAFETY: a box has all of its slots.
unsafe impl<'p, T, S: BlockSource> Room<T> for CountedBox<'p, [MaybeUninit<T>], S> {
    type Full = CountedBox<'p, [T], S>;

    #[inline(always)]
    fn slots(&mut self) -> &mut [MaybeUninit<T>] {
        self
    }

    #[inline(always)]
    unsafe fn full(self) -> Self::Full {
        // SAFETY: the caller's promise is the same.
        unsafe { CountedBox::assume_init(self) }
    }
}

impl<'p, T, S: BlockSource> Places<T> for &'p CountedPool<S> {
    type Room = CountedBox<'p, [MaybeUninit<T>], S>;
    type Slice = CountedBox<'p, [T], S>;

    #[inline(always)]
    unsafe fn room<M: Mode>(self, count: usize, bytes: usize) -> Result<Self::Room, M::Error> {
        let start = if align_of::<T>() == 1 {
            // Nothing to align: packed at the other end of the block.
            self.bump_bytes::<M>(bytes)?
        } else {
            // SAFETY: the caller's promise: a size that such a layout may have.
            let layout = unsafe { Layout::from_size_align_unchecked(bytes, align_of::<T>()) };
            self.bump::<M>(layout)?
        };
        let slots = NonNull::slice_from_raw_parts(start.cast(), count);
        // SAFETY: memory of that layout, fresh from the pool; nothing needs to be in it yet.
        Ok(unsafe { CountedBox::from_raw(self, slots) })
    }

    fn grown(mut grown: Growing<T, Self>) -> Result<Self::Slice, AllocError> {
        grown.fit()?;
        let pool = *grown.pool();
        // SAFETY: an object of this pool, of the layout of its elements, all of which are there.
        Ok(unsafe { CountedBox::from_raw(pool, grown.into_elements()) })
    }
}

impl<'p, S: BlockSource> Texts for &'p CountedPool<S> {
    type Text = CountedBox<'p, str, S>;

    #[inline(always)]
    unsafe fn text(bytes: Self::Slice) -> Self::Text {
        // SAFETY: the caller's promise is the same.
        unsafe { CountedBox::into_text(bytes) }
    }
}

impl<S: BlockSource> CountedPool<S> {
    #[inline(always)]
    fn alloc_with_in<M: Mode, T>(
        &self,
        make: impl FnOnce() -> T,
    ) -> Result<CountedBox<'_, T, S>, M::Error> {
        let slot = self.bump::<M>(Layout::new::<T>())?.cast::<MaybeUninit<T>>();
        // SAFETY: memory for a `T`, fresh from the pool; nothing needs to be in it yet.
        let slot = unsafe { CountedBox::from_raw(self, slot) };
        // `make` may use the pool, or panic: then the slot is freed.
        Ok(CountedBox::write(slot, make()))
    }

    /// Puts a value into the pool. A value without bytes takes none.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// let mut point = pool.alloc((3, 4));
    /// point.0 += 1;
    /// assert_eq!(*point, (4, 4));
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc`] fails, but for want of system memory: then it aborts.
    #[inline(always)]
    pub fn alloc<T>(&self, value: T) -> CountedBox<'_, T, S> {
        must(self.alloc_with_in::<Must, T>(|| value))
    }

    /// Puts a value into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. The value is dropped then.
    #[inline(always)]
    pub fn try_alloc<T>(&self, value: T) -> Result<CountedBox<'_, T, S>, AllocError> {
        self.alloc_with_in::<Try, T>(|| value)
    }

    /// Puts the value that `make` returns into the pool; made once the memory is there.
    ///
    /// `make` may allocate from the pool. If it panics, the memory is freed.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// let pair = pool.alloc_with(|| (pool.alloc(1), 2));
    /// assert_eq!((*pair.0, pair.1), (1, 2));
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_with`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_with<T>(&self, make: impl FnOnce() -> T) -> CountedBox<'_, T, S> {
        must(self.alloc_with_in::<Must, T>(make))
    }

    /// Puts the value that `make` returns into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. `make` is not called then.
    #[inline(always)]
    pub fn try_alloc_with<T>(
        &self,
        make: impl FnOnce() -> T,
    ) -> Result<CountedBox<'_, T, S>, AllocError> {
        self.alloc_with_in::<Try, T>(make)
    }

    /// Copies a slice into the pool. Elements of alignment 1 (bytes) are packed without
    /// padding, the others aligned.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// assert_eq!(*pool.alloc_slice_copy(&[1, 2, 3]), [1, 2, 3]);
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_slice_copy`] fails, but for want of system memory: then
    /// it aborts.
    #[inline(always)]
    pub fn alloc_slice_copy<T: Copy>(&self, from: &[T]) -> CountedBox<'_, [T], S> {
        must(fill::copy::<Must, _, T>(self, from))
    }

    /// Copies a slice into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_slice_copy<T: Copy>(
        &self,
        from: &[T],
    ) -> Result<CountedBox<'_, [T], S>, AllocError> {
        fill::copy::<Try, _, T>(self, from)
    }

    /// Clones a slice's elements into the pool. If a `clone` panics, the clones made so far
    /// are dropped.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// let names = pool.alloc_slice_clone(&[String::from("a"), String::from("b")]);
    /// assert_eq!(names.concat(), "ab");
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_slice_clone`] fails, but for want of system memory: then
    /// it aborts.
    #[inline]
    pub fn alloc_slice_clone<T: Clone>(&self, from: &[T]) -> CountedBox<'_, [T], S> {
        must(fill::with::<Must, _, T>(self, from.len(), |index| from[index].clone()))
    }

    /// Clones a slice's elements into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had. Nothing is cloned then.
    #[inline]
    pub fn try_alloc_slice_clone<T: Clone>(
        &self,
        from: &[T],
    ) -> Result<CountedBox<'_, [T], S>, AllocError> {
        fill::with::<Try, _, T>(self, from.len(), |index| from[index].clone())
    }

    /// Makes a slice of `count` elements; `make` is called with each index in turn.
    ///
    /// `make` may allocate from the pool. If it panics, the elements made so far are dropped.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// assert_eq!(*pool.alloc_slice_fill_with(4, |i| i * i), [0, 1, 4, 9]);
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_slice_fill_with`] fails, but for want of system memory:
    /// then it aborts.
    #[inline]
    pub fn alloc_slice_fill_with<T>(
        &self,
        count: usize,
        make: impl FnMut(usize) -> T,
    ) -> CountedBox<'_, [T], S> {
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
    ) -> Result<CountedBox<'_, [T], S>, AllocError> {
        fill::with::<Try, _, T>(self, count, make)
    }

    /// Collects an iterator into a slice, however many items it has.
    ///
    /// The iterator may allocate from the pool; the slice is then moved when it next grows.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// assert_eq!(*pool.alloc_slice_fill_iter((1..9).filter(|n| n % 3 == 0)), [3, 6]);
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_slice_fill_iter`] fails, but for want of system memory:
    /// then it aborts.
    #[inline]
    pub fn alloc_slice_fill_iter<T>(
        &self,
        items: impl IntoIterator<Item = T>,
    ) -> CountedBox<'_, [T], S> {
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
    ) -> Result<CountedBox<'_, [T], S>, AllocError> {
        fill::collect::<Try, _, T>(self, items)
    }

    /// Copies a text into the pool, packed without padding.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// let mut text = pool.alloc_str("cenote");
    /// text.make_ascii_uppercase();
    /// assert_eq!(&*text, "CENOTE");
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_str`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_str(&self, text: &str) -> CountedBox<'_, str, S> {
        must(fill::text::<Must, _>(self, text))
    }

    /// Copies a text into the pool, packed without padding.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_str(&self, text: &str) -> Result<CountedBox<'_, str, S>, AllocError> {
        fill::text::<Try, _>(self, text)
    }

    /// Formats into the pool. The text grows in place as long as the block has room and the
    /// values formatted do not themselves allocate from the pool.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// assert_eq!(&*pool.alloc_fmt(format_args!("{}-{:02}", "req", 7)), "req-07");
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_fmt`] fails, but for want of system memory: then it
    /// aborts.
    #[inline]
    pub fn alloc_fmt(&self, args: fmt::Arguments<'_>) -> CountedBox<'_, str, S> {
        must(fill::format::<Must, _>(self, args))
    }

    /// Formats into the pool.
    ///
    /// # Errors
    /// Where the memory for it cannot be had, or a value's `Display` or `Debug` returns an
    /// error of its own.
    #[inline]
    pub fn try_alloc_fmt(
        &self,
        args: fmt::Arguments<'_>,
    ) -> Result<CountedBox<'_, str, S>, AllocError> {
        fill::format::<Try, _>(self, args)
    }

    /// `count` bytes, packed without padding, with whatever they held before.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// assert_eq!(pool.alloc_bytes(100).len(), 100);
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_bytes`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_bytes(&self, count: usize) -> CountedBox<'_, [MaybeUninit<u8>], S> {
        must(fill::room::<Must, _, u8>(self, count))
    }

    /// `count` bytes, packed without padding, with whatever they held before.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_bytes(
        &self,
        count: usize,
    ) -> Result<CountedBox<'_, [MaybeUninit<u8>], S>, AllocError> {
        fill::room::<Try, _, u8>(self, count)
    }

    /// `count` zeros, packed without padding.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// assert!(pool.alloc_zeroed_bytes(100).iter().all(|&byte| byte == 0));
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_zeroed_bytes`] fails, but for want of system memory:
    /// then it aborts.
    #[inline(always)]
    pub fn alloc_zeroed_bytes(&self, count: usize) -> CountedBox<'_, [u8], S> {
        must(fill::zeroed::<Must, _>(self, count))
    }

    /// `count` zeros, packed without padding.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_zeroed_bytes(
        &self,
        count: usize,
    ) -> Result<CountedBox<'_, [u8], S>, AllocError> {
        fill::zeroed::<Try, _>(self, count)
    }
}

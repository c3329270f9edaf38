//! What users put in: values, slices, text and bytes, each with an owner that frees it.

use super::{CountedBox, CountedPool};
use crate::copy::copy_slice;
use crate::error::{Mode, Must, Try, must};
use crate::{AllocError, BlockSource, size};
use core::alloc::Layout;
use core::fmt::{self, Write};
use core::mem::{self, MaybeUninit};
use core::ptr::{self, NonNull};

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

    /// Memory for `count` elements.
    #[inline(always)]
    fn slots<M: Mode, T>(
        &self,
        count: usize,
    ) -> Result<CountedBox<'_, [MaybeUninit<T>], S>, M::Error> {
        let Some(layout) = size::layout(0, count, size_of::<T>(), align_of::<T>()) else {
            return M::fail(too_many::<T>(count));
        };
        let start = if align_of::<T>() == 1 && layout.size() != 0 {
            // Nothing to align: packed at the other end of the block.
            self.bump_bytes::<M>(layout.size())?
        } else {
            self.bump::<M>(layout)?
        };
        let slots = NonNull::slice_from_raw_parts(start.cast(), count);
        // SAFETY: memory of that layout, fresh from the pool; nothing needs to be in it yet.
        Ok(unsafe { CountedBox::from_raw(self, slots) })
    }

    #[inline(always)]
    fn slice_copy_in<M: Mode, T: Copy>(
        &self,
        from: &[T],
    ) -> Result<CountedBox<'_, [T], S>, M::Error> {
        let mut slots = self.slots::<M, T>(from.len())?;
        let to = NonNull::from(&mut *slots).cast::<T>();
        // SAFETY: there is room for as many, fresh, so it does not overlap `from`.
        unsafe { copy_slice(from, to) };
        // SAFETY: just written.
        Ok(unsafe { CountedBox::assume_init(slots) })
    }

    #[inline(always)]
    fn slice_fill_in<M: Mode, T>(
        &self,
        count: usize,
        mut make: impl FnMut(usize) -> T,
    ) -> Result<CountedBox<'_, [T], S>, M::Error> {
        let mut filling = Filling { slots: self.slots::<M, T>(count)?, done: 0 };
        for index in 0..count {
            let value = make(index);
            filling.push_within(value);
        }
        Ok(filling.finish_full())
    }

    #[inline]
    fn slice_iter_in<M: Mode, T>(
        &self,
        items: impl IntoIterator<Item = T>,
    ) -> Result<CountedBox<'_, [T], S>, M::Error> {
        let items = items.into_iter();
        let mut filling = Filling { slots: self.growable::<M, T>(items.size_hint().0)?, done: 0 };
        for item in items {
            if let Err(error) = filling.reserve(1) {
                return M::fail(error);
            }
            filling.push_within(item);
        }
        filling.finish().or_else(M::fail)
    }

    /// As [`CountedPool::slots`], but at the end of the window where it can grow.
    fn growable<M: Mode, T>(
        &self,
        count: usize,
    ) -> Result<CountedBox<'_, [MaybeUninit<T>], S>, M::Error> {
        let Some(layout) = size::layout(0, count, size_of::<T>(), align_of::<T>()) else {
            return M::fail(too_many::<T>(count));
        };
        let start = self.bump_any::<M>(layout)?;
        let slots = NonNull::slice_from_raw_parts(start.cast(), count);
        // SAFETY: memory of that layout, fresh from the pool; nothing needs to be in it yet.
        Ok(unsafe { CountedBox::from_raw(self, slots) })
    }

    #[inline]
    fn fmt_in<M: Mode>(
        &self,
        args: fmt::Arguments<'_>,
    ) -> Result<CountedBox<'_, str, S>, M::Error> {
        if let Some(text) = args.as_str() {
            return self.str_in::<M>(text);
        }
        let bytes = Filling { slots: self.growable::<M, u8>(0)?, done: 0 };
        let mut text = Formatted { bytes, error: None };
        let outcome = text.write_fmt(args);
        if let Some(error) = text.error {
            return M::fail(error);
        }
        if outcome.is_err() {
            return M::fail(AllocError::not_formatted(text.bytes.done));
        }
        let bytes = text.bytes.finish().or_else(M::fail)?;
        // SAFETY: written by `write_str` alone, so whole texts one after the other.
        Ok(unsafe { CountedBox::into_text(bytes) })
    }

    #[inline(always)]
    fn str_in<M: Mode>(&self, text: &str) -> Result<CountedBox<'_, str, S>, M::Error> {
        let bytes = self.slice_copy_in::<M, u8>(text.as_bytes())?;
        // SAFETY: a copy of a `str`.
        Ok(unsafe { CountedBox::into_text(bytes) })
    }

    #[inline(always)]
    fn zeroed_in<M: Mode>(&self, count: usize) -> Result<CountedBox<'_, [u8], S>, M::Error> {
        let mut bytes = self.slots::<M, u8>(count)?;
        bytes.fill(MaybeUninit::new(0));
        // SAFETY: just written.
        Ok(unsafe { CountedBox::assume_init(bytes) })
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
        must(self.slice_copy_in::<Must, T>(from))
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
        self.slice_copy_in::<Try, T>(from)
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
        must(self.slice_fill_in::<Must, T>(from.len(), |index| from[index].clone()))
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
        self.slice_fill_in::<Try, T>(from.len(), |index| from[index].clone())
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
    ) -> Result<CountedBox<'_, [T], S>, AllocError> {
        self.slice_fill_in::<Try, T>(count, make)
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
    ) -> Result<CountedBox<'_, [T], S>, AllocError> {
        self.slice_iter_in::<Try, T>(items)
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
        must(self.str_in::<Must>(text))
    }

    /// Copies a text into the pool, packed without padding.
    ///
    /// # Errors
    /// Where the memory for it cannot be had.
    #[inline(always)]
    pub fn try_alloc_str(&self, text: &str) -> Result<CountedBox<'_, str, S>, AllocError> {
        self.str_in::<Try>(text)
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
        must(self.fmt_in::<Must>(args))
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
        self.fmt_in::<Try>(args)
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
        must(self.slots::<Must, u8>(count))
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
        self.slots::<Try, u8>(count)
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
        must(self.zeroed_in::<Must>(count))
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
        self.zeroed_in::<Try>(count)
    }
}

#[cold]
fn too_many<T>(count: usize) -> AllocError {
    AllocError::too_large(count.saturating_mul(size_of::<T>()))
}

/// A slice whose elements are being made: the first `done` are there, and are dropped if the
/// rest never comes.
struct Filling<'p, T, S: BlockSource> {
    slots: CountedBox<'p, [MaybeUninit<T>], S>,
    done: usize,
}

impl<'p, T, S: BlockSource> Filling<'p, T, S> {
    /// Adds an element where there is room for it.
    #[inline(always)]
    fn push_within(&mut self, value: T) {
        if let Some(slot) = self.slots.get_mut(self.done) {
            slot.write(value);
            self.done += 1;
        }
    }

    /// Sees to it that there is room for `more` elements.
    #[inline]
    fn reserve(&mut self, more: usize) -> Result<(), AllocError> {
        if more <= self.slots.len() - self.done { Ok(()) } else { self.grow(more) }
    }

    #[cold]
    fn grow(&mut self, more: usize) -> Result<(), AllocError> {
        let layout = |count| size::layout(0, count, size_of::<T>(), align_of::<T>());
        let least = self.done.checked_add(more).ok_or(too_many::<T>(more))?;
        let twice = least.max(self.slots.len().saturating_mul(2)).max(4);
        // Twice as much may be beyond what there can be, when just enough is not.
        let (count, new) = match layout(twice) {
            Some(new) => (twice, new),
            None => (least, layout(least).ok_or(too_many::<T>(least))?),
        };
        let old = Layout::for_value::<[MaybeUninit<T>]>(&self.slots);
        let pool = CountedBox::pool(&self.slots);
        let start = self.slots.start();
        // SAFETY: the slots are an object of this pool and layout; the new one is not smaller.
        let (start, count) = match unsafe { pool.hush_grow(start, old, new) } {
            Ok(start) => (start, count),
            // Near a limit, just enough may be had when twice as much is not.
            Err(error) => match layout(least).filter(|enough| enough.size() < new.size()) {
                // SAFETY: likewise.
                Some(enough) => (unsafe { pool.try_grow(start, old, enough) }?, least),
                None => return Try::refuse(error),
            },
        };
        self.replace_slots(start, count);
        Ok(())
    }

    /// The slots are now `count` ones at `start`, and not where they were.
    fn replace_slots(&mut self, start: NonNull<u8>, count: usize) {
        let pool = CountedBox::pool(&self.slots);
        let slots = NonNull::slice_from_raw_parts(start.cast(), count);
        // SAFETY: the caller resized the object, which is now this one.
        let slots = unsafe { CountedBox::from_raw(pool, slots) };
        mem::forget(mem::replace(&mut self.slots, slots));
    }

    /// The slice, all of whose slots are filled.
    fn finish_full(mut self) -> CountedBox<'p, [T], S> {
        debug_assert_eq!(self.done, self.slots.len());
        self.done = 0;
        // The filling has nothing to drop any more; its slots are moved out.
        let this = mem::ManuallyDrop::new(self);
        // SAFETY: moved out once, since `this` is not dropped.
        let slots = unsafe { ptr::read(&this.slots) };
        // SAFETY: as many as there are slots were pushed.
        unsafe { CountedBox::assume_init(slots) }
    }

    /// The slice of those that are there; the rest of the room goes back.
    fn finish(mut self) -> Result<CountedBox<'p, [T], S>, AllocError> {
        let old = Layout::for_value::<[MaybeUninit<T>]>(&self.slots);
        let new = size::layout(0, self.done, size_of::<T>(), align_of::<T>())
            .ok_or(too_many::<T>(self.done))?;
        let (pool, start) = (CountedBox::pool(&self.slots), self.slots.start());
        // SAFETY: the slots are an object of this pool and layout; the new one is not larger.
        let start = unsafe { pool.try_shrink(start, old, new) }?;
        self.replace_slots(start, self.done);
        Ok(self.finish_full())
    }
}

impl<S: BlockSource> Filling<'_, u8, S> {
    #[inline]
    fn extend(&mut self, from: &[u8]) -> Result<(), AllocError> {
        self.reserve(from.len())?;
        // SAFETY: there is room for so many more.
        let to = unsafe { self.slots.start().add(self.done) };
        // SAFETY: room for as many, in memory that nobody else has a reference to.
        unsafe { copy_slice(from, to) };
        self.done += from.len();
        Ok(())
    }
}

impl<T, S: BlockSource> Drop for Filling<'_, T, S> {
    fn drop(&mut self) {
        let start = self.slots.start().cast::<T>();
        let done = ptr::slice_from_raw_parts_mut(start.as_ptr(), self.done);
        // SAFETY: so many elements are there, and were not handed out. Their memory is freed
        // with the slots, after this.
        unsafe { ptr::drop_in_place(done) };
    }
}

/// A text that grows while it is formatted, and what stopped it.
struct Formatted<'p, S: BlockSource> {
    bytes: Filling<'p, u8, S>,
    error: Option<AllocError>,
}

impl<S: BlockSource> Write for Formatted<'_, S> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes.extend(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

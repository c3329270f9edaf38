//! [`Growing`]: an array in a pool while its final size is not known yet.

use super::Pool;
use crate::error::Mode;
use crate::{AllocError, BlockSource, size};
use core::alloc::Layout;
use core::ptr::{self, NonNull};
use core::{mem, slice};

/// Grows in place while it is the newest object; ends as a slice of the pool, or drops its
/// elements and gives its memory back.
pub(crate) struct Growing<'p, T, S: BlockSource> {
    pool: &'p Pool<S>,
    start: NonNull<T>,
    len: usize,
    capacity: usize,
}

impl<'p, T, S: BlockSource> Growing<'p, T, S> {
    pub(crate) fn new(pool: &'p Pool<S>) -> Self {
        let capacity = if size_of::<T>() == 0 { usize::MAX } else { 0 };
        Self { pool, start: NonNull::dangling(), len: 0, capacity }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Room for `more` elements beyond those there are.
    #[inline]
    pub(crate) fn reserve<M: Mode>(&mut self, more: usize) -> Result<(), M::Error> {
        if more <= self.capacity - self.len {
            return Ok(());
        }
        self.grow(more).or_else(M::fail)
    }

    #[cold]
    fn grow(&mut self, more: usize) -> Result<(), AllocError> {
        let too_large = || AllocError::too_large(more.saturating_mul(size_of::<T>()));
        let least = self.len.checked_add(more).ok_or_else(too_large)?;
        let capacity = least.max(self.capacity.saturating_mul(2)).max(4);
        let layout = |count| size::layout(0, count, size_of::<T>(), align_of::<T>());
        // Twice as much may be beyond what there can be, when just enough is not.
        let (capacity, wanted) = match layout(capacity) {
            Some(wanted) => (capacity, wanted),
            None => (least, layout(least).ok_or_else(too_large)?),
        };
        // Near a limit, an eighth more may be had when twice as much is not.
        let modest = least.max(self.capacity + self.capacity / 8);
        let (start, capacity) = match (self.change_to(wanted), layout(modest)) {
            (Ok(start), _) => (start, capacity),
            (Err(_), Some(enough)) if enough.size() < wanted.size() => {
                (self.change_to(enough)?, modest)
            }
            (Err(error), _) => return Err(error),
        };
        self.start = start.cast();
        self.capacity = capacity;
        Ok(())
    }

    /// Memory of a larger layout, with what there is.
    fn change_to(&self, wanted: Layout) -> Result<NonNull<u8>, AllocError> {
        match self.layout() {
            None => self.pool.try_alloc_layout(wanted),
            // SAFETY: the array is of this pool and layout; the new one is not smaller.
            Some(old) => unsafe { self.pool.try_grow(self.start.cast(), old, wanted) },
        }
    }

    /// The layout of the memory there is; `None` while there is none.
    fn layout(&self) -> Option<Layout> {
        if size_of::<T>() == 0 || self.capacity == 0 {
            return None;
        }
        size::layout(0, self.capacity, size_of::<T>(), align_of::<T>())
    }

    #[inline]
    pub(crate) fn push<M: Mode>(&mut self, value: T) -> Result<(), M::Error> {
        self.reserve::<M>(1)?;
        // SAFETY: there is room for one more.
        let slot = unsafe { self.start.add(self.len) };
        // SAFETY: aligned, and not in use.
        unsafe { slot.write(value) };
        self.len += 1;
        Ok(())
    }

    #[inline]
    pub(crate) fn extend_from_slice<M: Mode>(&mut self, from: &[T]) -> Result<(), M::Error>
    where
        T: Copy,
    {
        self.reserve::<M>(from.len())?;
        // SAFETY: there is room for as many more.
        let slots = unsafe { self.start.add(self.len) };
        // SAFETY: room for as many, in memory that nobody else has a reference to.
        unsafe { slots.copy_from_nonoverlapping(NonNull::from(from).cast(), from.len()) };
        self.len += from.len();
        Ok(())
    }

    /// The elements, as long as the pool lives. What room is left goes back, if it can.
    pub(crate) fn finish(self) -> &'p mut [T] {
        if let (Some(old), Some(new)) =
            (self.layout(), size::layout(0, self.len, size_of::<T>(), align_of::<T>()))
        {
            // SAFETY: the array is of this pool and layout; so many bytes of it are in use.
            unsafe { self.pool.trim_newest(self.start.cast(), old, new.size()) };
        }
        let (start, len) = (self.start, self.len);
        mem::forget(self);
        // SAFETY: so many elements were written, in memory that is this array's alone and
        // stays until the pool is reset, which the lifetime excludes.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), len) }
    }
}

impl<T, S: BlockSource> Drop for Growing<'_, T, S> {
    fn drop(&mut self) {
        let elements = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
        let memory = self.layout();
        self.len = 0;
        self.capacity = 0;
        if let Some(layout) = memory {
            let start = self.start.cast();
            // Elements first; a panic in one of them leaves the memory to the reset.
            // SAFETY: so many elements were written and not handed out.
            unsafe { ptr::drop_in_place(elements) };
            // SAFETY: the array is of this pool and layout, and not used any more.
            unsafe { self.pool.dealloc(start, layout) };
        } else {
            // SAFETY: as above; elements without bytes have no memory.
            unsafe { ptr::drop_in_place(elements) };
        }
    }
}

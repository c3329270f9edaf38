//! [`Growing`]: an array in a pool while its final size is not known yet.

use super::Pool;
use crate::copy::copy_slice;
use crate::error::{Mode, Try};
use crate::{AllocError, BlockSource, size};
use core::alloc::Layout;
use core::ptr::{self, NonNull};
use core::{mem, slice};

/// What an array needs of its pool: a reference to it, or a handle that keeps it.
///
/// # Safety
/// Memory stays in place, and is nobody else's, for as long as the value exists, wherever it
/// is moved to.
pub(crate) unsafe trait Grows {
    /// What is refused is not told yet: less may do.
    fn grows_alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;

    /// Likewise.
    ///
    /// # Safety
    /// As for [`Pool::try_grow`].
    unsafe fn grows_to(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError>;

    /// Gives back the end of an object, if it is the newest; whether it was.
    ///
    /// # Safety
    /// As for [`Pool::try_shrink`].
    unsafe fn grows_trim(&self, start: NonNull<u8>, old: Layout, size: usize) -> bool;

    /// Makes an object smaller, wherever it then is.
    ///
    /// # Safety
    /// As for [`Pool::try_shrink`].
    unsafe fn grows_fit(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError>;

    /// # Safety
    /// As for [`Pool::dealloc`].
    unsafe fn grows_free(&self, start: NonNull<u8>, layout: Layout);
}

/// What a pool's own calls are to what grows in it, for a type that is the pool, or refers to it.
macro_rules! grows {
    ($type:ty) => {
        // SAFETY: memory stays in place as long as the pool is borrowed, or there is a handle.
        unsafe impl<S: BlockSource> $crate::pool::Grows for $type {
            #[inline(always)]
            fn grows_alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
                self.hush_alloc(layout)
            }

            #[inline(always)]
            unsafe fn grows_to(
                &self,
                start: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<u8>, AllocError> {
                // SAFETY: the caller's promise, passed on.
                unsafe { self.hush_grow(start, old, new) }
            }

            unsafe fn grows_fit(
                &self,
                start: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<u8>, AllocError> {
                // SAFETY: the caller's promise, passed on.
                unsafe { self.try_shrink(start, old, new) }
            }

            #[inline(always)]
            unsafe fn grows_trim(&self, start: NonNull<u8>, old: Layout, size: usize) -> bool {
                // SAFETY: the caller's promise, passed on.
                unsafe { self.trim_newest(start, old, size) }
            }

            #[inline(always)]
            unsafe fn grows_free(&self, start: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise, passed on.
                unsafe { self.dealloc(start, layout) }
            }
        }
    };
}
pub(crate) use grows;

grows!(&Pool<S>);

/// Grows in place while it is the newest object; ends as a slice of the pool, or drops its
/// elements and gives its memory back.
pub(crate) struct Growing<T, P: Grows> {
    pool: P,
    start: NonNull<T>,
    len: usize,
    capacity: usize,
}

impl<T, P: Grows> Growing<T, P> {
    pub(crate) fn new(pool: P) -> Self {
        let capacity = if size_of::<T>() == 0 { usize::MAX } else { 0 };
        Self { pool, start: NonNull::dangling(), len: 0, capacity }
    }

    /// All items of an iterator, which may itself use the pool.
    #[inline]
    pub(crate) fn collect<M: Mode>(
        pool: P,
        items: impl IntoIterator<Item = T>,
    ) -> Result<Self, M::Error> {
        let items = items.into_iter();
        let mut growing = Self::new(pool);
        growing.reserve::<M>(items.size_hint().0)?;
        for item in items {
            growing.push::<M>(item)?;
        }
        Ok(growing)
    }

    pub(crate) fn pool(&self) -> &P {
        &self.pool
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: so many elements were written.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
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

    /// What is refused in the end is told here, where the code is cold.
    #[cold]
    fn grow(&mut self, more: usize) -> Result<(), AllocError> {
        self.grow_quietly(more).or_else(Try::refuse)
    }

    fn grow_quietly(&mut self, more: usize) -> Result<(), AllocError> {
        let too_large = || AllocError::too_large(more.saturating_mul(size_of::<T>()));
        let least = self.len.checked_add(more).ok_or_else(too_large)?;
        let held = self.capacity;
        let layout = |count| size::layout(0, count, size_of::<T>(), align_of::<T>());
        // Near a limit, or near the largest size that there is, a part more may be had when twice
        // as much is not: so little that a limit is used but for a hundredth.
        let mut tried = usize::MAX;
        let mut outcome = Err(too_large());
        for more in [held.max(4_usize.saturating_sub(held)), held / 8, held / 32, held / 128, 0] {
            let capacity = least.max(held.saturating_add(more));
            let Some(wanted) = layout(capacity) else { continue };
            if capacity == tried {
                continue;
            }
            tried = capacity;
            match self.change_to(wanted) {
                Ok(start) => {
                    self.start = start.cast();
                    self.capacity = capacity;
                    return Ok(());
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Room for `more` elements beyond those there are, and no more than that, unless there is.
    #[cold]
    pub(crate) fn reserve_exact(&mut self, more: usize) -> Result<(), AllocError> {
        if more <= self.capacity - self.len {
            return Ok(());
        }
        let wanted = self.len.checked_add(more).and_then(|capacity| {
            Some((capacity, size::layout(0, capacity, size_of::<T>(), align_of::<T>())?))
        });
        let grown = match wanted {
            Some((capacity, wanted)) => self.change_to(wanted).map(|start| (start, capacity)),
            None => Err(AllocError::too_large(more.saturating_mul(size_of::<T>()))),
        };
        let (start, capacity) = grown.or_else(Try::refuse)?;
        self.start = start.cast();
        self.capacity = capacity;
        Ok(())
    }

    /// Memory of a larger layout, with what there is.
    fn change_to(&self, wanted: Layout) -> Result<NonNull<u8>, AllocError> {
        match self.layout() {
            None => self.pool.grows_alloc(wanted),
            // SAFETY: the array is of this pool and layout; the new one is not smaller.
            Some(old) => unsafe { self.pool.grows_to(self.start.cast(), old, wanted) },
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
        unsafe { copy_slice(from, slots) };
        self.len += from.len();
        Ok(())
    }

    /// Drops the elements, and keeps their room.
    pub(crate) fn clear(&mut self) {
        let elements = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
        // Before a destructor can panic.
        self.len = 0;
        // SAFETY: so many elements were written, and are counted no more.
        unsafe { ptr::drop_in_place(elements) };
    }

    /// Gives back what room is left, if it can.
    pub(crate) fn trim(&mut self) {
        if let (Some(old), Some(new)) =
            (self.layout(), size::layout(0, self.len, size_of::<T>(), align_of::<T>()))
        {
            // SAFETY: the array is of this pool and layout; so many bytes of it are in use.
            if unsafe { self.pool.grows_trim(self.start.cast(), old, new.size()) } {
                self.capacity = self.len;
            }
        }
    }

    /// Makes its memory just that of its elements.
    pub(crate) fn fit(&mut self) -> Result<(), AllocError> {
        if let (Some(old), Some(new)) =
            (self.layout(), size::layout(0, self.len, size_of::<T>(), align_of::<T>()))
        {
            // SAFETY: the array is of this pool and layout; so many bytes of it are in use.
            let start = unsafe { self.pool.grows_fit(self.start.cast(), old, new) }?;
            self.start = start.cast();
            self.capacity = self.len;
        }
        Ok(())
    }

    /// The elements, which are the caller's from now on, and so is their memory.
    pub(crate) fn into_elements(self) -> NonNull<[T]> {
        let elements = NonNull::slice_from_raw_parts(self.start, self.len);
        // Its reference to the pool has nothing to drop; a handle would be leaked.
        mem::forget(self);
        elements
    }
}

impl<'p, T, P: ?Sized> Growing<T, &'p P>
where
    &'p P: Grows,
{
    /// The elements, as long as the pool lives. What room is left goes back, if it can.
    pub(crate) fn finish(mut self) -> &'p mut [T] {
        self.trim();
        // SAFETY: so many elements were written, in memory that is this array's alone and
        // stays until the pool is reset, which the lifetime excludes.
        unsafe { &mut *self.into_elements().as_ptr() }
    }
}

impl<T, P: Grows> Drop for Growing<T, P> {
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
            unsafe { self.pool.grows_free(start, layout) };
        } else {
            // SAFETY: as above; elements without bytes have no memory.
            unsafe { ptr::drop_in_place(elements) };
        }
    }
}

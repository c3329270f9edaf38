//! Slices and texts in a pool: how they are filled, written once for all pools.
//!
//! A pool says where so many bytes go, and what their room is to whoever has it ([`Places`]): a
//! borrow of the pool, or a box. What is made in it is dropped if the rest never comes. What grows
//! meanwhile is [`Growing`].
//!
//! A place is taken before the caller's code runs, and becomes a slice after: so that code may use
//! the pool, or panic.

use crate::AllocError;
use crate::copy::copy_slice;
use crate::error::Mode;
use crate::pool::{Bytes, Growing, Grows};
use crate::size;
use core::fmt;
use core::mem::{self, MaybeUninit};
use core::ptr::{self, NonNull};

/// Memory for elements, its holder's alone, in which there may be none yet.
///
/// # Safety
/// `slots` are all of them, the same each time.
pub(crate) unsafe trait Room<T> {
    /// What it is once all elements are there.
    type Full;

    fn slots(&mut self) -> &mut [MaybeUninit<T>];

    /// # Safety
    /// All elements are there.
    unsafe fn full(self) -> Self::Full;
}

// SAFETY: they are.
unsafe impl<'p, T> Room<T> for &'p mut [MaybeUninit<T>] {
    type Full = &'p mut [T];

    #[inline(always)]
    fn slots(&mut self) -> &mut [MaybeUninit<T>] {
        self
    }

    #[inline(always)]
    unsafe fn full(self) -> &'p mut [T] {
        // SAFETY: of the same layout, with values by the caller's promise.
        unsafe { &mut *(ptr::from_mut(self) as *mut [T]) }
    }
}

/// A borrow of a pool that slices are made in.
pub(crate) trait Places<T>: Grows + Copy {
    type Room: Room<T, Full = Self::Slice>;
    type Slice;

    /// Room for `count` elements.
    ///
    /// # Safety
    /// They have `bytes` bytes, which is a size that a layout of their alignment may have.
    unsafe fn room<M: Mode>(self, count: usize, bytes: usize) -> Result<Self::Room, M::Error>;

    /// What has grown, as a slice of just so many.
    fn grown(grown: Growing<T, Self>) -> Result<Self::Slice, AllocError>;
}

/// A borrow of a pool that texts are made in.
pub(crate) trait Texts: Places<u8> {
    type Text;

    /// # Safety
    /// The bytes are UTF-8.
    unsafe fn text(bytes: Self::Slice) -> Self::Text;
}

/// Drops the elements made so far if filling a slice panics.
struct Filling<'s, T> {
    slots: &'s mut [MaybeUninit<T>],
    done: usize,
}

impl<T> Drop for Filling<'_, T> {
    fn drop(&mut self) {
        let done = ptr::slice_from_raw_parts_mut(self.slots.as_mut_ptr().cast::<T>(), self.done);
        // SAFETY: so many elements were made; the slice was not handed out.
        unsafe { ptr::drop_in_place(done) };
    }
}

/// Room for `count` elements, or bytes, with whatever it held before.
#[inline(always)]
pub(crate) fn room<M: Mode, P: Places<T>, T>(pool: P, count: usize) -> Result<P::Room, M::Error> {
    match size::total(0, count, size_of::<T>(), align_of::<T>()) {
        // SAFETY: so many bytes have so many elements.
        Some(bytes) => unsafe { pool.room::<M>(count, bytes) },
        None => M::fail(too_many::<T>(count)),
    }
}

#[cold]
fn too_many<T>(count: usize) -> AllocError {
    AllocError::too_large(count.saturating_mul(size_of::<T>()))
}

/// A copy of a slice.
#[inline(always)]
pub(crate) fn copy<M: Mode, P: Places<T>, T: Copy>(
    pool: P,
    from: &[T],
) -> Result<P::Slice, M::Error> {
    // SAFETY: so many bytes have so many elements, and there is a slice of them.
    let mut room = unsafe { pool.room::<M>(from.len(), size_of_val(from)) }?;
    let slots = NonNull::from(room.slots()).cast::<T>();
    // SAFETY: there is room for as many, fresh, so it does not overlap `from`.
    unsafe { copy_slice(from, slots) };
    // SAFETY: just written.
    Ok(unsafe { room.full() })
}

/// `count` elements, of which `make` makes each.
#[inline(always)]
pub(crate) fn with<M: Mode, P: Places<T>, T>(
    pool: P,
    count: usize,
    mut make: impl FnMut(usize) -> T,
) -> Result<P::Slice, M::Error> {
    let mut room = room::<M, P, T>(pool, count)?;
    let mut filling = Filling { slots: room.slots(), done: 0 };
    while let Some(slot) = filling.slots.get_mut(filling.done) {
        slot.write(make(filling.done));
        filling.done += 1;
    }
    mem::forget(filling);
    // SAFETY: every slot was written.
    Ok(unsafe { room.full() })
}

/// All items of an iterator, however many there are.
#[inline]
pub(crate) fn collect<M: Mode, P: Places<T>, T>(
    pool: P,
    items: impl IntoIterator<Item = T>,
) -> Result<P::Slice, M::Error> {
    P::grown(Growing::collect::<M>(pool, items)?).or_else(M::fail)
}

/// `count` zeros.
#[inline(always)]
pub(crate) fn zeroed<M: Mode, P: Texts>(pool: P, count: usize) -> Result<P::Slice, M::Error> {
    let mut room = room::<M, P, u8>(pool, count)?;
    let start = NonNull::from(room.slots()).cast::<u8>();
    // SAFETY: so many bytes are the room's.
    unsafe { start.write_bytes(0, count) };
    // SAFETY: just written.
    Ok(unsafe { room.full() })
}

/// A copy of a text.
#[inline(always)]
pub(crate) fn text<M: Mode, P: Texts>(pool: P, text: &str) -> Result<P::Text, M::Error> {
    let bytes = copy::<M, P, u8>(pool, text.as_bytes())?;
    // SAFETY: a copy of a `str`.
    Ok(unsafe { P::text(bytes) })
}

/// What formatting gives.
#[inline]
pub(crate) fn format<M: Mode, P: Texts>(
    pool: P,
    args: fmt::Arguments<'_>,
) -> Result<P::Text, M::Error> {
    if let Some(literal) = args.as_str() {
        return text::<M, P>(pool, literal);
    }
    let bytes = P::grown(Bytes::of::<M>(pool, args)?).or_else(M::fail)?;
    // SAFETY: written by `write_str` alone, so whole texts one after the other.
    Ok(unsafe { P::text(bytes) })
}

/// What [`Places`] and [`Texts`] are for a pool whose slices are borrows of it.
macro_rules! borrows {
    ($pool:ident) => {
        impl<'p, T: 'p, S: BlockSource> $crate::fill::Places<T> for &'p $pool<S> {
            type Room = &'p mut [MaybeUninit<T>];
            type Slice = &'p mut [T];

            #[inline(always)]
            unsafe fn room<M: Mode>(
                self,
                count: usize,
                bytes: usize,
            ) -> Result<Self::Room, M::Error> {
                let start = self.place::<M, MaybeUninit<T>>(bytes)?;
                // SAFETY: fresh memory of that size, aligned, which stays as long as the pool is
                // borrowed; nothing needs to be in it yet.
                Ok(unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), count) })
            }

            #[inline(always)]
            fn grown(grown: $crate::pool::Growing<T, Self>) -> Result<&'p mut [T], AllocError> {
                Ok(grown.finish())
            }
        }

        impl<'p, S: BlockSource> $crate::fill::Texts for &'p $pool<S> {
            type Text = &'p mut str;

            #[inline(always)]
            unsafe fn text(bytes: &'p mut [u8]) -> &'p mut str {
                // SAFETY: the caller's promise.
                unsafe { core::str::from_utf8_unchecked_mut(bytes) }
            }
        }
    };
}
pub(crate) use borrows;

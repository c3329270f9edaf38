//! [`Placed`]: a handle of something that lies in memory which is managed by hand: a header in its
//! block, a record in a pool, a link of a list through the things on it.
//!
//! That the thing is there is promised once, where the handle is made, and relied on in one place,
//! where it is followed. What ends the thing (gives its memory back, or makes other use of it) is
//! the one that must know that no copy of the handle is followed any more; so lists of handles
//! need no promises.

use core::num::NonZero;
use core::ops::Deref;
use core::ptr::NonNull;

/// A `T` that is in place; as good as the pointer that it was made from, which may reach further.
pub(crate) struct Placed<T>(NonNull<T>);

impl<T> Placed<T> {
    /// # Safety
    /// Whenever a copy of this handle is followed, there is a `T`, to which no exclusive reference
    /// is used as long as what was found is.
    #[inline(always)]
    pub(crate) const unsafe fn new(thing: NonNull<T>) -> Self {
        Self(thing)
    }

    /// # Safety
    /// As for [`Placed::new`]; the pointer is not null.
    #[inline(always)]
    pub(crate) const unsafe fn at(thing: *mut T) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { NonNull::new_unchecked(thing) })
    }

    /// Writes a thing where it is to be.
    ///
    /// # Safety
    /// The memory has room for it, is aligned for it, and nobody else's; until no copy of the handle
    /// is followed any more it is used for nothing else.
    #[inline(always)]
    pub(crate) unsafe fn write(place: NonNull<u8>, thing: T) -> Self {
        let place = place.cast::<T>();
        // SAFETY: the caller's promise.
        unsafe { place.write(thing) };
        Self(place)
    }

    /// Where it is.
    #[inline(always)]
    pub(crate) const fn pointer(self) -> NonNull<T> {
        self.0
    }
}

impl<T> Deref for Placed<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the promise that the handle was made with.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Clone for Placed<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Placed<T> {}

impl<T> PartialEq for Placed<T> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// The address so many bytes further on, by the same pointer. It promises nothing: who uses what
/// is there knows that it is within what the pointer is good for.
#[inline(always)]
pub(crate) fn behind<T>(base: NonNull<T>, bytes: usize) -> NonNull<u8> {
    base.cast::<u8>().map_addr(|address| address.saturating_add(bytes))
}

/// The address so many bytes before, likewise.
#[inline(always)]
pub(crate) fn before<T>(base: NonNull<T>, bytes: usize) -> NonNull<u8> {
    base.cast::<u8>().map_addr(|address| {
        NonZero::new(address.get().wrapping_sub(bytes)).unwrap_or(NonZero::<usize>::MIN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_behind_and_before_are_those_of_the_same_memory_and_never_null() {
        let words = [1_u64, 2, 3];
        let first = NonNull::from(&words).cast::<u64>();
        let third = behind(first, 16).cast::<u64>();
        assert_eq!(third.as_ptr().cast_const(), &raw const words[2]);
        assert_eq!(before(third, 16), first.cast());
        assert_eq!(before(first, first.addr().get()).addr().get(), 1);
        assert_eq!(behind(first, usize::MAX).addr().get(), usize::MAX);
    }

    #[test]
    fn copies_of_a_handle_show_the_same_thing() {
        let thing = core::cell::Cell::new(1);
        // SAFETY: it is there until the test ends, and only shared references are made to it.
        let one = unsafe { Placed::new(NonNull::from(&thing)) };
        let two = one;
        two.set(2);
        assert_eq!((one.get(), thing.get()), (2, 2));
        assert!(one == two && one.pointer() == NonNull::from(&thing));
        assert_eq!(size_of::<Option<Placed<u64>>>(), size_of::<*mut u64>());
    }
}

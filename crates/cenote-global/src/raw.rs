//! The allocator as functions on addresses, for a C face: sizes without layouts.
//!
//! A null is what there is when there is no memory; nothing here sets `errno`.

use crate::entry;

/// An object of `size` bytes, aligned to 16. Each has an address of its own, those without bytes
/// included.
#[inline]
#[must_use]
pub fn alloc(size: usize) -> *mut u8 {
    entry::alloc(size)
}

/// An object at a multiple of `align`, which is a power of two.
#[inline]
#[must_use]
pub fn alloc_aligned(size: usize, align: usize) -> *mut u8 {
    entry::alloc_aligned(size, align)
}

/// An object of zeros. Memory that comes fresh from the system is not cleared again, nor touched.
#[inline]
#[must_use]
pub fn alloc_zeroed(size: usize) -> *mut u8 {
    entry::alloc_zeroed(size, 16)
}

/// Frees an object. Nothing happens for null. What is no object of this allocator, or was freed
/// before, ends the process with words on standard error.
///
/// # Safety
/// Nobody uses the object any more.
#[inline]
pub unsafe fn free(start: *mut u8) {
    // SAFETY: the caller's word.
    unsafe { entry::free(start) };
}

/// Makes an object another size, moving it if need be; null, and nothing changed, if there is no
/// memory. Its alignment stays, up to 16.
///
/// # Safety
/// There is an object at `start`. If another address is returned, nobody uses this one any more.
#[inline]
#[must_use]
pub unsafe fn realloc(start: *mut u8, size: usize) -> *mut u8 {
    // SAFETY: the caller's word.
    unsafe { entry::realloc(start, usize::MAX, size, 16) }
}

/// How many bytes of an object may be used: at least as many as were asked for.
///
/// # Safety
/// There is an object at `start`. (What is none ends the process.)
#[inline]
#[must_use]
pub unsafe fn usable_size(start: *mut u8) -> usize {
    entry::usable(start)
}

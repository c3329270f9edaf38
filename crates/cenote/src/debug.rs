//! What checkers are told: ASan sees which bytes of a block are objects, and which are not.
//!
//! Without it a sanitizer is blind inside a pool, since all of a block is one allocation to
//! it. Compiled in by `--cfg cenote_asan` next to `-Zsanitizer=address`; otherwise these are
//! empty functions and cost nothing.

use core::ptr::NonNull;

#[cfg(cenote_asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const u8, size: usize);
    fn __asan_unpoison_memory_region(start: *const u8, size: usize);
}

/// `size` bytes at `start` are free: to touch them is a mistake.
#[inline(always)]
pub(crate) fn mark(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    // SAFETY: only changes the sanitizer's shadow of memory that is the caller's.
    unsafe {
        __asan_poison_memory_region(start.as_ptr(), size);
    }
    let _ = (start, size);
}

/// `size` bytes at `start` are in use.
#[inline(always)]
pub(crate) fn unmark(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    // SAFETY: only changes the sanitizer's shadow of memory that is the caller's.
    unsafe {
        __asan_unpoison_memory_region(start.as_ptr(), size);
    }
    let _ = (start, size);
}

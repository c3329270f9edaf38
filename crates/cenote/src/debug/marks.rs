//! What checkers are told: which bytes of a block are objects, and which are not.
//!
//! Without it a checker is blind inside a pool, since all of a block is one allocation to it.
//! AddressSanitizer is told in builds with `--cfg cenote_asan` next to `-Zsanitizer=address`,
//! valgrind's memcheck in builds with the feature `valgrind`. Otherwise these are empty
//! functions and cost nothing.

use core::ptr::NonNull;

#[cfg(cenote_asan)]
mod asan {
    use core::ptr::NonNull;

    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const u8, size: usize);
        fn __asan_unpoison_memory_region(start: *const u8, size: usize);
    }

    #[inline(always)]
    pub(super) fn forbid(start: NonNull<u8>, size: usize) {
        // SAFETY: only changes the sanitizer's shadow of memory that is the caller's.
        unsafe { __asan_poison_memory_region(start.as_ptr(), size) }
    }

    #[inline(always)]
    pub(super) fn allow(start: NonNull<u8>, size: usize) {
        // SAFETY: only changes the sanitizer's shadow of memory that is the caller's.
        unsafe { __asan_unpoison_memory_region(start.as_ptr(), size) }
    }
}

/// `size` bytes at `start` are free: to touch them is a mistake.
#[inline(always)]
pub(crate) fn mark(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    asan::forbid(start, size);
    #[cfg(feature = "valgrind")]
    super::valgrind::forbid(start, size);
    let _ = (start, size);
}

/// `size` bytes at `start` are in use, and hold nothing yet.
#[inline(always)]
pub(crate) fn unmark(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    asan::allow(start, size);
    #[cfg(feature = "valgrind")]
    super::valgrind::allow(start, size);
    let _ = (start, size);
}

/// An object at `start`, which had `old` bytes, has `new` ones, which are not fewer.
#[inline(always)]
pub(crate) fn grown(start: NonNull<u8>, old: usize, new: usize) {
    #[cfg(cenote_asan)]
    asan::allow(start, new);
    #[cfg(feature = "valgrind")]
    super::valgrind::allow(
        NonNull::new(start.as_ptr().wrapping_add(old)).unwrap_or(start),
        new - old,
    );
    let _ = (start, old, new);
}

/// `size` bytes at `start` are in use, and hold what was written there before they were marked.
#[inline(always)]
pub(crate) fn unmark_written(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    asan::allow(start, size);
    #[cfg(feature = "valgrind")]
    super::valgrind::allow_written(start, size);
    let _ = (start, size);
}

/// `size` bytes at `start`, which are in use, hold nothing yet.
#[inline(always)]
pub(crate) fn undefined(start: NonNull<u8>, size: usize) {
    #[cfg(feature = "valgrind")]
    super::valgrind::allow(start, size);
    let _ = (start, size);
}

/// An object of `size` bytes at `start` is about to be freed: it is a mistake if they are not
/// in use.
#[inline(always)]
pub(crate) fn freeing(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    if size != 0 {
        // SAFETY: the caller's promise: an object of so many bytes is there. If there is none,
        // that is what the sanitizer is to see.
        unsafe { start.read_volatile() };
    }
    #[cfg(feature = "valgrind")]
    super::valgrind::check(start, size);
    let _ = (start, size);
}

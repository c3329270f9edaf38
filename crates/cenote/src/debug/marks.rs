//! What checkers are told: which bytes of a block are objects, and which are not.
//!
//! Without it a checker is blind inside a pool, since all of a block is one allocation to it.
//! AddressSanitizer is told in builds with `--cfg cenote_asan` next to `-Zsanitizer=address`,
//! valgrind's memcheck in builds with the feature `valgrind`. Otherwise these are empty
//! functions and cost nothing.
//!
//! Pools tell of blocks ([`block_made`], [`block_emptied`], [`block_gone`]) and of objects in them
//! ([`placed`], [`grown`], [`shrunk`], [`freed`]); valgrind's memory pools are made of that.
//! Sources, and who wipes, tell of bytes alone ([`mark`], [`unmark`]).

#[cfg(feature = "valgrind")]
use super::mempools;
use core::ptr::NonNull;

#[cfg(cenote_asan)]
mod asan {
    use core::ptr::NonNull;

    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const u8, size: usize);
        fn __asan_unpoison_memory_region(start: *const u8, size: usize);
        fn __asan_region_is_poisoned(start: *const u8, size: usize) -> *const u8;
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

    /// How many bytes from `start` on may be touched, `most` at most.
    pub(super) fn allowed(start: NonNull<u8>, most: usize) -> usize {
        // SAFETY: only looks at the sanitizer's shadow of memory that is the caller's.
        let first = unsafe { __asan_region_is_poisoned(start.as_ptr(), most) };
        if first.is_null() { most } else { first.addr() - start.addr().get() }
    }
}

// ---- blocks ------------------------------------------------------------------------------

/// `size` bytes at `start` are a block, whose bytes `from..to` are free for objects. What else is
/// in it was written already.
#[inline(always)]
pub(crate) fn block_made(start: NonNull<u8>, size: usize, from: usize, to: usize) {
    #[cfg(cenote_asan)]
    asan::forbid(at(start, from), to - from);
    #[cfg(feature = "valgrind")]
    mempools::made(start, size, from, to, super::gap());
    let _ = (start, size, from, to);
}

/// [`block_made`] where objects are side by side.
#[inline(always)]
pub(crate) fn region_made(start: NonNull<u8>, size: usize, from: usize, to: usize) {
    #[cfg(cenote_asan)]
    asan::forbid(at(start, from), to - from);
    #[cfg(feature = "valgrind")]
    mempools::made(start, size, from, to, 0);
    let _ = (start, size, from, to);
}

/// All that is in a block is free, which has `size` bytes for objects, at `start`.
#[inline(always)]
pub(crate) fn block_emptied(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    asan::forbid(start, size);
    #[cfg(feature = "valgrind")]
    mempools::emptied(start, size);
    let _ = (start, size);
}

/// `size` bytes at `start`, which may have been a block, are memory like any other.
#[inline(always)]
pub(crate) fn block_gone(start: NonNull<u8>, size: usize) {
    #[cfg(feature = "valgrind")]
    mempools::gone(start, size);
    unmark(start, size);
}

// ---- objects in blocks -------------------------------------------------------------------

/// An object of `size` bytes is at `start`, and holds nothing yet.
#[inline(always)]
pub(crate) fn placed(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    asan::allow(start, size);
    #[cfg(feature = "valgrind")]
    mempools::placed(start, size);
    let _ = (start, size);
}

/// Of an allocation of `whole` bytes at `start`, an object has `size`.
#[inline(always)]
pub(crate) fn tail(start: NonNull<u8>, size: usize, whole: usize) {
    #[cfg(any(cenote_asan, feature = "valgrind"))]
    mark(at(start, size), whole - size);
    let _ = (start, size, whole);
}

/// All of an allocation of `whole` bytes at `start` is an object's.
#[inline(always)]
pub(crate) fn no_tail(start: NonNull<u8>, whole: usize) {
    #[cfg(any(cenote_asan, feature = "valgrind"))]
    unmark_written(start, whole);
    let _ = (start, whole);
}

/// An object at `start`, which had `old` bytes, has `new` ones, which are not fewer.
#[inline(always)]
pub(crate) fn grown(start: NonNull<u8>, old: usize, new: usize) {
    #[cfg(cenote_asan)]
    asan::allow(start, new);
    #[cfg(feature = "valgrind")]
    mempools::grown(start, old, new);
    let _ = (start, old, new);
}

/// An object at `start`, which had `old` bytes, has `new` ones, which are not more.
#[inline(always)]
pub(crate) fn shrunk(start: NonNull<u8>, old: usize, new: usize) {
    #[cfg(cenote_asan)]
    asan::forbid(at(start, new), old - new);
    #[cfg(feature = "valgrind")]
    mempools::shrunk(start, old, new);
    let _ = (start, old, new);
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

/// An object of `size` bytes at `start` is free.
#[inline(always)]
pub(crate) fn freed(start: NonNull<u8>, size: usize) {
    #[cfg(cenote_asan)]
    asan::forbid(start, size);
    #[cfg(feature = "valgrind")]
    mempools::freed(start, size);
    let _ = (start, size);
}

/// An object at `start` is free that has `most` bytes at most: where the gap behind it begins,
/// which checkers know, it ends.
#[inline(always)]
pub(crate) fn freed_some(start: NonNull<u8>, most: usize) {
    #[cfg(cenote_asan)]
    if super::gap() != 0 {
        asan::forbid(start, asan::allowed(start, most));
    }
    #[cfg(feature = "valgrind")]
    mempools::freed(start, 0);
    let _ = (start, most);
}

// ---- bytes -------------------------------------------------------------------------------

/// Whether a checker is to see each block by itself, and not what it was cut out of.
#[cfg(feature = "std")]
pub(crate) fn sees_blocks() -> bool {
    #[cfg(feature = "valgrind")]
    if super::valgrind::is_here() {
        return true;
    }
    cfg!(cenote_asan)
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

/// So many bytes further.
#[cfg(any(cenote_asan, feature = "valgrind"))]
pub(super) fn at(start: NonNull<u8>, offset: usize) -> NonNull<u8> {
    start.map_addr(|address| address.saturating_add(offset))
}

//! A global allocator for servers: every allocation of a process in a few instructions, and memory
//! back by itself when it is not used any more.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: cenote_global::Global = cenote_global::Global::new();
//!
//! let numbers: Vec<u64> = (0..1000).collect();
//! assert!(cenote_global::stats().live >= numbers.len() * 8);
//! ```
//!
//! There is nothing to call. What there is:
//!
//! - A thread allocates from a heap of its own without atomics or locks. Frees of others' objects go
//!   back in batches, and what they empty is free for all at once.
//! - Memory that nobody uses goes back to the system within seconds, even if no thread calls the
//!   allocator any more, and at once on [`trim`].
//! - A double free, and a free of what is no object, end the process with a line that names it, in
//!   release builds, too.
//! - [`stats`] tells what is live, held and cached, by class of size.
//!
//! Under valgrind, and in builds with `--cfg cenote_asan`, all goes to the system's allocator, so that
//! the checker sees it.
//!
//! `CENOTE_MALLOC=purge_ms:500,background:0` in the environment changes what can be changed: how long
//! unused memory waits (1,000 ms), whether a thread may be begun to give it back (1), `secure:1`
//! overwrites what is freed, `huge:1` lets the kernel use huge pages, `pass:0` stays under valgrind.
//!
//! 64-bit Linux. How it is built, and why: `docs/design/global.md`.

#![no_std]

mod classes;
mod entry;
mod heap;
mod huge;
mod large;
mod lock;
mod options;
mod pages;
mod purge;
pub mod raw;
mod segment;
mod stats;
mod sys;
mod thread;
mod word;
mod words;

use core::alloc::{GlobalAlloc, Layout};

pub use stats::{ClassStats, Stats, stats};

/// The allocator, for `#[global_allocator]`. All values are the same one.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Global;

impl Global {
    /// The allocator.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

// SAFETY: objects are as large and aligned as asked, apart from each other, and stay where they are
// until they are freed; nothing unwinds.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        entry::alloc_aligned(layout.size(), layout.align())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        entry::alloc_zeroed(layout.size(), layout.align())
    }

    #[inline]
    unsafe fn dealloc(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller's word.
        unsafe { entry::free(start) };
    }

    #[inline]
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's word.
        unsafe { entry::realloc(start, layout.size(), size, layout.align()) }
    }
}

/// Gives memory that nobody uses back to the system now: what this thread has at hand, and all free
/// pages. Other threads give back what they have at hand when they next take a slow path. Returns
/// the bytes given back.
///
/// ```
/// let many: Vec<Vec<u8>> = (0..1000).map(|_| vec![1; 1000]).collect();
/// drop(many);
/// cenote_global::trim();
/// ```
pub fn trim() -> usize {
    thread::settle_all();
    pages::purge(pages::Due::Every).given
}

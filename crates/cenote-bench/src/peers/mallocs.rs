//! General allocators, object by object, each by its fastest call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;

use crate::harness::Subject;

/// Allocates and frees one object at a time. Alignments are 8 here, which each malloc gives anyway.
pub(crate) trait Malloc {
    /// At least `layout`; null if there is none.
    fn get(&self, layout: Layout) -> *mut u8;
    /// # Safety
    /// `start` came from `get` of this allocator with `layout`, and is freed once.
    unsafe fn put(&self, start: *mut u8, layout: Layout);
    /// Bytes that the allocator set aside for it, where it tells.
    ///
    /// # Safety
    /// `start` came from `get`, and is live.
    unsafe fn usable(&self, _start: *mut u8) -> Option<usize> {
        None
    }
}

/// The C library's malloc.
#[derive(Clone, Copy)]
pub(crate) struct Glibc;

impl Malloc for Glibc {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the sizes here are never zero.
        unsafe { System.alloc(layout) }
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }
    unsafe fn usable(&self, start: *mut u8) -> Option<usize> {
        // SAFETY: the caller's promise.
        Some(unsafe { libc::malloc_usable_size(start.cast()) })
    }
}

/// mimalloc, by `mi_malloc`: the crate's `GlobalAlloc` takes the slower call for alignments.
#[derive(Clone, Copy)]
pub(crate) struct Mimalloc;

impl Malloc for Mimalloc {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size is allowed.
        unsafe { libmimalloc_sys::mi_malloc(layout.size()) }.cast()
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { libmimalloc_sys::mi_free(start.cast()) }
    }
    unsafe fn usable(&self, start: *mut u8) -> Option<usize> {
        // SAFETY: the caller's promise.
        Some(unsafe { libmimalloc_sys::mi_usable_size(start.cast()) })
    }
}

/// A heap of mimalloc's own for one owner, destroyed with all in it.
pub(crate) struct MimallocHeap(*mut libmimalloc_sys::mi_heap_t);

impl MimallocHeap {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        // SAFETY: no conditions.
        Self(unsafe { libmimalloc_sys::mi_heap_new() })
    }
}

impl Drop for MimallocHeap {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: made by `new`, on this thread, and destroyed once.
        unsafe { libmimalloc_sys::mi_heap_destroy(self.0) }
    }
}

impl Malloc for MimallocHeap {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the heap is live.
        unsafe { libmimalloc_sys::mi_heap_malloc(self.0, layout.size()) }.cast()
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { libmimalloc_sys::mi_free(start.cast()) }
    }
}

/// jemalloc, which is told the size when it frees.
#[derive(Clone, Copy)]
#[cfg(feature = "jemalloc")]
pub(crate) struct Jemalloc;

#[cfg(feature = "jemalloc")]
impl Malloc for Jemalloc {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the sizes here are never zero.
        unsafe { tikv_jemallocator::Jemalloc.alloc(layout) }
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { tikv_jemallocator::Jemalloc.dealloc(start, layout) }
    }
}

/// snmalloc.
#[derive(Clone, Copy)]
#[cfg(feature = "snmalloc")]
pub(crate) struct Snmalloc;

#[cfg(feature = "snmalloc")]
impl Malloc for Snmalloc {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the sizes here are never zero.
        unsafe { snmalloc_rs::SnMalloc.alloc(layout) }
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { snmalloc_rs::SnMalloc.dealloc(start, layout) }
    }
}

impl Malloc for cenote::ChunkPool {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        self.try_alloc_layout(layout).map_or(null_mut(), |found| found.as_ptr())
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, layout: Layout) {
        // SAFETY: `get` gave it, so it is not null.
        let start = unsafe { std::ptr::NonNull::new_unchecked(start) };
        // SAFETY: the caller's promise.
        unsafe { self.dealloc(start, layout) }
    }
}

impl Malloc for cenote::CountedPool {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        self.try_alloc_layout(layout).map_or(null_mut(), |found| found.as_ptr())
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, layout: Layout) {
        // SAFETY: `get` gave it, so it is not null.
        let start = unsafe { std::ptr::NonNull::new_unchecked(start) };
        // SAFETY: the caller's promise.
        unsafe { self.dealloc(start, layout) }
    }
}

/// What a case makes of a general allocator.
pub(crate) trait Visit {
    /// A subject of this name over `malloc`.
    fn subject<M: Malloc + Copy + Send + Sync + 'static>(&self, name: &str, malloc: M) -> Subject;
}

/// The general allocators, each made a subject; those that cannot take part say why.
pub(crate) fn general(visit: &impl Visit, suffix: &str) -> Vec<Subject> {
    let name = |name: &str| format!("{name}{suffix}");
    vec![
        visit.subject(&name("mimalloc"), Mimalloc),
        #[cfg(feature = "jemalloc")]
        visit.subject(&name("jemalloc"), Jemalloc),
        #[cfg(not(feature = "jemalloc"))]
        Subject::missing(&name("jemalloc"), "not built (feature jemalloc, which needs make)"),
        // It reserves more of the address space than valgrind lets it.
        #[cfg(feature = "snmalloc")]
        if crate::count::counting() {
            Subject::missing(&name("snmalloc"), "does not run under valgrind")
        } else {
            visit.subject(&name("snmalloc"), Snmalloc)
        },
        #[cfg(not(feature = "snmalloc"))]
        Subject::missing(&name("snmalloc"), "not built (feature snmalloc, which needs g++)"),
        visit.subject(&name("glibc malloc"), Glibc),
    ]
}

//! General allocators, object by object, each by its fastest call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::marker::PhantomData;
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

/// What a version of mimalloc has under its own names.
pub(crate) trait Version: Copy + Send + Sync + 'static {
    /// `mi_malloc`: the crate's `GlobalAlloc` takes the slower call for alignments.
    fn malloc(size: usize) -> *mut u8;
    /// # Safety
    /// `start` came from this version, and is freed once.
    unsafe fn free(start: *mut u8);
    /// # Safety
    /// `start` came from this version, and is live.
    unsafe fn usable(start: *mut u8) -> usize;
    /// A heap of its own.
    fn heap() -> *mut u8;
    /// # Safety
    /// `heap` is a live heap of this thread.
    unsafe fn heap_malloc(heap: *mut u8, size: usize) -> *mut u8;
    /// # Safety
    /// `heap` is a live heap of this thread, and destroyed once.
    unsafe fn heap_destroy(heap: *mut u8);
    /// Gives back what is free.
    fn collect();
}

macro_rules! version {
    ($version:ident, $names:path, [$malloc:ident $free:ident $usable:ident $new:ident $take:ident $end:ident $collect:ident]) => {
        impl Version for $version {
            #[inline(always)]
            fn malloc(size: usize) -> *mut u8 {
                use $names as names;
                // SAFETY: any size is allowed.
                unsafe { names::$malloc(size) }.cast()
            }
            #[inline(always)]
            unsafe fn free(start: *mut u8) {
                use $names as names;
                // SAFETY: the caller's promise.
                unsafe { names::$free(start.cast()) }
            }
            unsafe fn usable(start: *mut u8) -> usize {
                use $names as names;
                // SAFETY: the caller's promise.
                unsafe { names::$usable(start.cast()) }
            }
            #[inline(always)]
            fn heap() -> *mut u8 {
                use $names as names;
                // SAFETY: no conditions.
                unsafe { names::$new() }.cast()
            }
            #[inline(always)]
            unsafe fn heap_malloc(heap: *mut u8, size: usize) -> *mut u8 {
                use $names as names;
                // SAFETY: the caller's promise.
                unsafe { names::$take(heap.cast(), size) }.cast()
            }
            #[inline(always)]
            unsafe fn heap_destroy(heap: *mut u8) {
                use $names as names;
                // SAFETY: the caller's promise.
                unsafe { names::$end(heap.cast()) }
            }
            fn collect() {
                use $names as names;
                // SAFETY: no conditions.
                unsafe { names::$collect(true) }
            }
        }
    };
}

/// mimalloc 3, which is what the crate builds.
#[derive(Clone, Copy)]
pub(crate) struct Three;
version!(Three, libmimalloc_sys, [
    mi_malloc mi_free mi_usable_size mi_heap_new mi_heap_malloc mi_heap_destroy mi_collect
]);

/// mimalloc 2, built beside it.
#[derive(Clone, Copy)]
#[cfg(has_mimalloc2)]
pub(crate) struct Two;
#[cfg(has_mimalloc2)]
version!(Two, two, [
    mi2_malloc mi2_free mi2_usable_size mi2_heap_new mi2_heap_malloc mi2_heap_destroy mi2_collect
]);

#[cfg(has_mimalloc2)]
mod two {
    use std::ffi::c_void;

    // The same as version 3's, which the crate declares.
    unsafe extern "C" {
        pub(super) fn mi2_malloc(size: usize) -> *mut c_void;
        pub(super) fn mi2_free(start: *mut c_void);
        pub(super) fn mi2_usable_size(start: *const c_void) -> usize;
        pub(super) fn mi2_heap_new() -> *mut c_void;
        pub(super) fn mi2_heap_malloc(heap: *mut c_void, size: usize) -> *mut c_void;
        pub(super) fn mi2_heap_destroy(heap: *mut c_void);
        pub(super) fn mi2_collect(force: bool);
    }
}

/// mimalloc, object by object.
#[derive(Clone, Copy)]
pub(crate) struct Mimalloc<V>(pub(crate) V);

impl<V: Version> Malloc for Mimalloc<V> {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        V::malloc(layout.size())
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { V::free(start) }
    }
    unsafe fn usable(&self, start: *mut u8) -> Option<usize> {
        // SAFETY: the caller's promise.
        Some(unsafe { V::usable(start) })
    }
}

/// A heap of mimalloc's own for one owner, destroyed with all in it.
pub(crate) struct MimallocHeap<V: Version>(*mut u8, PhantomData<V>);

impl<V: Version> MimallocHeap<V> {
    #[inline(always)]
    pub(crate) fn new(_: V) -> Self {
        Self(V::heap(), PhantomData)
    }
}

impl<V: Version> Drop for MimallocHeap<V> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: made by `new`, on this thread, and destroyed once.
        unsafe { V::heap_destroy(self.0) }
    }
}

impl<V: Version> Malloc for MimallocHeap<V> {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the heap is live, and this thread's: the value cannot be sent.
        unsafe { V::heap_malloc(self.0, layout.size()) }
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { V::free(start) }
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
        visit.subject(&name("mimalloc 3"), Mimalloc(Three)),
        #[cfg(has_mimalloc2)]
        visit.subject(&name("mimalloc 2"), Mimalloc(Two)),
        #[cfg(not(has_mimalloc2))]
        Subject::missing(&name("mimalloc 2"), "not built"),
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

//! General allocators, object by object, each by its fastest call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::marker::PhantomData;
use std::process::Command;
use std::ptr::null_mut;

use crate::harness::Subject;

/// Allocates and frees one object at a time. Alignments are 8 here, which each malloc gives anyway.
pub(crate) trait Malloc {
    /// At least `layout`; null if there is none.
    fn get(&self, layout: Layout) -> *mut u8;
    /// # Safety
    /// `start` came from `get` of this allocator with `layout`, and is freed once.
    unsafe fn put(&self, start: *mut u8, layout: Layout);
    /// Makes an object another size, at another place if need be: the allocator's own way where it
    /// has one. Null, and nothing changed, if there is no memory.
    ///
    /// # Safety
    /// `start` came from `get` of this allocator with `layout`, and is not used if another address is
    /// returned.
    unsafe fn resize(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let other = self.get(crate::work::layout(size));
        if !other.is_null() {
            // SAFETY: both have so many bytes, and the new one is apart from all others.
            unsafe { start.copy_to_nonoverlapping(other, size.min(layout.size())) };
            // SAFETY: the caller's promise.
            unsafe { self.put(start, layout) };
        }
        other
    }
    /// Bytes that the allocator set aside for it, where it tells.
    ///
    /// # Safety
    /// `start` came from `get`, and is live.
    unsafe fn usable(&self, _start: *mut u8) -> Option<usize> {
        None
    }
}

/// What is an allocator for Rust already.
macro_rules! rust {
    ($malloc:ident, $global:expr $(, usable: $usable:path)?) => {
        impl Malloc for $malloc {
            #[inline(always)]
            fn get(&self, layout: Layout) -> *mut u8 {
                // SAFETY: the sizes here are never zero.
                unsafe { $global.alloc(layout) }
            }
            #[inline(always)]
            unsafe fn put(&self, start: *mut u8, layout: Layout) {
                // SAFETY: the caller's promise.
                unsafe { $global.dealloc(start, layout) }
            }
            #[inline(always)]
            unsafe fn resize(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
                // SAFETY: the caller's promise.
                unsafe { $global.realloc(start, layout, size) }
            }
            $(unsafe fn usable(&self, start: *mut u8) -> Option<usize> {
                // SAFETY: the caller's promise.
                Some(unsafe { $usable(start.cast()) })
            })?
        }
    };
}

/// cenote's allocator for all of a process.
#[derive(Clone, Copy)]
pub(crate) struct Global;
rust!(Global, cenote_global::Global::new());

/// The C library's malloc.
#[derive(Clone, Copy)]
pub(crate) struct Glibc;
rust!(Glibc, System, usable: libc::malloc_usable_size);

/// What a version of mimalloc has under its own names.
pub(crate) trait Version: Copy + Send + Sync + 'static {
    /// `mi_malloc`: the crate's `GlobalAlloc` takes the slower call for alignments.
    fn malloc(size: usize) -> *mut u8;
    /// # Safety
    /// `start` came from this version, and is freed once.
    unsafe fn free(start: *mut u8);
    /// # Safety
    /// `start` came from this version, and is not used if another address is returned.
    unsafe fn realloc(start: *mut u8, size: usize) -> *mut u8;
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
    ($version:ident, $names:path, [$malloc:ident $free:ident $realloc:ident $usable:ident $new:ident $take:ident $end:ident $collect:ident]) => {
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
            #[inline(always)]
            unsafe fn realloc(start: *mut u8, size: usize) -> *mut u8 {
                use $names as names;
                // SAFETY: the caller's promise.
                unsafe { names::$realloc(start.cast(), size) }.cast()
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
    mi_malloc mi_free mi_realloc mi_usable_size mi_heap_new mi_heap_malloc mi_heap_destroy mi_collect
]);

/// mimalloc 2, built beside it.
#[derive(Clone, Copy)]
#[cfg(has_mimalloc2)]
pub(crate) struct Two;
#[cfg(has_mimalloc2)]
version!(Two, two, [
    mi2_malloc mi2_free mi2_realloc mi2_usable_size mi2_heap_new mi2_heap_malloc mi2_heap_destroy mi2_collect
]);

#[cfg(has_mimalloc2)]
mod two {
    use std::ffi::c_void;

    // The same as version 3's, which the crate declares.
    unsafe extern "C" {
        pub(super) fn mi2_malloc(size: usize) -> *mut c_void;
        pub(super) fn mi2_free(start: *mut c_void);
        pub(super) fn mi2_realloc(start: *mut c_void, size: usize) -> *mut c_void;
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
    #[inline(always)]
    unsafe fn resize(&self, start: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { V::realloc(start, size) }
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
rust!(Jemalloc, tikv_jemallocator::Jemalloc);

/// snmalloc.
#[derive(Clone, Copy)]
#[cfg(feature = "snmalloc")]
pub(crate) struct Snmalloc;
#[cfg(feature = "snmalloc")]
rust!(Snmalloc, snmalloc_rs::SnMalloc);

/// snmalloc's design in Rust.
#[derive(Clone, Copy)]
pub(crate) struct Rallocator;
rust!(Rallocator, rallocator::Rallocator);

/// mimalloc 2's design in Rust.
#[derive(Clone, Copy)]
pub(crate) struct Rusty;

impl Malloc for Rusty {
    #[inline(always)]
    fn get(&self, layout: Layout) -> *mut u8 {
        rusty_alloc::alloc::malloc(layout.size())
    }
    #[inline(always)]
    unsafe fn put(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { rusty_alloc::alloc::free(start) }
    }
    #[inline(always)]
    unsafe fn resize(&self, start: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { rusty_alloc::alloc::realloc(start, size) }
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

pub(crate) const TCMALLOC: &str = "tcmalloc";
pub(crate) const NO_TCMALLOC: &str = "not installed (libtcmalloc-minimal4)";

/// Where Debian's tcmalloc is, if it is there.
pub(crate) fn tcmalloc_library() -> Option<&'static str> {
    let files = [
        "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4",
        "/usr/lib/aarch64-linux-gnu/libtcmalloc_minimal.so.4",
    ];
    files.into_iter().find(|path| std::path::Path::new(path).exists())
}

/// tcmalloc takes malloc's place when a process starts: in this one, or the reason why not.
pub(crate) fn preload_tcmalloc(process: &mut Command) -> Result<(), &'static str> {
    process.env("LD_PRELOAD", tcmalloc_library().ok_or(NO_TCMALLOC)?);
    Ok(())
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

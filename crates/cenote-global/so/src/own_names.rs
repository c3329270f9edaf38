//! Names of our own, for who wants both this allocator and another: `include/cenote_malloc.h`.

use cenote_global::{raw, stats, trim};

/// As `malloc`, without `errno`.
#[unsafe(no_mangle)]
pub extern "C" fn cenote_malloc_alloc(size: usize) -> *mut u8 {
    raw::alloc(size)
}

/// As `calloc` of one.
#[unsafe(no_mangle)]
pub extern "C" fn cenote_malloc_zalloc(size: usize) -> *mut u8 {
    raw::alloc_zeroed(size)
}

/// At a multiple of `align`; null if that is no power of two.
#[unsafe(no_mangle)]
pub extern "C" fn cenote_malloc_aligned(align: usize, size: usize) -> *mut u8 {
    if !align.is_power_of_two() {
        return core::ptr::null_mut();
    }
    raw::alloc_aligned(size, align)
}

/// Another size; null, and nothing changed, if there is no memory. Null is an object of none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_malloc_realloc(start: *mut u8, size: usize) -> *mut u8 {
    if start.is_null() {
        return raw::alloc(size);
    }
    // SAFETY: the caller's word.
    unsafe { raw::realloc(start, size) }
}

/// As `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_malloc_free(start: *mut u8) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// As `malloc_usable_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_malloc_usable_size(start: *mut u8) -> usize {
    // SAFETY: the caller's word.
    unsafe { crate::malloc_usable_size(start) }
}

/// Gives memory that nobody uses back now; the bytes.
#[unsafe(no_mangle)]
pub extern "C" fn cenote_malloc_trim() -> usize {
    trim()
}

/// `cenote_malloc_stats_t`.
#[repr(C)]
#[derive(Debug)]
pub struct OwnStats {
    live: usize,
    objects: usize,
    held: usize,
    cached: usize,
    mapped: usize,
}

/// How much memory there is, and where.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_malloc_get_stats(out: *mut OwnStats) {
    let stats = stats();
    let own = OwnStats {
        live: stats.live,
        objects: stats.objects,
        held: stats.held,
        cached: stats.cached,
        mapped: stats.mapped,
    };
    // SAFETY: the caller's place for it.
    unsafe { out.write(own) };
}

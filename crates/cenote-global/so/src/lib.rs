//! `libcenote_malloc.so`: the names that programs call for memory, by cenote's global allocator.
//!
//! What each does at the edges - zero bytes, overflow, alignments that are no powers of two, `errno` -
//! is as in glibc. All names that glibc has are here, since one that was missing would be glibc's, with
//! memory that is not ours.

#![no_std]
// C's names, and C's types: sizes of `usize`, addresses of `u8`.
#![allow(clippy::missing_safety_doc)]

extern crate std;

pub mod cxx;
pub mod info;
pub mod own_names;

use cenote_global::raw;
use core::ffi::c_int;
use core::ptr;

fn errno(number: c_int) {
    // SAFETY: where this thread's own word is.
    let word = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own word.
    unsafe { word.write(number) };
}

/// What is returned to C: an object, or null with `errno`.
#[inline(always)]
fn or_errno(start: *mut u8) -> *mut u8 {
    if start.is_null() {
        none();
    }
    start
}

#[cold]
#[inline(never)]
fn none() {
    errno(libc::ENOMEM);
}

/// `malloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut u8 {
    or_errno(raw::alloc(size))
}

/// `free(3)`. Leaves `errno` as it is. A wrong free ends the process with words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(start: *mut u8) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// `calloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, each: usize) -> *mut u8 {
    let Some(size) = count.checked_mul(each) else {
        none();
        return ptr::null_mut();
    };
    or_errno(raw::alloc_zeroed(size))
}

/// `realloc(3)`: of null, as `malloc`; to no bytes, as `free`, with null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(start: *mut u8, size: usize) -> *mut u8 {
    if start.is_null() {
        return malloc(size);
    }
    if size == 0 {
        // SAFETY: the caller's word.
        unsafe { raw::free(start) };
        return ptr::null_mut();
    }
    // SAFETY: the caller's word.
    or_errno(unsafe { raw::realloc(start, size) })
}

/// `reallocarray(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(start: *mut u8, count: usize, each: usize) -> *mut u8 {
    let Some(size) = count.checked_mul(each) else {
        none();
        return ptr::null_mut();
    };
    // SAFETY: the caller's word.
    unsafe { realloc(start, size) }
}

/// `reallocf(3)` of the BSDs: frees the object if there is no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocf(start: *mut u8, size: usize) -> *mut u8 {
    // SAFETY: the caller's word.
    let moved = unsafe { realloc(start, size) };
    if moved.is_null() && size != 0 {
        // SAFETY: it is as it was, and the caller gave it up.
        unsafe { raw::free(start) };
    }
    moved
}

/// `memalign(3)`: an alignment that is no power of two is the next one.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: usize, size: usize) -> *mut u8 {
    let Some(align) = align.max(1).checked_next_power_of_two() else {
        errno(libc::EINVAL);
        return ptr::null_mut();
    };
    or_errno(raw::alloc_aligned(size, align))
}

/// `aligned_alloc(3)`, which is glibc's `memalign`.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut u8 {
    memalign(align, size)
}

/// `posix_memalign(3)`, which leaves `errno` as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(out: *mut *mut u8, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut u8>()) {
        return libc::EINVAL;
    }
    let start = raw::alloc_aligned(size, align);
    if start.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's place for it.
    unsafe { out.write(start) };
    0
}

/// `valloc(3)`: at a multiple of a page.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut u8 {
    memalign(page(), size)
}

/// `pvalloc(3)`: whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut u8 {
    let Some(rounded) = size.checked_next_multiple_of(page()) else {
        none();
        return ptr::null_mut();
    };
    memalign(page(), rounded)
}

fn page() -> usize {
    // SAFETY: a question.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// `malloc_usable_size(3)`: 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(start: *mut u8) -> usize {
    if start.is_null() {
        return 0;
    }
    // SAFETY: the caller's word.
    unsafe { raw::usable_size(start) }
}

/// glibc's old name of `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(start: *mut u8) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// C23's `free_sized`. The size is not needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(start: *mut u8, _: usize) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

/// C23's `free_aligned_sized`. Neither is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(start: *mut u8, _: usize, _: usize) {
    // SAFETY: the caller's word.
    unsafe { raw::free(start) };
}

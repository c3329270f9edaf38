//! `mp_*`: the names of two small pools after nginx's, over the counted pool. Its handle is that
//! of `cenote_counted_*`, so both sets of functions work on it.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use std::ffi::CString;

use cenote::CountedPool;

use crate::counted::{
    cenote_counted_alloc_aligned, cenote_counted_alloc_bytes, cenote_counted_create_with,
    cenote_counted_destroy, cenote_counted_free, cenote_counted_reset, cenote_counted_t,
};
use crate::error::guard;
use crate::handle::open;
use crate::options::cenote_counted_options_t;

/// What objects are aligned to: one of the two has 16, the other 32.
const ALIGN: usize = 32;

unsafe extern "C" {
    /// So that lines come out in order with what the program prints.
    fn puts(line: *const c_char) -> c_int;
}

/// `mp_pool_t *mp_create_pool(size_t size)`
#[unsafe(no_mangle)]
pub extern "C" fn mp_create_pool(size: usize) -> *mut cenote_counted_t {
    let options = cenote_counted_options_t {
        size: size_of::<cenote_counted_options_t>(),
        name: c"mp".as_ptr(),
        account: ptr::null_mut(),
        // The rule for sizes is the library's; a pool without objects holds nothing.
        page: CountedPool::with_size(size).page_bytes(),
        zero_on_release: 0,
    };
    // SAFETY: whole options.
    unsafe { cenote_counted_create_with(&raw const options) }
}

/// `void mp_destroy_pool(mp_pool_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mp_destroy_pool(pool: *mut cenote_counted_t) {
    // SAFETY: the caller's promise.
    unsafe { cenote_counted_destroy(pool) };
}

/// `void mp_reset_pool(mp_pool_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mp_reset_pool(pool: *mut cenote_counted_t) {
    // SAFETY: the caller's promise.
    unsafe { cenote_counted_reset(pool) };
}

/// `void *mp_alloc(mp_pool_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mp_alloc(pool: *mut cenote_counted_t, size: usize) -> *mut c_void {
    if size == 0 {
        return ptr::null_mut();
    }
    // SAFETY: the caller's promise.
    unsafe { cenote_counted_alloc_aligned(pool, size, ALIGN) }
}

/// `void *mp_malloc(mp_pool_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mp_malloc(pool: *mut cenote_counted_t, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { mp_alloc(pool, size) }
}

/// `void *mp_nalloc(mp_pool_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mp_nalloc(pool: *mut cenote_counted_t, size: usize) -> *mut c_void {
    if size == 0 {
        return ptr::null_mut();
    }
    // SAFETY: the caller's promise.
    unsafe { cenote_counted_alloc_bytes(pool, size) }
}

/// `void *mp_calloc(mp_pool_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mp_calloc(pool: *mut cenote_counted_t, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    let object = unsafe { mp_alloc(pool, size) };
    if !object.is_null() {
        // SAFETY: fresh memory of that size.
        unsafe { object.write_bytes(0, size) };
    }
    object
}

/// `void mp_free(mp_pool_t *pool, void *object)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mp_free(pool: *mut cenote_counted_t, object: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { cenote_counted_free(pool, object) };
}

/// `void monitor_mp_poll(mp_pool_t *pool, const char *title)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn monitor_mp_poll(pool: *mut cenote_counted_t, title: *const c_char) {
    guard((), || {
        // SAFETY: the caller's promise.
        let Ok(place) = (unsafe { open(pool.cast_const()) }) else { return };
        let title = match title.is_null() {
            true => c"",
            // SAFETY: the caller's promise.
            false => unsafe { CStr::from_ptr(title) },
        };
        let mut snapshot = place.value().snapshot();
        snapshot.name = place.name().unwrap_or_default();
        let heading = format!("-- {} --", title.to_string_lossy());
        for line in core::iter::once(heading.as_str()).chain(snapshot.to_string().lines()) {
            if let Ok(line) = CString::new(line) {
                // SAFETY: ends with a NUL.
                unsafe { puts(line.as_ptr()) };
            }
        }
    });
}

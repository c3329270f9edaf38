//! `cenote_counted_*`: a block comes back when the last object in it is freed.

use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};

use cenote::CountedPool;
use cenote::misuse::BadFree;

use crate::account::cenote_account_t;
use crate::error::{Status, guard, misconfigured};
use crate::handle::{Kind, create, destroy, live, open};
use crate::misuse::{OF_C, TELL};
use crate::options::{account, cenote_counted_options_t, name, read, set};
use crate::pooled::{
    self, ALIGN, beyond_window, cenote_cleanup_fn, cleanup_add, cleanup_end, figure, give, memory,
    moved, place, product, small_place, zeroed,
};

/// `cenote_counted_t`
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_counted_t {
    _opaque: [u8; 0],
}

impl Kind for cenote_counted_t {
    const INDEX: usize = 1;
    type Value = CountedPool;

    fn before_end(pool: &CountedPool) {
        pooled::Pooled::run_cleanups(pool);
    }
}

/// `cenote_counted_t *cenote_counted_create(void)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_counted_create() -> *mut cenote_counted_t {
    // SAFETY: NULL stands for the defaults.
    unsafe { cenote_counted_create_with(ptr::null()) }
}

/// `cenote_counted_t *cenote_counted_create_on(cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_create_on(
    account: *mut cenote_account_t,
) -> *mut cenote_counted_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let Ok(account) = (unsafe { open(account.cast_const()) }) else { return ptr::null_mut() };
        let builder = CountedPool::builder().name(OF_C).on_bad_free(TELL);
        let builder = builder.account(account.value());
        create(None, || builder.build().map_err(|error| misconfigured(&error)))
    })
}

/// `cenote_counted_t *cenote_counted_create_with(const cenote_counted_options_t *options)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_create_with(
    options: *const cenote_counted_options_t,
) -> *mut cenote_counted_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        unsafe { create_with(options) }.unwrap_or(ptr::null_mut())
    })
}

/// # Safety
/// As for `cenote_counted_create_with`.
unsafe fn create_with(
    options: *const cenote_counted_options_t,
) -> Result<*mut cenote_counted_t, Status> {
    // SAFETY: the caller's promise.
    let options = unsafe { read(options) }?;
    // SAFETY: the caller's promise.
    let name = unsafe { name(options.name) }?;
    // SAFETY: the caller's promise.
    let account = unsafe { account(options.account) }?;
    let mut builder = CountedPool::builder()
        .name(OF_C)
        .on_bad_free(TELL)
        .zero_on_release(options.zero_on_release != 0);
    if let Some(account) = account {
        builder = builder.account(account);
    }
    if let Some(bytes) = set(options.page) {
        builder = builder.page(bytes);
    }
    Ok(create(name, || builder.build().map_err(|error| misconfigured(&error))))
}

/// `int cenote_counted_destroy(cenote_counted_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_destroy(pool: *mut cenote_counted_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { destroy(pool) }.into()
}

/// `int cenote_counted_reset(cenote_counted_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_reset(pool: *mut cenote_counted_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { pooled::reset(pool) }
}

/// `void *cenote_counted_alloc(cenote_counted_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_alloc(
    pool: *mut cenote_counted_t,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let Some(place) = (unsafe { live(pool.cast_const()) }) else {
        // SAFETY: the caller's promise.
        return unsafe { alloc_cold(pool, size, ALIGN) };
    };
    let Some(layout) = small_place(size) else {
        // SAFETY: the caller's promise.
        return unsafe { alloc_cold(pool, size, ALIGN) };
    };
    match place.value().alloc_in_window(layout) {
        Some(start) => start.as_ptr().cast(),
        None => beyond_window(place, size),
    }
}

/// # Safety
/// As for `cenote_counted_alloc`.
#[cold]
#[inline(never)]
unsafe extern "C" fn alloc_cold(
    pool: *mut cenote_counted_t,
    size: usize,
    align: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { memory(pool.cast_const(), |pool| place(pool, size, align)) }
}

/// `void *cenote_counted_zalloc(cenote_counted_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_zalloc(
    pool: *mut cenote_counted_t,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let object = unsafe { cenote_counted_alloc(pool, size) };
    // SAFETY: fresh memory of that size.
    unsafe { zeroed(object, size) }
}

/// `void *cenote_counted_calloc(cenote_counted_t *pool, size_t count, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_calloc(
    pool: *mut cenote_counted_t,
    count: usize,
    size: usize,
) -> *mut c_void {
    match product(count, size) {
        // SAFETY: the caller's promise.
        Ok(size) => unsafe { cenote_counted_zalloc(pool, size) },
        Err(_) => ptr::null_mut(),
    }
}

/// `void *cenote_counted_alloc_aligned(cenote_counted_t *pool, size_t size, size_t align)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_alloc_aligned(
    pool: *mut cenote_counted_t,
    size: usize,
    align: usize,
) -> *mut c_void {
    if align == ALIGN {
        // SAFETY: the caller's promise.
        return unsafe { cenote_counted_alloc(pool, size) };
    }
    // SAFETY: the caller's promise.
    unsafe { alloc_cold(pool, size, align) }
}

/// `void *cenote_counted_alloc_bytes(cenote_counted_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_alloc_bytes(
    pool: *mut cenote_counted_t,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { memory(pool.cast_const(), |pool| Ok(pool.try_alloc_packed(size.max(1))?)) }
}

/// `void *cenote_counted_realloc(cenote_counted_t *pool, void *object, size_t old_size, size_t new_size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_realloc(
    pool: *mut cenote_counted_t,
    object: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    let Some(start) = NonNull::new(object.cast::<u8>()) else {
        // SAFETY: the caller's promise.
        return unsafe { cenote_counted_alloc(pool, new_size) };
    };
    let resize = |pool: &CountedPool| {
        // SAFETY: the caller's promise.
        unsafe { moved(pool, start, (old_size, new_size), CountedPool::look_at, free) }
    };
    // SAFETY: the caller's promise.
    unsafe { memory(pool.cast_const(), resize) }
}

fn free(pool: &CountedPool, start: NonNull<u8>) -> Result<(), BadFree> {
    // SAFETY: the promise of who calls this: if it is an object, nobody uses it any more.
    unsafe { pool.free(start) }
}

/// `int cenote_counted_free(cenote_counted_t *pool, void *object)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_free(
    pool: *mut cenote_counted_t,
    object: *mut c_void,
) -> c_int {
    guard(Status::Internal.into(), || {
        // SAFETY: the caller's promise.
        unsafe { give(pool.cast_const(), object, free) }
    })
}

/// `size_t cenote_counted_trim(cenote_counted_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_trim(pool: *mut cenote_counted_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(pool.cast_const(), CountedPool::trim) }
}

/// `uint64_t cenote_counted_cleanup_add(cenote_counted_t *pool, cenote_cleanup_fn call, void *data)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_cleanup_add(
    pool: *mut cenote_counted_t,
    call: cenote_cleanup_fn,
    data: *mut c_void,
) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { cleanup_add(pool.cast_const(), call, data) }
}

/// `int cenote_counted_cleanup_run(cenote_counted_t *pool, uint64_t cleanup)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_cleanup_run(
    pool: *mut cenote_counted_t,
    cleanup: u64,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { cleanup_end(pool.cast_const(), cleanup, true) }
}

/// `int cenote_counted_cleanup_cancel(cenote_counted_t *pool, uint64_t cleanup)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_cleanup_cancel(
    pool: *mut cenote_counted_t,
    cleanup: u64,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { cleanup_end(pool.cast_const(), cleanup, false) }
}

/// `size_t cenote_counted_held(const cenote_counted_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_held(pool: *const cenote_counted_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(pool, CountedPool::held_bytes) }
}

/// `size_t cenote_counted_live(const cenote_counted_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_counted_live(pool: *const cenote_counted_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(pool, CountedPool::live) }
}

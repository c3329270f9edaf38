//! `cenote_chunk_*`: an object at a time comes back.

use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};

use cenote::misuse::BadFree;
use cenote::{AllocError, ChunkPool};

use crate::account::cenote_account_t;
use crate::error::{Status, guard, misconfigured, refused};
use crate::handle::{Kind, create, destroy, live, open};
use crate::misuse::{OF_C, TELL};
use crate::options::{account, cenote_chunk_options_t, name, read, set};
use crate::pooled::{
    self, ALIGN, cenote_cleanup_fn, cleanup_add, cleanup_end, figure, give, memory, moved, place,
    product, small, zeroed,
};

/// `cenote_chunk_t`
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_chunk_t {
    _opaque: [u8; 0],
}

impl Kind for cenote_chunk_t {
    const INDEX: usize = 2;
    type Value = ChunkPool;

    fn before_end(pool: &ChunkPool) {
        pooled::Pooled::run_cleanups(pool);
    }
}

/// `cenote_chunk_t *cenote_chunk_create(void)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_chunk_create() -> *mut cenote_chunk_t {
    // SAFETY: NULL stands for the defaults.
    unsafe { cenote_chunk_create_with(ptr::null()) }
}

/// `cenote_chunk_t *cenote_chunk_create_on(cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_create_on(
    account: *mut cenote_account_t,
) -> *mut cenote_chunk_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        let Ok(account) = (unsafe { open(account.cast_const()) }) else { return ptr::null_mut() };
        let builder = ChunkPool::config().name(OF_C).on_bad_free(TELL);
        let builder = builder.account(account.value());
        create(None, || builder.build().map_err(|error| misconfigured(&error)))
    })
}

/// `cenote_chunk_t *cenote_chunk_create_with(const cenote_chunk_options_t *options)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_create_with(
    options: *const cenote_chunk_options_t,
) -> *mut cenote_chunk_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        unsafe { create_with(options) }.unwrap_or(ptr::null_mut())
    })
}

/// # Safety
/// As for `cenote_chunk_create_with`.
unsafe fn create_with(
    options: *const cenote_chunk_options_t,
) -> Result<*mut cenote_chunk_t, Status> {
    // SAFETY: the caller's promise.
    let options = unsafe { read(options) }?;
    // SAFETY: the caller's promise.
    let name = unsafe { name(options.name) }?;
    // SAFETY: the caller's promise.
    let account = unsafe { account(options.account) }?;
    let mut builder = ChunkPool::config()
        .name(OF_C)
        .on_bad_free(TELL)
        .zero_on_release(options.zero_on_release != 0);
    if let Some(account) = account {
        builder = builder.account(account);
    }
    if let Some(bytes) = set(options.cluster_size) {
        builder = builder.cluster_size(bytes);
    }
    if let Some(bytes) = set(options.page_alignment) {
        builder = builder.page_alignment(bytes);
    }
    if let Some(bytes) = set(options.page_size) {
        builder = builder.page_size(bytes);
    }
    if let Some(bytes) = set(options.min_chunk_size) {
        builder = builder.min_chunk_size(bytes);
    }
    Ok(create(name, || builder.build().map_err(|error| misconfigured(&error))))
}

/// `int cenote_chunk_destroy(cenote_chunk_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_destroy(pool: *mut cenote_chunk_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { destroy(pool) }.into()
}

/// `int cenote_chunk_reset(cenote_chunk_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_reset(pool: *mut cenote_chunk_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { pooled::reset(pool) }
}

/// `void *cenote_chunk_alloc(cenote_chunk_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_alloc(pool: *mut cenote_chunk_t, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    let Some(place) = (unsafe { live(pool.cast_const()) }) else {
        // SAFETY: the caller's promise.
        return unsafe { alloc_cold(pool, size, ALIGN) };
    };
    let Some(layout) = small(size) else {
        // SAFETY: the caller's promise.
        return unsafe { alloc_cold(pool, size, ALIGN) };
    };
    match place.value().try_alloc_layout(layout) {
        Ok(start) => start.as_ptr().cast(),
        Err(error) => refuse(error),
    }
}

#[cold]
#[inline(never)]
fn refuse(error: AllocError) -> *mut c_void {
    refused(&error);
    ptr::null_mut()
}

/// # Safety
/// As for `cenote_chunk_alloc`.
#[cold]
#[inline(never)]
unsafe extern "C" fn alloc_cold(
    pool: *mut cenote_chunk_t,
    size: usize,
    align: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { memory(pool.cast_const(), |pool| place(pool, size, align)) }
}

/// `void *cenote_chunk_zalloc(cenote_chunk_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_zalloc(
    pool: *mut cenote_chunk_t,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let object = unsafe { cenote_chunk_alloc(pool, size) };
    // SAFETY: fresh memory of that size.
    unsafe { zeroed(object, size) }
}

/// `void *cenote_chunk_calloc(cenote_chunk_t *pool, size_t count, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_calloc(
    pool: *mut cenote_chunk_t,
    count: usize,
    size: usize,
) -> *mut c_void {
    match product(count, size) {
        // SAFETY: the caller's promise.
        Ok(size) => unsafe { cenote_chunk_zalloc(pool, size) },
        Err(_) => ptr::null_mut(),
    }
}

/// `void *cenote_chunk_alloc_aligned(cenote_chunk_t *pool, size_t size, size_t align)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_alloc_aligned(
    pool: *mut cenote_chunk_t,
    size: usize,
    align: usize,
) -> *mut c_void {
    if align == ALIGN {
        // SAFETY: the caller's promise.
        return unsafe { cenote_chunk_alloc(pool, size) };
    }
    // SAFETY: the caller's promise.
    unsafe { alloc_cold(pool, size, align) }
}

/// `void *cenote_chunk_realloc(cenote_chunk_t *pool, void *object, size_t old_size, size_t new_size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_realloc(
    pool: *mut cenote_chunk_t,
    object: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    let Some(start) = NonNull::new(object.cast::<u8>()) else {
        // SAFETY: the caller's promise.
        return unsafe { cenote_chunk_alloc(pool, new_size) };
    };
    let resize = |pool: &ChunkPool| {
        // SAFETY: the caller's promise.
        unsafe { moved(pool, start, (old_size, new_size), ChunkPool::look_at, free) }
    };
    // SAFETY: the caller's promise.
    unsafe { memory(pool.cast_const(), resize) }
}

fn free(pool: &ChunkPool, start: NonNull<u8>) -> Result<(), BadFree> {
    // SAFETY: the promise of who calls this: if it is an object, nobody uses it any more.
    unsafe { pool.free(start) }
}

/// `int cenote_chunk_free(cenote_chunk_t *pool, void *object)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_free(
    pool: *mut cenote_chunk_t,
    object: *mut c_void,
) -> c_int {
    guard(Status::Internal.into(), || {
        // SAFETY: the caller's promise.
        unsafe { give(pool.cast_const(), object, free) }
    })
}

/// `int cenote_chunk_settle(cenote_chunk_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_settle(pool: *mut cenote_chunk_t) -> c_int {
    guard(Status::Internal, || {
        // SAFETY: the caller's promise.
        match unsafe { open(pool.cast_const()) } {
            Ok(place) => {
                place.value().settle();
                Status::Ok
            }
            Err(status) => status,
        }
    })
    .into()
}

/// `size_t cenote_chunk_trim(cenote_chunk_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_trim(pool: *mut cenote_chunk_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(pool.cast_const(), ChunkPool::trim) }
}

/// `int cenote_chunk_is_empty(const cenote_chunk_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_is_empty(pool: *const cenote_chunk_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { figure(pool, ChunkPool::is_empty) }.into()
}

/// `uint64_t cenote_chunk_cleanup_add(cenote_chunk_t *pool, cenote_cleanup_fn call, void *data)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_cleanup_add(
    pool: *mut cenote_chunk_t,
    call: cenote_cleanup_fn,
    data: *mut c_void,
) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { cleanup_add(pool.cast_const(), call, data) }
}

/// `int cenote_chunk_cleanup_run(cenote_chunk_t *pool, uint64_t cleanup)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_cleanup_run(
    pool: *mut cenote_chunk_t,
    cleanup: u64,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { cleanup_end(pool.cast_const(), cleanup, true) }
}

/// `int cenote_chunk_cleanup_cancel(cenote_chunk_t *pool, uint64_t cleanup)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_cleanup_cancel(
    pool: *mut cenote_chunk_t,
    cleanup: u64,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { cleanup_end(pool.cast_const(), cleanup, false) }
}

/// `size_t cenote_chunk_held(const cenote_chunk_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_chunk_held(pool: *const cenote_chunk_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(pool, ChunkPool::held_bytes) }
}

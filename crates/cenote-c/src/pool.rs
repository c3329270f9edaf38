//! `cenote_pool_*`: allocate by moving a pointer, give everything back at once.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{self, NonNull};

use cenote::{CleanupKey, Found, Pool, PoolBuilder};

use crate::account::cenote_account_t;
use crate::error::{Status, fail, guard, misconfigured, refused};
use crate::handle::{Kind, create, destroy, live, open};
use crate::misuse::{PLAIN_OF_C, TELL};
use crate::options::{account, cenote_pool_options_t, name, read, set};
use crate::pooled::{
    self, ALIGN, Refusal, beyond_window, cenote_cleanup_fn, cleanup_add, cleanup_end, exact,
    figure, give, is_exact, memory, place, product, raised, small_place, zeroed,
};

/// `cenote_pool_t`
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_pool_t {
    _opaque: [u8; 0],
}

impl Kind for cenote_pool_t {
    const INDEX: usize = 0;
    type Value = Pool;

    #[inline(always)]
    fn before_end(pool: &Pool) {
        pooled::Pooled::run_cleanups(pool);
    }
}

#[inline(always)]
fn builder() -> PoolBuilder<'static> {
    Pool::builder().name(PLAIN_OF_C).on_misuse(TELL)
}

/// `cenote_pool_t *cenote_pool_create(void)`
#[unsafe(no_mangle)]
pub extern "C" fn cenote_pool_create() -> *mut cenote_pool_t {
    create(None, || builder().build().map_err(|error| misconfigured(&error)))
}

/// `cenote_pool_t *cenote_pool_create_on(cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_create_on(
    account: *mut cenote_account_t,
) -> *mut cenote_pool_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        match unsafe { open(account.cast_const()) } {
            Ok(account) => {
                let builder = builder().account(account.value());
                create(None, || builder.build().map_err(|error| misconfigured(&error)))
            }
            Err(_) => ptr::null_mut(),
        }
    })
}

/// `cenote_pool_t *cenote_pool_create_with(const cenote_pool_options_t *options)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_create_with(
    options: *const cenote_pool_options_t,
) -> *mut cenote_pool_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        unsafe { create_with(options) }.unwrap_or(ptr::null_mut())
    })
}

/// # Safety
/// As for `cenote_pool_create_with`.
unsafe fn create_with(options: *const cenote_pool_options_t) -> Result<*mut cenote_pool_t, Status> {
    // SAFETY: the caller's promise.
    let options = unsafe { read(options) }?;
    // SAFETY: the caller's promise.
    let name = unsafe { name(options.name) }?;
    // SAFETY: the caller's promise.
    let account = unsafe { account(options.account) }?;
    let mut builder = builder().zero_on_release(options.zero_on_release != 0);
    if let Some(account) = account {
        builder = builder.account(account);
    }
    if let Some(bytes) = set(options.first_block) {
        builder = builder.first_block(bytes);
    }
    if let Some(bytes) = set(options.largest_block) {
        builder = builder.largest_block(bytes);
    }
    if let Some(bytes) = set(options.large_threshold) {
        builder = builder.large_threshold(bytes);
    }
    Ok(create(name, || builder.build().map_err(|error| misconfigured(&error))))
}

/// `int cenote_pool_destroy(cenote_pool_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_destroy(pool: *mut cenote_pool_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { destroy(pool) }.into()
}

/// `int cenote_pool_reset(cenote_pool_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_reset(pool: *mut cenote_pool_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { pooled::reset(pool) }
}

/// `void *cenote_pool_alloc(cenote_pool_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_alloc(pool: *mut cenote_pool_t, size: usize) -> *mut c_void {
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
        None => {
            cenote::begins_a_line();
            beyond_window(place, size)
        }
    }
}

/// # Safety
/// As for `cenote_pool_alloc`.
#[cold]
#[inline(never)]
unsafe extern "C" fn alloc_cold(
    pool: *mut cenote_pool_t,
    size: usize,
    align: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { memory(pool.cast_const(), |pool| place(pool, size, align)) }
}

/// `void *cenote_pool_zalloc(cenote_pool_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_zalloc(pool: *mut cenote_pool_t, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    let object = unsafe { cenote_pool_alloc(pool, size) };
    // SAFETY: fresh memory of that size.
    unsafe { zeroed(object, size) }
}

/// `void *cenote_pool_calloc(cenote_pool_t *pool, size_t count, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_calloc(
    pool: *mut cenote_pool_t,
    count: usize,
    size: usize,
) -> *mut c_void {
    match product(count, size) {
        // SAFETY: the caller's promise.
        Ok(size) => unsafe { cenote_pool_zalloc(pool, size) },
        Err(_) => ptr::null_mut(),
    }
}

/// `void *cenote_pool_alloc_aligned(cenote_pool_t *pool, size_t size, size_t align)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_alloc_aligned(
    pool: *mut cenote_pool_t,
    size: usize,
    align: usize,
) -> *mut c_void {
    if align == ALIGN {
        // SAFETY: the caller's promise.
        return unsafe { cenote_pool_alloc(pool, size) };
    }
    // SAFETY: the caller's promise.
    unsafe { alloc_cold(pool, size, align) }
}

/// `void *cenote_pool_alloc_bytes(cenote_pool_t *pool, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_alloc_bytes(
    pool: *mut cenote_pool_t,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    if let Some(place) = unsafe { live(pool.cast_const()) }
        && let Some(start) = place.value().alloc_bytes_in_window(size)
    {
        return start.as_ptr().cast();
    }
    // SAFETY: the caller's promise.
    unsafe { bytes_cold(pool, size) }
}

/// # Safety
/// As for `cenote_pool_alloc_bytes`.
#[cold]
#[inline(never)]
unsafe extern "C" fn bytes_cold(pool: *mut cenote_pool_t, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { memory(pool.cast_const(), |pool| bytes(pool, size)) }
}

/// Bytes without alignment.
fn bytes(pool: &Pool, size: usize) -> Result<NonNull<u8>, Refusal> {
    Ok(NonNull::from(pool.try_alloc_bytes(size.max(1))?).cast())
}

/// `void *cenote_pool_memdup(cenote_pool_t *pool, const void *bytes, size_t size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_memdup(
    pool: *mut cenote_pool_t,
    bytes: *const c_void,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let copy = unsafe { cenote_pool_alloc(pool, size) };
    if !copy.is_null() && !bytes.is_null() {
        // SAFETY: so many bytes at both, by the caller's promise; the new ones are fresh.
        unsafe { ptr::copy_nonoverlapping(bytes.cast::<u8>(), copy.cast(), size) };
    }
    copy
}

/// `char *cenote_pool_strdup(cenote_pool_t *pool, const char *text)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_strdup(
    pool: *mut cenote_pool_t,
    text: *const c_char,
) -> *mut c_char {
    let length = match text.is_null() {
        true => 0,
        // SAFETY: the caller's promise.
        false => unsafe { CStr::from_ptr(text) }.count_bytes(),
    };
    // SAFETY: so many bytes.
    unsafe { cenote_pool_strndup(pool, text, length) }
}

/// `char *cenote_pool_strndup(cenote_pool_t *pool, const char *text, size_t length)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_strndup(
    pool: *mut cenote_pool_t,
    text: *const c_char,
    length: usize,
) -> *mut c_char {
    // SAFETY: the caller's promise.
    let copy = unsafe { cenote_pool_alloc_bytes(pool, length.saturating_add(1)) };
    let copy = copy.cast::<c_char>();
    if copy.is_null() {
        return copy;
    }
    if text.is_null() {
        // SAFETY: fresh memory of that size, and one more.
        unsafe { copy.write_bytes(0, length) };
    } else {
        // SAFETY: so many bytes at both, by the caller's promise; the new ones are fresh.
        unsafe { ptr::copy_nonoverlapping(text, copy, length) };
    }
    // SAFETY: one more.
    let end = unsafe { copy.add(length) };
    // SAFETY: likewise.
    unsafe { end.write(0) };
    copy
}

/// `void *cenote_pool_realloc(cenote_pool_t *pool, void *object, size_t old_size, size_t new_size)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_realloc(
    pool: *mut cenote_pool_t,
    object: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    let Some(start) = NonNull::new(object.cast::<u8>()) else {
        // SAFETY: the caller's promise.
        return unsafe { cenote_pool_alloc(pool, new_size) };
    };
    // SAFETY: the caller's promise.
    let resize = |pool: &Pool| unsafe { resize(pool, start, old_size, new_size) };
    // SAFETY: the caller's promise.
    unsafe { memory(pool.cast_const(), resize) }
}

/// Changes an object's size; that it is one, and has so many bytes, is checked first. Whether it is
/// large is told by its address: the alignment that it was asked for with is not known here.
///
/// # Safety
/// If there is such an object, nobody uses it afterwards.
unsafe fn resize(
    pool: &Pool,
    start: NonNull<u8>,
    old_size: usize,
    new_size: usize,
) -> Result<NonNull<u8>, Refusal> {
    // Exactly so many bytes are copied, since the object may be one without alignment.
    let (old, new) = (exact(old_size, ALIGN)?, exact(new_size, ALIGN)?);
    let (old_place, new_place) = (raised(pool, old), raised(pool, new));
    let found = pool.find(start, old_size).map_err(Refusal::Bad)?;
    if new.size() == old.size() {
        return Ok(start);
    }
    // What is behind each object is looked at where it ends exactly: so it gets another place then.
    let movable = is_exact(pool);
    if new.size() > old.size() {
        // SAFETY: an object of this pool; those that are aligned have the place of such a layout.
        if let Some(same) = unsafe { pool.grow_newest(start, old_place, new_place) } {
            return Ok(same);
        }
        if !movable {
            // SAFETY: an object of this pool, of so many bytes, found so.
            return Ok(unsafe { pool.try_grow_found(start, old, new_place, found) }?);
        }
    }
    if let (Found::InBlock, false) = (found, new.size() > old.size()) {
        // SAFETY: an object of this pool; those that are aligned have the place of such a layout.
        let trimmed = unsafe { pool.try_trim_found(start, old_place, new_place.size()) };
        if trimmed || !movable {
            return Ok(start);
        }
    }
    if let (Found::Large(room), false) = (found, movable)
        && new.size() > room / 2
    {
        return Ok(start);
    }
    let moved = match pool.try_alloc_layout(new_place) {
        Ok(moved) => moved,
        // Giving memory back must not fail for want of it.
        Err(_) if new.size() <= old.size() => return Ok(start),
        Err(error) => return Err(error.into()),
    };
    // SAFETY: so many bytes at both; the new ones are fresh.
    unsafe { moved.copy_from_nonoverlapping(start, old_size.min(new_size)) };
    match found {
        // SAFETY: a large object that nobody uses any more.
        Found::Large(_) => drop(unsafe { pool.free_large(start) }),
        // SAFETY: an object of this pool that nobody uses any more; those that are aligned have the
        // place of such a layout.
        Found::InBlock => unsafe { pool.dealloc(start, old_place) },
    }
    Ok(moved)
}

/// `int cenote_pool_free(cenote_pool_t *pool, void *object)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_free(pool: *mut cenote_pool_t, object: *mut c_void) -> c_int {
    let mut large = true;
    let free = |pool: &Pool, start| {
        // SAFETY: the caller's promise: if it is a large object, nobody uses it any more.
        large = unsafe { pool.free_large(start) };
        Ok(())
    };
    // SAFETY: the caller's promise.
    let status =
        guard(Status::Internal.into(), || unsafe { give(pool.cast_const(), object, free) });
    if large { status } else { Status::Declined.into() }
}

/// `uint64_t cenote_pool_cleanup_add(cenote_pool_t *pool, cenote_cleanup_fn call, void *data)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_cleanup_add(
    pool: *mut cenote_pool_t,
    call: cenote_cleanup_fn,
    data: *mut c_void,
) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { cleanup_add(pool.cast_const(), call, data) }
}

/// `int cenote_pool_cleanup_run(cenote_pool_t *pool, uint64_t cleanup)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_cleanup_run(pool: *mut cenote_pool_t, cleanup: u64) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { cleanup_end(pool.cast_const(), cleanup, true) }
}

/// `int cenote_pool_cleanup_cancel(cenote_pool_t *pool, uint64_t cleanup)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_cleanup_cancel(
    pool: *mut cenote_pool_t,
    cleanup: u64,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { cleanup_end(pool.cast_const(), cleanup, false) }
}

/// `int cenote_pool_attach_fd(cenote_pool_t *pool, int fd)`
#[cfg(unix)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_attach_fd(pool: *mut cenote_pool_t, fd: c_int) -> c_int {
    use std::os::fd::{FromRawFd, OwnedFd};
    let status = guard(Status::Internal, || {
        // SAFETY: the caller's promise.
        let place = match unsafe { open(pool.cast_const()) } {
            Ok(place) => place,
            Err(status) => return status,
        };
        if fd < 0 {
            return fail(
                Status::Config,
                format_args!("the descriptor is {fd}: it must not be negative"),
            );
        }
        // SAFETY: the caller's promise: it is open, and the pool's from now on.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        place.value().attach_fd(file).map_or_else(|error| refused(&error), |_| Status::Ok)
    });
    status.into()
}

/// `int cenote_pool_close_fd(cenote_pool_t *pool, int fd)`
#[cfg(unix)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_close_fd(pool: *mut cenote_pool_t, fd: c_int) -> c_int {
    let status = guard(Status::Internal, || {
        // SAFETY: the caller's promise.
        let place = match unsafe { open(pool.cast_const()) } {
            Ok(place) => place,
            Err(status) => return status,
        };
        match place.value().cleanup(CleanupKey::descriptor(fd)) {
            Some(closing) => {
                closing.run();
                Status::Ok
            }
            None => {
                fail(Status::NotFound, format_args!("descriptor {fd} is not attached to this pool"))
            }
        }
    });
    status.into()
}

/// `int cenote_pool_delete_path(cenote_pool_t *pool, const char *path)`
#[cfg(unix)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_delete_path(
    pool: *mut cenote_pool_t,
    path: *const c_char,
) -> c_int {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let status = guard(Status::Internal, || {
        // SAFETY: the caller's promise.
        let place = match unsafe { open(pool.cast_const()) } {
            Ok(place) => place,
            Err(status) => return status,
        };
        if path.is_null() {
            return fail(Status::Config, format_args!("the path is NULL"));
        }
        // SAFETY: the caller's promise.
        let path = OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
        place.value().delete_path(path).map_or_else(|error| refused(&error), |_| Status::Ok)
    });
    status.into()
}

/// `size_t cenote_pool_held(const cenote_pool_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_held(pool: *const cenote_pool_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(pool, Pool::held_bytes) }
}

/// `size_t cenote_pool_used(const cenote_pool_t *pool)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_pool_used(pool: *const cenote_pool_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(pool, Pool::used_bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{cenote_last_error, cenote_last_status};
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    static RUNS: AtomicU32 = AtomicU32::new(0);

    unsafe extern "C-unwind" fn panics(_: *mut c_void) {
        panic!("in a cleanup");
    }

    unsafe extern "C-unwind" fn counts(_: *mut c_void) {
        RUNS.fetch_add(1, Relaxed);
    }

    /// A call that ended in a panic that was caught.
    fn assert_internal(status: c_int) {
        assert_eq!((status, cenote_last_status()), (-9, -9));
        // SAFETY: never null, and ends with a NUL.
        let told = unsafe { CStr::from_ptr(cenote_last_error()) };
        assert_eq!(told, c"a panic was caught: in a cleanup");
    }

    #[test]
    fn a_panic_in_a_cleanup_is_a_failure_and_everything_else_is_done() {
        let pool = cenote_pool_create();
        let add = |call: unsafe extern "C-unwind" fn(*mut c_void)| {
            // SAFETY: the pool is live, and the functions take anything.
            let ticket = unsafe { cenote_pool_cleanup_add(pool, Some(call), ptr::null_mut()) };
            assert_ne!(ticket, 0);
            ticket
        };
        add(counts);
        let early = add(panics);
        // SAFETY: the pool is live.
        assert_internal(unsafe { cenote_pool_cleanup_run(pool, early) });
        add(panics);
        add(counts);
        // SAFETY: the pool is live.
        assert_internal(unsafe { cenote_pool_reset(pool) });
        assert_eq!(RUNS.load(Relaxed), 2);
        // The pool is not held by what went wrong.
        // SAFETY: the pool is live.
        assert_eq!(unsafe { cenote_pool_reset(pool) }, 0);
        add(counts);
        add(panics);
        // SAFETY: the pool is live, and not used afterwards.
        assert_internal(unsafe { cenote_pool_destroy(pool) });
        assert_eq!(RUNS.load(Relaxed), 3);
        // SAFETY: only looked at.
        assert!(unsafe { live(pool.cast_const()) }.is_none());
    }
}

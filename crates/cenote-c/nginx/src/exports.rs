//! The twelve functions, under nginx's names.
//!
//! Every `pool` here is one that [`ngx_create_pool`] made and [`ngx_destroy_pool`] has not seen,
//! used by one thread at a time. No function unwinds; where there is no memory the answer is null,
//! and the failure has been logged as nginx logs it.

use crate::abi::{ALIGNMENT, CleanupRecord, DECLINED, FileCleanup, Log, OK, Pool};
use crate::block::Live;
use crate::{cleanup, large, life, pool};
use core::ffi::{c_int, c_void};

/// Makes a pool of `size` bytes, its head of 80 bytes included; `log` is where it logs.
///
/// This takes its own return address along, which is how a pool's maker is known.
///
/// # Safety
/// `log` is one of nginx's, or null.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn ngx_create_pool(size: usize, log: *mut Log) -> *mut Pool {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!("mov rdx, [rsp]", "jmp {create}", create = sym create_from);
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!("mov x2, x30", "b {create}", create = sym create_from);
}

/// Makes a pool of `size` bytes, its head of 80 bytes included; `log` is where it logs.
///
/// # Safety
/// `log` is one of nginx's, or null.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_create_pool(size: usize, log: *mut Log) -> *mut Pool {
    // Pools are told apart by their sizes alone.
    create_from(size, log, 0)
}

extern "C" fn create_from(size: usize, log: *mut Log, caller: usize) -> *mut Pool {
    life::create(size, log, caller)
}

/// Runs the cleanups, the newest first, and frees all that the pool holds.
///
/// # Safety
/// A live pool, which nobody uses afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_destroy_pool(pool: *mut Pool) {
    // SAFETY: the caller's promise.
    life::destroy(unsafe { Live::new(pool) });
}

/// Runs the cleanups, frees the large objects, gives all blocks but the first back and empties
/// that one.
///
/// # Safety
/// A live pool, whose objects nobody uses afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_reset_pool(pool: *mut Pool) {
    // SAFETY: the caller's promise.
    life::reset(unsafe { Live::new(pool) });
}

/// `size` bytes, aligned to nginx's `NGX_ALIGNMENT`.
///
/// # Safety
/// A live pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_palloc(pool: *mut Pool, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    pool::alloc(unsafe { Live::new(pool) }, size, ALIGNMENT).cast()
}

/// `size` bytes, wherever they fit: for text.
///
/// # Safety
/// A live pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_pnalloc(pool: *mut Pool, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    pool::alloc(unsafe { Live::new(pool) }, size, 1).cast()
}

/// `size` bytes of zeros, aligned as [`ngx_palloc`] does.
///
/// # Safety
/// A live pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_pcalloc(pool: *mut Pool, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    let object = pool::alloc(unsafe { Live::new(pool) }, size, ALIGNMENT);
    if !object.is_null() {
        // SAFETY: so many bytes were just taken.
        unsafe { object.write_bytes(0, size) };
    }
    object.cast()
}

/// `size` bytes at a multiple of `alignment`, a power of two: always a large object.
///
/// # Safety
/// A live pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_pmemalign(
    pool: *mut Pool,
    size: usize,
    alignment: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    large::aligned(unsafe { Live::new(pool) }, size, alignment).cast()
}

/// Frees a large object of this pool: `NGX_OK`. Anything else stays as it is: `NGX_DECLINED`.
/// Takes the same time however many are live.
///
/// # Safety
/// A live pool. `object` may be any address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_pfree(pool: *mut Pool, object: *mut c_void) -> isize {
    // SAFETY: the caller's promise.
    if large::free(unsafe { Live::new(pool) }, object) { OK } else { DECLINED }
}

/// Adds a cleanup, with `size` bytes of data if that is not 0, and no handler yet.
///
/// # Safety
/// A live pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_pool_cleanup_add(pool: *mut Pool, size: usize) -> *mut CleanupRecord {
    // SAFETY: the caller's promise.
    cleanup::add(unsafe { Live::new(pool) }, size)
}

/// Closes a descriptor for which there is a cleanup, now and not again at the pool's end.
///
/// # Safety
/// A live pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_pool_run_cleanup_file(pool: *mut Pool, fd: c_int) {
    // SAFETY: the caller's promise.
    cleanup::run_file(unsafe { Live::new(pool) }, fd);
}

/// The cleanup that closes a file.
///
/// # Safety
/// `data` is an `ngx_pool_cleanup_file_t` whose descriptor is open and nobody else's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_pool_cleanup_file(data: *mut c_void) {
    // SAFETY: the caller's promise.
    cleanup::close_file(unsafe { &*data.cast::<FileCleanup>() });
}

/// The cleanup that deletes a file and closes it.
///
/// # Safety
/// As for [`ngx_pool_cleanup_file`]; its name ends in a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_pool_delete_file(data: *mut c_void) {
    // SAFETY: the caller's promise.
    cleanup::delete_file(unsafe { &*data.cast::<FileCleanup>() });
}

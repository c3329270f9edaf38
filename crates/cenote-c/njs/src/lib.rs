//! njs's pool functions on cenote's [`ChunkPool`](cenote::ChunkPool), to be linked into njs.
//!
//! The static library `libcenote_njs.a` exports the eleven symbols of njs's own `njs_mp.o`, and
//! takes its place: njs is compiled as it is, with its own header, and linked with this archive
//! instead of that object file. Everything njs can see is as it was: which parameters are
//! refused, what size of object is where, alignments, the figures, the order of cleanups.
//!
//! What is better inside:
//! - A free takes the same short time however large the pool is: njs walks a tree.
//! - A cluster that empties is kept back for the next allocation, one for each pool; njs gives
//!   it to the system and takes it again, each time, where a pool is at the edge.
//! - A wrong free (foreign, interior, twice) is refused, counted ([`cenote_njs_bad_frees`]) and
//!   reported on standard error. njs finds most of them, and says nothing.
//! - `min_chunk_size == page_size` works: njs accepts it, and loses what is freed.
//! - A cleanup that is added by another while the pool is destroyed runs. In njs it never does.
//! - A large object of an alignment below 8, or of no bytes, can be had and freed.
//! - Parameters that `njs_mp_create` refuses are mended by `njs_mp_fast_create`: see there.
//!
//! # For all functions
//!
//! A pool is for one thread at a time, as in njs. Null is met everywhere: nothing is allocated
//! from no pool, and freeing nothing is fine. No call unwinds, and none ends the process: want
//! of memory is null, as it is in njs.
//!
//! Files: this one has the functions, `pool` the pool behind them, `cleanup` its cleanups,
//! `parameters` its sizes, `memory` where it takes its memory, `bad_free` what is done about wrong frees.

mod bad_free;
mod cleanup;
mod memory;
mod parameters;
mod pool;

pub use cleanup::{Cleanup, Handler};
pub use pool::{NjsPool, Stat};

use core::ffi::c_void;
use core::ptr;
use parameters::Parameters;

/// Memory of a pool, or null.
type Object = *mut c_void;

/// Makes a pool. It holds no cluster until something is allocated.
///
/// Null where memory is out, or the sizes, all in bytes, break one of these rules: the last
/// three are powers of two; `page_alignment`, raised to 16 if it is less, is at most
/// `page_size`; `page_size` is at least 64, and at most 32 times `min_chunk_size`, which is no
/// larger than it; `cluster_size` is a multiple of `page_size`, from one to 256 of them.
#[unsafe(no_mangle)]
pub extern "C" fn njs_mp_create(
    cluster_size: usize,
    page_alignment: usize,
    page_size: usize,
    min_chunk_size: usize,
) -> *mut NjsPool {
    NjsPool::create(Parameters { cluster_size, page_alignment, page_size, min_chunk_size })
}

/// Makes a pool, of the nearest sizes that `njs_mp_create` would accept; null where memory is
/// out.
///
/// In njs this checks nothing, and sizes that break the rules make a pool that breaks. Here
/// sizes are rounded up to powers of two, and then each is raised, or lowered, until it keeps
/// its rule. Sizes that keep the rules are taken as they are.
#[unsafe(no_mangle)]
pub extern "C" fn njs_mp_fast_create(
    cluster_size: usize,
    page_alignment: usize,
    page_size: usize,
    min_chunk_size: usize,
) -> *mut NjsPool {
    let asked = Parameters { cluster_size, page_alignment, page_size, min_chunk_size };
    NjsPool::create(asked.mended())
}

/// 1 where the pool has no cluster in use and no large object, otherwise 0. A cluster that is
/// kept back is not in use.
///
/// # Safety
/// `pool` is null, or a pool that was not destroyed, and no other thread uses it now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_is_empty(pool: *const NjsPool) -> usize {
    // SAFETY: the caller's promise.
    usize::from(unsafe { pool.as_ref() }.is_none_or(NjsPool::is_empty))
}

/// Runs the pool's cleanups, the newest first and those included that they add, and frees all
/// of its memory. Called for a pool that is being destroyed, by one of its cleanups, it does
/// nothing.
///
/// # Safety
/// As for [`njs_mp_is_empty`], and nothing uses the pool or its memory after this. The
/// cleanups' handlers may be called with their data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_destroy(pool: *mut NjsPool) {
    // SAFETY: the caller's promise, passed on.
    unsafe { NjsPool::destroy(pool) }
}

/// Bytes and number of the clusters in use and the large objects, and the sizes of a page and
/// of a cluster; nothing is written for a null `stat`, zeros for a null pool.
///
/// # Safety
/// As for [`njs_mp_is_empty`]; and `stat` is null, or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_stat(pool: *const NjsPool, stat: *mut Stat) {
    if stat.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let figures = unsafe { pool.as_ref() }.map_or(Stat::default(), NjsPool::stat);
    // SAFETY: the caller's promise, and not null.
    unsafe { stat.write(figures) };
}

/// Memory of `size` bytes with whatever it held before, or null: where memory is out, or `size`
/// is 2^32 - 1 or more. No bytes are a chunk with an address of its own, which can be freed.
///
/// Up to half a page it is a chunk of the next size of the pool, aligned to its size or to the
/// page alignment, whichever is less; up to a page it is a page; and above that memory of its
/// own, aligned to 16.
///
/// # Safety
/// As for [`njs_mp_is_empty`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_alloc(pool: *const NjsPool, size: usize) -> Object {
    // SAFETY: the caller's promise.
    alloc(unsafe { pool.as_ref() }, 1, size)
}

/// As [`njs_mp_alloc`], zeroed.
///
/// # Safety
/// As for [`njs_mp_is_empty`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_zalloc(pool: *const NjsPool, size: usize) -> Object {
    // SAFETY: the caller's promise.
    zalloc(unsafe { pool.as_ref() }, 1, size)
}

/// As [`njs_mp_alloc`], at a multiple of `alignment` bytes; null as well where that is no power
/// of two. 0 is met as 1, as in njs.
///
/// # Safety
/// As for [`njs_mp_is_empty`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_align(
    pool: *const NjsPool,
    alignment: usize,
    size: usize,
) -> Object {
    // SAFETY: the caller's promise.
    alloc(unsafe { pool.as_ref() }, alignment, size)
}

/// As [`njs_mp_align`], zeroed.
///
/// # Safety
/// As for [`njs_mp_is_empty`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_zalign(
    pool: *const NjsPool,
    alignment: usize,
    size: usize,
) -> Object {
    // SAFETY: the caller's promise.
    zalloc(unsafe { pool.as_ref() }, alignment, size)
}

#[inline(always)]
fn alloc(pool: Option<&NjsPool>, alignment: usize, size: usize) -> Object {
    let start = pool.and_then(|pool| pool.alloc(alignment, size));
    start.map_or(ptr::null_mut(), |start| start.as_ptr().cast())
}

#[inline(always)]
fn zalloc(pool: Option<&NjsPool>, alignment: usize, size: usize) -> Object {
    let object = alloc(pool, alignment, size);
    if !object.is_null() {
        // SAFETY: fresh memory of so many bytes.
        unsafe { object.write_bytes(0, size) };
    }
    object
}

/// Frees an object of the pool. Null is fine. Any other address that no object of this pool
/// begins at changes nothing, and is counted and reported.
///
/// # Safety
/// As for [`njs_mp_is_empty`], and nothing uses the object after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_free(pool: *const NjsPool, object: Object) {
    let Some(object) = ptr::NonNull::new(object.cast()) else { return };
    // SAFETY: the caller's promise.
    match unsafe { pool.as_ref() } {
        // SAFETY: the caller's promise.
        Some(pool) => unsafe { pool.free(object) },
        None => bad_free::without_pool(object.addr().get()),
    }
}

/// Adds a cleanup, which [`njs_mp_destroy`] runs, and `size` bytes of the pool's memory for its
/// data. The caller sets its handler; one without is skipped. Null where memory is out.
///
/// It stays where it is until the pool is destroyed: to free it is a bad free.
///
/// # Safety
/// As for [`njs_mp_is_empty`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn njs_mp_cleanup_add(pool: *const NjsPool, size: usize) -> *mut Cleanup {
    // SAFETY: the caller's promise.
    let pool = unsafe { pool.as_ref() };
    pool.and_then(|pool| pool.cleanup_add(size)).map_or(ptr::null_mut(), ptr::NonNull::as_ptr)
}

/// How many wrong frees there were, in all pools of this process.
#[unsafe(no_mangle)]
pub extern "C" fn cenote_njs_bad_frees() -> u64 {
    bad_free::count()
}

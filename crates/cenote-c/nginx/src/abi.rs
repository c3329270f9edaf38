//! nginx's side: its structs as they lie in memory, and the functions of its that are called.
//!
//! All fields are cells, since code on both sides of the boundary writes them. The assertions
//! are the contract: a pool is shared with C code that was compiled against these offsets.

use core::cell::Cell;
use core::ffi::{c_char, c_int, c_void};
use core::mem::offset_of;

/// What an aligned object is aligned to: nginx's `NGX_ALIGNMENT`, a word on x86, else 16.
pub(crate) const ALIGNMENT: usize =
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) { size_of::<usize>() } else { 16 };
/// What blocks are aligned to: nginx's `NGX_POOL_ALIGNMENT`.
pub(crate) const POOL_ALIGNMENT: usize = 16;

/// nginx's `NGX_OK`.
pub(crate) const OK: isize = 0;
/// nginx's `NGX_DECLINED`.
pub(crate) const DECLINED: isize = -5;

/// nginx's `ngx_pool_data_t`: the head of every block.
#[derive(Debug)]
#[repr(C)]
pub struct PoolData {
    /// Where the next object goes.
    pub last: Cell<*mut u8>,
    /// The end of the block.
    pub end: Cell<*mut u8>,
    /// The block taken after this one.
    pub next: Cell<*mut Pool>,
    /// How often a block was taken because nothing fitted here.
    pub failed: Cell<usize>,
}

/// nginx's `ngx_pool_t`: the head of a pool's first block.
#[derive(Debug)]
#[repr(C)]
pub struct Pool {
    /// The first block's own head.
    pub d: PoolData,
    /// The largest small object, in bytes.
    pub max: Cell<usize>,
    /// The first block that is tried.
    pub current: Cell<*mut Pool>,
    /// Chain links to be used again; only nginx's buffer code uses this.
    pub chain: Cell<*mut c_void>,
    /// The large objects that are live.
    pub large: Cell<*mut LargeRecord>,
    /// What to run at the end, the newest first.
    pub cleanup: Cell<*mut CleanupRecord>,
    /// Where to log; may change at any time, and may lie in the pool.
    pub log: Cell<*mut Log>,
}

/// nginx's `ngx_pool_large_t`.
#[derive(Debug)]
#[repr(C)]
pub struct LargeRecord {
    /// The next record.
    pub next: Cell<*mut LargeRecord>,
    /// The object.
    pub alloc: Cell<*mut c_void>,
}

/// nginx's `ngx_pool_cleanup_pt`, where there may be none.
pub type CleanupHandler = Option<unsafe extern "C" fn(*mut c_void)>;

/// nginx's `ngx_pool_cleanup_t`.
#[derive(Debug)]
#[repr(C)]
pub struct CleanupRecord {
    /// What to call; none is skipped.
    pub handler: Cell<CleanupHandler>,
    /// What to call it with.
    pub data: Cell<*mut c_void>,
    /// The one added before.
    pub next: Cell<*mut CleanupRecord>,
}

/// nginx's `ngx_pool_cleanup_file_t`.
#[derive(Debug)]
#[repr(C)]
pub struct FileCleanup {
    /// The descriptor.
    pub fd: Cell<c_int>,
    /// The path, ending in a zero byte.
    pub name: Cell<*mut c_char>,
    /// Where to log.
    pub log: Cell<*mut Log>,
}

/// The beginning of nginx's `ngx_log_t`, which is all that is looked at here.
#[derive(Debug)]
#[repr(C)]
pub struct Log {
    /// A level, or bits of what is to be debugged.
    pub log_level: Cell<usize>,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<PoolData>() == 32);
    assert!(offset_of!(PoolData, last) == 0 && offset_of!(PoolData, end) == 8);
    assert!(offset_of!(PoolData, next) == 16 && offset_of!(PoolData, failed) == 24);
    assert!(size_of::<Pool>() == 80);
    assert!(offset_of!(Pool, max) == 32 && offset_of!(Pool, current) == 40);
    assert!(offset_of!(Pool, chain) == 48 && offset_of!(Pool, large) == 56);
    assert!(offset_of!(Pool, cleanup) == 64 && offset_of!(Pool, log) == 72);
    assert!(size_of::<LargeRecord>() == 16 && offset_of!(LargeRecord, alloc) == 8);
    assert!(size_of::<CleanupRecord>() == 24 && offset_of!(CleanupRecord, handler) == 0);
    assert!(offset_of!(CleanupRecord, data) == 8 && offset_of!(CleanupRecord, next) == 16);
    assert!(size_of::<FileCleanup>() == 24 && offset_of!(FileCleanup, fd) == 0);
    assert!(offset_of!(FileCleanup, name) == 8 && offset_of!(FileCleanup, log) == 16);
};

unsafe extern "C" {
    /// nginx's `malloc`, which logs its failures.
    pub(crate) fn ngx_alloc(size: usize, log: *mut Log) -> *mut c_void;
    /// nginx's `posix_memalign`, which logs its failures.
    pub(crate) fn ngx_memalign(alignment: usize, size: usize, log: *mut Log) -> *mut c_void;
    /// The size of a page; 0 before nginx has found out.
    pub(crate) static ngx_pagesize: usize;
    /// Writes a line to a log, whatever its level.
    pub(crate) fn ngx_log_error_core(
        level: usize,
        log: *mut Log,
        error: c_int,
        format: *const c_char,
        ...
    );

    /// What `ngx_free` stands for.
    pub(crate) fn free(memory: *mut c_void);
    pub(crate) fn close(fd: c_int) -> c_int;
    pub(crate) fn unlink(path: *const c_char) -> c_int;
}

/// How many bytes an object from `ngx_alloc` or `ngx_memalign` really takes; 0 where the C
/// library does not tell.
///
/// # Safety
/// It is such an object, and not freed.
pub(crate) unsafe fn usable_size(memory: *mut c_void) -> usize {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    {
        unsafe extern "C" {
            fn malloc_usable_size(memory: *mut c_void) -> usize;
        }
        // SAFETY: the caller's promise.
        unsafe { malloc_usable_size(memory) }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    {
        let _ = memory;
        0
    }
}

//! nginx's log: the lines of its own pools, at its own levels, in its own words.

use crate::abi::{Log, ngx_log_error_core};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::{AtomicU8, Ordering};

const EMERG: usize = 1;
const ALERT: usize = 2;
const CRIT: usize = 3;
const DEBUG: usize = 8;
const DEBUG_ALLOC: usize = 0x20;

/// Whether nginx is built for debugging (`NGX_DEBUG`), without which it writes no debug lines
/// whatever the level. The add-on sets it before `main`.
#[unsafe(no_mangle)]
static CENOTE_NGINX_DEBUG: AtomicU8 = AtomicU8::new(0);

/// Whether lines about pools are written at all.
#[inline(always)]
pub(crate) fn debugging() -> bool {
    CENOTE_NGINX_DEBUG.load(Ordering::Relaxed) != 0
}

fn level(log: *mut Log) -> usize {
    // SAFETY: a log that nginx gave for a pool is one, or null; nginx reads it so itself.
    let log = unsafe { log.as_ref() };
    log.map_or(0, |log| log.log_level.get())
}

fn debug_wanted(log: *mut Log) -> bool {
    debugging() && level(log) & DEBUG_ALLOC != 0
}

/// A debug line about one address: `format` has one `%p`.
pub(crate) fn debug_address(log: *mut Log, format: &CStr, address: *const c_void) {
    if debug_wanted(log) {
        // SAFETY: the format takes a pointer, and the log was just read.
        unsafe { ngx_log_error_core(DEBUG, log, 0, format.as_ptr(), address) };
    }
}

/// The line about a block that is given back.
pub(crate) fn debug_block(log: *mut Log, block: *const c_void, unused: usize) {
    if debug_wanted(log) {
        let format = c"free: %p, unused: %uz";
        // SAFETY: the format takes a pointer and a size, and the log was just read.
        unsafe { ngx_log_error_core(DEBUG, log, 0, format.as_ptr(), block, unused) };
    }
}

/// The line about a file that is closed.
pub(crate) fn debug_close(log: *mut Log, fd: c_int) {
    if debug_wanted(log) {
        let format = c"file cleanup: fd:%d";
        // SAFETY: the format takes an int, and the log was just read.
        unsafe { ngx_log_error_core(DEBUG, log, 0, format.as_ptr(), fd) };
    }
}

/// The line about a file that is deleted and closed.
pub(crate) fn debug_delete(log: *mut Log, fd: c_int, name: *const c_char) {
    if debug_wanted(log) {
        let format = c"file cleanup: fd:%d %s";
        // SAFETY: the format takes an int and a string, and the log was just read.
        unsafe { ngx_log_error_core(DEBUG, log, 0, format.as_ptr(), fd, name) };
    }
}

/// A descriptor that could not be closed.
pub(crate) fn close_failed(log: *mut Log, error: c_int, name: *const c_char) {
    if level(log) >= ALERT {
        let format = c"close() \"%s\" failed";
        // SAFETY: the format takes a string, and the log was just read.
        unsafe { ngx_log_error_core(ALERT, log, error, format.as_ptr(), name) };
    }
}

/// A file that could not be deleted.
pub(crate) fn unlink_failed(log: *mut Log, error: c_int, name: *const c_char) {
    if level(log) >= CRIT {
        let format = c"unlink() \"%s\" failed";
        // SAFETY: the format takes a string, and the log was just read.
        unsafe { ngx_log_error_core(CRIT, log, error, format.as_ptr(), name) };
    }
}

/// Memory that was asked for by another way than nginx's functions, and not had.
pub(crate) fn memory_failed(log: *mut Log, size: usize) {
    /// The same number on every unix.
    const ENOMEM: c_int = 12;
    if level(log) >= EMERG {
        let format = c"malloc(%uz) failed";
        // SAFETY: the format takes a size, and the log was just read.
        unsafe { ngx_log_error_core(EMERG, log, ENOMEM, format.as_ptr(), size) };
    }
}

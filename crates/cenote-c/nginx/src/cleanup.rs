//! Cleanups: what runs at a pool's end, and the two that nginx has for files.

use crate::abi::{ALIGNMENT, CleanupRecord, FileCleanup, close, unlink};
use crate::block::Live;
use crate::exports::ngx_pool_cleanup_file;
use crate::{log, pool};
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};

/// A new record in front of the list, with `size` bytes of data if that is not 0; its handler is
/// the caller's to set. Null where there is no memory.
pub(crate) fn add(pool: Live, size: usize) -> *mut CleanupRecord {
    let memory = pool::alloc(pool, size_of::<CleanupRecord>(), ALIGNMENT);
    let Some(record) = NonNull::new(memory.cast::<CleanupRecord>()) else {
        return ptr::null_mut();
    };
    let data = match size {
        0 => ptr::null_mut(),
        _ => pool::alloc(pool, size, ALIGNMENT),
    };
    if size > 0 && data.is_null() {
        return ptr::null_mut();
    }
    let (head, extra) = (pool.head(), pool.extra());
    let new = CleanupRecord {
        handler: Cell::new(None),
        data: Cell::new(data.cast()),
        next: Cell::new(head.cleanup.get()),
    };
    // SAFETY: memory of this size and alignment, just taken from the pool.
    unsafe { record.write(new) };
    head.cleanup.set(record.as_ptr());
    extra.cleanups.set(extra.cleanups.get() + 1);
    if let Some(creator) = extra.creator.get() {
        creator.added_cleanup();
    }
    log::debug_address(head.log.get(), c"add cleanup: %p", record.as_ptr().cast());
    record.as_ptr()
}

/// Runs all handlers, the newest first. Each is off the list before it is called, so one that is
/// added meanwhile runs as well.
#[inline(always)]
pub(crate) fn run_all(pool: Live) {
    while let Some(record) = NonNull::new(pool.head().cleanup.get()) {
        run_newest(pool, record);
    }
}

#[inline(never)]
extern "C" fn run_newest(pool: Live, record: NonNull<CleanupRecord>) {
    let head = pool.head();
    // SAFETY: what is on the list stays in place until the pool's end.
    let entry = unsafe { record.as_ref() };
    head.cleanup.set(entry.next.get());
    if let Some(handler) = entry.handler.get() {
        log::debug_address(head.log.get(), c"run cleanup: %p", record.as_ptr().cast());
        // SAFETY: whoever set the handler made it fit the data.
        unsafe { handler(entry.data.get()) };
    }
}

/// Runs the newest cleanup that would close this descriptor, now and not again.
pub(crate) fn run_file(pool: Live, fd: c_int) {
    let mut next = pool.head().cleanup.get();
    while let Some(record) = NonNull::new(next) {
        // SAFETY: what is on the list stays in place until the pool's end.
        let entry = unsafe { record.as_ref() };
        next = entry.next.get();
        // Known by its address, as all of nginx knows it.
        let Some(handler) = entry.handler.get() else { continue };
        if !ptr::fn_addr_eq(handler, ngx_pool_cleanup_file as unsafe extern "C" fn(*mut c_void)) {
            continue;
        }
        // SAFETY: that handler's data is this.
        let file = unsafe { &*entry.data.get().cast::<FileCleanup>() };
        if file.fd.get() == fd {
            close_file(file);
            entry.handler.set(None);
            return;
        }
    }
}

/// Closes a file.
pub(crate) fn close_file(file: &FileCleanup) {
    log::debug_close(file.log.get(), file.fd.get());
    close_logged(file);
}

/// Deletes a file, unless it is gone already, and closes it.
pub(crate) fn delete_file(file: &FileCleanup) {
    log::debug_delete(file.log.get(), file.fd.get(), file.name.get());
    // SAFETY: a path that ends in a zero byte.
    if unsafe { unlink(file.name.get()) } == -1 {
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::NotFound {
            log::unlink_failed(file.log.get(), number(&error), file.name.get());
        }
    }
    close_logged(file);
}

fn close_logged(file: &FileCleanup) {
    // SAFETY: the descriptor is the cleanup's own.
    if unsafe { close(file.fd.get()) } == -1 {
        let error = std::io::Error::last_os_error();
        log::close_failed(file.log.get(), number(&error), file.name.get());
    }
}

fn number(error: &std::io::Error) -> c_int {
    error.raw_os_error().unwrap_or(0)
}

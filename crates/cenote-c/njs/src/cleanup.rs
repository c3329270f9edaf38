//! A pool's cleanups: records in its memory, the newest first, linked as njs links them.
//!
//! Each is taken off the list before its handler is called: so it runs once whatever it does,
//! and one that is added meanwhile runs too.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

/// What a cleanup calls, with its data.
pub type Handler = unsafe extern "C" fn(data: *mut c_void);

/// njs's `njs_mp_cleanup_t`. C code sets the first two fields, and may read the third.
#[repr(C)]
#[derive(Debug)]
pub struct Cleanup {
    /// What is called when the pool is destroyed; nothing, unless it is set.
    pub handler: Option<Handler>,
    /// What it is called with: memory of the pool, if some was asked for.
    pub data: *mut c_void,
    /// The one that was added before.
    pub next: *mut Cleanup,
}

const _: () = assert!(size_of::<Cleanup>() == 3 * size_of::<usize>());

pub(crate) struct Cleanups {
    newest: Cell<*mut Cleanup>,
}

impl Cleanups {
    pub(crate) const fn new() -> Self {
        Self { newest: Cell::new(ptr::null_mut()) }
    }

    /// Puts a record in front that has no handler yet.
    ///
    /// # Safety
    /// `record` has room for one, is nobody else's, and stays until the list is gone.
    pub(crate) unsafe fn push(&self, record: NonNull<Cleanup>, data: *mut c_void) {
        let next = self.newest.replace(record.as_ptr());
        // SAFETY: the caller's promise.
        unsafe { record.write(Cleanup { handler: None, data, next }) };
    }

    /// Runs all, the newest first, and those that they add.
    ///
    /// # Safety
    /// The handlers, which C code set, may be called with their data.
    pub(crate) unsafe fn run_all(&self) {
        while let Some(record) = NonNull::new(self.newest.get()) {
            // SAFETY: `push` wrote it, and it stays. It is read as it is now: C code may have
            // set its handler at any time.
            let cleanup = unsafe { record.read() };
            self.newest.set(cleanup.next);
            if let Some(handler) = cleanup.handler {
                // SAFETY: the caller's promise.
                unsafe { handler(cleanup.data) };
            }
        }
    }
}

//! What of memory is the operating system's business: pages that need not be resident, and forks.

use core::ptr::NonNull;

/// Gives the whole pages in these bytes back to the system, which has others there when they are
/// used again; how many bytes that were. Does nothing where that is not known how.
///
/// # Safety
/// So many bytes are the caller's, from an allocator, and nothing in them is used any more: what
/// they are afterwards is not said.
pub(super) unsafe fn give(start: NonNull<u8>, size: usize) -> usize {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use core::ffi::{c_int, c_void};
        unsafe extern "C" {
            safe fn getpagesize() -> c_int;
            fn madvise(start: *mut c_void, size: usize, advice: c_int) -> c_int;
        }
        /// `MADV_DONTNEED`.
        const NOT_NEEDED: c_int = 4;
        let page = getpagesize() as usize;
        let end = (start.addr().get() + size) & !(page - 1);
        let from = start.addr().get().next_multiple_of(page);
        if from < end {
            let pages = start.as_ptr().with_addr(from).cast();
            // What it could fail for (locked memory, huge pages of a file system) leaves the pages
            // as they are.
            // SAFETY: whole pages of memory that is the caller's, in which nothing is used.
            if unsafe { madvise(pages, end - from, NOT_NEEDED) } == 0 {
                return end - from;
            }
        }
    }
    let _ = (start, size);
    0
}

/// Sees to it that `before` is called before each fork, and afterwards `after`, and in its child
/// `in_the_child`; whether it could. Where there are no forks there is nothing to see to.
pub(super) fn at_forks(
    before: extern "C" fn(),
    after: extern "C" fn(),
    in_the_child: extern "C" fn(),
) -> bool {
    #[cfg(all(unix, not(miri)))]
    {
        use core::ffi::c_int;
        unsafe extern "C" {
            safe fn pthread_atfork(
                before: Option<extern "C" fn()>,
                parent: Option<extern "C" fn()>,
                child: Option<extern "C" fn()>,
            ) -> c_int;
        }
        pthread_atfork(Some(before), Some(after), Some(in_the_child)) == 0
    }
    #[cfg(not(all(unix, not(miri))))]
    {
        let _ = (before, after, in_the_child);
        true
    }
}

//! [`System`]: blocks straight from the process's global allocator.

use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Takes every block from the global allocator, and gives it back there at once.
///
/// The bottom of every chain of sources. Use it alone where a cache would be in the way: in
/// a test that counts allocations, or for a pool that lives as long as the process.
///
/// ```
/// use cenote::{Pool, System};
/// let pool = Pool::builder().source(System).build()?;
/// assert_eq!(*pool.alloc(7), 7);
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

// SAFETY: the global allocator's own contract; sizes of 0, which it forbids, are refused.
unsafe impl BlockSource for System {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError::out_of_memory(0));
        }
        // SAFETY: not for 0 bytes.
        let block = unsafe { alloc::alloc::alloc(layout) };
        NonNull::new(block).ok_or(AllocError::out_of_memory(layout.size()))
    }

    #[inline]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: `block` came from `acquire` with this layout.
        unsafe { alloc::alloc::dealloc(block.as_ptr(), layout) }
    }
}

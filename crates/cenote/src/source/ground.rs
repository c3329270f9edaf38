//! [`Ground`]: what lies below all caches: runs for blocks up to 64 KiB, and the system.

use super::runs::{self, RUNS};
use super::{BlockSource, System};
use crate::AllocError;
use core::alloc::Layout;
use core::ptr::NonNull;

/// The system; blocks up to 64 KiB are cut out of runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground;

// SAFETY: a block that is in a run was taken from there with the size that its shelf has, goes back
// there, and is nobody's meanwhile; others are `System`'s. Which it is, the runs know.
unsafe impl BlockSource for Ground {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        if let Some(shelf) = runs::shelf_of(layout)
            && runs::are_used()
            && let Some(block) = RUNS.take(shelf)
        {
            return Ok(block);
        }
        // A single one may be had where a run is not.
        System.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        if let Some(shelf) = runs::shelf_of(layout)
            && runs::are_used()
            // SAFETY: the caller's promise; what is in a run came from there.
            && unsafe { RUNS.give(shelf, block) }
        {
            return;
        }
        // SAFETY: the caller's promise: it is in no run, so it came from `System` so.
        unsafe { System.release(block, layout) }
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        true
    }
}

impl Ground {
    /// Gives pages back that wait, resident, for whoever wants a block; how many bytes that were.
    pub(super) fn trim() -> usize {
        if runs::are_used() { RUNS.trim() } else { 0 }
    }
}

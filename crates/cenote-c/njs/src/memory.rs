//! [`Memory`]: where a pool's memory comes from. Clusters, and what is known of them, come from the
//! thread's cache of blocks, so that the pools of requests cost the system nothing once the thread is
//! warm. Large objects come straight from the system, which does not round them up: njs has them of
//! every size.

use cenote::{AllocError, BlockSource, Blocks, System};
use core::alloc::Layout;
use core::ptr::NonNull;

#[derive(Debug)]
pub(crate) struct Memory {
    cluster_size: usize,
    /// What clusters are aligned to.
    alignment: usize,
}

impl Memory {
    pub(crate) fn new(cluster_size: usize) -> Self {
        let alignment = cluster_size.checked_next_power_of_two().unwrap_or(0);
        Self { cluster_size, alignment }
    }

    /// Whether this is the layout of a cluster, or of its descriptors, which are aligned to less
    /// than large objects are. A large object with a cluster's layout may as well come from there.
    fn is_cluster(&self, layout: Layout) -> bool {
        let pages = layout.align() == self.alignment
            && (self.cluster_size..=self.alignment).contains(&layout.size());
        pages || layout.align() < 16
    }
}

// SAFETY: each block comes from one of two sources, and goes back there with the same layout:
// which one it is, is a function of the layout.
unsafe impl BlockSource for Memory {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        if self.is_cluster(layout) { Blocks.acquire(layout) } else { System.acquire(layout) }
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        if self.is_cluster(layout) {
            // SAFETY: the caller's promise; `acquire` took it from there.
            unsafe { Blocks.release(block, layout) }
        } else {
            // SAFETY: likewise.
            unsafe { System.release(block, layout) }
        }
    }

    fn fit(&self, layout: Layout) -> usize {
        if self.is_cluster(layout) { Blocks.fit(layout) } else { System.fit(layout) }
    }
}

//! [`SharedBlocks`]: blocks for pools that begin on one thread and end on another.

use super::blocks::acquire_cold;
#[cfg(feature = "std")]
use super::blocks::class_of;
use super::{BlockSource, System};
#[cfg(feature = "std")]
use super::{Ground, blocks::Below, shelves::Stock};
use crate::AllocError;
use core::alloc::Layout;
use core::ptr::NonNull;

/// The source of a [`SharedPool`](crate::SharedPool): each thread's cache, as for
/// [`Blocks`](crate::Blocks), and behind all of them one depot that threads share.
///
/// A pool of a thread's own gives its blocks back where it took them, and the thread's cache
/// is all that it needs. A shared one takes blocks on whichever thread runs its task, and gives
/// them back where the last handle goes: some threads take, others give. What a thread has too
/// many of goes to the depot instead of the system, and what it has too few of comes from
/// there. The depot has a lock, which is taken only then; it keeps at most
/// [`SharedBlocks::DEPOT`] bytes, and gives back what was not needed lately: half of it, in any
/// second in which threads come by, or [`Blocks::decay`](crate::Blocks::decay) is called. Forks
/// wait for the lock, so that their children have it.
///
/// Without the `std` feature this is [`System`].
///
/// ```
/// use cenote::{SharedBlocks, SharedPool};
/// let pool = SharedPool::new();
/// let other = pool.clone();
/// drop(pool);
/// std::thread::spawn(move || drop(other)).join().unwrap();
/// # #[cfg(feature = "std")]
/// assert!(SharedBlocks::depot_bytes() <= SharedBlocks::DEPOT);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SharedBlocks;

/// What threads have too many of.
#[cfg(feature = "std")]
pub(super) static DEPOT: Stock = Stock::new(SharedBlocks::DEPOT);

/// The depot, below a thread's cache.
#[cfg(feature = "std")]
struct Depot;

#[cfg(feature = "std")]
impl Below for Depot {
    unsafe fn overflow(&self, bin: usize, block: Layout, at: NonNull<u8>, _: usize) {
        // SAFETY: the caller's promise, passed on.
        unsafe { to_depot(bin, block, at) };
    }

    unsafe fn surplus(&self, block: Layout, at: NonNull<u8>) {
        if let Some((bin, block)) = class_of(block) {
            // SAFETY: likewise; it has its class's layout.
            unsafe { to_depot(bin, block, at) };
        }
    }

    fn ticked(&self, _: usize) {
        super::shelves::decay();
    }

    fn is_plain(&self) -> bool {
        true
    }
}

/// With so many blocks of a size, or so many bytes of it, a thread gives further ones to the
/// depot: others may have too few of what piles up here.
#[cfg(feature = "std")]
const ENOUGH: u32 = 16;
#[cfg(feature = "std")]
const ENOUGH_BYTES: usize = 256 << 10;

// SAFETY: blocks of a class are those of the threads' caches and of the depot, which come from
// `Ground` with the class's layout and go back to it so, by whichever way; the class is a
// function of the layout. Others are `Ground`'s.
unsafe impl BlockSource for SharedBlocks {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        #[cfg(feature = "std")]
        if let Some((bin, block)) = class_of(layout) {
            return match crate::thread::with(|local| local.cache.take(bin, block.size())) {
                Some(cached) => Ok(cached),
                None => from_depot(bin, block).ok_or(AllocError::out_of_memory(block.size())),
            };
        }
        acquire_cold(layout).ok_or(AllocError::out_of_memory(layout.size()))
    }

    #[inline]
    unsafe fn release(&self, ptr: NonNull<u8>, layout: Layout) {
        #[cfg(feature = "std")]
        if let Some((bin, block)) = class_of(layout) {
            let count = crate::thread::with(|local| local.cache.count(bin));
            if count >= ENOUGH || count as usize * block.size() >= ENOUGH_BYTES {
                // SAFETY: the caller's promise: the block has this class and nobody uses it;
                // blocks of the class are `DEPOT`'s as much as the thread's.
                return unsafe { to_depot(bin, block, ptr) };
            }
            // SAFETY: likewise.
            return crate::thread::with(|local| unsafe {
                local.cache.put(&Depot, bin, block, ptr)
            });
        }
        // SAFETY: the caller's promise; blocks of no class are in no run, but came from `System` as
        // asked.
        unsafe { System.release(ptr, layout) }
    }

    fn acquire_apart(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        System.acquire(layout)
    }

    unsafe fn release_apart(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: it came from `System` so.
        unsafe { System.release(ptr, layout) }
    }

    unsafe fn discard(&self, start: NonNull<u8>, size: usize) -> usize {
        // SAFETY: the caller's promise: bytes of a block, which nothing uses.
        unsafe { System.discard(start, size) }
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        true
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise; blocks of both kinds come from the same places.
        unsafe { crate::Blocks.grow(block, old, new) }
    }

    #[inline]
    fn fit(&self, layout: Layout) -> usize {
        crate::Blocks.fit(layout)
    }
}

#[cfg(feature = "std")]
#[cold]
#[inline(never)]
fn from_depot(bin: usize, block: Layout) -> Option<NonNull<u8>> {
    DEPOT.take(bin, block.size()).or_else(|| acquire_cold(block)).or_else(|| {
        // What other lists keep may be what is missing.
        if DEPOT.drain() == 0 { None } else { acquire_cold(block) }
    })
}

/// # Safety
/// As for [`BlockSource::release`], with the layout of the block's class, whose list is `bin`.
#[cfg(feature = "std")]
#[cold]
#[inline(never)]
unsafe fn to_depot(bin: usize, block: Layout, at: NonNull<u8>) {
    // Forks are to wait for who is at the depot.
    // SAFETY: the caller's promise, passed on.
    if !super::forks::are_seen_to() || !unsafe { DEPOT.put(bin, block, at) } {
        crate::debug::unmark(at, block.size());
        // SAFETY: likewise.
        unsafe { Ground.release(at, block) };
    }
}

impl SharedBlocks {
    /// How many bytes the depot keeps at most.
    pub const DEPOT: usize = 8 << 20;
}

#[cfg(feature = "std")]
impl SharedBlocks {
    /// How many bytes the depot has.
    pub fn depot_bytes() -> usize {
        DEPOT.bytes()
    }

    /// Gives all that the depot has back to the system; how many bytes that was. The calling
    /// thread's cache is emptied by [`Blocks::trim`](crate::Blocks::trim).
    pub fn trim_depot() -> usize {
        let bytes = DEPOT.drain();
        Ground::trim();
        bytes
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::Blocks;
    use std::thread;
    use std::vec::Vec;

    struct Sent(Vec<NonNull<u8>>);
    // SAFETY: only bytes, which the sender lets go of.
    unsafe impl Send for Sent {}

    #[test]
    fn what_one_thread_gives_too_many_of_another_takes() {
        let asked = Layout::from_size_align(8192, 16).unwrap();
        let take =
            move || (0..200).map(|_| SharedBlocks.acquire(asked).unwrap()).collect::<Vec<_>>();
        let taken = Sent(thread::spawn(move || Sent(take())).join().unwrap().0);
        let addresses = thread::spawn(move || {
            let taken = taken;
            for &block in &taken.0 {
                // SAFETY: acquired with this layout, released once.
                unsafe { SharedBlocks.release(block, asked) };
            }
            assert!(Blocks::cached_bytes() <= 16 * 8192);
            // Nobody else uses the depot in this program.
            assert!(SharedBlocks::depot_bytes() >= 180 * 8192);
            taken.0.iter().map(|block| block.addr()).collect::<Vec<_>>()
        });
        let mut addresses = addresses.join().unwrap();
        addresses.sort_unstable();
        let again = thread::spawn(move || Sent(take())).join().unwrap();
        let known = again.0.iter().filter(|block| addresses.binary_search(&block.addr()).is_ok());
        assert!(known.count() >= 180);
        for block in again.0 {
            // SAFETY: acquired with this layout, released once.
            unsafe { SharedBlocks.release(block, asked) };
        }
        SharedBlocks::trim_depot();
        assert_eq!(SharedBlocks::depot_bytes(), 0);
    }
}

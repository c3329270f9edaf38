//! [`Blocks`]: each thread's cache of free blocks, between the pools and the system.
//!
//! A free list for each power of two from 256 bytes to 16 KiB, and four to each doubling from there
//! to 256 KiB, so that a large object leaves a fifth of its block unused at most; and for blocks
//! aligned to their own size, each power of two to 64 KiB, and those for accounts ([`LEAN`]). The lists belong to one thread and take no lock; a
//! block released on another thread than it was taken on joins that thread's lists. A block in
//! the cache holds the link to the next in its first bytes.
//!
//! What the cache has no room for is on the thread's shelf (`shelves`), where others can reach it.
//! Three things bound both: a cap in bytes; a decay, by which each list gives back half
//! of what it did not need over the last [`DECAY_PERIOD`] releases; and the thread's end,
//! which gives all back. After that (in destructors of thread-locals that run later) every
//! call goes to the system: the lists are empty and their room is none, so both operations
//! fall into their slow paths, which know.

#[cfg(feature = "std")]
use crate::source::shelves::{self, PRIVATE};
use crate::source::{Ground, System};
use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::ptr::NonNull;

/// The default source: a cache of blocks for each thread, over [`System`].
///
/// A value of this type is only a name; the cache belongs to the thread, and every pool on
/// the thread shares it. So a pool for a request costs no call to the system allocator once
/// the thread is warm. Requests above 256 KiB go straight to the system, and so do those above
/// 64 KiB that are aligned to more than 16 bytes.
///
/// Blocks up to 64 KiB come out of pieces of about a MiB at most, for each size, that are had from the
/// system; those aligned to more than 16 bytes are aligned to their size (those of 448 bytes, which is what an
/// account takes, to 64). Of those that are free
/// there, and not in a cache, at most a MiB of each size stays resident, whatever lies between them
/// (on Linux; elsewhere until a piece is free): what a burst took goes back when it is over. Pages of
/// 4 KiB do; a page that blocks of 2 KiB or less share stays until none of them is used.
///
/// A thread keeps 4 MiB at most ([`Blocks::set_cap`]), and gives back by and by what it does not need
/// while it uses pools. Of what threads keep that sleep, all but 128 KiB of each goes back when
/// any thread asks for it: [`Blocks::trim_all`], [`Blocks::decay`].
///
/// Without the `std` feature there are no threads to tell apart, and this is [`System`].
///
/// ```
/// use cenote::{Blocks, Pool};
/// let pool = Pool::new();
/// pool.alloc_str("held");
/// drop(pool);
/// # #[cfg(feature = "std")] {
/// assert!(Blocks::cached_bytes() > 0);    // kept for the next pool
/// assert!(Blocks::trim() > 0);            // given back to the system
/// assert_eq!(Blocks::cached_bytes(), 0);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocks;

const SMALLEST_SHIFT: u32 = 8;
/// Up to this size the classes are powers of two.
const DOUBLING_SHIFT: u32 = 14;
/// The same for blocks that are aligned to their size, of which there are no larger ones.
const ALIGNED_SHIFT: u32 = 16;
const LARGEST_SHIFT: u32 = 18;
/// Classes of powers of two.
const DOUBLINGS: usize = (DOUBLING_SHIFT - SMALLEST_SHIFT + 1) as usize;
/// The same of aligned blocks.
const ALIGNED: usize = (ALIGNED_SHIFT - SMALLEST_SHIFT + 1) as usize;
/// With the quarters of each doubling above.
const CLASSES: usize = DOUBLINGS + 4 * (LARGEST_SHIFT - DOUBLING_SHIFT) as usize;
/// Room for all lists; a power of two, so that no index is checked.
#[cfg(feature = "std")]
pub(super) const BINS: usize = LISTS.next_power_of_two();
/// Blocks of one list are as large as an account is, of which each connection has one, and each request:
/// nothing else of about that size is aligned so.
pub(super) const LEAN: Layout = match Layout::from_size_align(448, 64) {
    Ok(lean) => lean,
    Err(_) => unreachable!(),
};
const LEAN_BIN: usize = CLASSES + ALIGNED;
/// How many lists there are.
#[cfg(feature = "std")]
const LISTS: usize = LEAN_BIN + 1;
/// What every block is aligned to; more is had from the second set of lists, and from that of accounts.
const PLAIN_ALIGN: usize = 16;
/// How many bytes one thread keeps unless told otherwise.
#[cfg(feature = "std")]
pub(super) const DEFAULT_CAP: usize = 4 << 20;
/// How many releases pass between two decays.
#[cfg(feature = "std")]
const DECAY_PERIOD: u32 = 4096;

/// The class of so many of the smallest blocks and a part of one: counting zero bits costs more
/// on some processors than all else that finds a block.
/// (Of as many as an index of a byte can tell, which is not checked then.)
static CLASS_OF: [u8; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        // `index` has as many bits as the power of two above it has zeros.
        table[index] = (usize::BITS - index.leading_zeros()) as u8;
        index += 1;
    }
    table
};

/// Which list serves a layout, and the layout of the blocks in it; `None`: too large.
#[inline(always)]
pub(super) fn class_of(layout: Layout) -> Option<(usize, Layout)> {
    let aligned = layout.align() > PLAIN_ALIGN;
    let least = if aligned { layout.align() } else { 1 };
    let wanted = layout.size().max(least);
    if wanted > 1 << DOUBLING_SHIFT {
        return class_above(wanted, aligned);
    }
    let class = CLASS_OF[usize::from(((wanted - 1) >> SMALLEST_SHIFT) as u8)];
    if aligned && class == 1 && wanted <= LEAN.size() && layout.align() <= LEAN.align() {
        return Some((LEAN_BIN, LEAN));
    }
    let bin = usize::from(class) + if aligned { CLASSES } else { 0 };
    let size = Blocks::SMALLEST << class;
    let align = if aligned { size } else { PLAIN_ALIGN };
    // SAFETY: both are powers of two, and the size is at most 16 KiB.
    let block = unsafe { Layout::from_size_align_unchecked(size, align) };
    Some((bin, block))
}

/// [`class_of`] for sizes above those of powers of two, and for large aligned ones.
#[inline(never)]
fn class_above(wanted: usize, aligned: bool) -> Option<(usize, Layout)> {
    let largest = if aligned { 1 << ALIGNED_SHIFT } else { Blocks::LARGEST };
    if wanted > largest {
        return None;
    }
    if aligned {
        let bin = CLASSES + (wanted.next_power_of_two().ilog2() - SMALLEST_SHIFT) as usize;
        return Some((bin, layout_of(bin)));
    }
    // A quarter of the power of two below.
    let shift = (wanted - 1).ilog2() - 2;
    let quarters = wanted.div_ceil(1 << shift);
    let doubling = (shift + 2 - DOUBLING_SHIFT) as usize;
    let bin = DOUBLINGS + 4 * doubling + quarters - 5;
    Some((bin, layout_of(bin)))
}

/// The layout that a block for this one has: its class's, or this.
pub(super) fn of_class(layout: Layout) -> Layout {
    class_of(layout).map_or(layout, |(_, block)| block)
}

/// Whether blocks of this layout may be cut out of a run, where they cannot grow.
fn may_be_in_a_run(_block: Layout) -> bool {
    #[cfg(feature = "std")]
    return super::runs::shelf_of(_block).is_some();
    #[cfg(not(feature = "std"))]
    false
}

/// The layout of the blocks of a list.
fn layout_of(bin: usize) -> Layout {
    let (size, align) = if bin == LEAN_BIN {
        (LEAN.size(), LEAN.align())
    } else if bin >= CLASSES {
        let size = Blocks::SMALLEST << (bin - CLASSES);
        (size, size)
    } else if bin < DOUBLINGS {
        (Blocks::SMALLEST << bin, PLAIN_ALIGN)
    } else {
        let above = bin - DOUBLINGS;
        ((above % 4 + 5) << (DOUBLING_SHIFT as usize - 2 + above / 4), PLAIN_ALIGN)
    };
    // SAFETY: alignments are powers of two, and sizes far from the largest.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

// SAFETY: blocks come from `Ground` with the class's layout, which covers the one asked for,
// and return to it with that same layout, since `class_of` is a function of the layout that
// acquire and release share. A block is on at most one list, and on none while it is out.
unsafe impl BlockSource for Blocks {
    #[inline(always)]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let Some((_bin, block)) = class_of(layout) else {
            return acquire_cold(layout).ok_or(AllocError::out_of_memory(layout.size()));
        };
        #[cfg(feature = "std")]
        {
            if let Some(cached) = crate::thread::with(|local| local.cache.take(_bin, block.size()))
            {
                return Ok(cached);
            }
            acquire_beyond(block).ok_or(AllocError::out_of_memory(block.size()))
        }
        #[cfg(not(feature = "std"))]
        acquire_cold(block).ok_or(AllocError::out_of_memory(block.size()))
    }

    #[inline(always)]
    unsafe fn release(&self, ptr: NonNull<u8>, layout: Layout) {
        let Some((_bin, block)) = class_of(layout) else {
            // SAFETY: the caller's promise; blocks of no class are in no run, but came from
            // `System` as asked.
            return unsafe { System.release(ptr, layout) };
        };
        #[cfg(feature = "std")]
        // SAFETY: the caller's promise: the block has this class and nobody uses it.
        crate::thread::with(|local| unsafe { local.cache.put(&local.shelf, _bin, block, ptr) });
        #[cfg(not(feature = "std"))]
        // SAFETY: the caller's promise; `acquire` took it with the class's layout.
        unsafe {
            Ground.release(ptr, block)
        }
    }

    fn acquire_apart(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        System.acquire(layout)
    }

    unsafe fn release_apart(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: it came from `System` so.
        unsafe { System.release(block, layout) }
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
        let (old, new) = (of_class(old), of_class(new));
        if may_be_in_a_run(old) || may_be_in_a_run(new) {
            return None;
        }
        if old.align() > PLAIN_ALIGN || new.align() != old.align() {
            return None;
        }
        // SAFETY: the caller's promise; blocks of this size are in no run, but came from
        // `System` with their class's layout, or as asked, and go back to it so.
        unsafe { System.grow(block, old, new) }
    }

    #[inline(always)]
    fn fit(&self, layout: Layout) -> usize {
        match class_of(layout) {
            Some((_, block)) => block.size(),
            None => layout.size(),
        }
    }
}

/// Without the error, of which the system has one kind only: were it in memory here, callers would
/// take each block from there, cached ones as well.
#[cold]
#[inline(never)]
pub(super) fn acquire_cold(block: Layout) -> Option<NonNull<u8>> {
    Ground.acquire(block).ok()
}

/// A block that the thread's cache has not, of its class's layout: callers would keep the list's number
/// for this alone.
#[cfg(feature = "std")]
#[cold]
#[inline(never)]
fn acquire_beyond(block: Layout) -> Option<NonNull<u8>> {
    let (bin, block) = class_of(block)?;
    crate::thread::with(|local| local.shelf.take(bin, block.size(), local.cache.bytes()))
        .or_else(|| Ground.acquire(block).ok())
}

impl Blocks {
    /// The largest block that is cached, in bytes; larger ones come from the system.
    pub const LARGEST: usize = 1 << LARGEST_SHIFT;
    /// The smallest block, in bytes; smaller requests are rounded up to it.
    pub const SMALLEST: usize = 1 << SMALLEST_SHIFT;
}

#[cfg(feature = "std")]
impl Blocks {
    /// Gives every block that the calling thread keeps back to the system, and tells how many
    /// bytes that were; and the pages of free blocks below the caches. Blocks that pools hold are
    /// not touched.
    ///
    /// Worth calling when a thread has nothing to do: the decay by itself acts only while
    /// blocks come and go.
    pub fn trim() -> usize {
        let bytes = crate::thread::with(|local| local.cache.drain(&Ground) + local.shelf.drain());
        Ground::trim();
        bytes
    }

    /// [`Blocks::trim`], and the same for all other threads, whatever they do: of each all but the
    /// last 128 KiB, which no other can take. And all that is kept for shared pools
    /// ([`SharedBlocks::trim_depot`](crate::SharedBlocks::trim_depot)).
    ///
    /// ```
    /// use cenote::{Blocks, Pool};
    /// use std::sync::mpsc;
    /// use std::thread;
    /// let (idle, is_idle) = mpsc::channel();
    /// let (go_on, goes_on) = mpsc::channel::<()>();
    /// let thread = thread::spawn(move || {
    ///     // A peak, of which blocks are kept.
    ///     let pool = || Pool::builder().first_block(16 << 10).build().unwrap();
    ///     let busy = || { let pool = pool(); pool.alloc(1_u8); pool };
    ///     drop((0..100).map(|_| busy()).collect::<Vec<_>>());
    ///     idle.send(Blocks::cached_bytes()).unwrap();
    ///     let _ = goes_on.recv(); // it sleeps
    /// });
    /// let kept = is_idle.recv()?;
    /// assert!(Blocks::cached_by_all() >= kept);
    /// assert!(Blocks::trim_all() >= kept - (128 << 10));
    /// # drop(go_on);
    /// # thread.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trim_all() -> usize {
        Self::trim() + shelves::trim() + crate::SharedBlocks::trim_depot()
    }

    /// Gives back half of what threads keep beyond 128 KiB and did not need since this was done
    /// last, whatever they do; how many bytes that was. Done once in a second at most, however
    /// often it is called, and by threads whose blocks come and go, too.
    ///
    /// To be called now and then where threads may sleep for long, by whoever has a timer.
    pub fn decay() -> usize {
        shelves::decay()
    }

    /// How many bytes the calling thread keeps.
    pub fn cached_bytes() -> usize {
        crate::thread::with(|local| local.cache.bytes() + local.shelf.bytes())
    }

    /// How many bytes all threads keep that ever kept more than 128 KiB. Of that much of each it is
    /// what was there when it last had too many blocks, or too few.
    pub fn cached_by_all() -> usize {
        shelves::bytes()
    }

    /// Sets how many bytes the calling thread may keep; 4 MiB unless set. What is
    /// above a smaller cap goes back to the system now. 0 keeps nothing.
    pub fn set_cap(bytes: usize) {
        let private = bytes.min(PRIVATE);
        crate::thread::with(|local| {
            local.cache.set_cap(&Ground, private);
            local.shelf.set_cap(bytes - private);
        });
    }
}

/// What is below a thread's cache.
#[cfg(feature = "std")]
pub(super) trait Below {
    /// Takes a block that there is no room for in the list `bin`; the cache has `private` bytes.
    ///
    /// # Safety
    /// As for [`BlockSource::release`]; the block is marked as free.
    unsafe fn overflow(&self, bin: usize, block: Layout, at: NonNull<u8>, private: usize);

    /// Takes a block that was not needed.
    ///
    /// # Safety
    /// As for [`BlockSource::release`].
    unsafe fn surplus(&self, block: Layout, at: NonNull<u8>);

    /// The cache has decayed, and has `private` bytes.
    fn ticked(&self, _private: usize) {}

    /// See [`BlockSource::is_plain`].
    fn is_plain(&self) -> bool;
}

#[cfg(feature = "std")]
impl<S: BlockSource> Below for S {
    unsafe fn overflow(&self, _: usize, block: Layout, at: NonNull<u8>, _: usize) {
        crate::debug::unmark(at, block.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { self.release(at, block) };
    }

    unsafe fn surplus(&self, block: Layout, at: NonNull<u8>) {
        // SAFETY: likewise.
        unsafe { self.release(at, block) };
    }

    fn is_plain(&self) -> bool {
        BlockSource::is_plain(self)
    }
}

#[cfg(feature = "std")]
pub(super) use cache::Batch;
#[cfg(feature = "std")]
pub(crate) use cache::Cache;

#[cfg(feature = "std")]
mod cache;

#[cfg(all(test, feature = "std"))]
mod tests;

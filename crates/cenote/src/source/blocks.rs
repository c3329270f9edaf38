//! [`Blocks`]: each thread's cache of free blocks, between the pools and the system.
//!
//! A free list for each power of two from 256 bytes to 16 KiB, and four to each doubling from there
//! to 256 KiB, so that a large object leaves a fifth of its block unused at most; and for blocks
//! aligned to their own size, each power of two to 64 KiB. The lists belong to one thread and take no lock; a
//! block released on another thread than it was taken on joins that thread's lists. A block in
//! the cache holds the link to the next in its first bytes.
//!
//! Three things bound the cache: a cap in bytes; a decay, by which each list gives back half
//! of what it did not need over the last [`DECAY_PERIOD`] releases; and the thread's end,
//! which gives all back. After that (in destructors of thread-locals that run later) every
//! call goes to the system: the lists are empty and their room is none, so both operations
//! fall into their slow paths, which know.

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
/// Blocks aligned to more than 16 bytes, up to 64 KiB, are aligned to their size, and the cache
/// takes them from pieces of about a MiB at most that it has from the system: an allocator's own
/// words between them would cost a page for each. Of those that are free there, and not in a
/// cache, at most a MiB of each size stays resident (on Linux; elsewhere until a piece is free).
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
/// Room for the lists of both sets; a power of two, so that no index is checked.
const BINS: usize = (CLASSES + ALIGNED).next_power_of_two();
/// What every block is aligned to; more is had from the second set of lists.
const PLAIN_ALIGN: usize = 16;
/// How many bytes one thread keeps unless told otherwise.
#[cfg(feature = "std")]
const DEFAULT_CAP: usize = 4 << 20;
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

/// The layout of the blocks of a list.
fn layout_of(bin: usize) -> Layout {
    let (size, align) = if bin >= CLASSES {
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
        if let Some(cached) = crate::thread::with(|local| local.cache.take(_bin, block.size())) {
            return Ok(cached);
        }
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
        crate::thread::with(|local| unsafe { local.cache.put(&Ground, _bin, block, ptr) });
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

    #[inline(always)]
    fn is_plain(&self) -> bool {
        true
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        let (old, new) = (of_class(old), of_class(new));
        if old.align() > PLAIN_ALIGN || new.align() != old.align() {
            return None;
        }
        // SAFETY: the caller's promise; blocks of this alignment are in no run, but came from
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

impl Blocks {
    /// The largest block that is cached, in bytes; larger ones come from the system.
    pub const LARGEST: usize = 1 << LARGEST_SHIFT;
    /// The smallest block, in bytes; smaller requests are rounded up to it.
    pub const SMALLEST: usize = 1 << SMALLEST_SHIFT;
}

#[cfg(feature = "std")]
impl Blocks {
    /// Gives every block in the calling thread's cache back to the system, and tells how many
    /// bytes that were; and the pages of free blocks below the caches. Blocks that pools hold are
    /// not touched.
    ///
    /// Worth calling when a thread has nothing to do: the decay by itself acts only while
    /// blocks come and go.
    pub fn trim() -> usize {
        let bytes = crate::thread::with(|local| local.cache.drain(&Ground));
        Ground::trim();
        bytes
    }

    /// How many bytes the calling thread's cache holds.
    pub fn cached_bytes() -> usize {
        crate::thread::with(|local| local.cache.bytes())
    }

    /// Sets how many bytes the calling thread's cache may hold; 4 MiB unless set. What is
    /// above a smaller cap goes back to the system now. 0 turns the cache off.
    pub fn set_cap(bytes: usize) {
        crate::thread::with(|local| local.cache.set_cap(&Ground, bytes));
    }
}

#[cfg(feature = "std")]
pub(crate) use cache::Cache;

#[cfg(feature = "std")]
mod cache {
    use super::{ALIGNED, BINS, BlockSource, CLASSES, DECAY_PERIOD, DEFAULT_CAP, layout_of};
    use core::alloc::Layout;
    use core::cell::Cell;
    use core::ptr::{self, NonNull};

    /// What a free block holds in its first bytes.
    struct Free {
        next: *mut Free,
    }

    /// One free list. `low` is the smallest count since the last decay: so many blocks were
    /// not needed in that time.
    struct Bin {
        head: Cell<*mut Free>,
        count: Cell<u32>,
        low: Cell<u32>,
    }

    /// Free lists over a source, which every call names: it must always be the same one, or one
    /// that passes blocks on to it and takes them from it, as [`SharedBlocks`] does.
    ///
    /// [`SharedBlocks`]: crate::SharedBlocks
    /// A thread's is const-made and without a destructor, so that reaching it costs no check;
    /// `thread` drains it at the thread's end. [`Cached`](super::Cached) has one of its own.
    pub(crate) struct Cache {
        bins: [Bin; BINS],
        /// Bytes that may still join. None before the first release and after the thread's
        /// end, so that both are the slow path's business.
        room: Cell<usize>,
        cap: Cell<usize>,
        /// Releases until the next decay.
        ticks: Cell<u32>,
        /// Releases between two decays.
        period: u32,
        /// Whether the thread will drain the cache at its end.
        enlisted: Cell<bool>,
    }

    impl Cache {
        pub(crate) const fn new() -> Self {
            Self {
                bins: [const {
                    Bin { head: Cell::new(ptr::null_mut()), count: Cell::new(0), low: Cell::new(0) }
                }; BINS],
                room: Cell::new(0),
                cap: Cell::new(DEFAULT_CAP),
                ticks: Cell::new(DECAY_PERIOD),
                period: DECAY_PERIOD,
                enlisted: Cell::new(false),
            }
        }

        /// One that is nobody's but its owner's, who drains it at its end.
        pub(in crate::source) const fn owned(cap: usize) -> Self {
            let mut cache = Self::new();
            cache.room = Cell::new(cap);
            cache.cap = Cell::new(cap);
            cache.enlisted = Cell::new(true);
            cache
        }

        #[inline(always)]
        fn bin(&self, bin: usize) -> &Bin {
            debug_assert!(bin < CLASSES + ALIGNED);
            &self.bins[bin % BINS]
        }

        /// The same, that decays so many times slower than a thread's does.
        pub(in crate::source) const fn slower(mut self, times: u32) -> Self {
            self.period = DECAY_PERIOD * times;
            self.ticks = Cell::new(self.period);
            self
        }

        /// How many blocks are in a list.
        #[inline(always)]
        pub(in crate::source) fn count(&self, bin: usize) -> u32 {
            self.bin(bin).count.get()
        }

        /// The newest block of a list.
        #[inline(always)]
        pub(in crate::source) fn take(&self, bin: usize, size: usize) -> Option<NonNull<u8>> {
            let bin = self.bin(bin);
            let head = NonNull::new(bin.head.get())?;
            crate::debug::unmark_written(head.cast(), size_of::<Free>());
            // SAFETY: blocks on a list hold a `Free` in their first bytes (256 at least) that
            // `push` wrote, and belong to nobody else.
            let next = unsafe { head.as_ref() }.next;
            // All of it: whoever takes the block need not be a pool, whose supply would do this.
            crate::debug::unmark(head.cast(), size);
            bin.head.set(next);
            let count = bin.count.get() - 1;
            bin.count.set(count);
            if count < bin.low.get() {
                bin.low.set(count);
            }
            self.room.set(self.room.get() + size);
            Some(head.cast())
        }

        /// Puts a block on a list, or gives it to the system where the cache is full.
        ///
        /// # Safety
        /// `ptr` is a block with the layout `block`, which is the layout of that bin's class;
        /// it came from `source` so, and nobody else uses it.
        #[inline(always)]
        pub(in crate::source) unsafe fn put(
            &self,
            source: &impl BlockSource,
            bin: usize,
            block: Layout,
            ptr: NonNull<u8>,
        ) {
            let (room, ticks) = (self.room.get(), self.ticks.get());
            if block.size() > room || ticks == 0 {
                // SAFETY: the caller's promise, passed on.
                return unsafe { self.put_cold(source, bin, block, ptr) };
            }
            self.ticks.set(ticks - 1);
            // SAFETY: likewise.
            unsafe { self.push(bin, block, ptr) };
        }

        /// # Safety
        /// As for [`Cache::put`]; there is room for the block.
        #[inline(always)]
        unsafe fn push(&self, bin: usize, block: Layout, ptr: NonNull<u8>) {
            let bin = self.bin(bin);
            let free = ptr.cast::<Free>();
            // SAFETY: the block is at least 256 bytes, aligned to 16, and nobody else's.
            unsafe { free.write(Free { next: bin.head.get() }) };
            crate::debug::mark(ptr, block.size());
            bin.head.set(free.as_ptr());
            bin.count.set(bin.count.get() + 1);
            self.room.set(self.room.get() - block.size());
        }

        /// # Safety
        /// As for [`Cache::put`].
        #[cold]
        #[inline(never)]
        unsafe fn put_cold(
            &self,
            source: &impl BlockSource,
            bin: usize,
            block: Layout,
            ptr: NonNull<u8>,
        ) {
            let _inside = crate::told::inside(!source.is_plain());
            if !self.enlisted.get() && crate::thread::enlist() {
                self.enlisted.set(true);
                self.room.set(self.cap.get());
            }
            if self.ticks.get() == 0 {
                self.decay(source);
                self.ticks.set(self.period);
            }
            if block.size() <= self.room.get() {
                // SAFETY: the caller's promise, and the room was just seen.
                unsafe { self.push(bin, block, ptr) };
            } else {
                crate::debug::unmark(ptr, block.size());
                // SAFETY: the caller's promise: it came from `source` with this layout.
                unsafe { source.release(ptr, block) };
            }
        }

        /// Gives back, from each list, half of what was not needed since the last time.
        fn decay(&self, source: &impl BlockSource) {
            for (index, bin) in self.bins.iter().enumerate() {
                let idle = bin.low.get().div_ceil(2);
                self.give_back(source, index, idle);
                bin.low.set(bin.count.get());
            }
        }

        /// Gives everything back; how many bytes it was.
        pub(crate) fn drain(&self, source: &impl BlockSource) -> usize {
            let before = self.bytes();
            for (index, bin) in self.bins.iter().enumerate() {
                self.give_back(source, index, bin.count.get());
            }
            before
        }

        /// Empties the cache for good: the thread ends.
        #[cfg_attr(all(test, loom), allow(dead_code))]
        pub(crate) fn close(&self, source: &impl BlockSource) {
            self.drain(source);
            self.room.set(0);
            self.cap.set(0);
            self.enlisted.set(true);
        }

        pub(crate) fn bytes(&self) -> usize {
            if self.enlisted.get() { self.cap.get() - self.room.get() } else { 0 }
        }

        pub(super) fn set_cap(&self, source: &impl BlockSource, bytes: usize) {
            let held = self.bytes();
            let closed = self.enlisted.get() && self.cap.get() == 0 && crate::thread::ended();
            if closed {
                return;
            }
            if held > bytes {
                self.drain(source);
            }
            let held = self.bytes();
            self.cap.set(bytes);
            if self.enlisted.get() {
                self.room.set(bytes - held);
            }
        }

        /// Gives so many of a list's blocks back.
        fn give_back(&self, source: &impl BlockSource, index: usize, blocks: u32) {
            for _ in 0..blocks {
                let layout = layout_of(index);
                let Some(block) = self.take(index, layout.size()) else { break };
                // SAFETY: it was on this list, so it came from the source with this layout, and
                // is nobody's now.
                unsafe { source.release(block, layout) };
            }
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;

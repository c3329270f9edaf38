//! [`Cache`]: free lists of blocks, each of one size; a thread's, or those of a [`Cached`](crate::Cached)
//! source's.

use super::{BINS, Below, BlockSource, DECAY_PERIOD, LISTS, PRIVATE, layout_of};
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
/// `thread` drains it at the thread's end. [`Cached`](crate::Cached) has one of its own.
pub(crate) struct Cache {
    bins: [Bin; BINS],
    /// Bytes that may still join. None before the first release and after the thread's
    /// end, so that both are the slow path's business.
    room: Cell<usize>,
    cap: Cell<usize>,
    /// Releases until the next decay.
    ticks: Cell<u32>,
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
            cap: Cell::new(PRIVATE),
            ticks: Cell::new(DECAY_PERIOD),
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
        debug_assert!(bin < LISTS);
        &self.bins[bin % BINS]
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
        source: &impl Below,
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
    unsafe fn put_cold(&self, source: &impl Below, bin: usize, block: Layout, ptr: NonNull<u8>) {
        let _inside = crate::told::inside(!source.is_plain());
        if !self.enlisted.get() && crate::thread::enlist() {
            self.enlisted.set(true);
            self.room.set(self.cap.get());
        }
        if self.ticks.get() == 0 {
            self.decay(source);
            self.ticks.set(DECAY_PERIOD);
            source.ticked(self.bytes());
        }
        if block.size() <= self.room.get() {
            // SAFETY: the caller's promise, and the room was just seen.
            unsafe { self.push(bin, block, ptr) };
        } else {
            // SAFETY: the caller's promise: it came from `source` with this layout.
            unsafe { source.overflow(bin, block, ptr, self.bytes()) };
        }
    }

    /// Gives back, from each list, half of what was not needed since the last time.
    fn decay(&self, source: &impl Below) {
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
    fn give_back(&self, source: &impl Below, index: usize, blocks: u32) {
        for _ in 0..blocks {
            let layout = layout_of(index);
            let Some(block) = self.take(index, layout.size()) else { break };
            // SAFETY: it was on this list, so it came from the source with this layout, and
            // is nobody's now.
            unsafe { source.surplus(layout, block) };
        }
    }

    /// How many blocks each list has.
    pub(in crate::source) fn counts(&self) -> [u32; BINS] {
        core::array::from_fn(|index| self.bins[index].count.get())
    }

    /// How many blocks of each list are half of what was not needed since the last time, and go
    /// now.
    pub(in crate::source) fn idle(&self) -> [u32; BINS] {
        core::array::from_fn(|index| {
            let bin = &self.bins[index];
            let idle = bin.low.get().div_ceil(2);
            bin.low.set(bin.count.get() - idle);
            idle
        })
    }

    /// Puts a block on a list; whether there was room for it.
    ///
    /// # Safety
    /// As for [`Cache::put`].
    pub(in crate::source) unsafe fn put_if_room(
        &self,
        bin: usize,
        block: Layout,
        ptr: NonNull<u8>,
    ) -> bool {
        let has_room = block.size() <= self.room.get();
        if has_room {
            // SAFETY: the caller's promise, and the room was just seen.
            unsafe { self.push(bin, block, ptr) };
        }
        has_room
    }

    /// Keeps no more than so many bytes from now on; `false` where there are more.
    pub(in crate::source) fn limit_to(&self, bytes: usize) -> bool {
        let held = self.bytes();
        if held <= bytes {
            self.cap.set(bytes);
            self.room.set(bytes - held);
        }
        held <= bytes
    }
}

/// Some blocks that were taken out of a cache, to be released once nobody waits for it.
pub(in crate::source) struct Batch {
    blocks: [(*mut u8, u8); 32],
    count: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { blocks: [(ptr::null_mut(), 0); 32], count: 0 }
    }
}

impl Batch {
    /// Blocks of lists, of each so many as it says, which are fewer then.
    pub(in crate::source) fn of(cache: &Cache, counts: &mut [u32; BINS]) -> Self {
        let mut batch = Self::default();
        for (index, left) in counts.iter_mut().enumerate().take(LISTS) {
            let size = layout_of(index).size();
            while *left > 0 {
                let Some(slot) = batch.blocks.get_mut(batch.count) else { return batch };
                match cache.take(index, size) {
                    Some(block) => *slot = (block.as_ptr(), index as u8),
                    None => break,
                }
                *left -= 1;
                batch.count += 1;
            }
            *left = 0;
        }
        batch
    }

    pub(in crate::source) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Releases them; how many bytes that were.
    ///
    /// # Safety
    /// All blocks of the cache came from `source` with their lists' layouts.
    pub(in crate::source) unsafe fn release(self, source: &impl BlockSource) -> usize {
        let mut bytes = 0;
        for &(block, index) in &self.blocks[..self.count] {
            let layout = layout_of(usize::from(index));
            bytes += layout.size();
            if let Some(block) = NonNull::new(block) {
                // SAFETY: the caller's promise; it is on no list any more, and nobody's.
                unsafe { source.release(block, layout) };
            }
        }
        bytes
    }
}

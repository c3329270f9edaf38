//! [`Runs`]: blocks aligned to their own size, cut out of larger pieces of memory.
//!
//! An allocator that is asked for 4 KiB aligned to 4 KiB puts a word of its own before them, which
//! makes a page of it resident for each: memory costs twice what its account says. So such blocks
//! come in *runs* of up to 128, a MiB at most. A run asks for no alignment: it is cut at the
//! boundaries inside of it, and what is before the first and behind the last is not touched, but
//! for what is known of the run, which lies at its beginning.
//!
//! ```text
//!   run  | descriptor |  ...  | block 0 | block 1 | ... | block n-1 |  ...  |
//!                             ^ aligned
//! ```
//!
//! Which blocks are free is said by bits in the descriptor: a free block is not touched, and its
//! pages need not be resident. Those of blocks that came back are until they are given back to the
//! system, which is done once there are more than [`DIRTY`] bytes of them, and by [`Runs::trim`]. A
//! run all blocks of which are free goes back whole.
//!
//! Each size has a shelf of its own, behind a lock, which is taken where the threads' caches have
//! too few blocks or too many. Nothing is asked of the system, or of the allocator, with a lock
//! held; and a fork waits for all of them, so that the child finds them free.

use super::BlockSource;
use super::pages;
use crate::debug;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// The smallest blocks have two to the power of this many bytes.
const SMALLEST_SHIFT: u32 = 8;
/// Sizes of blocks: 256 B to 64 KiB.
const SHELVES: usize = 9;
/// A run has at most so many blocks, a bit of a word for each, and so many bytes of them.
const MOST_BLOCKS: usize = Bits::BITS as usize;
const MOST_BYTES: usize = 1 << 20;
/// So many bytes of each size may wait, resident, for whoever wants a block next.
pub(super) const DIRTY: usize = 1 << 20;
const BUCKETS: usize = 512;

/// A bit for each block of a run.
type Bits = u128;

/// What is known of a run, at its beginning.
struct Run {
    /// The first block, good for all of the run.
    first: NonNull<u8>,
    /// A bit for each block: set if it is free.
    free: Bits,
    /// Those of the free ones, and of some that are being cleaned, that were in use before.
    dirty: Bits,
    /// Runs in the same bucket.
    next: *mut Run,
    /// Runs with free blocks.
    newer: *mut Run,
    older: *mut Run,
}

/// Which shelf has blocks of this layout; none, where it is not that of a block aligned to its size.
#[inline]
pub(super) fn shelf_of(layout: Layout) -> Option<usize> {
    let shelf = layout.size().trailing_zeros().wrapping_sub(SMALLEST_SHIFT) as usize;
    (layout.size() == layout.align() && shelf < SHELVES).then_some(shelf)
}

/// Sizes of one shelf's blocks and runs.
#[derive(Clone, Copy)]
struct Sizes {
    shift: u32,
    blocks: usize,
}

impl Sizes {
    const fn of(shelf: usize) -> Self {
        let shift = SMALLEST_SHIFT + shelf as u32;
        let blocks = MOST_BYTES >> shift;
        Self { shift, blocks: if blocks < MOST_BLOCKS { blocks } else { MOST_BLOCKS } }
    }

    fn block(self) -> usize {
        1 << self.shift
    }

    /// Bytes of a run's blocks: a power of two.
    fn span(self) -> usize {
        self.blocks << self.shift
    }

    /// All blocks' bits.
    fn all(self) -> Bits {
        Bits::MAX >> (MOST_BLOCKS - self.blocks)
    }

    /// What a run asks for: wherever that lies, its blocks are in it.
    fn layout(self) -> Layout {
        let size = size_of::<Run>() + self.block() + self.span();
        // SAFETY: a power of two, and less than 2 MiB.
        unsafe { Layout::from_size_align_unchecked(size, align_of::<Run>().max(16)) }
    }
}

const _: () = assert!(size_of::<Run>() <= 128);

/// The runs of one size.
struct Shelf {
    /// By the address of the first block: see [`Shelf::bucket`].
    buckets: [*mut Run; BUCKETS],
    /// Runs with free blocks, the one that got one last at the head.
    open: *mut Run,
    /// Bytes of free blocks that were in use before.
    dirty: usize,
}

impl Shelf {
    const fn new() -> Self {
        Self { buckets: [ptr::null_mut(); BUCKETS], open: ptr::null_mut(), dirty: 0 }
    }

    /// Runs whose first blocks lie in the same span are alike: there is one of them.
    fn bucket(span: usize) -> usize {
        (crate::table::mix(span) >> (u64::BITS - BUCKETS.ilog2())) as usize
    }

    /// The run that this address is in.
    fn find(&self, address: usize, sizes: Sizes) -> Option<NonNull<Run>> {
        let span = address / sizes.span();
        // It begins in this span, or in the one before.
        [span, span.wrapping_sub(1)].into_iter().find_map(|span| {
            let mut at = self.buckets[Self::bucket(span)];
            while let Some(run) = NonNull::new(at) {
                // SAFETY: runs on the shelf are in place.
                let this = unsafe { run.as_ref() };
                if address.wrapping_sub(this.first.addr().get()) < sizes.span() {
                    return Some(run);
                }
                at = this.next;
            }
            None
        })
    }

    /// Takes a run in, of which one block is somebody's already.
    ///
    /// # Safety
    /// It is in place, on no shelf, and the caller's.
    unsafe fn insert(&mut self, mut run: NonNull<Run>, sizes: Sizes) {
        // SAFETY: the caller's promise.
        let this = unsafe { run.as_mut() };
        let bucket = &mut self.buckets[Self::bucket(this.first.addr().get() / sizes.span())];
        this.next = *bucket;
        *bucket = run.as_ptr();
        if this.free != 0 {
            // SAFETY: on the shelf, and not on the list yet.
            unsafe { self.push(run) };
        }
    }

    /// Takes a run out that has nothing but free blocks.
    ///
    /// # Safety
    /// It is on this shelf.
    unsafe fn remove(&mut self, run: NonNull<Run>, sizes: Sizes) {
        // SAFETY: it has free blocks, so it is on the list.
        unsafe { self.unlink(run) };
        // SAFETY: the caller's promise.
        let this = unsafe { run.as_ref() };
        self.dirty -= this.dirty.count_ones() as usize * sizes.block();
        let mut at = &raw mut self.buckets[Self::bucket(this.first.addr().get() / sizes.span())];
        loop {
            // SAFETY: the bucket, or the link of a run in it.
            let here = unsafe { at.read() };
            if here == run.as_ptr() {
                break;
            }
            // SAFETY: a run in the bucket: the one that is looked for comes behind it.
            at = unsafe { &raw mut (*here).next };
        }
        // SAFETY: where the link to the run is.
        unsafe { at.write(this.next) };
    }

    /// # Safety
    /// It is on this shelf, and not on the list.
    unsafe fn push(&mut self, mut run: NonNull<Run>) {
        // SAFETY: the caller's promise.
        let this = unsafe { run.as_mut() };
        this.newer = ptr::null_mut();
        this.older = self.open;
        if let Some(mut older) = NonNull::new(self.open) {
            // SAFETY: runs on the list are in place, and another one than this.
            unsafe { older.as_mut() }.newer = run.as_ptr();
        }
        self.open = run.as_ptr();
    }

    /// # Safety
    /// It is on the list.
    unsafe fn unlink(&mut self, run: NonNull<Run>) {
        // SAFETY: the caller's promise.
        let &Run { newer, older, .. } = unsafe { run.as_ref() };
        match NonNull::new(newer) {
            // SAFETY: runs on the list are in place.
            Some(mut newer) => unsafe { newer.as_mut() }.older = older,
            None => self.open = older,
        }
        if let Some(mut older) = NonNull::new(older) {
            // SAFETY: likewise.
            unsafe { older.as_mut() }.newer = newer;
        }
    }

    /// A free block, one whose pages are resident if the newest run has one.
    fn take(&mut self, sizes: Sizes) -> Option<NonNull<u8>> {
        let mut run = NonNull::new(self.open)?;
        // SAFETY: runs on the list are in place, and only who has the lock looks at them.
        let this = unsafe { run.as_mut() };
        let dirty = this.free & this.dirty;
        let number = if dirty != 0 { dirty } else { this.free }.trailing_zeros();
        let bit = 1 << number;
        if dirty != 0 {
            this.dirty &= !bit;
            self.dirty -= sizes.block();
        }
        this.free &= !bit;
        // SAFETY: the run has a block for each bit.
        let block = unsafe { this.first.add((number as usize) << sizes.shift) };
        if this.free == 0 {
            // SAFETY: it is on the list.
            unsafe { self.unlink(run) };
        }
        Some(block)
    }

    /// Makes blocks of a run free; the run is returned if all are now, and is off the shelf then.
    ///
    /// # Safety
    /// The run is on this shelf, and the blocks are nobody's.
    unsafe fn put(
        &mut self,
        mut run: NonNull<Run>,
        bits: Bits,
        sizes: Sizes,
    ) -> Option<NonNull<Run>> {
        // SAFETY: the caller's promise, and only who has the lock looks at them.
        let this = unsafe { run.as_mut() };
        debug_assert_eq!(this.free & bits, 0, "a block that is free has been released");
        if this.free == 0 {
            // SAFETY: on the shelf, and not on the list, since it had no free block.
            unsafe { self.push(run) };
        }
        // SAFETY: as above.
        let this = unsafe { run.as_mut() };
        this.free |= bits;
        if this.free != sizes.all() {
            return None;
        }
        // SAFETY: on this shelf, with nothing but free blocks.
        unsafe { self.remove(run, sizes) };
        Some(run)
    }

    /// Takes what is free and dirty in a run, to be cleaned; 0: nothing.
    ///
    /// # Safety
    /// The run is on this shelf.
    unsafe fn claim(&mut self, mut run: NonNull<Run>, sizes: Sizes) -> Bits {
        // SAFETY: the caller's promise, and only who has the lock looks at them.
        let this = unsafe { run.as_mut() };
        let bits = this.free & this.dirty;
        if bits == 0 {
            return 0;
        }
        this.free &= !bits;
        this.dirty &= !bits;
        self.dirty -= bits.count_ones() as usize * sizes.block();
        if this.free == 0 {
            // SAFETY: it had a free block, so it was on the list.
            unsafe { self.unlink(run) };
        }
        bits
    }
}

/// A lock that may be held over a fork. It is held for some dozens of instructions.
struct Held(AtomicBool);

impl Held {
    fn lock(&self) {
        let mut tries = 0_u32;
        while self.0.swap(true, Ordering::Acquire) {
            tries += 1;
            if tries.is_multiple_of(64) {
                // Whoever holds it may not be running.
                std::thread::yield_now();
            } else {
                core::hint::spin_loop();
            }
        }
    }

    fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

struct Guarded {
    held: Held,
    shelf: UnsafeCell<Shelf>,
}

impl Guarded {
    const fn new() -> Self {
        Self { held: Held(AtomicBool::new(false)), shelf: UnsafeCell::new(Shelf::new()) }
    }

    /// What `f` does uses no other lock, and does not unwind.
    fn with<T>(&self, f: impl FnOnce(&mut Shelf) -> T) -> T {
        self.held.lock();
        // SAFETY: only the holder of the lock reaches the shelf.
        let done = f(unsafe { &mut *self.shelf.get() });
        self.held.unlock();
        done
    }
}

/// Blocks of each size, over a source that every call names: it must always be the same one.
pub(super) struct Runs([Guarded; SHELVES]);

// SAFETY: shelves are reached with their locks held alone, and runs belong to the shelf that they
// are on.
unsafe impl Sync for Runs {}

impl Runs {
    pub(super) const fn new() -> Self {
        Self([const { Guarded::new() }; SHELVES])
    }

    /// A block of this shelf; none where the source has no run to give.
    pub(super) fn take(&self, shelf: usize, source: &impl BlockSource) -> Option<NonNull<u8>> {
        let (guarded, sizes) = (&self.0[shelf], Sizes::of(shelf));
        let block = match guarded.with(|shelf| shelf.take(sizes)) {
            Some(block) => block,
            None => {
                let (run, block) = make(sizes, source)?;
                // SAFETY: just made, and nobody else's.
                guarded.with(|shelf| unsafe { shelf.insert(run, sizes) });
                block
            }
        };
        debug::unmark(block, sizes.block());
        Some(block)
    }

    /// Takes a block back; `false` where it is in no run.
    ///
    /// # Safety
    /// The block has the size of this shelf's, and is nobody's any more. If it came from
    /// [`Runs::take`], then with this source.
    pub(super) unsafe fn give(
        &self,
        shelf: usize,
        block: NonNull<u8>,
        source: &impl BlockSource,
    ) -> bool {
        let (guarded, sizes) = (&self.0[shelf], Sizes::of(shelf));
        debug::mark(block, sizes.block());
        let done = guarded.with(|shelf| {
            let mut run = shelf.find(block.addr().get(), sizes)?;
            // SAFETY: runs on the shelf are in place, and only who has the lock looks at them.
            let this = unsafe { run.as_mut() };
            let bit = 1 << ((block.addr().get() - this.first.addr().get()) >> sizes.shift);
            let first = this.first;
            this.dirty |= bit;
            shelf.dirty += sizes.block();
            // SAFETY: on the shelf; the block is nobody's: the caller's promise.
            let empty = unsafe { shelf.put(run, bit, sizes) };
            if empty.is_some() || shelf.dirty <= DIRTY {
                return Some((empty, None));
            }
            // SAFETY: on the shelf.
            let bits = unsafe { shelf.claim(run, sizes) };
            Some((None, Some((run, first, bits))))
        });
        let Some((empty, unclean)) = done else {
            debug::unmark(block, sizes.block());
            return false;
        };
        if let Some(run) = empty {
            // SAFETY: off the shelf, with nothing but free blocks.
            unsafe { end(run, sizes, source) };
        }
        if let Some((run, first, bits)) = unclean {
            // SAFETY: claimed above, in a run that has its blocks there.
            unsafe { self.clean(shelf, run, first, bits, source) };
        }
        true
    }

    /// Gives the pages of blocks that are claimed back to the system, and makes the blocks free.
    ///
    /// # Safety
    /// The blocks are in this run of this shelf, whose first block is there, and are claimed by
    /// the caller. The source is that of the runs.
    unsafe fn clean(
        &self,
        shelf: usize,
        run: NonNull<Run>,
        first: NonNull<u8>,
        bits: Bits,
        source: &impl BlockSource,
    ) {
        let sizes = Sizes::of(shelf);
        let mut left = bits;
        while left != 0 {
            let from = left.trailing_zeros();
            let count = (left >> from).trailing_ones();
            left &= !((Bits::MAX >> (Bits::BITS - count)) << from);
            // SAFETY: the run has a block for each bit.
            let start = unsafe { first.add((from as usize) << sizes.shift) };
            // SAFETY: so many blocks from there on are the caller's: nobody else uses them.
            unsafe { pages::give(start, (count as usize) << sizes.shift) };
        }
        // SAFETY: the run stays on its shelf as long as some blocks in it are not free.
        let empty = self.0[shelf].with(|shelf| unsafe { shelf.put(run, bits, sizes) });
        if let Some(run) = empty {
            // SAFETY: off the shelf, with nothing but free blocks.
            unsafe { end(run, sizes, source) };
        }
    }

    /// Gives the pages of all free blocks back to the system; how many bytes that were.
    pub(super) fn trim(&self, source: &impl BlockSource) -> usize {
        let mut bytes = 0;
        for (number, guarded) in self.0.iter().enumerate() {
            let sizes = Sizes::of(number);
            let dirty = guarded.with(|shelf| shelf.dirty != 0);
            for bucket in 0..if dirty { BUCKETS } else { 0 } {
                // Claimed and cleaned one at a time, with the lock free in between.
                while let Some((run, first, bits)) = guarded.with(|shelf| {
                    let mut at = shelf.buckets[bucket];
                    while let Some(run) = NonNull::new(at) {
                        // SAFETY: on the shelf.
                        let bits = unsafe { shelf.claim(run, sizes) };
                        // SAFETY: runs on the shelf are in place.
                        let this = unsafe { run.as_ref() };
                        if bits != 0 {
                            return Some((run, this.first, bits));
                        }
                        at = this.next;
                    }
                    None
                }) {
                    bytes += bits.count_ones() as usize * sizes.block();
                    // SAFETY: just claimed, in a run that has its blocks there.
                    unsafe { self.clean(number, run, first, bits, source) };
                }
            }
        }
        bytes
    }

    /// Bytes of free blocks that were in use, and may be resident.
    #[cfg(test)]
    fn dirty(&self) -> usize {
        self.0.iter().map(|guarded| guarded.with(|shelf| shelf.dirty)).sum()
    }
}

/// A run, and its first block, which is not free any more.
fn make(sizes: Sizes, source: &impl BlockSource) -> Option<(NonNull<Run>, NonNull<u8>)> {
    let layout = sizes.layout();
    let memory = source.acquire(layout).ok()?;
    let from = memory.addr().get() + size_of::<Run>();
    let gap = from.next_multiple_of(sizes.block()) - memory.addr().get();
    // SAFETY: the layout has room for a block before the others.
    let first = unsafe { memory.add(gap) };
    debug::mark(first, sizes.span());
    let run = memory.cast::<Run>();
    let free = sizes.all() & !1;
    let none = ptr::null_mut();
    // SAFETY: the memory begins with room for it, is aligned for it, and nobody else's.
    unsafe { run.write(Run { first, free, dirty: 0, next: none, newer: none, older: none }) };
    Some((run, first))
}

/// Gives a run back.
///
/// # Safety
/// It is from [`make`], with this source; it is on no shelf, and nobody has a block of it.
unsafe fn end(run: NonNull<Run>, sizes: Sizes, source: &impl BlockSource) {
    // SAFETY: the caller's promise.
    let Run { first, dirty, .. } = unsafe { run.read() };
    debug::unmark(first, sizes.span());
    if dirty != 0 {
        // An allocator may keep it as it is.
        // SAFETY: so many bytes are blocks that are nobody's.
        unsafe { pages::give(first, sizes.span()) };
    }
    // SAFETY: `make` took it with this layout; the caller's promise.
    unsafe { source.release(run.cast(), sizes.layout()) };
}

// ---- the process's --------------------------------------------------------------------------

/// The runs below all threads' caches.
pub(super) static RUNS: Runs = Runs::new();

const UNKNOWN: u8 = 0;
const ASKED: u8 = 1;
const USED: u8 = 2;
const LEFT: u8 = 3;
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether blocks are cut out of runs: not where a checker is to see each of them, and not before
/// forks are known to wait for the locks.
pub(super) fn are_used() -> bool {
    match STATE.load(Ordering::Acquire) {
        USED => true,
        UNKNOWN => settle(),
        _ => false,
    }
}

#[cold]
fn settle() -> bool {
    if STATE.compare_exchange(UNKNOWN, ASKED, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // Another thread asks; what it finds serves later blocks.
        return false;
    }
    let used = !debug::sees_blocks() && pages::at_forks(before_fork, after_fork);
    STATE.store(if used { USED } else { LEFT }, Ordering::Release);
    used
}

extern "C" fn before_fork() {
    RUNS.0.iter().for_each(|guarded| guarded.held.lock());
}

extern "C" fn after_fork() {
    RUNS.0.iter().for_each(|guarded| guarded.held.unlock());
}

#[cfg(test)]
mod tests;

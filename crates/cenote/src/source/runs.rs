//! [`Runs`]: blocks of a few sizes, cut out of larger pieces of memory.
//!
//! Taken from an allocator one by one, blocks that came back stay resident as long as anything lies
//! behind them on its heap: after a burst, for months. And one that is asked for 4 KiB aligned to
//! 4 KiB puts a word of its own before them, which makes a page of it resident for each. So blocks
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
//! run all blocks of which are free goes back whole, but for one of each size that no other has a free
//! block of: the next block would be of a new one.
//!
//! Each size has a shelf of its own, behind a lock, which is taken where the threads' caches have
//! too few blocks or too many. Nothing is asked of the system, or of the allocator, with a lock
//! held; and a fork waits for all of them, so that the child finds them free.

use super::blocks::LEAN;
use super::forks::Held;
use super::pages;
use super::{BlockSource, System};
use crate::debug;
use crate::placed::{Placed, behind};
use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;

/// The smallest blocks have two to the power of this many bytes.
const SMALLEST_SHIFT: u32 = 8;
/// Sizes of blocks that are powers of two, 256 B to 64 KiB, which are aligned to their size.
const POWERS: usize = 9;
/// And in between, above 16 KiB, three to each doubling, which are aligned to pages.
const BETWEEN_SHIFT: u32 = 14;
/// And one that blocks for accounts have.
const LEAN_SHELF: usize = POWERS + 6;
const SHELVES: usize = LEAN_SHELF + 1;
/// What those in between are aligned to, and multiples of.
const PAGE: usize = 4096;
/// A run has at most so many blocks, a bit of a word for each, and so many bytes of them.
const MOST_BLOCKS: usize = Bits::BITS as usize;
const MOST_BYTES: usize = 1 << 20;
/// So many bytes of each size may wait, resident, for whoever wants a block next.
pub(super) const DIRTY: usize = 1 << 20;
const BUCKETS: usize = 512;

/// A bit for each block of a run.
type Bits = u128;

/// What is known of a run, at its beginning. It is looked at with its shelf's lock held, but for
/// what does not change.
struct Run {
    /// The first block, good for all of the run.
    first: NonNull<u8>,
    sizes: Sizes,
    /// A bit for each block: set if it is free.
    free: Cell<Bits>,
    /// Those of the free ones, and of some that are being cleaned, that were in use before.
    dirty: Cell<Bits>,
    /// Runs in the same bucket.
    next: Link,
    /// Runs with free blocks.
    newer: Link,
    older: Link,
}

/// A run that is not at its end: it is in place as long as it has a block that is not free.
type At = Placed<Run>;
type Link = Cell<Option<At>>;

/// Blocks of a run that are nobody's, and not free: whoever has this may do with them what it
/// likes, and they keep the run from its end.
struct Claimed {
    run: At,
    bits: Bits,
}

/// A run that is on no shelf, and none of whose blocks is anybody's.
struct Emptied(At);

/// Which shelf has blocks of this layout; none, where no shelf has blocks of just its size that are
/// aligned so.
#[inline]
pub(super) fn shelf_of(layout: Layout) -> Option<usize> {
    let (size, align) = (layout.size(), layout.align());
    if size.is_power_of_two() {
        let shelf = size.trailing_zeros().wrapping_sub(SMALLEST_SHIFT) as usize;
        return (align <= size && shelf < POWERS).then_some(shelf);
    }
    if size == LEAN.size() {
        return (align <= LEAN.align()).then_some(LEAN_SHELF);
    }
    let doubling = size.checked_ilog2()?.checked_sub(BETWEEN_SHIFT)? as usize;
    let quarter = (1 << BETWEEN_SHIFT << doubling) / 4;
    let between = doubling < 2 && size % quarter == 0 && align <= PAGE;
    between.then(|| POWERS + 3 * doubling + size / quarter - 5)
}

/// Sizes of one shelf's blocks and runs.
#[derive(Clone, Copy)]
struct Sizes {
    block: usize,
    align: usize,
    blocks: usize,
}

impl Sizes {
    const fn of(shelf: usize) -> Self {
        let (block, align) = match shelf.checked_sub(POWERS) {
            _ if shelf == LEAN_SHELF => (LEAN.size(), LEAN.align()),
            None => {
                (1 << (SMALLEST_SHIFT as usize + shelf), 1 << (SMALLEST_SHIFT as usize + shelf))
            }
            Some(between) => {
                let quarter = (1_usize << BETWEEN_SHIFT << (between / 3)) / 4;
                (quarter * (5 + between % 3), PAGE)
            }
        };
        let blocks = MOST_BYTES / block;
        Self { block, align, blocks: if blocks < MOST_BLOCKS { blocks } else { MOST_BLOCKS } }
    }

    const fn block(self) -> usize {
        self.block
    }

    /// Bytes of a run's blocks.
    const fn span(self) -> usize {
        self.blocks * self.block
    }

    /// All blocks' bits.
    fn all(self) -> Bits {
        Bits::MAX >> (MOST_BLOCKS - self.blocks)
    }

    /// What a run asks for: wherever that lies, its blocks are in it.
    const fn layout(self) -> Layout {
        let size = size_of::<Run>() + self.align + self.span();
        match Layout::from_size_align(size, 16) {
            Ok(layout) => layout,
            Err(_) => unreachable!(),
        }
    }

    /// Where the first of these blocks, all of one run, begins, and how many bytes they have.
    fn place(self, first: NonNull<u8>, from: u32, count: u32) -> (NonNull<u8>, usize) {
        (behind(first, from as usize * self.block), count as usize * self.block)
    }
}

const _: () = assert!(size_of::<Run>() <= 128 && align_of::<Run>() <= 16);

/// The runs of one size.
struct Shelf {
    /// By the address of the first block: see [`Shelf::bucket`].
    buckets: [Option<At>; BUCKETS],
    /// Runs with free blocks, the one that got one last at the head.
    open: Option<At>,
    /// The one of them that has nothing but free blocks, if there is one.
    empty: Option<At>,
    /// Bytes of free blocks that were in use before.
    dirty: usize,
}

impl Shelf {
    const fn new() -> Self {
        Self { buckets: [None; BUCKETS], open: None, empty: None, dirty: 0 }
    }

    /// Runs whose first blocks lie in the same span are alike: there is one of them.
    fn bucket(span: usize) -> usize {
        (crate::table::mix(span) >> (u64::BITS - BUCKETS.ilog2())) as usize
    }

    /// The run that this address is in.
    fn find(&self, address: usize, sizes: Sizes) -> Option<At> {
        let span = address / sizes.span();
        // It begins in this span, or in the one before.
        [span, span.wrapping_sub(1)].into_iter().find_map(|span| {
            let mut at = self.buckets[Self::bucket(span)];
            while let Some(run) = at {
                if address.wrapping_sub(run.first.addr().get()) < sizes.span() {
                    return Some(run);
                }
                at = run.next.get();
            }
            None
        })
    }

    fn bucket_of(&mut self, run: At) -> &mut Option<At> {
        &mut self.buckets[Self::bucket(run.first.addr().get() / run.sizes.span())]
    }

    /// Takes a run in that is on no shelf, and of which one block is somebody's already.
    fn insert(&mut self, run: At) {
        run.next.set(self.bucket_of(run).replace(run));
        if run.free.get() != 0 {
            self.push(run);
        }
    }

    /// Takes a run out of this shelf that has nothing but free blocks.
    fn remove(&mut self, run: At) -> Emptied {
        self.unlink(run);
        self.is_not_empty(run);
        self.dirty -= run.dirty.get().count_ones() as usize * run.sizes.block();
        let bucket = self.bucket_of(run);
        let mut at = *bucket;
        if at == Some(run) {
            *bucket = run.next.get();
        }
        while let Some(before) = at {
            at = before.next.get();
            if at == Some(run) {
                before.next.set(run.next.get());
            }
        }
        Emptied(run)
    }

    /// Puts a run of this shelf on the list, which it is not on.
    fn push(&mut self, run: At) {
        let older = self.open.replace(run);
        run.newer.set(None);
        run.older.set(older);
        if let Some(older) = older {
            older.newer.set(Some(run));
        }
    }

    /// Takes a run off the list.
    fn unlink(&mut self, run: At) {
        let (newer, older) = (run.newer.get(), run.older.get());
        match newer {
            Some(newer) => newer.older.set(older),
            None => self.open = older,
        }
        if let Some(older) = older {
            older.newer.set(newer);
        }
    }

    /// A run is about to have fewer free blocks, or none, or to be no more.
    fn is_not_empty(&mut self, run: At) {
        if self.empty == Some(run) {
            self.empty = None;
        }
    }

    /// A free block, one whose pages are resident if the newest run has one.
    fn take(&mut self) -> Option<NonNull<u8>> {
        let run = self.open?;
        self.is_not_empty(run);
        let free = run.free.get();
        let dirty = free & run.dirty.get();
        let number = if dirty != 0 { dirty } else { free }.trailing_zeros();
        let bit = 1 << number;
        if dirty != 0 {
            run.dirty.set(run.dirty.get() & !bit);
            self.dirty -= run.sizes.block();
        }
        run.free.set(free & !bit);
        if free == bit {
            self.unlink(run);
        }
        Some(run.sizes.place(run.first, number, 1).0)
    }

    /// Makes blocks of a run of this shelf free; if all are now, and another run has free ones, it is
    /// off the shelf.
    fn put(&mut self, Claimed { run, bits }: Claimed) -> Option<Emptied> {
        let free = run.free.get();
        debug_assert_eq!(free & bits, 0, "a block that is free has been released");
        if free == 0 {
            self.push(run);
        }
        run.free.set(free | bits);
        if free | bits != run.sizes.all() {
            return None;
        }
        let is_only = self.open == Some(run) && run.older.get().is_none();
        if is_only {
            self.empty = Some(run);
            return None;
        }
        Some(self.remove(run))
    }

    /// Takes what is free and dirty in a run of this shelf, to be cleaned.
    fn claim(&mut self, run: At) -> Option<Claimed> {
        let bits = run.free.get() & run.dirty.get();
        if bits == 0 {
            return None;
        }
        self.is_not_empty(run);
        run.free.set(run.free.get() & !bits);
        run.dirty.set(run.dirty.get() & !bits);
        self.dirty -= bits.count_ones() as usize * run.sizes.block();
        if run.free.get() == 0 {
            self.unlink(run);
        }
        Some(Claimed { run, bits })
    }
}

struct Guarded {
    held: Held,
    shelf: UnsafeCell<Shelf>,
}

impl Guarded {
    const fn new() -> Self {
        Self { held: Held::new(), shelf: UnsafeCell::new(Shelf::new()) }
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

/// Blocks of each size, cut out of runs that a source gives.
pub(super) struct Runs<S> {
    shelves: [Guarded; SHELVES],
    source: S,
}

// SAFETY: shelves are reached with their locks held alone, and runs belong to the shelf that they
// are on. The source is used as it may be by several threads.
unsafe impl<S: Sync> Sync for Runs<S> {}

impl<S: BlockSource> Runs<S> {
    pub(super) const fn new(source: S) -> Self {
        Self { shelves: [const { Guarded::new() }; SHELVES], source }
    }

    /// A block of this shelf; none where the source has no run to give.
    pub(super) fn take(&self, shelf: usize) -> Option<NonNull<u8>> {
        let (guarded, sizes) = (&self.shelves[shelf], Sizes::of(shelf));
        let block = match guarded.with(Shelf::take) {
            Some(block) => block,
            None => {
                let run = self.make(sizes)?;
                guarded.with(|shelf| shelf.insert(run));
                run.first
            }
        };
        debug::unmark(block, sizes.block());
        Some(block)
    }

    /// Takes a block back; `false` where it is in no run.
    ///
    /// # Safety
    /// The block has the size of this shelf's, and is nobody's any more.
    pub(super) unsafe fn give(&self, shelf: usize, block: NonNull<u8>) -> bool {
        let (guarded, sizes) = (&self.shelves[shelf], Sizes::of(shelf));
        debug::mark(block, sizes.block());
        let done = guarded.with(|shelf| {
            let run = shelf.find(block.addr().get(), sizes)?;
            let bit = 1 << ((block.addr().get() - run.first.addr().get()) / sizes.block());
            run.dirty.set(run.dirty.get() | bit);
            shelf.dirty += sizes.block();
            // Nobody's: the caller's promise.
            let empty = shelf.put(Claimed { run, bits: bit });
            if empty.is_some() || shelf.dirty <= DIRTY {
                return Some((empty, None));
            }
            Some((None, shelf.claim(run)))
        });
        let Some((empty, unclean)) = done else {
            debug::unmark(block, sizes.block());
            return false;
        };
        if let Some(run) = empty {
            self.end(run);
        }
        if let Some(blocks) = unclean {
            self.clean(guarded, blocks);
        }
        true
    }

    /// Gives the pages of blocks of this shelf back to the system, and makes the blocks free.
    fn clean(&self, guarded: &Guarded, blocks: Claimed) {
        let mut left = blocks.bits;
        while left != 0 {
            let from = left.trailing_zeros();
            let count = (left >> from).trailing_ones();
            left &= !((Bits::MAX >> (Bits::BITS - count)) << from);
            let (start, bytes) = blocks.run.sizes.place(blocks.run.first, from, count);
            // SAFETY: so many blocks from there on are claimed: nobody uses them.
            unsafe { pages::give(start, bytes) };
        }
        if let Some(run) = guarded.with(|shelf| shelf.put(blocks)) {
            self.end(run);
        }
    }

    /// Gives the pages of all free blocks back to the system, and runs that have no others; how many
    /// bytes of pages that were.
    pub(super) fn trim(&self) -> usize {
        let mut bytes = 0;
        for guarded in &self.shelves {
            let dirty = guarded.with(|shelf| shelf.dirty != 0);
            for bucket in 0..if dirty { BUCKETS } else { 0 } {
                // Claimed and cleaned one at a time, with the lock free in between.
                while let Some(blocks) = guarded.with(|shelf| {
                    let mut at = shelf.buckets[bucket];
                    while let Some(run) = at {
                        if let Some(blocks) = shelf.claim(run) {
                            return Some(blocks);
                        }
                        at = run.next.get();
                    }
                    None
                }) {
                    bytes += blocks.bits.count_ones() as usize * blocks.run.sizes.block();
                    self.clean(guarded, blocks);
                }
            }
            let empty = guarded.with(|shelf| shelf.empty.map(|run| shelf.remove(run)));
            if let Some(run) = empty {
                self.end(run);
            }
        }
        bytes
    }

    /// Bytes of free blocks that were in use, and may be resident.
    #[cfg(test)]
    fn dirty(&self) -> usize {
        self.shelves.iter().map(|guarded| guarded.with(|shelf| shelf.dirty)).sum()
    }

    /// A run that is on no shelf yet. Its first block is not free any more.
    fn make(&self, sizes: Sizes) -> Option<At> {
        let memory = self.source.acquire(sizes.layout()).ok()?;
        let from = memory.addr().get() + size_of::<Run>();
        let first = behind(memory, from.next_multiple_of(sizes.align) - memory.addr().get());
        debug::mark(first, sizes.span());
        let (free, none) = (Cell::new(sizes.all() & !1), Link::new(None));
        let (dirty, newer, older) = (Cell::new(0), none.clone(), none.clone());
        let run = Run { first, sizes, free, dirty, next: none, newer, older };
        // SAFETY: the memory begins with room for it, is aligned for it, and nobody else's until
        // `end`, where the run is on no shelf, and no block refers to it.
        Some(unsafe { Placed::write(memory, run) })
    }

    /// Gives a run back that was on a shelf here.
    fn end(&self, Emptied(run): Emptied) {
        let (first, sizes) = (run.first, run.sizes);
        debug::unmark(first, sizes.span());
        if run.dirty.get() != 0 {
            // An allocator may keep it as it is.
            // SAFETY: so many bytes are blocks that are nobody's.
            unsafe { pages::give(first, sizes.span()) };
        }
        // SAFETY: `make` took it with this layout, and nothing of it is used any more.
        unsafe { self.source.release(run.pointer().cast(), sizes.layout()) };
    }
}

// ---- the process's --------------------------------------------------------------------------

/// The runs below all threads' caches.
pub(super) static RUNS: Runs<System> = Runs::new(System);

/// Whether blocks are cut out of runs: not where a checker is to see each of them, and not before
/// forks are known to wait for the locks.
pub(super) fn are_used() -> bool {
    super::forks::are_seen_to() && !debug::sees_blocks()
}

/// Waits for who is at a shelf of runs.
pub(super) fn before_fork() {
    RUNS.shelves.iter().for_each(|guarded| guarded.held.lock());
}

pub(super) fn after_fork() {
    RUNS.shelves.iter().for_each(|guarded| guarded.held.unlock());
}

#[cfg(test)]
mod tests;

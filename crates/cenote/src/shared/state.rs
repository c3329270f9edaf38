//! What all handles of a shared pool share: it lies in the pool's first block.
//!
//! Allocating reads `current` and changes that block's window. What is rarer takes the lock: a
//! new block, a large object, a cleanup. No code of the user's runs under it but the source's.
//!
//! Figures are read without it, so that whoever looks makes nobody wait: the list of blocks only
//! grows, a block's place in it and its size do not change, its window is one atomic word, and
//! the sums over all else are atomic. Only the sizes of large objects one by one are in a table
//! that is the lock's; they are copied a few at a time.

use super::block::{Block, BlockPtr, HEADER};
use super::look::{PoolFigures, Tie};
use super::sync::{AtomicPtr, AtomicUsize, Lock, Ordering::*};
use crate::account::Account;
use crate::cleanup::{Cleanups, Entry, Panicked, PoolPtr};
use crate::debug::{self, Watch};
use crate::error::Mode;
use crate::inspect::PoolSnapshot;
use crate::large::LargeObjects;
use crate::pool::{HEADER_ALIGN, Shape, Want, dangling};
use crate::supply::Supply;
use crate::window::MIN_ALIGN;
use crate::{AllocError, BlockSource, Blocks, size};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::mem;
use core::panic::Location;
use core::ptr::{self, NonNull};
use core::sync::atomic as plain;

/// How many of the newest blocks are looked at for room before another one is taken.
const LOOK_BACK: usize = 4;
/// How many slots of the table of large objects are looked at in one hold of the lock.
const LARGE_SLICE: usize = 64;

pub(super) struct Shared<S: BlockSource> {
    /// The block that allocations go to; never null once the pool is made.
    current: AtomicPtr<Block>,
    pub(super) handles: AtomicUsize,
    /// All blocks, linked from the newest to the oldest; changed under the lock.
    newest: AtomicPtr<Block>,
    /// What those know the pool by who look at it without keeping it; null while there is none.
    tie: AtomicPtr<Tie<S>>,
    pub(super) rare: Lock<Rare>,
    sums: Sums,
    pub(super) shape: Shape,
    pub(super) name: &'static str,
    pub(super) created_at: &'static Location<'static>,
    /// Its source is used under the lock only; its account by anyone.
    pub(super) supply: Supply<S>,
}

// SAFETY: what handles on several threads share is atomic, unchanging, or behind the lock, the
// supply's source included; so the source goes from thread to thread, and must be `Send`. What
// runs at the end (`defer`, `own`) is `Send`.
unsafe impl<S: BlockSource + Send> Sync for Shared<S> {}
// SAFETY: likewise; the memory belongs to this pool alone.
unsafe impl<S: BlockSource + Send> Send for Shared<S> {}

/// What is behind the lock.
pub(super) struct Rare {
    /// Bytes of the next block.
    next: u32,
    pub(super) large: LargeObjects,
    cleanups: Cleanups,
}

// SAFETY: all of it is memory of the pool's, reached by whoever holds the lock.
unsafe impl Send for Rare {}

/// What those who look may read of what is behind the lock: written under it, and no more than
/// figures. They order nothing, so loom need not know of them.
struct Sums {
    large: plain::AtomicUsize,
    large_bytes: plain::AtomicUsize,
    table_bytes: plain::AtomicUsize,
    cleanups: plain::AtomicUsize,
}

impl Sums {
    fn new() -> Self {
        let zero = || plain::AtomicUsize::new(0);
        Self { large: zero(), large_bytes: zero(), table_bytes: zero(), cleanups: zero() }
    }
}

/// What a pool is made with.
pub(super) struct Making<'a, S> {
    pub(super) shape: Shape,
    pub(super) name: &'static str,
    pub(super) created_at: &'static Location<'static>,
    pub(super) account: Option<&'a Account>,
    pub(super) wipe: bool,
    pub(super) watch: Watch,
    pub(super) source: S,
}

impl<S: BlockSource> Shared<S> {
    /// Where the state goes in the first block.
    const STATE: Layout = Layout::new::<Self>();

    /// The smallest first block, which has room for the state and something besides.
    fn least_block() -> usize {
        let slack = if Self::STATE.align() > HEADER_ALIGN { Self::STATE.align() } else { 0 };
        (HEADER + slack + Self::STATE.size() + debug::gap() + 16)
            .next_power_of_two()
            .max(Blocks::SMALLEST)
    }

    /// A pool with its first block and one handle.
    #[inline]
    pub(super) fn make(mut making: Making<'_, S>) -> Result<NonNull<Self>, AllocError> {
        making.watch = making.watch.now();
        if making.watch.levels.is_none() {
            Self::make_as(making)
        } else {
            making.shape = making.shape.watched();
            Self::make_watched(making)
        }
    }

    /// Apart, so that what is the same in all other pools is known when compiling.
    #[cold]
    #[inline(never)]
    fn make_watched(making: Making<'_, S>) -> Result<NonNull<Self>, AllocError> {
        Self::make_as(making)
    }

    #[inline(always)]
    fn make_as(making: Making<'_, S>) -> Result<NonNull<Self>, AllocError> {
        let Making { shape, name, created_at, account, wipe, watch, source } = making;
        let watched = !watch.levels.is_none();
        let supply = Supply::new(name, source, account, wipe, watch);
        let layout = |bytes| Layout::from_size_align(bytes, HEADER_ALIGN);
        let least = Self::least_block();
        let (Ok(wanted), Ok(least)) = (layout(least.max(shape.first as usize)), layout(least))
        else {
            return Err(AllocError::too_large(least));
        };
        let (wanted, least) = (supply.whole_block(wanted), supply.whole_block(least));
        let (memory, taken) = supply.take_best(wanted, least)?;
        // SAFETY: fresh memory of that size, aligned for a header.
        let block = unsafe { BlockPtr::init(memory, taken.size(), ptr::null_mut()) };
        let place = block.place_up(Self::STATE.size(), Self::STATE.align());
        let Some(place) = place.map(NonNull::cast::<Self>) else {
            // Not reached: `least_block` has room for it.
            // SAFETY: just taken with this layout, and nothing is in it.
            unsafe { supply.put_back(memory, taken) };
            return Err(AllocError::out_of_memory(taken.size()));
        };
        if watched {
            block.shut();
        }
        let next = shape.largest.min((2 * taken.size()).min(1 << 30) as u32);
        let state = Self {
            current: AtomicPtr::new(block.as_ptr()),
            handles: AtomicUsize::new(1),
            newest: AtomicPtr::new(block.as_ptr()),
            tie: AtomicPtr::new(ptr::null_mut()),
            rare: Lock::new(Rare { next, large: LargeObjects::new(), cleanups: Cleanups::new() }),
            sums: Sums::new(),
            shape,
            name,
            created_at,
            supply,
        };
        // SAFETY: fresh memory for it in the block.
        unsafe { place.write(state) };
        Ok(place)
    }

    #[inline(always)]
    pub(super) fn current(&self) -> BlockPtr {
        // `Acquire` shows the header as the thread that made it wrote it.
        let block = self.current.load(Acquire);
        // SAFETY: a block of this pool's; blocks go back when the last handle has gone.
        let block = unsafe { BlockPtr::new(block) };
        // SAFETY: it is not null from the time when the pool is made.
        unsafe { block.unwrap_unchecked() }
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.supply.account()
    }

    // ---- allocating ------------------------------------------------------------------------

    /// Places an object; at an alignment known when compiling, if this is inlined.
    #[inline(always)]
    pub(super) fn bump<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        match self.current().place_up(size, align) {
            Some(start) => Ok(start),
            None => self.bump_cold::<M>(size, align),
        }
    }

    /// Places bytes without alignment: at most [`size::MAX`](crate::size::MAX).
    #[inline(always)]
    pub(super) fn bump_bytes<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        match self.current().place_down(size) {
            Some(start) => Ok(start),
            None => self.bump_bytes_cold::<M>(size),
        }
    }

    #[cold]
    #[inline(never)]
    fn bump_cold<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        let Ok(layout) = Layout::from_size_align(size, align) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Aligned(layout)).or_else(M::refuse)
    }

    #[cold]
    #[inline(never)]
    fn bump_bytes_cold<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        let Ok(layout) = Layout::from_size_align(size, 1) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Packed(size)).or_else(M::refuse)
    }

    /// The current block had no room: a large object, one of the newest blocks (another thread
    /// may just have taken one), or a new one.
    fn slow(&self, layout: Layout, want: Want) -> Result<NonNull<u8>, AllocError> {
        // Before the lock, so that what is found is told when it is free again.
        let _inside = self.supply.inside();
        if layout.size() == 0 {
            return Ok(dangling(layout));
        }
        let mut rare = self.rare.lock();
        let Some(need) = self.needs_large(layout) else {
            if self.is_watched() {
                drop(rare);
                return self.alloc_watched(layout);
            }
            let start = rare.large.alloc(&self.supply, layout)?;
            let room = rare.large.room(start);
            self.sums.large_bytes.fetch_add(room, Relaxed);
            self.tell_large(&rare.large);
            return Ok(start);
        };
        for block in self.blocks().take(LOOK_BACK) {
            if let Some(start) = block.place(want) {
                return Ok(start);
            }
        }
        self.place_in_new(&mut rare, need, want)
    }

    fn place_in_new(
        &self,
        rare: &mut Rare,
        need: usize,
        want: Want,
    ) -> Result<NonNull<u8>, AllocError> {
        let least = (need + HEADER).next_power_of_two().max(Blocks::SMALLEST);
        let wanted = self.supply.within_reason(rare.next, self.shape.first).max(least);
        let layout = |size| Layout::from_size_align(size, HEADER_ALIGN);
        let (Ok(wanted), Ok(least)) = (layout(wanted), layout(least)) else {
            return Err(AllocError::too_large(need));
        };
        let (wanted, least) = (self.supply.whole_block(wanted), self.supply.whole_block(least));
        let (memory, taken) = self.supply.take_best(wanted, least)?;
        rare.next = self.shape.largest.min((2 * taken.size()) as u32);
        let older = self.newest.load(Relaxed);
        // SAFETY: fresh memory of that size, aligned for a header.
        let block = unsafe { BlockPtr::init(memory, taken.size(), older) };
        // `Release`: as for `current`, just below.
        self.newest.store(block.as_ptr(), Release);
        // Before others see the block, so that this cannot fail.
        let placed = block.place(want);
        debug_assert!(placed.is_some(), "an object of the size that the block was taken for");
        if block.room() >= self.current().room() {
            // `Release`: whoever finds the block there finds its header.
            self.current.store(block.as_ptr(), Release);
        }
        placed.ok_or(AllocError::out_of_memory(need))
    }

    /// The bytes that an object needs in a block at most; `None`: it is to be large.
    #[inline]
    pub(super) fn needs_large(&self, layout: Layout) -> Option<usize> {
        let slack = if layout.align() > HEADER_ALIGN { layout.align() } else { 0 };
        size::total(slack + debug::gap(), 1, layout.size(), MIN_ALIGN)
            .filter(|&need| need <= self.shape.threshold as usize)
    }

    // ---- large objects ---------------------------------------------------------------------

    /// Frees the large object at this address; `false` where there is none.
    #[cold]
    pub(super) fn free_large(&self, start: NonNull<u8>) -> bool {
        if self.is_watched() {
            self.dealloc_watched(start);
            return true;
        }
        let _inside = self.supply.inside();
        let rare = self.rare.lock();
        let room = rare.large.room(start);
        let freed = rare.large.free(&self.supply, start);
        if freed {
            self.sums.large_bytes.fetch_sub(room, Relaxed);
            self.tell_large(&rare.large);
        }
        freed
    }

    pub(super) fn tell_large(&self, large: &LargeObjects) {
        self.sums.large.store(large.len(), Relaxed);
        self.sums.table_bytes.store(large.table_bytes(&self.supply), Relaxed);
    }

    /// The large object at this address: the pool's own pointer to it, and its room in bytes.
    #[cold]
    pub(super) fn large_object(&self, start: NonNull<u8>) -> Option<(NonNull<u8>, usize)> {
        self.rare.lock().large.object(start)
    }

    /// Makes the large object at this address larger, without another one beside it.
    #[cold]
    pub(super) fn grow_large(&self, start: NonNull<u8>, new: Layout) -> Option<NonNull<u8>> {
        self.rare.lock().large.grow(&self.supply, start, new)
    }

    // ---- cleanups --------------------------------------------------------------------------

    /// Puts a cleanup at the head of the list.
    ///
    /// # Safety
    /// `entry` was written, is in this pool's memory and in no list; its action is `Send`.
    pub(super) unsafe fn push_cleanup<F>(&self, entry: NonNull<Entry<F>>) {
        let rare = self.rare.lock();
        // SAFETY: the caller's promise; the pool's memory stays until the cleanups have run.
        let handle = unsafe { rare.cleanups.push(entry, self.erased()) };
        // A handle would have to take the lock; dropping it changes nothing.
        let _ = handle;
        self.sums.cleanups.fetch_add(1, Relaxed);
    }

    fn erased(&self) -> PoolPtr {
        NonNull::from(self).cast()
    }

    // ---- figures ---------------------------------------------------------------------------

    /// The blocks, the newest first: those that there are now.
    fn blocks(&self) -> impl Iterator<Item = BlockPtr> {
        // SAFETY: null, or a block of this pool; they stay for as long as this may be called,
        // and the links between them do not change.
        let block = |at| unsafe { BlockPtr::new(at) };
        // `Acquire` shows the header as the thread that made it wrote it.
        core::iter::successors(block(self.newest.load(Acquire)), move |of| block(of.header().older))
    }

    /// The figures, without the lock. While others allocate, each is of a moment of its own.
    pub(super) fn figures(&self) -> PoolFigures {
        let sums = &self.sums;
        let large_bytes = sums.large_bytes.load(Relaxed);
        let table = sums.table_bytes.load(Relaxed);
        let mut figures = PoolFigures {
            handles: self.handles.load(Relaxed),
            held_bytes: large_bytes + table,
            used_bytes: large_bytes,
            blocks: 0,
            large: sums.large.load(Relaxed),
            large_table_bytes: table,
            cleanups: sums.cleanups.load(Relaxed),
        };
        for block in self.blocks() {
            figures.held_bytes += block.header().size;
            figures.used_bytes += block.used();
            figures.blocks += 1;
        }
        if self.is_watched() {
            self.watched_figures(&mut figures);
            return figures;
        }
        // The state is in the first block, and is no object.
        figures.used_bytes -= debug::taken(Self::STATE.size());
        figures
    }

    /// The pool, block by block.
    pub(super) fn snapshot(&self) -> PoolSnapshot {
        let current = self.current.load(Relaxed);
        let mut blocks: Vec<_> =
            self.blocks().map(|block| block.snapshot(ptr::eq(block.as_ptr(), current))).collect();
        blocks.reverse();
        let mut large = Vec::new();
        // The lock for a slice at a time, so that nobody waits for long. Objects that come and
        // go between two slices may be missed, or be there twice.
        let mut next = (self.sums.large.load(Relaxed) > 0).then_some(0);
        while let Some(from) = next {
            large.reserve(LARGE_SLICE);
            next = self.rare.lock().large.sizes_from(from, LARGE_SLICE, &mut large);
        }
        large.sort_unstable_by(|a, b| b.cmp(a));
        let figures = self.figures();
        PoolSnapshot {
            name: self.name.to_string(),
            created_at: crate::inspect::place(self.created_at),
            held_bytes: figures.held_bytes,
            used_bytes: figures.used_bytes,
            blocks,
            large,
            large_table_bytes: figures.large_table_bytes,
            cleanups: figures.cleanups,
        }
    }

    // ---- the end ---------------------------------------------------------------------------

    /// What those know the pool by who look at it without keeping it; made when it is first
    /// asked for. `this` is this very state, as its handles point to it.
    pub(super) fn tie(&self, this: NonNull<Self>) -> Arc<Tie<S>> {
        // `Acquire` shows the tie as it was made.
        let mut tie = self.tie.load(Acquire).cast_const();
        if tie.is_null() {
            let fresh = Arc::into_raw(Arc::new(Tie::new(this)));
            let tied =
                self.tie.compare_exchange(ptr::null_mut(), fresh.cast_mut(), AcqRel, Acquire);
            tie = match tied {
                Ok(_) => fresh,
                Err(other) => {
                    // SAFETY: just made, and nobody has seen it.
                    drop(unsafe { Arc::from_raw(fresh) });
                    other
                }
            };
        }
        // SAFETY: from `Arc::into_raw`, of which the pool has a count until its end.
        unsafe { Arc::increment_strong_count(tie) };
        // SAFETY: the count that was just added.
        unsafe { Arc::from_raw(tie) }
    }

    /// Runs the cleanups, and gives everything back, unless somebody is looking at it: then
    /// the last who looks does that.
    ///
    /// # Safety
    /// The last handle has gone, and what all handles did has happened before this. `this` is
    /// not used any more by the caller.
    #[inline]
    pub(super) unsafe fn end(this: NonNull<Self>) {
        // SAFETY: the pool is there until it is ended, which is done here.
        let state = unsafe { this.as_ref() };
        let rare = state.rare.lock();
        let busy = rare.cleanups.address() | rare.large.address() != 0;
        drop(rare);
        let panicked = if busy { Some(state.end_cold()) } else { None };
        // `Relaxed`: ties are made by handles, all of which have gone before this.
        let tie = state.tie.load(Relaxed);
        // SAFETY: null, or a tie of this pool, whose count is given up here, once.
        if tie.is_null() || unsafe { Tie::cut(tie) } {
            // SAFETY: no handle is left, and nobody looks, nor can begin to.
            unsafe { Self::give_back(this) };
        }
        if let Some(panicked) = panicked {
            panicked.resume();
        }
    }

    /// Gives the blocks back, and leaves the account.
    ///
    /// # Safety
    /// [`Shared::end`] has run the cleanups, and nobody uses the pool any more, nor will.
    #[inline]
    pub(super) unsafe fn give_back(this: NonNull<Self>) {
        // SAFETY: nobody else refers to it any more, and it is not used where it was.
        let state = unsafe { this.read() };
        let inside = state.supply.inside_of_source();
        let mut at = state.newest.load(Relaxed);
        // SAFETY: blocks of this pool, each until it is given back just below.
        while let Some(block) = unsafe { BlockPtr::new(at) } {
            let size = block.header().size;
            at = block.header().older;
            // SAFETY: the size of the layout that it was taken with, which was a valid one.
            let layout = unsafe { Layout::from_size_align_unchecked(size, HEADER_ALIGN) };
            // SAFETY: taken with this layout; nothing in it is used any more, the state
            // having been moved out.
            unsafe { state.supply.give(block.memory(), layout) };
        }
        drop(inside);
    }

    /// Runs the cleanups and frees the large objects, not under the lock: who looks may take it.
    #[cold]
    #[inline(never)]
    fn end_cold(&self) -> Panicked {
        let (cleanups, large) = {
            let mut rare = self.rare.lock();
            let large = mem::replace(&mut rare.large, LargeObjects::new());
            (mem::replace(&mut rare.cleanups, Cleanups::new()), large)
        };
        // SAFETY: the pool of this list. Cleanups of shared pools do not look at their pool.
        let panicked = unsafe { cleanups.run_all(self.erased()) };
        let _inside = self.supply.inside();
        self.sums.cleanups.store(0, Relaxed);
        large.free_all(&self.supply);
        self.sums.large_bytes.store(0, Relaxed);
        self.tell_large(&large);
        panicked
    }
}

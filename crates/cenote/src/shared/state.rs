//! What all handles of a shared pool share: it lies in the pool's first block.
//!
//! Allocating reads `current` and changes that block's window. What is rarer takes the lock: a
//! new block, a large object, a cleanup, figures. No code of the user's runs under it but the
//! source's, until the last handle goes; then there is nobody left to wait for it.

use super::block::{BlockPtr, HEADER};
use super::sync::{AtomicPtr, AtomicUsize, Lock, Ordering::*};
use crate::account::Account;
use crate::cleanup::{Cleanups, Entry, Panicked, PoolPtr};
use crate::debug::{Levels, Watch};
use crate::error::Mode;
use crate::large::LargeObjects;
use crate::misuse::OnBadFree;
use crate::pool::{HEADER_ALIGN, Shape, Want, dangling};
use crate::supply::Supply;
use crate::window::MIN_ALIGN;
use crate::{AllocError, BlockSource, Blocks, size};
use core::alloc::Layout;
use core::ops::DerefMut;
use core::panic::Location;
use core::ptr::{self, NonNull};

/// How many of the newest blocks are looked at for room before another one is taken.
const LOOK_BACK: usize = 4;

pub(super) struct Shared<S: BlockSource> {
    /// The block that allocations go to; never null once the pool is made.
    current: AtomicPtr<super::block::Block>,
    pub(super) handles: AtomicUsize,
    rare: Lock<Rare>,
    pub(super) shape: Shape,
    pub(super) name: &'static str,
    pub(super) created_at: &'static Location<'static>,
    /// Its source is used under the lock only; its account by anyone.
    supply: Supply<S>,
}

// SAFETY: what handles on several threads share is atomic, unchanging, or behind the lock, the
// supply's source included; so the source goes from thread to thread, and must be `Send`. What
// runs at the end (`defer`, `own`) is `Send`.
unsafe impl<S: BlockSource + Send> Sync for Shared<S> {}
// SAFETY: likewise; the memory belongs to this pool alone.
unsafe impl<S: BlockSource + Send> Send for Shared<S> {}

/// What is behind the lock.
struct Rare {
    /// All blocks, linked from the newest to the oldest.
    newest: *mut super::block::Block,
    /// Bytes of the next block.
    next: u32,
    large: LargeObjects,
    cleanups: Cleanups,
}

// SAFETY: all of it is memory of the pool's, reached by whoever holds the lock.
unsafe impl Send for Rare {}

/// Figures of a pool, taken together.
pub(super) struct Figures {
    pub(super) held: usize,
    pub(super) used: usize,
    pub(super) cleanups: usize,
    pub(super) large: alloc::vec::Vec<usize>,
    pub(super) table: usize,
    pub(super) blocks: alloc::vec::Vec<crate::inspect::BlockSnapshot>,
}

impl<S: BlockSource> Shared<S> {
    /// Where the state goes in the first block.
    const STATE: Layout = Layout::new::<Self>();

    /// The smallest first block, which has room for the state and something besides.
    fn least_block() -> usize {
        let slack = if Self::STATE.align() > HEADER_ALIGN { Self::STATE.align() } else { 0 };
        (HEADER + slack + Self::STATE.size() + 16).next_power_of_two().max(Blocks::SMALLEST)
    }

    /// A pool with its first block and one handle.
    #[inline]
    pub(super) fn make(
        shape: Shape,
        name: &'static str,
        created_at: &'static Location<'static>,
        account: Option<&Account>,
        wipe: bool,
        source: S,
    ) -> Result<NonNull<Self>, AllocError> {
        // Its memory is placed by several threads at once, in blocks alone: nothing is looked for.
        let watch = Watch::new(Some(Levels::NONE), OnBadFree::Abort);
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
        let next = shape.largest.min((2 * taken.size()).min(1 << 30) as u32);
        let state = Self {
            current: AtomicPtr::new(block.as_ptr()),
            handles: AtomicUsize::new(1),
            rare: Lock::new(Rare {
                newest: block.as_ptr(),
                next,
                large: LargeObjects::new(),
                cleanups: Cleanups::new(),
            }),
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

    /// Places bytes without alignment.
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
        self.slow(layout, Want::Aligned(layout)).or_else(M::fail)
    }

    #[cold]
    #[inline(never)]
    fn bump_bytes_cold<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        let Ok(layout) = Layout::from_size_align(size, 1) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Packed(size)).or_else(M::fail)
    }

    /// The current block had no room: a large object, one of the newest blocks (another thread
    /// may just have taken one), or a new one.
    fn slow(&self, layout: Layout, want: Want) -> Result<NonNull<u8>, AllocError> {
        if layout.size() == 0 {
            return Ok(dangling(layout));
        }
        let mut rare = self.rare.lock();
        let Some(need) = self.needs_large(layout) else {
            return rare.large.alloc(&self.supply, layout);
        };
        // SAFETY: blocks of this pool stay until the last handle goes.
        let mut at = unsafe { BlockPtr::new(rare.newest) };
        for _ in 0..LOOK_BACK {
            let Some(block) = at else { break };
            if let Some(start) = block.place(want) {
                return Ok(start);
            }
            // SAFETY: likewise.
            at = unsafe { BlockPtr::new(block.header().older) };
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
        let wanted = least.max(rare.next as usize);
        let layout = |size| Layout::from_size_align(size, HEADER_ALIGN);
        let (Ok(wanted), Ok(least)) = (layout(wanted), layout(least)) else {
            return Err(AllocError::too_large(need));
        };
        let (wanted, least) = (self.supply.whole_block(wanted), self.supply.whole_block(least));
        let (memory, taken) = self.supply.take_best(wanted, least)?;
        rare.next = self.shape.largest.min((2 * taken.size()) as u32);
        // SAFETY: fresh memory of that size, aligned for a header.
        let block = unsafe { BlockPtr::init(memory, taken.size(), rare.newest) };
        rare.newest = block.as_ptr();
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
        size::total(slack, 1, layout.size(), MIN_ALIGN)
            .filter(|&need| need <= self.shape.threshold as usize)
    }

    // ---- large objects ---------------------------------------------------------------------

    /// Frees the large object at this address; `false` where there is none.
    #[cold]
    pub(super) fn free_large(&self, start: NonNull<u8>) -> bool {
        self.rare.lock().large.free(&self.supply, start)
    }

    /// The large object at this address: the pool's own pointer to it, and its room in bytes.
    #[cold]
    pub(super) fn large_object(&self, start: NonNull<u8>) -> Option<(NonNull<u8>, usize)> {
        self.rare.lock().large.object(start)
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
    }

    fn erased(&self) -> PoolPtr {
        NonNull::from(self).cast()
    }

    // ---- figures ---------------------------------------------------------------------------

    pub(super) fn held(&self) -> usize {
        let rare = self.rare.lock();
        let blocks: usize = rare.blocks().map(|block| block.header().size).sum();
        blocks + rare.large.sizes().sum::<usize>() + rare.large.table_bytes(&self.supply)
    }

    pub(super) fn used(&self) -> usize {
        let rare = self.rare.lock();
        let blocks: usize = rare.blocks().map(BlockPtr::used).sum();
        blocks + rare.large.sizes().sum::<usize>() - Self::STATE.size().next_multiple_of(MIN_ALIGN)
    }

    pub(super) fn figures(&self) -> Figures {
        let current = self.current.load(Relaxed);
        let (held, used) = (self.held(), self.used());
        let rare = self.rare.lock();
        let mut large: alloc::vec::Vec<usize> = rare.large.sizes().collect();
        large.sort_unstable_by(|a, b| b.cmp(a));
        let mut blocks: alloc::vec::Vec<_> =
            rare.blocks().map(|block| block.snapshot(ptr::eq(block.as_ptr(), current))).collect();
        blocks.reverse();
        let table = rare.large.table_bytes(&self.supply);
        Figures { held, used, cleanups: rare.cleanups.len(), large, table, blocks }
    }

    // ---- the end ---------------------------------------------------------------------------

    /// Runs the cleanups, and gives everything back.
    ///
    /// # Safety
    /// The last handle has gone, and what all handles did has happened before this.
    #[inline]
    pub(super) unsafe fn end(this: NonNull<Self>) {
        // SAFETY: nobody else refers to it any more, and it is not used where it was.
        let state = unsafe { this.read() };
        let mut panicked = None;
        {
            let mut rare = state.rare.lock();
            if rare.cleanups.address() | rare.large.address() != 0 {
                panicked = Some(state.end_cold(&mut rare));
            }
            let mut at = rare.newest;
            rare.newest = ptr::null_mut();
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
        }
        drop(state);
        if let Some(panicked) = panicked {
            panicked.resume();
        }
    }

    #[cold]
    #[inline(never)]
    fn end_cold(&self, rare: &mut impl DerefMut<Target = Rare>) -> Panicked {
        // SAFETY: the pool of this list. Cleanups of shared pools do not look at their pool.
        let panicked = unsafe { rare.cleanups.run_all(self.erased()) };
        rare.large.free_all(&self.supply);
        panicked
    }
}

impl Rare {
    /// The blocks, the newest first.
    fn blocks(&self) -> impl Iterator<Item = BlockPtr> {
        // SAFETY: blocks of this pool, which stay until the last handle goes.
        let block = |at| unsafe { BlockPtr::new(at) };
        core::iter::successors(block(self.newest), move |of| block(of.header().older))
    }
}

//! [`Pool`]: allocate by moving a pointer, give everything back at once.
//!
//! Files: this one has the pool's value, its blocks and its end; `builder` how it is set up;
//! `values` and `slices` what users put into it; `layouts` raw memory, and objects that change
//! size; `growing` objects whose size is known only at their end, `buffer` those of bytes, `grown`
//! what is remembered of them; `cleanups` what runs at the end.

mod block;
mod buffer;
mod builder;
mod cleanups;
mod growing;
mod grown;
mod layouts;
mod slices;
mod values;

pub use buffer::Buffer;
pub(crate) use buffer::{Bytes, buffer_calls};
pub use builder::PoolBuilder;
pub(crate) use builder::Shape;
pub(crate) use growing::{Growing, Grows};
pub(crate) use slices::Filling;

use crate::account::Account;
use crate::chain::Links;
use crate::cleanup::{Cleanups, Panicked, PoolPtr};
use crate::debug::{Levels, Watch};
use crate::error::Mode;
use crate::inspect::BlockSnapshot;
use crate::large::LargeObjects;
use crate::supply::Supply;
use crate::window::{self, MIN_ALIGN};
use crate::{AllocError, BlockSource, Blocks, debug, size};
use alloc::vec::Vec;
use block::Block;
pub(crate) use block::{HEADER, Want};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::mem::ManuallyDrop;
use core::panic::Location;
use core::ptr::{self, NonNull};
use grown::Grown;

/// Memory for one lifetime: a worker's, a connection's, a request's.
///
/// Objects are placed one after the other in blocks; they are freed together, when the pool
/// is [`reset`](Pool::reset) or dropped. References to them borrow the pool, so that neither
/// can happen too early:
///
/// ```
/// use cenote::Pool;
/// let mut pool = Pool::new();
/// let numbers = pool.alloc_slice_copy(&[1, 2, 3]);
/// let name = pool.alloc_fmt(format_args!("request {}", numbers[2]));
/// numbers[0] = 10;
/// assert_eq!((numbers[0], &*name), (10, "request 3"));
/// pool.reset();   // would not compile with `name` used below
/// ```
///
/// # What it costs
///
/// An allocation is seven to thirteen instructions with one branch, as long as the block has
/// room. An empty pool holds no memory. The first block has 4 KiB and each further one twice
/// that of the one before, up to 64 KiB ([`Pool::builder`] sets both); at steady state blocks
/// come from the thread's cache ([`Blocks`]), not from the system. Alignment is 8 at least;
/// text and bytes are packed without any, from the other end of the block.
///
/// Objects above the large threshold (16 KiB) that do not fit into the current block get an
/// allocation of their own. They do not make blocks grow, and can be freed alone.
///
/// # What is not run
///
/// Values put in by `alloc` are not dropped: their memory goes, their `Drop` does not run. Use
/// [`Pool::own`] for those that need it, and [`Pool::defer`] for other things to do at the end.
///
/// # Failing
///
/// Every method that allocates has a `try_` twin, which returns an [`AllocError`] where the
/// account's limit refuses, the system has no memory, or the size is one that no object can
/// have. The twin without `try_` panics in the first and last case, and calls the process's
/// allocation error handler in the second.
///
/// # Threads
///
/// A pool may be sent to another thread, not used by two at once. A future that owns a pool
/// and keeps `&mut T` from it across `.await` is `Send`; one that keeps `&Pool` is not.
#[repr(C)]
pub struct Pool<S: BlockSource = Blocks> {
    // The window of the active block. `last` and `end` are kept apart: loaded as a pair right
    // after a store to one of them, they stall some processors.
    last: Cell<NonNull<u8>>,
    /// The block of the window; null with no block.
    active: Cell<*mut Block>,
    end: Cell<NonNull<u8>>,
    // What is zero in a new pool lies together, since a pool is made for every request.
    /// All blocks, linked from the newest to the oldest.
    newest: Cell<*mut Block>,
    /// The oldest block that is still tried.
    current: Cell<*mut Block>,
    cleanups: Cleanups,
    /// Free links of chains in this pool.
    links: Links,
    large: LargeObjects,
    shape: Cell<Shape>,
    /// Bytes of the next block.
    next: Cell<u32>,
    /// Bytes that a reset should keep: the most used lately.
    keep: Cell<u32>,
    /// What objects that outgrew their blocks grew to lately.
    grown: Grown,
    created_at: &'static Location<'static>,
    /// In place until the pool's end, which may end it together with the last block.
    supply: ManuallyDrop<Supply<S>>,
}

// SAFETY: everything behind the pointers belongs to this pool alone, and what runs at its end
// (`defer`, `own`) is `Send`. The supply's account may be left from any thread.
unsafe impl<S: BlockSource + Send> Send for Pool<S> {}

impl Pool {
    /// A pool with the default sizes, on no account.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self::make(Shape::DEFAULT, "pool", Location::caller(), None, false, Watch::DEFAULT, Blocks)
    }

    /// A pool with the default sizes that charges its blocks to `account`.
    ///
    /// The pool keeps the account alive, not the other way round.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn on(account: &Account) -> Self {
        let (place, watch) = (Location::caller(), Watch::DEFAULT);
        Self::make(Shape::DEFAULT, "pool", place, Some(account), false, watch, Blocks)
    }

    /// Sets up a pool with a name, sizes, an account or a source of its own.
    #[inline]
    pub fn builder() -> PoolBuilder<'static> {
        PoolBuilder::new()
    }
}

impl Default for Pool {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<S: BlockSource> Pool<S> {
    #[inline(always)]
    pub(crate) fn make(
        shape: Shape,
        name: &'static str,
        created_at: &'static Location<'static>,
        account: Option<&Account>,
        wipe: bool,
        watch: Watch,
        source: S,
    ) -> Self {
        Self {
            last: Cell::new(NO_WINDOW),
            active: Cell::new(ptr::null_mut()),
            end: Cell::new(NO_WINDOW),
            newest: Cell::new(ptr::null_mut()),
            current: Cell::new(ptr::null_mut()),
            cleanups: Cleanups::new(),
            links: Links::new(),
            large: LargeObjects::new(),
            shape: Cell::new(shape),
            next: Cell::new(shape.first),
            keep: Cell::new(0),
            grown: Grown::new(),
            created_at,
            supply: ManuallyDrop::new(Supply::new(name, source, account, wipe, watch)),
        }
    }

    /// A pool inside this one's life: with the same sizes, account and source, its own blocks,
    /// and dropped before this pool can be reset or dropped.
    ///
    /// ```
    /// use cenote::Pool;
    /// let request = Pool::new();
    /// let head = request.alloc_str("GET /");
    /// {
    ///     let scratch = request.child();
    ///     scratch.alloc_slice_fill_with(1000, |i| i);
    /// }   // its blocks are back in the cache; `head` is untouched
    /// assert_eq!(head, "GET /");
    /// ```
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn child(&self) -> Pool<&S> {
        let (account, wipe) = (self.supply.account(), self.supply.wipes());
        let (watch, source) = (self.supply.watch(), self.supply.source());
        Pool::make(self.shape.get(), self.name(), Location::caller(), account, wipe, watch, source)
    }

    /// The name that the builder gave it.
    pub fn name(&self) -> &'static str {
        self.supply.name()
    }

    /// What is looked for in it (see [`debug`](crate::debug)); the process's levels are not
    /// looked at before something is allocated.
    pub fn levels(&self) -> Levels {
        self.supply.levels()
    }

    /// Where it was made.
    pub fn created_at(&self) -> &'static Location<'static> {
        self.created_at
    }

    /// The account that is charged for its blocks, if there is one.
    pub fn account(&self) -> Option<&Account> {
        self.supply.account()
    }

    /// Bytes of blocks and large objects that it holds: what it costs others.
    pub fn held_bytes(&self) -> usize {
        let blocks: usize = self.blocks().map(|block| block.size()).sum();
        blocks + self.large.held(&self.supply) + self.large.table_bytes(&self.supply)
    }

    /// Bytes that objects take, padding included; the rest of what is held is headers and room.
    pub fn used_bytes(&self) -> usize {
        self.save_window();
        let blocks: usize = self.blocks().map(|block| block.used() + block.packed()).sum();
        blocks + self.large.sizes().sum::<usize>()
    }

    pub(crate) fn large_sizes(&self) -> impl Iterator<Item = usize> {
        self.large.sizes()
    }

    pub(crate) fn large_table_bytes(&self) -> usize {
        self.large.table_bytes(&self.supply)
    }

    pub(crate) fn pending_cleanups(&self) -> usize {
        self.cleanups.len()
    }

    /// The blocks, the oldest first.
    pub(crate) fn block_snapshots(&self) -> Vec<BlockSnapshot> {
        self.save_window();
        let mut blocks: Vec<_> = self
            .blocks()
            .map(|block| BlockSnapshot {
                size: block.size(),
                header: HEADER,
                used: block.used(),
                packed: block.packed(),
                free: block.room(),
                failures: block.failed(),
                current: ptr::eq(block, self.current.get()),
                active: ptr::eq(block, self.active.get()),
            })
            .collect();
        blocks.reverse();
        blocks
    }

    /// The free links of chains in this pool.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    // ---- allocation ----------------------------------------------------------------------

    /// Places an object at an alignment known when compiling.
    #[inline(always)]
    fn bump<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        let (last, end) = self.window();
        match debug::fit_up(last.addr().get(), end.addr().get(), size, align) {
            Some(fit) => Ok(self.accept(last, fit, size)),
            None => self.bump_cold::<M>(size, align),
        }
    }

    /// Places an object at an alignment known only now.
    #[inline(always)]
    fn bump_any<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        let (last, end) = self.window();
        match debug::fit_up_any(last.addr().get(), end.addr().get(), layout.size(), layout.align())
        {
            Some(fit) => Ok(self.accept(last, fit, layout.size())),
            None => self.bump_cold::<M>(layout.size(), layout.align()),
        }
    }

    /// Places bytes without alignment at the other end of the window: at most
    /// [`size::MAX`](crate::size::MAX).
    #[inline(always)]
    fn bump_bytes<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        let (last, end) = self.window();
        match debug::fit_down(last.addr().get(), end.addr().get(), size) {
            Some(start) => {
                let start = at(end, start);
                self.end.set(start);
                debug::placed(start, size);
                Ok(start)
            }
            None => self.bump_bytes_cold::<M>(size),
        }
    }

    #[inline(always)]
    fn window(&self) -> (NonNull<u8>, NonNull<u8>) {
        (self.last.get(), self.end.get())
    }

    #[inline(always)]
    fn accept(&self, base: NonNull<u8>, fit: window::Fit, size: usize) -> NonNull<u8> {
        self.last.set(at(base, fit.last));
        let start = at(base, fit.start);
        debug::placed(start, size);
        start
    }

    #[cold]
    #[inline(never)]
    fn bump_cold<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        match self.first_block(size) {
            Ok(true) if align <= HEADER_ALIGN => {
                let (last, end) = self.window();
                let (from, to) = (last.addr().get(), end.addr().get());
                if let Some(fit) = debug::fit_up_any(from, to, size, align) {
                    return Ok(self.accept(last, fit, size));
                }
            }
            Err(error) => return M::fail(error),
            Ok(_) => {}
        }
        self.slow_aligned::<M>(size, align)
    }

    /// Apart from [`Pool::bump_cold`], so that the first block's way has a small frame.
    #[cold]
    #[inline(never)]
    fn slow_aligned<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        let Ok(layout) = Layout::from_size_align(size, align) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Aligned(layout)).or_else(M::fail)
    }

    #[cold]
    #[inline(never)]
    fn bump_bytes_cold<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        match self.first_block(size) {
            Ok(true) => return self.bump_bytes::<M>(size),
            Err(error) => return M::fail(error),
            Ok(false) => {}
        }
        let Ok(layout) = Layout::from_size_align(size, 1) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Packed(size)).or_else(M::fail)
    }

    /// Takes the block that most pools begin and end with, where this is the moment for it and
    /// no limit is in the way; `false` leaves anything unusual to [`Pool::slow`].
    #[inline(always)]
    fn first_block(&self, size: usize) -> Result<bool, AllocError> {
        let bytes = self.next.get() as usize;
        if !self.newest.get().is_null() || size == 0 || size > bytes / 2 - HEADER {
            return Ok(false);
        }
        if debug::may_be_on() && self.is_to_be_watched() {
            return Ok(false);
        }
        // SAFETY: sizes of blocks are at most 1 GiB.
        let layout = unsafe { Layout::from_size_align_unchecked(bytes, HEADER_ALIGN) };
        let Some(memory) = self.supply.take_unlimited(layout)? else { return Ok(false) };
        self.next.set(self.shape.get().largest.min((2 * bytes) as u32));
        // SAFETY: fresh memory of that size, aligned for a header.
        let block = unsafe { Block::init(memory, bytes, ptr::null_mut()) };
        self.newest.set(block);
        self.current.set(block);
        self.active.set(block);
        // Not by way of the header, whose bytes were just written.
        self.last.set(at(memory, memory.addr().get() + HEADER));
        self.end.set(at(memory, memory.addr().get() + bytes));
        Ok(true)
    }

    /// The window had no room: nothing, a large object, an older block, or a new one.
    #[inline(never)]
    fn slow(&self, layout: Layout, want: Want) -> Result<NonNull<u8>, AllocError> {
        if layout.size() == 0 {
            return Ok(dangling(layout));
        }
        if self.newest.get().is_null() && self.large.address() == 0 && debug::may_be_on() {
            self.is_to_be_watched();
        }
        let Some(need) = self.needs_large(layout) else {
            return self.large.alloc(&self.supply, layout);
        };
        self.save_window();
        let start = match self.place_in_older(want) {
            Some(start) => start,
            None => self.place_in_new(need, want)?,
        };
        self.load_window();
        debug::placed(start, layout.size());
        Ok(start)
    }

    /// Looks at the levels, before anything is placed, and makes the pool a watched one if one
    /// is on.
    #[cold]
    #[inline(never)]
    fn is_to_be_watched(&self) -> bool {
        let watched = !self.supply.look_at_levels().is_none();
        if watched {
            self.shape.set(self.shape.get().watched());
            self.next.set(self.shape.get().first);
        }
        watched
    }

    /// The bytes that an object needs in a block at most; `None`: it is to be large.
    #[inline]
    fn needs_large(&self, layout: Layout) -> Option<usize> {
        let slack = if layout.align() > HEADER_ALIGN { layout.align() } else { 0 };
        size::total(slack + debug::gap(), 1, layout.size(), MIN_ALIGN)
            .filter(|&need| need <= self.shape.get().threshold as usize)
    }

    /// Looks for room in the blocks before the active one, as far back as they are tried. The
    /// window is to be saved, and loaded again afterwards.
    fn place_in_older(&self, want: Want) -> Option<NonNull<u8>> {
        let active = self.active.get();
        let mut at = self.newest.get();
        while let Some(block) = self.block(at) {
            if at != active
                && let Some(start) = block.place(want)
            {
                if self.block(active).is_none_or(|active| active.room() < block.room()) {
                    self.active.set(at);
                }
                return Some(start);
            }
            if at == self.current.get() {
                break;
            }
            at = block.older();
        }
        None
    }

    /// Takes a new block, and counts a failure for each that was tried in vain; one that has
    /// failed six times is not tried any more. Window: as above.
    fn place_in_new(&self, need: usize, want: Want) -> Result<NonNull<u8>, AllocError> {
        let least = (need + HEADER).next_power_of_two().max(Blocks::SMALLEST);
        let wanted = least.max(self.next.get() as usize);
        let layout = |size| Layout::from_size_align(size, HEADER_ALIGN);
        let (Ok(wanted), Ok(least)) = (layout(wanted), layout(least)) else {
            return Err(AllocError::too_large(need));
        };
        let (wanted, least) = (self.supply.whole_block(wanted), self.supply.whole_block(least));
        let (memory, taken) = self.supply.take_best(wanted, least)?;
        self.next.set(self.shape.get().largest.min((2 * taken.size()) as u32));

        let mut at = self.newest.get();
        let mut oldest_open = ptr::null_mut();
        while let Some(block) = self.block(at) {
            if block.fail() {
                oldest_open = at;
            }
            if at == self.current.get() {
                break;
            }
            at = block.older();
        }
        // SAFETY: fresh memory of that size, aligned for a header.
        let block = unsafe { Block::init(memory, taken.size(), self.newest.get()) };
        self.current.set(if oldest_open.is_null() { block } else { oldest_open });
        self.newest.set(block);
        self.active.set(block);
        let placed = self.block(block).and_then(|block| block.place(want));
        debug_assert!(placed.is_some(), "an object of the size that the block was taken for");
        placed.ok_or(AllocError::out_of_memory(need))
    }

    // ---- blocks --------------------------------------------------------------------------

    fn block(&self, block: *mut Block) -> Option<&Block> {
        // SAFETY: null, or a block of this pool, which stays in place until a `&mut self`.
        unsafe { block.as_ref() }
    }

    /// The blocks, the newest first. Their windows are as of the last [`Pool::save_window`].
    fn blocks(&self) -> impl Iterator<Item = &Block> {
        core::iter::successors(self.block(self.newest.get()), |block| self.block(block.older()))
    }

    /// Writes the window to its block's header.
    #[inline]
    fn save_window(&self) {
        if let Some(block) = self.block(self.active.get()) {
            block.set_window(self.last.get(), self.end.get());
        }
    }

    /// Takes the window of the active block from its header.
    #[inline]
    fn load_window(&self) {
        if let Some(block) = self.block(self.active.get()) {
            let (last, end) = block.window();
            self.last.set(last);
            self.end.set(end);
        }
    }

    // ---- the end -------------------------------------------------------------------------

    /// Frees everything in the pool, and keeps blocks for what comes next.
    ///
    /// Cleanups run first, the newest first, and values given to [`Pool::own`] are dropped
    /// with them. Then large objects are freed, and the blocks emptied: as many are kept as
    /// were needed lately, and the rest goes back to the source. Nothing that was in the pool
    /// can be referred to any more, which the compiler checks.
    ///
    /// # Panics
    /// With the first panic of a cleanup, after everything is done.
    #[inline]
    pub fn reset(&mut self) {
        if self.has_more_than_blocks() {
            return self.reset_cold();
        }
        self.rewind();
    }

    /// Whether there were cleanups or large objects, told by one branch.
    #[inline(always)]
    fn has_more_than_blocks(&self) -> bool {
        self.cleanups.address() | self.large.address() != 0
    }

    #[cold]
    #[inline(never)]
    fn reset_cold(&mut self) {
        let panicked = self.run_cleanups();
        self.large.empty(&self.supply);
        self.rewind();
        panicked.resume();
    }

    /// Runs the pending cleanups now, the newest first, and those that they register: what a
    /// reset or the drop begins with, for bindings whose cleanups use the pool by other means
    /// than the reference that they are given. The pool can still be used meanwhile, and after.
    ///
    /// # Panics
    /// With the first panic of a cleanup, after all have run.
    ///
    /// # Safety
    /// Nothing that `own` gave is used any more.
    #[doc(hidden)]
    #[inline]
    pub unsafe fn run_cleanups_now(&self) {
        if !self.cleanups.is_empty() {
            self.run_cleanups().resume();
        }
    }

    /// Runs the cleanups as long as the pool can still be used by them.
    fn run_cleanups(&self) -> Panicked {
        // SAFETY: the pool of this list, whole and borrowed here.
        unsafe { self.cleanups.run_all(self.erased()) }
    }

    fn erased(&self) -> PoolPtr {
        NonNull::from(self).cast()
    }

    /// Empties the blocks. Most pools have one, of the size that pools begin with.
    /// Then what was needed is not noted: it was less than that block.
    #[inline]
    fn rewind(&mut self) {
        self.links.clear();
        let Some(newest) = self.block(self.newest.get()) else { return };
        if !newest.older().is_null()
            || newest.size() != self.shape.get().first as usize
            || self.supply.wipes()
        {
            return self.rewind_cold();
        }
        let (last, end) = newest.empty_window();
        self.last.set(last);
        self.end.set(end);
        debug::block_emptied(last, end.addr().get() - last.addr().get());
    }

    /// Notes that as much was needed as is used of the active block, for the next reset.
    #[cold]
    #[inline(never)]
    fn note_needed(&self) {
        self.save_window();
        let Some(block) = self.block(self.active.get()) else { return };
        let used = (block.used() + block.packed()).min(u32::MAX as usize / 2) as u32;
        self.keep.set(self.keep.get().max(used));
    }

    #[cold]
    #[inline(never)]
    fn rewind_cold(&mut self) {
        self.save_window();
        let used: usize = self.blocks().map(|block| block.used() + block.packed()).sum();
        let used = used + self.grown.next_round();
        let used = used.min(u32::MAX as usize / 2) as u32;
        // What was needed lately, forgotten by an eighth each time.
        let keep = self.keep.get();
        let keep = (keep - keep / 8).max(used);
        self.keep.set(keep);

        // The newest blocks are the largest: keep from there as many as are needed, unless
        // the first is far too large by now; or none, where what was needed was more than they
        // have, and one block could have it all.
        let room: usize = self.blocks().map(|block| block.size() - HEADER).sum();
        let together = room < keep as usize
            && self.one_block(keep) >= keep as usize + HEADER
            && self.supply.may_guess(self.one_block(keep));
        let mut at = self.newest.replace(ptr::null_mut());
        let mut kept = 0;
        let mut oldest_kept: *mut Block = ptr::null_mut();
        while let Some(block) = self.block(at) {
            let (this, older, size) = (at, block.older(), block.size());
            at = older;
            let too_large = size > self.shape.get().first as usize && (keep as usize) < size / 4;
            let wanted = kept < keep.max(1) as usize && !together;
            if wanted && !(kept == 0 && too_large) {
                kept += size - HEADER;
                block.rewind(self.supply.wipes());
                match self.block(oldest_kept) {
                    None => self.newest.set(this),
                    Some(newer) => newer.set_older(this),
                }
                block.set_older(ptr::null_mut());
                oldest_kept = this;
            } else {
                self.give_block(this);
            }
        }
        if kept == 0 {
            self.next.set(self.one_block(keep) as u32);
            self.last.set(NO_WINDOW);
            self.end.set(NO_WINDOW);
        }
        self.active.set(self.newest.get());
        self.current.set(oldest_kept);
        self.load_window();
    }

    /// The size of a block for so many bytes, or the largest that is taken at once.
    fn one_block(&self, bytes: u32) -> usize {
        let shape = self.shape.get();
        let (first, largest) = (shape.first as usize, shape.largest as usize);
        let least = bytes as usize + HEADER;
        if least <= largest {
            return least.next_power_of_two().clamp(first, largest);
        }
        let Ok(layout) = Layout::from_size_align(least, HEADER_ALIGN) else { return largest };
        let fits = self.supply.whole_block(layout).size();
        if fits <= grown::LARGEST.min(4 * largest) { fits } else { largest }
    }

    /// Gives a block back to the source. It is on no list any more.
    #[inline(always)]
    fn give_block(&self, block: *mut Block) {
        let Some(memory) = NonNull::new(block) else { return };
        // SAFETY: a block of this pool that the caller has taken off its list.
        let size = unsafe { memory.as_ref() }.size();
        // SAFETY: the size of the layout that it was taken with, which was a valid one.
        let layout = unsafe { Layout::from_size_align_unchecked(size, HEADER_ALIGN) };
        // SAFETY: taken with this layout; off the list, and nothing in it is borrowed, since
        // callers have `&mut self`.
        unsafe { self.supply.give(memory.cast(), layout) };
    }

    /// Gives all blocks back, and ends the supply.
    ///
    /// # Safety
    /// The pool is not used after this.
    #[inline(always)]
    unsafe fn end(&mut self) {
        let newest = self.newest.get();
        let (Some(block), Some(memory)) = (self.block(newest), NonNull::new(newest)) else {
            // SAFETY: the caller's promise: nobody uses it after this.
            return unsafe { ManuallyDrop::drop(&mut self.supply) };
        };
        if !block.older().is_null() {
            // SAFETY: likewise.
            return unsafe { self.end_with_many_blocks() };
        }
        // SAFETY: the size of the layout that it was taken with, which was a valid one.
        let layout = unsafe { Layout::from_size_align_unchecked(block.size(), HEADER_ALIGN) };
        // SAFETY: likewise.
        let supply = unsafe { ManuallyDrop::take(&mut self.supply) };
        // SAFETY: taken with this layout; nothing in it is borrowed at the pool's end.
        unsafe { supply.give_last(memory.cast(), layout) };
    }

    /// # Safety
    /// As for [`Pool::end`].
    #[inline(never)]
    unsafe fn end_with_many_blocks(&mut self) {
        let mut at = self.newest.replace(ptr::null_mut());
        while let Some(block) = self.block(at) {
            let older = block.older();
            self.give_block(at);
            at = older;
        }
        // SAFETY: the caller's promise: nobody uses it after this.
        unsafe { ManuallyDrop::drop(&mut self.supply) };
    }

    /// [`Pool::end`], with what comes before it.
    ///
    /// # Safety
    /// Likewise.
    #[cold]
    #[inline(never)]
    unsafe fn end_cold(&mut self) {
        let panicked = self.run_cleanups();
        self.large.free_all(&self.supply);
        // SAFETY: the caller's promise.
        unsafe { self.end() };
        panicked.resume();
    }
}

impl<S: BlockSource> Drop for Pool<S> {
    #[inline]
    fn drop(&mut self) {
        if self.has_more_than_blocks() {
            // SAFETY: this is the pool's end.
            return unsafe { self.end_cold() };
        }
        // SAFETY: likewise.
        unsafe { self.end() };
    }
}

impl<S: BlockSource> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("held_bytes", &self.held_bytes())
            .field("used_bytes", &self.used_bytes())
            .field("large", &self.large.len())
            .field("cleanups", &self.cleanups.len())
            .finish_non_exhaustive()
    }
}

/// No source makes a block larger than this, which a header's size has room for.
pub(crate) const LARGEST_BLOCK: usize = 1 << 30;

/// What blocks are aligned to, and so is what comes right after a header.
pub(crate) const HEADER_ALIGN: usize = 16;

/// The window of a pool without blocks: nothing but nothing fits, which needs no check of its
/// own.
const NO_WINDOW: NonNull<u8> = NonNull::<Aligned>::dangling().cast();

#[repr(align(16))]
struct Aligned;

/// The address `addr` in the block that `base` points into.
#[inline(always)]
fn at(base: NonNull<u8>, addr: usize) -> NonNull<u8> {
    // SAFETY: addresses inside a window are not 0: `last` of an empty one is not, and sums in
    // `window` do not wrap.
    unsafe { NonNull::new_unchecked(base.as_ptr().with_addr(addr)) }
}

/// The address of an object without bytes.
pub(crate) fn dangling(layout: Layout) -> NonNull<u8> {
    NonNull::new(ptr::without_provenance_mut(layout.align())).unwrap_or(NonNull::dangling())
}

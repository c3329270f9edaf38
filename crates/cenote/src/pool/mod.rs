//! [`Pool`]: allocate by moving a pointer, give everything back at once.
//!
//! Files: this one has the pool's value and its blocks; `builder` how it is set up; `placing` where
//! an object goes, `found` what is at an address, `ending` the reset and the end; `values` and `slices` what users put into it;
//! `layouts` raw memory, and objects that change size; `growing` objects whose size is known only at
//! their end, `buffer` those of bytes, `grown` what is remembered of them; `cleanups` what runs at
//! the end.

mod block;
mod buffer;
mod builder;
mod cleanups;
mod ending;
mod found;
mod growing;
mod grown;
mod layouts;
mod placing;
mod slices;
mod values;

pub use buffer::Buffer;
pub(crate) use buffer::{Bytes, buffer_calls};
pub use builder::PoolBuilder;
pub(crate) use builder::Shape;
#[doc(hidden)]
pub use found::Found;
pub(crate) use growing::{Growing, Grows, grows};

use crate::account::Account;
use crate::chain::Links;
use crate::cleanup::Cleanups;
use crate::debug::{Levels, Watch};
use crate::empty::NO_WINDOW;
use crate::inspect::BlockSnapshot;
use crate::large::LargeObjects;
use crate::supply::Supply;
use crate::window::MIN_ALIGN;
use crate::{BlockSource, Blocks};
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
/// Every method that allocates has a `try_` twin, which returns an
/// [`AllocError`](crate::AllocError) where the account's limit refuses, the system has no memory, or
/// the size is one that no object can have. The twin without `try_` panics in the first and last case, and calls the process's
/// allocation error handler in the second.
///
/// # Threads
///
/// A pool may be sent to another thread, not used by two at once. A future that owns a pool
/// and keeps `&mut T` from it across `.await` is `Send`; one that keeps `&Pool` is not.
#[repr(C)]
#[doc(alias("arena", "bump", "region"))]
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
    #[doc(alias = "scope")]
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

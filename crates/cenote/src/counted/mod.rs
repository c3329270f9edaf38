//! [`CountedPool`]: a block comes back when the last object in it is freed.
//!
//! Files: this one has the pool's value, its figures and its end; `placing` how objects are
//! placed, and which block is used; `freeing` how memory comes back, and what of misuse is
//! noticed; `block` a block's header and the lists of blocks; `known` which blocks are the
//! pool's; `layouts` raw memory, and objects that change size; `boxed` and `values` what users
//! put into it; `lasting` and `cleanups` what stays until the end; `builder` how it is set up.

mod block;
mod boxed;
mod builder;
mod cleanups;
mod freeing;
mod known;
mod lasting;
mod layouts;
mod placing;
mod values;

pub(crate) use block::HEADER;
pub use boxed::CountedBox;
pub use builder::CountedPoolBuilder;

use crate::account::Account;
use crate::cleanup::{Cleanups, Panicked, PoolPtr};
use crate::debug::{Levels, Watch};
use crate::empty::NO_WINDOW;
use crate::inspect::CountedBlockSnapshot;
use crate::large::LargeObjects;
use crate::supply::Supply;
use crate::{BlockSource, Blocks};
use alloc::vec::Vec;
use block::{Block, List, Place};
use builder::Shape;
use core::cell::Cell;
use core::fmt;
use core::panic::Location;
use core::ptr::{self, NonNull};
use known::Known;
use lasting::Lasting;

/// Memory for what lives long and allocates all the time: a connection's messages, for days.
///
/// Objects are placed one after the other in blocks, as in a [`Pool`](crate::Pool), but freed
/// singly. Each block counts the objects in it. A block whose count reaches zero is as good as
/// new, and the next objects go there. So memory comes back although the pool lives on, a
/// block at a time, without a list of free objects: a free is a subtraction.
///
/// ```
/// use cenote::CountedPool;
/// let pool = CountedPool::new();
/// for number in 0..1_000_000 {
///     let message = pool.alloc_fmt(format_args!("message {number}"));
///     assert!(message.ends_with(char::is_numeric));
/// }   // each message is freed here
/// assert_eq!(pool.held_bytes(), 4096);
/// ```
///
/// # What allocating returns
///
/// `alloc` and the like return a [`CountedBox`], which drops its value and frees it at the end
/// of its scope. [`CountedBox::leak`] gives a reference that lasts until the reset instead.
/// `&CountedPool` is an allocator for collections, and raw memory is had by
/// [`alloc_layout`](Self::alloc_layout) and given back by [`free`](Self::free), which needs
/// nothing but the pointer.
///
/// # What comes back when
///
/// - The newest object of the current block: at once, when it is freed.
/// - A block: when the last object in it is freed. It is used next, as soon as the current
///   one is full (at once, where that is full or empty). A few that nothing needs yet are kept
///   (see [`keep_empty`](CountedPoolBuilder::keep_empty)), the rest goes back to the source.
/// - A large object, one that does not fit into a block: at once.
///
/// So one object that is kept keeps its block of 4 KiB. What is to last as long as the pool
/// does belongs into [`own`](Self::own), which places it apart, as the pool's own bookkeeping
/// is: neither holds back a block of objects.
///
/// # What it costs
///
/// An allocation is that of a `Pool` and a count: nine instructions with one branch where the
/// size is known when compiling, else thirteen with two. A free finds the object's block, by a
/// compare if it is the current one and else in a small table, and takes one from its count.
/// Blocks have headers of 48 bytes. Alignment is 8 at least; text and bytes are packed without
/// any, from the other end of the block.
///
/// # Threads
///
/// A counted pool may be sent to another thread, not used by two at once:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<cenote::CountedPool>();
/// ```
#[repr(C)]
pub struct CountedPool<S: BlockSource = Blocks> {
    // The window of the active block; see `Pool`.
    last: Cell<NonNull<u8>>,
    /// The block of the window: the current one. Null with no block.
    active: Cell<*mut Block>,
    end: Cell<NonNull<u8>>,
    /// How to give the newest object back by its address alone, if it is of the active block:
    /// for an aligned object where it begins, for packed bytes where they end; 0: not at all.
    newest: Cell<usize>,
    shape: Shape,
    /// Blocks with objects and room, the active one not among them.
    open: List,
    /// Blocks without objects, the active one not among them.
    empty: List,
    known: Known,
    /// Blocks taken so far.
    taken: Cell<u64>,
    large: LargeObjects,
    cleanups: Cleanups,
    lasting: Lasting,
    created_at: &'static Location<'static>,
    supply: Supply<S>,
}

// SAFETY: everything behind the pointers belongs to this pool alone, and what runs at its end
// (`defer`, `own`) is `Send`. The supply's account may be left from any thread.
unsafe impl<S: BlockSource + Send> Send for CountedPool<S> {}

impl CountedPool {
    /// A pool with blocks of a page, on no account.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self::make(Shape::DEFAULT, "counted", Location::caller(), None, false, None, Blocks)
    }

    /// A pool with blocks of a page that charges them to `account`.
    ///
    /// The pool keeps the account alive, not the other way round.
    #[must_use]
    #[track_caller]
    pub fn on(account: &Account) -> Self {
        let place = Location::caller();
        Self::make(Shape::DEFAULT, "counted", place, Some(account), false, None, Blocks)
    }

    /// A pool with blocks of about `size` bytes, whatever that is: less than a page (4096), or
    /// no multiple of it, gives a page; other sizes are rounded up to a power of two, and down
    /// to 1 MiB. This is `mp_create_pool`'s rule; [`CountedPool::builder`] is stricter.
    ///
    /// ```
    /// use cenote::CountedPool;
    /// let page = |size| CountedPool::with_size(size).page_bytes();
    /// assert_eq!([0, 100, 4096, 5000].map(page), [4096; 4]);
    /// assert_eq!([8192, 12288].map(page), [8192, 16384]);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn with_size(size: usize) -> Self {
        Self::make(Shape::of_size(size), "counted", Location::caller(), None, false, None, Blocks)
    }

    /// Sets up a pool with a name, a page size, an account or a source of its own.
    pub fn builder() -> CountedPoolBuilder<'static> {
        CountedPoolBuilder::new()
    }
}

impl Default for CountedPool {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<S: BlockSource> CountedPool<S> {
    fn make(
        shape: Shape,
        name: &'static str,
        created_at: &'static Location<'static>,
        account: Option<&Account>,
        wipe: bool,
        levels: Option<Levels>,
        source: S,
    ) -> Self {
        let watch = Watch::new(levels, shape.on_bad_free).now();
        let mut pool = Self {
            last: Cell::new(NO_WINDOW),
            active: Cell::new(ptr::null_mut()),
            end: Cell::new(NO_WINDOW),
            newest: Cell::new(0),
            shape,
            open: List::new(),
            empty: List::new(),
            known: Known::new(),
            taken: Cell::new(0),
            large: LargeObjects::new(),
            cleanups: Cleanups::new(),
            lasting: Lasting::new(),
            created_at,
            supply: Supply::new(name, source, account, wipe, watch),
        };
        if !watch.levels.is_none() {
            pool.shape.page = 0;
        }
        pool
    }

    /// A pool inside this one's life: with the same sizes, account and source, its own blocks,
    /// and dropped before this pool can be reset or dropped.
    ///
    /// ```
    /// use cenote::CountedPool;
    /// let connection = CountedPool::new();
    /// let stream = connection.child();
    /// let frame = stream.alloc([0_u8; 100]);
    /// assert_eq!((frame.len(), connection.live()), (100, 0));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn child(&self) -> CountedPool<&S> {
        let (account, wipe) = (self.supply.account(), self.supply.wipes());
        let (place, source) = (Location::caller(), self.supply.source());
        let levels = Some(self.supply.levels());
        CountedPool::make(self.shape, self.name(), place, account, wipe, levels, source)
    }

    /// The name that the builder gave it.
    pub fn name(&self) -> &'static str {
        self.supply.name()
    }

    /// What is looked for in it; see [`debug`](crate::debug).
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

    /// Bytes of each of its blocks.
    pub fn page_bytes(&self) -> usize {
        1 << self.shape.shift
    }

    /// Bytes that it holds: blocks, large objects, and its bookkeeping.
    pub fn held_bytes(&self) -> usize {
        let blocks = self.known.len() * self.page();
        blocks + self.large.held(&self.supply) + self.bookkeeping_bytes()
    }

    /// Bytes that objects take, padding included, and those that are freed but still lie in a
    /// block with other objects.
    pub fn used_bytes(&self) -> usize {
        self.save_window();
        let blocks: usize = self.blocks().map(|b| b.used() + b.packed(self.page())).sum();
        blocks + self.large.sizes().sum::<usize>()
    }

    /// How many objects are live, large ones included. Looks at every block.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// let one = pool.alloc(1);
    /// let many = pool.alloc([0_u8; 10_000]);
    /// assert_eq!(pool.live(), 2);
    /// drop((one, many));
    /// assert_eq!(pool.live(), 0);
    /// ```
    pub fn live(&self) -> usize {
        self.blocks().map(|block| block.live() as usize).sum::<usize>() + self.large.len()
    }

    /// Bytes for finding blocks and large objects, for cleanups, and for what is owned.
    pub(crate) fn bookkeeping_bytes(&self) -> usize {
        self.known.bytes(&self.supply) + self.large.table_bytes(&self.supply) + self.lasting.held()
    }

    pub(crate) fn large_sizes(&self) -> impl Iterator<Item = usize> {
        self.large.sizes()
    }

    pub(crate) fn pending_cleanups(&self) -> usize {
        self.cleanups.len()
    }

    /// The blocks, the oldest first.
    pub(crate) fn block_snapshots(&self) -> Vec<CountedBlockSnapshot> {
        self.save_window();
        let mut blocks: Vec<&Block> = self.blocks().collect();
        blocks.sort_unstable_by_key(|block| block.number());
        let snapshot = |block: &Block| CountedBlockSnapshot {
            size: self.page(),
            header: HEADER,
            used: block.used(),
            packed: block.packed(self.page()),
            free: block.room(),
            references: block.live() as usize,
            failures: block.failed(),
            current: ptr::eq(block, self.active.get()),
        };
        blocks.into_iter().map(snapshot).collect()
    }

    // ---- the end -------------------------------------------------------------------------

    /// Frees everything in the pool, and keeps blocks for what comes next.
    ///
    /// Cleanups run first, the newest first, and values given to [`CountedPool::own`] are
    /// dropped with them. Then large objects are freed, and every block is empty: as many are
    /// kept as the builder said, and the rest goes back to the source. A [`CountedBox`] that
    /// was forgotten is freed too, but its value is not dropped.
    ///
    /// ```
    /// use cenote::{CountedBox, CountedPool};
    /// let mut pool = CountedPool::new();
    /// for n in 0..100 {
    ///     CountedBox::leak(pool.alloc([n; 64]));
    /// }
    /// assert_eq!(pool.snapshot().references(), 100);
    /// pool.reset();
    /// assert_eq!(pool.snapshot().references(), 0);
    /// ```
    ///
    /// # Panics
    /// With the first panic of a cleanup, after everything is done.
    pub fn reset(&mut self) {
        let panicked = self.run_cleanups();
        let inside = self.supply.inside();
        self.free_apart(true);
        self.open.clear();
        self.empty.clear();
        self.no_window();
        for block in self.known.iter() {
            // SAFETY: blocks are taken off their lists before they are given back.
            unsafe { self.empty.push(block, Place::Empty) };
        }
        while self.empty.len() > self.shape.keep as usize + 1 {
            let Some(block) = self.empty.pop() else { break };
            // SAFETY: known and on no list; nothing in it is borrowed.
            unsafe { self.give_block(block) };
        }
        for block in self.empty.iter() {
            if let Some(block) = self.block(block.as_ptr()) {
                block.rewind(self.page(), self.supply.wipes());
            }
        }
        if let Some(block) = self.empty.pop() {
            self.activate(block);
        }
        drop(inside);
        panicked.resume();
    }

    /// Frees what is in no block, after the cleanups.
    fn free_apart(&mut self, goes_on: bool) {
        if goes_on {
            self.large.empty(&self.supply);
        } else {
            self.large.free_all(&self.supply);
        }
        self.lasting.free_all(&self.supply);
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

    fn run_cleanups(&self) -> Panicked {
        if self.cleanups.is_empty() {
            return Panicked::none();
        }
        // SAFETY: the pool of this list, whole and borrowed here.
        unsafe { self.cleanups.run_all(self.erased()) }
    }

    fn erased(&self) -> PoolPtr {
        NonNull::from(self).cast()
    }

    /// The window of a pool without an active block.
    fn no_window(&self) {
        self.active.set(ptr::null_mut());
        self.last.set(NO_WINDOW);
        self.end.set(NO_WINDOW);
        self.newest.set(0);
    }
}

impl<S: BlockSource> Drop for CountedPool<S> {
    fn drop(&mut self) {
        // Cleanups are no part of the operation: they find the pool whole.
        let panicked = self.run_cleanups();
        let inside = self.supply.inside();
        self.free_apart(false);
        for block in self.known.iter() {
            // SAFETY: taken with this layout; nothing in it is borrowed any more, and the
            // pool forgets it below.
            unsafe { self.supply.give(block.cast(), self.layout_of_block()) };
        }
        self.known.clear(&self.supply);
        drop(inside);
        panicked.resume();
    }
}

impl<S: BlockSource> fmt::Debug for CountedPool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedPool")
            .field("name", &self.name())
            .field("held_bytes", &self.held_bytes())
            .field("used_bytes", &self.used_bytes())
            .field("blocks", &self.known.len())
            .field("live", &self.live())
            .field("cleanups", &self.cleanups.len())
            .finish_non_exhaustive()
    }
}

/// The address of an object without bytes.
fn dangling(align: usize) -> NonNull<u8> {
    NonNull::new(ptr::without_provenance_mut(align)).unwrap_or(NonNull::dangling())
}

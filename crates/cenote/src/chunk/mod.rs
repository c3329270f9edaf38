//! [`ChunkPool`]: objects that are freed one by one.
//!
//! Files: this one has the pool's value, the way to a chunk and back, and its end; `config`
//! how it is set up; `geometry` the arithmetic of sizes and places; `cluster` the blocks and
//! `page` the descriptors in them; `slot` the chunks of one size; `freeing` what is done where
//! a free is not a matter of a few instructions; `stack` the newest frees of chunks, `recent`
//! those of objects somewhat larger than a page; `layouts` what callers allocate with;
//! `cleanups` what runs at the end; `map` what snapshots show; `list` links between what lies in
//! clusters.

mod cleanups;
mod cluster;
mod config;
mod freeing;
mod geometry;
mod layouts;
mod list;
mod map;
mod page;
mod recent;
mod slot;
mod stack;
mod trim;

pub use config::ChunkPoolConfig;

use crate::account::Account;
use crate::cleanup::{Cleanups, Panicked, PoolPtr};
use crate::debug::{Levels, Watch};
use crate::error::{Hush, Mode, Quiet};
use crate::large::LargeObjects;
use crate::misuse::OnBadFree;
use crate::placed::Placed;
use crate::seats::Seats;
use crate::supply::Supply;
use crate::{AllocError, BlockSource, Blocks, debug, told};
use cluster::Clusters;
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::panic::Location;
use core::ptr::NonNull;
use geometry::{Class, Geometry, MAX_CLASSES};
use page::Page;
use recent::Recent;
use slot::Slot;
use stack::{DEPTH, Stack};

/// Memory for objects that come and go: tables, caches, sessions of a worker.
///
/// Each object can be freed by itself, and its memory is used for the next of about its size.
/// The pool takes *clusters* from its source and divides them into *pages*; a page has chunks
/// of one size, or one object. A page in which nothing is left can become one of another size,
/// and a cluster in which nothing is left goes back to the source, all but one.
///
/// The typed owner of an object is the `Box` of `allocator-api2`; other collections work as
/// well, since `&ChunkPool` is an allocator:
///
/// ```
/// use allocator_api2::{boxed::Box, vec::Vec};
/// use cenote::ChunkPool;
/// let pool = ChunkPool::new();
/// let session = Box::new_in([7_u8; 100], &pool);
/// let mut queue = Vec::new_in(&pool);
/// queue.extend(0..1000_u32);                  // outgrows its page on the way
/// assert_eq!(pool.stat().blocks, 2);          // one cluster, one large object
/// drop((session, queue));
/// assert!(pool.is_empty());
/// ```
///
/// # Sizes
///
/// | object of n bytes | gets |
/// |---|---|
/// | n up to half a page | a chunk of the next power of two (or of a class between, where the configuration has them) |
/// | n up to a page | a page |
/// | larger, or aligned to more than `page_alignment` | a block of its own from the source: a large object |
/// | 2^32 - 1 or more | an error |
///
/// An object without bytes gets a chunk like any other, with an address of its own, and is to
/// be freed. A chunk is aligned to its size or to `page_alignment`, whichever is less; a chunk
/// between powers of two, and a large object, to 16, or to what was asked for.
/// [`ChunkPoolConfig`] has the sizes, and the reasons for those that are the default.
///
/// # Freeing
///
/// [`ChunkPool::dealloc`] is told the layout, as by collections, and takes it on trust: about
/// twenty instructions, which look nothing up and touch neither the object nor what is known
/// of its page.
/// [`ChunkPool::free`] is told the address alone, and notices in every build if there is no
/// object of this pool.
///
/// # What it costs
///
/// An allocation and its free by layout take about 42 instructions together while such chunks
/// come and go; where thousands are allocated first and then freed, about 200. A free by
/// address takes about a hundred more. A pool's value has about 6 KB, and needs no memory
/// until something is allocated. Of a cluster, 24 bytes for each page are descriptors.
///
/// # Failing, threads, what is not run
///
/// As for [`Pool`](crate::Pool): each method that allocates has a `try_` twin; a pool may be
/// sent to another thread, but not used by two at once; values in it are not dropped with it,
/// unless [`ChunkPool::own`] keeps them.
// Where fields lie: processors tell at first by the lowest twelve bits of an address whether a
// load wants what an earlier store has not yet written. Objects are aligned, and their first word
// is written most; a field that is loaded at each step must not have the same bits, or it waits
// for a store that it has nothing to do with. So the value is aligned to 16, and such fields are
// at odd multiples of 8. (It is not aligned to 64, as it once was: what follows the value, in
// whatever it is a field of, was then at the beginning of a line, and paid.)
#[repr(C)]
#[doc(alias = "slab")]
pub struct ChunkPool<S: BlockSource = Blocks> {
    geometry: Geometry,
    clusters: Clusters,
    /// The newest frees of each class.
    stacks: [Stack<DEPTH>; MAX_CLASSES],
    slots: [Slot; MAX_CLASSES],
    large: LargeObjects,
    /// The newest frees among those.
    recent: Recent,
    cleanups: Cleanups,
    /// Empty clusters that are kept back.
    keep: usize,
    /// Frees that each slot remembers.
    depth: usize,
    /// Whether there are clusters to be given back when all is free: more than are kept.
    watched: Cell<bool>,
    on_bad_free: OnBadFree,
    created_at: &'static Location<'static>,
    /// Those of cleanups that are spent.
    seats: Seats,
    supply: Supply<S>,
}

// SAFETY: everything behind the pointers belongs to this pool alone, and what runs at its end
// (`defer`, `own`) is `Send`. The supply's account may be left from any thread.
unsafe impl<S: BlockSource + Send> Send for ChunkPool<S> {}

/// What [`ChunkPool::stat`] tells, as the njs pool's `stat` does.
///
/// ```
/// use std::alloc::Layout;
/// let pool = cenote::ChunkPool::new();
/// pool.alloc_layout(Layout::new::<[u8; 100]>());
/// let stat = pool.stat();
/// assert_eq!((stat.blocks, stat.size), (1, stat.cluster_size));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ChunkPoolStat {
    /// Bytes of clusters with objects in them, and of large objects.
    pub size: usize,
    /// How many of both there are.
    pub blocks: usize,
    /// Bytes of a page.
    pub page_size: usize,
    /// Bytes of a cluster.
    pub cluster_size: usize,
}

impl ChunkPool {
    /// A pool with the default sizes, on no account.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self::with_defaults(None, Location::caller())
    }

    /// A pool with the default sizes that charges its clusters to `account`.
    ///
    /// ```
    /// use cenote::{Account, ChunkPool};
    /// let account = Account::root("cache").with_limit(Some(1 << 20));
    /// let pool = ChunkPool::on(&account);
    /// let entry = pool.alloc_layout(std::alloc::Layout::new::<[u64; 20]>());
    /// assert_eq!(account.held(), 65536);
    /// // SAFETY: from this pool, and not used any more.
    /// unsafe { pool.free(entry) }?;
    /// assert!(pool.is_empty());
    /// assert_eq!(account.held(), 65536);      // one cluster is kept back
    /// # Ok::<(), cenote::misuse::BadFree>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn on(account: &Account) -> Self {
        Self::with_defaults(Some(account), Location::caller())
    }

    fn with_defaults(account: Option<&Account>, place: &'static Location<'static>) -> Self {
        let mut config = ChunkPoolConfig::new();
        config.account = account;
        match config.geometry() {
            Ok(geometry) => Self::make(config, geometry, place),
            Err(error) => unreachable!("the defaults: {error}"),
        }
    }
}

impl Default for ChunkPool {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<S: BlockSource> ChunkPool<S> {
    fn make(
        config: ChunkPoolConfig<'_, S>,
        geometry: Geometry,
        created_at: &'static Location<'static>,
    ) -> Self {
        let slots = core::array::from_fn(|class| {
            Slot::new(geometry.classes().get(class).copied().unwrap_or(Class::NONE))
        });
        let watch = Watch::new(config.levels, config.on_bad_free).now();
        // What is to be overwritten when it is freed takes the other way.
        let depth = if config.wipe { 0 } else { config.depth };
        Self {
            geometry,
            clusters: Clusters::new(),
            stacks: [const { Stack::new() }; MAX_CLASSES],
            slots,
            large: LargeObjects::new(),
            recent: Recent::new(if watch.levels.is_none() { depth } else { 0 }),
            cleanups: Cleanups::new(),
            keep: config.keep,
            depth,
            watched: Cell::new(false),
            on_bad_free: config.on_bad_free,
            created_at,
            seats: Seats::new(),
            supply: Supply::new(config.name, config.source, config.account, config.wipe, watch),
        }
    }

    /// The name that the configuration gave it.
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

    /// The account that is charged for its clusters and large objects, if there is one.
    pub fn account(&self) -> Option<&Account> {
        self.supply.account()
    }

    /// The sizes of its chunks in bytes, up to half a page; larger objects get whole pages.
    pub fn chunk_sizes(&self) -> impl Iterator<Item = usize> + '_ {
        let classes = self.geometry.classes();
        classes[..classes.len() - 1].iter().map(|class| class.size as usize)
    }

    /// Bytes that it holds now: what it costs others. Clusters kept back, and the tables by
    /// which clusters and large objects are found, are among them.
    pub fn held_bytes(&self) -> usize {
        self.clusters.count() * self.cluster_bytes()
            + self.clusters.table_bytes(&self.supply)
            + self.large.held(&self.supply)
            + self.large.table_bytes(&self.supply)
    }

    /// What a cluster takes from the source.
    fn cluster_bytes(&self) -> usize {
        Clusters::bytes(&self.supply, &self.geometry)
    }

    /// Clusters and large objects in use, and the sizes. Clusters kept back do not show.
    ///
    /// ```
    /// use cenote::ChunkPool;
    /// use std::alloc::Layout;
    /// let pool = ChunkPool::new();
    /// pool.alloc_layout(Layout::new::<u64>());
    /// pool.alloc_layout(Layout::new::<[u8; 4096]>());
    /// let stat = pool.stat();
    /// assert_eq!((stat.blocks, stat.size), (2, 65536 + 4096));
    /// ```
    pub fn stat(&self) -> ChunkPoolStat {
        self.settle();
        let clusters = self.clusters.count() - self.clusters.kept();
        ChunkPoolStat {
            size: clusters * self.geometry.cluster_size + self.large.sizes().sum::<usize>(),
            blocks: clusters + self.large.len(),
            page_size: self.geometry.page_bytes(),
            cluster_size: self.geometry.cluster_size,
        }
    }

    /// Whether there is no object in it. A cluster kept back does not show.
    pub fn is_empty(&self) -> bool {
        !self.large.has_more_than(self.recent.count()) && self.has_no_chunks()
    }

    fn has_no_chunks(&self) -> bool {
        self.slots.iter().zip(&self.stacks).all(|(slot, stack)| slot.taken() == stack.count())
    }

    // ---- allocation ----------------------------------------------------------------------

    #[inline(always)]
    fn slot(&self, class: usize) -> &Slot {
        debug_assert!(class < MAX_CLASSES);
        // SAFETY: classes come from the geometry's table, or from pages that were opened with
        // one; all are below.
        unsafe { self.slots.get_unchecked(class) }
    }

    #[inline(always)]
    fn stack(&self, class: usize) -> &Stack<DEPTH> {
        debug_assert!(class < MAX_CLASSES);
        // SAFETY: as in `slot`.
        unsafe { self.stacks.get_unchecked(class) }
    }

    /// Objects of a class.
    fn live(&self, class: usize) -> usize {
        self.slot(class).taken() - self.stack(class).count()
    }

    /// Sets how many frees of a class are remembered before more is to be done: as many as
    /// the configuration says, but if the pool's last free is to be noticed, no more than
    /// leave an object in use; and none where none is taken.
    fn set_limit(&self, class: usize) {
        let taken = self.slot(class).taken();
        let watched = self.watched.get() || taken == 0;
        let most = if watched { taken.saturating_sub(1) } else { self.depth };
        self.stack(class).set_limit(self.depth.min(most));
    }

    /// Memory for an object.
    #[inline(always)]
    fn take<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        match self.take_chunk(layout) {
            Some(chunk) => Ok(chunk),
            None => self.take_cold::<M>(layout),
        }
    }

    /// [`ChunkPool::take`] for those who need not know why there is none: that fits a register.
    #[inline(always)]
    pub(crate) fn quiet_alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.take_chunk(layout).or_else(|| self.take_cold::<Quiet>(layout).ok())
    }

    /// A chunk that is free.
    #[inline(always)]
    fn take_chunk(&self, layout: Layout) -> Option<NonNull<u8>> {
        let class = self.usual_class_of(layout)?;
        let chunk = match self.stack(class).pop() {
            Some(chunk) => chunk,
            None => self.take_from_page(class)?,
        };
        debug::placed(chunk, layout.size().max(1));
        Some(chunk)
    }

    /// The class for objects of this layout, if they are of the usual kind.
    #[inline(always)]
    fn usual_class_of(&self, layout: Layout) -> Option<usize> {
        self.geometry.usual_class_of(debug::with_gap(layout.size()), layout.align())
    }

    /// The class for objects of this layout; `None`: large.
    #[inline(always)]
    fn class_of(&self, layout: Layout) -> Option<usize> {
        self.geometry.class_of(debug::with_gap(layout.size()), layout.align())
    }

    /// In builds for checkers: what only the gap behind it makes a large object is aligned as the
    /// chunk that it would be.
    #[inline(always)]
    fn aligned_as_a_chunk(&self, layout: Layout) -> Layout {
        if debug::gap() == 0 {
            return layout;
        }
        let class = self.geometry.class_of(layout.size(), layout.align());
        let align = class.map_or(1, |class| {
            let size = self.slot(class).class().size;
            self.geometry.alignment.min(1 << size.trailing_zeros())
        });
        layout.align_to(align).unwrap_or(layout)
    }

    /// No free chunk is remembered.
    #[inline(never)]
    fn take_from_page(&self, class: usize) -> Option<NonNull<u8>> {
        let stack = self.stack(class);
        let chunk = self.slot(class).take(&self.geometry, self.depth / 2, |more| {
            stack.push(more);
        })?;
        self.set_limit(class);
        Some(chunk)
    }

    /// No page of the class has a free chunk, or the object is not of the usual kind.
    #[cold]
    #[inline(never)]
    fn take_cold<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        let _inside = self.supply.inside_of_source();
        match self.class_of(layout) {
            Some(class) => self.take_colder(class, layout.size()),
            None => self.take_large(self.aligned_as_a_chunk(layout)),
        }
        .or_else(M::refuse)
    }

    /// [`ChunkPool::take`] for who has another way where it fails.
    #[inline]
    pub(crate) fn hush_alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.take::<Hush>(layout)
    }

    #[inline(never)]
    fn take_colder(&self, class: usize, size: usize) -> Result<NonNull<u8>, AllocError> {
        let chunk = match self.stack(class).pop().or_else(|| self.take_from_page(class)) {
            Some(chunk) => chunk,
            None => self.take_from_new_page(class)?,
        };
        debug::placed(chunk, size.max(1));
        Ok(chunk)
    }

    /// No page of this class has a free chunk.
    fn take_from_new_page(&self, class: usize) -> Result<NonNull<u8>, AllocError> {
        let _inside = told::inside(true);
        let slot = self.slot(class);
        let page = self.free_page()?;
        page.open(class, slot.class().all());
        slot.set_current(page, &self.geometry);
        self.take_from_page(class).ok_or(AllocError::out_of_memory(self.geometry.page_size))
    }

    /// A page in which nothing is, if need be of a new cluster.
    fn free_page(&self) -> Result<Placed<Page>, AllocError> {
        let geometry = &self.geometry;
        if let Some(page) = self.clusters.take_page(geometry) {
            return Ok(page);
        }
        // What is remembered of other classes may be all that is in their pages.
        self.settle();
        if let Some(page) = self.clusters.take_page(geometry) {
            return Ok(page);
        }
        if let Some(page) = self.clusters.take_kept_page(geometry) {
            return Ok(page);
        }
        let page = self.clusters.add(&self.supply, geometry)?;
        self.watch();
        Ok(page)
    }

    // ---- the end -------------------------------------------------------------------------

    /// Frees everything in the pool, and keeps as many clusters as it keeps when it is empty.
    ///
    /// Cleanups run first, the newest first, and values given to [`ChunkPool::own`] are
    /// dropped with them.
    ///
    /// # Panics
    /// With the first panic of a cleanup, after everything is done.
    pub fn reset(&mut self) {
        let panicked = self.run_cleanups();
        let inside = self.supply.inside();
        self.seats.forget();
        self.recent.clear();
        self.large.empty(&self.supply);
        for (slot, stack) in self.slots.iter().zip(&self.stacks) {
            slot.clear();
            stack.clear();
        }
        self.clusters.empty_all(self.keep, &self.supply, &self.geometry);
        self.watch();
        drop(inside);
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

    fn run_cleanups(&self) -> Panicked {
        // SAFETY: the pool of this list, whole and borrowed here.
        unsafe { self.cleanups.run_all(self.erased()) }
    }

    fn erased(&self) -> PoolPtr {
        NonNull::from(self).cast()
    }
}

impl<S: BlockSource> Drop for ChunkPool<S> {
    fn drop(&mut self) {
        let panicked = self.run_cleanups();
        let inside = self.supply.inside();
        self.large.free_all(&self.supply);
        self.clusters.give_all(&self.supply, &self.geometry);
        drop(inside);
        panicked.resume();
    }
}

/// A pool's memory as another pool's source: a block is an object here, and is freed as one.
// SAFETY: objects stay in place while the pool is borrowed, as it is by the source, and are
// nobody else's until they are freed. Nothing is told before the operation of the pool that stands
// on this one is over.
unsafe impl<S: BlockSource> BlockSource for ChunkPool<S> {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.hush_alloc(layout)
    }

    #[inline]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: it came from `acquire` with this layout.
        unsafe { self.dealloc(block, layout) }
    }

    #[inline]
    fn fit(&self, layout: Layout) -> usize {
        match self.class_of(layout) {
            Some(class) => self.slot(class).class().size as usize - debug::gap(),
            None => self.supply.fit(layout),
        }
    }
}

impl<S: BlockSource> fmt::Debug for ChunkPool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkPool")
            .field("name", &self.name())
            .field("held_bytes", &self.held_bytes())
            .field("clusters", &self.clusters.count())
            .field("kept", &self.clusters.kept())
            .field("large", &(self.large.len() - self.recent.count()))
            .field("cleanups", &self.cleanups.len())
            .finish_non_exhaustive()
    }
}

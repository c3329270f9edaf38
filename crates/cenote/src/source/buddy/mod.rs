//! [`Buddy`]: a region of memory in pages, split and merged by powers of two.
//!
//! Files: `orders` is the arithmetic; `region` the memory with its free lists, where all
//! unsafe code of the algorithm is; `builder` how one is set up; `watched` what a level changes;
//! this one what users call.

mod builder;
mod orders;
mod region;
mod watched;

pub use builder::{BuddyBuilder, RegionError};

use crate::misuse::{BadFree, BadFreeKind, OnBadFree};
use crate::source::System;
use crate::supply::Supply;
use crate::{AllocError, BlockSource, ConfigError, told};
use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::panic::Location;
use core::ptr::NonNull;
use region::Region;
use watched::Watched;

/// Pages of one region, given out in blocks of a power of two of them.
///
/// A block of order `k` has `2^k` pages and is aligned to its own size in memory. Taking one
/// splits the smallest free block that is large enough; giving it back joins it with its
/// buddy, the other half of the block that it was split from, as long as that is free too.
/// So when everything has come back, the region is whole again, whatever happened before.
///
/// A region may be any memory: [`Buddy::heap`] takes one from the global allocator,
/// [`Buddy::over`] a slice, such as a static one, [`Buddy::mapped`] what the caller mapped.
/// Nothing else is allocated: the bookkeeping, a byte for each page and 16 for each order,
/// stands at one end of the region, and the links of free blocks in those blocks. A region
/// that is no power of two long, or not aligned, is covered by the largest aligned blocks
/// that fit.
///
/// ```
/// use cenote::{Buddy, Pool};
///
/// // A cache that never has more than 1 MiB, whatever its pools do.
/// let buddy = Buddy::heap(1 << 20)?;
/// let pool = Pool::builder().source(&buddy).build()?;
/// pool.alloc_str("in the region");
/// assert_eq!(buddy.used_bytes(), 4096);
/// assert!(pool.try_alloc_zeroed_bytes(2 << 20).is_err());
/// drop(pool);
/// assert_eq!(buddy.largest_free(), 1 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it costs
///
/// A block takes its size rounded up to a power of two of pages, at least one page. Finding
/// one is a look at a word; a split or a join is a handful of instructions for each order in
/// between, so both directions take time in the logarithm of the region. Memory of free
/// blocks is not touched but for two words at their beginning.
///
/// # Bad frees
///
/// [`Buddy::free`], by pointer alone, and [`BlockSource::release`] notice every bad free, in
/// release builds too: an address outside the region, inside a block, of a free block, in the
/// bookkeeping, or (`release`) of a block with another order. Nothing has changed then; what
/// is done about it is said by [`BuddyBuilder::on_bad_free`].
///
/// # Threads and the end
///
/// A `Buddy` may be sent to another thread, not used by two at once; a
/// [`Locked`](crate::Locked) one may. Dropping it gives a heap region back, whether all blocks
/// have come back or not. Pools over `&Buddy` cannot outlive it, which the compiler checks;
/// whoever acquires blocks by hand has to see to that.
pub struct Buddy<'r, S: BlockSource = System> {
    region: Region,
    watched: Option<Watched>,
    on_bad_free: OnBadFree,
    name: &'static str,
    created_at: &'static Location<'static>,
    /// After the region, which is used until it is dropped.
    _owned: Option<Owned<S>>,
    borrowed: PhantomData<&'r mut [MaybeUninit<u8>]>,
}

// SAFETY: the region's memory is used through this value alone, and the source of an owned
// region may be sent.
unsafe impl<S: BlockSource + Send> Send for Buddy<'_, S> {}

/// A region that was taken from a source.
struct Owned<S: BlockSource> {
    memory: NonNull<u8>,
    layout: Layout,
    supply: Supply<S>,
}

impl<S: BlockSource> Drop for Owned<S> {
    fn drop(&mut self) {
        // SAFETY: taken from this supply with this layout, and given back once, here. Nobody
        // uses the region any more: what is in it borrows the `Buddy`, or its user promised.
        unsafe { self.supply.give(self.memory, self.layout) };
    }
}

impl Buddy<'static> {
    /// A region of its own from the global allocator, with `bytes` bytes of 4 KiB pages; the
    /// bookkeeping comes on top. What is no whole page of `bytes` is left out.
    ///
    /// The region is aligned to the largest power of two in `bytes`, so that one of a power of
    /// two is a single free block. Allocators reach such an alignment by reserving addresses
    /// of up to twice the size; [`BuddyBuilder::largest_block`] bounds it.
    ///
    /// # Errors
    /// [`RegionError::Config`] where `bytes` is less than a page or more than any region can
    /// have, [`RegionError::Alloc`] where there is no such memory to be had.
    ///
    /// ```
    /// let buddy = cenote::Buddy::heap(24 << 10)?;
    /// assert_eq!(buddy.bytes(), 24 << 10);
    /// assert_eq!(buddy.largest_free(), 16 << 10);
    /// assert!(cenote::Buddy::heap(100).is_err());
    /// # Ok::<(), cenote::RegionError>(())
    /// ```
    #[track_caller]
    pub fn heap(bytes: usize) -> Result<Self, RegionError> {
        Self::builder().heap(bytes)
    }

    /// Sets up a page size, a largest block, a name, an account, a policy or a source.
    pub fn builder() -> BuddyBuilder<'static> {
        BuddyBuilder::new()
    }
}

impl<'r> Buddy<'r> {
    /// Pages of 4 KiB in memory that is lent to it: a buffer, a static, a part of another
    /// region. Edges that make no whole page are left out.
    ///
    /// # Errors
    /// Where the region has no room for one aligned page and its bookkeeping.
    ///
    /// ```
    /// use cenote::Buddy;
    /// use std::mem::MaybeUninit;
    ///
    /// let mut memory = vec![MaybeUninit::uninit(); 100_000];
    /// let buddy = Buddy::over(&mut memory)?;
    /// assert_eq!(buddy.page(), 4096);
    /// assert!(buddy.bytes() >= 22 * 4096);
    /// assert!(buddy.bytes() + buddy.bookkeeping_bytes() <= 100_000);
    /// # Ok::<(), cenote::ConfigError>(())
    /// ```
    #[track_caller]
    pub fn over(region: &'r mut [MaybeUninit<u8>]) -> Result<Self, ConfigError> {
        Buddy::builder().over(region)
    }

    /// Pages of 4 KiB in memory that the caller mapped, or has otherwise, for as long as `'r`.
    ///
    /// # Errors
    /// As for [`Buddy::over`].
    ///
    /// # Safety
    /// For all of `'r`, the `bytes` bytes at `start` lie in one allocation or mapping, are
    /// valid for reads and writes, and are used by nobody but this value and those who have
    /// blocks of it.
    ///
    /// ```
    /// use cenote::Buddy;
    /// use std::{alloc, ptr::NonNull};
    ///
    /// let layout = alloc::Layout::from_size_align(1 << 20, 4096)?;
    /// // SAFETY: the layout has a size.
    /// let start = NonNull::new(unsafe { alloc::alloc(layout) }).unwrap();
    /// // SAFETY: just allocated, and not freed or used before the pages are done with.
    /// let buddy = unsafe { Buddy::mapped(start, 1 << 20) }?;
    /// assert_eq!(buddy.bytes(), (1 << 20) - 4096);    // one page went to the bookkeeping
    /// drop(buddy);
    /// // SAFETY: allocated above with this layout.
    /// unsafe { alloc::dealloc(start.as_ptr(), layout) };
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub unsafe fn mapped(start: NonNull<u8>, bytes: usize) -> Result<Self, ConfigError> {
        // SAFETY: the caller's promise, passed on.
        unsafe { Buddy::builder().mapped(start, bytes) }
    }
}

impl<S: BlockSource> Buddy<'_, S> {
    /// Frees a block by its pointer alone, and tells how many bytes it had.
    ///
    /// # Errors
    /// Where no block in use begins at `block`: nothing has changed. The default policy aborts
    /// the process instead; see [`BuddyBuilder::on_bad_free`].
    ///
    /// # Safety
    /// If a block in use begins there, the caller is who it was given to, and nobody uses it
    /// afterwards. Any other address is allowed.
    ///
    /// ```
    /// use cenote::{BlockSource, Buddy};
    /// use cenote::misuse::{BadFreeKind, OnBadFree};
    /// use std::alloc::Layout;
    ///
    /// let buddy = Buddy::builder().on_bad_free(OnBadFree::Return).heap(1 << 20)?;
    /// let block = buddy.acquire(Layout::new::<[u8; 10_000]>())?;
    /// // SAFETY: just acquired, and not used any more.
    /// assert_eq!(unsafe { buddy.free(block) }, Ok(16384));
    /// // SAFETY: no block in use begins there.
    /// let error = unsafe { buddy.free(block) }.unwrap_err();
    /// assert_eq!(error.kind(), BadFreeKind::Double);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn free(&self, block: NonNull<u8>) -> Result<usize, BadFree> {
        match self.region.used_at(block.addr().get()) {
            Ok((index, order)) => {
                // SAFETY: the tag was just read; the caller's promise: nobody uses the memory.
                unsafe { self.region.give(index, order) };
                Ok(self.region.orders().bytes(order))
            }
            Err(error) => self.free_cold(block, error),
        }
    }

    /// How many bytes the block that begins at this address has; `None` where no block in use
    /// does. To use all of them, ask for as many ([`BlockSource::fit`] tells before): what was not
    /// asked for is forbidden ground to checkers, and looked at by levels (see
    /// [`debug`](crate::debug)).
    ///
    /// ```
    /// use cenote::{BlockSource, Buddy};
    /// let buddy = Buddy::heap(1 << 20)?;
    /// let layout = std::alloc::Layout::new::<[u8; 5000]>();
    /// let block = buddy.acquire(layout)?;
    /// assert_eq!(buddy.capacity(block), Some(8192));
    /// // SAFETY: acquired with this layout.
    /// unsafe { buddy.release(block, layout) };
    /// assert_eq!(buddy.capacity(block), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity(&self, block: NonNull<u8>) -> Option<usize> {
        let (_, order) = match &self.watched {
            None => self.region.used_at(block.addr().get()).ok()?,
            Some(_) => self.watched_in_use(block.addr().get())?,
        };
        Some(self.region.orders().bytes(order))
    }

    /// What reports and snapshots call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it was made.
    pub fn created_at(&self) -> &'static Location<'static> {
        self.created_at
    }

    /// Bytes of a page, the smallest block.
    pub fn page(&self) -> usize {
        self.region.orders().page()
    }

    /// Bytes of all pages, used and free. The bookkeeping, and edges of the region that make
    /// no whole page, are not counted.
    pub fn bytes(&self) -> usize {
        self.region.orders().offset(self.region.orders().frames())
    }

    /// Bytes in blocks that are out, rounded up as they are.
    pub fn used_bytes(&self) -> usize {
        self.bytes() - self.free_bytes()
    }

    /// Bytes in free blocks.
    pub fn free_bytes(&self) -> usize {
        self.region.orders().offset(self.region.free_frames())
    }

    /// Bytes of the largest free block: the most that can be acquired now. 0 with none.
    pub fn largest_free(&self) -> usize {
        self.region.largest_free().map_or(0, |order| self.region.orders().bytes(order))
    }

    /// Bytes of the largest block that this region can have, when all of it is free.
    pub fn largest_block(&self) -> usize {
        self.region.orders().bytes(self.region.orders().top())
    }

    /// Bytes of bookkeeping in the region.
    pub fn bookkeeping_bytes(&self) -> usize {
        self.region.bookkeeping_bytes()
    }

    /// The block sizes in bytes with how many blocks of each are free, the smallest first.
    ///
    /// ```
    /// let buddy = cenote::Buddy::heap(28 << 10)?;
    /// let orders: Vec<_> = buddy.orders().collect();
    /// assert_eq!(orders, [(4 << 10, 1), (8 << 10, 1), (16 << 10, 1)]);
    /// # Ok::<(), cenote::RegionError>(())
    /// ```
    pub fn orders(&self) -> impl Iterator<Item = (usize, usize)> {
        let orders = self.region.orders();
        (0..=orders.top()).map(move |order| (orders.bytes(order), self.region.free_blocks(order)))
    }

    /// Every block by address: its offset from the first page, its bytes, and whether it is
    /// free.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (usize, usize, bool)> {
        let orders = self.region.orders();
        self.region
            .blocks()
            .map(move |(index, order, free)| (orders.offset(index), orders.bytes(order), free))
    }

    /// A free of something that is no block in use, but in a watched region.
    #[cold]
    #[inline(never)]
    fn free_cold(&self, block: NonNull<u8>, error: BadFree) -> Result<usize, BadFree> {
        let _inside = told::inside(true);
        let freed = self.free_watched(block.addr().get(), None).unwrap_or(Err(error));
        freed.map_err(|error| self.on_bad_free.meet(self.name, error))
    }

    /// A release of something that is no block of that layout, or in a watched region.
    #[cold]
    #[inline(never)]
    fn bad_release(&self, block: NonNull<u8>, layout: Layout) {
        let _inside = told::inside(true);
        let address = block.addr().get();
        let order = self.region.orders().order_of(layout.size(), layout.align());
        // No order is so large: a layout that no block can have is a wrong one.
        let error = match self.free_watched(address, Some(order.unwrap_or(u32::MAX))) {
            Some(Ok(_)) => return,
            Some(Err(error)) => error,
            None => match self.region.used_at(address) {
                Ok(_) => BadFree::new(BadFreeKind::Layout, address),
                Err(error) => error,
            },
        };
        self.on_bad_free.meet(self.name, error);
    }
}

// SAFETY: a block comes off the free lists, so it lies in the region, is aligned to its size,
// and is no one else's until it goes back there. The region is valid for as long as the value
// lives (`'r`, or owned), and lies outside of it, so that it may be moved. Nothing unwinds.
unsafe impl<S: BlockSource> BlockSource for Buddy<'_, S> {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.region
            .orders()
            .order_of(layout.size(), layout.align())
            .and_then(|order| self.region.take(order, layout.size()))
            .map_or_else(|| self.acquire_cold(layout), Ok)
    }

    #[inline]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let order = self.region.orders().order_of(layout.size(), layout.align());
        let address = block.addr().get();
        match order.and_then(|order| Some((self.region.is_used(address, order)?, order))) {
            // SAFETY: the tag was just read; the caller's promise: nobody uses the memory.
            Some((index, order)) => unsafe { self.region.give(index, order) },
            None => self.bad_release(block, layout),
        }
    }

    /// The block's size: a power of two of pages.
    #[inline]
    fn fit(&self, layout: Layout) -> usize {
        let orders = self.region.orders();
        match orders.order_of(layout.size(), layout.align()) {
            Some(order) => orders.bytes(order),
            None => layout.size(),
        }
    }
}

impl<S: BlockSource> Drop for Buddy<'_, S> {
    fn drop(&mut self) {
        self.end_watched();
        self.region.unmark();
    }
}

impl<S: BlockSource> fmt::Debug for Buddy<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buddy")
            .field("name", &self.name)
            .field("page", &self.page())
            .field("bytes", &self.bytes())
            .field("free_bytes", &self.free_bytes())
            .field("largest_free", &self.largest_free())
            .finish_non_exhaustive()
    }
}

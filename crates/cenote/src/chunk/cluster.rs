//! [`Clusters`]: the blocks that pages are in; which of them are this pool's, which have free
//! pages, which are empty and kept back.
//!
//! A cluster is found by its address alone: nothing is read at an address that a caller gave
//! before the cluster there is known to be the pool's, and what is read then is read through
//! the pool's own pointer to it, since the caller's may be good for one object only.

use super::geometry::Geometry;
use super::list::{Linked, Links, List};
use super::page::Page;
use crate::supply::Supply;
use crate::table::{Table, mix};
use crate::{AllocError, BlockSource, debug};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// Bytes of a cluster's header, and of a page's descriptor.
pub(super) const HEADER: usize = size_of::<Header>();
pub(super) const DESCRIPTOR: usize = size_of::<Page>();

/// Begins the descriptors of a cluster.
#[repr(C)]
pub(super) struct Header {
    links: Links<Header>,
    /// The cluster, good for all of its block. Twice: the slots of a pool's only cluster.
    start: [NonNull<u8>; 2],
    /// A bit for each page: set if it is free.
    free: [Cell<u64>; 4],
    used: Cell<u32>,
}

impl Linked for Header {
    #[inline(always)]
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

const _: () = assert!(align_of::<Header>() <= 64 && align_of::<Page>() <= align_of::<Header>());
const _: () = assert!(size_of::<Header>().is_multiple_of(align_of::<Page>()));

impl Header {
    fn set_all_free(&self, pages: u32) {
        for (index, word) in self.free.iter().enumerate() {
            let here = pages.saturating_sub(64 * index as u32).min(64);
            word.set(if here == 0 { 0 } else { u64::MAX >> (64 - here) });
        }
        self.used.set(0);
    }

    /// A free page, which is not free any more.
    fn take_page(&self) -> Option<usize> {
        for (index, word) in self.free.iter().enumerate() {
            let free = word.get();
            if free != 0 {
                word.set(free & (free - 1));
                self.used.set(self.used.get() + 1);
                return Some(64 * index + free.trailing_zeros() as usize);
            }
        }
        None
    }

    fn put_page(&self, number: usize) {
        let word = &self.free[number / 64 % 4];
        word.set(word.get() | 1 << (number % 64));
        self.used.set(self.used.get() - 1);
    }
}

/// A pointer to a cluster's first byte, good for all of its block.
pub(super) type Cluster = NonNull<u8>;

/// The slots of a pool without clusters.
static NONE: Slots = Slots([const { ptr::null_mut() }; 2]);

struct Slots([*mut u8; 2]);

// SAFETY: only read, and the pointers lead nowhere.
unsafe impl Sync for Slots {}

/// The clusters of one pool.
pub(super) struct Clusters {
    /// Where clusters are looked for first, each at its home: the table's slots, those of the
    /// only cluster, or of none. Never null.
    slots: Cell<*const *mut u8>,
    /// By how much to shift a mixed address to number them.
    shift: Cell<u32>,
    /// The cluster of a pool that has one; null with none, or more.
    only: Cell<*mut u8>,
    /// All clusters, where there is more than one.
    table: Table<*mut u8>,
    /// Those with free pages and others.
    open: List<Header>,
    /// Those with nothing in them.
    kept: List<Header>,
    kept_count: Cell<u32>,
    count: Cell<u32>,
}

impl Clusters {
    pub(super) const fn new() -> Self {
        Self {
            slots: Cell::new((&raw const NONE.0).cast()),
            shift: Cell::new(63),
            only: Cell::new(ptr::null_mut()),
            table: Table::new(),
            open: List::new(),
            kept: List::new(),
            kept_count: Cell::new(0),
            count: Cell::new(0),
        }
    }

    /// All of them, those kept back included.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count.get() as usize
    }

    pub(super) fn kept(&self) -> usize {
        self.kept_count.get() as usize
    }

    pub(super) fn table_bytes<S: BlockSource>(&self, supply: &Supply<S>) -> usize {
        self.table.bytes(supply)
    }

    /// The cluster at this address, which is a multiple of a cluster's alignment, if that is at
    /// its home (see [`Clusters::find`]); otherwise what is there, which has another address.
    /// Null has its own home.
    #[inline(always)]
    fn at_home(&self, address: usize) -> *mut u8 {
        let home = (mix(address) >> self.shift.get()) as usize;
        // SAFETY: `slots` has as many as the shift leaves numbers for.
        let slot = unsafe { self.slots.get().add(home) };
        // SAFETY: likewise; all were written.
        unsafe { slot.read() }
    }

    /// The cluster at this address, if it is one.
    #[inline]
    pub(super) fn find(&self, address: usize) -> Option<Cluster> {
        let cluster = self.at_home(address);
        if cluster.addr() == address {
            return NonNull::new(cluster);
        }
        self.table.find(address).and_then(NonNull::new)
    }

    /// After the table or the only cluster has changed.
    fn set_slots(&self, geometry: &Geometry) {
        let (slots, shift) = self.table.slots();
        if self.table.len() != 0 {
            self.slots.set(slots);
            return self.shift.set(shift);
        }
        self.shift.set(63);
        self.slots.set(match NonNull::new(self.only.get()) {
            // SAFETY: the field of a header, which stays as long as the cluster does.
            Some(only) => unsafe {
                (&raw const (*Self::header_at(only, geometry).as_ptr()).start).cast()
            },
            None => (&raw const NONE.0).cast(),
        });
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Cluster> + '_ {
        NonNull::new(self.only.get()).into_iter().chain(self.table.iter().filter_map(NonNull::new))
    }

    // ---- a cluster's parts ---------------------------------------------------------------

    #[inline(always)]
    fn header_at(cluster: Cluster, geometry: &Geometry) -> NonNull<Header> {
        // SAFETY: the header is in the cluster's block, and so are the descriptors behind it.
        unsafe { cluster.add(geometry.header_at) }.cast()
    }

    /// The descriptor of a page of a cluster of this pool.
    #[inline(always)]
    pub(super) fn page(cluster: Cluster, number: usize, geometry: &Geometry) -> NonNull<Page> {
        debug_assert!(number < geometry.pages as usize);
        // SAFETY: descriptors follow the header, one for each page.
        unsafe { cluster.add(geometry.header_at + HEADER + number * DESCRIPTOR) }.cast()
    }

    /// The cluster that a page of this pool is in, and where the page begins.
    #[inline(always)]
    pub(super) fn place_of(page: NonNull<Page>, geometry: &Geometry) -> (Cluster, NonNull<u8>) {
        // SAFETY: a descriptor in a cluster of this pool.
        let number = unsafe { page.as_ref() }.number();
        let before = geometry.header_at + HEADER + number * DESCRIPTOR;
        // SAFETY: so far into the cluster is where the descriptor is.
        let cluster = unsafe { page.cast::<u8>().sub(before) };
        // SAFETY: the page is in the cluster.
        let start = unsafe { cluster.add(geometry.offset_of(number)) };
        (cluster, start)
    }

    fn header(&self, header: NonNull<Header>) -> &Header {
        // SAFETY: the header of a cluster of this pool; those who give clusters back hold no
        // reference to them.
        unsafe { header.as_ref() }
    }

    pub(super) fn used_pages(&self, cluster: Cluster, geometry: &Geometry) -> usize {
        self.header(Self::header_at(cluster, geometry)).used.get() as usize
    }

    // ---- pages ---------------------------------------------------------------------------

    /// A free page of a cluster that is in use.
    #[inline]
    pub(super) fn take_page(&self, geometry: &Geometry) -> Option<NonNull<Page>> {
        let cluster = self.open.first()?;
        self.take_page_of(cluster, geometry)
    }

    /// A free page of a cluster that was kept back.
    pub(super) fn take_kept_page(&self, geometry: &Geometry) -> Option<NonNull<Page>> {
        let cluster = self.kept.pop()?;
        self.kept_count.set(self.kept_count.get() - 1);
        // SAFETY: a cluster of this pool, on no list now.
        unsafe { self.open.push(cluster) };
        self.take_page_of(cluster, geometry)
    }

    fn take_page_of(&self, cluster: NonNull<Header>, geometry: &Geometry) -> Option<NonNull<Page>> {
        let header = self.header(cluster);
        let number = header.take_page()?;
        if header.used.get() == geometry.pages {
            // SAFETY: it had a free page, so it was on this list.
            unsafe { self.open.remove(cluster) };
        }
        Some(Self::page(header.start[0], number, geometry))
    }

    /// Makes a page free that nothing is in, and which is on no list. What becomes of its
    /// cluster then: it is returned if it is one too many.
    pub(super) fn put_page(
        &self,
        page: NonNull<Page>,
        keep: usize,
        geometry: &Geometry,
    ) -> Option<Cluster> {
        let (start, _) = Self::place_of(page, geometry);
        // SAFETY: a descriptor in a cluster of this pool.
        let page = unsafe { page.as_ref() };
        page.close();
        let cluster = Self::header_at(start, geometry);
        let header = self.header(cluster);
        let was_full = header.used.get() == geometry.pages;
        header.put_page(page.number());
        if header.used.get() != 0 {
            if was_full {
                // SAFETY: full ones are on no list.
                unsafe { self.open.push(cluster) };
            }
            return None;
        }
        if !was_full {
            // SAFETY: it had free pages and others, so it was on this list.
            unsafe { self.open.remove(cluster) };
        }
        if self.kept() >= keep {
            return Some(start);
        }
        self.kept_count.set(self.kept_count.get() + 1);
        // SAFETY: a cluster of this pool, on no list now.
        unsafe { self.kept.push(cluster) };
        None
    }

    // ---- clusters ------------------------------------------------------------------------

    /// The layout that a cluster is taken with: all that the source would spend on it.
    pub(super) fn layout<S: BlockSource>(
        supply: &Supply<S>,
        geometry: &Geometry,
    ) -> Result<Layout, AllocError> {
        let too_large = |_| AllocError::too_large(geometry.block);
        let least =
            Layout::from_size_align(geometry.block, geometry.block_align).map_err(too_large)?;
        Layout::from_size_align(supply.fit(least), geometry.block_align).map_err(too_large)
    }

    /// Takes a cluster, and a page of it.
    #[cold]
    pub(super) fn add<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        geometry: &Geometry,
    ) -> Result<NonNull<Page>, AllocError> {
        if self.count.get() > 0 {
            // Before the cluster, so that its failure leaves nothing to undo.
            self.table.reserve(supply)?;
            self.set_slots(geometry);
        }
        let start = match Self::layout(supply, geometry).and_then(|layout| supply.take(layout)) {
            Ok(start) => start,
            Err(error) => {
                self.tidy(supply, geometry);
                return Err(error);
            }
        };
        let cluster = self.enter(start, geometry);
        // SAFETY: a cluster of this pool, on no list yet.
        unsafe { self.open.push(cluster) };
        self.take_page_of(cluster, geometry).ok_or(AllocError::out_of_memory(geometry.block))
    }

    /// Makes a block a cluster in which nothing is, and the pool's; for another one than the
    /// first, the table has room.
    fn enter(&self, start: NonNull<u8>, geometry: &Geometry) -> NonNull<Header> {
        let cluster = Self::header_at(start, geometry);
        let header = Header {
            links: Links::new(),
            start: [start; 2],
            free: [const { Cell::new(0) }; 4],
            used: Cell::new(0),
        };
        header.set_all_free(geometry.pages);
        // SAFETY: the block is the pool's alone, and has room for the header there.
        unsafe { cluster.write(header) };
        for number in 0..geometry.pages as usize {
            // SAFETY: the block has room for the descriptor there.
            unsafe { Self::page(start, number, geometry).write(Page::new(number)) };
        }
        debug::block_made(start, geometry.block, 0, geometry.header_at);
        if self.count.get() == 0 {
            self.only.set(start.as_ptr());
        } else {
            if let Some(only) = NonNull::new(self.only.replace(ptr::null_mut())) {
                self.table.insert(only.as_ptr());
            }
            self.table.insert(start.as_ptr());
        }
        self.count.set(self.count.get() + 1);
        self.set_slots(geometry);
        cluster
    }

    /// Gives a cluster back that nothing is in, and which is on no list.
    #[cold]
    pub(super) fn give<S: BlockSource>(
        &self,
        cluster: Cluster,
        supply: &Supply<S>,
        geometry: &Geometry,
    ) {
        self.table.remove(cluster.addr().get());
        if self.only.get() == cluster.as_ptr() {
            self.only.set(ptr::null_mut());
        }
        self.count.set(self.count.get() - 1);
        self.tidy(supply, geometry);
        Self::release(cluster, supply, geometry);
    }

    /// Gives the table back where it is not needed, and what it takes too much.
    fn tidy<S: BlockSource>(&self, supply: &Supply<S>, geometry: &Geometry) {
        if self.count.get() > 1 {
            self.table.shrink(supply);
        } else {
            if let Some(last) = self.table.iter().next() {
                self.only.set(last);
            }
            if !self.table.is_untouched() {
                self.table.clear(supply);
            }
        }
        self.set_slots(geometry);
    }

    fn release<S: BlockSource>(cluster: Cluster, supply: &Supply<S>, geometry: &Geometry) {
        if let Ok(layout) = Self::layout(supply, geometry) {
            // SAFETY: taken with this layout, which is the same each time; nothing is in it.
            unsafe { supply.give(cluster, layout) };
        }
    }

    /// Empties all, and gives all but `keep` back. Nothing in them is used any more.
    pub(super) fn empty_all<S: BlockSource>(
        &self,
        keep: usize,
        supply: &Supply<S>,
        geometry: &Geometry,
    ) {
        let emptied = List::<Header>::new();
        let mut count = 0;
        for start in self.iter() {
            if count < keep {
                count += 1;
                // SAFETY: the header of a cluster of this pool; lists are made anew.
                unsafe { emptied.push(Self::header_at(start, geometry)) };
            } else {
                Self::release(start, supply, geometry);
            }
        }
        self.forget(supply, geometry);
        while let Some(cluster) = emptied.pop() {
            let start = self.header(cluster).start[0];
            if self.count.get() > 0 && self.table.reserve(supply).is_err() {
                Self::release(start, supply, geometry);
                continue;
            }
            if supply.wipes() {
                debug::unmark(start, geometry.header_at);
                // SAFETY: the pages of a cluster of this pool, in which nothing is used.
                unsafe { crate::supply::wipe(start, geometry.header_at) };
            }
            self.enter(start, geometry);
            self.kept_count.set(self.kept_count.get() + 1);
            // SAFETY: a cluster of this pool, on no list yet.
            unsafe { self.kept.push(cluster) };
        }
    }

    /// Gives all back. Nothing in them is used any more.
    pub(super) fn give_all<S: BlockSource>(&self, supply: &Supply<S>, geometry: &Geometry) {
        for cluster in self.iter() {
            Self::release(cluster, supply, geometry);
        }
        self.forget(supply, geometry);
    }

    /// Forgets all clusters: they are not this pool's any more.
    fn forget<S: BlockSource>(&self, supply: &Supply<S>, geometry: &Geometry) {
        self.open.clear();
        self.kept.clear();
        self.kept_count.set(0);
        self.count.set(0);
        self.only.set(ptr::null_mut());
        if !self.table.is_untouched() {
            self.table.clear(supply);
        }
        self.set_slots(geometry);
    }
}

//! [`Clusters`]: the blocks that pages are in; which of them are this pool's, which have free
//! pages, which are empty and kept back.
//!
//! What is known of a cluster, a header and a descriptor for each page, lies behind its pages, or in
//! a block of its own where the pages are to fill theirs.
//!
//! A cluster is found by its address alone: nothing is read at an address that a caller gave
//! before the cluster there is known to be the pool's, and what is read then is read through
//! the pool's own pointer to it, since the caller's may be good for one object only.

use super::geometry::Geometry;
use super::list::{Linked, Links, List};
use super::page::Page;
use crate::placed::{Placed, before, behind};
use crate::supply::Supply;
use crate::table::{Entry, Table, mix};
use crate::{AllocError, BlockSource, debug};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// Bytes of a cluster's header, without its words, and of a page's descriptor.
pub(super) const HEADER: usize = size_of::<Header>();
pub(super) const DESCRIPTOR: usize = size_of::<Page>();

/// What is known of a cluster. Before it are the descriptors of its pages, the first one next to it;
/// behind it words with a bit for each page: set if it is free.
#[repr(C, align(8))]
pub(super) struct Header {
    links: Links<Header>,
    /// The cluster. Twice: the slots of a pool's only cluster.
    cluster: [Cluster; 2],
    used: Cell<u32>,
    words: u32,
}

impl Linked for Header {
    #[inline(always)]
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

const _: () = assert!(align_of::<Header>() <= 64 && align_of::<Page>() <= align_of::<Header>());
const _: () = assert!(size_of::<Page>().is_multiple_of(align_of::<Header>()));
const _: () = assert!(size_of::<Header>().is_multiple_of(align_of::<u64>()));

impl Header {
    /// Where the words of a header are, by the pool's own pointer to it: a reference to the header is
    /// good for that alone.
    fn words(header: Placed<Self>) -> NonNull<Cell<u64>> {
        behind(header.pointer(), HEADER).cast()
    }

    /// The words of a header of this pool.
    fn free<'a>(header: Placed<Self>) -> &'a [Cell<u64>] {
        let count = header.words as usize;
        // SAFETY: so many were written behind the header; those who give clusters back hold no
        // reference to them.
        unsafe { NonNull::slice_from_raw_parts(Self::words(header), count).as_ref() }
    }

    /// A free page, which is not free any more.
    fn take_page(header: Placed<Self>) -> Option<usize> {
        for (index, word) in Self::free(header).iter().enumerate() {
            let free = word.get();
            if free != 0 {
                word.set(free & (free - 1));
                return Some(64 * index + free.trailing_zeros() as usize);
            }
        }
        None
    }

    fn put_page(header: Placed<Self>, number: usize) {
        if let Some(word) = Self::free(header).get(number / 64) {
            word.set(word.get() | 1 << (number % 64));
        }
    }
}

/// A cluster: where its pages begin, and what is known of them, each good for all of its block.
/// Null and nothing: none.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Cluster {
    start: *mut u8,
    header: Option<Placed<Header>>,
}

impl Cluster {
    const NONE: Self = Self { start: ptr::null_mut(), header: None };

    #[inline(always)]
    fn some(self) -> Option<Self> {
        (!self.start.is_null()).then_some(self)
    }

    /// Where it begins, good for all of its pages.
    #[inline(always)]
    pub(super) fn start(self) -> NonNull<u8> {
        // SAFETY: those that are found, or known, are clusters, which are not at null.
        unsafe { NonNull::new_unchecked(self.start) }
    }

    #[inline(always)]
    fn header(self) -> Placed<Header> {
        // SAFETY: likewise; those have a header.
        unsafe { self.header.unwrap_unchecked() }
    }
}

/// A cluster is found by where it begins.
impl Entry for Cluster {
    const FREE: Self = Self::NONE;
    /// Slots are small, and where few are taken most are found at once.
    const QUARTERS: usize = 1;

    #[inline(always)]
    fn start(&self) -> *mut u8 {
        self.start
    }
}

/// The slots of a pool without clusters.
static NONE: Slots = Slots([Cluster::NONE; 2]);

struct Slots([Cluster; 2]);

// SAFETY: only read, and the pointers lead nowhere.
unsafe impl Sync for Slots {}

/// The clusters of one pool.
pub(super) struct Clusters {
    /// Where clusters are looked for first, each at its home: the table's slots, those of the
    /// only cluster, or of none. Never null.
    slots: Cell<*const Cluster>,
    /// By how much to shift a mixed address to number them.
    shift: Cell<u32>,
    /// The cluster of a pool that has one; none with none, or more.
    only: Cell<Cluster>,
    /// All clusters, where there is more than one.
    table: Table<Cluster>,
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
            only: Cell::new(Cluster::NONE),
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
    fn at_home(&self, address: usize) -> Cluster {
        let home = (mix(address) >> self.shift.get()) as usize;
        let slot = self.slots.get().wrapping_add(home);
        // SAFETY: `slots` has as many as the shift leaves numbers for; all were written.
        unsafe { slot.read() }
    }

    /// The cluster at this address, if it is one.
    #[inline]
    pub(super) fn find(&self, address: usize) -> Option<Cluster> {
        let cluster = self.at_home(address);
        if cluster.start.addr() == address {
            return cluster.some();
        }
        self.table.find(address)
    }

    /// After the table or the only cluster has changed.
    fn set_slots(&self) {
        let (slots, shift) = self.table.slots();
        if self.table.len() != 0 {
            self.slots.set(slots);
            return self.shift.set(shift);
        }
        self.shift.set(63);
        self.slots.set(match self.only.get().some() {
            // Written before, and not again as long as slots are looked for there.
            Some(only) => ptr::from_ref(&only.header().cluster).cast(),
            None => (&raw const NONE.0).cast(),
        });
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Cluster> + '_ {
        self.only.get().some().into_iter().chain(self.table.iter())
    }

    // ---- a cluster's parts ---------------------------------------------------------------

    /// The descriptor of a page of a cluster of this pool; `None` where it has no such page.
    #[inline(always)]
    pub(super) fn page(
        cluster: Cluster,
        number: usize,
        geometry: &Geometry,
    ) -> Option<Placed<Page>> {
        let behind = cluster.header().pointer().cast::<Page>().as_ptr();
        // SAFETY: descriptors are before the header, one for each page.
        (number < geometry.pages as usize)
            .then(|| unsafe { Placed::at(behind.wrapping_sub(number + 1)) })
    }

    /// The header behind the descriptor of a page of this pool.
    #[inline(always)]
    fn header_of(page: Placed<Page>) -> Placed<Header> {
        let behind = page.pointer().as_ptr().wrapping_add(page.number() + 1);
        // SAFETY: so far before the header is where the descriptor is.
        unsafe { Placed::at(behind.cast()) }
    }

    /// Where a page of this pool begins.
    #[inline(always)]
    pub(super) fn start_of(page: Placed<Page>, geometry: &Geometry) -> NonNull<u8> {
        let cluster = Self::header_of(page).cluster[0];
        behind(cluster.start(), geometry.offset_of(page.number()))
    }

    pub(super) fn used_pages(&self, cluster: Cluster) -> usize {
        cluster.header().used.get() as usize
    }

    /// Where what is known of a cluster begins: its last page's descriptor.
    fn described(cluster: Cluster, geometry: &Geometry) -> NonNull<u8> {
        before(cluster.header().pointer(), geometry.pages as usize * DESCRIPTOR)
    }

    /// Whether this address is among what is known of a cluster, apart from its pages.
    pub(super) fn is_beside(&self, address: usize, geometry: &Geometry) -> bool {
        let described = |cluster: Cluster| Self::described(cluster, geometry).addr().get();
        let beside = |cluster: Cluster| address.wrapping_sub(described(cluster));
        geometry.beside != 0 && self.iter().any(|cluster| beside(cluster) < geometry.beside)
    }

    // ---- pages ---------------------------------------------------------------------------

    /// A free page of a cluster that is in use.
    #[inline]
    pub(super) fn take_page(&self, geometry: &Geometry) -> Option<Placed<Page>> {
        let cluster = self.open.first()?;
        self.take_page_of(cluster, geometry)
    }

    /// A free page of a cluster that was kept back.
    pub(super) fn take_kept_page(&self, geometry: &Geometry) -> Option<Placed<Page>> {
        let header = self.take_kept()?.header();
        self.open.push(header);
        self.take_page_of(header, geometry)
    }

    /// A cluster that was kept back, and is on no list any more.
    pub(super) fn take_kept(&self) -> Option<Cluster> {
        let header = self.kept.pop()?;
        self.kept_count.set(self.kept_count.get() - 1);
        Some(header.cluster[0])
    }

    /// Whether a page of a cluster is free; one that it does not have is not.
    pub(super) fn is_free(cluster: Cluster, number: usize, geometry: &Geometry) -> bool {
        let word = Header::free(cluster.header()).get(number / 64).map_or(0, Cell::get);
        number < geometry.pages as usize && word >> (number % 64) & 1 != 0
    }

    fn take_page_of(&self, header: Placed<Header>, geometry: &Geometry) -> Option<Placed<Page>> {
        let number = Header::take_page(header)?;
        header.used.set(header.used.get() + 1);
        if header.used.get() == geometry.pages {
            // It had a free page, so it was on this list.
            self.open.remove(header);
        }
        Self::page(header.cluster[0], number, geometry)
    }

    /// Makes a page free that nothing is in, and which is on no list. What becomes of its
    /// cluster then: it is returned if it is one too many.
    pub(super) fn put_page(
        &self,
        page: Placed<Page>,
        keep: usize,
        geometry: &Geometry,
    ) -> Option<Cluster> {
        let header = Self::header_of(page);
        page.close();
        let was_full = header.used.get() == geometry.pages;
        Header::put_page(header, page.number());
        header.used.set(header.used.get() - 1);
        if header.used.get() != 0 {
            if was_full {
                // Full ones are on no list.
                self.open.push(header);
            }
            return None;
        }
        if !was_full {
            // It had free pages and others, so it was on this list.
            self.open.remove(header);
        }
        if self.kept() >= keep {
            return Some(header.cluster[0]);
        }
        self.kept_count.set(self.kept_count.get() + 1);
        self.kept.push(header);
        None
    }

    // ---- clusters ------------------------------------------------------------------------

    /// The layout that a cluster's pages are taken with, and what is known of them, if that is
    /// inside: all that the source would spend on it.
    pub(super) fn layout<S: BlockSource>(
        supply: &Supply<S>,
        geometry: &Geometry,
    ) -> Result<Layout, AllocError> {
        let too_large = |_| AllocError::too_large(geometry.block);
        let least =
            Layout::from_size_align(geometry.block, geometry.block_align).map_err(too_large)?;
        Layout::from_size_align(supply.fit(least), geometry.block_align).map_err(too_large)
    }

    /// The layout of what is known of a cluster, where that is apart. Aligned to less than large
    /// objects are: a source may tell it by that.
    pub(super) fn layout_beside<S: BlockSource>(
        supply: &Supply<S>,
        geometry: &Geometry,
    ) -> Result<Option<Layout>, AllocError> {
        if geometry.beside == 0 {
            return Ok(None);
        }
        let too_large = |_| AllocError::too_large(geometry.beside);
        let align = align_of::<Header>();
        let least = Layout::from_size_align(geometry.beside, align).map_err(too_large)?;
        Layout::from_size_align(supply.fit(least), align).map(Some).map_err(too_large)
    }

    /// What a cluster takes from the source.
    pub(super) fn bytes<S: BlockSource>(supply: &Supply<S>, geometry: &Geometry) -> usize {
        let pages = Self::layout(supply, geometry).map_or(0, |layout| layout.size());
        let beside = Self::layout_beside(supply, geometry).ok().flatten();
        pages + beside.map_or(0, |layout| layout.size())
    }

    /// Memory for a cluster, whose header is not written yet.
    fn take<S: BlockSource>(
        supply: &Supply<S>,
        geometry: &Geometry,
    ) -> Result<Cluster, AllocError> {
        let (layout, beside) =
            (Self::layout(supply, geometry)?, Self::layout_beside(supply, geometry)?);
        let start = supply.take(layout)?;
        let described = match beside {
            None => behind(start, geometry.header_at),
            Some(beside) => supply.take(beside).inspect_err(|_| {
                // SAFETY: just taken with this layout, and not used.
                unsafe { supply.put_back(start, layout) };
            })?,
        };
        let header = behind(described, geometry.pages as usize * DESCRIPTOR).cast();
        // SAFETY: the block has room for the header there, behind the descriptors; `enter` writes
        // it before anybody looks, and it stays as long as the cluster is the pool's.
        Ok(Cluster { start: start.as_ptr(), header: Some(unsafe { Placed::new(header) }) })
    }

    /// Takes a cluster, and a page of it.
    #[cold]
    pub(super) fn add<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        geometry: &Geometry,
    ) -> Result<Placed<Page>, AllocError> {
        if self.count.get() > 0 {
            // Before the cluster, so that its failure leaves nothing to undo.
            self.table.reserve(supply)?;
            self.set_slots();
        }
        let cluster = match Self::take(supply, geometry) {
            Ok(cluster) => cluster,
            Err(error) => {
                self.tidy(supply);
                return Err(error);
            }
        };
        let cluster = self.enter(cluster, geometry);
        self.open.push(cluster);
        self.take_page_of(cluster, geometry).ok_or(AllocError::out_of_memory(geometry.block))
    }

    /// Makes memory a cluster in which nothing is, and the pool's; for another one than the
    /// first, the table has room.
    fn enter(&self, cluster: Cluster, geometry: &Geometry) -> Placed<Header> {
        let header = Header {
            links: Links::new(),
            cluster: [cluster; 2],
            used: Cell::new(0),
            words: geometry.pages.div_ceil(64),
        };
        let words = header.words;
        // SAFETY: the memory is the pool's alone, and has room for the header there.
        unsafe { cluster.header().pointer().write(header) };
        // SAFETY: and for the words behind it.
        unsafe { Header::words(cluster.header()).write_bytes(u8::MAX, words as usize) };
        if let Some(last) = Header::free(cluster.header()).last() {
            last.set(u64::MAX >> (64 * words - geometry.pages));
        }
        for number in 0..geometry.pages as usize {
            if let Some(page) = Self::page(cluster, number, geometry) {
                // SAFETY: and for the descriptors before it.
                unsafe { page.pointer().write(Page::new(number)) };
            }
        }
        debug::block_made(cluster.start(), geometry.block, 0, geometry.header_at);
        if self.count.get() == 0 {
            self.only.set(cluster);
        } else {
            if let Some(only) = self.only.replace(Cluster::NONE).some() {
                self.table.insert(only);
            }
            self.table.insert(cluster);
        }
        self.count.set(self.count.get() + 1);
        self.set_slots();
        cluster.header()
    }

    /// Gives a cluster back that nothing is in, and which is on no list.
    #[cold]
    pub(super) fn give<S: BlockSource>(
        &self,
        cluster: Cluster,
        supply: &Supply<S>,
        geometry: &Geometry,
    ) {
        self.table.remove(cluster.start.addr());
        if self.only.get().start == cluster.start {
            self.only.set(Cluster::NONE);
        }
        self.count.set(self.count.get() - 1);
        self.tidy(supply);
        Self::release(cluster, supply, geometry);
    }

    /// Gives the table back where it is not needed, and what it takes too much.
    fn tidy<S: BlockSource>(&self, supply: &Supply<S>) {
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
        self.set_slots();
    }

    fn release<S: BlockSource>(cluster: Cluster, supply: &Supply<S>, geometry: &Geometry) {
        if let Ok(Some(layout)) = Self::layout_beside(supply, geometry) {
            // SAFETY: taken with this layout, which is the same each time; nothing reads it.
            unsafe { supply.give(Self::described(cluster, geometry), layout) };
        }
        if let Ok(layout) = Self::layout(supply, geometry) {
            // SAFETY: taken with this layout, which is the same each time; nothing is in it.
            unsafe { supply.give(cluster.start(), layout) };
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
        for cluster in self.iter() {
            if count < keep {
                count += 1;
                // Lists are made anew.
                emptied.push(cluster.header());
            } else {
                Self::release(cluster, supply, geometry);
            }
        }
        self.forget(supply);
        while let Some(header) = emptied.pop() {
            let cluster = header.cluster[0];
            if self.count.get() > 0 && self.table.reserve(supply).is_err() {
                Self::release(cluster, supply, geometry);
                continue;
            }
            if supply.wipes() {
                debug::unmark(cluster.start(), geometry.header_at);
                // SAFETY: the pages of a cluster of this pool, in which nothing is used.
                unsafe { crate::supply::wipe(cluster.start(), geometry.header_at) };
            }
            self.enter(cluster, geometry);
            self.kept_count.set(self.kept_count.get() + 1);
            self.kept.push(header);
        }
    }

    /// Gives all back. Nothing in them is used any more.
    pub(super) fn give_all<S: BlockSource>(&self, supply: &Supply<S>, geometry: &Geometry) {
        for cluster in self.iter() {
            Self::release(cluster, supply, geometry);
        }
        self.forget(supply);
    }

    /// Forgets all clusters: they are not this pool's any more.
    fn forget<S: BlockSource>(&self, supply: &Supply<S>) {
        self.open.clear();
        self.kept.clear();
        self.kept_count.set(0);
        self.count.set(0);
        self.only.set(Cluster::NONE);
        if !self.table.is_untouched() {
            self.table.clear(supply);
        }
        self.set_slots();
    }
}

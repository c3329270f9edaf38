//! Large objects: each an allocation of its own, found by its address, freed at any time.
//!
//! Nothing is written before or behind an object, so an object of a power-of-two size is a
//! block of that size, and a pointer that came through a `Box` or a slice is as good as any.
//! The objects stand in a hash table by address: finding, adding and removing one take the
//! same short time however many are live, and an address that is no large object's is noticed.
//!
//! In a pool that is watched (see [`debug`](crate::debug)) every object is a large one; what is
//! different there is in `watched`.

mod watched;

use crate::debug::Levels;
use crate::misuse::BadFreeKind;
use crate::supply::Supply;
use crate::table::{Entry, Table};
use crate::{AllocError, BlockSource, debug, told};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// One slot of the table: an object, or nothing.
#[derive(Clone, Copy)]
struct Slot {
    /// With the provenance of the whole allocation; null: the slot is free.
    start: *mut u8,
    /// The layout that the supply was asked for: its size, and in the lowest bits the logarithm
    /// of its alignment. So four slots fill a cache line.
    layout: u64,
}

/// Bits for the logarithm of an alignment.
const ALIGN_BITS: u32 = 6;

impl Slot {
    /// For memory that was had: no address space has 2^58 bytes.
    #[inline(always)]
    fn new(start: NonNull<u8>, layout: Layout) -> Self {
        let size = (layout.size() as u64) << ALIGN_BITS;
        let align = u64::from(layout.align().trailing_zeros());
        Self { start: start.as_ptr(), layout: size | align }
    }

    #[inline(always)]
    fn size(&self) -> usize {
        (self.layout >> ALIGN_BITS) as usize
    }

    #[inline(always)]
    fn layout(&self) -> Layout {
        let align = 1_usize << (self.layout & ((1 << ALIGN_BITS) - 1));
        // SAFETY: the size and alignment of the layout that the slot was made with.
        unsafe { Layout::from_size_align_unchecked(self.size(), align) }
    }
}

impl Entry for Slot {
    /// Where few are taken, most are found at once, and the search is foreseen.
    const QUARTERS: usize = 1;
    const FREE: Self = Slot { start: ptr::null_mut(), layout: 0 };

    #[inline(always)]
    fn start(&self) -> *mut u8 {
        self.start
    }
}

/// The large objects of one pool.
pub(crate) struct LargeObjects {
    /// One of them, in no table: most pools that have any have one. Not used in watched pools.
    single: Cell<Slot>,
    table: Table<Slot>,
}

impl LargeObjects {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { single: Cell::new(Slot::FREE), table: Table::new() }
    }

    /// Where something is that the end of the pool has to give back; 0 with nothing.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        self.table.slots().0.addr() | self.single.get().start.addr()
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let single = usize::from(!self.single.get().start.is_null());
        single + self.table.len() - self.quarantined()
    }

    /// Whether there are more than `count`. Quarantined ones are looked through only until then.
    pub(crate) fn has_more_than(&self, count: usize) -> bool {
        if self.table.note() == 0 {
            return self.len() > count;
        }
        let single = usize::from(!self.single.get().start.is_null());
        single + self.slots_in_use().take(count + 1).count() > count
    }

    /// Whether there is none, and nothing that was one.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.table.len() == 0 && self.single.get().start.is_null()
    }

    /// A new object, of at least `layout.size()` bytes.
    #[cold]
    pub(crate) fn alloc<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        layout: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        let _inside = supply.inside_of_source();
        if !supply.levels().is_none() {
            let _inside = told::inside(true);
            return self.alloc_watched(supply, layout);
        }
        let whole = whole(supply, layout)?;
        let start = supply.take(whole)?;
        let start = self.enter(supply, start, whole)?;
        debug::tail(start, layout.size(), whole.size());
        Ok(start)
    }

    /// A new object with room to grow to `room` bytes in place, if nothing is in the way: a
    /// limit's refusal is neither counted nor explained, since less would do.
    #[cold]
    pub(crate) fn alloc_roomy<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        layout: Layout,
        room: usize,
    ) -> Option<NonNull<u8>> {
        if !supply.levels().is_none() {
            return None;
        }
        let _inside = supply.inside_of_source();
        let size = layout.size().max(room);
        let roomy = Layout::from_size_align(size, layout.align()).ok()?;
        let whole = whole(supply, roomy).ok()?;
        let start = supply.try_take(whole)?;
        let start = self.enter(supply, start, whole).ok()?;
        debug::tail(start, layout.size(), whole.size());
        Some(start)
    }

    /// Makes an object larger without another one beside it, where that can be: the pool's own
    /// pointer to it. `None`, and it is as it was, where it cannot, or there is no such object.
    #[cold]
    pub(crate) fn grow<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        start: NonNull<u8>,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        if !supply.levels().is_none() {
            return None;
        }
        let slot = self.find(start.addr().get())?;
        let old = slot.layout();
        let whole = whole(supply, new).ok()?;
        if whole.align() != old.align() || whole.size() < old.size() {
            return None;
        }
        // SAFETY: it was taken with this layout, and is the pool's; the new one is no smaller, at
        // the same alignment.
        let grown = unsafe { supply.grow(NonNull::new(slot.start)?, old, whole) }?;
        if self.single.get().start == slot.start {
            self.single.set(Slot::new(grown, whole));
        } else {
            // There is room for the new one where the old one was.
            self.table.remove(start.addr().get());
            self.table.insert(Slot::new(grown, whole));
        }
        Some(grown)
    }

    /// Writes down an object that was just taken so.
    fn enter<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        start: NonNull<u8>,
        whole: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        if self.single.get().start.is_null() {
            self.single.set(Slot::new(start, whole));
            return Ok(start);
        }
        // After the object: where that is refused, no table has been taken for nothing.
        if let Err(error) = self.table.reserve(supply) {
            // SAFETY: just taken with this layout, and nobody has seen it.
            unsafe { supply.put_back(start, whole) };
            return Err(error);
        }
        self.table.insert(Slot::new(start, whole));
        Ok(start)
    }

    /// Frees the object at this address; `false` where there is none.
    pub(crate) fn free<S: BlockSource>(&self, supply: &Supply<S>, start: NonNull<u8>) -> bool {
        let _inside = supply.inside_of_source();
        if !supply.levels().is_none() {
            let _inside = told::inside(true);
            return self.free_watched(supply, start);
        }
        self.free_plain(supply, start)
    }

    #[inline(always)]
    fn free_plain<S: BlockSource>(&self, supply: &Supply<S>, start: NonNull<u8>) -> bool {
        if self.single.get().start.addr() == start.addr().get() {
            give(supply, self.single.replace(Slot::FREE));
            return true;
        }
        let Some(slot) = self.table.remove(start.addr().get()) else { return false };
        give(supply, slot);
        self.table.shrink(supply);
        true
    }

    /// [`LargeObjects::free`] for a caller who is sure that there is one: in a watched pool it
    /// is told if there is not, and that is all there is to do.
    #[inline(never)]
    pub(crate) fn dealloc<S: BlockSource>(&self, supply: &Supply<S>, start: NonNull<u8>) -> bool {
        let _inside = supply.inside_of_source();
        if !supply.levels().is_none() {
            let _inside = told::inside(true);
            return self.dealloc_watched(supply, start);
        }
        self.free_plain(supply, start)
    }

    /// The object at this address: the pool's own pointer to it, and its room in bytes.
    pub(crate) fn object(&self, start: NonNull<u8>) -> Option<(NonNull<u8>, usize)> {
        let slot = self.find(start.addr().get()).filter(|slot| !slot.is_freed())?;
        // It may be used as such from now on.
        let start = NonNull::new(slot.start)?;
        debug::no_tail(start, slot.size());
        Some((start, slot.size()))
    }

    /// The room in bytes of the object at this address; 0 where there is none.
    pub(crate) fn room(&self, start: NonNull<u8>) -> usize {
        let slot = self.find(start.addr().get()).filter(|slot| !slot.is_freed());
        slot.map_or(0, |slot| slot.size())
    }

    #[inline(always)]
    fn find(&self, address: usize) -> Option<Slot> {
        let single = self.single.get();
        if single.start.addr() == address { Some(single) } else { self.table.find(address) }
    }

    /// All slots with something in them.
    fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let single = Some(self.single.get()).filter(|slot| !slot.start.is_null());
        single.into_iter().chain(self.table.iter())
    }

    /// Why no object can be freed at this address, or not as was asked. Looks at all of them.
    #[cold]
    pub(crate) fn explain(&self, address: usize) -> BadFreeKind {
        match self.find(address) {
            Some(slot) if slot.is_freed() => return BadFreeKind::Double,
            Some(_) => return BadFreeKind::Layout,
            None => {}
        }
        let inside = self.slots().any(|slot| {
            let start = slot.start.addr();
            address > start && address - start < slot.size()
        });
        if inside { BadFreeKind::Interior } else { BadFreeKind::Foreign }
    }

    /// Frees all objects, for a pool that goes on. One that keeps freed objects for a while keeps
    /// these as well.
    #[cold]
    pub(crate) fn empty<S: BlockSource>(&self, supply: &Supply<S>) {
        let _inside = supply.inside();
        if supply.levels().contains(Levels::QUARANTINE) {
            return self.empty_watched(supply);
        }
        self.free_all(supply);
    }

    /// Frees all objects and the table.
    #[cold]
    pub(crate) fn free_all<S: BlockSource>(&self, supply: &Supply<S>) {
        let _inside = supply.inside_of_source();
        if !supply.levels().is_none() {
            let _inside = told::inside(true);
            return self.free_all_watched(supply);
        }
        give(supply, self.single.replace(Slot::FREE));
        for slot in self.table.iter() {
            give(supply, slot);
        }
        self.table.clear(supply);
    }

    /// Gives the table back if there are no objects.
    pub(crate) fn trim<S: BlockSource>(&self, supply: &Supply<S>) {
        let _inside = supply.inside();
        self.empty_quarantine(supply);
        self.table.trim(supply);
    }

    /// The sizes of the objects, in bytes, in no order.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots().filter(|slot| !slot.is_freed()).map(|slot| slot.size())
    }

    /// [`LargeObjects::sizes`] a slice at a time: puts those in `count` slots of the table from
    /// `from` on into `sizes`, which has room for as many, and tells where to go on.
    pub(crate) fn sizes_from(
        &self,
        from: usize,
        count: usize,
        sizes: &mut Vec<usize>,
    ) -> Option<usize> {
        let single = Some(self.single.get()).filter(|slot| from == 0 && !slot.start.is_null());
        sizes.extend(single.map(|slot| slot.size()));
        let (slots, next) = self.table.slice(from, count);
        sizes.extend(slots.filter(|slot| !slot.is_freed()).map(|slot| slot.size()));
        next
    }

    /// Bytes that they take from the source.
    pub(crate) fn held<S: BlockSource>(&self, supply: &Supply<S>) -> usize {
        if supply.levels().is_none() { self.sizes().sum() } else { self.held_watched(supply) }
    }

    /// Bytes of the table.
    pub(crate) fn table_bytes<S: BlockSource>(&self, supply: &Supply<S>) -> usize {
        self.table.bytes(supply)
    }
}

/// The layout to take for an object: all that the source would spend on it anyway.
fn whole<S: BlockSource>(supply: &Supply<S>, layout: Layout) -> Result<Layout, AllocError> {
    let align = layout.align().max(16);
    Layout::from_size_align(debug::with_gap(layout.size().max(1)), align)
        .and_then(|asked| Layout::from_size_align(supply.fit(asked), align))
        .map_err(|_| AllocError::too_large(layout.size()))
}

fn give<S: BlockSource>(supply: &Supply<S>, slot: Slot) {
    let Some(start) = NonNull::new(slot.start) else { return };
    // SAFETY: the object was taken with this layout, and its slot is gone or about to be.
    unsafe { supply.give(start, slot.layout()) };
}

#[cfg(test)]
mod tests;

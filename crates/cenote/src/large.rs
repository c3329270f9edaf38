//! Large objects: each an allocation of its own, found by its address, freed at any time.
//!
//! Nothing is written before or behind an object, so an object of a power-of-two size is a
//! block of that size, and a pointer that came through a `Box` or a slice is as good as any.
//! The objects stand in a hash table by address, in a block of the pool's supply: finding,
//! adding and removing one take the same short time however many are live, and an address
//! that is no large object's is noticed.

use crate::supply::Supply;
use crate::{AllocError, BlockSource, size};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// One slot of the table: an object, or nothing.
#[derive(Clone, Copy)]
struct Slot {
    /// With the provenance of the whole allocation; null: the slot is free.
    start: *mut u8,
    /// The layout that the supply was asked for.
    size: usize,
    align: usize,
}

const FREE: Slot = Slot { start: ptr::null_mut(), size: 0, align: 1 };

/// The first table fills the smallest block.
const FIRST_SLOTS: usize = 8;

/// The large objects of one pool.
pub(crate) struct LargeObjects {
    /// `slots` slots, a power of two, or null with none.
    table: Cell<*mut Slot>,
    slots: Cell<u32>,
    live: Cell<u32>,
}

impl LargeObjects {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { table: Cell::new(ptr::null_mut()), slots: Cell::new(0), live: Cell::new(0) }
    }

    #[inline(always)]
    pub(crate) fn is_untouched(&self) -> bool {
        self.table.get().is_null()
    }

    pub(crate) fn len(&self) -> usize {
        self.live.get() as usize
    }

    /// A new object, of at least `layout.size()` bytes.
    #[cold]
    pub(crate) fn alloc<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        layout: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        // Before the object, so that its failure leaves nothing to undo.
        self.make_room(supply)?;
        let whole = whole(supply, layout)?;
        let start = supply.take(whole)?;
        self.insert(Slot { start: start.as_ptr(), size: whole.size(), align: whole.align() });
        self.live.set(self.live.get() + 1);
        Ok(start)
    }

    /// Frees the object at this address; `false` where there is none.
    pub(crate) fn free<S: BlockSource>(&self, supply: &Supply<S>, start: NonNull<u8>) -> bool {
        let Some(index) = self.find(start) else { return false };
        let slot = self.slot(index);
        self.remove(index);
        self.live.set(self.live.get() - 1);
        give(supply, slot);
        true
    }

    /// How many bytes the object at this address has room for, if there is one.
    pub(crate) fn capacity(&self, start: NonNull<u8>) -> Option<usize> {
        self.find(start).map(|index| self.slot(index).size)
    }

    /// Frees all objects and the table.
    #[cold]
    pub(crate) fn free_all<S: BlockSource>(&self, supply: &Supply<S>) {
        for index in 0..self.slots.get() as usize {
            let slot = self.slot(index);
            if !slot.start.is_null() {
                give(supply, slot);
            }
        }
        self.give_table(supply);
        self.live.set(0);
    }

    /// The sizes of the objects, in bytes, in no order.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.slots.get() as usize)
            .map(|index| self.slot(index))
            .filter(|slot| !slot.start.is_null())
            .map(|slot| slot.size)
    }

    /// Bytes of the table.
    pub(crate) fn table_bytes<S: BlockSource>(&self, supply: &Supply<S>) -> usize {
        match table_layout(supply, self.slots.get() as usize) {
            Ok(layout) if self.slots.get() > 0 => layout.size(),
            _ => 0,
        }
    }

    // ---- the table -----------------------------------------------------------------------

    fn slot(&self, index: usize) -> Slot {
        debug_assert!(index < self.slots.get() as usize);
        // SAFETY: the index is below `slots`; all slots were written when the table was made.
        let at = unsafe { self.table.get().add(index) };
        // SAFETY: likewise.
        unsafe { at.read() }
    }

    fn set(&self, index: usize, slot: Slot) {
        debug_assert!(index < self.slots.get() as usize);
        // SAFETY: the index is below `slots`.
        let at = unsafe { self.table.get().add(index) };
        // SAFETY: the table is the pool's own.
        unsafe { at.write(slot) };
    }

    fn mask(&self) -> usize {
        self.slots.get() as usize - 1
    }

    /// Where the search for an address begins.
    fn home(&self, start: *mut u8) -> usize {
        // The low bits of addresses are alike; multiplying by 2^64 / the golden ratio spreads
        // the others into the high ones.
        let mixed = (start.addr() as u64 >> 4).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 40) as usize & self.mask()
    }

    fn find(&self, start: NonNull<u8>) -> Option<usize> {
        if self.live.get() == 0 {
            return None;
        }
        let mut index = self.home(start.as_ptr());
        loop {
            let slot = self.slot(index);
            if slot.start.addr() == start.addr().get() {
                return Some(index);
            }
            // At most three quarters are taken, so the search ends.
            if slot.start.is_null() {
                return None;
            }
            index = (index + 1) & self.mask();
        }
    }

    fn insert(&self, slot: Slot) {
        let mut index = self.home(slot.start);
        while !self.slot(index).start.is_null() {
            index = (index + 1) & self.mask();
        }
        self.set(index, slot);
    }

    /// Empties a slot, and moves those back that were pushed beyond it.
    fn remove(&self, index: usize) {
        let mut hole = index;
        let mut next = index;
        loop {
            next = (next + 1) & self.mask();
            let slot = self.slot(next);
            if slot.start.is_null() {
                break;
            }
            let distance = |from: usize| next.wrapping_sub(from) & self.mask();
            if distance(self.home(slot.start)) >= distance(hole) {
                self.set(hole, slot);
                hole = next;
            }
        }
        self.set(hole, FREE);
    }

    /// Room for one more object, at no more than three quarters full.
    fn make_room<S: BlockSource>(&self, supply: &Supply<S>) -> Result<(), AllocError> {
        let slots = self.slots.get() as usize;
        if (self.live.get() as usize + 1) * 4 <= slots * 3 {
            return Ok(());
        }
        let more = if slots == 0 { FIRST_SLOTS } else { slots * 2 };
        let fresh = LargeObjects::new();
        let table = supply.take(table_layout(supply, more)?)?;
        fresh.table.set(table.cast().as_ptr());
        fresh.slots.set(more as u32);
        for index in 0..more {
            fresh.set(index, FREE);
        }
        for index in 0..slots {
            let slot = self.slot(index);
            if !slot.start.is_null() {
                fresh.insert(slot);
            }
        }
        self.give_table(supply);
        self.table.set(fresh.table.get());
        self.slots.set(fresh.slots.get());
        Ok(())
    }

    fn give_table<S: BlockSource>(&self, supply: &Supply<S>) {
        let Some(table) = NonNull::new(self.table.replace(ptr::null_mut())) else { return };
        let slots = self.slots.replace(0) as usize;
        if let Ok(layout) = table_layout(supply, slots) {
            // SAFETY: taken with this layout, which is a function of the number of slots.
            unsafe { supply.give(table.cast(), layout) };
        }
    }
}

fn table_layout<S: BlockSource>(supply: &Supply<S>, slots: usize) -> Result<Layout, AllocError> {
    let align = align_of::<Slot>();
    let least = size::layout(0, slots, size_of::<Slot>(), align)
        .filter(|_| slots <= u32::MAX as usize)
        .ok_or(AllocError::too_large(slots))?;
    whole(supply, least)
}

/// The layout to take for an object: all that the source would spend on it anyway.
fn whole<S: BlockSource>(supply: &Supply<S>, layout: Layout) -> Result<Layout, AllocError> {
    let align = layout.align().max(16);
    Layout::from_size_align(layout.size().max(1), align)
        .and_then(|asked| Layout::from_size_align(supply.fit(asked), align))
        .map_err(|_| AllocError::too_large(layout.size()))
}

fn give<S: BlockSource>(supply: &Supply<S>, slot: Slot) {
    let Some(start) = NonNull::new(slot.start) else { return };
    // SAFETY: the size and alignment of the layout that the object was taken with.
    let layout = unsafe { Layout::from_size_align_unchecked(slot.size, slot.align) };
    // SAFETY: the object was taken with this layout, and its slot is gone or about to be.
    unsafe { supply.give(start, layout) };
}

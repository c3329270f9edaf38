//! A hash table by address, in a block of the pool's own supply: what belongs to a pool is
//! found by where it lies, in the same short time however much there is, and an address that
//! is not in the table is noticed without looking at what is there.
//!
//! `large` keeps a pool's large objects in one. Searches go from slot to slot, some quarters of
//! which are taken at most; what is removed leaves no mark, since others move up.

use crate::supply::Supply;
use crate::{AllocError, BlockSource, size};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// What a slot holds.
pub(crate) trait Entry: Copy {
    /// A slot with nothing in it.
    const FREE: Self;

    /// How many of four slots may be taken.
    const QUARTERS: usize = 3;

    /// Where the thing lies, by which it is found; null in [`Entry::FREE`] alone.
    fn start(&self) -> *mut u8;
}

/// A pointer is found by its own address.
impl<T> Entry for *mut T {
    const FREE: Self = ptr::null_mut();
    /// Slots are small, and where few are taken most are found at once.
    const QUARTERS: usize = 1;

    #[inline(always)]
    fn start(&self) -> *mut u8 {
        self.cast()
    }
}

/// The smallest table fills the smallest block.
const fn first_slots<E>() -> usize {
    let fit = crate::Blocks::SMALLEST / size_of::<E>();
    if fit.is_power_of_two() { fit } else { fit.next_power_of_two() / 2 }
}

/// The low bits of addresses are alike; multiplying by 2^64 / the golden ratio spreads the
/// others into the highest, and what lies side by side far apart.
#[inline(always)]
pub(crate) const fn mix(address: usize) -> u64 {
    (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

pub(crate) struct Table<E> {
    /// `slots` slots, a power of two, or null with none.
    table: Cell<*mut E>,
    slots: Cell<u32>,
    /// Leaves as many of 64 bits as number the slots.
    shift: Cell<u32>,
    live: Cell<u32>,
    /// The owner's own; 0 in a table that is empty.
    note: Cell<u32>,
}

impl<E: Entry> Table<E> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            table: Cell::new(ptr::null_mut()),
            slots: Cell::new(0),
            // Nothing is looked for without slots; as zero it is made in one store with the rest.
            shift: Cell::new(0),
            live: Cell::new(0),
            note: Cell::new(0),
        }
    }

    /// A figure that the owner keeps with the table, which has the room.
    pub(crate) fn note(&self) -> u32 {
        self.note.get()
    }

    pub(crate) fn set_note(&self, note: u32) {
        self.note.set(note);
    }

    /// Whether it takes no memory.
    #[inline(always)]
    pub(crate) fn is_untouched(&self) -> bool {
        self.table.get().is_null()
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.live.get() as usize
    }

    /// What lies at this address.
    #[inline]
    pub(crate) fn find(&self, address: usize) -> Option<E> {
        self.index_of(address).map(|index| self.slot(index))
    }

    /// The slots, and by how much to shift a mixed address to number them: for callers that
    /// look at an address's home by themselves, with [`mix`], before they search. Null with no
    /// slots; good until the table changes.
    pub(crate) fn slots(&self) -> (*const E, u32) {
        (self.table.get(), self.shift.get())
    }

    /// All that is in it, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = E> + '_ {
        self.slice(0, usize::MAX).0
    }

    /// What is in `count` slots from `from` on, and the slot to go on from, if there are more.
    pub(crate) fn slice(
        &self,
        from: usize,
        count: usize,
    ) -> (impl Iterator<Item = E> + '_, Option<usize>) {
        let slots = self.slots.get() as usize;
        let end = from.saturating_add(count).min(slots);
        let entries =
            (from..end).map(|index| self.slot(index)).filter(|entry| !entry.start().is_null());
        (entries, (end < slots).then_some(end))
    }

    /// Sees to it that there is room for one more. Nothing has changed if there is not.
    #[inline(always)]
    pub(crate) fn reserve<S: BlockSource>(&self, supply: &Supply<S>) -> Result<(), AllocError> {
        if self.has_room() {
            return Ok(());
        }
        self.reserve_cold(supply)
    }

    #[cold]
    #[inline(never)]
    fn reserve_cold<S: BlockSource>(&self, supply: &Supply<S>) -> Result<(), AllocError> {
        let slots = self.slots.get() as usize;
        let more = if slots == 0 { first_slots::<E>() } else { slots * 2 };
        let table = supply.take(table_layout::<E, S>(supply, more)?)?;
        self.move_to(supply, table, more);
        Ok(())
    }

    /// Whether one more may be put in.
    #[inline(always)]
    fn has_room(&self) -> bool {
        (self.len() + 1) * 4 <= self.slots.get() as usize * E::QUARTERS
    }

    /// Puts one in, for which room was reserved. None is there at its address.
    pub(crate) fn insert(&self, entry: E) {
        debug_assert!(self.has_room());
        self.place(entry);
        self.live.set(self.live.get() + 1);
    }

    /// Takes out what lies at this address.
    pub(crate) fn remove(&self, address: usize) -> Option<E> {
        let index = self.index_of(address)?;
        let entry = self.slot(index);
        self.vacate(index);
        self.live.set(self.live.get() - 1);
        Some(entry)
    }

    /// Puts one in the place of that which lies at its address, if one does.
    pub(crate) fn replace(&self, entry: E) {
        if let Some(index) = self.index_of(entry.start().addr()) {
            self.set(index, entry);
        }
    }

    /// Moves to a smaller block, where this one is far too large by now and the smaller one
    /// is to be had.
    #[inline]
    pub(crate) fn shrink<S: BlockSource>(&self, supply: &Supply<S>) {
        let slots = self.slots.get() as usize;
        if slots > first_slots::<E>() && self.len() < slots / 8 {
            self.shrink_cold(supply, slots / 2);
        }
    }

    #[cold]
    fn shrink_cold<S: BlockSource>(&self, supply: &Supply<S>, slots: usize) {
        if let Ok(layout) = table_layout::<E, S>(supply, slots)
            && let Some(table) = supply.try_take(layout)
        {
            self.move_to(supply, table, slots);
        }
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn trim<S: BlockSource>(&self, supply: &Supply<S>) {
        if self.len() == 0 {
            self.clear(supply);
        }
    }

    /// Forgets everything, and gives the memory back.
    pub(crate) fn clear<S: BlockSource>(&self, supply: &Supply<S>) {
        self.live.set(0);
        self.note.set(0);
        let slots = self.slots.replace(0) as usize;
        let table = self.table.replace(ptr::null_mut());
        give_table(supply, table, slots);
    }

    /// Bytes that it takes.
    pub(crate) fn bytes<S: BlockSource>(&self, supply: &Supply<S>) -> usize {
        match table_layout::<E, S>(supply, self.slots.get() as usize) {
            Ok(layout) if self.slots.get() > 0 => layout.size(),
            _ => 0,
        }
    }

    // ---- slots ---------------------------------------------------------------------------

    #[inline(always)]
    fn slot(&self, index: usize) -> E {
        debug_assert!(index < self.slots.get() as usize);
        // SAFETY: the index is below `slots`; all slots were written when the table was made.
        let at = unsafe { self.table.get().add(index) };
        // SAFETY: likewise.
        unsafe { at.read() }
    }

    #[inline(always)]
    fn set(&self, index: usize, entry: E) {
        debug_assert!(index < self.slots.get() as usize);
        // SAFETY: the index is below `slots`.
        let at = unsafe { self.table.get().add(index) };
        // SAFETY: the table is the pool's own.
        unsafe { at.write(entry) };
    }

    #[inline(always)]
    fn mask(&self) -> usize {
        self.slots.get() as usize - 1
    }

    /// Where the search for an address begins.
    #[inline(always)]
    fn home(&self, address: usize) -> usize {
        (mix(address) >> self.shift.get()) as usize & self.mask()
    }

    #[inline(always)]
    fn index_of(&self, address: usize) -> Option<usize> {
        if self.live.get() == 0 {
            return None;
        }
        let mut index = self.home(address);
        loop {
            let start = self.slot(index).start();
            if start.addr() == address {
                // A free slot's address is 0, which is nothing's.
                return (!start.is_null()).then_some(index);
            }
            // At most some quarters are taken, so the search ends.
            if start.is_null() {
                return None;
            }
            index = (index + 1) & self.mask();
        }
    }

    fn place(&self, entry: E) {
        let mut index = self.home(entry.start().addr());
        while !self.slot(index).start().is_null() {
            index = (index + 1) & self.mask();
        }
        self.set(index, entry);
    }

    /// Empties a slot, and moves those back that were pushed beyond it.
    fn vacate(&self, index: usize) {
        let mut hole = index;
        let mut next = index;
        loop {
            next = (next + 1) & self.mask();
            let entry = self.slot(next);
            if entry.start().is_null() {
                break;
            }
            let distance = |from: usize| next.wrapping_sub(from) & self.mask();
            if distance(self.home(entry.start().addr())) >= distance(hole) {
                self.set(hole, entry);
                hole = next;
            }
        }
        self.set(hole, E::FREE);
    }

    /// Moves everything to a table of `slots` slots, more than there are entries.
    fn move_to<S: BlockSource>(&self, supply: &Supply<S>, table: NonNull<u8>, slots: usize) {
        let (old, old_slots) = (self.table.get(), self.slots.get() as usize);
        self.table.set(table.cast().as_ptr());
        self.slots.set(slots as u32);
        self.shift.set((slots as u64).leading_zeros() + 1);
        for index in 0..slots {
            self.set(index, E::FREE);
        }
        for index in 0..old_slots {
            // SAFETY: below the number of slots that the old table has, all written.
            let at = unsafe { old.add(index) };
            // SAFETY: likewise.
            let entry = unsafe { at.read() };
            if !entry.start().is_null() {
                self.place(entry);
            }
        }
        give_table(supply, old, old_slots);
    }
}

fn give_table<E: Entry, S: BlockSource>(supply: &Supply<S>, table: *mut E, slots: usize) {
    let Some(table) = NonNull::new(table) else { return };
    if let Ok(layout) = table_layout::<E, S>(supply, slots) {
        // SAFETY: taken with this layout, which is a function of the number of slots.
        unsafe { supply.give(table.cast(), layout) };
    }
}

/// The layout to take for so many slots: all that the source would spend on it anyway.
fn table_layout<E: Entry, S: BlockSource>(
    supply: &Supply<S>,
    slots: usize,
) -> Result<Layout, AllocError> {
    let align = align_of::<E>().max(16);
    let least = size::layout(0, slots, size_of::<E>(), align)
        .filter(|_| slots <= u32::MAX as usize)
        .ok_or(AllocError::too_large(slots))?;
    Layout::from_size_align(supply.fit(least).max(1), align)
        .map_err(|_| AllocError::too_large(least.size()))
}

#[cfg(test)]
mod tests;

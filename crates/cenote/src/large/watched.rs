//! The objects of a watched pool: each with what the pool's levels put behind it, looked at
//! when it is freed and at the end; freed ones kept for a while.
//!
//! A slot has the size and alignment that were asked for; how much memory that takes, and where
//! the object is in it, follows from them and the levels (see [`Plan`]). What is in quarantine
//! stays in the table, marked in the highest bits of its slot, where no size reaches: freed since
//! the last time that the older half of the quarantine was given back, or before.

use super::{LargeObjects, Slot};
use crate::debug::{Levels, Plan};
use crate::misuse::BadFreeKind;
use crate::supply::Supply;
use crate::{AllocError, BlockSource};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

/// Marks of what was freed.
const YOUNG: u64 = 1 << 63;
const OLD: u64 = 1 << 62;

/// How much of each half may be kept: an object counts for one, and one for each so many bytes.
const HALF: u32 = 512;
const PIECE: usize = 1024;
/// In the table's note, which has the sum of the younger half: there is an older one.
const HAS_OLD: u32 = 1 << 31;

impl Slot {
    pub(super) fn is_freed(&self) -> bool {
        self.layout & (YOUNG | OLD) != 0
    }

    fn plan<S: BlockSource>(&self, supply: &Supply<S>) -> Option<Plan> {
        let layout = Slot { layout: self.layout & !(YOUNG | OLD), ..*self }.layout();
        Plan::new(supply.levels(), layout.size(), layout.align())
    }
}

impl LargeObjects {
    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_watched<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        layout: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        let too_large = || AllocError::too_large(layout.size());
        let asked = Layout::from_size_align(layout.size().max(1), layout.align().max(16))
            .map_err(|_| too_large())?;
        let plan = Plan::new(supply.levels(), asked.size(), asked.align()).ok_or_else(too_large)?;
        let base = supply.take_apart(plan.whole).or_else(|error| {
            // What is only kept to be looked at must not be what memory is refused for.
            if self.empty_quarantine(supply) == 0 {
                Err(error)
            } else {
                supply.take_apart(plan.whole)
            }
        })?;
        if let Err(error) = self.table.reserve(supply) {
            // SAFETY: just taken so with this layout, and nobody has seen it.
            unsafe { supply.give_apart(base, plan.whole, true) };
            return Err(error);
        }
        // SAFETY: fresh memory of that layout.
        let start = unsafe { plan.dress(base) };
        self.table.insert(Slot::new(start, asked));
        Ok(start)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn free_watched<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        start: NonNull<u8>,
    ) -> bool {
        let address = start.addr().get();
        let found = self.table.find(address).filter(|slot| !slot.is_freed());
        let Some((slot, plan)) = found.and_then(|slot| Some((slot, slot.plan(supply)?))) else {
            return false;
        };
        // By the pool's own pointer: the caller's may be good for the object only.
        let Some(start) = NonNull::new(slot.start) else { return false };
        // SAFETY: in the table, so it was dressed so.
        let whole = unsafe { plan.is_whole(start) };
        // SAFETY: likewise; the caller's promise: nothing uses it any more.
        unsafe { plan.poison(start) };
        if supply.levels().contains(Levels::QUARANTINE) {
            self.table.replace(Slot { layout: slot.layout | YOUNG, ..slot });
            self.keep(supply, slot.size());
        } else {
            self.table.remove(address);
            give(supply, &slot);
            self.table.shrink(supply);
        }
        if !whole {
            supply.tell(BadFreeKind::Overrun, address);
        }
        true
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn dealloc_watched<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        start: NonNull<u8>,
    ) -> bool {
        if !self.free_watched(supply, start) {
            let address = start.addr().get();
            supply.tell(self.explain(address), address);
        }
        // There is nothing else to be done about it.
        true
    }

    /// Counts what came into quarantine. When its younger half is full, the older one goes.
    fn keep<S: BlockSource>(&self, supply: &Supply<S>, size: usize) {
        let note = self.table.note() + weight(size);
        self.table.set_note(note);
        if note & !HAS_OLD < HALF {
            return;
        }
        self.give_freed(supply, OLD);
        for slot in self.freed(YOUNG) {
            self.table.replace(Slot { layout: slot.layout ^ (YOUNG | OLD), ..slot });
        }
        self.table.set_note(HAS_OLD);
    }

    /// The slots of the table whose objects are in use.
    pub(super) fn slots_in_use(&self) -> impl Iterator<Item = Slot> + '_ {
        self.table.iter().filter(|slot| !slot.is_freed())
    }

    /// How many objects are in quarantine.
    #[inline]
    pub(super) fn quarantined(&self) -> usize {
        if self.table.note() == 0 { 0 } else { self.table.iter().filter(Slot::is_freed).count() }
    }

    /// Gives back what is in quarantine; how many objects that was.
    pub(super) fn empty_quarantine<S: BlockSource>(&self, supply: &Supply<S>) -> usize {
        if self.table.note() == 0 {
            return 0;
        }
        let given = self.give_freed(supply, YOUNG | OLD);
        if given != 0 {
            self.table.set_note(0);
        }
        given
    }

    /// Those in quarantine with one of these marks; none where there is no memory to list them.
    fn freed(&self, marks: u64) -> Vec<Slot> {
        let mut freed = Vec::new();
        if freed.try_reserve(self.quarantined()).is_ok() {
            freed.extend(self.table.iter().filter(|slot| slot.layout & marks != 0));
        }
        freed
    }

    fn give_freed<S: BlockSource>(&self, supply: &Supply<S>, marks: u64) -> usize {
        let freed = self.freed(marks);
        for slot in &freed {
            self.table.remove(slot.start.addr());
            let touched = is_touched(supply, slot);
            give(supply, slot);
            if touched {
                supply.tell(BadFreeKind::Written, slot.start.addr());
            }
        }
        freed.len()
    }

    /// Frees all objects. They are kept until the next time, as many as are kept of others.
    #[cold]
    #[inline(never)]
    pub(super) fn empty_watched<S: BlockSource>(&self, supply: &Supply<S>) {
        self.empty_quarantine(supply);
        let mut live = Vec::new();
        if live.try_reserve(self.table.len()).is_err() {
            return self.free_all_watched(supply);
        }
        live.extend(self.slots_in_use());
        live.retain(|slot| {
            let (Some(start), Some(plan)) = (NonNull::new(slot.start), slot.plan(supply)) else {
                return false;
            };
            // SAFETY: it was in the table, so it was dressed so.
            let whole = unsafe { plan.is_whole(start) };
            // SAFETY: likewise; nothing uses it any more.
            unsafe { plan.poison(start) };
            let note = self.table.note() + weight(slot.size());
            if note & !HAS_OLD < HALF {
                self.table.replace(Slot { layout: slot.layout | YOUNG, ..*slot });
                self.table.set_note(note);
            } else {
                self.table.remove(slot.start.addr());
                give(supply, slot);
            }
            !whole
        });
        if self.table.len() == 0 {
            self.table.clear(supply);
        }
        live.iter().for_each(|slot| supply.tell(BadFreeKind::Overrun, slot.start.addr()));
    }

    #[cold]
    #[inline(never)]
    pub(super) fn free_all_watched<S: BlockSource>(&self, supply: &Supply<S>) {
        for slot in self.table.iter() {
            let (Some(start), Some(plan)) = (NonNull::new(slot.start), slot.plan(supply)) else {
                continue;
            };
            // SAFETY: it was in the table, so it was dressed so.
            let overrun = !slot.is_freed() && !unsafe { plan.is_whole(start) };
            let touched = is_touched(supply, &slot);
            if !slot.is_freed() {
                // SAFETY: likewise; nothing uses it any more.
                unsafe { plan.poison(start) };
            }
            give(supply, &slot);
            if overrun {
                supply.tell(BadFreeKind::Overrun, slot.start.addr());
            }
            if touched {
                supply.tell(BadFreeKind::Written, slot.start.addr());
            }
        }
        self.table.clear(supply);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn held_watched<S: BlockSource>(&self, supply: &Supply<S>) -> usize {
        self.table.iter().filter_map(|slot| slot.plan(supply)).map(|plan| plan.whole.size()).sum()
    }
}

/// What an object counts for in quarantine.
fn weight(size: usize) -> u32 {
    u32::try_from(size / PIECE).unwrap_or(HALF).min(HALF) + 1
}

/// Whether something freed was written to.
fn is_touched<S: BlockSource>(supply: &Supply<S>, slot: &Slot) -> bool {
    match (NonNull::new(slot.start), slot.plan(supply)) {
        (Some(start), Some(plan)) if slot.is_freed() => {
            // SAFETY: it is in quarantine, so it was dressed and poisoned so.
            !unsafe { plan.is_untouched(start) }
        }
        _ => false,
    }
}

/// Gives an object's memory back.
fn give<S: BlockSource>(supply: &Supply<S>, slot: &Slot) {
    let (Some(start), Some(plan)) = (NonNull::new(slot.start), slot.plan(supply)) else { return };
    // SAFETY: it was dressed so; nothing uses it any more, and its slot is gone.
    if let Some(base) = unsafe { plan.undress(start) } {
        // SAFETY: taken so with this layout.
        unsafe { supply.give_apart(base, plan.whole, false) };
    }
}

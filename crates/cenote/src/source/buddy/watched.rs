//! What is looked for in a region that is watched (see [`debug`](crate::debug)): blocks are filled
//! when they come and go, what of a block was not asked for is a canary, and those that are freed
//! are kept for a while.
//!
//! Every block has to lie in the region. So none is an allocation of its own, and none has a page
//! behind it that cannot be touched: `passthrough` and `guard` change nothing here. Behind what
//! fills its block there is no canary, since the block behind it begins there.
//!
//! The ways of a plain region are left as they are. A watched one hides its free blocks from
//! them, and has another tag on those that are out, so that they find nothing, and end here.

use super::Buddy;
use super::orders::Tag;
use crate::debug::{Levels, Plan};
use crate::misuse::{BadFree, BadFreeKind};
use crate::{AllocError, BlockSource, told};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

/// How many freed blocks are kept.
const KEPT: usize = 32;

/// The levels that change anything.
const LEVELS: [Levels; 3] = [Levels::POISON, Levels::CANARY, Levels::QUARANTINE];

pub(super) struct Watched {
    pub(super) levels: Levels,
    /// For each frame that a block which is out begins at: the bytes that were asked for, and in
    /// the highest bit whether it was freed.
    asked: Box<[Cell<usize>]>,
    /// Indices of freed blocks, in turn; `next` is the place of the oldest, once all are taken.
    kept: [Cell<usize>; KEPT],
    next: Cell<usize>,
}

const FREED: usize = 1 << (usize::BITS - 1);
const NOTHING: usize = usize::MAX;

impl Watched {
    /// `None` where no level says anything of regions, or there is no memory to note it in.
    #[cold]
    pub(super) fn new(levels: Levels, frames: usize) -> Option<Self> {
        let on = LEVELS.into_iter().filter(|level| levels.contains(*level));
        let levels = on.fold(Levels::NONE, |all, level| all | level);
        if levels.is_none() {
            return None;
        }
        let mut asked = Vec::new();
        asked.try_reserve_exact(frames).ok()?;
        asked.resize(frames, Cell::new(0));
        let kept = [const { Cell::new(NOTHING) }; KEPT];
        Some(Self { levels, asked: asked.into_boxed_slice(), kept, next: Cell::new(0) })
    }

    fn asked(&self, index: usize) -> usize {
        self.asked.get(index).map_or(0, Cell::get)
    }

    fn set_asked(&self, index: usize, asked: usize) {
        if let Some(place) = self.asked.get(index) {
            place.set(asked);
        }
    }
}

impl<S: BlockSource> Buddy<'_, S> {
    /// What is looked for in it: what the levels say that it was made with, less those that
    /// change nothing here; see [`debug`](crate::debug).
    pub fn levels(&self) -> Levels {
        self.watched.as_ref().map_or(Levels::NONE, |watched| watched.levels)
    }

    fn plan(&self, watched: &Watched, index: usize, order: u32) -> Plan {
        let asked = watched.asked(index) & !FREED;
        Plan::in_block(watched.levels, asked, self.region.orders().bytes(order))
    }

    /// The block that is out and begins at this address, as index and order.
    fn watched_at(&self, address: usize) -> Option<(usize, u32)> {
        let index = self.region.orders().index_of(address);
        let order = self.region.tag(index)?.watched_block()?;
        self.region.orders().is_frame_start(address).then_some((index, order))
    }

    /// The block that is in use and begins at this address.
    pub(super) fn watched_in_use(&self, address: usize) -> Option<(usize, u32)> {
        let watched = self.watched.as_ref()?;
        self.watched_at(address).filter(|(index, _)| watched.asked(*index) & FREED == 0)
    }

    /// Where no block was found: in a watched region, one may be.
    #[cold]
    #[inline(never)]
    pub(super) fn acquire_cold(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let error = AllocError::out_of_memory(layout.size());
        let Some(watched) = &self.watched else { return Err(error) };
        let _inside = told::inside(true);
        let orders = self.region.orders();
        let order = orders.order_of(layout.size(), layout.align()).ok_or(error.clone())?;
        let take = || self.region.unhidden(|region| region.take(order, layout.size()));
        let block = match take() {
            Some(block) => block,
            None => {
                // What is only kept to be looked at must not be what memory is refused for.
                self.empty_quarantine(watched);
                take().ok_or(error)?
            }
        };
        let index = orders.index_of(block.addr().get());
        self.region.set_tag(index, Tag::watched(order));
        watched.set_asked(index, layout.size().max(1));
        // SAFETY: a block of that size, nobody else's.
        Ok(unsafe { self.plan(watched, index, order).dress(block) })
    }

    /// Frees a block of a watched region; `None` where it is a plain one.
    #[cold]
    pub(super) fn free_watched(
        &self,
        address: usize,
        asked: Option<u32>,
    ) -> Option<Result<usize, BadFree>> {
        let watched = self.watched.as_ref()?;
        let wrong = |kind| Some(Err(BadFree::new(kind, address)));
        let Some((index, order)) = self.watched_at(address) else {
            return match self.region.used_at(address) {
                Err(error) => Some(Err(error)),
                // Not reached: all that is out has the other tag.
                Ok(_) => wrong(BadFreeKind::Foreign),
            };
        };
        if watched.asked(index) & FREED != 0 {
            return wrong(BadFreeKind::Double);
        }
        if asked.is_some_and(|asked| asked != order) {
            return wrong(BadFreeKind::Layout);
        }
        let plan = self.plan(watched, index, order);
        let start = self.region.frame_of(index)?;
        // SAFETY: it is out, so it was dressed so.
        let whole = unsafe { plan.is_whole(start) };
        // SAFETY: likewise; the caller's promise: nothing uses it any more.
        unsafe { plan.poison(start) };
        if watched.levels.contains(Levels::QUARANTINE) {
            watched.set_asked(index, watched.asked(index) | FREED);
            let place = watched.next.get();
            watched.next.set((place + 1) % KEPT);
            self.let_go(watched, place);
            watched.kept[place].set(index);
        } else {
            self.give_back(index, order);
        }
        if !whole {
            self.note(BadFreeKind::Overrun, address);
        }
        Some(Ok(self.region.orders().bytes(order)))
    }

    /// Notes what was found, to be told when the operation is over.
    fn note(&self, kind: BadFreeKind, address: usize) {
        told::misused(self.name, BadFree::new(kind, address), self.on_bad_free);
    }

    fn give_back(&self, index: usize, order: u32) {
        // SAFETY: the block was out, or in quarantine, and nobody uses it.
        self.region.unhidden(|region| unsafe { region.give(index, order) });
    }

    /// Gives back what was freed and kept there.
    fn let_go(&self, watched: &Watched, place: usize) {
        let index = watched.kept[place].replace(NOTHING);
        let Some(order) = self.region.tag(index).and_then(Tag::watched_block) else { return };
        let Some(start) = self.region.frame_of(index) else { return };
        // SAFETY: it is in quarantine, so it was dressed and poisoned so.
        let untouched = unsafe { self.plan(watched, index, order).is_untouched(start) };
        watched.set_asked(index, 0);
        self.give_back(index, order);
        if !untouched {
            self.note(BadFreeKind::Written, start.addr().get());
        }
    }

    fn empty_quarantine(&self, watched: &Watched) {
        (0..KEPT).for_each(|place| self.let_go(watched, place));
    }

    /// At the end: what was kept, and what is behind objects that are still out, is looked at.
    #[cold]
    pub(super) fn end_watched(&self) {
        let Some(watched) = &self.watched else { return };
        let _inside = told::inside(true);
        self.empty_quarantine(watched);
        for (index, order, free) in self.region.blocks() {
            let Some(start) = self.region.frame_of(index).filter(|_| !free) else { continue };
            // SAFETY: it is out, so it was dressed so.
            if !unsafe { self.plan(watched, index, order).is_whole(start) } {
                self.note(BadFreeKind::Overrun, start.addr().get());
            }
        }
    }
}

//! [`Recent`]: the newest frees of objects that are larger than a page, up to 16 KiB.
//!
//! What such an object costs is to be written down and found again in the table of large ones.
//! Buffers that come and go need not go through that: their block stays in the table, and on a
//! stack here, for the next object of its size. Only blocks of powers of two are kept so, as
//! [`Blocks`](crate::Blocks) makes them; and of each size 128 KiB at most.

use super::stack::Stack as Frees;
use crate::supply::Supply;
use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::ptr::NonNull;

/// The sizes: 2, 4, 8 and 16 KiB.
const SIZES: usize = 4;
const SMALLEST_SHIFT: u32 = 11;
/// Bytes of each size at most.
const MOST: usize = 128 << 10;
/// What sources align a block to in any case.
const ALIGN: usize = 16;

/// How many of a size at most.
const PLACES: usize = 16;

type Stack = Frees<PLACES>;

pub(super) struct Recent {
    stacks: [Stack; SIZES],
}

impl Recent {
    /// Remembers up to `depth` frees of a size, or none.
    pub(super) fn new(depth: usize) -> Self {
        let recent = Self { stacks: [const { Stack::new() }; SIZES] };
        for (size, stack) in recent.stacks.iter().enumerate() {
            let fit = MOST >> (SMALLEST_SHIFT as usize + size);
            stack.set_limit(depth.min(fit));
        }
        recent
    }

    /// The stack for objects of this layout; `None` where they are not remembered.
    #[inline(always)]
    pub(super) fn of<S: BlockSource>(&self, supply: &Supply<S>, layout: Layout) -> Option<&Stack> {
        let shift = layout.size().wrapping_sub(1).checked_ilog2()? + 1;
        let index = shift.max(SMALLEST_SHIFT) - SMALLEST_SHIFT;
        let stack = self.stacks.get(index as usize)?;
        let whole = 1 << (SMALLEST_SHIFT + index);
        let asked = Layout::from_size_align(layout.size(), ALIGN).ok()?;
        (layout.align() <= ALIGN && supply.fit(asked) == whole).then_some(stack)
    }

    /// The stack for objects with so much room.
    #[inline(always)]
    pub(super) fn with_room(&self, room: usize) -> Option<&Stack> {
        let index = room.trailing_zeros().checked_sub(SMALLEST_SHIFT)?;
        self.stacks.get(index as usize).filter(|_| room.is_power_of_two())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.stacks.iter().map(Stack::count).sum()
    }

    /// Whether what was at this address is among them.
    pub(super) fn has(&self, address: usize) -> bool {
        self.stacks.iter().any(|stack| stack.has(address))
    }

    /// One of them, which is none any more.
    pub(super) fn pop(&self) -> Option<NonNull<u8>> {
        self.stacks.iter().find_map(Stack::pop)
    }

    /// Forgets them: their blocks are gone.
    pub(super) fn clear(&self) {
        for stack in &self.stacks {
            while stack.pop().is_some() {}
        }
    }
}

impl<S: BlockSource> super::ChunkPool<S> {
    /// An object that is not of any class.
    #[inline]
    pub(super) fn take_large(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        if let Some(start) = self.recent.of(&self.supply, layout).and_then(Stack::pop) {
            crate::debug::unmark(start, layout.size());
            return Ok(start);
        }
        self.take_new_large(layout)
    }

    /// One for which no block is remembered.
    #[inline(never)]
    fn take_new_large(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        if layout.size() >= super::geometry::TOO_LARGE {
            return Err(AllocError::too_large(layout.size()));
        }
        let _inside = self.supply.inside();
        self.large.alloc(&self.supply, layout).or_else(|error| {
            // What is only remembered must not be what memory is refused for.
            if self.recent.count() == 0 {
                return Err(error);
            }
            self.settle_large();
            self.large.alloc(&self.supply, layout)
        })
    }

    /// Gives back what is remembered.
    pub(super) fn settle_large(&self) {
        let _inside = self.supply.inside();
        while let Some(start) = self.recent.pop() {
            let freed = self.large.free(&self.supply, start);
            debug_assert!(freed, "what is remembered is in the table");
        }
    }

    /// Frees the large object at this address, if there is one.
    #[inline(never)]
    pub(super) fn free_if_large(&self, start: NonNull<u8>) -> bool {
        let _inside = self.supply.inside();
        // By the pool's own pointer: the caller's may be good for the object only.
        if let Some((own, room)) = self.large.object(start)
            && let Some(stack) = self.recent.with_room(room)
        {
            if stack.has(start.addr().get()) {
                return false;
            }
            if stack.try_push(own) {
                crate::debug::mark(own, room);
                return true;
            }
        }
        self.large.free(&self.supply, start)
    }
}

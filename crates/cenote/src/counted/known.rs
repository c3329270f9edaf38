//! The blocks that a pool has: so that a pointer's block is looked at only if it is one.
//!
//! One block needs no table: it is remembered by itself, and only further ones are entered.

use super::block::Block;
use crate::supply::Supply;
use crate::table::Table;
use crate::{AllocError, BlockSource};
use core::cell::Cell;
use core::ptr::{self, NonNull};

pub(super) struct Known {
    /// One of the blocks, which is not in the table; null, or any that was there when there
    /// was none here.
    alone: Cell<*mut Block>,
    others: Table<*mut Block>,
}

impl Known {
    pub(super) const fn new() -> Self {
        Self { alone: Cell::new(ptr::null_mut()), others: Table::new() }
    }

    /// The block at this address, if one of the pool's lies there.
    #[inline]
    pub(super) fn find(&self, address: usize) -> Option<NonNull<Block>> {
        let alone = self.alone.get();
        if alone.addr() == address {
            return NonNull::new(alone);
        }
        self.others.find(address).and_then(NonNull::new)
    }

    /// Enters a new block.
    pub(super) fn add<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        block: NonNull<Block>,
    ) -> Result<(), AllocError> {
        if self.alone.get().is_null() {
            self.alone.set(block.as_ptr());
            return Ok(());
        }
        self.others.reserve(supply)?;
        self.others.insert(block.as_ptr());
        Ok(())
    }

    /// Takes a block out that was entered.
    pub(super) fn remove<S: BlockSource>(&self, supply: &Supply<S>, block: NonNull<Block>) {
        if ptr::eq(self.alone.get(), block.as_ptr()) {
            self.alone.set(ptr::null_mut());
        } else {
            self.others.remove(block.addr().get());
            self.others.shrink(supply);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.others.len() + usize::from(!self.alone.get().is_null())
    }

    /// All blocks, in no order. None may be entered or taken out meanwhile.
    pub(super) fn iter(&self) -> impl Iterator<Item = NonNull<Block>> + '_ {
        NonNull::new(self.alone.get())
            .into_iter()
            .chain(self.others.iter().filter_map(NonNull::new))
    }

    /// Bytes of the table.
    pub(super) fn bytes<S: BlockSource>(&self, supply: &Supply<S>) -> usize {
        self.others.bytes(supply)
    }

    /// Gives the table back if nothing is in it.
    pub(super) fn trim<S: BlockSource>(&self, supply: &Supply<S>) {
        self.others.trim(supply);
    }

    /// Forgets all blocks.
    pub(super) fn clear<S: BlockSource>(&self, supply: &Supply<S>) {
        self.alone.set(ptr::null_mut());
        self.others.clear(supply);
    }
}

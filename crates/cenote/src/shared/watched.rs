//! Shared pools that are watched (see [`debug`](crate::debug)): no block has a window, and every
//! object is a large one, so that all of it happens under the lock.
//!
//! What is found there is told when the lock is free again, since who is told may use the pool.

use super::look::PoolFigures;
use super::state::Shared;
use crate::debug::{Levels, Watch};
use crate::{AllocError, BlockSource, told};
use core::alloc::Layout;
use core::ptr::NonNull;

impl<S: BlockSource> Shared<S> {
    pub(super) fn levels(&self) -> Levels {
        self.supply.levels()
    }

    pub(super) fn watch(&self) -> Watch {
        self.supply.watch()
    }

    pub(super) fn is_watched(&self) -> bool {
        !self.levels().is_none()
    }

    #[cold]
    pub(super) fn alloc_watched(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        // Before the lock, so that it goes after it.
        let _inside = told::inside(true);
        let rare = self.rare.lock();
        let made = rare.large.alloc_watched(&self.supply, layout);
        self.tell_large(&rare.large);
        made
    }

    /// Frees the object at this address, or tells that there is none.
    #[cold]
    pub(super) fn dealloc_watched(&self, start: NonNull<u8>) {
        let _inside = told::inside(true);
        let rare = self.rare.lock();
        rare.large.dealloc_watched(&self.supply, start);
        self.tell_large(&rare.large);
    }

    /// Completes figures of blocks by those of objects, which are counted here.
    #[cold]
    pub(super) fn watched_figures(&self, figures: &mut PoolFigures) {
        let rare = self.rare.lock();
        figures.held_bytes += rare.large.held(&self.supply);
        figures.used_bytes = rare.large.sizes().sum();
    }
}

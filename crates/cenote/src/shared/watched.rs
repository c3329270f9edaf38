//! Shared pools that are watched (see [`debug`](crate::debug)): no block has a window, and every
//! object is a large one, so that all of it happens under the lock.
//!
//! What is found there is told when the lock is free again, since who is told may use the pool.

use super::look::PoolFigures;
use super::state::Shared;
use crate::debug::{Levels, Watch};
use crate::misuse::BadFreeKind;
use crate::{AllocError, BlockSource};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

/// What was found, until it can be told.
struct Found(Vec<(BadFreeKind, usize)>);

impl Found {
    fn note(&mut self, kind: BadFreeKind, address: usize) {
        // Where there is no memory for it the first ones are told.
        if self.0.try_reserve(1).is_ok() {
            self.0.push((kind, address));
        }
    }
}

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
        let mut found = Found(Vec::new());
        let note = &mut |kind, address| found.note(kind, address);
        let made = {
            let rare = self.rare.lock();
            let made = rare.large.alloc_watched(&self.supply, layout, note);
            self.tell_large(&rare.large);
            made
        };
        self.tell(found);
        made
    }

    /// Frees the object at this address, or tells that there is none.
    #[cold]
    pub(super) fn dealloc_watched(&self, start: NonNull<u8>) {
        let mut found = Found(Vec::new());
        let note = &mut |kind, address| found.note(kind, address);
        {
            let rare = self.rare.lock();
            rare.large.dealloc_watched(&self.supply, start, note);
            self.tell_large(&rare.large);
        }
        self.tell(found);
    }

    /// Completes figures of blocks by those of objects, which are counted here.
    #[cold]
    pub(super) fn watched_figures(&self, figures: &mut PoolFigures) {
        let rare = self.rare.lock();
        figures.held_bytes += rare.large.held(&self.supply);
        figures.used_bytes = rare.large.sizes().sum();
    }

    fn tell(&self, found: Found) {
        for (kind, address) in found.0 {
            self.supply.tell(kind, address);
        }
    }
}

//! [`Slot`]: the pages of one class of chunks, and which the next chunk is taken from.
//!
//! A page stays the current one until it is found full, though chunks of it are freed
//! meanwhile. Then it is on no list until one is freed, and another page of the list follows.

use super::cluster::Clusters;
use super::geometry::{Class, Geometry};
use super::list::List;
use super::page::Page;
use super::stack::DEPTH;
use crate::placed::Placed;
use core::cell::Cell;
use core::ptr::NonNull;

/// How many chunks beside the one that is wanted are taken from a page at most.
const MORE: usize = DEPTH / 2;

pub(super) struct Slot {
    class: Class,
    /// Chunks taken from pages and not put back there: those in use, and those on the stack.
    taken: Cell<usize>,
    /// Where chunks come from. Not on the list.
    current: Cell<Option<Placed<Page>>>,
    /// Where that page begins, good for all of its cluster.
    base: Cell<NonNull<u8>>,
    /// Other pages with free chunks.
    listed: List<Page>,
}

impl Slot {
    pub(super) const fn new(class: Class) -> Self {
        Self {
            class,
            taken: Cell::new(0),
            current: Cell::new(None),
            base: Cell::new(NonNull::dangling()),
            listed: List::new(),
        }
    }

    #[inline(always)]
    pub(super) fn class(&self) -> &Class {
        &self.class
    }

    /// Chunks taken from pages and not put back there.
    #[inline(always)]
    pub(super) fn taken(&self) -> usize {
        self.taken.get()
    }

    /// A free chunk, and up to `more` others, which are told to `each`, the last one first; as
    /// many as the pages of this slot have.
    #[inline]
    pub(super) fn take(
        &self,
        geometry: &Geometry,
        more: usize,
        mut each: impl FnMut(NonNull<u8>),
    ) -> Option<NonNull<u8>> {
        let (mut chunks, mut count) = ([NonNull::dangling(); MORE + 1], 0);
        let wanted = chunks.len().min(more + 1);
        while count < wanted
            && let Some(page) = self.page_with_room(geometry)
        {
            let mut free = page.free();
            while free != 0 && count < wanted {
                let offset = free.trailing_zeros() as usize * self.class.size as usize;
                free &= free - 1;
                // SAFETY: the chunk is in the page that `base` begins.
                chunks[count] = unsafe { self.base.get().add(offset) };
                count += 1;
            }
            page.set_free(free);
        }
        self.taken.set(self.taken.get() + count);
        let (first, others) = chunks[..count].split_first()?;
        others.iter().rev().for_each(|chunk| each(*chunk));
        Some(*first)
    }

    /// The current page, or another one of the list, as long as one has a free chunk.
    #[inline]
    fn page_with_room(&self, geometry: &Geometry) -> Option<Placed<Page>> {
        let mut current = self.current.get();
        loop {
            if let Some(page) = current
                && page.free() != 0
            {
                return current;
            }
            // Found full: it is on no list from now on, until a chunk of it is freed.
            let next = self.listed.pop()?;
            self.set_current(next, geometry);
            current = Some(next);
        }
    }

    /// Chunks come from this page now. It is on no list.
    pub(super) fn set_current(&self, page: Placed<Page>, geometry: &Geometry) {
        self.current.set(Some(page));
        self.base.set(Clusters::start_of(page, geometry));
    }

    /// Makes a chunk free, which is in use, in its page. Whether all of the page is now free:
    /// then it is not this slot's any more.
    #[inline]
    pub(super) fn put(&self, page: Placed<Page>, chunk: u32) -> bool {
        let before = page.free();
        let free = before | 1 << chunk;
        page.set_free(free);
        self.taken.set(self.taken.get() - 1);
        let current = self.current.get() == Some(page);
        if free == self.class.all() {
            if current {
                self.current.set(None);
            } else if before != 0 {
                // With free chunks and not current, it was on the list.
                self.listed.remove(page);
            }
            return true;
        }
        if before == 0 && !current {
            // Full, and not current: on no list.
            self.listed.push(page);
        }
        false
    }

    /// Forgets all: the pages are gone.
    pub(super) fn clear(&self) {
        self.taken.set(0);
        self.current.set(None);
        self.listed.clear();
    }
}

//! [`List`]: what lies in clusters, linked through itself: pages with room, clusters with room.
//!
//! Taking something off from the middle is what it is for. The newest is first.

use crate::placed::Placed;
use core::cell::Cell;

/// A thing's place in its list.
pub(super) struct Links<T> {
    next: Cell<Option<Placed<T>>>,
    previous: Cell<Option<Placed<T>>>,
}

impl<T> Links<T> {
    pub(super) const fn new() -> Self {
        Self { next: Cell::new(None), previous: Cell::new(None) }
    }
}

/// What can be on a list: on one at a time.
pub(super) trait Linked: Sized {
    fn links(&self) -> &Links<Self>;
}

/// Things in a pool's clusters; they stay where they are as long as they are on the list, and
/// are changed through cells only.
pub(super) struct List<T> {
    head: Cell<Option<Placed<T>>>,
}

impl<T: Linked> List<T> {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self { head: Cell::new(None) }
    }

    #[inline(always)]
    pub(super) fn first(&self) -> Option<Placed<T>> {
        self.head.get()
    }

    /// Forgets what is on it.
    pub(super) fn clear(&self) {
        self.head.set(None);
    }

    /// Puts a thing at the head that is on no list.
    #[inline]
    pub(super) fn push(&self, thing: Placed<T>) {
        let head = self.head.replace(Some(thing));
        let links = thing.links();
        links.previous.set(None);
        links.next.set(head);
        if let Some(head) = head {
            head.links().previous.set(Some(thing));
        }
    }

    /// Takes a thing off that is on this list.
    #[inline]
    pub(super) fn remove(&self, thing: Placed<T>) {
        let links = thing.links();
        let (next, previous) = (links.next.get(), links.previous.get());
        if let Some(next) = next {
            next.links().previous.set(previous);
        }
        match previous {
            Some(previous) => previous.links().next.set(next),
            None => self.head.set(next),
        }
    }

    /// The first, taken off.
    #[inline]
    pub(super) fn pop(&self) -> Option<Placed<T>> {
        let head = self.first()?;
        self.remove(head);
        Some(head)
    }
}

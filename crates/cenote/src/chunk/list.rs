//! [`List`]: what lies in clusters, linked through itself: pages with room, clusters with room.
//!
//! Taking something off from the middle is what it is for. The newest is first.

use core::cell::Cell;
use core::ptr::{self, NonNull};

/// A thing's place in its list.
pub(super) struct Links<T> {
    next: Cell<*mut T>,
    previous: Cell<*mut T>,
}

impl<T> Links<T> {
    pub(super) const fn new() -> Self {
        Self { next: Cell::new(ptr::null_mut()), previous: Cell::new(ptr::null_mut()) }
    }
}

/// What can be on a list: on one at a time.
pub(super) trait Linked: Sized {
    fn links(&self) -> &Links<Self>;
}

/// Things in a pool's clusters; they stay where they are as long as they are on the list, and
/// are changed through cells only.
pub(super) struct List<T> {
    head: Cell<*mut T>,
}

impl<T: Linked> List<T> {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self { head: Cell::new(ptr::null_mut()) }
    }

    #[inline(always)]
    pub(super) fn first(&self) -> Option<NonNull<T>> {
        NonNull::new(self.head.get())
    }

    /// Forgets what is on it.
    pub(super) fn clear(&self) {
        self.head.set(ptr::null_mut());
    }

    fn on_list(&self, thing: *mut T) -> Option<&T> {
        // SAFETY: null, or a link from something on the list to something on it, which stays
        // in place while it is; the callers hold the reference for no longer.
        unsafe { thing.as_ref() }
    }

    /// # Safety
    /// `thing` is on no list, and stays in place until it is taken off this one.
    #[inline]
    pub(super) unsafe fn push(&self, thing: NonNull<T>) {
        let head = self.head.replace(thing.as_ptr());
        // SAFETY: the caller's promise.
        let links = unsafe { thing.as_ref() }.links();
        links.previous.set(ptr::null_mut());
        links.next.set(head);
        if let Some(head) = self.on_list(head) {
            head.links().previous.set(thing.as_ptr());
        }
    }

    /// # Safety
    /// `thing` is on this list.
    #[inline]
    pub(super) unsafe fn remove(&self, thing: NonNull<T>) {
        // SAFETY: the caller's promise.
        let links = unsafe { thing.as_ref() }.links();
        let (next, previous) = (links.next.get(), links.previous.get());
        if let Some(next) = self.on_list(next) {
            next.links().previous.set(previous);
        }
        match self.on_list(previous) {
            Some(previous) => previous.links().next.set(next),
            None => self.head.set(next),
        }
    }

    /// The first, taken off.
    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<T>> {
        let head = self.first()?;
        // SAFETY: it is on this list.
        unsafe { self.remove(head) };
        Some(head)
    }
}

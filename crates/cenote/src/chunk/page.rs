//! [`Page`]: what is known of one page. Lies behind the header of the page's cluster.

use super::list::{Linked, Links};
use core::cell::Cell;

/// The class of a page in which nothing is.
const NO_CLASS: u8 = u8::MAX;

/// A page's descriptor. On the list of its class's pages with free chunks, or on none.
#[repr(C)]
pub(super) struct Page {
    links: Links<Page>,
    /// A bit for each chunk: set if it is free. Those among the newest frees of their class
    /// are not set yet.
    free: Cell<u32>,
    class: Cell<u8>,
    /// Which page of its cluster this is.
    number: u8,
}

impl Page {
    /// The descriptor of a free page.
    pub(super) fn new(number: usize) -> Self {
        Self {
            links: Links::new(),
            free: Cell::new(0),
            class: Cell::new(NO_CLASS),
            number: number as u8,
        }
    }

    /// The class of its chunks; `None`: a free page.
    #[inline(always)]
    pub(super) fn class(&self) -> Option<usize> {
        let class = self.class.get();
        (class != NO_CLASS).then_some(usize::from(class))
    }

    /// Makes it a page of chunks, all free.
    #[inline(always)]
    pub(super) fn open(&self, class: usize, all: u32) {
        self.class.set(class as u8);
        self.free.set(all);
    }

    /// Makes it a free page.
    #[inline(always)]
    pub(super) fn close(&self) {
        self.class.set(NO_CLASS);
        self.free.set(0);
    }

    #[inline(always)]
    pub(super) fn free(&self) -> u32 {
        self.free.get()
    }

    #[inline(always)]
    pub(super) fn set_free(&self, free: u32) {
        self.free.set(free);
    }

    #[inline(always)]
    pub(super) fn number(&self) -> usize {
        usize::from(self.number)
    }
}

impl Linked for Page {
    #[inline(always)]
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

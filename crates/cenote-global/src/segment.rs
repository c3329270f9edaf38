//! Segments: 4 MiB of address space, at multiples of 4 MiB, in pages of 64 KiB; which there are;
//! and what is known of each page.
//!
//! ```text
//!   segment | header | 64 descriptors | 64 * 512 B of bits |  page 1  | ... |  page 63  |
//!           0        4 KiB            8 KiB                64 KiB
//! ```
//!
//! An address leads to its segment by masking, and to its page by shifting. Whether there is a
//! segment at all is looked up first, in a map of a bit for each 4 MiB that a program may use
//! (4 MiB of zeros, of which a page or two is ever touched): an address that is none of ours is
//! noticed without reading what is there.

use crate::classes::{MAX_CHUNKS, PAGE, PAGES, divide};
use crate::sys;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Bytes of a segment.
pub(crate) const SIZE: usize = PAGE * PAGES;

/// Programs have the lower 2^47 bytes.
const ADDRESSES: usize = 1 << 47;

static MAP: [AtomicU64; ADDRESSES / SIZE / 64] =
    [const { AtomicU64::new(0) }; ADDRESSES / SIZE / 64];

/// Whoever has the objects of a page: a heap, of which this file knows no more than the address.
pub(crate) enum Owner {}

/// Nobody's page; no heap and no thread's word has this address.
pub(crate) const NOBODY: *mut Owner = ptr::without_provenance_mut(64);

/// The page of an object that has its pages for itself.
pub(crate) const ITSELF: *mut Owner = ptr::without_provenance_mut(128);

/// What is known of a page. A run of several pages has all in its first one, and what each free
/// reads in each. Written under the owner's lock, or before anybody has an object of it.
#[repr(C, align(64))]
pub(crate) struct Page {
    pub(crate) owner: AtomicPtr<Owner>,
    /// See `classes::Class`; 0 where no object begins, 1 where one does at the run's start alone.
    pub(crate) reciprocal: AtomicU64,
    /// The lower half of the address of the run.
    pub(crate) start: AtomicU32,
    /// Where the class's bin lies in its heap.
    pub(crate) bin: AtomicU16,
    pub(crate) class: AtomicU8,
    /// The number of the run's first page.
    pub(crate) head: AtomicU8,
    pub(crate) next: AtomicPtr<Page>,
    pub(crate) prev: AtomicPtr<Page>,
    /// How many chunks are free: how many bits are set.
    pub(crate) free: AtomicU32,
    /// No word of bits below this one has any.
    pub(crate) hint: AtomicU16,
    /// Pages of the run.
    pub(crate) pages: AtomicU8,
    /// The bytes asked for, of an object that has its pages for itself.
    pub(crate) bytes: AtomicU32,
    /// The place of the objects' owners, for accounts: a table beside the objects, none so far.
    _owners: AtomicPtr<u32>,
}

const _: () = assert!(size_of::<Page>() == 64);

/// The first page of a segment. What is not said otherwise is under the lock of `pages`.
#[repr(C, align(4096))]
pub(crate) struct Segment {
    /// The list of segments with as long a run of free pages.
    pub(crate) next: AtomicPtr<Segment>,
    pub(crate) prev: AtomicPtr<Segment>,
    /// The list of all.
    pub(crate) next_of_all: AtomicPtr<Segment>,
    pub(crate) prev_of_all: AtomicPtr<Segment>,
    /// A bit for each page: free ones; those of them that may be in memory; and those that were so
    /// at the last tick, too.
    pub(crate) free: AtomicU64,
    pub(crate) dirty: AtomicU64,
    pub(crate) aged: AtomicU64,
    /// Pages that are mapped: fewer than all where address space was short.
    pub(crate) mapped: AtomicU32,
    /// The longest run of free pages.
    pub(crate) longest: AtomicU8,
    descriptors: Descriptors,
    bits: [[AtomicU64; MAX_CHUNKS / 64]; PAGES],
}

#[repr(C, align(4096))]
struct Descriptors([Page; PAGES]);

const _: () = assert!(size_of::<Segment>() <= PAGE);

impl Segment {
    /// A segment of that many pages in fresh memory of as many, near an address if that is not 0.
    pub(crate) fn map(pages: usize, near: usize) -> Option<&'static Self> {
        let start = sys::map_aligned(pages * PAGE, SIZE, near);
        if start.is_null() {
            return None;
        }
        let Some(word) = MAP.get(start.expose_provenance() / SIZE / 64) else {
            // SAFETY: just mapped, and nobody else's.
            unsafe { sys::unmap(start, pages * PAGE) };
            return None;
        };
        // SAFETY: zeros, which are values of each of its fields, for as long as it is mapped; nobody
        // refers to it any more when it is unmapped.
        let segment = unsafe { &*start.cast::<Self>() };
        segment.mapped.store(pages as u32, Relaxed);
        segment.free.store(segment.every_page(), Relaxed);
        for page in &segment.descriptors.0 {
            page.owner.store(NOBODY, Relaxed);
        }
        word.fetch_or(1 << (start.addr() / SIZE % 64), Relaxed);
        Some(segment)
    }

    /// # Safety
    /// No page of it is in use, it is on no list, and nobody comes to it by one.
    pub(crate) unsafe fn unmap(&self) {
        if let Some(word) = MAP.get(self.address() / SIZE / 64) {
            word.fetch_and(!(1 << (self.address() / SIZE % 64)), Relaxed);
        }
        let pages = self.mapped.load(Relaxed) as usize;
        // SAFETY: a mapping of that length, which nobody uses.
        unsafe { sys::unmap(self.at(0), pages * PAGE) };
    }

    /// A bit for each page that objects may be in.
    pub(crate) fn every_page(&self) -> u64 {
        (u64::MAX >> (PAGES as u32 - self.mapped.load(Relaxed))) & !1
    }

    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// The address of a page.
    pub(crate) fn at(&self, page: usize) -> *mut u8 {
        pointer(self.address() + page * PAGE)
    }

    pub(crate) fn page(&self, number: usize) -> &Page {
        &self.descriptors.0[number % PAGES]
    }

    /// A bit for each chunk of the run that begins at this page: set if it is free.
    pub(crate) fn bits(&self, number: usize) -> &[AtomicU64; MAX_CHUNKS / 64] {
        &self.bits[number % PAGES]
    }
}

/// A pointer to what lies at an address in a segment. The pointer that a program frees is good for
/// its object alone; what lies around it is reached by the mapping's own, which was exposed when the
/// segment was made.
#[inline(always)]
pub(crate) fn pointer(address: usize) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address)
}

/// The segment around an address, if there is one.
#[inline(always)]
pub(crate) fn segment_at(address: usize) -> Option<&'static Segment> {
    let number = address / SIZE;
    let word = MAP.get(number / 64)?.load(Relaxed);
    if word >> (number % 64) & 1 == 0 {
        return None;
    }
    // SAFETY: the bit is set while there is a segment at that address. (A free of what is no object
    // may race with the end of the segment, as it would with anything.)
    Some(unsafe { &*pointer(number * SIZE).cast::<Segment>() })
}

/// What is known of the page that an address is in, if it is in a segment.
#[inline(always)]
pub(crate) fn page_at(address: usize) -> Option<&'static Page> {
    Some(segment_at(address)?.page(address / PAGE % PAGES))
}

impl Page {
    /// How far an address is from the start of the run that it is in.
    #[inline(always)]
    pub(crate) fn offset(&self, address: usize) -> usize {
        (address as u32).wrapping_sub(self.start.load(Relaxed)) as usize
    }

    /// Whether an object may begin at an address, as far as the size of the run's objects tells.
    #[inline(always)]
    pub(crate) fn begins(&self, address: usize) -> bool {
        let reciprocal = self.reciprocal.load(Relaxed);
        (self.offset(address) as u64).wrapping_mul(reciprocal) < reciprocal
    }

    /// Which object of the run begins at an address, if one may.
    #[inline(always)]
    pub(crate) fn index(&self, address: usize) -> Option<usize> {
        divide(self.offset(address), self.reciprocal.load(Relaxed))
    }
}

//! Objects of more than 32 KiB and up to 1 MiB: runs of pages of their own, which the pool of pages
//! gives and takes. A page's descriptor has all that is known of one.

use crate::classes::{ALIGN, MAX_RUN, PAGE, PAGES};
use crate::pages::{self, Run};
use crate::segment::{ITSELF, Page, Segment, segment_at};
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How many there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Objects of this kind, and their bytes.
pub(crate) fn count_and_bytes() -> (usize, usize) {
    (COUNT.load(Relaxed), BYTES.load(Relaxed))
}
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Whether an object of this size and alignment is one of these, if it is too large for a class.
pub(crate) fn fits(size: usize, align: usize) -> bool {
    size <= MAX_RUN && align <= PAGE
}

/// An object of so many bytes; null if there is no memory. The second: whether it is zeros.
pub(crate) fn alloc(size: usize) -> (*mut u8, bool) {
    let count = size.div_ceil(PAGE).max(1);
    let Some(Run { segment, first, clean }) = pages::take(count) else {
        return (ptr::null_mut(), false);
    };
    let start = segment.at(first);
    describe(segment, first, first..first + count, size);
    segment.page(first).pages.store(count as u8, Relaxed);
    COUNT.fetch_add(1, Relaxed);
    BYTES.fetch_add(size, Relaxed);
    (start, clean)
}

fn describe(segment: &Segment, first: usize, pages: core::ops::Range<usize>, size: usize) {
    segment.page(first).bytes.store(size as u32, Relaxed);
    for number in pages {
        let page = segment.page(number);
        page.start.store(segment.at(first).addr() as u32, Relaxed);
        page.head.store(first as u8, Relaxed);
        page.reciprocal.store(1, Relaxed);
        page.owner.store(ITSELF, Relaxed);
    }
}

/// The object that begins at this address, whose page has this descriptor.
struct Object {
    segment: &'static Segment,
    first: usize,
    page: &'static Page,
}

fn object_at(address: usize) -> Option<Object> {
    let segment = segment_at(address)?;
    let first = address / PAGE % PAGES;
    let page = segment.page(first);
    let begins = address.is_multiple_of(PAGE) && usize::from(page.head.load(Relaxed)) == first;
    (begins && page.owner.load(Relaxed) == ITSELF).then_some(Object { segment, first, page })
}

/// Frees the object that begins at this address; `false` if there is none.
pub(crate) fn free(start: *mut u8) -> bool {
    let Some(object) = object_at(start.addr()) else { return false };
    // Of two frees at once one is told.
    let taken = object.page.owner.compare_exchange(
        ITSELF,
        crate::segment::NOBODY,
        Ordering::Relaxed,
        Ordering::Relaxed,
    );
    if taken.is_err() {
        return false;
    }
    COUNT.fetch_sub(1, Relaxed);
    BYTES.fetch_sub(object.page.bytes.load(Relaxed) as usize, Relaxed);
    pages::give(object.segment, object.first, usize::from(object.page.pages.load(Relaxed)));
    true
}

/// The bytes that the object at this address may use: all of its pages.
pub(crate) fn usable(start: *mut u8) -> Option<usize> {
    object_at(start.addr()).map(|object| usize::from(object.page.pages.load(Relaxed)) * PAGE)
}

/// Makes the object another number of bytes, which is of this kind, without moving it; `false`, and
/// nothing changed, if that cannot be.
pub(crate) fn resize(start: *mut u8, size: usize) -> bool {
    let Some(Object { segment, first, page }) = object_at(start.addr()) else { return false };
    if !(ALIGN..=MAX_RUN).contains(&size) {
        return false;
    }
    let (have, need) = (usize::from(page.pages.load(Relaxed)), size.div_ceil(PAGE));
    let before = page.bytes.load(Relaxed) as usize;
    if need > have {
        if pages::take_behind(segment, first + have, need - have).is_none() {
            return false;
        }
        describe(segment, first, first + have..first + need, size);
    } else if need < have {
        pages::give(segment, first + need, have - need);
    }
    page.pages.store(need as u8, Relaxed);
    page.bytes.store(size as u32, Relaxed);
    BYTES.fetch_add(size.wrapping_sub(before), Relaxed);
    true
}

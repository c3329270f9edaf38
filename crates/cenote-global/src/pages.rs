//! The pool of pages: which of all segments' pages are free, for whoever needs a run of them; and
//! giving their memory back.
//!
//! Any thread gives pages and takes them, so a page that is empty is nobody's at once, whoever
//! emptied it. Segments are listed by their longest run of free pages; who needs some takes of the
//! shortest that will do. Pages that are in memory already are taken before those that are not.

use crate::classes::{PAGE, PAGES};
use crate::lock::Lock;
use crate::segment::{self, NOBODY, Segment};
use crate::sys;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Guards the lists, and what each segment knows of its free pages. Taken after a heap's.
pub(crate) static LOCK: Lock = Lock::new();

/// Held by whoever gives memory back: one at a time. Taken before [`LOCK`]; only its holder
/// unmaps segments.
pub(crate) static PURGING: Lock = Lock::new();

/// By the longest run of free pages.
static LISTS: [AtomicPtr<Segment>; PAGES] = [const { AtomicPtr::new(ptr::null_mut()) }; PAGES];
/// A bit for each list that is not empty.
static FILLED: AtomicU64 = AtomicU64::new(0);
static ALL: AtomicPtr<Segment> = AtomicPtr::new(ptr::null_mut());
/// How many pages are free and may be in memory.
static DIRTY: AtomicUsize = AtomicUsize::new(0);
/// Pages of all segments, their first ones included.
static MAPPED: AtomicUsize = AtomicUsize::new(0);
/// Pages in use.
static USED: AtomicUsize = AtomicUsize::new(0);
static SEGMENTS: AtomicUsize = AtomicUsize::new(0);

/// Pages side by side that were free.
pub(crate) struct Run {
    pub(crate) segment: &'static Segment,
    pub(crate) first: usize,
    /// Whether all of it is zeros.
    pub(crate) clean: bool,
}

/// Bytes of free pages that may be in memory.
pub(crate) fn dirty() -> usize {
    DIRTY.load(Relaxed) * PAGE
}

/// Bytes of segments, and of pages in use.
pub(crate) fn mapped_and_used() -> (usize, usize) {
    (MAPPED.load(Relaxed) * PAGE, USED.load(Relaxed) * PAGE)
}

/// Makes huge pages possible in segments from now on.
pub(crate) fn allow_huge() {
    HUGE.store(1, Relaxed);
}
static HUGE: AtomicUsize = AtomicUsize::new(0);

/// Whether pages were given since this was asked last.
#[inline(always)]
pub(crate) fn were_given() -> bool {
    let given = GIVEN.load(Relaxed);
    if given {
        GIVEN.store(false, Relaxed);
    }
    given
}

/// As if pages were given.
pub(crate) fn look_again() {
    GIVEN.store(true, Relaxed);
}

static GIVEN: AtomicBool = AtomicBool::new(false);

fn ones(first: usize, count: usize) -> u64 {
    (u64::MAX >> (64 - count)) << first
}

/// A bit for each place where a run of `count` begins.
fn starts(mut free: u64, count: usize) -> u64 {
    let mut length = 1;
    while length < count {
        let more = length.min(count - length);
        free &= free >> more;
        length += more;
    }
    free
}

fn longest(mut free: u64) -> usize {
    let mut length = 0;
    while free != 0 {
        free &= free << 1;
        length += 1;
    }
    length
}

fn add(counter: &AtomicUsize, more: usize) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

fn sub(counter: &AtomicUsize, less: usize) {
    counter.store(counter.load(Relaxed).wrapping_sub(less), Relaxed);
}

// SAFETY of the two: pointers on the lists are segments that are mapped.
fn refer(segment: *mut Segment) -> Option<&'static Segment> {
    // SAFETY: null, or a segment on a list.
    unsafe { segment.as_ref() }
}

fn link(segment: &'static Segment) {
    let length = longest(segment.free.load(Relaxed));
    segment.longest.store(length as u8, Relaxed);
    let Some(list) = LISTS.get(length) else { return };
    let next = list.load(Relaxed);
    segment.prev.store(ptr::null_mut(), Relaxed);
    segment.next.store(next, Relaxed);
    if let Some(next) = refer(next) {
        next.prev.store(ptr::from_ref(segment).cast_mut(), Relaxed);
    }
    list.store(ptr::from_ref(segment).cast_mut(), Relaxed);
    FILLED.store(FILLED.load(Relaxed) | 1 << length, Relaxed);
}

fn unlink(segment: &Segment) {
    let (next, prev) = (segment.next.load(Relaxed), segment.prev.load(Relaxed));
    if let Some(next) = refer(next) {
        next.prev.store(prev, Relaxed);
    }
    if let Some(prev) = refer(prev) {
        prev.next.store(next, Relaxed);
        return;
    }
    let length = usize::from(segment.longest.load(Relaxed));
    let Some(list) = LISTS.get(length) else { return };
    list.store(next, Relaxed);
    if next.is_null() {
        FILLED.store(FILLED.load(Relaxed) & !(1 << length), Relaxed);
    }
}

/// Changes which pages are free, and puts the segment on the list that it then belongs to.
fn set_free(segment: &'static Segment, free: u64) {
    segment.free.store(free, Relaxed);
    if longest(free) != usize::from(segment.longest.load(Relaxed)) {
        unlink(segment);
        link(segment);
    }
}

/// Takes these pages; whether all of them are zeros.
fn claim(segment: &'static Segment, run: u64) -> bool {
    let dirty = segment.dirty.load(Relaxed);
    segment.dirty.store(dirty & !run, Relaxed);
    segment.aged.store(segment.aged.load(Relaxed) & !run, Relaxed);
    sub(&DIRTY, (dirty & run).count_ones() as usize);
    add(&USED, run.count_ones() as usize);
    set_free(segment, segment.free.load(Relaxed) & !run);
    dirty & run == 0
}

/// A run of `count` pages, 1 to 63; `None` if there is no memory.
pub(crate) fn take(count: usize) -> Option<Run> {
    LOCK.with(|| {
        let lists = FILLED.load(Relaxed) >> count << count;
        let segment = if lists == 0 {
            add_segment(count)?
        } else {
            refer(LISTS.get(lists.trailing_zeros() as usize)?.load(Relaxed))?
        };
        let free = segment.free.load(Relaxed);
        let resident = starts(free & segment.dirty.load(Relaxed), count);
        let places = if resident == 0 { starts(free, count) } else { resident };
        let first = places.trailing_zeros() as usize;
        let clean = claim(segment, ones(first, count));
        Some(Run { segment, first, clean })
    })
}

/// Pages that are to belong to a run that ends before them: `None` if they are not free.
pub(crate) fn take_behind(segment: &'static Segment, first: usize, count: usize) -> Option<bool> {
    if count == 0 || first + count > PAGES {
        return None;
    }
    let run = ones(first, count);
    LOCK.with(|| (segment.free.load(Relaxed) & run == run).then(|| claim(segment, run)))
}

/// Gives pages back that nobody uses any more, and makes them nobody's.
pub(crate) fn give(segment: &'static Segment, first: usize, count: usize) {
    for number in first..first + count {
        let page = segment.page(number);
        page.reciprocal.store(0, Relaxed);
        page.owner.store(NOBODY, Relaxed);
    }
    let run = ones(first, count);
    LOCK.with(|| {
        segment.dirty.store(segment.dirty.load(Relaxed) | run, Relaxed);
        add(&DIRTY, count);
        sub(&USED, count);
        set_free(segment, segment.free.load(Relaxed) | run);
    });
    GIVEN.store(true, Relaxed);
}

/// A segment with at least so many free pages: of the usual size, or a smaller one where there is
/// no room for that.
fn add_segment(count: usize) -> Option<&'static Segment> {
    let last = refer(ALL.load(Relaxed));
    let near = last.map_or(0, |last| last.address().wrapping_sub(segment::SIZE));
    let sizes = [PAGES, 16, count + 1];
    let mut fitting = sizes.iter().filter(|pages| **pages > count);
    let segment = fitting.find_map(|pages| Segment::map(*pages, near))?;
    if HUGE.load(Relaxed) == 0 {
        sys::no_huge_pages(segment.at(0), segment.mapped.load(Relaxed) as usize * PAGE);
    }
    if let Some(last) = last {
        last.prev_of_all.store(ptr::from_ref(segment).cast_mut(), Relaxed);
    }
    let next = last.map_or(ptr::null_mut(), |last| ptr::from_ref(last).cast_mut());
    segment.next_of_all.store(next, Relaxed);
    ALL.store(ptr::from_ref(segment).cast_mut(), Relaxed);
    add(&MAPPED, segment.mapped.load(Relaxed) as usize);
    add(&SEGMENTS, 1);
    link(segment);
    Some(segment)
}

fn remove_segment(segment: &'static Segment) {
    unlink(segment);
    let (next, prev) = (&segment.next_of_all, &segment.prev_of_all);
    let (next, prev) = (next.load(Relaxed), prev.load(Relaxed));
    if let Some(next) = refer(next) {
        next.prev_of_all.store(prev, Relaxed);
    }
    match refer(prev) {
        Some(prev) => prev.next_of_all.store(next, Relaxed),
        None => ALL.store(next, Relaxed),
    }
    sub(&MAPPED, segment.mapped.load(Relaxed) as usize);
    sub(&SEGMENTS, 1);
}

/// Which pages are given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Those that were free at the last call of this kind, too.
    Aged,
    /// All that are free.
    Every,
}

/// What came of giving memory back, in bytes: how much went, and how much the system did not take.
#[derive(Clone, Copy)]
pub(crate) struct Purged {
    pub(crate) given: usize,
    pub(crate) refused: usize,
}

/// Gives the memory of free pages back to the system, and segments in which nothing is, but for
/// one.
pub(crate) fn purge(due: Due) -> Purged {
    PURGING.lock();
    let purged = purge_locked(due);
    PURGING.unlock();
    purged
}

/// The same, unless somebody is at it.
pub(crate) fn try_purge(due: Due) {
    if PURGING.try_lock() {
        purge_locked(due);
        PURGING.unlock();
    }
}

fn purge_locked(due: Due) -> Purged {
    let mut purged = Purged { given: 0, refused: 0 };
    let mut next = LOCK.with(|| ALL.load(Relaxed));
    while let Some(segment) = refer(next) {
        // Pages that are being given back are in nobody's reach: they are not free meanwhile.
        let wanted = LOCK.with(|| {
            let dirty = segment.dirty.load(Relaxed);
            let wanted = if due == Due::Aged { segment.aged.load(Relaxed) } else { dirty };
            segment.dirty.store(dirty & !wanted, Relaxed);
            segment.aged.store(dirty & !wanted, Relaxed);
            sub(&DIRTY, wanted.count_ones() as usize);
            set_free(segment, segment.free.load(Relaxed) & !wanted);
            wanted
        });
        let kept = if wanted == 0 { 0 } else { purge_pages(segment, wanted) };
        purged.given += (wanted & !kept).count_ones() as usize * PAGE;
        let gone = LOCK.with(|| {
            if wanted != 0 {
                segment.dirty.store(segment.dirty.load(Relaxed) | kept, Relaxed);
                add(&DIRTY, kept.count_ones() as usize);
                set_free(segment, segment.free.load(Relaxed) | wanted);
            }
            next = segment.next_of_all.load(Relaxed);
            // What is empty for the second time, or cannot be given back in another way.
            let long = wanted == 0 || kept != 0 || due == Due::Every;
            let empty = segment.free.load(Relaxed) == segment.every_page();
            let gone = long && empty && SEGMENTS.load(Relaxed) > 1;
            if gone {
                sub(&DIRTY, segment.dirty.load(Relaxed).count_ones() as usize);
                remove_segment(segment);
            }
            gone
        });
        if !gone {
            purged.refused += kept.count_ones() as usize * PAGE;
        } else {
            purged.given += kept.count_ones() as usize * PAGE;
            // SAFETY: just taken off all lists while no page of it was in use; only this function
            // goes along the list of all, one at a time.
            unsafe { segment.unmap() };
        }
    }
    purged
}

/// Gives these pages back; those that the kernel did not take.
fn purge_pages(segment: &Segment, mut pages: u64) -> u64 {
    let mut kept = 0;
    while pages != 0 {
        let first = pages.trailing_zeros() as usize;
        let count = (pages >> first).trailing_ones() as usize;
        // SAFETY: the memory of pages in which nothing is.
        if !unsafe { sys::purge(segment.at(first), count * PAGE) } {
            kept |= ones(first, count);
        }
        pages &= !ones(first, count);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_begin_where_so_many_bits_are_set() {
        let free = 0b0111_0110_1111_0010_u64;
        for count in 1..=6 {
            let slowly = (0..64)
                .filter(|at| *at + count <= 64 && (free >> at) & ones(0, count) == ones(0, count));
            assert_eq!(starts(free, count), slowly.fold(0, |all, at| all | 1 << at));
        }
        assert_eq!((longest(free), longest(0), longest(u64::MAX)), (4, 0, 64));
    }
}

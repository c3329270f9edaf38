//! Runs of pages with chunks of one class: which chunks are free, and which runs have some.
//! Everything here is done under the lock of the heap whose the run is.

use super::{Heap, bin_offset};
use crate::classes::{CLASSES, COUNT, PAGE, PAGES};
use crate::pages;
use crate::segment::{Page, Segment, pointer, segment_at};
use crate::words::die;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// A run, by its first page.
#[derive(Clone, Copy)]
struct Run {
    segment: &'static Segment,
    first: usize,
    page: &'static Page,
}

/// The run that an address is in, if it is in a segment.
fn run_at(address: usize) -> Option<Run> {
    let segment = segment_at(address)?;
    let first = usize::from(segment.page(address / PAGE % PAGES).head.load(Relaxed));
    Some(Run { segment, first, page: segment.page(first) })
}

fn refer(page: *mut Page) -> Option<&'static Page> {
    // SAFETY: null, or a page on a heap's list, whose segment is mapped as long as it is there.
    unsafe { page.as_ref() }
}

fn list(heap: &Heap, class: usize) -> &AtomicPtr<Page> {
    &heap.partial[class % COUNT]
}

fn link(heap: &Heap, class: usize, page: &'static Page) {
    let at = ptr::from_ref(page).cast_mut();
    let next = list(heap, class).load(Relaxed);
    page.prev.store(ptr::null_mut(), Relaxed);
    page.next.store(next, Relaxed);
    if let Some(next) = refer(next) {
        next.prev.store(at, Relaxed);
    }
    list(heap, class).store(at, Relaxed);
}

fn unlink(heap: &Heap, class: usize, page: &'static Page) {
    let (next, prev) = (page.next.load(Relaxed), page.prev.load(Relaxed));
    if let Some(next) = refer(next) {
        next.prev.store(prev, Relaxed);
    }
    match refer(prev) {
        Some(prev) => prev.next.store(next, Relaxed),
        None => list(heap, class).store(next, Relaxed),
    }
}

/// Takes free chunks of a class, the lowest of a run first; how many there were, up to what there
/// is room for.
pub(super) fn take(heap: &Heap, class: usize, chunks: &mut [*mut u8]) -> usize {
    let (size, mut count) = (CLASSES[class % COUNT].size as usize, 0);
    while count < chunks.len() {
        let Some(page) = refer(list(heap, class).load(Relaxed)) else { break };
        let Some(segment) = segment_at(ptr::from_ref(page).addr()) else { break };
        let first = usize::from(page.head.load(Relaxed));
        let start = segment.address() + first * PAGE;
        let mut free = page.free.load(Relaxed);
        let hint = usize::from(page.hint.load(Relaxed));
        for (number, word) in segment.bits(first).iter().enumerate().skip(hint) {
            let mut bits = word.load(Relaxed);
            while bits != 0 && count < chunks.len() {
                let index = number * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(place) = chunks.get_mut(count) {
                    *place = pointer(start + index * size);
                }
                count += 1;
                free -= 1;
            }
            word.store(bits, Relaxed);
            if free == 0 || count == chunks.len() {
                page.hint.store(number as u16, Relaxed);
                break;
            }
        }
        page.free.store(free, Relaxed);
        if free == 0 {
            unlink(heap, class, page);
        }
    }
    count
}

/// A new run of a class, all of which is taken: where it starts, its bytes, and whether they are
/// zeros.
pub(super) fn open(heap: &Heap, class: usize) -> Option<(*mut u8, usize, bool)> {
    let shape = &CLASSES[class % COUNT];
    let count = usize::from(shape.pages);
    let pages::Run { segment, first, clean } = pages::take(count)?;
    count_runs(heap, class, 1);
    let start = segment.at(first);
    let words = usize::from(shape.chunks).div_ceil(64);
    for word in &segment.bits(first)[..words] {
        word.store(0, Relaxed);
    }
    let head = segment.page(first);
    head.free.store(0, Relaxed);
    head.hint.store(0, Relaxed);
    head.pages.store(shape.pages, Relaxed);
    for number in first..first + count {
        let page = segment.page(number);
        page.start.store(start.addr() as u32, Relaxed);
        page.bin.store(bin_offset(class), Relaxed);
        page.class.store(class as u8, Relaxed);
        page.head.store(first as u8, Relaxed);
        page.reciprocal.store(shape.reciprocal, Relaxed);
        page.owner.store(heap.owner(), Relaxed);
    }
    Some((start, usize::from(shape.chunks) * shape.size as usize, clean))
}

/// Makes a chunk free in its run. One that is not taken there, and what is none, ends the process.
pub(super) fn put(heap: &Heap, chunk: *mut u8) {
    let address = chunk.addr();
    let Some(run) = run_at(address) else { return no_object(address) };
    let class = usize::from(run.page.class.load(Relaxed));
    let shape = &CLASSES[class % COUNT];
    if run.page.owner.load(Relaxed) != heap.owner() {
        return no_object(address);
    }
    let Some(index) = run.page.index(address) else { return no_object(address) };
    if index >= usize::from(shape.chunks) {
        return no_object(address);
    }
    let (window, bytes) = heap.bin(class).window();
    if (window.addr()..window.addr() + bytes).contains(&address) {
        return no_object(address);
    }
    let Some(word) = run.segment.bits(run.first).get(index / 64) else { return };
    let bits = word.load(Relaxed);
    if bits >> (index % 64) & 1 != 0 {
        die("double free of", address, "the object was freed before and nothing is there since");
    }
    word.store(bits | 1 << (index % 64), Relaxed);
    let hint = run.page.hint.load(Relaxed);
    run.page.hint.store(hint.min((index / 64) as u16), Relaxed);
    freed(heap, class, run, 1);
}

fn count_runs(heap: &Heap, class: usize, more: u32) {
    let runs = &heap.runs[class % COUNT];
    runs.store(runs.load(Relaxed).wrapping_add(more), Relaxed);
}

/// Counts chunks that became free in a run, and does what follows from that.
fn freed(heap: &Heap, class: usize, run: Run, more: u32) {
    let before = run.page.free.load(Relaxed);
    let free = before + more;
    run.page.free.store(free, Relaxed);
    if free < u32::from(CLASSES[class % COUNT].chunks) {
        if before == 0 {
            link(heap, class, run.page);
        }
        return;
    }
    if before != 0 {
        unlink(heap, class, run.page);
    }
    count_runs(heap, class, u32::MAX);
    pages::give(run.segment, run.first, usize::from(run.page.pages.load(Relaxed)));
}

/// Makes free what is left of a window, which begins here and is not the heap's any more.
pub(super) fn close(heap: &Heap, class: usize, start: *mut u8) {
    let Some(run) = run_at(start.addr()) else { return };
    let Some(index) = run.page.index(start.addr()) else { return };
    let chunks = usize::from(CLASSES[class % COUNT].chunks);
    for number in index..chunks {
        if let Some(word) = run.segment.bits(run.first).get(number / 64) {
            word.store(word.load(Relaxed) | 1 << (number % 64), Relaxed);
        }
    }
    let hint = run.page.hint.load(Relaxed);
    run.page.hint.store(hint.min((index / 64) as u16), Relaxed);
    freed(heap, class, run, (chunks - index) as u32);
}

/// How many chunks of a class are free in the runs.
pub(super) fn count_free(heap: &Heap, class: usize) -> usize {
    let mut next = list(heap, class).load(Relaxed);
    let mut count = 0;
    while let Some(page) = refer(next) {
        count += page.free.load(Relaxed) as usize;
        next = page.next.load(Relaxed);
    }
    count
}

#[cold]
fn no_object(address: usize) {
    die("free of", address, "no object of this allocator begins there");
}

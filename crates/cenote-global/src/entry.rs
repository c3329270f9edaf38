//! What the faces of the crate call: allocate, free, change the size, for every size and alignment.
//!
//! The usual case is inlined and looks at the thread's word once: if it is a heap, it is this
//! thread's, and nobody is in it.

use crate::classes::{ALIGN, CLASSES, COUNT, MAX_SMALL, class_of_aligned};
use crate::heap::{Heap, bin_offset};
use crate::segment::{ITSELF, NOBODY, Page, page_at};
use crate::thread::{self, Entered};
use crate::words::die;
use crate::{huge, large, options, pages, sys, word};
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering::Relaxed;

/// Where the bin of each number of sixteens lies in a heap.
static BINS: [u16; MAX_SMALL / 16 + 1] = {
    let mut bins = [0; MAX_SMALL / 16 + 1];
    let (mut step, mut class) = (0, 0);
    while step < bins.len() {
        if step * 16 > CLASSES_SIZES[class] {
            class += 1;
        }
        bins[step] = bin_offset(class);
        step += 1;
    }
    bins
};
const CLASSES_SIZES: [usize; COUNT] = crate::classes::sizes();

/// An object of `size` bytes, aligned to 16; null if there is no memory.
#[inline(always)]
pub(crate) fn alloc(size: usize) -> *mut u8 {
    let word = word::get();
    if word::is_heap(word) && size <= MAX_SMALL {
        // SAFETY: the table has an entry for each size up to the largest.
        let bin = unsafe { *BINS.get_unchecked(size.div_ceil(16)) };
        // SAFETY: a word above the states is this thread's heap.
        let heap = unsafe { &*word };
        word::take();
        // SAFETY: the table has the offsets of bins.
        let chunk = unsafe { heap.bin_at(bin) }.take();
        word::restore(word);
        if let Some(chunk) = chunk {
            // SAFETY: a chunk has 16 bytes at least, and is this call's.
            unsafe { chunk.cast::<u64>().write(0) };
            return chunk.as_ptr();
        }
    }
    alloc_slow(size, ALIGN, false)
}

/// The same for any alignment.
#[inline(always)]
pub(crate) fn alloc_aligned(size: usize, align: usize) -> *mut u8 {
    if align <= ALIGN { alloc(size) } else { alloc_slow(size, align, false) }
}

/// An object of zeros.
#[inline]
pub(crate) fn alloc_zeroed(size: usize, align: usize) -> *mut u8 {
    alloc_slow(size, align, true)
}

/// Any object, in any state of the thread.
#[cold]
#[inline(never)]
pub(crate) fn alloc_slow(size: usize, align: usize, zeroed: bool) -> *mut u8 {
    let Some(heap) = thread::enter() else { return passed::alloc(size, align, zeroed) };
    if size > cenote::size::MAX {
        return ptr::null_mut();
    }
    let first = alloc_in(&heap, size, align, zeroed);
    if !first.is_null() {
        return first;
    }
    // There may be some that nobody uses.
    heap.settle();
    pages::purge(pages::Due::Every);
    alloc_in(&heap, size, align, zeroed)
}

fn alloc_in(heap: &Heap, size: usize, align: usize, zeroed: bool) -> *mut u8 {
    if let Some(class) = class_of_aligned(size, align) {
        return alloc_chunk(heap, class, size, zeroed);
    }
    if !large::fits(size, align) {
        return huge::alloc(size, align);
    }
    let (start, clean) = large::alloc(size);
    if zeroed && !clean && !start.is_null() {
        // SAFETY: an object of so many bytes, of this call's.
        unsafe { start.write_bytes(0, size) };
    }
    start
}

fn alloc_chunk(heap: &Heap, class: usize, size: usize, zeroed: bool) -> *mut u8 {
    let bin = heap.bin(class);
    let mut clean = bin.next_is_clean();
    let mut chunk = bin.take();
    if chunk.is_none() && heap.refill(class) {
        clean = bin.next_is_clean();
        chunk = bin.take();
    }
    let Some(chunk) = chunk.map(NonNull::as_ptr) else { return ptr::null_mut() };
    // SAFETY: a chunk has 16 bytes at least, and is this call's.
    unsafe { chunk.cast::<u64>().write(0) };
    if zeroed && !clean {
        // SAFETY: a chunk of at least so many bytes.
        unsafe { chunk.write_bytes(0, size) };
    }
    chunk
}

/// Frees an object. What is none ends the process, with words that say which it is.
///
/// # Safety
/// If there is an object at `start`, nobody uses it any more.
#[inline(always)]
pub(crate) unsafe fn free(start: *mut u8) {
    let word = word::get();
    if let Some(page) = page_at(start.addr())
        && page.owner.load(Relaxed) == word.cast()
        && page.begins(start.addr())
    {
        // SAFETY: no state of a word is a page's owner, so this is the thread's heap.
        let heap = unsafe { &*word };
        let mark = heap.mark(start);
        let at = start.cast::<u64>();
        // SAFETY: a chunk of this heap, or of its window; it has 16 bytes at least.
        if unsafe { at.read() } != mark {
            word::take();
            // SAFETY: the page of a heap has the offset of its bin.
            let bin = unsafe { heap.bin_at(page.bin.load(Relaxed)) };
            let pushed = bin.push(start);
            if pushed {
                // SAFETY: as above.
                unsafe { at.write(mark) };
            }
            word::restore(word);
            if pushed {
                return;
            }
        }
    }
    // SAFETY: the caller's word.
    unsafe { free_slow(start) };
}

/// Frees anything, in any state of the thread.
#[cold]
#[inline(never)]
unsafe fn free_slow(start: *mut u8) {
    if start.is_null() {
        return;
    }
    // SAFETY: the caller's word.
    let Some(heap) = thread::enter() else { return unsafe { passed::free(start) } };
    match page_at(start.addr()) {
        Some(page) if is_chunk(page) => free_chunk(&heap, page, start),
        Some(page) if page.owner.load(Relaxed) == ITSELF && large::free(start) => {}
        None if huge::free(start) => {}
        _ => no_object(start),
    }
}

fn is_chunk(page: &Page) -> bool {
    let owner = page.owner.load(Relaxed);
    owner != NOBODY && owner != ITSELF
}

fn free_chunk(heap: &Entered, page: &Page, start: *mut u8) {
    check_chunk(heap, page, start);
    let class = usize::from(page.class.load(Relaxed));
    if options::secure() {
        // SAFETY: a chunk of that size, which nobody uses any more.
        unsafe { start.write_bytes(0, CLASSES[class % COUNT].size as usize) };
    }
    // SAFETY: it has 16 bytes at least.
    unsafe { start.cast::<u64>().write(heap.mark(start)) };
    if page.owner.load(Relaxed) == heap.owner() {
        heap.push(class, start);
    } else {
        heap.push_far(start);
    }
}

/// Ends the process unless a chunk that is not free may begin here.
fn check_chunk(heap: &Heap, page: &Page, start: *mut u8) {
    let class = usize::from(page.class.load(Relaxed)) % COUNT;
    match page.index(start.addr()) {
        Some(index) if index < usize::from(CLASSES[class].chunks) => {}
        _ => no_object(start),
    }
    // SAFETY: inside of a run, whose chunks have 16 bytes at least.
    if unsafe { start.cast::<u64>().read() } == heap.mark(start) {
        die(
            "double free of",
            start.addr(),
            "the object was freed before, and nothing is there since",
        );
    }
}

/// Says why there is no object here, and ends the process.
#[cold]
#[inline(never)]
fn no_object(start: *mut u8) -> ! {
    let address = start.addr();
    let why = match page_at(address) {
        Some(page) if is_chunk(page) || page.owner.load(Relaxed) == ITSELF => {
            "it lies inside of an object, or between objects, and none begins there"
        }
        Some(_) => "nothing is there: it was freed before, or never handed out",
        None if huge::around(address) => "it lies inside of an object, and none begins there",
        None => {
            "it is not of this allocator: freed before and given back, or of another allocator in \
             the process (the C library's own, or one that a library brings with it)"
        }
    };
    die("free of", address, why)
}

/// The bytes that an object may use. What is none ends the process.
pub(crate) fn usable(start: *mut u8) -> usize {
    match page_at(start.addr()) {
        Some(page) if is_chunk(page) => {
            let class = usize::from(page.class.load(Relaxed)) % COUNT;
            match page.index(start.addr()) {
                Some(index) if index < usize::from(CLASSES[class].chunks) => {
                    CLASSES[class].size as usize
                }
                _ => no_object(start),
            }
        }
        Some(_) => large::usable(start).unwrap_or_else(|| no_object(start)),
        None => {
            if passing() {
                // SAFETY: the system's, then.
                return unsafe { libc::malloc_usable_size(start.cast()) };
            }
            huge::usable(start).unwrap_or_else(|| no_object(start))
        }
    }
}

/// Whether all goes to the system's allocator.
fn passing() -> bool {
    word::get().addr() == word::PASSING
        || word::get().addr() == word::NONE && thread::enter().is_none()
}

/// Changes an object's size to `size`, moving it if need be; `kept` of its bytes stay at least as
/// they are. Null, and nothing changed, if there is no memory.
///
/// # Safety
/// There is an object at `start`, aligned to `align`, of at least `kept` bytes, and nobody uses it
/// by this pointer if another is returned.
pub(crate) unsafe fn realloc(start: *mut u8, kept: usize, size: usize, align: usize) -> *mut u8 {
    let have = usable(start);
    if have <= MAX_SMALL {
        // Smaller by half is worth a move.
        if size <= have && (size > have / 2 || have <= 64) {
            return start;
        }
    } else if !passing() {
        let resized = if page_at(start.addr()).is_some() {
            if size > MAX_SMALL && large::resize(start, size) { start } else { ptr::null_mut() }
        } else if large::fits(size, align) {
            ptr::null_mut()
        } else {
            huge::resize(start, size, align <= sys::PAGE)
        };
        if !resized.is_null() {
            return resized;
        }
    }
    let moved = alloc_aligned(size, align);
    if moved.is_null() {
        // What shrinks can always stay.
        return if size <= have { start } else { moved };
    }
    // SAFETY: two objects of at least so many bytes.
    unsafe { ptr::copy_nonoverlapping(start, moved, kept.min(have).min(size)) };
    // SAFETY: the caller's word.
    unsafe { free(start) };
    moved
}

/// The system's allocator, where a checker watches it.
mod passed {
    use super::ptr;

    pub(super) fn alloc(size: usize, align: usize, zeroed: bool) -> *mut u8 {
        if align <= super::ALIGN && zeroed {
            // SAFETY: any size.
            return unsafe { libc::calloc(1, size) }.cast();
        }
        if align <= super::ALIGN {
            // SAFETY: any size.
            return unsafe { libc::malloc(size) }.cast();
        }
        let mut start = ptr::null_mut();
        // SAFETY: a place for the address, and a power of two.
        if unsafe { libc::posix_memalign(&mut start, align, size) } != 0 {
            return ptr::null_mut();
        }
        if zeroed {
            // SAFETY: an object of so many bytes.
            unsafe { start.cast::<u8>().write_bytes(0, size) };
        }
        start.cast()
    }

    /// # Safety
    /// As for `free`.
    pub(super) unsafe fn free(start: *mut u8) {
        // SAFETY: the caller's word.
        unsafe { libc::free(start.cast()) };
    }
}

//! [`Heap`]: what one thread allocates from.
//!
//! - Its bins (`bin`), and the frees of other heaps' objects that it has not told of yet, are the
//!   thread's own; no other thread touches them.
//! - Its runs of pages (`run`) are under its lock: which chunks are free is a bit for each, and the
//!   runs that have some are listed by class. Whoever has the lock gives chunks back, the thread
//!   itself when a bin is full, another with what it freed of this heap; and a run that became empty
//!   goes to the pool of pages there and then. So what others free does not wait for this thread.
//!
//! Every chunk on its way is taken in its run: those in bins, in windows, and on the way from another
//! thread.

pub(crate) mod bin;
mod run;

use crate::classes::{CLASSES, COUNT, DEPTH};
use crate::lock::Lock;
use crate::options;
use crate::segment::{Owner, Page, page_at};
use bin::Bin;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Frees of others' objects that a thread collects before it tells of them.
const FAR: usize = 64;

/// Memory of zeros is one without anything; [`Heap::prepare`] makes it ready.
#[repr(C)]
pub(crate) struct Heap {
    bins: [Bin; COUNT],
    /// What marks free chunks: see [`Heap::mark`].
    key: AtomicU64,
    far_count: AtomicU32,
    /// `thread`'s: rounds of the thread's end, whether a thread has it, which call of `trim` it has
    /// followed, and the lists that it is on.
    pub(crate) rounds: AtomicU32,
    pub(crate) trimmed: AtomicU32,
    pub(crate) taken: AtomicU32,
    pub(crate) next_vacant: AtomicPtr<Heap>,
    pub(crate) next_of_all: AtomicPtr<Heap>,
    far: [AtomicPtr<u8>; FAR],
    /// Guards the rest, and every page that is this heap's.
    pub(crate) lock: Lock,
    /// The runs with free chunks, by class.
    partial: [AtomicPtr<Page>; COUNT],
    /// How many runs there are, by class.
    runs: [AtomicU32; COUNT],
}

/// Where the bin of a class lies in a heap.
pub(crate) const fn bin_offset(class: usize) -> u16 {
    (class * size_of::<Bin>()) as u16
}

const _: () = assert!(COUNT * size_of::<Bin>() <= u16::MAX as usize);

impl Heap {
    pub(crate) fn prepare(&self, key: u64) {
        self.key.store(key, Relaxed);
        for (bin, class) in self.bins.iter().zip(&CLASSES) {
            bin.prepare(class);
            if options::secure() {
                bin.slow_frees();
            }
        }
    }

    pub(crate) fn owner(&self) -> *mut Owner {
        ptr::from_ref(self).cast_mut().cast()
    }

    pub(crate) fn bin(&self, class: usize) -> &Bin {
        &self.bins[class % COUNT]
    }

    /// The bin at this offset.
    ///
    /// # Safety
    /// The offset is of [`bin_offset`].
    #[inline(always)]
    pub(crate) unsafe fn bin_at(&self, offset: u16) -> &Bin {
        let bin = ptr::from_ref(self).wrapping_byte_add(usize::from(offset)).cast::<Bin>();
        // SAFETY: the bins come first, and the offset is of one.
        unsafe { &*bin }
    }

    /// What stands in the first word of a chunk that is free, and of no object that is not: every
    /// object's first word is overwritten when it is handed out, and nobody knows the key.
    #[inline(always)]
    pub(crate) fn mark(&self, chunk: *mut u8) -> u64 {
        self.key.load(Relaxed) ^ chunk.addr() as u64
    }

    // ---- the thread's own ----------------------------------------------------------------

    /// Fills the bin of a class: with frees of its runs, or with a window. `false`: no memory.
    #[inline(never)]
    pub(crate) fn refill(&self, class: usize) -> bool {
        let bin = self.bin(class);
        self.lock.with(|| {
            let mut chunks = [ptr::null_mut(); DEPTH];
            let wanted = bin.depth().div_ceil(2);
            let count = run::take(self, class, &mut chunks[..wanted]);
            if count != 0 {
                // The lowest is handed out first.
                return chunks[..count].iter().rev().all(|chunk| bin.push_slow(*chunk));
            }
            let Some((start, bytes, clean)) = run::open(self, class) else { return false };
            bin.open(start, bytes, clean);
            true
        })
    }

    /// Remembers a free of its own, for which the bin may have no room.
    pub(crate) fn push(&self, class: usize, chunk: *mut u8) {
        let bin = self.bin(class);
        if bin.push_slow(chunk) {
            return;
        }
        self.put_oldest(bin, bin.depth().div_ceil(2));
        bin.push_slow(chunk);
    }

    #[inline(never)]
    fn put_oldest(&self, bin: &Bin, number: usize) {
        self.put_in_runs(bin, number);
        bin.forget_oldest(number);
    }

    /// Afterwards they are free in their runs, and still at hand: to be forgotten at once.
    #[inline]
    fn put_in_runs(&self, bin: &Bin, number: usize) {
        self.lock.with(|| {
            for place in 0..number {
                run::put(self, bin.get(place));
            }
        });
    }

    /// Collects a free of another heap's object.
    pub(crate) fn push_far(&self, chunk: *mut u8) {
        let count = self.far_count.load(Relaxed);
        if let Some(place) = self.far.get(count as usize) {
            place.store(chunk, Relaxed);
            self.far_count.store(count + 1, Relaxed);
        }
        if count as usize + 1 >= FAR {
            self.settle_far();
        }
    }

    /// Gives the frees of others' objects to their runs.
    #[inline(never)]
    fn settle_far(&self) {
        let count = self.far_count.load(Relaxed) as usize;
        let Some(far) = self.far.get(..count) else { return };
        for first in 0..count {
            let owner = owner_of(far[first].load(Relaxed));
            // SAFETY: a page's owner that is a heap is one for good.
            let Some(owner) = (unsafe { owner.as_ref() }) else { continue };
            owner.lock.with(|| {
                for place in &far[first..] {
                    let chunk = place.load(Relaxed);
                    if owner_of(chunk) == ptr::from_ref(owner).cast_mut() {
                        place.store(ptr::null_mut(), Relaxed);
                        run::put(owner, chunk);
                    }
                }
            });
        }
        self.far_count.store(0, Relaxed);
    }

    /// Gives all that the thread has at hand to the runs, so that what is empty goes to the pool.
    pub(crate) fn settle(&self) {
        self.settle_far();
        for (class, bin) in self.bins.iter().enumerate() {
            let (start, bytes) = bin.window();
            if bin.count() == 0 && bytes == 0 {
                continue;
            }
            self.put_oldest(bin, bin.count());
            self.lock.with(|| {
                bin.close();
                if bytes != 0 {
                    run::close(self, class, start);
                }
            });
        }
    }

    /// Forgets what a thread had at hand that is gone in the middle of anything.
    pub(crate) fn give_up(&self) {
        self.far_count.store(0, Relaxed);
        for bin in &self.bins {
            bin.give_up();
        }
    }

    // ---- figures -------------------------------------------------------------------------

    /// Of a class: the chunks of all of its runs, and those of them that are free, in runs or at hand.
    /// Racy where the thread is at work.
    pub(crate) fn chunks(&self, class: usize) -> (usize, usize) {
        let (bin, class) = (self.bin(class), class % COUNT);
        let window = bin.window().1 / CLASSES[class].size as usize;
        self.lock.with(|| {
            let runs = self.runs[class].load(Relaxed) as usize;
            let free = run::count_free(self, class) + bin.count() + window;
            (runs * usize::from(CLASSES[class].chunks), free)
        })
    }
}

/// The heap whose object this is; null if it is none's.
fn owner_of(chunk: *mut u8) -> *mut Heap {
    if chunk.is_null() {
        return ptr::null_mut();
    }
    let page = page_at(chunk.addr());
    page.map_or(ptr::null_mut(), |page| page.owner.load(Relaxed).cast())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use crate::classes::{DEPTH, class_of};
    use crate::{entry, thread};
    use core::array::from_fn;
    use std::sync::mpsc;

    /// Sixteen are in a run.
    const SIZE: usize = 4096;
    const FREES: usize = 8;

    /// Allocates more than any thread had at hand; whether all have places of their own.
    fn all_apart() -> bool {
        let mut objects: [*mut u8; 4 * DEPTH] = from_fn(|_| entry::alloc(SIZE));
        objects.sort_unstable();
        objects.windows(2).all(|pair| pair[0] != pair[1])
    }

    #[test]
    fn what_a_thread_was_in_the_middle_of_giving_back_is_not_used_in_the_child_of_a_fork() {
        let (tell, told) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let objects: [*mut u8; FREES] = from_fn(|_| entry::alloc(SIZE));
            for object in objects {
                // SAFETY: nobody uses it.
                unsafe { entry::free(object) };
            }
            // Where a checker has all objects, there is no heap.
            if let Some(heap) = thread::enter() {
                let bin = heap.bin(class_of(SIZE));
                heap.put_in_runs(bin, FREES);
                tell.send(()).unwrap();
                may_go_on.recv().unwrap();
                bin.forget_oldest(FREES);
            }
        });
        if told.recv().is_ok() {
            assert!(all_apart());
            // SAFETY: the child uses what it has of this program alone, and ends by `_exit`.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // The first thread takes the heap that the other one had.
                let apart = std::thread::spawn(all_apart).join().unwrap_or(false);
                // SAFETY: ends the child.
                unsafe { libc::_exit(if apart { 0 } else { 1 }) };
            }
            let mut status = 0;
            // SAFETY: a place for the status.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
            go_on.send(()).unwrap();
        }
        other.join().unwrap();
    }
}

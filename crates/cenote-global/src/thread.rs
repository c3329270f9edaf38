//! Which heap a thread has: threads come, take a heap that others left or a new one, and leave it
//! when they end; and what happens to all of that in a process that forks.
//!
//! A thread that has ended still allocates and frees: the C library does, after the last destructor.
//! It does so from a heap that all such threads share, under a lock, and never takes one of its own
//! again.

use crate::heap::Heap;
use crate::lock::Lock;
use crate::word::{self, BUSY, ENDED, FORKING, NONE, PASSING};
use crate::words::die;
use crate::{huge, options, pages, purge, sys};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Guards the lists of heaps, and what a heap's `taken` says. Taken first.
static REGISTRY: Lock = Lock::new();
static ALL: AtomicPtr<Heap> = AtomicPtr::new(ptr::null_mut());
static VACANT: AtomicPtr<Heap> = AtomicPtr::new(ptr::null_mut());

/// The heap of threads without one.
// SAFETY: zeros are values of all of its fields.
static COMMON: Heap = unsafe { MaybeUninit::zeroed().assume_init() };
/// For who uses the common heap as its own.
static COMMON_LOCK: Lock = Lock::new();

static READY: AtomicBool = AtomicBool::new(false);
static CHECKED: AtomicBool = AtomicBool::new(false);
static FORK_SEEN: AtomicBool = AtomicBool::new(false);
static KEY: AtomicU32 = AtomicU32::new(u32::MAX);
static MARKS: AtomicU64 = AtomicU64::new(0);
/// How many times all were asked to give back what they have at hand.
static TRIMS: AtomicU32 = AtomicU32::new(0);

/// A thread inside of the allocator, with a heap; leaves when this is dropped.
pub(crate) struct Entered {
    heap: &'static Heap,
    /// What the thread's word was.
    word: *mut Heap,
    /// It is in the middle of a fork.
    forking: bool,
}

impl core::ops::Deref for Entered {
    type Target = Heap;

    fn deref(&self) -> &Heap {
        self.heap
    }
}

/// Enters the allocator; `None` where all goes to the system's.
///
/// The usual case is inlined: from a call this comes back by way of memory, written in two halves and read
/// as one, for which the processor waits.
#[inline(always)]
pub(crate) fn enter() -> Option<Entered> {
    let before = word::get();
    if word::is_heap(before) {
        // SAFETY: a word above the states is a heap, and heaps are there for good.
        let heap = unsafe { &*before };
        if heap.trimmed.load(Relaxed) == TRIMS.load(Relaxed) {
            word::take();
            return Some(Entered { heap, word: before, forking: false });
        }
    }
    enter_slow()
}

/// [`enter`] in any state of the thread.
#[cold]
#[inline(never)]
fn enter_slow() -> Option<Entered> {
    let before = word::get();
    match before.addr() {
        NONE => return attach(),
        PASSING => return None,
        BUSY => die(
            "allocation or free",
            0,
            "in a signal handler that came in the middle of one; use what is safe in signal handlers",
        ),
        ENDED => return Some(enter_common(before)),
        FORKING => {
            // A handler of fork that runs between ours: all is as it was for as long as it takes.
            let before = FORK_WORD.load(Relaxed);
            release();
            word::restore(before);
            let mut entered = enter()?;
            entered.forking = true;
            return Some(entered);
        }
        _ => {}
    }
    word::take();
    // SAFETY: a word above the states is a heap, and heaps are there for good.
    let heap = unsafe { &*before };
    let trims = TRIMS.load(Relaxed);
    if heap.trimmed.load(Relaxed) != trims {
        heap.trimmed.store(trims, Relaxed);
        heap.settle();
    }
    Some(Entered { heap, word: before, forking: false })
}

fn enter_common(before: *mut Heap) -> Entered {
    word::take();
    COMMON_LOCK.lock();
    Entered { heap: &COMMON, word: before, forking: false }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if ptr::eq(self.heap, &COMMON) {
            COMMON_LOCK.unlock();
        }
        if self.forking {
            // Another thread may have forked meanwhile.
            acquire();
            FORK_WORD.store(self.word, Relaxed);
            return word::restore(word::state(FORKING));
        }
        word::restore(self.word);
        purge::nudge();
    }
}

/// A thread's first call.
#[cold]
fn attach() -> Option<Entered> {
    word::take();
    if !READY.load(Acquire) {
        REGISTRY.with(|| {
            if !READY.load(Relaxed) {
                begin();
                READY.store(true, Release);
            }
        });
    }
    if CHECKED.load(Relaxed) {
        word::restore(word::state(PASSING));
        return None;
    }
    let heap = REGISTRY.with(take_heap);
    // SAFETY: null, or a heap, which is there for good.
    let Some(heap) = (unsafe { heap.as_ref() }) else {
        return Some(enter_common(word::state(NONE)));
    };
    // What follows may allocate.
    let this = ptr::from_ref(heap).cast_mut();
    word::restore(this);
    // SAFETY: a key that was made; the value is not used but by `ended`.
    unsafe { libc::pthread_setspecific(KEY.load(Relaxed), this.cast::<c_void>().cast_const()) };
    if !FORK_SEEN.swap(true, Relaxed) {
        // SAFETY: functions that are there as long as this code is.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
    }
    enter()
}

/// What is done once for the process, before its first allocation.
fn begin() {
    options::read();
    let valgrind = sys::in_valgrind() && options::pass();
    CHECKED.store(valgrind || cfg!(cenote_asan), Relaxed);
    MARKS.store(sys::random() | 1, Relaxed);
    COMMON.prepare(MARKS.load(Relaxed));
    let mut key = 0;
    // SAFETY: a place for the key. The C library keeps the first 32 without allocating.
    if unsafe { libc::pthread_key_create(&mut key, Some(ended)) } == 0 {
        KEY.store(key, Relaxed);
    }
}

/// Under the registry's lock.
fn take_heap() -> *mut Heap {
    let vacant = VACANT.load(Relaxed);
    // SAFETY: null, or a heap.
    if let Some(heap) = unsafe { vacant.as_ref() } {
        VACANT.store(heap.next_vacant.load(Relaxed), Relaxed);
        heap.taken.store(1, Relaxed);
        return vacant;
    }
    let start = sys::map(size_of::<Heap>().next_multiple_of(sys::PAGE)).cast::<Heap>();
    // SAFETY: null, or zeros for a heap, which are values of all of its fields.
    let Some(heap) = (unsafe { start.as_ref() }) else { return start };
    heap.prepare(MARKS.load(Relaxed));
    heap.taken.store(1, Relaxed);
    heap.next_of_all.store(ALL.load(Relaxed), Relaxed);
    ALL.store(start, Relaxed);
    start
}

/// Under the registry's lock.
fn leave_heap(heap: &Heap) {
    heap.taken.store(0, Relaxed);
    heap.rounds.store(0, Relaxed);
    heap.next_vacant.store(VACANT.load(Relaxed), Relaxed);
    VACANT.store(ptr::from_ref(heap).cast_mut(), Relaxed);
}

/// Called by the C library at a thread's end, among other destructors: the first two times it asks
/// to be called again, since those others free and allocate.
extern "C" fn ended(heap: *mut c_void) {
    let this = heap.cast::<Heap>();
    // SAFETY: what the key was set to.
    let Some(heap) = (unsafe { this.as_ref() }) else { return };
    let rounds = heap.rounds.load(Relaxed);
    if rounds < 2 {
        heap.rounds.store(rounds + 1, Relaxed);
        let value = this.cast::<c_void>().cast_const();
        // SAFETY: a key that was made.
        if unsafe { libc::pthread_setspecific(KEY.load(Relaxed), value) } == 0 {
            return;
        }
    }
    if word::get() != this {
        return;
    }
    word::take();
    heap.settle();
    REGISTRY.with(|| leave_heap(heap));
    word::restore(word::state(ENDED));
    purge::nudge();
}

/// Asks all threads to give back what they have at hand, when they come by; this one does at once.
pub(crate) fn settle_all() {
    TRIMS.fetch_add(1, Relaxed);
    if let Some(heap) = enter() {
        heap.settle();
    }
}

/// Calls `body` with each heap. Under the registry's lock, in which nothing may be allocated.
pub(crate) fn each_heap(mut body: impl FnMut(&Heap)) {
    REGISTRY.with(|| {
        body(&COMMON);
        each(&mut body);
    });
}

fn each(body: &mut impl FnMut(&'static Heap)) {
    let mut next = ALL.load(Relaxed);
    // SAFETY: null, or a heap, which is there for good.
    while let Some(heap) = unsafe { next.as_ref() } {
        next = heap.next_of_all.load(Relaxed);
        body(heap);
    }
}

// ---- fork --------------------------------------------------------------------------------------
//
// All locks are held while the process forks, so what they guard is whole in the child. What threads
// use without a lock - bins, windows, frees on the way - is as the kernel happened to copy it, page
// by page, while they were at work: the child forgets it, and those chunks stay taken in their runs.

/// What the forking thread's word was. Under the registry's lock.
static FORK_WORD: AtomicPtr<Heap> = AtomicPtr::new(ptr::null_mut());

fn acquire() {
    REGISTRY.lock();
    COMMON_LOCK.lock();
    COMMON.lock.lock();
    each(&mut |heap| heap.lock.lock());
    pages::PURGING.lock();
    pages::LOCK.lock();
    huge::LOCK.lock();
}

fn release() {
    huge::LOCK.unlock();
    pages::LOCK.unlock();
    pages::PURGING.unlock();
    each(&mut |heap| heap.lock.unlock());
    COMMON.lock.unlock();
    COMMON_LOCK.unlock();
    REGISTRY.unlock();
}

extern "C" fn before_fork() {
    let before = word::get();
    // From a signal handler in the middle of the allocator: the locks may be this thread's own. The
    // child can do no more than to begin another program, as anywhere else.
    if before.addr() == BUSY || before.addr() == PASSING {
        return;
    }
    acquire();
    FORK_WORD.store(before, Relaxed);
    word::restore(word::state(FORKING));
}

extern "C" fn after_fork() {
    if word::get().addr() != FORKING {
        return;
    }
    let before = FORK_WORD.load(Relaxed);
    release();
    word::restore(before);
}

extern "C" fn in_child() {
    if word::get().addr() != FORKING {
        return;
    }
    let before = FORK_WORD.load(Relaxed);
    each(&mut |heap| {
        if heap.taken.load(Relaxed) == 1 && !ptr::eq(heap, before) {
            heap.give_up();
            leave_heap(heap);
        }
    });
    purge::in_child();
    release();
    word::restore(before);
}

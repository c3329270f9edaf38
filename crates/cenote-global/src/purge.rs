//! When memory that nobody uses goes back: some time after it became free, whether or not anybody
//! calls the allocator until then.
//!
//! Up to some MiB are looked at by whoever comes by. Above, there is a thread for it, begun when it
//! is needed and gone when nothing is left to do. It is the kernel's thread alone, without the C
//! library's knowledge: a free may come from inside the C library, with its locks held, so none of
//! its calls that take locks may be made here, `pthread_create` least of all. It calls nothing but
//! `sys`, and blocks all signals.
//!
//! Such a thread does not follow when a process gives its privileges up, which the C library does
//! thread by thread. So none lives for long: after ten seconds the next thread that frees pages
//! begins another, with that thread's rights, and the old one ends.

use crate::options;
use crate::pages::{self, Due, Purged};
use crate::sys;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

use Ordering::{Relaxed, SeqCst};

/// Fewer bytes than this wait for somebody who comes by.
const SOME: usize = 4 << 20;
/// How long a thread lives before it is to be replaced.
const LIFE_MS: u64 = 10_000;
const STACK: usize = 64 << 10;

/// Who is at it: 0, nobody; else the number of the place and one; `OLD` with it if it is to be
/// replaced.
static CURRENT: AtomicU32 = AtomicU32::new(0);
const OLD: u32 = 0x100;
/// The threads' places: two, so that one can begin while the other ends.
static PLACES: [Place; 2] = [const { Place::new() }; 2];
static STARTING: crate::lock::Lock = crate::lock::Lock::new();
/// No thread can be made here.
static REFUSED: AtomicBool = AtomicBool::new(false);
/// When somebody who came by last looked.
static LOOKED: AtomicU64 = AtomicU64::new(0);

struct Place {
    /// The kernel's number of the thread, until it is gone.
    thread: AtomicU32,
    stack: AtomicPtr<u8>,
    /// Nobody wakes it; it only waits.
    never: AtomicU32,
}

impl Place {
    const fn new() -> Self {
        Self {
            thread: AtomicU32::new(0),
            stack: AtomicPtr::new(core::ptr::null_mut()),
            never: AtomicU32::new(0),
        }
    }
}

/// Called at the end of what took the slow path, with no lock held.
#[inline]
pub(crate) fn nudge() {
    if pages::were_given() {
        look();
    }
}

#[cold]
#[inline(never)]
fn look() {
    fence(SeqCst);
    let current = CURRENT.load(SeqCst);
    if current != 0 && current & OLD == 0 {
        return;
    }
    if pages::dirty() >= SOME && options::background() && !REFUSED.load(Relaxed) {
        return start(current);
    }
    let now = sys::milliseconds();
    if current == 0 && now.wrapping_sub(LOOKED.load(Relaxed)) >= options::purge_ms() / 2 {
        LOOKED.store(now, Relaxed);
        pages::try_purge(Due::Aged);
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn start(current: u32) {
    if !STARTING.try_lock() {
        return;
    }
    let free = PLACES.iter().position(|place| place.thread.load(SeqCst) == 0);
    if let Some(number) = free
        && let Some(place) = PLACES.get(number)
        && CURRENT.compare_exchange(current, number as u32 + 1, SeqCst, SeqCst).is_ok()
    {
        let mut stack = place.stack.load(Relaxed);
        if stack.is_null() {
            stack = sys::map(STACK);
            place.stack.store(stack, Relaxed);
        }
        let body = if number == 0 { first } else { second };
        // SAFETY: the place's own memory, whose thread is gone.
        let begun = !stack.is_null() && unsafe { sys::thread(stack, STACK, &place.thread, body) };
        if !begun {
            REFUSED.store(true, Relaxed);
            CURRENT.store(0, SeqCst);
        }
    } else {
        // Both places have threads that are about to be gone: the next to come by looks again.
        pages::look_again();
    }
    STARTING.unlock();
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn start(_: u32) {
    REFUSED.store(true, Relaxed);
}

extern "C" fn first() {
    run(0);
}

extern "C" fn second() {
    run(1);
}

/// What the thread does.
fn run(number: usize) {
    let Some(place) = PLACES.get(number) else { return };
    let (mine, begun) = (number as u32 + 1, sys::milliseconds());
    loop {
        sys::wait(&place.never, 0, Some((options::purge_ms() / 2).max(1)));
        let current = CURRENT.load(SeqCst);
        if current & !OLD != mine {
            return;
        }
        let Purged { given, refused } = pages::purge(Due::Aged);
        // What the system does not take is not tried for ever.
        let done = |left: usize| left == 0 || given == 0 && refused != 0;
        if done(pages::dirty()) {
            if CURRENT.compare_exchange(current, 0, SeqCst, SeqCst).is_err() {
                return;
            }
            // Whoever gave pages before it could see that nobody is here has counted them.
            fence(SeqCst);
            if done(pages::dirty()) || CURRENT.compare_exchange(0, mine, SeqCst, SeqCst).is_err() {
                return;
            }
        } else if sys::milliseconds().wrapping_sub(begun) > LIFE_MS {
            let _ = CURRENT.compare_exchange(mine, mine | OLD, SeqCst, SeqCst);
        }
    }
}

/// There is no thread in the child of a fork.
pub(crate) fn in_child() {
    CURRENT.store(0, SeqCst);
    for place in &PLACES {
        place.thread.store(0, SeqCst);
    }
    STARTING.reset();
}

//! The thread's word: which heap it allocates from, or why from none. One word, since a shared
//! library may count on no more of a thread's static memory.
//!
//! It is taken while the heap is used: whoever comes in between, which can only be a signal handler,
//! finds that it is.

use crate::heap::Heap;
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

/// What the word is while it is no heap.
pub(crate) const NONE: usize = 0;
/// The thread is inside of the allocator.
pub(crate) const BUSY: usize = 1;
/// The thread's heap went to others, since the thread ends.
pub(crate) const ENDED: usize = 2;
/// The process runs in a checker: all goes to the system's allocator.
pub(crate) const PASSING: usize = 3;
/// The thread is between the parts of `fork`, and holds every lock.
pub(crate) const FORKING: usize = 4;
/// What is above is a heap.
const LAST: usize = FORKING;

#[inline(always)]
pub(crate) fn is_heap(word: *mut Heap) -> bool {
    word.addr() > LAST
}

pub(crate) fn state(state: usize) -> *mut Heap {
    ptr::without_provenance_mut(state)
}

/// Takes the word: until [`restore`], the heap is this call's alone.
#[inline(always)]
pub(crate) fn take() {
    set(state(BUSY));
    compiler_fence(Ordering::SeqCst);
}

#[inline(always)]
pub(crate) fn restore(word: *mut Heap) {
    compiler_fence(Ordering::SeqCst);
    set(word);
}

#[cfg(all(feature = "initial-exec", target_arch = "x86_64", target_os = "linux"))]
mod place {
    use crate::heap::Heap;

    // Eight bytes of the thread's static memory. What `thread_local!` makes in a shared library is
    // found by calling a function, which may allocate.
    core::arch::global_asm!(
        ".pushsection .tbss,\"awT\",@nobits",
        ".balign 8",
        ".globl cenote_global_word",
        ".hidden cenote_global_word",
        ".type cenote_global_word,@object",
        ".size cenote_global_word,8",
        "cenote_global_word:",
        ".zero 8",
        ".popsection",
    );

    #[inline(always)]
    fn offset() -> usize {
        let offset;
        // SAFETY: where the word lies from the thread's pointer, which the loader has filled in.
        unsafe {
            core::arch::asm!(
                "mov {}, qword ptr [rip + cenote_global_word@GOTTPOFF]",
                out(reg) offset,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        offset
    }

    #[inline(always)]
    pub(crate) fn get() -> *mut Heap {
        let word;
        // SAFETY: this thread's own word.
        unsafe {
            core::arch::asm!(
                "mov {}, qword ptr fs:[{}]",
                out(reg) word,
                in(reg) offset(),
                options(readonly, nostack, preserves_flags),
            );
        }
        word
    }

    #[inline(always)]
    pub(crate) fn set(word: *mut Heap) {
        // SAFETY: this thread's own word.
        unsafe {
            core::arch::asm!(
                "mov qword ptr fs:[{}], {}",
                in(reg) offset(),
                in(reg) word,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(all(feature = "initial-exec", target_arch = "x86_64", target_os = "linux")))]
mod place {
    extern crate std;
    use crate::heap::Heap;
    use core::ptr;
    use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

    std::thread_local! {
        // Without a destructor and with a constant beginning: nothing is registered, or made lazily.
        static WORD: AtomicPtr<Heap> = const { AtomicPtr::new(ptr::null_mut()) };
    }

    #[inline(always)]
    pub(crate) fn get() -> *mut Heap {
        WORD.with(|word| word.load(Relaxed))
    }

    #[inline(always)]
    pub(crate) fn set(word: *mut Heap) {
        WORD.with(|place| place.store(word, Relaxed));
    }
}

pub(crate) use place::{get, set};

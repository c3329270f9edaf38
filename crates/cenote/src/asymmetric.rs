//! A pair of fences of which one costs nothing.
//!
//! Two threads that each store one word and then load the other's need a full fence in between, or
//! both may miss the other's store. A thread that pays from its reserve does so for every block,
//! the one that calls reserves in hardly ever. So the first has a [`light`] fence, which only keeps
//! the compiler from moving the load before the store, and the other a [`heavy`] one, at which the
//! system has every thread of the process that is running pass a full fence (`membarrier`). What a
//! thread stored before its light fence is then seen after the heavy one, or what was stored before
//! the heavy one is seen by the thread after its light one.
//!
//! Where the system has no such call, both are full fences.

#[cfg(all(
    target_os = "linux",
    feature = "std",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    not(any(miri, all(test, loom)))
))]
mod imp {
    use core::ffi::{c_int, c_long};
    use core::sync::atomic::{AtomicU8, Ordering::*, compiler_fence};

    const MEMBARRIER: c_long = if cfg!(target_arch = "x86_64") { 324 } else { 283 };
    const QUERY: c_int = 0;
    const GLOBAL: c_int = 1;
    const PRIVATE_EXPEDITED: c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;

    fn membarrier(command: c_int) -> c_long {
        unsafe extern "C" {
            fn syscall(number: c_long, ...) -> c_long;
        }
        // SAFETY: the call has two numbers as its arguments (the third is for another command), and
        // touches no memory.
        unsafe { syscall(MEMBARRIER, command, 0 as c_int, 0 as c_int) }
    }

    #[inline(always)]
    pub(crate) fn light() {
        compiler_fence(SeqCst);
    }

    /// Whether the system has passed the fence. It has where it [is there](available).
    #[cold]
    pub(crate) fn heavy() -> bool {
        // A child has to register anew on some systems: so it is tried first, then registered.
        membarrier(PRIVATE_EXPEDITED) == 0
            || (membarrier(REGISTER_PRIVATE_EXPEDITED) == 0 && membarrier(PRIVATE_EXPEDITED) == 0)
            || membarrier(GLOBAL) == 0
    }

    /// Whether the system has the call: an old one has not, nor have some that imitate it.
    #[inline]
    pub(crate) fn available() -> bool {
        /// 0: not asked yet; 1: yes; 2: no.
        static KNOWN: AtomicU8 = AtomicU8::new(0);
        match KNOWN.load(Relaxed) {
            0 => {
                let can = membarrier(QUERY);
                let wanted = c_long::from(GLOBAL | PRIVATE_EXPEDITED);
                let yes = can > 0 && can & wanted != 0;
                KNOWN.store(if yes { 1 } else { 2 }, Relaxed);
                yes
            }
            known => known == 1,
        }
    }
}

#[cfg(not(all(
    target_os = "linux",
    feature = "std",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    not(any(miri, all(test, loom)))
)))]
mod imp {
    use crate::sync::modelled::{Ordering::SeqCst, fence};

    #[inline(always)]
    pub(crate) fn light() {
        fence(SeqCst);
    }

    #[cold]
    pub(crate) fn heavy() -> bool {
        fence(SeqCst);
        true
    }

    #[inline]
    pub(crate) fn available() -> bool {
        true
    }
}

pub(crate) use imp::{available, heavy, light};

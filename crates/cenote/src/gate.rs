//! [`Gate`]: a lock for a few steps that the child of a fork need not wait for.
//!
//! In the child of a fork there is the forking thread alone, and what another thread had locked
//! stays locked for ever. What gates order is such that this is no harm: each step leaves words
//! that are sound by themselves, so that at worst a figure is off by what the vanished thread was
//! moving. So a gate knows in which process it was entered, and one that was entered in a process
//! before this one is open.

#[cfg(not(all(test, loom)))]
mod imp {
    use core::marker::PhantomData;
    use core::sync::atomic::{AtomicUsize, Ordering::*};

    /// How often a thread looks whether the gate is open before it lets others have its turn.
    const LOOKS: u32 = 64;

    pub(crate) struct Gate {
        /// The process in which somebody is within; 0: nobody is.
        entered: AtomicUsize,
    }

    /// Neither `Send` nor `Sync`: who entered is to leave.
    pub(crate) struct Within<'g>(&'g Gate, PhantomData<*mut ()>);

    impl Gate {
        pub(crate) const fn new() -> Self {
            Self { entered: AtomicUsize::new(0) }
        }

        /// Waits until nobody else of this process is within.
        #[inline]
        pub(crate) fn enter(&self) -> Within<'_> {
            let here = super::process::number();
            if self.entered.compare_exchange(0, here, Acquire, Relaxed).is_err() {
                self.wait(here);
            }
            Within(self, PhantomData)
        }

        #[cold]
        fn wait(&self, here: usize) {
            let mut looks = 0_u32;
            loop {
                let entered = self.entered.load(Relaxed);
                let open = entered != here;
                if open && self.entered.compare_exchange(entered, here, Acquire, Relaxed).is_ok() {
                    return;
                }
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(LOOKS) {
                    super::yield_now()
                } else {
                    core::hint::spin_loop()
                }
            }
        }

        /// Whether a thread of this process is within.
        #[inline]
        pub(crate) fn is_entered(&self) -> bool {
            self.entered.load(Acquire) == super::process::number()
        }

        /// As if another thread had been within when this process was forked.
        #[cfg(all(test, feature = "std"))]
        pub(crate) fn enter_in_a_process_before(&self) {
            self.entered.store(usize::MAX, Relaxed);
        }
    }

    impl Drop for Within<'_> {
        #[inline]
        fn drop(&mut self) {
            self.0.entered.store(0, Release);
        }
    }
}

/// Where models are checked there are no forks.
#[cfg(all(test, loom))]
mod imp {
    use crate::sync::modelled::{AtomicBool, Lock, Ordering::*};

    pub(crate) struct Gate {
        lock: Lock<()>,
        entered: AtomicBool,
    }

    pub(crate) struct Within<'g> {
        gate: &'g Gate,
        _guard: alloc::boxed::Box<dyn core::ops::DerefMut<Target = ()> + 'g>,
    }

    impl Gate {
        pub(crate) fn new() -> Self {
            Self { lock: Lock::new(()), entered: AtomicBool::new(false) }
        }

        pub(crate) fn enter(&self) -> Within<'_> {
            let guard = alloc::boxed::Box::new(self.lock.lock());
            self.entered.store(true, Release);
            Within { gate: self, _guard: guard }
        }

        pub(crate) fn is_entered(&self) -> bool {
            self.entered.load(Acquire)
        }
    }

    impl Drop for Within<'_> {
        fn drop(&mut self) {
            self.gate.entered.store(false, Release);
        }
    }
}

/// Which process this is, counted by forks. Not by its id: a child in a name space of its own may
/// have its parent's.
#[cfg(all(unix, feature = "std", not(all(test, loom))))]
pub(crate) mod process {
    use core::ffi::c_int;
    use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    static NUMBER: AtomicUsize = AtomicUsize::new(1);

    #[inline]
    pub(crate) fn number() -> usize {
        NUMBER.load(Relaxed)
    }

    extern "C" fn in_the_child() {
        NUMBER.fetch_add(1, Relaxed);
    }

    /// Sees to it that a fork is noticed in the child. To be called before there is anything that
    /// could be forked along.
    #[inline]
    pub(crate) fn notice_forks() {
        static NOTICED: AtomicBool = AtomicBool::new(false);
        if !NOTICED.load(Relaxed) && !NOTICED.swap(true, Relaxed) {
            unsafe extern "C" {
                // As another part of the crate has it.
                safe fn pthread_atfork(
                    prepare: Option<extern "C" fn()>,
                    parent: Option<extern "C" fn()>,
                    child: Option<extern "C" fn()>,
                ) -> c_int;
            }
            // It may run in any child: it changes one atomic number. Where there is no memory to
            // know it in, a child waits as for any other lock.
            let _ = pthread_atfork(None, None, Some(in_the_child));
        }
    }
}

#[cfg(not(all(unix, feature = "std", not(all(test, loom)))))]
pub(crate) mod process {
    #[inline]
    pub(crate) fn number() -> usize {
        1
    }

    #[inline]
    pub(crate) fn notice_forks() {}
}

#[cfg(all(feature = "std", not(all(test, loom))))]
fn yield_now() {
    std::thread::yield_now();
}

#[cfg(not(feature = "std"))]
fn yield_now() {
    core::hint::spin_loop();
}

pub(crate) use imp::Gate;

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::Gate;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn one_at_a_time_is_within_a_gate() {
        let (gate, sum) = (Gate::new(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let _within = gate.enter();
                        // Not one step: another thread's would get lost in between.
                        sum.store(sum.load(Relaxed) + 1, Relaxed);
                        assert!(gate.is_entered());
                    }
                });
            }
        });
        assert_eq!(sum.load(Relaxed), 40_000);
        assert!(!gate.is_entered());
    }

    #[test]
    fn a_gate_that_was_entered_before_a_fork_is_open_in_the_child() {
        let gate = Gate::new();
        gate.enter_in_a_process_before();
        assert!(!gate.is_entered());
        let within = gate.enter();
        assert!(gate.is_entered());
        drop(within);
        assert!(!gate.is_entered());
    }
}

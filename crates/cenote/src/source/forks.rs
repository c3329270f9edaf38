//! Locks that are held over a fork, so that its child finds them free, and what they guard whole.

use super::wandering::DEPOT;
use super::{pages, runs, shelves};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// A lock that may be held over a fork. It is held for some dozens of instructions; that of the list of
/// shelves for as many for each thread.
pub(super) struct Held(pub(super) AtomicBool);

impl Held {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(super) fn lock(&self) {
        let mut tries = 0_u32;
        while self.0.swap(true, Ordering::Acquire) {
            tries += 1;
            if tries.is_multiple_of(64) {
                // Whoever holds it may not be running.
                std::thread::yield_now();
            } else {
                core::hint::spin_loop();
            }
        }
    }

    pub(super) fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

const UNKNOWN: u8 = 0;
const ASKED: u8 = 1;
const SEEN_TO: u8 = 2;
const NOT: u8 = 3;
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether forks wait for the locks: not at first, while that is being asked for.
pub(super) fn are_seen_to() -> bool {
    match STATE.load(Ordering::Acquire) {
        SEEN_TO => true,
        UNKNOWN => ask(),
        _ => false,
    }
}

#[cold]
fn ask() -> bool {
    if STATE.compare_exchange(UNKNOWN, ASKED, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // Another thread asks; what it finds serves later blocks.
        return false;
    }
    let asked = pages::at_forks(before, after, in_the_child);
    STATE.store(if asked { SEEN_TO } else { NOT }, Ordering::Release);
    asked
}

/// In the order in which the locks are taken.
pub(super) extern "C" fn before() {
    shelves::before_fork();
    DEPOT.before_fork();
    runs::before_fork();
}

pub(super) extern "C" fn after() {
    runs::after_fork();
    DEPOT.after_fork();
    shelves::after_fork();
}

extern "C" fn in_the_child() {
    runs::after_fork();
    DEPOT.after_fork();
    shelves::after_fork_in_the_child();
}

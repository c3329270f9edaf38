//! What is done about a wrong free: it is counted, and reported on standard error. njs goes on
//! after one, so the drop-in does too.

use cenote::misuse::BadFree;
use core::fmt::{Arguments, Display};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::io::Write;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// So many are reported one by one; after that only each whose number is a power of two, since
/// a program that goes on after the first may make one in each request.
const REPORTED: u64 = 16;

pub(crate) fn count() -> u64 {
    COUNT.load(Relaxed)
}

/// A free that a pool refused.
#[cold]
pub(crate) fn meet(pool: &impl Display, error: BadFree) {
    tell(format_args!("{pool}: {error}"));
}

/// A free in no pool at all.
#[cold]
pub(crate) fn without_pool(address: usize) {
    tell(format_args!("no pool: bad free: {address:#x}"));
}

fn tell(what: Arguments<'_>) {
    let number = COUNT.fetch_add(1, Relaxed) + 1;
    if number <= REPORTED || number.is_power_of_two() {
        // Standard error may be closed; that must not become a panic here.
        let _ = writeln!(std::io::stderr(), "cenote: {what} (wrong free {number})");
    }
}

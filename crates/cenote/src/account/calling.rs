//! Calling in what threads have in reserve, so that nobody is refused what nobody holds, and nobody goes on
//! with what there is no room for any more.
//!
//! A thread that does nothing keeps a reserve, and need not run for it to be taken: see `record`.
//! One thread of the process calls at a time, and while it does, nobody adds a quantum to a reserve
//! of an account in that tree. So what it does not find is held, or is being freed at this very moment.

use super::{Node, Record, record};
use crate::asymmetric;
use crate::gate::Gate;
use crate::sync::modelled::{AtomicPtr, Ordering::*, fence};
use core::ptr;

struct Calling {
    /// Who calls is within.
    gate: Gate,
    /// The root of the accounts of which reserves are called in.
    root: AtomicPtr<Node>,
}

#[cfg(not(all(test, loom)))]
static CALLING: Calling = Calling { gate: Gate::new(), root: AtomicPtr::new(ptr::null_mut()) };
#[cfg(all(test, loom))]
loom::lazy_static! {
    static ref CALLING: Calling =
        Calling { gate: Gate::new(), root: AtomicPtr::new(ptr::null_mut()) };
}

/// Whether somebody is calling in reserves of accounts in this one's tree. Asked within the gate
/// of a record that the caller, if this is `false`, comes to after its thread has left the gate.
#[inline]
pub(super) fn under_way(node: &Node) -> bool {
    CALLING.gate.is_entered() && ptr::eq(CALLING.root.load(Relaxed), node.root())
}

/// Charges what would be refused, with what others have in reserve; the account that refuses it
/// all the same.
#[cold]
#[inline(never)]
pub(super) fn charge(low: &Node, size: usize, me: *const Record) -> Result<(), &Node> {
    let _within = CALLING.gate.enter();
    CALLING.root.store(ptr::from_ref(low.root()).cast_mut(), Relaxed);
    let mut called: *const Node = ptr::null();
    loop {
        let full = match low.try_charge(size, me) {
            Ok(()) => return Ok(()),
            Err(full) => full,
        };
        // Once more after nothing was found: it may have gone back before it could be.
        if !full.shares() || ptr::eq(called, full) {
            return Err(full);
        }
        let nothing = take_all(full, me) == 0;
        called = if nothing { full } else { ptr::null() };
    }
}

/// Calls in all that threads have in reserve of this account and of those under it.
pub(super) fn recall(top: &Node, me: *const Record) {
    let _within = CALLING.gate.enter();
    CALLING.root.store(ptr::from_ref(top.root()).cast_mut(), Relaxed);
    take_all(top, me);
}

/// Calls in what threads have in reserve of accounts in the tree of this root, of which nobody is to
/// have any more for now.
#[cold]
pub(super) fn call_in(root: &Node, me: *const Record) {
    let _within = CALLING.gate.enter();
    CALLING.root.store(ptr::from_ref(root).cast_mut(), Relaxed);
    while take_all(root, me) > 0 {}
}

/// Takes what threads have in reserve of accounts under `top`; how much that was.
fn take_all(top: &Node, me: *const Record) -> usize {
    // A thread whose record is not found here sees that somebody calls.
    fence(SeqCst);
    let mut others = false;
    for record in record::all() {
        others |= record.call(top) && !ptr::eq(record, me);
    }
    if others && !asymmetric::heavy() {
        return 0;
    }
    record::all().map(|record| record.take(top, me)).sum()
}

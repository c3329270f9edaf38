//! What accounts know of a thread: whose mail is whose, and how much a thread has in reserve
//! of an account that it shares with others.
//!
//! Threads charge a root account a quantum at a time and keep what they do not need yet in
//! reserve, so that a request's block is charged by one plain store. A thread has a reserve
//! on one shared account at a time. The nearer the account is to its limit, the smaller the
//! quantum; near it, the quantum is 0, every charge is exact, and reserves flow back with the
//! next block that their threads release.

use super::{Account, Node};
use crate::sync::modelled::Lock;
use crate::sync::modelled::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr;

/// One thread, as accounts see it. Nodes bound to the thread hold counts of it, so that its
/// address stands for the thread for as long as anyone compares it.
pub(crate) struct Record {
    /// The account in `slot`, for a compare without its lock.
    reserve_node: AtomicPtr<Node>,
    /// Bytes charged to that account and those above it that no pool holds. Written by the
    /// thread alone.
    reserve: AtomicUsize,
    /// Keeps the account alive; changed by the thread alone, read by anyone.
    slot: Lock<Option<Account>>,
    /// Whether the inbox has something, for a look without its lock.
    pub(super) mail: AtomicBool,
    pub(super) inbox: Lock<Inbox>,
}

pub(super) struct Inbox {
    pub(super) first: *mut Node,
    pub(super) ended: bool,
}

// SAFETY: the pointer is to a node, which may be reached from any thread.
unsafe impl Send for Inbox {}

/// All threads that have a record.
#[cfg(not(all(test, loom)))]
static RECORDS: Lock<Vec<Arc<Record>>> = Lock::new(Vec::new());
#[cfg(all(test, loom))]
loom::lazy_static! {
    static ref RECORDS: Lock<Vec<Arc<Record>>> = Lock::new(Vec::new());
}

impl Record {
    /// A record for the calling thread, known to readers; `None` where there is no memory to
    /// know it in. The thread then takes the way of threads without a record.
    #[cfg(feature = "std")]
    pub(crate) fn register() -> Option<Arc<Record>> {
        let mut records = RECORDS.lock();
        records.try_reserve(1).ok()?;
        let record = Arc::new(Record {
            reserve_node: AtomicPtr::new(ptr::null_mut()),
            reserve: AtomicUsize::new(0),
            slot: Lock::new(None),
            mail: AtomicBool::new(false),
            inbox: Lock::new(Inbox { first: ptr::null_mut(), ended: false }),
        });
        records.push(record.clone());
        Some(record)
    }

    /// Gives the whole reserve back and lets go of its account.
    fn settle(&self, me: *const Record) {
        let account = {
            // Held until the reserve is back, so that readers find it in one place or the other.
            let mut slot = self.slot.lock();
            self.reserve_node.store(ptr::null_mut(), Relaxed);
            if let Some(account) = &*slot {
                account.node().credit_up(self.reserve.swap(0, Relaxed), me);
            }
            slot.take()
        };
        drop(account);
    }

    #[inline(always)]
    fn is_for(&self, node: &Node) -> bool {
        ptr::eq(self.reserve_node.load(Relaxed), node)
    }

    /// Makes `node` the account that the reserve is of.
    fn adopt(&self, node: &Node, me: *const Record) {
        self.settle(me);
        let account = node.handle();
        self.reserve_node.store(account.as_ptr().as_ptr(), Relaxed);
        *self.slot.lock() = Some(account);
    }
}

/// The record that `me` points to.
///
/// `me` is what [`thread::record`](crate::thread::record) gave during this call.
#[inline(always)]
pub(super) fn of<'a>(me: *const Record) -> Option<&'a Record> {
    // SAFETY: null, or the calling thread's own record, which the thread holds a count of
    // until its end; no caller keeps the reference beyond its own call.
    unsafe { me.as_ref() }
}

/// Charges a shared account from the reserve, where that is enough: one compare, one store.
#[inline(always)]
pub(super) fn charge_from_reserve(node: &Node, size: usize, record: &Record) -> bool {
    if !record.is_for(node) {
        return false;
    }
    match record.reserve.load(Relaxed).checked_sub(size) {
        Some(left) => record.reserve.store(left, Relaxed),
        None => return false,
    }
    true
}

/// Charges a shared account and those above, with a quantum for later where there is room.
pub(super) fn charge_shared(node: &Node, size: usize, me: *const Record) -> Result<(), &Node> {
    if of(me).is_some_and(|record| charge_from_reserve(node, size, record)) {
        return Ok(());
    }
    // The first block that a thread charges to a shared account may come before its record.
    let me = if me.is_null() { crate::thread::record_or_enlist() } else { me };
    let Some(record) = of(me) else { return node.charge_up(size, me) };
    let quantum = node.quantum();
    if quantum > 0 && !record.is_for(node) {
        record.adopt(node, me);
    }
    if !record.is_for(node) {
        return node.charge_up(size, me);
    }
    // Less than the size, or it would have been enough.
    let missing = size - record.reserve.load(Relaxed);
    if missing <= crate::size::MAX - quantum && node.charge_up(missing + quantum, me).is_ok() {
        record.reserve.store(quantum, Relaxed);
        return Ok(());
    }
    node.charge_up(missing, me)?;
    record.reserve.store(0, Relaxed);
    Ok(())
}

/// Credits a shared account into the reserve, where that may be.
#[inline(always)]
pub(super) fn credit_to_reserve(node: &Node, size: usize, record: &Record) -> bool {
    if !record.is_for(node) {
        return false;
    }
    let reserve = record.reserve.load(Relaxed) + size;
    let fits = reserve <= node.spare();
    if fits {
        record.reserve.store(reserve, Relaxed);
    }
    fits
}

/// Credits a shared account, of which there may be too much in reserve after that.
pub(super) fn credit_shared(node: &Node, size: usize, me: *const Record) {
    let Some(record) = of(me).filter(|record| record.is_for(node)) else {
        return node.credit_up(size, me);
    };
    if credit_to_reserve(node, size, record) {
        return;
    }
    let reserve = record.reserve.load(Relaxed) + size;
    // Another thread may have set the quantum meanwhile.
    let left = node.quantum().min(reserve);
    record.reserve.store(left, Relaxed);
    node.credit_up(reserve - left, me);
}

/// Bytes that the calling thread has in reserve of this very account.
pub(super) fn reserve_of(node: &Node) -> usize {
    match of(crate::thread::record()) {
        Some(record) if record.is_for(node) => record.reserve.load(Relaxed),
        _ => 0,
    }
}

/// Bytes that threads have in reserve of this account, or of one under it.
pub(super) fn reserved(node: &Node) -> usize {
    if !node.shares() {
        return 0;
    }
    let records = RECORDS.lock();
    records
        .iter()
        .filter(|record| {
            let slot = record.slot.lock();
            let mut at = slot.as_ref().map(Account::node);
            while let Some(up) = at {
                if ptr::eq(up, node) {
                    return true;
                }
                at = up.parent();
            }
            false
        })
        .map(|record| record.reserve.load(Relaxed))
        .sum()
}

/// Returns the calling thread's reserve and reads its mail.
pub(super) fn settle() {
    let me = crate::thread::record();
    if let Some(record) = of(me) {
        record.settle(me);
        record.open_mail(false);
    }
}

/// Returns what the calling thread has in reserve, of whatever account; `false` where that is
/// nothing.
pub(super) fn settle_reserve(me: *const Record) -> bool {
    match of(me) {
        Some(record) if record.reserve.load(Relaxed) > 0 => {
            record.settle(me);
            true
        }
        _ => false,
    }
}

/// Reads the calling thread's mail, if there is any.
pub(super) fn read_mail() {
    if let Some(record) = of(crate::thread::record())
        && record.mail.load(Relaxed)
    {
        record.open_mail(false);
    }
}

/// The thread of this record ends; called there, when it has no record any more.
#[cfg(feature = "std")]
pub(crate) fn thread_ends(record: &Arc<Record>) {
    record.settle(ptr::null());
    RECORDS.lock().retain(|other| !Arc::ptr_eq(other, record));
    record.open_mail(true);
}

//! Who keeps an account alive, and how its end is noticed without a locked count per pool.
//!
//! An account is needed by its handles (counted in `handles`) and by its pools. Pools come
//! and go by the million; those on the owner's thread are counted in `live` by plain stores,
//! those on other threads in `far_live`, atomically. The one word that decides is `far_live`:
//! it starts at [`BIAS`], which stands for "there are handles", and whoever brings it to 0
//! frees the node.
//!
//! When the last handle goes, somebody has to take the bias away, and before that to add the
//! owner's `live` into `far_live` and make the node [`released`](super::node::released), so
//! that the owner too counts its pools out atomically from then on. Only the owner can read
//! `live` for sure, so the duty is the owner's:
//! - the last handle went on the owner's thread (the usual case): done at once;
//! - the owner's thread has ended: done at once, under the record's lock;
//! - otherwise the node goes into the owner's mail, which the owner reads whenever it makes
//!   or drops an account, and at its end. Until then the node stays, empty.
//!
//! A handle may be made through a pool after the last one went. It adds a bias of its own, so
//! that each time the handles end exactly one bias is taken away, in whatever order.

use super::node::{nobodys, owning_thread, released};
use super::{Account, Node, Record, record};
use crate::sync::modelled::Ordering::*;
use crate::thread;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

/// What "there are handles" counts in `far_live`.
///
/// It has to be more than `far_live` can otherwise be, and that is not the number of pools: a
/// pool made on the owner's thread and dropped on another lowers `far_live` for good, so it
/// counts all transfers since the account began. At a million a second this lasts 142 years,
/// with two thousand biases at once to spare.
pub(super) const BIAS: i64 = 1 << 52;

/// The part of `far_live` that is pools.
pub(super) fn unbiased(far_live: i64) -> i64 {
    far_live.wrapping_add(BIAS / 2).rem_euclid(BIAS) - BIAS / 2
}

/// Gives up one handle; frees the node, and accounts above it, where that was the last of all.
///
/// # Safety
/// The count of `handles` is the caller's, and is given up once.
pub(super) unsafe fn drop_handle(node: NonNull<Node>) {
    let mut next = Some(node);
    while let Some(node) = next {
        // SAFETY: the caller's count keeps the node alive up to here; after it, the bias that
        // only this call may take away does.
        let this = unsafe { node.as_ref() };
        if this.handles.fetch_sub(1, AcqRel) != 1 {
            return;
        }
        // SAFETY: the handles just ended, so their bias is this call's to take away.
        next = unsafe { close(node) }.map(into_counted);
    }
}

/// A handle on an account that was found in its parent's list; `None` for one at its end, that
/// waits for the list's lock only to leave it.
///
/// Whoever brought `far_live` to 0 frees the node, and nobody can keep it any more. Unless it
/// is 0, adding a bias keeps the node. With the count of handles it is then as in
/// [`Node::add_handle`]: where there were none, the bias is that of the handles that begin
/// here; else theirs is there, or on its way, and this one too many.
///
/// # Safety
/// The node is in a list, whose lock the caller holds.
pub(super) unsafe fn try_handle(node: NonNull<Node>) -> Option<Account> {
    // SAFETY: the caller's promise: it cannot be freed before it has left the list.
    let this = unsafe { node.as_ref() };
    this.far_live
        .fetch_update(AcqRel, Relaxed, |count| (count != 0).then(|| count.wrapping_add(BIAS)))
        .ok()?;
    if this.handles.fetch_add(1, Relaxed) != 0 {
        // SAFETY: the bias just added; what keeps the others' handles keeps the node, so that
        // this is not the last of the count.
        let parent = unsafe { drop_far_one(node, BIAS) };
        debug_assert!(parent.is_none());
    }
    let itself = NonNull::new(this.itself.load(Relaxed)).unwrap_or(node);
    // SAFETY: the count of handles that was just added.
    Some(unsafe { Account::from_counted(itself) })
}

fn into_counted(account: Account) -> NonNull<Node> {
    ManuallyDrop::new(account).as_ptr()
}

/// Takes the bias of ended handles away, now or by the owner's mail.
///
/// # Safety
/// One bias of the node's is the caller's to take away.
unsafe fn close(node: NonNull<Node>) -> Option<Account> {
    // SAFETY: the bias keeps the node alive.
    let this = unsafe { node.as_ref() };
    let mut owner = this.owner.load(Acquire);
    if owner == nobodys() {
        // Becomes nobody's for good, so that no thread binds it while it closes.
        let _ = this.owner.compare_exchange(nobodys(), released(), AcqRel, Acquire);
        owner = this.owner.load(Acquire);
    }
    if let Some(record) = owning_thread(owner) {
        if ptr::eq(owner, thread::record()) {
            record::read_mail();
            release(this);
        } else {
            // SAFETY: the node, or one above that it keeps, has a count of a record that was its
            // owner, and the bias keeps the node.
            let record = unsafe { record.as_ref() };
            if !record.take_over_or_post(node) {
                return None;
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { drop_far_one(node, BIAS) }
}

/// Moves the owner's count of pools to everyone's. The caller is the owner, or has the lock
/// of the record of an owner that ended.
fn release(node: &Node) {
    if owning_thread(node.owner.load(Acquire)).is_some() {
        // From now on peaks are noticed by what others do.
        node.notice_peak();
        if node.live.load(Relaxed) != 0 {
            // By one exchange: an owner that ends opens its mail without the lock, and who drops a
            // handle meanwhile acts for it. The count is to be moved once.
            node.far_live.fetch_add(node.live.swap(0, Relaxed), AcqRel);
        }
        node.owner.store(released(), Release);
    }
}

/// Takes `count` off `far_live`, and frees the node, and accounts above, if that was all.
///
/// # Safety
/// So much of `far_live` is the caller's.
#[cold]
#[inline(never)]
pub(super) unsafe fn drop_far(node: NonNull<Node>, count: i64) {
    // SAFETY: the caller's promise, passed on.
    if let Some(parent) = unsafe { drop_far_one(node, count) } {
        drop(parent);
    }
}

/// As [`drop_far`], with the parent's handle left to the caller, so that chains are no
/// recursion.
///
/// # Safety
/// As for [`drop_far`].
unsafe fn drop_far_one(node: NonNull<Node>, count: i64) -> Option<Account> {
    // SAFETY: the caller's part of the count keeps the node alive until this subtraction.
    let before = unsafe { node.as_ref() }.far_live.fetch_sub(count, Release);
    if before != count {
        return None;
    }
    // ThreadSanitizer knows no fences.
    #[cfg(not(cenote_tsan))]
    crate::sync::modelled::fence(Acquire);
    #[cfg(cenote_tsan)]
    // SAFETY: the count is 0, so the node is the caller's.
    unsafe { node.as_ref() }.far_live.load(Acquire);
    // SAFETY: no handles (no bias), no pools (the owner's were added before the bias went).
    unsafe { Node::free(node) }
}

impl Record {
    /// Whether the caller is to take its bias away itself: because the owner's thread has ended,
    /// and the caller acted for it, or because another bias waits in the owner's mail already.
    /// Otherwise the caller's bias waits there now.
    fn take_over_or_post(&self, node: NonNull<Node>) -> bool {
        // SAFETY: the caller's bias keeps the node alive.
        let this = unsafe { node.as_ref() };
        let mut inbox = self.inbox.lock();
        if inbox.ended {
            release(this);
            return true;
        }
        if this.posted.swap(true, Relaxed) {
            return true;
        }
        this.next_in_mail.store(inbox.first, Relaxed);
        inbox.first = node.as_ptr();
        self.mail.store(true, Relaxed);
        false
    }

    /// Does what other threads left for this one. The caller is the record's thread.
    pub(super) fn open_mail(&self, ending: bool) {
        let mut at = {
            let mut inbox = self.inbox.lock();
            inbox.ended |= ending;
            self.mail.store(false, Relaxed);
            core::mem::replace(&mut inbox.first, ptr::null_mut())
        };
        while let Some(node) = NonNull::new(at) {
            // SAFETY: a node in the mail has biases that wait for this.
            let this = unsafe { node.as_ref() };
            at = this.next_in_mail.load(Relaxed);
            release(this);
            {
                // Under the lock, as it is set: from here on a bias is posted anew.
                let _inbox = self.inbox.lock();
                this.posted.store(false, Relaxed);
            }
            // SAFETY: the one bias that was left to this thread.
            unsafe { drop_far(node, BIAS) };
        }
    }
}

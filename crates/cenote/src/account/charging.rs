//! The charging of blocks up the tree, and their crediting.
//!
//! The owner's thread goes up by plain loads and stores as far as accounts are its own, and ends
//! at a shared one, of which it has a reserve (see `record`). All other charges are in `slow`:
//! accounts of other threads, the shared account without a reserve that is enough, and refusals,
//! which leave no trace in any counter.

use super::node::{NO_LIMIT, everyones};
use super::record::Credited;
use super::{Node, Record, calling, life, record};
use crate::sync::modelled::Ordering::*;
use crate::thread;
use crate::{AllocError, asymmetric};
use core::ptr::{self, NonNull};

/// Below this a quantum is not worth an error in the limit: charges are exact.
const SMALLEST_QUANTUM: usize = 4 << 10;
/// The most that a thread takes of a root account beyond what it needs, in bytes.
pub(super) const LARGEST_QUANTUM: usize = 64 << 10;
/// What `spare` is while somebody waits in the tree: nothing is less.
const STARVED: usize = 0;

/// Whether `held`, which was `before`, is beyond `room`. What the owner charges and others credit
/// raises both for ever: on 64 bits 2^62 bytes of it never come, on 32 bits both wrap, and only
/// their difference tells.
#[inline(always)]
const fn is_beyond(before: isize, held: isize, room: isize) -> bool {
    if cfg!(target_pointer_width = "64") {
        held > room
    } else {
        is_beyond_wrapping(before, held, room)
    }
}

#[cfg_attr(target_pointer_width = "64", allow(dead_code))]
pub(super) const fn is_beyond_wrapping(before: isize, held: isize, room: isize) -> bool {
    held.wrapping_sub(before) > room.wrapping_sub(before)
}

impl Node {
    /// Charges `size` bytes here and to every account above, if that is done by plain loads and
    /// stores: `false` where it is not, and nothing has changed.
    ///
    /// On the owner's thread: nine instructions a level.
    #[inline(always)]
    pub(crate) fn charge_quickly(&self, size: usize) -> bool {
        let me = thread::record();
        // Reserves are of shared accounts alone.
        if !ptr::eq(self.owner.load(Relaxed), me) {
            let Some(record) = record::of(me) else { return false };
            return record.less(self, size).is_some_and(|less| record.pay(less, size));
        }
        let stop = self.stop.load(Relaxed);
        // SAFETY: an owner, which is this thread, is its record.
        let record = unsafe { &*me };
        // First, so that what is not charged quickly is never seen on the way up. It also keeps
        // sizes away whose sums could wrap.
        let Some(less) = record.less(stop, size) else { return false };
        let mut node = self;
        loop {
            let before = node.held.load(Relaxed);
            let held = before.wrapping_add(size as isize);
            if is_beyond(before, held, node.room.load(Relaxed)) {
                return self.take_back(node, size);
            }
            node.held.store(held, Relaxed);
            // SAFETY: from here on up there is `stop`, at which this ends.
            node = unsafe { node.above() };
            if ptr::eq(node, stop) {
                break;
            }
        }
        record.pay(less, size) || self.take_back(node, size)
    }

    /// Takes a quick charge back from here up to, and without, `until`; `false`.
    #[cold]
    #[inline(never)]
    fn take_back(&self, until: &Node, size: usize) -> bool {
        let mut node = self;
        while !ptr::eq(node, until) {
            node.held.store(node.held.load(Relaxed) - size as isize, Relaxed);
            // SAFETY: from here on up there is `until`, at which this ends.
            node = unsafe { node.above() };
        }
        // It may have been in the way of one who waits.
        self.root().room_came();
        false
    }

    /// Credits `size` bytes that were charged here.
    #[inline(always)]
    pub(crate) fn credit(&self, size: usize) {
        let me = thread::record();
        if ptr::eq(self.owner.load(Relaxed), me) {
            self.credit_owned(size, me);
        } else {
            self.credit_others(size, me);
        }
    }

    /// [`Node::credit`], and [`Node::leave`] after it.
    ///
    /// # Safety
    /// As for [`Node::leave`].
    #[inline(always)]
    pub(crate) unsafe fn credit_and_leave(node: NonNull<Node>, size: usize) {
        let me = thread::record();
        // SAFETY: the pool's count keeps the node alive until the line that gives it up. Where
        // that is the owner's, so does the owner, as long as it is busy here.
        let this = unsafe { node.as_ref() };
        if ptr::eq(this.owner.load(Relaxed), me) {
            this.credit_owned(size, me);
            // Last: before the credit it costs a third of the whole request's time on some
            // processors, for no reason that could be seen.
            this.live.store(this.live.load(Relaxed) - 1, Relaxed);
        } else {
            this.credit_others(size, me);
            // SAFETY: the caller's promise, passed on.
            unsafe { life::drop_far(node, 1) };
        }
    }

    /// Credits an account that is the calling thread's own.
    #[inline(always)]
    fn credit_owned(&self, size: usize, me: *const Record) {
        self.recycled.store(self.recycled.load(Relaxed) + size as u64, Relaxed);
        let stop = self.stop.load(Relaxed);
        let mut node = self;
        loop {
            node.credit_own(size);
            // SAFETY: from here on up there is `stop`, at which this ends.
            node = unsafe { node.above() };
            if ptr::eq(node, stop) {
                break;
            }
        }
        // SAFETY: an owner, which is this thread, is its record.
        node.credit_to_reserve(size, unsafe { &*me }, me);
    }

    /// Credits an account that is not.
    #[inline(always)]
    fn credit_others(&self, size: usize, me: *const Record) {
        if let Some(record) = record::of(me).filter(|record| record.is_for(self)) {
            record.recycle(size);
            self.credit_to_reserve(size, record, me);
        } else {
            self.far_recycled.fetch_add(size as u64, Relaxed);
            self.credit_rest(size, me);
        }
    }

    /// Credits the rest, from an account on that is shared, if its owner is not the caller.
    #[inline(always)]
    fn credit_to_reserve(&self, size: usize, record: &Record, me: *const Record) {
        match record::credit_to_reserve(self, size, record) {
            Credited::Kept => {}
            Credited::Elsewhere => self.credit_rest(size, me),
            Credited::TooMuch => record::shed(self, record, me),
        }
    }

    #[inline(always)]
    fn credit_own(&self, size: usize) {
        self.notice_peak();
        self.held.store(self.held.load(Relaxed) - size as isize, Relaxed);
    }

    /// The rest of a credit, from an account on that is not the caller's own.
    #[cold]
    #[inline(never)]
    fn credit_rest(&self, size: usize, me: *const Record) {
        let mut node = self;
        loop {
            if node.owner.load(Relaxed) == everyones() {
                return record::credit_shared(node, size, me);
            }
            node.credit_one(size, me);
            match node.parent() {
                Some(parent) => node = parent,
                None => return,
            }
        }
    }

    /// Credits this account alone, whoever's it is.
    fn credit_one(&self, size: usize, me: *const Record) {
        let owner = self.owner.load(Relaxed);
        if ptr::eq(owner, me) {
            return self.credit_own(size);
        }
        self.notice_peak();
        self.uncharge_one(size, me);
    }

    /// Undoes a charge of this account alone: unlike a credit, it is no moment to notice a peak.
    fn uncharge_one(&self, size: usize, me: *const Record) {
        let owner = self.owner.load(Relaxed);
        if ptr::eq(owner, me) {
            self.held.store(self.held.load(Relaxed) - size as isize, Relaxed);
        } else if owner == everyones() {
            self.held.fetch_sub(size as isize, AcqRel);
        } else {
            self.far.fetch_sub(size as isize, Relaxed);
            self.most.fetch_add(size as isize, Relaxed);
            self.room.fetch_add(size as isize, AcqRel);
        }
    }

    /// Makes the peak what is charged now, if that is more.
    #[inline(always)]
    pub(super) fn notice_peak(&self) {
        let held = self.held.load(Relaxed);
        let higher = |most, held| is_beyond(most, held, most).then_some(held);
        if higher(self.most.load(Relaxed), held).is_some()
            && let Some(held) = self.arrived_bytes()
        {
            // Others may do so as well, and charge meanwhile. (No call: the release of a block
            // would save two registers for it.)
            let _ = self.most.fetch_update(Relaxed, Relaxed, |most| higher(most, held));
        }
    }

    /// `held` without what is awaited still; `None` where that changes all the while.
    #[inline(always)]
    pub(super) fn arrived_bytes(&self) -> Option<isize> {
        for _ in 0..8 {
            let before = (self.awaits.load(Acquire), self.awaited.load(Acquire));
            let held = self.held.load(Acquire);
            if (self.awaited.load(Acquire), self.awaits.load(Acquire)) == (before.1, before.0) {
                return Some(held.wrapping_sub(before.1 as isize));
            }
        }
        None
    }

    /// Credits this account and all above without any reserve. [`Node::room_came`] is to follow,
    /// with no lock held.
    pub(super) fn credit_up(&self, size: usize, me: *const Record) {
        let mut at = Some(self);
        while let Some(node) = at {
            node.credit_one(size, me);
            at = node.parent();
        }
        self.set_quantum();
    }

    /// Charges here and to every account above, whatever their limits; `false`, with nothing
    /// changed, where the sum would be more than any memory is. For what [`Node::charge`] refused.
    #[cold]
    pub(super) fn charge_beyond(&self, size: usize) -> bool {
        let (me, root) = (thread::record(), self.root());
        // What is in reserve is held by nobody, and not to be counted as if it were.
        calling::recall(root, me);
        // Who is within has looked at what room there is.
        let within = root.gate.enter();
        // First, and exactly: what it has room for, those below have.
        let most = NO_LIMIT - size as isize;
        let fits = |held| (held <= most).then(|| held + size as isize);
        let Ok(before) = root.held.fetch_update(AcqRel, Relaxed, fits) else { return false };
        root.count_beyond(before, root.room.load(Relaxed), size);
        self.each_up(|node| {
            if !ptr::eq(node, root) {
                node.charge_one_beyond(size, me);
            }
            node.notice_peak();
        });
        drop(within);
        self.each_up(|node| {
            if node.owner.load(Relaxed) == everyones() {
                node.set_quantum();
            }
        });
        // Nor may others keep what is credited until that is within limits again.
        record::set_quanta(root);
        true
    }

    /// Charges this account alone, whoever's it is, and whatever its limit.
    fn charge_one_beyond(&self, size: usize, me: *const Record) {
        let owner = self.owner.load(Relaxed);
        let (held, room);
        if ptr::eq(owner, me) {
            (held, room) = (self.held.load(Relaxed), self.room.load(Relaxed));
            self.held.store(held.wrapping_add(size as isize), Relaxed);
        } else if owner == everyones() {
            held = self.held.fetch_add(size as isize, AcqRel);
            room = self.room.load(Relaxed);
        } else {
            room = self.room.fetch_sub(size as isize, AcqRel);
            held = self.held.load(Relaxed);
            // In this order for the reason that `add` gives.
            self.most.fetch_sub(size as isize, Relaxed);
            self.far.fetch_add(size as isize, Relaxed);
        }
        self.count_beyond(held, room, size);
    }

    /// Counts what a charge of `size` bytes had beyond the limit, by the figures before it.
    fn count_beyond(&self, held: isize, room: isize, size: usize) {
        let room = room.wrapping_sub(held).clamp(0, size as isize);
        self.overcommitted.fetch_add((size as isize - room) as u64, Relaxed);
    }

    /// Credits `size` bytes that were charged here, and were no block.
    #[cold]
    pub(super) fn give_back(&self, size: usize) {
        self.credit_rest(size, thread::record());
    }

    /// The error that names this account, whose limit refused a charge of `size` bytes to `asked`:
    /// itself or one below. It is
    /// counted and told by [`told`](crate::told), if it reaches a caller.
    #[cold]
    #[inline(never)]
    pub(crate) fn refusal(&self, asked: &Self, size: usize) -> AllocError {
        let Some(limit) = self.limit() else {
            // No limit at all, and yet no room: a size that nobody can have.
            return AllocError::out_of_memory(size);
        };
        let account = self.handle();
        AllocError::over_limit(account, self.held(), limit, asked.handle(), size)
    }

    /// Counts a refusal that reached a caller: here, and at `asked` and those in between, which were
    /// refused.
    #[cold]
    pub(crate) fn count_refusal(&self, asked: &Self) {
        self.refused.fetch_add(1, Relaxed);
        let mut at = Some(asked);
        while let Some(node) = at.filter(|node| !ptr::eq(*node, self)) {
            node.refused_above.fetch_add(1, Relaxed);
            at = node.parent();
        }
    }

    /// Sets how much threads may take beyond their need: a part of the room that is left,
    /// nothing when that is little.
    pub(super) fn set_quantum(&self) {
        let known = self.spare.load(Relaxed);
        let mut room = isize::MAX;
        let mut at = Some(self);
        while let Some(node) = at {
            room = room.min(node.room.load(Relaxed).wrapping_sub(node.held.load(Relaxed)));
            at = node.parent();
        }
        // What could not be called in again is not to be kept.
        let share = if asymmetric::available() { room.max(0) as usize / 64 } else { 0 };
        let quantum = if share < SMALLEST_QUANTUM { 0 } else { share.min(LARGEST_QUANTUM) };
        if known != STARVED && known / 2 != quantum {
            // Unless it was starved meanwhile: only who did that feeds it again.
            let _ = self.spare.compare_exchange(known, 2 * quantum + 1, Relaxed, Relaxed);
        }
    }

    /// How many bytes could be charged now, as far as limits go, with all that threads have in
    /// reserve.
    #[cold]
    pub(crate) fn headroom(&self) -> usize {
        let mut room = isize::MAX;
        let mut at = Some(self);
        while let Some(node) = at {
            let left = node.room.load(Relaxed).wrapping_sub(node.held.load(Relaxed));
            // What threads have in reserve of an account is charged there and above.
            room = room.min(left.saturating_add(record::reserved(node) as isize));
            at = node.parent();
        }
        room.max(0) as usize
    }

    /// Takes back a charge whose block was not to be had: no counter keeps a trace.
    #[cold]
    pub(crate) fn uncharge(&self, size: usize) {
        let me = thread::record();
        for (node, own) in self.levels(me) {
            if own {
                node.held.store(node.held.load(Relaxed) - size as isize, Relaxed);
            } else {
                node.uncharge_one(size, me);
            }
        }
        self.root().room_came();
    }

    /// Lets no thread keep anything of this account in reserve; `false` where it was so before.
    pub(super) fn starve(&self) -> bool {
        self.spare.swap(STARVED, Relaxed) != STARVED
    }

    /// Undoes [`Node::starve`].
    pub(super) fn feed(&self) {
        self.spare.store(1, Relaxed);
        self.set_quantum();
    }

    /// Whether this account alone has room for so many bytes.
    pub(super) fn has_room(&self, size: usize) -> bool {
        let room = self.room.load(Relaxed).wrapping_sub(self.held.load(Relaxed));
        size as isize <= room
    }

    #[inline(always)]
    pub(super) fn quantum(&self) -> usize {
        self.spare.load(Relaxed) / 2
    }

    /// A thread may have less than this of a shared account in reserve after a credit.
    #[inline(always)]
    pub(super) fn spare(&self) -> usize {
        self.spare.load(Relaxed)
    }
}

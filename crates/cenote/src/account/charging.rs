//! The charging of blocks up the tree, and their crediting.
//!
//! The owner's thread goes up by plain loads and stores as far as accounts are its own, and ends
//! at a shared one, of which it has a reserve (see `record`). All else is apart: accounts of
//! other threads, the shared account without a reserve that is enough, and refusals, which leave
//! no trace in any counter.

use super::node::{NO_LIMIT, everyones};
use super::{Node, Record, life, record};
use crate::AllocError;
use crate::sync::modelled::Ordering::*;
use crate::thread;
use core::ptr::{self, NonNull};

/// Below this a quantum is not worth an error in the limit: charges are exact.
const SMALLEST_QUANTUM: usize = 4 << 10;
/// The most that a thread takes of a root account beyond what it needs, in bytes.
pub(super) const LARGEST_QUANTUM: usize = 64 << 10;
/// What may be added to what is held without a look whether the sum wraps.
const LARGEST_SUM: usize = usize::MAX / 8;

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
    /// Charges `size` bytes here and to every account above.
    ///
    /// On the owner's thread: nine instructions a level. A refusal, by the account that is
    /// returned, changes nothing; [`Node::refusal`] makes the error.
    #[inline(always)]
    pub(crate) fn charge(&self, size: usize) -> Result<(), &Node> {
        let me = thread::record();
        // Reserves are of shared accounts alone.
        if !ptr::eq(self.owner.load(Relaxed), me) {
            return match record::of(me) {
                Some(record) if record::charge_from_reserve(self, size, record) => Ok(()),
                _ => self.charge_rest(self, size, me),
            };
        }
        if size > LARGEST_SUM {
            return self.charge_rest(self, size, me);
        }
        let stop = self.stop.load(Relaxed);
        let mut node = self;
        loop {
            let before = node.held.load(Relaxed);
            let held = before.wrapping_add(size as isize);
            if is_beyond(before, held, node.room.load(Relaxed)) {
                return self.refuse(node, node, size, me);
            }
            node.held.store(held, Relaxed);
            // SAFETY: from here on up there is `stop`, at which this ends.
            node = unsafe { node.above() };
            if ptr::eq(node, stop) {
                break;
            }
        }
        // SAFETY: an owner, which is this thread, is its record.
        if record::charge_from_reserve(node, size, unsafe { &*me }) {
            return Ok(());
        }
        self.charge_rest(node, size, me)
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
        if !record::credit_to_reserve(node, size, unsafe { &*me }) {
            node.credit_rest(size, me);
        }
    }

    /// Credits an account that is not.
    #[inline(always)]
    fn credit_others(&self, size: usize, me: *const Record) {
        self.far_recycled.fetch_add(size as u64, Relaxed);
        match record::of(me) {
            Some(record) if record::credit_to_reserve(self, size, record) => {}
            _ => self.credit_rest(size, me),
        }
    }

    #[inline(always)]
    fn credit_own(&self, size: usize) {
        self.notice_peak();
        self.held.store(self.held.load(Relaxed) - size as isize, Relaxed);
    }

    /// The rest of a charge, from an account on that is not the caller's own.
    #[cold]
    #[inline(never)]
    fn charge_rest<'a>(
        &'a self,
        from: &'a Node,
        size: usize,
        me: *const Record,
    ) -> Result<(), &'a Node> {
        let mut node = from;
        loop {
            if node.owner.load(Relaxed) == everyones() {
                // The reserve covers this account and all above.
                return match record::charge_shared(node, size, me) {
                    Ok(()) => Ok(()),
                    Err(full) => self.refuse(node, full, size, me),
                };
            }
            if !node.charge_one(size, me) {
                return self.refuse(node, node, size, me);
            }
            match node.parent() {
                Some(parent) => node = parent,
                None => return Ok(()),
            }
        }
    }

    /// The rest of a credit, likewise.
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

    /// Charges this account alone, whoever's it is; `false` where the limit is in the way.
    fn charge_one(&self, size: usize, me: *const Record) -> bool {
        let owner = self.owner.load(Relaxed);
        if ptr::eq(owner, me) {
            let held = self.held.load(Relaxed);
            let fits = size as isize <= self.room.load(Relaxed) - held;
            if fits {
                self.held.store(held + size as isize, Relaxed);
            }
            fits
        } else if owner == everyones() {
            self.held
                .fetch_update(AcqRel, Relaxed, |held| {
                    (size as isize <= self.room.load(Relaxed) - held)
                        .then(|| held.wrapping_add(size as isize))
                })
                .is_ok()
        } else {
            let fits = self
                .room
                .fetch_update(AcqRel, Relaxed, |room| {
                    (size as isize <= room - self.held.load(Relaxed))
                        .then(|| room.wrapping_sub(size as isize))
                })
                .is_ok();
            if fits {
                // In this order, and the other one below: who reads a peak meanwhile finds less.
                self.most.fetch_sub(size as isize, Relaxed);
                self.far.fetch_add(size as isize, Relaxed);
            }
            fits
        }
    }

    /// Credits this account alone, whoever's it is.
    fn credit_one(&self, size: usize, me: *const Record) {
        let owner = self.owner.load(Relaxed);
        if ptr::eq(owner, me) {
            return self.credit_own(size);
        }
        if owner != everyones() {
            // A shared account's peak was noticed when it was charged.
            self.notice_peak();
        }
        self.uncharge_one(size, me);
    }

    /// Undoes [`Node::charge_one`]: unlike a credit, it is no moment to notice a peak.
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
        let higher = |most| is_beyond(most, held, most).then_some(held);
        if higher(self.most.load(Relaxed)).is_some() {
            // Others may do so as well, and charge meanwhile. (No call: the release of a block
            // would save two registers for it.)
            let _ = self.most.fetch_update(Relaxed, Relaxed, higher);
        }
    }

    /// Charges this account and all above without any reserve; the account that refused.
    pub(super) fn charge_up(&self, size: usize, me: *const Record) -> Result<(), &Node> {
        let mut node = self;
        loop {
            if !node.charge_one(size, me) {
                self.undo(Some(node), size, me);
                return Err(node);
            }
            match node.parent() {
                Some(parent) => node = parent,
                None => break,
            }
        }
        // Only now, since a refusal further up must leave no trace.
        let mut at = Some(self);
        while let Some(node) = at {
            node.notice_peak();
            at = node.parent();
        }
        self.set_quantum();
        Ok(())
    }

    /// Credits this account and all above without any reserve.
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
        let me = thread::record();
        let mut root = self;
        self.each_up(|node| root = node);
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
        self.each_up(|node| {
            if node.owner.load(Relaxed) == everyones() {
                node.set_quantum();
            }
        });
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
            // In this order for the reason that `charge_one` gives.
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

    /// Takes a charge back from here up to, and without, `until` (`None`: to the root); from the
    /// counters that [`Node::charge`] added it to, or each refused one would leave them further apart.
    fn undo(&self, until: Option<&Node>, size: usize, me: *const Record) {
        let mut node = self;
        let mut own = size <= LARGEST_SUM && ptr::eq(self.owner.load(Relaxed), me);
        while until.is_none_or(|until| !ptr::eq(node, until)) {
            own = own && !ptr::eq(node, self.stop.load(Relaxed));
            if own {
                node.held.store(node.held.load(Relaxed) - size as isize, Relaxed);
            } else {
                node.uncharge_one(size, me);
            }
            match node.parent() {
                Some(parent) => node = parent,
                None => return,
            }
        }
    }

    /// Undoes the charge from here up to `until`; `full` stood in the way.
    #[cold]
    #[inline(never)]
    fn refuse<'a>(
        &'a self,
        until: &Node,
        full: &'a Node,
        size: usize,
        me: *const Record,
    ) -> Result<(), &'a Node> {
        self.undo(Some(until), size, me);
        if record::settle_reserve(me) {
            // What this thread had in reserve may be what was missing: once more, without.
            return self.charge(size);
        }
        Err(full)
    }

    /// The error that names this account, whose limit refused a charge of `size` bytes. It is
    /// counted and told by [`told`](crate::told), if it reaches a caller.
    #[cold]
    #[inline(never)]
    pub(crate) fn refusal(&self, size: usize) -> AllocError {
        let Some(limit) = self.limit() else {
            // No limit at all, and yet no room: a size that nobody can have.
            return AllocError::out_of_memory(size);
        };
        let account = self.handle();
        // Reserves included, if there are any: this near to the limit they are small, and telling
        // them apart would need a lock.
        AllocError::over_limit(account, self.charged().max(0) as usize, limit, size)
    }

    /// Counts a refusal that reached a caller.
    #[cold]
    pub(crate) fn count_refusal(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Sets how much threads may take beyond their need: a part of the room that is left,
    /// nothing when that is little.
    pub(super) fn set_quantum(&self) {
        let mut room = isize::MAX;
        let mut at = Some(self);
        while let Some(node) = at {
            room = room.min(node.room.load(Relaxed) - node.held.load(Relaxed));
            at = node.parent();
        }
        let share = room.max(0) as usize / 64;
        let quantum = if share < SMALLEST_QUANTUM { 0 } else { share.min(LARGEST_QUANTUM) };
        if self.quantum() != quantum {
            self.spare.store(2 * quantum, Relaxed);
        }
    }

    /// How many bytes could be charged now, as far as limits go.
    #[cold]
    pub(crate) fn headroom(&self) -> usize {
        let (mut room, mut reserve) = (isize::MAX, 0);
        let mut at = Some(self);
        while let Some(node) = at {
            // What this thread has in reserve of an account is charged there and above.
            reserve += record::reserve_of(node) as isize;
            let left = node.room.load(Relaxed) - node.held.load(Relaxed);
            room = room.min(left + reserve);
            at = node.parent();
        }
        room.max(0) as usize
    }

    /// Takes back a charge whose block was not to be had: no counter keeps a trace.
    #[cold]
    pub(crate) fn uncharge(&self, size: usize) {
        self.undo(None, size, thread::record());
    }

    #[inline(always)]
    pub(super) fn quantum(&self) -> usize {
        self.spare.load(Relaxed) / 2
    }

    /// How much of a shared account a thread may have in reserve after a credit.
    #[inline(always)]
    pub(super) fn spare(&self) -> usize {
        self.spare.load(Relaxed)
    }
}

//! Charges that cannot be by plain loads and stores alone: of accounts that other threads charge as
//! well, with the quantum that a thread takes, and those that are refused.
//!
//! Nothing is added anywhere before each limit on the way up was looked at, so that a charge that
//! is refused makes nobody else's fail, and no peak counts it. Each account decides by one atomic step,
//! the root first. Where an account has less room then than when it was looked at, what was added
//! above it is taken back; so who is refused in a tree where that can be makes sure: within the gate
//! of the tree's root, when nobody is between such steps, what is found full is full.

use super::charging::LARGEST_QUANTUM;
use super::node::{everyones, owning_thread};
use super::{Node, Record, calling, record};
use crate::gate::{self, Passing};
use crate::sync::modelled::{Ordering::*, fence};
use crate::{asymmetric, thread};
use core::ptr;

/// Bytes that are charged, and of which nobody knows yet whether the source has them. No peak counts
/// them: whoever credits something meanwhile would notice them. Pieces of less than
/// [`LEAST_AWAITED`] are not worth it, as what is kept in reserve counts as well.
pub(crate) struct Awaited<'n> {
    node: Option<&'n Node>,
    size: usize,
}

/// To count a block as awaited is three atomic operations an account, which threads that charge one
/// account wait for each other for: less than a thousandth of what it takes to have so much memory
/// from the system and to touch it, and many times what it takes to charge a smaller one.
const LEAST_AWAITED: usize = 1 << 20;

/// One who begins to count a charge as awaited, in `awaits`.
const BEGINS: usize = 1;
/// One who has begun, all in all.
const BEGUN: usize = 1 << 16;

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(node) = self.node {
            node.each_up(|node| {
                node.awaited.fetch_sub(self.size, AcqRel);
            });
        }
    }
}

impl Node {
    /// Charges `size` bytes here and to every account above. A refusal, by the account that is
    /// returned, changes nothing; [`Node::refusal`] counts it and makes the error.
    ///
    /// The caller keeps what is returned until it has the memory, or has [taken the charge
    /// back](Node::uncharge).
    #[cold]
    pub(crate) fn charge_slowly(&self, size: usize) -> Result<Awaited<'_>, &Node> {
        let known = thread::record();
        // The first block that a thread charges may come before its record.
        let me = if known.is_null() { thread::record_or_enlist() } else { known };
        match self.try_charge(size, me, Sure::No) {
            // What the caller itself has in reserve of one of the accounts is called in as well.
            Err(full) if full.shares() || !full.is_sure(me) => calling::charge(self, size, me),
            other => other,
        }
    }

    /// Charges, if no limit is in the way as things are; the account whose is.
    pub(super) fn try_charge(
        &self,
        size: usize,
        me: *const Record,
        sure: Sure,
    ) -> Result<Awaited<'_>, &Node> {
        let mut shared = self;
        while shared.owner.load(Relaxed) != everyones() {
            // A root is everyone's.
            let Some(parent) = shared.parent() else { break };
            shared = parent;
        }
        if size < LEAST_AWAITED {
            record::charge_shared(self, shared, size, me, sure)?;
            return Ok(Awaited { node: None, size });
        }
        // While anybody is here, a reader does not know whether what is held has it already.
        self.each_up(|node| {
            node.awaits.fetch_add(BEGINS, AcqRel);
        });
        let charged = record::charge_shared(self, shared, size, me, sure);
        self.each_up(|node| {
            if charged.is_ok() {
                node.awaited.fetch_add(size, AcqRel);
            }
            node.awaits.fetch_add(BEGUN - BEGINS, AcqRel);
        });
        charged.map(|()| Awaited { node: Some(self), size })
    }

    /// If nothing is awaited, how often something was.
    #[inline]
    pub(super) fn awaits_of_nothing(&self) -> Option<usize> {
        let awaits = self.awaits.load(Acquire);
        (awaits.is_multiple_of(BEGUN) && self.awaited.load(Acquire) == 0).then_some(awaits)
    }

    /// Bytes that are awaited.
    pub(super) fn awaited(&self) -> isize {
        self.awaited.load(Acquire) as isize
    }

    /// `held` without what is awaited still.
    #[inline(always)]
    pub(super) fn arrived_bytes(&self) -> isize {
        let mut looks = 0;
        loop {
            let (awaits, awaited) = (self.awaits.load(Acquire), self.awaited.load(Acquire));
            let held = self.held.load(Acquire);
            let settled = awaits.is_multiple_of(BEGUN)
                && self.awaited.load(Acquire) == awaited
                && self.awaits.load(Acquire) == awaits;
            looks += 1;
            if settled || looks == LOOKS_AT_AWAITED {
                return held.wrapping_sub(awaited as isize);
            }
        }
    }

    /// Charges, where what it is for is there, or nobody has to wait for it.
    pub(crate) fn charge(&self, size: usize) -> Result<(), &Node> {
        if self.charge_quickly(size) { Ok(()) } else { self.charge_slowly(size).map(drop) }
    }

    /// Each account from here up to the root, and whether it is charged by plain stores by the
    /// thread of this record: those that are its own from here on up, without a gap.
    pub(super) fn levels(&self, me: *const Record) -> impl Iterator<Item = (&Node, bool)> {
        let stop = self.stop.load(Relaxed);
        let mut within = ptr::eq(self.owner.load(Relaxed), me);
        let mut at = Some(self);
        core::iter::from_fn(move || {
            let node = at?;
            at = node.parent();
            within = within && !ptr::eq(node, stop);
            Some((node, within || ptr::eq(node.owner.load(Relaxed), me)))
        })
    }

    /// Charges `size` bytes from here up to, and without, `shared`, and `more` from there on up; or
    /// nothing, where that would pass a limit.
    ///
    /// One look at each account on the way up, one atomic step at the root, and one addition to each
    /// of the others on the way down again.
    pub(super) fn charge_path<'n>(
        &'n self,
        shared: &'n Node,
        size: usize,
        more: usize,
        me: *const Record,
        sure: Sure,
    ) -> Result<(), &'n Node> {
        if sure == Sure::Yes {
            return self.charge_alone(shared, size, more, me);
        }
        let (stop, mut within) = (self.stop.load(Relaxed), ptr::eq(self.owner.load(Relaxed), me));
        let (mut node, mut bytes, mut is_contended) = (self, size, false);
        let root = loop {
            if ptr::eq(node, shared) {
                bytes = more;
            }
            let Some(parent) = node.parent() else { break node };
            within = within && !ptr::eq(node, stop);
            is_contended |= !within && !ptr::eq(node.owner.load(Relaxed), me);
            // What was charged already, as a reserve is, is nobody's to refuse.
            if bytes > 0 && !node.has_room(bytes) {
                return Err(node);
            }
            node = parent;
        };
        if is_contended {
            return match Crossing::begin(root, me) {
                Some(crossing) => self.charge_across(shared, size, more, me, crossing),
                None => self.charge_alone(shared, size, more, me),
            };
        }
        if more > 0 && !root.charge_root(more) {
            return Err(root);
        }
        // All of them this thread's own, and below the shared one: that is the root.
        let mut node = self;
        while !ptr::eq(node, root) {
            node.add(size, true);
            // SAFETY: from here on up there is the root, at which this ends.
            node = unsafe { node.above() };
        }
        shared.set_quantum();
        Ok(())
    }

    /// [`Node::charge_path`] of accounts that others charge as well: each by one atomic step that its
    /// limit allows, the root first. In this order an account never has more than the one above it, and
    /// no peak is above a limit further up. Where one refuses after all, it is taken back: who is
    /// refused meanwhile looks again when nobody crosses.
    fn charge_across<'n>(
        &'n self,
        shared: &'n Node,
        size: usize,
        more: usize,
        me: *const Record,
        crossing: Crossing<'_>,
    ) -> Result<(), &'n Node> {
        let mut path = [None; DEEPEST];
        let (mut len, mut bytes) = (0, size);
        for (node, own) in self.levels(me) {
            if ptr::eq(node, shared) {
                bytes = more;
            }
            if bytes == 0 {
                break;
            }
            let Some(level) = path.get_mut(len) else {
                drop(crossing);
                return self.charge_alone(shared, size, more, me);
            };
            *level = Some((node, own, bytes));
            len += 1;
        }
        for at in (0..len).rev() {
            let Some((node, own, bytes)) = path[at] else { continue };
            if node.try_add(bytes, own) {
                continue;
            }
            for &(above, own, bytes) in path[at + 1..len].iter().flatten() {
                above.take_off(bytes, own);
            }
            drop(crossing);
            // It may have been in the way of one who waits.
            self.root().room_came();
            return Err(node);
        }
        drop(crossing);
        shared.set_quantum();
        Ok(())
    }

    /// [`Node::charge_path`] while nobody else charges accounts of the tree that are not his own: so
    /// that what is found full is full.
    #[cold]
    #[inline(never)]
    fn charge_alone<'n>(
        &'n self,
        shared: &'n Node,
        size: usize,
        more: usize,
        me: *const Record,
    ) -> Result<(), &'n Node> {
        let root = self.root();
        let _within = root.gate.enter();
        let is_contended = self.levels(me).any(|(node, own)| !own && !ptr::eq(node, root));
        let mut is_alone = false;
        loop {
            if !is_alone && (is_contended || root.crossed.load(Relaxed)) {
                // Who does not see that somebody is within is seen here.
                asymmetric::heavy();
                record::all().for_each(|record| record.crossing.wait());
                is_alone = true;
            }
            let charged = self.look_and_charge(root, shared, size, more, me);
            // Whose charge was seen had said before that there are such.
            fence(Acquire);
            if charged.is_ok() || is_alone || !root.crossed.load(Relaxed) {
                return charged;
            }
        }
    }

    /// [`Node::charge_path`] for [`Node::charge_alone`].
    fn look_and_charge<'n>(
        &'n self,
        root: &'n Node,
        shared: &'n Node,
        size: usize,
        more: usize,
        me: *const Record,
    ) -> Result<(), &'n Node> {
        let below_root = || {
            let mut bytes = size;
            self.levels(me).filter_map(move |(node, own)| {
                if ptr::eq(node, shared) {
                    bytes = more;
                }
                (bytes > 0 && !ptr::eq(node, root)).then_some((node, own, bytes))
            })
        };
        for (node, own, bytes) in below_root() {
            if !node.fits(bytes, own) {
                return Err(node);
            }
        }
        // What was charged already, as a reserve is, is nobody's to refuse.
        if more > 0 && !root.charge_root(more) {
            return Err(root);
        }
        for (node, own, bytes) in below_root() {
            node.add(bytes, own);
        }
        shared.set_quantum();
        Ok(())
    }

    /// Whether this account, which has just refused a charge, can have done so only for what the thread
    /// of this record has charged: nobody else has charged it, who might take that back.
    fn is_sure(&self, me: *const Record) -> bool {
        ptr::eq(self.owner.load(Relaxed), me) && self.room.load(Relaxed) == self.limit.load(Relaxed)
    }

    /// Whether so many bytes are within the limit. The caller is alone.
    fn fits(&self, size: usize, own: bool) -> bool {
        let left = || self.room.load(Relaxed).wrapping_sub(self.held.load(Relaxed));
        if size as isize <= left() {
            return true;
        }
        if own || owning_thread(self.owner.load(Relaxed)).is_none() {
            return false;
        }
        // Its owner charges by plain stores, some of which it may be about to take back: at most what
        // it has in reserve.
        if size as isize > left().saturating_add(2 * LARGEST_QUANTUM as isize) {
            return false;
        }
        asymmetric::heavy();
        for look in 0..LOOKS {
            if size as isize <= left() {
                return true;
            }
            // It may have lost its processor in the middle.
            if look < LOOKS / 2 { core::hint::spin_loop() } else { gate::yield_now() }
        }
        false
    }

    /// Charges this account, everyone's, alone; `false` where the limit is in the way.
    fn charge_root(&self, size: usize) -> bool {
        let sum = |held: isize| {
            let fits = size as isize <= self.room.load(Relaxed).wrapping_sub(held);
            fits.then(|| held.wrapping_add(size as isize))
        };
        // Who is refused goes through the records next: those of whom it was refused for are there.
        self.held.fetch_update(AcqRel, Acquire, sum).is_ok()
    }

    /// Charges this account alone, which is no root; `false` where the limit is in the way.
    fn try_add(&self, size: usize, own: bool) -> bool {
        let bytes = size as isize;
        if own {
            let fits = self.has_room(size);
            if fits {
                self.add(size, own);
            }
            return fits;
        }
        if self.owner.load(Relaxed) == everyones() {
            return self.charge_root(size);
        }
        let less = |room: isize| {
            let fits = bytes <= room.wrapping_sub(self.held.load(Relaxed));
            fits.then(|| room.wrapping_sub(bytes))
        };
        let fits = self.room.fetch_update(AcqRel, Acquire, less).is_ok();
        if fits {
            // In this order, and the other one in a credit: who reads a peak meanwhile finds less.
            self.most.fetch_sub(bytes, Relaxed);
            self.far.fetch_add(bytes, Relaxed);
        }
        fits
    }

    /// Charges this account alone, which is no root.
    fn add(&self, size: usize, own: bool) {
        let bytes = size as isize;
        if own {
            // In this order for who looks at what is awaited.
            self.held.store(self.held.load(Relaxed) + bytes, Release);
        } else if self.owner.load(Relaxed) == everyones() {
            self.held.fetch_add(bytes, AcqRel);
        } else {
            self.room.fetch_sub(bytes, AcqRel);
            // In this order, and the other one in a credit: who reads a peak meanwhile finds less.
            self.most.fetch_sub(bytes, Relaxed);
            self.far.fetch_add(bytes, Relaxed);
        }
    }
}

/// How often a thread looks again whether an account's owner takes a charge back.
const LOOKS: u32 = 100;
/// How often a thread looks again for what is held and what of it is awaited.
const LOOKS_AT_AWAITED: u32 = 64;

/// Whether a refusal is to be for what others hold, and not for what one of them is about to take back.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sure {
    No,
    Yes,
}

/// A charge of more accounts than this, of which others charge some as well, is made alone.
const DEEPEST: usize = 8;

/// A thread that charges accounts of a tree which others charge as well, one after the other. Who has
/// to know whether one of them is full waits until nobody does (`Node::charge_alone`).
struct Crossing<'r> {
    _passing: Passing<'r>,
}

impl<'r> Crossing<'r> {
    /// `None` where others would not know of it, or somebody is alone now.
    #[inline]
    fn begin(root: &Node, me: *const Record) -> Option<Self> {
        let record = record::of(me)?;
        if !asymmetric::available() {
            return None;
        }
        if !root.crossed.load(Relaxed) {
            root.crossed.store(true, Relaxed);
        }
        for _ in 0..2 {
            let passing = record.crossing.begin();
            // This thread says first that it crosses and looks then, who is alone does the opposite: one
            // sees the other.
            asymmetric::light();
            if !root.gate.is_entered() {
                return Some(Self { _passing: passing });
            }
            drop(passing);
            // It is not for long.
            drop(root.gate.enter());
        }
        None
    }
}

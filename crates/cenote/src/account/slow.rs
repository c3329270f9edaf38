//! Charges that cannot be by plain loads and stores alone: of accounts that other threads charge as
//! well, with the quantum that a thread takes, and those that are refused.
//!
//! Nothing is added anywhere before it is known that no limit is in the way, so that a charge that
//! is refused makes nobody else's fail, and no peak counts it. A root decides by one atomic step.
//! What other accounts on the way have in room is looked at before, within the gate of the tree's
//! root, so that among those that charge them so each finds what it saw; credits only make room.

use super::charging::LARGEST_QUANTUM;
use super::node::{everyones, owning_thread};
use super::{Node, Record, calling, record};
use crate::asymmetric;
use crate::sync::modelled::Ordering::*;
use crate::thread;
use core::ptr;

/// Bytes that are charged, and of which nobody knows yet whether the source has them. No peak counts
/// them: whoever credits something meanwhile would notice them. Small pieces are not worth it, as
/// a quantum that is kept in reserve counts as well.
pub(crate) struct Awaited<'n> {
    node: Option<&'n Node>,
    size: usize,
}

impl<'n> Awaited<'n> {
    fn begin(node: &'n Node, size: usize) -> Self {
        let node = (size > LARGEST_QUANTUM).then_some(node);
        let mut at = node;
        while let Some(node) = at {
            // What is held now is in a peak for the last time here: until the charge is added, less
            // seems to have arrived, and a reserve may go back that was part of what is held.
            node.notice_peak();
            node.awaits.fetch_add(1, AcqRel);
            node.awaited.fetch_add(size, AcqRel);
            at = node.parent();
        }
        Self { node, size }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut at = self.node;
        while let Some(node) = at {
            node.awaited.fetch_sub(self.size, AcqRel);
            at = node.parent();
        }
    }
}

impl Node {
    /// Charges `size` bytes here and to every account above. A refusal, by the account that is
    /// returned, changes nothing; [`Node::refusal`] makes the error.
    ///
    /// The caller keeps what is returned until it has the memory, or has [taken the charge
    /// back](Node::uncharge).
    #[cold]
    pub(crate) fn charge_slowly(&self, size: usize) -> Result<Awaited<'_>, &Node> {
        let known = thread::record();
        // The first block that a thread charges may come before its record.
        let me = if known.is_null() { thread::record_or_enlist() } else { known };
        let awaited = Awaited::begin(self, size);
        match self.try_charge(size, me) {
            // What the caller itself has in reserve of one of the accounts is called in as well.
            Err(full) if full.shares() => calling::charge(self, size, me)?,
            other => other?,
        }
        Ok(awaited)
    }

    /// Charges, where what it is for is there, or nobody has to wait for it.
    pub(crate) fn charge(&self, size: usize) -> Result<(), &Node> {
        if self.charge_quickly(size) { Ok(()) } else { self.charge_slowly(size).map(drop) }
    }

    /// Each account from here up to the root, and whether it is charged by plain stores by the
    /// thread of this record: those that are its own from here on up, without a gap.
    pub(super) fn levels(&self, me: *const Record) -> impl Iterator<Item = (&Node, bool)> {
        let mut within = ptr::eq(self.owner.load(Relaxed), me);
        // Where the account is not the thread's own, others write beside it.
        let stop = if within { self.stop.load(Relaxed) } else { ptr::null_mut() };
        let mut at = Some(self);
        core::iter::from_fn(move || {
            let node = at?;
            at = node.parent();
            within = within && !ptr::eq(node, stop);
            Some((node, within || ptr::eq(node.owner.load(Relaxed), me)))
        })
    }

    /// Charges, if no limit is in the way as things are; the account whose is.
    pub(super) fn try_charge(&self, size: usize, me: *const Record) -> Result<(), &Node> {
        let mut shared = self;
        while shared.owner.load(Relaxed) != everyones() {
            // A root is everyone's.
            let Some(parent) = shared.parent() else { break };
            shared = parent;
        }
        record::charge_shared(self, shared, size, me)
    }

    /// Charges `size` bytes from here up to, and without, `shared`, and `more` from there on up; or
    /// nothing, where that would pass a limit.
    pub(super) fn charge_path<'n>(
        &'n self,
        shared: &'n Node,
        size: usize,
        more: usize,
        me: *const Record,
    ) -> Result<(), &'n Node> {
        let root = self.root();
        let others = |(node, own): (&Node, bool)| !own && !ptr::eq(node, root);
        let is_contended = self.levels(me).any(others);
        // What is this thread's own nobody else adds to but within the gate.
        let _within = is_contended.then(|| root.gate.enter());
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

    /// Whether so many bytes are within the limit.
    fn fits(&self, size: usize, own: bool) -> bool {
        let left = || self.room.load(Relaxed).wrapping_sub(self.held.load(Relaxed));
        if size as isize <= left() {
            return true;
        }
        if own || owning_thread(self.owner.load(Relaxed)).is_none() {
            return false;
        }
        // Its owner charges by plain stores, some of which it may be about to take back.
        asymmetric::heavy();
        for _ in 0..LOOKS {
            if size as isize <= left() {
                return true;
            }
            core::hint::spin_loop();
        }
        false
    }

    /// Charges this account, a root, alone; `false` where the limit is in the way.
    fn charge_root(&self, size: usize) -> bool {
        let sum = |held: isize| {
            let fits = size as isize <= self.room.load(Relaxed).wrapping_sub(held);
            fits.then(|| held.wrapping_add(size as isize))
        };
        // Who is refused goes through the records next: those of whom it was refused for are there.
        self.held.fetch_update(AcqRel, Acquire, sum).is_ok()
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

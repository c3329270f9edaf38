//! The account itself: its counters, and the charging of blocks up the tree.
//!
//! A request's pool lives for some 35 ns, and a locked instruction takes a good part of that;
//! so an account keeps two sets of counters. One belongs to a single thread, its owner, which
//! updates it by plain loads and stores; the other is everyone's, and atomic. Every total is the
//! sum of both.
//!
//! For the limit the two meet in `room`: the limit less what other threads have charged. The
//! owner compares its own bytes to it; the others lower it, and look at the owner's bytes.
//!
//! Whose an account is, stands in `owner`:
//! - a child begins as [`nobodys`], and becomes its first pool's thread's;
//! - a root is [`everyones`] from the start: all bytes are in `held`, by atomic operations,
//!   a quantum at a time (see `record`);
//! - an account that closed while pools were on it is [`released`] by its owner (see `life`).

use super::family::Family;
use super::{Account, Record, life, record};
use crate::sync::modelled::Lock;
use crate::sync::modelled::{
    AtomicBool, AtomicI64, AtomicIsize, AtomicPtr, AtomicU64, AtomicUsize, Ordering::*,
};
use crate::thread;
use crate::{AllocError, BlockSource};
use alloc::borrow::Cow;
use alloc::sync::Arc;
use core::alloc::Layout;
use core::panic::Location;
use core::ptr::{self, NonNull};

#[cfg(not(all(test, loom)))]
use crate::Blocks as Memory;
/// Models have no cache.
#[cfg(all(test, loom))]
use crate::System as Memory;

/// "No limit", far from both ends, so that sums with it cannot wrap.
const NO_LIMIT: isize = isize::MAX / 2;
/// The most that a thread takes of a root account beyond what it needs, in bytes.
const LARGEST_QUANTUM: usize = 64 << 10;
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

/// Below this a quantum is not worth an error in the limit: charges are exact.
const SMALLEST_QUANTUM: usize = 4 << 10;

pub(super) fn everyones() -> *mut Record {
    ptr::without_provenance_mut(1)
}

pub(super) fn nobodys() -> *mut Record {
    ptr::without_provenance_mut(2)
}

pub(super) fn released() -> *mut Record {
    ptr::without_provenance_mut(3)
}

/// The record of an owner that is a thread.
pub(super) fn owning_thread(owner: *mut Record) -> Option<NonNull<Record>> {
    if owner == everyones() || owner == nobodys() || owner == released() {
        None
    } else {
        NonNull::new(owner)
    }
}

/// One account. Lives at a fixed address until `life` frees it.
#[repr(C, align(64))]
pub(crate) struct Node {
    // The owner's, on a cache line of their own with what the owner reads along with them.
    /// A record's address, or one of the three markers; never null.
    pub(super) owner: AtomicPtr<Record>,
    /// Owner's bytes; for a root, all bytes, reserves included.
    held: AtomicIsize,
    /// The limit less `far`, so that the owner compares once.
    room: AtomicIsize,
    parent: Option<Account>,
    /// The most that `held` and `far` together were, as far as noticed: releases notice.
    peak: AtomicIsize,
    /// Pools made less pools dropped on the owner's thread.
    pub(super) live: AtomicI64,
    created: AtomicU64,
    /// Bytes that threads other than the owner have charged, less what they have credited.
    far: AtomicIsize,

    // Everyone's, but for the first two.
    recycled: AtomicU64,
    /// The first account above that is not the owner's: always one that there is, since a root
    /// is nobody's own. Null until there is an owner, who alone reads it.
    stop: AtomicPtr<Node>,
    pub(super) handles: AtomicUsize,
    /// Pools made less pools dropped on other threads, and `life`'s bias. See there.
    pub(super) far_live: AtomicI64,
    far_created: AtomicU64,
    far_recycled: AtomicU64,
    refused: AtomicU64,
    limit: AtomicIsize,
    /// For a shared account: twice what a thread may take beyond its need, which it may keep.
    spare: AtomicUsize,
    /// The record that once was the owner: one count of its `Arc`, kept until the node goes, so
    /// that whoever reads `owner` may use the record. Null where there was no owner, or it was
    /// that of the account above, which keeps it for longer.
    bound: AtomicPtr<Record>,
    /// Whether threads may have reserves of this account, or of one under it.
    shares: AtomicBool,
    /// Links in the owner's mail, guarded by the owner record's lock.
    pub(super) mail: life::Mail,

    // What it is.
    /// This node, as it was allocated: for handles, one of which will free it.
    pub(super) itself: AtomicPtr<Node>,
    pub(super) name: Cow<'static, str>,
    created_at: &'static Location<'static>,
    /// The how many-th under its parent it is; set once, by [`Family::add`].
    pub(super) number: AtomicU64,
    /// What a user marked it with; 0: nothing.
    pub(super) stamp: AtomicU64,
    pub(crate) family: Lock<Family>,
    /// Links in the parent's list, guarded by the parent's `family` lock.
    pub(super) newer: AtomicPtr<Node>,
    pub(super) older: AtomicPtr<Node>,
    /// By which a model notices a node that is never freed.
    #[cfg(all(test, loom))]
    freed: loom::alloc::Track<()>,
}

/// Memory for a node: a block of the thread's cache, since servers make an account for each request, and
/// `malloc` would take longer over its alignment than all the rest does.
#[inline(always)]
fn memory() -> NonNull<Node> {
    let layout = Layout::new::<Node>();
    match Memory.acquire(layout) {
        Ok(memory) => memory.cast(),
        Err(_) => alloc::alloc::handle_alloc_error(layout),
    }
}

impl Node {
    /// A new node, in its parent's list; the handle is the first.
    pub(super) fn make(
        name: Cow<'static, str>,
        parent: Option<Account>,
        shared: bool,
        created_at: &'static Location<'static>,
    ) -> Account {
        record::read_mail();
        let owner = if shared { everyones() } else { nobodys() };
        let new = memory();
        let node = Node {
            owner: AtomicPtr::new(owner),
            held: AtomicIsize::new(0),
            room: AtomicIsize::new(NO_LIMIT),
            parent,
            peak: AtomicIsize::new(0),
            live: AtomicI64::new(0),
            created: AtomicU64::new(0),
            recycled: AtomicU64::new(0),
            stop: AtomicPtr::new(ptr::null_mut()),
            handles: AtomicUsize::new(1),
            far: AtomicIsize::new(0),
            far_live: AtomicI64::new(life::BIAS),
            far_created: AtomicU64::new(0),
            far_recycled: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            limit: AtomicIsize::new(NO_LIMIT),
            spare: AtomicUsize::new(2 * LARGEST_QUANTUM),
            bound: AtomicPtr::new(ptr::null_mut()),
            shares: AtomicBool::new(shared),
            mail: life::Mail::new(),
            itself: AtomicPtr::new(ptr::null_mut()),
            name,
            created_at,
            number: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            family: Lock::new(Family::new()),
            newer: AtomicPtr::new(ptr::null_mut()),
            older: AtomicPtr::new(ptr::null_mut()),
            #[cfg(all(test, loom))]
            freed: loom::alloc::Track::new(()),
        };
        // SAFETY: just acquired with a node's layout.
        unsafe { new.write(node) };
        let node = new;
        // SAFETY: just made.
        unsafe { node.as_ref() }.itself.store(node.as_ptr(), Relaxed);
        // SAFETY: just made; the handle below is its one count.
        let account = unsafe { Account::from_counted(node) };
        if let Some(parent) = account.node().parent() {
            // SAFETY: just made, in no list, and taken out of it before it is freed.
            unsafe { parent.family.lock().add(node) };
        }
        if shared {
            let mut above = account.node().parent();
            while let Some(node) = above {
                node.shares.store(true, Relaxed);
                above = node.parent();
            }
            account.node().set_quantum();
        }
        account
    }

    // ---- charging ------------------------------------------------------------------------

    /// Charges `size` bytes here and to every account above.
    ///
    /// On the owner's thread: nine instructions a level. A refusal, by the account that is
    /// returned, changes nothing; [`Node::refusal`] counts it and makes the error.
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
        // Others may be noticing one as well; and this is rare.
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
            self.room.fetch_add(size as isize, AcqRel);
        }
    }

    /// Makes the peak what is charged now, if that is more.
    #[inline(always)]
    pub(super) fn notice_peak(&self) {
        let charged = self.charged();
        if charged > self.peak.load(Relaxed) {
            self.peak.fetch_max(charged, Relaxed);
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

    /// Counts a charge of `size` bytes that this account's limit refused for good, and makes
    /// the error that names it.
    #[cold]
    #[inline(never)]
    pub(crate) fn refusal(&self, size: usize) -> AllocError {
        let Some(limit) = self.limit() else {
            // No limit at all, and yet no room: a size that nobody can have.
            return AllocError::out_of_memory(size);
        };
        self.refused.fetch_add(1, Relaxed);
        let account = self.handle();
        // Reserves included, if there are any: this near to the limit they are small, and telling
        // them apart would need a lock.
        let error = AllocError::over_limit(account, self.charged().max(0) as usize, limit, size);
        super::report::refused(&error);
        error
    }

    /// Sets how much threads may take beyond their need: a part of the room that is left,
    /// nothing when that is little.
    fn set_quantum(&self) {
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

    /// Whether threads may have reserves of this account, or of one under it.
    pub(super) fn shares(&self) -> bool {
        self.shares.load(Relaxed)
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

    // ---- pools ---------------------------------------------------------------------------

    /// Counts a pool in. It keeps the node alive until [`Node::leave`].
    #[inline(always)]
    pub(crate) fn enter(&self) {
        if ptr::eq(self.owner.load(Relaxed), thread::record()) {
            self.live.store(self.live.load(Relaxed) + 1, Relaxed);
            self.created.store(self.created.load(Relaxed) + 1, Relaxed);
        } else {
            self.enter_cold();
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_cold(&self) {
        if self.owner.load(Relaxed) == nobodys() {
            let me = thread::record_or_enlist();
            if !me.is_null() {
                self.bind_all(me);
            }
            if self.owner.load(Relaxed) != nobodys() {
                return self.enter();
            }
        }
        self.far_live.fetch_add(1, Relaxed);
        self.far_created.fetch_add(1, Relaxed);
    }

    /// Makes this account the calling thread's, and those above, which are charged along with it;
    /// each if it is nobody's yet.
    fn bind_all(&self, me: *const Record) {
        let parent = self.parent();
        if let Some(parent) = parent.filter(|parent| ptr::eq(parent.owner.load(Relaxed), me)) {
            // Those above are bound, and the record is theirs for longer than this account is.
            if self.owner.compare_exchange(nobodys(), me.cast_mut(), AcqRel, Relaxed).is_ok() {
                self.stop.store(parent.stop.load(Relaxed), Relaxed);
            }
            return;
        }
        let mut at = Some(self);
        while let Some(node) = at {
            node.bind(me);
            at = node.parent();
        }
        self.set_stops(me);
    }

    /// Makes the account the calling thread's, if it is nobody's yet.
    fn bind(&self, me: *const Record) {
        if self.owner.load(Relaxed) != nobodys() {
            return;
        }
        // SAFETY: the thread's own record, alive as long as the thread holds it.
        unsafe { Arc::increment_strong_count(me) };
        if self.owner.compare_exchange(nobodys(), me.cast_mut(), AcqRel, Relaxed).is_ok() {
            self.bound.store(me.cast_mut(), Relaxed);
        } else {
            // SAFETY: the count that was just added, since the node did not take it.
            unsafe { Arc::decrement_strong_count(me) };
        }
    }

    /// Tells this account and those above that are the calling thread's how far up that goes.
    ///
    /// It stays true: what is above keeps its handles as long as this account is there, and what
    /// was not this thread's when it was bound never becomes its own. Where a handle had been
    /// made of an account in the owner's mail, that one may be released under its owner's own
    /// accounts; they charge it by plain stores all the same, and so does nobody else.
    fn set_stops(&self, me: *const Record) {
        let mut first = Some(self);
        while let Some(from) = first {
            let mut stop = from;
            while ptr::eq(stop.owner.load(Relaxed), me) {
                match stop.parent() {
                    Some(parent) => stop = parent,
                    None => return,
                }
            }
            let mut at = from;
            while !ptr::eq(at, stop) {
                at.stop.store(ptr::from_ref(stop).cast_mut(), Relaxed);
                match at.parent() {
                    Some(parent) => at = parent,
                    None => return,
                }
            }
            first = stop.parent();
        }
    }

    /// Counts a pool out.
    ///
    /// # Safety
    /// A pool was counted in and is not counted out twice; the node is not used afterwards on
    /// that pool's behalf.
    #[inline(always)]
    pub(crate) unsafe fn leave(node: NonNull<Node>) {
        // SAFETY: the pool's count keeps the node alive until the line that gives it up.
        let this = unsafe { node.as_ref() };
        if ptr::eq(this.owner.load(Relaxed), thread::record()) {
            this.live.store(this.live.load(Relaxed) - 1, Relaxed);
        } else {
            // SAFETY: the caller's promise, passed on.
            unsafe { life::drop_far(node, 1) };
        }
    }

    pub(crate) fn add_handle(&self) {
        if self.handles.fetch_add(1, Relaxed) == 0 {
            // Reached through a pool after the last handle was gone: the handles as a whole
            // count once more, beside the count that the last one is about to give up.
            self.far_live.fetch_add(life::BIAS, Relaxed);
        }
    }

    /// A handle on this account. It is alive, since the caller has a reference to it.
    pub(super) fn handle(&self) -> Account {
        self.add_handle();
        let itself = NonNull::new(self.itself.load(Relaxed)).unwrap_or(NonNull::from(self));
        // SAFETY: the count was just added.
        unsafe { Account::from_counted(itself) }
    }

    // ---- reading -------------------------------------------------------------------------

    /// Bytes charged here, threads' reserves included.
    #[inline(always)]
    fn charged(&self) -> isize {
        self.held.load(Relaxed) + self.far.load(Relaxed)
    }

    /// What the owner's counter has, and what that of others has.
    #[cfg(all(test, feature = "std", not(loom)))]
    pub(super) fn counters(&self) -> (isize, isize) {
        (self.held.load(Relaxed), self.far.load(Relaxed))
    }

    pub(crate) fn held(&self) -> usize {
        let mut reserved = record::reserved(self);
        let mut charged = self.charged();
        // Until no reserve has come or gone meanwhile, or it has been tried often enough.
        for _ in 0..8 {
            let before = core::mem::replace(&mut reserved, record::reserved(self));
            if reserved == before {
                break;
            }
            charged = self.charged();
        }
        (charged - reserved as isize).max(0) as usize
    }

    pub(crate) fn peak(&self) -> usize {
        // What is charged now is noticed only when some of it is credited.
        self.peak.load(Relaxed).max(self.charged()).max(0) as usize
    }

    pub(crate) fn live(&self) -> usize {
        let far = life::unbiased(self.far_live.load(Relaxed));
        (self.live.load(Relaxed) + far).max(0) as usize
    }

    pub(crate) fn created(&self) -> u64 {
        self.created.load(Relaxed) + self.far_created.load(Relaxed)
    }

    pub(crate) fn recycled(&self) -> u64 {
        self.recycled.load(Relaxed) + self.far_recycled.load(Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        let limit = self.limit.load(Relaxed);
        (limit != NO_LIMIT).then_some(limit as usize)
    }

    pub(super) fn set_limit(&self, limit: Option<usize>) {
        let new = limit.map_or(NO_LIMIT, |bytes| bytes.min(NO_LIMIT as usize - 1) as isize);
        let old = self.limit.swap(new, AcqRel);
        self.room.fetch_add(new - old, AcqRel);
        self.set_quantum();
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn created_at(&self) -> &'static Location<'static> {
        self.created_at
    }

    #[inline(always)]
    pub(crate) fn parent(&self) -> Option<&Node> {
        self.parent.as_ref().map(Account::node)
    }

    pub(super) fn parent_handle(&self) -> Option<&Account> {
        self.parent.as_ref()
    }

    /// The account above.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    unsafe fn above(&self) -> &Node {
        // SAFETY: the caller's promise.
        unsafe { self.parent().unwrap_unchecked() }
    }

    // ---- the end -------------------------------------------------------------------------

    /// Takes the node out of its parent's list, leaving its history there, and frees it.
    /// Gives the parent's handle to the caller, to drop.
    ///
    /// # Safety
    /// Nobody has a handle, a pool or any other reference to the node any more.
    pub(super) unsafe fn free(node: NonNull<Node>) -> Option<Account> {
        // SAFETY: the caller's promise; the node is reachable only through its parent's list,
        // whose readers hold the parent's lock, and take a count only of one that is not at
        // its end (`life::try_handle`).
        let parent = unsafe { node.as_ref() }.parent_handle().map(Account::as_ptr);
        let mut own = node;
        if let Some(parent) = parent {
            // SAFETY: the node's handle keeps it, which goes to the caller below.
            let mut family = unsafe { parent.as_ref() }.family.lock();
            // SAFETY: it is freed below.
            let this = unsafe { node.as_ref() };
            // SAFETY: it has been in this list since `make`.
            unsafe { family.remove(this) };
            // SAFETY: out of the list, nothing else refers to it.
            family.remember(unsafe { own.as_mut() });
        }
        // SAFETY: likewise.
        let this = unsafe { own.as_mut() };
        #[cfg(all(test, loom))]
        this.check_alone();
        let bound = this.bound.load(Relaxed);
        if !bound.is_null() {
            // SAFETY: the count that the node took when it was bound to the thread.
            unsafe { Arc::decrement_strong_count(bound) };
        }
        let parent = this.parent.take();
        // SAFETY: written by `make`, and this is its end.
        unsafe { node.drop_in_place() };
        // SAFETY: acquired so by `make`; what was in it is gone.
        unsafe { Memory.release(node.cast(), Layout::new::<Node>()) };
        parent
    }

    /// In a model, that all use of the node by other threads comes before this.
    #[cfg(all(test, loom))]
    fn check_alone(&mut self) {
        self.owner.with_mut(|_| ());
        self.bound.with_mut(|_| ());
        self.handles.with_mut(|_| ());
        self.far_live.with_mut(|_| ());
        self.live.with_mut(|_| ());
        self.held.with_mut(|_| ());
        self.far.with_mut(|_| ());
        self.room.with_mut(|_| ());
        self.peak.with_mut(|_| ());
        self.far_recycled.with_mut(|_| ());
        self.mail.next.with_mut(|_| ());
    }
}

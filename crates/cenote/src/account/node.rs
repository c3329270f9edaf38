//! The account itself: its counters, whose it is, and what is read of it.
//!
//! A request's pool lives for some 35 ns, and a locked instruction takes a good part of that;
//! so an account keeps two sets of counters. One belongs to a single thread, its owner, which
//! updates it by plain loads and stores; the other is everyone's, and atomic. Every total is the
//! sum of both.
//!
//! For the limit the two meet in `room`: the limit less what other threads have charged. The
//! owner compares its own bytes to it; the others lower it, and look at the owner's bytes. For the
//! peak they meet in `most` in the same way.
//!
//! Whose an account is, stands in `owner`:
//! - a child begins as [`nobodys`], and becomes its first pool's thread's;
//! - a root is [`everyones`] from the start: all bytes are in `held`, by atomic operations,
//!   a quantum at a time (see `record`);
//! - an account that closed while pools were on it is [`released`] by its owner (see `life`).

use super::charging::LARGEST_QUANTUM;
use super::family::Family;
use super::peaks::Before;
use super::waiting::Door;
use super::{Account, Record, calling, life, record};
use crate::BlockSource;
use crate::asymmetric;
use crate::gate::{self, Gate};
use crate::sync::modelled::Lock;
use crate::sync::modelled::{
    AtomicBool, AtomicI64, AtomicIsize, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*,
};
use crate::thread;
use alloc::borrow::Cow;
use core::alloc::Layout;
use core::panic::Location;
use core::ptr::{self, NonNull};

#[cfg(not(all(test, loom)))]
use crate::Blocks as Memory;
/// Models have no cache.
#[cfg(all(test, loom))]
use crate::System as Memory;

/// "No limit", far from both ends, so that sums with it cannot wrap.
pub(super) const NO_LIMIT: isize = isize::MAX / 2;

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
    pub(super) held: AtomicIsize,
    /// The limit less `far`, so that the owner compares once.
    pub(super) room: AtomicIsize,
    parent: Option<Account>,
    /// The most that `held` and `far` together were, as far as noticed (releases notice), less
    /// `far`: so that the owner compares once, as with `room`.
    pub(super) most: AtomicIsize,
    /// Pools made less pools dropped on the owner's thread.
    pub(super) live: AtomicI64,
    created: AtomicU64,
    pub(super) recycled: AtomicU64,

    // What those write who charge from other threads.
    /// Bytes charged here and above in large pieces of which nobody knows yet whether the source
    /// has them.
    pub(super) awaited: AtomicUsize,
    /// How often that became more.
    pub(super) awaits: AtomicUsize,
    /// Bytes that threads other than the owner have charged, less what they have credited.
    pub(super) far: AtomicIsize,
    /// Pools made less pools dropped on other threads, and `life`'s bias. See there.
    pub(super) far_live: AtomicI64,
    far_created: AtomicU64,
    pub(super) far_recycled: AtomicU64,
    pub(super) refused: AtomicU64,
    /// How often one above refused what was to be charged here, or below.
    pub(super) refused_above: AtomicU64,
    /// Of the bytes held, those of reservations, on this account and on those under it.
    pub(super) reservations: AtomicUsize,
    /// Bytes that reservations charged beyond the limit, all in all.
    pub(super) overcommitted: AtomicU64,
    limit: AtomicIsize,
    /// For a shared account: twice what a thread may take beyond its need, which it may keep, and
    /// one more; [`STARVED`] while somebody waits.
    pub(super) spare: AtomicUsize,
    /// The record that once was the owner, of which the node is a user until it goes, so that it is
    /// no other thread's meanwhile. Null where there was no owner, or it was that of the account
    /// above, which keeps it for longer.
    bound: AtomicPtr<Record>,
    /// Whether threads may have reserves of this account, or of one under it.
    pub(super) shares: AtomicBool,
    /// Whether it is in the owner's mail, with one bias for the owner to take away; guarded by the
    /// owner record's lock. More than one never waits: the others can go at once, since that one keeps
    /// the node.
    pub(super) posted: AtomicBool,
    /// The second in which the period that `most` is of began; 0 before anybody has asked.
    pub(super) period_began: AtomicU32,
    /// For a root: who charges several accounts of the tree that others charge as well is within.
    pub(super) gate: Gate,
    /// The first account above that is not the owner's: always one that there is, since a root
    /// is nobody's own. Null until there is an owner, who alone reads it.
    pub(super) stop: AtomicPtr<Node>,
    pub(super) handles: AtomicUsize,
    /// Of a root: who waits for room in its tree.
    pub(super) door: Door,
    /// When it last lacked room for one who waits; guarded by the queue's lock.
    pub(super) lacking: AtomicUsize,
    /// Of what came before the period that `most` is of; nothing of it costs a charge anything.
    pub(super) before: Before,
    /// The next one in the owner's mail; guarded by the owner record's lock.
    pub(super) next_in_mail: AtomicPtr<Node>,

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

// A block of the caches: see `blocks::LEAN`, which is for this.
#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<Node>() <= 448);

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
            most: AtomicIsize::new(0),
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
            refused_above: AtomicU64::new(0),
            reservations: AtomicUsize::new(0),
            overcommitted: AtomicU64::new(0),
            limit: AtomicIsize::new(NO_LIMIT),
            spare: AtomicUsize::new(2 * LARGEST_QUANTUM + 1),
            bound: AtomicPtr::new(ptr::null_mut()),
            shares: AtomicBool::new(shared),
            posted: AtomicBool::new(false),
            period_began: AtomicU32::new(0),
            gate: Gate::new(),
            awaited: AtomicUsize::new(0),
            awaits: AtomicUsize::new(0),
            door: Door::new(),
            lacking: AtomicUsize::new(0),
            before: Before::new(),
            next_in_mail: AtomicPtr::new(ptr::null_mut()),
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
            gate::process::notice_forks();
            let mut above = account.node().parent();
            while let Some(node) = above {
                node.shares.store(true, Relaxed);
                above = node.parent();
            }
            account.node().set_quantum();
        }
        account
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
        let Some(record) = record::of(me) else { return };
        record.keep();
        if self.owner.compare_exchange(nobodys(), me.cast_mut(), AcqRel, Relaxed).is_ok() {
            self.bound.store(me.cast_mut(), Relaxed);
        } else {
            record.let_go();
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
        // SAFETY: the count was just added.
        unsafe { Account::from_counted(self.itself()) }
    }

    /// This node, as it was allocated.
    pub(super) fn itself(&self) -> NonNull<Node> {
        NonNull::new(self.itself.load(Relaxed)).unwrap_or(NonNull::from(self))
    }

    // ---- reading -------------------------------------------------------------------------

    /// Bytes charged here, threads' reserves included.
    #[inline(always)]
    pub(super) fn charged(&self) -> isize {
        self.held.load(Relaxed) + self.far.load(Relaxed)
    }

    /// What the owner's counter has, and what that of others has.
    #[cfg(all(test, feature = "std", not(loom)))]
    pub(super) fn counters(&self) -> (isize, isize) {
        (self.held.load(Relaxed), self.far.load(Relaxed))
    }

    /// Everything that the owner writes by plain stores.
    #[cfg(all(test, feature = "std", not(loom)))]
    pub(super) fn owners_counters(&self) -> (isize, i64, u64, u64) {
        let (held, live) = (self.held.load(Relaxed), self.live.load(Relaxed));
        (held, live, self.created.load(Relaxed), self.recycled.load(Relaxed))
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
        let awaited = self.awaited.load(Relaxed);
        (charged - reserved as isize - awaited as isize).max(0) as usize
    }

    pub(crate) fn live(&self) -> usize {
        let far = life::unbiased(self.far_live.load(Relaxed));
        (self.live.load(Relaxed) + far).max(0) as usize
    }

    pub(crate) fn created(&self) -> u64 {
        self.created.load(Relaxed) + self.far_created.load(Relaxed)
    }

    pub(crate) fn recycled(&self) -> u64 {
        let mut far = self.far_recycled.load(Acquire);
        if !self.shares() {
            return self.recycled.load(Relaxed) + far;
        }
        // Until no thread has moved its part here meanwhile, or it has been tried often enough.
        for _ in 0..8 {
            let threads = record::recycled(self);
            let before = core::mem::replace(&mut far, self.far_recycled.load(Acquire));
            if far == before {
                return self.recycled.load(Relaxed) + far + threads;
            }
        }
        self.recycled.load(Relaxed) + far
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    pub(crate) fn refused_above(&self) -> u64 {
        self.refused_above.load(Relaxed)
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        let limit = self.limit.load(Relaxed);
        (limit != NO_LIMIT).then_some(limit as usize)
    }

    /// The least limit from here up to the root; `usize::MAX` where there is none.
    #[cold]
    pub(crate) fn least_limit(&self) -> usize {
        let mut least = usize::MAX;
        self.each_up(|node| least = least.min(node.limit().unwrap_or(usize::MAX)));
        least
    }

    pub(super) fn set_limit(&self, limit: Option<usize>) {
        let new = limit.map_or(NO_LIMIT, |bytes| bytes.min(NO_LIMIT as usize - 1) as isize);
        let old = self.limit.swap(new, AcqRel);
        self.room.fetch_add(new - old, AcqRel);
        self.set_quantum();
        // Or a credit would go into a reserve, which pays for what there is no room for any more.
        record::set_quanta(self);
        // And what is in reserve would, by as much on each thread. A thread that credits it just now sees the
        // new quantum after this fence, or is found.
        if new < old && self.shares() && self.charged() > 0 {
            asymmetric::heavy();
            calling::recall(self, thread::record());
        }
        self.root().limit_changed();
    }

    /// Whether threads may have reserves of this account, or of one under it.
    pub(super) fn shares(&self) -> bool {
        self.shares.load(Relaxed)
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

    /// The account above all.
    pub(super) fn root(&self) -> &Node {
        let mut node = self;
        while let Some(parent) = node.parent() {
            node = parent;
        }
        node
    }

    /// The account above.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    pub(super) unsafe fn above(&self) -> &Node {
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
        if let Some(record) = record::of(bound) {
            record.let_go();
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
        self.most.with_mut(|_| ());
        self.awaited.with_mut(|_| ());
        self.awaits.with_mut(|_| ());
        self.far_recycled.with_mut(|_| ());
        self.next_in_mail.with_mut(|_| ());
    }
}

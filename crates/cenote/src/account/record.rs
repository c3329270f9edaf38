//! What accounts know of a thread: whose mail is whose, and how much a thread has in reserve
//! of an account that it shares with others.
//!
//! Threads charge a root account a quantum at a time and keep what they do not need yet in
//! reserve, so that a request's block is charged by one plain store. A thread has a reserve
//! on one shared account at a time. The nearer the account is to its limit, the smaller the
//! quantum; near it, the quantum is 0 and every charge is exact. Who would be refused calls in what
//! others have in reserve first, and so does who lowers a limit (see `calling`).
//!
//! Of a reserve, `reserve` is its thread's alone, who writes it by plain stores; `taken` is what
//! others have taken of it, by whoever is within the record's gate. What there is, is the
//! difference. So that a thread does not pay with what is taken, it looks at `called` after each
//! store that makes `reserve` less, with a light fence between, while whoever takes sets `called`
//! first, and passes a heavy fence before it looks at `reserve`: either it sees the store, or
//! the thread sees that it is called, enters the gate, and finds out what is left.
//!
//! Records are never freed, but used again for another thread, once no account is bound to one: so
//! they can be gone through without a lock, and the child of a fork finds them as they were.

use super::{Account, Node, calling};
use crate::asymmetric;
use crate::gate::{Gate, process};
use crate::sync::modelled::Lock;
#[cfg(feature = "std")]
use crate::sync::modelled::fence;
use crate::sync::modelled::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::*};
use alloc::vec::Vec;
use core::ptr::{self, NonNull};

/// One thread, as accounts see it. Nodes bound to the thread count as its users, so that its
/// address stands for the thread for as long as anyone compares it.
pub(crate) struct Record {
    /// The account that the reserve is of, of which the record has a handle's count; null: none.
    /// Changed by the thread alone, within the gate; what it leads to is looked at within the gate.
    reserve_node: AtomicPtr<Node>,
    /// The process, counted by forks, in which the reserve began to be of that account.
    reserved_in: AtomicUsize,
    /// Bytes charged to that account and those above it that no pool holds, and `taken`. Written by
    /// the thread alone.
    reserve: AtomicUsize,
    /// Bytes credited to that account, and no other, that are not in its counters yet. Written by
    /// the thread alone.
    recycled: AtomicU64,
    /// Whether others may have taken of it. Set and cleared within the gate, set while calling.
    called: AtomicBool,
    /// How much of it others have taken; 0 unless `called`. Changed within the gate.
    taken: AtomicUsize,
    gate: Gate,
    /// The thread, and the accounts bound to it; 0: free to be another's.
    users: AtomicUsize,
    next: AtomicPtr<Record>,
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

/// All records that there ever were.
struct Records {
    newest: AtomicPtr<Record>,
    /// How many of them are no thread's.
    free: AtomicUsize,
}

#[cfg(not(all(test, loom)))]
static RECORDS: Records =
    Records { newest: AtomicPtr::new(ptr::null_mut()), free: AtomicUsize::new(0) };
#[cfg(all(test, loom))]
loom::lazy_static! {
    static ref RECORDS: Records =
        Records { newest: AtomicPtr::new(ptr::null_mut()), free: AtomicUsize::new(0) };
}

/// Each record that there is, the newest first.
pub(super) fn all() -> impl Iterator<Item = &'static Record> {
    let mut at = RECORDS.newest.load(Acquire);
    core::iter::from_fn(move || {
        // SAFETY: null, or a record, which is never freed; whoever put it into the list wrote it
        // before.
        let record = unsafe { at.as_ref() }?;
        at = record.next.load(Relaxed);
        Some(record)
    })
}

impl Record {
    /// A record for the calling thread, known to readers; `None` where there is no memory for it.
    /// The thread then takes the way of threads without a record. Waits for nobody.
    #[cfg(feature = "std")]
    pub(crate) fn register() -> Option<&'static Record> {
        if RECORDS.free.load(Relaxed) > 0 {
            let claim =
                |record: &&Record| record.users.compare_exchange(0, 1, Acquire, Relaxed).is_ok();
            if let Some(record) = all().find(claim) {
                RECORDS.free.fetch_sub(1, Relaxed);
                record.inbox.lock().ended = false;
                return Some(record);
            }
        }
        let memory = core::alloc::Layout::new::<Record>();
        // SAFETY: a layout of some bytes.
        let new = NonNull::new(unsafe { alloc::alloc::alloc(memory) })?.cast::<Record>();
        let record = Record {
            reserve_node: AtomicPtr::new(ptr::null_mut()),
            reserved_in: AtomicUsize::new(0),
            reserve: AtomicUsize::new(0),
            recycled: AtomicU64::new(0),
            called: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            gate: Gate::new(),
            users: AtomicUsize::new(1),
            next: AtomicPtr::new(ptr::null_mut()),
            mail: AtomicBool::new(false),
            inbox: Lock::new(Inbox { first: ptr::null_mut(), ended: false }),
        };
        // SAFETY: just allocated with this layout.
        unsafe { new.write(record) };
        // SAFETY: just written; never freed.
        let record: &'static Record = unsafe { new.as_ref() };
        let mut newest = RECORDS.newest.load(Relaxed);
        loop {
            record.next.store(newest, Relaxed);
            match RECORDS.newest.compare_exchange(newest, new.as_ptr(), Release, Relaxed) {
                Ok(_) => break,
                Err(now) => newest = now,
            }
        }
        // Who calls and did not find the record is seen by the thread when it takes a quantum.
        fence(SeqCst);
        Some(record)
    }

    /// Counts one more user.
    pub(super) fn keep(&self) {
        self.users.fetch_add(1, Relaxed);
    }

    /// Counts a user out, which is not one any more.
    pub(super) fn let_go(&self) {
        if self.users.fetch_sub(1, AcqRel) == 1 {
            RECORDS.free.fetch_add(1, Relaxed);
        }
    }

    #[inline(always)]
    pub(super) fn is_for(&self, node: *const Node) -> bool {
        ptr::eq(self.reserve_node.load(Relaxed), node)
    }

    /// What the reserve would be after a payment of `size` bytes of `node`, if it is of that account
    /// and enough.
    #[inline(always)]
    pub(super) fn less(&self, node: *const Node, size: usize) -> Option<usize> {
        if !self.is_for(node) {
            return None;
        }
        self.reserve.load(Relaxed).checked_sub(size)
    }

    /// Pays `size` bytes, after which `less` are in reserve; `false` if that was not to be, since
    /// others have taken them. The caller is the record's thread.
    #[inline(always)]
    pub(super) fn pay(&self, less: usize, size: usize) -> bool {
        self.reserve.store(less, Relaxed);
        asymmetric::light();
        !self.called.load(Relaxed) || self.paid_though_called(size)
    }

    /// Counts bytes that are credited to the account of the reserve. The caller is the record's
    /// thread.
    #[inline(always)]
    pub(super) fn recycle(&self, size: usize) {
        self.recycled.store(self.recycled.load(Relaxed) + size as u64, Relaxed);
    }

    /// Whether what was paid was there still.
    #[cold]
    #[inline(never)]
    fn paid_though_called(&self, size: usize) -> bool {
        let _within = self.gate.enter();
        let less = self.reserve.load(Relaxed);
        let paid = less >= self.taken.load(Relaxed);
        if !paid {
            self.reserve.store(less + size, Relaxed);
        }
        self.answer();
        paid
    }

    /// Makes what there is the thread's alone again. The caller is the record's thread, within the
    /// gate and in the middle of no payment.
    fn answer(&self) {
        if self.called.load(Relaxed) {
            let left = self.reserve.load(Relaxed) - self.taken.load(Relaxed);
            self.reserve.store(left, Relaxed);
            self.taken.store(0, Relaxed);
            self.called.store(false, Relaxed);
        }
    }

    /// What there is in reserve. The caller is within the gate. In the middle of a payment that
    /// will turn out to be none, it may be nothing.
    fn balance(&self) -> usize {
        self.reserve.load(Relaxed).saturating_sub(self.taken.load(Relaxed))
    }

    /// Gives the whole reserve back; the handle of its account, to be dropped outside of the gate,
    /// since the account may end with it. The caller is the record's thread, within the gate.
    fn clear(&self, me: *const Record) -> Option<Account> {
        self.answer();
        let node = NonNull::new(self.reserve_node.load(Relaxed))?;
        // SAFETY: the record's count keeps the node.
        let account = unsafe { node.as_ref() };
        account.credit_up(self.reserve.load(Relaxed), me);
        self.reserve.store(0, Relaxed);
        account.far_recycled.fetch_add(self.recycled.load(Relaxed), Release);
        self.recycled.store(0, Relaxed);
        self.reserve_node.store(ptr::null_mut(), Relaxed);
        // SAFETY: the record's count, which is no more.
        Some(unsafe { Account::from_counted(node) })
    }

    /// Gives the whole reserve back and lets go of its account.
    fn settle(&self, me: *const Record) {
        // Within the gate until the reserve is back, so that readers find it in one place or the
        // other.
        let within = self.gate.enter();
        let account = Cleared::of(self, me);
        drop(within);
        drop(account);
    }

    /// The account that the reserve is of, if it is `top` or under it. The caller is within the
    /// gate, and uses it no longer than that.
    fn account_under(&self, top: &Node) -> Option<&Node> {
        // SAFETY: null, or kept by the record's count, which does not go while the caller is within
        // the gate.
        let node = unsafe { self.reserve_node.load(Relaxed).as_ref() }?;
        let mut at = Some(node);
        while let Some(up) = at {
            if ptr::eq(up, top) {
                return Some(node);
            }
            at = up.parent();
        }
        None
    }

    /// Announces to the thread that others take what it has in reserve of accounts under `top`;
    /// whether there is anything. The caller is calling.
    pub(super) fn call(&self, top: &Node) -> bool {
        let _within = self.gate.enter();
        let any = self.account_under(top).is_some() && self.balance() > 0;
        if any {
            self.called.store(true, Relaxed);
        }
        any
    }

    /// Takes what there is in reserve of accounts under `top`, and credits it to them; how much that
    /// was. The caller is calling, and has passed a heavy fence since [`Record::call`].
    pub(super) fn take(&self, top: &Node, me: *const Record) -> usize {
        let _within = self.gate.enter();
        let Some(node) = self.account_under(top) else { return 0 };
        if !ptr::eq(self, me) && !self.called.load(Relaxed) {
            // It has answered meanwhile, or got its first reserve. Who calls sets this, so nobody
            // else; and it can be cleared within the gate alone.
            if self.balance() == 0 {
                return 0;
            }
            self.called.store(true, Relaxed);
            if !asymmetric::heavy() {
                return 0;
            }
        }
        let balance = self.balance();
        if ptr::eq(self, me) {
            self.answer();
            self.reserve.store(0, Relaxed);
        } else {
            self.taken.store(self.taken.load(Relaxed) + balance, Relaxed);
        }
        if balance > 0 {
            node.credit_up(balance, me);
        }
        balance
    }
}

/// The account of a reserve that went back to it, dropped outside of gates: there is room.
struct Cleared {
    account: Option<Account>,
    /// Whether the thread has had that reserve since before this process was forked.
    is_older: bool,
}

impl Cleared {
    /// Clears the record. The caller is as for [`Record::clear`].
    fn of(record: &Record, me: *const Record) -> Self {
        let is_older = record.reserved_in.load(Relaxed) != process::number();
        Self { account: record.clear(me), is_older }
    }
}

impl Drop for Cleared {
    fn drop(&mut self) {
        let Some(account) = self.account.take() else { return };
        account.node().root().room_came();
        // It may end with this, and be taken out of a list whose lock a thread had that this process
        // has not: then it stays, one for each thread that was forked.
        if self.is_older
            && account.parent().is_some_and(|above| above.node().family.try_lock().is_none())
        {
            core::mem::forget(account);
        }
    }
}

/// The record that `me` points to.
///
/// `me` is what [`thread::record`](crate::thread::record) gave during this call.
#[inline(always)]
pub(super) fn of<'a>(me: *const Record) -> Option<&'a Record> {
    // SAFETY: null, or the calling thread's own record, which is never freed.
    unsafe { me.as_ref() }
}

/// Charges `size` bytes from `low` on up to the root, where `node` is the first shared account: that
/// one and those above with what the thread has in reserve, and with a quantum for later where
/// there is room.
pub(super) fn charge_shared<'n>(
    low: &'n Node,
    node: &'n Node,
    size: usize,
    me: *const Record,
) -> Result<(), &'n Node> {
    let Some(record) = of(me) else { return low.charge_path(node, size, size, me) };
    if !record.is_for(node) && node.quantum() == 0 {
        // Near a limit: no reserve has to do with it.
        return low.charge_path(node, size, size, me);
    }
    // Dropped after the gate is left: an account may end with it.
    let _before;
    // Within until the reserve has what was charged for it: who calls finds it in one place or the
    // other.
    let _within = record.gate.enter();
    record.answer();
    // None while somebody calls: what is called in is not to become a reserve again.
    // And none while somebody waits, who is not to look for it in vain.
    let none = calling::under_way(node) || node.someone_waits();
    let quantum = if none { 0 } else { node.quantum() };
    let quantum = if quantum > 0 && !record.is_for(node) {
        // A limit above may have been lowered, or passed, since this was last set.
        node.set_quantum();
        node.quantum()
    } else {
        quantum
    };
    if quantum > 0 && !record.is_for(node) {
        _before = Cleared::of(record, me);
        node.add_handle();
        record.reserve_node.store(node.itself().as_ptr(), Relaxed);
        record.reserved_in.store(process::number(), Relaxed);
    }
    if !record.is_for(node) {
        return low.charge_path(node, size, size, me);
    }
    let reserve = record.reserve.load(Relaxed);
    let missing = size.saturating_sub(reserve);
    if missing > 0
        && missing <= crate::size::MAX - quantum
        && low.charge_path(node, size, missing + quantum, me).is_ok()
    {
        record.reserve.store(quantum, Relaxed);
        return Ok(());
    }
    low.charge_path(node, size, missing, me)?;
    record.reserve.store(reserve - (size - missing), Relaxed);
    Ok(())
}

/// What became of a credit.
pub(super) enum Credited {
    /// It is in reserve.
    Kept,
    /// Nothing, since the reserve is not of this account.
    Elsewhere,
    /// It is in reserve, of which there is more now than may be: [`shed`] is to follow.
    TooMuch,
}

/// Credits a shared account into the reserve, where that may be.
#[inline(always)]
pub(super) fn credit_to_reserve(node: &Node, size: usize, record: &Record) -> Credited {
    if !record.is_for(node) {
        return Credited::Elsewhere;
    }
    let reserve = record.reserve.load(Relaxed) + size;
    // First this, then a look at whether it may be: so that of this thread and one who begins to
    // wait for room, one sees the other (see `waiting`).
    record.reserve.store(reserve, Relaxed);
    asymmetric::light();
    if reserve < node.spare() { Credited::Kept } else { Credited::TooMuch }
}

/// Credits a shared account, of which there may be too much in reserve after that.
pub(super) fn credit_shared(node: &Node, size: usize, me: *const Record) {
    match of(me).map(|record| (record, credit_to_reserve(node, size, record))) {
        Some((_, Credited::Kept)) => {}
        Some((record, Credited::TooMuch)) => shed(node, record, me),
        Some((_, Credited::Elsewhere)) | None => {
            node.credit_up(size, me);
            node.root().room_came();
        }
    }
}

/// Gives back what is in reserve beyond a quantum.
#[cold]
#[inline(never)]
pub(super) fn shed(node: &Node, record: &Record, me: *const Record) {
    {
        let _within = record.gate.enter();
        record.answer();
        let reserve = record.reserve.load(Relaxed);
        // Another thread may have set the quantum meanwhile.
        let left = node.quantum().min(reserve);
        record.reserve.store(left, Relaxed);
        node.credit_up(reserve - left, me);
    }
    node.root().room_came();
}

/// Lets threads keep no more in reserve of `top`, and of accounts under it, than what their limits
/// have room for by now. A thread that begins to have a reserve is within its record's gate
/// meanwhile: it sees what `top` has in room, or is seen here.
#[cold]
pub(super) fn set_quanta(top: &Node) {
    if !top.shares() {
        return;
    }
    for record in all() {
        let _within = record.gate.enter();
        if let Some(node) = record.account_under(top) {
            node.set_quantum();
        }
    }
}

/// While somebody waits in the tree of this root: lets no thread keep anything in reserve of the
/// accounts that threads have reserves of; gives a handle on each. A thread that begins to have a
/// reserve is within its record's gate meanwhile: it sees that somebody waits, or is seen here.
pub(super) fn starve(root: &Node, starved: &mut Vec<Account>) {
    for record in all() {
        let _within = record.gate.enter();
        if let Some(node) = record.account_under(root)
            && node.starve()
        {
            starved.push(node.handle());
        }
    }
}

/// Bytes that the calling thread has in reserve of this very account.
#[cfg(all(test, feature = "std", not(loom)))]
pub(super) fn reserve_of(node: &Node) -> usize {
    match of(crate::thread::record()) {
        Some(record) if record.is_for(node) => {
            let _within = record.gate.enter();
            record.balance()
        }
        _ => 0,
    }
}

/// Bytes that threads have in reserve of this account, or of one under it.
pub(super) fn reserved(node: &Node) -> usize {
    if !node.shares() {
        return 0;
    }
    let of_one = |record: &Record| {
        let _within = record.gate.enter();
        record.account_under(node).map_or(0, |_| record.balance())
    };
    all().map(of_one).sum()
}

/// Bytes credited to this very account that threads have not counted there yet.
pub(super) fn recycled(node: &Node) -> u64 {
    let of_one = |record: &Record| {
        let _within = record.gate.enter();
        if record.is_for(node) { record.recycled.load(Relaxed) } else { 0 }
    };
    all().map(of_one).sum()
}

/// Returns the calling thread's reserve and reads its mail.
pub(super) fn settle() {
    let me = crate::thread::record();
    if let Some(record) = of(me) {
        record.settle(me);
        record.open_mail(false);
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
pub(crate) fn thread_ends(record: &'static Record) {
    record.settle(ptr::null());
    record.open_mail(true);
    record.let_go();
}

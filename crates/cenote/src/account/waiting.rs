//! [`Reserve`]: waiting, in order, until an account has room.
//!
//! Those who wait for room anywhere in a tree of accounts stand in one queue, in its root's
//! [`Hall`]. Whoever makes room goes through it and charges what fits on behalf of those who wait;
//! so what is granted is charged before its task runs, and nobody can get in between. In each
//! account that lacks room for one who waits, later ones wait too; where all that one needs is to
//! be had, he does not wait for others that lack something else.
//!
//! **No wake-up is lost.** Threads credit by plain stores, and keep what they credit to a shared
//! account in reserve; none of that may become dearer. So as long as anybody waits, every account
//! of the tree of which a thread has a reserve is *starved*: what may be kept of it is less than
//! nothing, the compare that a credit ends with anyway fails, and the credit goes the long way,
//! which looks whether somebody waits. No thread begins to have a reserve meanwhile. Who credits
//! stores first and looks then; who begins to wait starves the accounts first and looks for room
//! then, with a heavy fence between
//! that orders both (see `asymmetric`). Later ones find the tree starved, and the
//! queue's lock orders the rest.
//!
//! **No lock is waited for by who makes room**: he leaves `news`, and if somebody else has the
//! queue, that one looks again when he has left it. User's code (wakers) is never called with the
//! queue locked.

use super::node::everyones;
use super::{Account, Node, Record, Reservation, calling, record};
use crate::AllocError;
use crate::asymmetric::{heavy, light};
use crate::error::{Mode, Try};
use crate::size::MAX;
use crate::sync::modelled::{AtomicBool, AtomicPtr, AtomicUsize, Lock, Ordering::*, fence};
use crate::thread;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::ptr;
use core::task::{Context, Poll, Waker};

/// The waiting room of a tree of accounts.
struct Hall {
    /// How many wait.
    waiting: AtomicUsize,
    /// Whether there may be room since the queue was last gone through.
    news: AtomicBool,
    /// Whether a limit may have changed since.
    limits: AtomicBool,
    queue: Lock<Queue>,
}

struct Queue {
    /// In the order of their tickets.
    entries: VecDeque<Entry>,
    tickets: u64,
    /// How often it was gone through.
    rounds: usize,
    /// The accounts that are starved.
    starved: Vec<Account>,
    /// Whether the system could order threads' stores when the first began to wait.
    ordered: bool,
}

/// One who waits, or whose answer waits for him.
struct Entry {
    ticket: u64,
    account: Account,
    bytes: usize,
    waker: Option<Waker>,
    answer: Option<Answer>,
}

enum Answer {
    /// The bytes are charged, and counted as reserved.
    Granted,
    /// This account's limit is less than what is asked for.
    Never(Account),
}

/// Wakers that are called when the queue is free again, so many at a time.
type Woken = [Option<Waker>; 8];

/// Where a root keeps its waiting room: made when somebody waits for the first time.
pub(super) struct Door(AtomicPtr<Hall>);

impl Door {
    pub(super) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    fn hall(&self) -> Option<&Hall> {
        // SAFETY: null, or a hall that lives as long as this does.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    fn open(&self) -> &Hall {
        if let Some(hall) = self.hall() {
            return hall;
        }
        let queue = Queue {
            entries: VecDeque::new(),
            tickets: 0,
            rounds: 0,
            starved: Vec::new(),
            ordered: true,
        };
        let new = Box::into_raw(Box::new(Hall {
            waiting: AtomicUsize::new(0),
            news: AtomicBool::new(false),
            limits: AtomicBool::new(false),
            queue: Lock::new(queue),
        }));
        let hall = match self.0.compare_exchange(ptr::null_mut(), new, AcqRel, Acquire) {
            Ok(_) => new,
            Err(known) => {
                // SAFETY: just made, and seen by nobody.
                drop(unsafe { Box::from_raw(new) });
                known
            }
        };
        // SAFETY: it lives as long as this does.
        unsafe { &*hall }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let hall = self.0.load(Relaxed);
        if !hall.is_null() {
            // SAFETY: from `Box::into_raw`, and nobody refers to it any more: those who wait have
            // handles on accounts, which keep the root.
            drop(unsafe { Box::from_raw(hall) });
        }
    }
}

impl Node {
    /// Whether anybody waits for room in the tree of this root.
    ///
    /// Who has stored something that those who wait have to see calls this after it.
    #[inline]
    fn is_waited_for(&self) -> Option<&Hall> {
        light();
        self.door.hall().filter(|hall| hall.waiting.load(Relaxed) > 0)
    }

    /// Whether anybody waits for room in this account's tree.
    pub(super) fn someone_waits(&self) -> bool {
        self.root().is_waited_for().is_some()
    }

    /// There is more room in this root's tree, or may be.
    #[inline]
    pub(super) fn room_came(&self) {
        if let Some(hall) = self.is_waited_for() {
            hall.look(self);
        }
    }

    /// A limit of this root's tree has changed.
    pub(super) fn limit_changed(&self) {
        if let Some(hall) = self.is_waited_for() {
            hall.limits.store(true, Release);
            hall.look(self);
        }
    }

    /// The account, here or above, whose limit is less than so many bytes.
    fn never(&self, bytes: usize) -> Option<&Node> {
        let mut never = None;
        self.each_up(|node| {
            if never.is_none() && node.limit().is_some_and(|limit| limit < bytes) {
                never = Some(node);
            }
        });
        never
    }
}

impl Hall {
    /// Goes through the queue, or leaves that to who has it now.
    #[cold]
    #[inline(never)]
    fn look(&self, root: &Node) {
        // By an exchange, like all else that is done with it: who reads what one left reads all.
        self.news.swap(true, AcqRel);
        loop {
            // Before the lock, as who has it looks for news after it: one sees the other.
            fence(SeqCst);
            let mut woken = Woken::default();
            let fed = match self.queue.try_lock() {
                None => return,
                // Before it is gone through, so that what comes meanwhile is news again.
                Some(mut queue) if self.news.swap(false, AcqRel) => {
                    self.go_through(&mut queue, root, &mut woken)
                }
                Some(_) => Vec::new(),
            };
            drop(fed);
            woken.into_iter().flatten().for_each(Waker::wake);
            fence(SeqCst);
            if !self.news.load(Acquire) {
                return;
            }
        }
    }

    /// What who had the queue does when it is free again: whoever wanted it meanwhile left news.
    fn left(&self, root: &Node) {
        fence(SeqCst);
        if self.news.load(Acquire) {
            self.look(root);
        }
    }

    /// Charges for those who wait, in order, whatever fits. Gives back what is to be dropped when
    /// the queue is free.
    fn go_through(&self, queue: &mut Queue, root: &Node, woken: &mut Woken) -> Vec<Account> {
        queue.rounds += 1;
        let (round, me, mut wakers) = (queue.rounds, thread::record(), 0);
        let all = self.limits.swap(false, AcqRel);
        for entry in queue.entries.iter_mut().filter(|entry| entry.answer.is_none()) {
            if wakers == woken.len() {
                self.news.swap(true, AcqRel);
                break;
            }
            let node = entry.account.node();
            if let Some(never) = node.never(entry.bytes) {
                entry.answer = Some(Answer::Never(never.handle()));
            } else if !node.is_next(entry.bytes, round) {
                if root.lacking.load(Relaxed) == round && !all {
                    break;
                }
                continue;
            } else if let Err(full) = node.charge_quietly(entry.bytes, me) {
                full.lacking.store(round, Relaxed);
                continue;
            } else {
                node.count_reserved(entry.bytes);
                entry.answer = Some(Answer::Granted);
            }
            woken[wakers] = entry.waker.take();
            wakers += 1;
            self.waiting.fetch_sub(1, Relaxed);
        }
        self.feed(queue)
    }

    /// When nobody waits, lets threads have reserves again.
    fn feed(&self, queue: &mut Queue) -> Vec<Account> {
        if self.waiting.load(Relaxed) > 0 {
            return Vec::new();
        }
        let starved = core::mem::take(&mut queue.starved);
        starved.iter().for_each(|account| account.node().feed());
        starved
    }
}

impl Node {
    /// Charges on behalf of one who waits: no thread's reserve has to do with it.
    fn charge_quietly(&self, size: usize, me: *const Record) -> Result<(), &Node> {
        let mut shared = self;
        while shared.owner.load(Relaxed) != everyones() {
            // A root is everyone's.
            let Some(parent) = shared.parent() else { break };
            shared = parent;
        }
        self.charge_path(shared, size, size, me)
    }

    /// Whether nobody waits before one who wants so many bytes of this account, and there is room;
    /// marks the accounts that lack it for this round.
    fn is_next(&self, bytes: usize, round: usize) -> bool {
        let mut next = true;
        self.each_up(|node| next &= node.lacking.load(Relaxed) != round);
        if next {
            self.each_up(|node| {
                if !node.has_room(bytes) {
                    node.lacking.store(round, Relaxed);
                    next = false;
                }
            });
        }
        next
    }
}

/// A reservation that is waited for; see [`Account::reserve`].
#[must_use = "futures do nothing unless polled"]
pub struct Reserve {
    account: Account,
    bytes: usize,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    New,
    /// In the queue, with a ticket. It has to `ask` again by itself where the system cannot order
    /// what threads store.
    Waits {
        ticket: u64,
        ask: bool,
    },
    Done,
}

impl Account {
    /// Reserves `bytes` bytes of this account as soon as there is room.
    ///
    /// Those who wait get what they asked for in the order in which they began to, the first poll
    /// of each future: a small request that comes later does not get past a large one that waits
    /// for the same account's room. Only what can be had at once does not wait: pools,
    /// [`Account::try_reserve`] and [`Reservation::try_grow`] take what is there, so that who has
    /// memory and needs more to finish, and to give all of it back, is not kept waiting. Room is
    /// made by whatever gives bytes back, and by a higher limit.
    ///
    /// Dropping the future gives up the place in the queue, and what was granted meanwhile. It
    /// needs no runtime: it knows nothing but the task's waker, which is called on the thread
    /// that makes room, in the middle of a pool's call it may be, so that it must not use that
    /// pool.
    ///
    /// Where the system cannot order what threads do (other than Linux, or where `membarrier` is
    /// forbidden) a task that waits is woken at each turn to ask again.
    ///
    /// # Errors
    /// A limit of this account or of one above it is less than `bytes`, or becomes so meanwhile.
    /// More than `isize::MAX` bytes are refused as too large.
    ///
    /// # Cost
    /// With nobody waiting, and room: that of [`Account::try_reserve`]. The first who waits has
    /// all threads' stores ordered (some microseconds); while anybody waits, each block that is
    /// given back in this tree of accounts takes the way of a shared account at its limit.
    ///
    /// ```
    /// use cenote::Account;
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    /// let account = Account::root("sorts").with_limit(Some(1000));
    /// let first = account.try_reserve(800)?;
    /// let mut waits = pin!(account.reserve(600));
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(waits.as_mut().poll(&mut context).is_pending());
    /// drop(first);
    /// assert_eq!(account.held(), 600, "it is granted where the room was made");
    /// let Poll::Ready(Ok(second)) = waits.poll(&mut context) else { panic!() };
    /// assert_eq!(second.bytes(), 600);
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    pub fn reserve(&self, bytes: usize) -> Reserve {
        Reserve { account: self.clone(), bytes, stage: Stage::New }
    }

    /// How many wait for room in the whole tree that this account is in.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.node().root().door.hall().map_or(0, |hall| hall.waiting.load(Relaxed))
    }
}

impl Reserve {
    /// The first poll: the answer, where there is no need to wait.
    fn begin(&mut self, waker: &Waker) -> Option<Result<Reservation, AllocError>> {
        let (node, bytes) = (self.account.node(), self.bytes);
        if bytes > MAX / 2 {
            return Some(Err(AllocError::too_large(bytes)));
        }
        if let Some(never) = node.never(bytes) {
            return Some(Try::refuse(never.refusal(node, bytes)));
        }
        if (bytes == 0 || !node.someone_waits()) && node.charge(bytes).is_ok() {
            node.count_reserved(bytes);
            return Some(Ok(self.account.reservation_of(bytes)));
        }
        let root = node.root();
        let hall = root.door.open();
        let (account, waker) = (self.account.clone(), Some(waker.clone()));
        {
            let mut queue = hall.queue.lock();
            queue.tickets += 1;
            let ticket = queue.tickets;
            queue.entries.push_back(Entry { ticket, account, bytes, waker, answer: None });
            if hall.waiting.fetch_add(1, Relaxed) == 0 {
                // Who begins to have a reserve sees that somebody waits, or is seen here.
                let seen = heavy();
                record::starve(root, &mut queue.starved);
                // Who credits sees that, or what he credits is seen below.
                queue.ordered = heavy() && seen;
                // What threads that do nothing have in reserve is room. No more of it comes.
                calling::call_in(root, thread::record());
            }
            self.stage = Stage::Waits { ticket, ask: !queue.ordered };
        }
        hall.look(root);
        None
    }

    /// Takes the answer, if there is one; otherwise this is the waker from now on.
    fn answer(&mut self, ticket: u64, waker: &Waker) -> Option<Result<Reservation, AllocError>> {
        let root = self.account.node().root();
        let hall = root.door.open();
        // Nothing of the user's runs with the queue locked: this is cloned before, and the one
        // that it takes the place of is dropped after.
        let mut waker = Some(waker.clone());
        let entry = {
            let mut queue = hall.queue.lock();
            let place = queue.entries.binary_search_by_key(&ticket, |entry| entry.ticket).ok()?;
            if queue.entries[place].answer.is_some() {
                queue.entries.remove(place)
            } else {
                core::mem::swap(&mut queue.entries[place].waker, &mut waker);
                None
            }
        };
        hall.left(root);
        let answer = entry?.answer?;
        self.stage = Stage::Done;
        Some(match answer {
            Answer::Granted => Ok(self.account.reservation_of(self.bytes)),
            Answer::Never(account) => {
                Try::refuse(account.node().refusal(self.account.node(), self.bytes))
            }
        })
    }
}

impl Future for Reserve {
    type Output = Result<Reservation, AllocError>;

    /// # Panics
    /// If it has been ready before.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let waker = context.waker();
        let mut answer = None;
        match this.stage {
            Stage::New => answer = this.begin(waker),
            Stage::Waits { ask: true, .. } => this.account.node().root().room_came(),
            Stage::Waits { .. } => {}
            Stage::Done => panic!("a reservation was waited for after it had been given"),
        }
        if let Stage::Waits { ticket, ask } = this.stage {
            answer = this.answer(ticket, waker);
            if ask && answer.is_none() {
                waker.wake_by_ref();
            }
        }
        match answer {
            Some(answer) => {
                this.stage = Stage::Done;
                Poll::Ready(answer)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let Stage::Waits { ticket, .. } = self.stage else { return };
        let root = self.account.node().root();
        let hall = root.door.open();
        let (entry, fed) = {
            let mut queue = hall.queue.lock();
            let place = queue.entries.binary_search_by_key(&ticket, |entry| entry.ticket);
            let entry = place.ok().and_then(|place| queue.entries.remove(place));
            let waited = entry.as_ref().is_some_and(|entry| entry.answer.is_none());
            hall.waiting.fetch_sub(usize::from(waited), Relaxed);
            (entry, hall.feed(&mut queue))
        };
        drop(fed);
        if let Some(Entry { answer: Some(Answer::Granted), .. }) = entry {
            drop(self.account.reservation_of(self.bytes));
        }
        // Whoever stood behind it may be next.
        hall.look(root);
    }
}

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve")
            .field("account", &self.account.path())
            .field("bytes", &self.bytes)
            .field("waits", &matches!(self.stage, Stage::Waits { .. }))
            .finish()
    }
}

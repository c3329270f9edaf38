//! Proves that waiting for an account's room is in order, ends whenever there is room, and leaves
//! nothing behind when it is given up. Every order of two threads' steps is in the models of
//! `account/waiting_model.rs`.

mod common;

use cenote::{Account, AllocError, Pool, Reservation, Reserve, System};
use common::{Dice, seed};
use std::alloc::Layout;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Fails to compile unless one who waits may go from thread to thread.
const fn is_free<T: Send + Sync + Unpin>() {}
const _: () = is_free::<Reserve>();

/// Counts how often it is woken, and unparks its thread.
struct Task(AtomicUsize, Thread);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
        self.1.unpark();
    }
}

struct Waiter {
    future: Reserve,
    task: Arc<Task>,
}

impl Waiter {
    fn new(account: &Account, bytes: usize) -> Self {
        let task = Arc::new(Task(AtomicUsize::new(0), thread::current()));
        Self { future: account.reserve(bytes), task }
    }

    /// One that waits.
    fn waiting(account: &Account, bytes: usize) -> Self {
        let mut waiter = Self::new(account, bytes);
        assert!(waiter.poll().is_pending(), "{bytes} bytes are to be had at once");
        waiter
    }

    fn poll(&mut self) -> Poll<Result<Reservation, AllocError>> {
        let waker = Waker::from(self.task.clone());
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.task.0.load(SeqCst) > 0
    }

    /// What it was granted: it was woken, and is ready.
    fn granted(mut self) -> Reservation {
        assert!(self.is_woken(), "{:?}", self.future);
        let Poll::Ready(answer) = self.poll() else { panic!("woken for nothing") };
        answer.unwrap()
    }

    /// Parks the thread until there is an answer.
    fn wait(mut self) -> Result<Reservation, AllocError> {
        loop {
            match self.poll() {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park(),
            }
        }
    }
}

/// A pool whose blocks are of the sizes asked for.
fn pool_on(account: &Account) -> Pool<System> {
    Pool::builder().account(account).source(System).build().unwrap()
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

#[test]
fn what_is_there_is_reserved_without_waiting() {
    let account = Account::root("root").child("child").with_limit(Some(1000));
    let mut waiter = Waiter::new(&account, 1000);
    let Poll::Ready(Ok(reserved)) = waiter.poll() else { panic!("there is room") };
    assert_eq!((reserved.bytes(), account.held(), account.reserved()), (1000, 1000, 1000));
    assert!(!waiter.is_woken());
    drop(waiter);
    assert_eq!(account.held(), 1000);
    drop(reserved);
    // Nothing is always to be had, by who waits behind others too.
    let full = account.try_reserve(1000).unwrap();
    let _waits = Waiter::waiting(&account, 1);
    assert!(matches!(Waiter::new(&account, 0).poll(), Poll::Ready(Ok(_))));
    drop(full);
}

#[test]
fn each_gets_its_turn_in_the_order_of_asking_and_a_small_one_does_not_pass_a_large_one() {
    let account = Account::root("account").with_limit(Some(1000));
    let (mut first, second) =
        (account.try_reserve(600).unwrap(), account.try_reserve(400).unwrap());
    let large = Waiter::waiting(&account, 900);
    // There is room for it, and it waits: else the large one might wait for ever.
    drop(second);
    let small = Waiter::waiting(&account, 10);
    let last = Waiter::waiting(&account, 90);
    assert_eq!((account.waiting(), account.held()), (3, 600));
    first.shrink(400);
    assert_eq!((account.waiting(), account.held()), (3, 200), "not yet");
    first.shrink(100);
    let large = large.granted();
    assert_eq!((account.waiting(), account.held(), small.is_woken()), (2, 1000, false));
    drop(first);
    // Both fit now.
    assert_eq!((account.waiting(), account.held()), (0, 1000));
    let (small, last) = (small.granted(), last.granted());
    assert_eq!(account.reserved(), 900 + 10 + 90);
    drop((large, small, last));
    assert_eq!((account.held(), account.reserved()), (0, 0));
}

#[test]
fn who_lacks_nothing_that_an_earlier_one_waits_for_is_not_kept() {
    let process = Account::root("process").with_limit(Some(10_000));
    let narrow = process.child("narrow").with_limit(Some(100));
    let wide = process.child("wide").with_limit(Some(5000));
    let full = narrow.try_reserve(100).unwrap();
    let waits = Waiter::waiting(&narrow, 50);
    // The tree's queue is not empty, but nothing is missing here.
    let mut free = Waiter::new(&wide, 5000);
    assert!(free.poll().is_ready());
    drop(full);
    drop(waits.granted());
}

#[test]
fn one_who_waits_for_two_accounts_gets_both_or_neither() {
    let process = Account::root("process").with_limit(Some(800));
    let child = process.child("child").with_limit(Some(500));
    let (low, high) = (child.try_reserve(500).unwrap(), process.try_reserve(300).unwrap());
    let waits = Waiter::waiting(&child, 300);
    child.set_limit(Some(800));
    assert_eq!((waits.is_woken(), child.held(), process.held()), (false, 500, 800));
    child.set_limit(Some(500));
    drop(high);
    assert_eq!((waits.is_woken(), child.held(), process.held()), (false, 500, 500));
    drop(low);
    assert_eq!((child.held(), process.held()), (300, 300));
    drop(waits.granted());
    assert_eq!((child.held(), process.held()), (0, 0));
}

#[test]
fn blocks_that_pools_give_back_are_room_whoever_owns_the_account() {
    for far in [false, true] {
        for shared in [false, true] {
            let root = Account::root("root");
            let account = if shared { root.shared_child("a") } else { root.child("a") };
            account.set_limit(Some(100_000));
            let pool = pool_on(&account);
            let object = pool.alloc_layout(bytes(60_000));
            let waits = Waiter::waiting(&account, 90_000);
            let free = move || {
                // SAFETY: nothing refers to it.
                assert!(unsafe { pool.free_large(object) });
                pool
            };
            struct Sent<F>(F);
            // SAFETY: the pool and the pointer into it go along together.
            unsafe impl<F> Send for Sent<F> {}
            impl<F: FnOnce() -> T, T> Sent<F> {
                fn call(self) -> T {
                    (self.0)()
                }
            }
            let free = Sent(free);
            if far {
                thread::spawn(move || drop(free.call())).join().unwrap();
            } else {
                drop(free.call());
            }
            assert_eq!(waits.granted().bytes(), 90_000, "far: {far}, shared: {shared}");
            assert_eq!((account.held(), root.held()), (0, 0));
        }
    }
}

#[test]
fn what_this_thread_has_in_reserve_is_room() {
    const LIMIT: usize = 64 << 20;
    let root = Account::root("root").with_limit(Some(LIMIT));
    let pool = pool_on(&root);
    let object = pool.alloc_layout(bytes(1 << 20));
    let waits = Waiter::waiting(&root, LIMIT);
    // While somebody waits no reserve begins, nor grows.
    let other = pool_on(&root);
    other.alloc_layout(bytes(100_000));
    // SAFETY: nothing refers to it.
    assert!(unsafe { pool.free_large(object) });
    drop(pool);
    drop(other);
    let all = waits.granted();
    assert_eq!(all.bytes(), LIMIT);
    drop(all);
    // And reserves are had again afterwards.
    drop(pool_on(&root));
    assert_eq!(root.held(), 0);
}

#[test]
fn a_higher_limit_is_room() {
    let process = Account::root("process").with_limit(Some(1000));
    let child = process.child("child");
    let _full = child.try_reserve(700).unwrap();
    let waits = Waiter::waiting(&child, 500);
    process.set_limit(Some(1199));
    assert!(!waits.is_woken());
    process.set_limit(Some(1200));
    assert_eq!(waits.granted().bytes(), 500);
}

#[test]
fn who_asks_for_more_than_there_can_ever_be_is_told_so() {
    let process = Account::root("process").with_limit(Some(1000));
    let child = process.child("child");
    let Poll::Ready(Err(error)) = Waiter::new(&child, 1001).poll() else { panic!("it waits") };
    assert_eq!((error.account(), error.size(), process.refused()), (Some(&process), 1001, 1));
    for size in [usize::MAX, usize::MAX / 2, usize::MAX / 4 + 1] {
        let Poll::Ready(Err(error)) = Waiter::new(&child, size).poll() else { panic!("it waits") };
        assert!(error.is_too_large(), "{error}");
    }
    // Or when a limit becomes lower, be it behind others.
    let _full = process.try_reserve(800).unwrap();
    let first = Waiter::waiting(&process, 300);
    let mut second = Waiter::waiting(&child, 900);
    process.set_limit(Some(850));
    assert!(second.is_woken() && !first.is_woken());
    let Poll::Ready(Err(error)) = second.poll() else { panic!("it waits") };
    assert_eq!((error.account(), process.waiting(), process.held()), (Some(&process), 1, 800));
}

#[test]
fn who_gives_up_leaves_nothing_and_the_next_is_served() {
    let account = Account::root("account").with_limit(Some(1000));
    let mut full = account.try_reserve(1000).unwrap();
    let (first, second) = (Waiter::waiting(&account, 900), Waiter::waiting(&account, 100));
    full.shrink(100);
    assert_eq!(account.waiting(), 2);
    // It stood in the way.
    drop(first);
    assert_eq!(second.granted().bytes(), 100);
    // One that was granted, and never looked.
    let third = Waiter::waiting(&account, 950);
    drop(full);
    assert!(third.is_woken());
    assert_eq!((account.held(), account.reserved()), (950, 950));
    drop(third);
    assert_eq!((account.held(), account.reserved(), account.waiting()), (0, 0, 0));
    // One that was never polled was never there.
    drop(Waiter::new(&account, 10));
    assert_eq!(account.held(), 0);
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_called() {
    let account = Account::root("account").with_limit(Some(10));
    let full = account.try_reserve(10).unwrap();
    let mut moved = Waiter::waiting(&account, 5);
    let before =
        std::mem::replace(&mut moved.task, Arc::new(Task(AtomicUsize::new(0), thread::current())));
    assert!(moved.poll().is_pending());
    drop(full);
    assert_eq!((before.0.load(SeqCst), Arc::strong_count(&before)), (0, 1));
    drop(moved.granted());
}

#[test]
fn a_waker_may_use_the_account() {
    struct Curious(Account, AtomicUsize);
    impl Wake for Curious {
        fn wake(self: Arc<Self>) {
            // Neither the queue nor anything else is locked.
            drop(self.0.try_reserve(1));
            let mut other = Waiter::new(&self.0, 1);
            assert!(other.poll().is_ready());
            self.1.fetch_add(self.0.held(), SeqCst);
        }
    }
    let account = Account::root("account").with_limit(Some(100));
    let full = account.try_reserve(100).unwrap();
    let curious = Arc::new(Curious(account.clone(), AtomicUsize::new(0)));
    let waker = Waker::from(curious.clone());
    let mut waits = account.reserve(60);
    assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(full);
    assert_eq!(curious.1.load(SeqCst), 60);
    drop(waits);
    assert_eq!(account.held(), 0);
}

#[test]
fn whoever_is_woken_by_what_was_reserved_finds_no_more_reserved_than_held() {
    struct Reader(Account, AtomicUsize);
    impl Wake for Reader {
        fn wake(self: Arc<Self>) {
            let (reserved, held) = (self.0.reserved(), self.0.held());
            assert!(reserved <= held, "{reserved} reserved of {held} held");
            self.1.store(held, SeqCst);
        }
    }
    let root = Account::root("root").with_limit(Some(100));
    let child = root.child("child");
    for account in [&root, &child] {
        let full = account.try_reserve(100).unwrap();
        let reader = Arc::new(Reader(root.clone(), AtomicUsize::new(0)));
        let waker = Waker::from(reader.clone());
        let mut waits = account.reserve(60);
        assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(full);
        assert_eq!(reader.1.load(SeqCst), 60);
    }
}

#[test]
fn more_wakers_than_are_called_at_a_time_are_all_called() {
    let account = Account::root("account").with_limit(Some(100));
    let full = account.try_reserve(100).unwrap();
    let waiters: Vec<_> = (0..100).map(|_| Waiter::waiting(&account, 1)).collect();
    drop(full);
    assert_eq!((account.held(), account.waiting()), (100, 0));
    for waiter in waiters {
        drop(waiter.granted());
    }
    assert_eq!(account.held(), 0);
}

#[test]
fn an_account_lives_as_long_as_somebody_waits_for_it() {
    let root = Account::root("root");
    let child = root.child("child").with_limit(Some(10));
    let full = child.try_reserve(10).unwrap();
    let waits = Waiter::waiting(&child, 10);
    drop((root, child));
    drop(full);
    let reserved = waits.granted();
    assert_eq!(reserved.account().path(), "root/child");
}

#[test]
#[should_panic = "after it had been given"]
fn to_wait_for_what_was_given_is_a_mistake() {
    let mut waiter = Waiter::new(&Account::root("account"), 1);
    assert!(waiter.poll().is_ready());
    let _ = waiter.poll();
}

/// What a tree with a queue should do, on one thread: who waits in each account, in order.
#[test]
fn who_waits_in_a_random_tree_is_served_as_a_simple_model_says() {
    common::plain();
    let first = seed("waiting");
    for case in 0..40 {
        let mut dice = Dice::new(first.wrapping_add(case));
        let root = Account::root("root");
        let middle = if dice.once_in(2) { root.child("m") } else { root.shared_child("m") };
        let accounts = [root.clone(), middle.clone(), middle.child("leaf"), root.child("other")];
        let parents = [None, Some(0), Some(1), Some(0)];
        let path = |at: usize| std::iter::successors(Some(at), |&at| parents[at]);
        let mut limits = [1000, 600, 400, 500];
        for (account, limit) in accounts.iter().zip(limits) {
            account.set_limit(Some(limit));
        }
        let mut held: Vec<(Reservation, usize)> = Vec::new();
        let mut queue: Vec<(Waiter, usize, usize)> = Vec::new();
        let mut sums = [0; 4];
        for _ in 0..400 {
            match dice.below(6) {
                0 | 1 => {
                    let (at, size) = (dice.below(4), 1 + dice.below(300));
                    let mut waiter = Waiter::new(&accounts[at], size);
                    match waiter.poll() {
                        Poll::Ready(Ok(reserved)) => {
                            // Not past one that waits for anything on its way.
                            path(at).for_each(|at| sums[at] += size);
                            held.push((reserved, at));
                        }
                        Poll::Ready(Err(error)) => {
                            assert!(path(at).any(|at| limits[at] < size), "{error}");
                        }
                        Poll::Pending => queue.push((waiter, at, size)),
                    }
                }
                2 | 3 if !held.is_empty() => {
                    let (reserved, at) = held.swap_remove(dice.below(held.len()));
                    path(at).for_each(|at| sums[at] -= reserved.bytes());
                    drop(reserved);
                }
                4 if !queue.is_empty() => {
                    let (waiter, at, size) = queue.remove(dice.below(queue.len()));
                    assert!(!waiter.is_woken(), "{at} {size}");
                    drop(waiter);
                }
                5 => {
                    let at = dice.below(4);
                    limits[at] = 300 + dice.below(700);
                    accounts[at].set_limit(Some(limits[at]));
                }
                _ => {}
            }
            // By the model: in order, whoever has room in all accounts that no earlier one lacks.
            let mut lacking = [false; 4];
            let mut left = Vec::new();
            for (mut waiter, at, size) in queue {
                let full = |at: usize| sums[at] + size > limits[at];
                if path(at).any(|at| limits[at] < size) {
                    assert!(waiter.is_woken());
                    assert!(matches!(waiter.poll(), Poll::Ready(Err(_))));
                } else if path(at).any(|at| lacking[at]) {
                    assert!(!waiter.is_woken());
                    left.push((waiter, at, size));
                } else if path(at).any(full) {
                    path(at).filter(|&at| full(at)).for_each(|at| lacking[at] = true);
                    assert!(!waiter.is_woken());
                    left.push((waiter, at, size));
                } else {
                    path(at).for_each(|at| sums[at] += size);
                    held.push((waiter.granted(), at));
                }
            }
            queue = left;
            assert_eq!(root.waiting(), queue.len());
            for (at, account) in accounts.iter().enumerate() {
                assert_eq!((account.held(), account.reserved()), (sums[at], sums[at]), "{at}");
            }
        }
    }
}

#[test]
fn on_many_threads_everybody_is_served_and_no_limit_is_passed() {
    const LIMIT: usize = 300_000;
    let root = Account::root("root").with_limit(Some(LIMIT));
    let accounts = [root.child("own"), root.shared_child("shared"), root.clone()];
    let first = seed("waiting threads");
    let out = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..6 {
            let (account, out) = (&accounts[number % 3], &out);
            scope.spawn(move || {
                let mut dice = Dice::new(first.wrapping_add(number as u64));
                for _ in 0..300 {
                    if number < 2 && dice.once_in(2) {
                        // Pools do not wait.
                        let pool = pool_on(account);
                        let _ = pool.try_alloc_layout(bytes(1 + dice.below(LIMIT / 4)));
                        continue;
                    }
                    let size = 1 + dice.below(LIMIT);
                    let mut waiter = Waiter::new(account, size);
                    if dice.once_in(8) {
                        // One that gives up.
                        let _ = waiter.poll();
                        continue;
                    }
                    let reserved = waiter.wait().unwrap();
                    let now = out.fetch_add(size, SeqCst) + size;
                    assert!(now <= LIMIT, "{now}");
                    out.fetch_sub(size, SeqCst);
                    drop(reserved);
                }
            });
        }
    });
    Account::settle();
    for account in &accounts {
        assert_eq!((account.held(), account.reserved(), account.waiting()), (0, 0, 0));
    }
    // Refused pools aside, nothing was.
    assert_eq!(root.overcommitted(), 0);
}

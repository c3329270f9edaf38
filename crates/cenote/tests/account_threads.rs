//! Proves that accounts stay right with many threads: no limit is passed, nothing is lost when
//! pools and accounts are made, moved and dropped anywhere, and none outlives its use.

mod common;

use cenote::{Account, AllocError, BlockSource, Pool};
use common::{Counting, Dice, message, seed};
use std::alloc::Layout;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

#[test]
fn a_shared_root_never_passes_its_limit_whoever_charges_it() {
    const LIMIT: usize = 3 << 20;
    const THREADS: usize = 8;
    let counting = Counting::new();
    let root = Account::root("root").with_limit(Some(LIMIT));
    let refusals = AtomicUsize::new(0);
    let first = seed("shared root");
    thread::scope(|scope| {
        let threads = [(); THREADS];
        let threads: Vec<_> = threads
            .into_iter()
            .enumerate()
            .map(|(number, ())| {
                let (counting, root, refusals) = (&counting, &root, &refusals);
                scope.spawn(move || {
                    let mut dice = Dice::new(first.wrapping_add(number as u64));
                    let account = match number % 3 {
                        0 => root.clone(),
                        1 => root.child(format!("own {number}")),
                        _ => root.shared_child(format!("shared {number}")),
                    };
                    for _ in 0..100 {
                        let pool =
                            Pool::builder().account(&account).source(counting).build().unwrap();
                        // Until it is refused, which it will be: by the others or by itself.
                        let error = loop {
                            let size = 16_000 + dice.below(100_000);
                            match pool.try_alloc_bytes(size) {
                                Ok(_) => thread::yield_now(),
                                Err(error) => break error,
                            }
                        };
                        assert_eq!(error.account(), Some(root), "{error}");
                        refusals.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert!(counting.most() <= LIMIT, "{} bytes were out at once", counting.most());
    // Else nothing was proved.
    assert!(counting.most() > LIMIT / 2, "{} bytes at most", counting.most());
    assert_eq!(refusals.load(SeqCst), 100 * THREADS);
    assert_eq!((counting.bytes(), root.held(), root.live()), (0, 0, 0));
    assert_eq!(root.refused(), refusals.load(SeqCst) as u64);
}

#[test]
fn with_many_threads_making_moving_and_dropping_all_figures_end_at_zero() {
    const THREADS: usize = 6;
    let first = seed("many threads");
    let root = Account::root("root");
    let shared = root.shared_child("shared");
    let common = root.child("common");
    let counting = Arc::new(Counting::new());
    let done = AtomicBool::new(false);
    let snapshots = AtomicUsize::new(0);
    type Parcel = (Pool<Wrapped>, Account);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::channel::<Parcel>()).unzip();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let snapshot = root.snapshot();
                assert!(snapshot.to_string().contains("root"));
                for account in snapshot.merged().all() {
                    assert!(account.held_bytes < 1 << 40, "{account}");
                    assert!(account.live < 1 << 20, "{account}");
                }
                snapshots.fetch_add(1, SeqCst);
            }
        });
        let workers: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(number, inbox)| {
                let (senders, counting) = (senders.clone(), counting.clone());
                let (root, shared, common) = (root.clone(), shared.clone(), common.clone());
                scope.spawn(move || {
                    let mut dice = Dice::new(first.wrapping_add(number as u64));
                    let mine = root.child(format!("worker {number}"));
                    let mut kept: Vec<Parcel> = Vec::new();
                    for _ in 0..1500 {
                        let account = match dice.below(5) {
                            0 => shared.clone(),
                            1 => common.clone(),
                            2 => mine.child("request"),
                            3 => mine.clone(),
                            _ => match kept.get(dice.below(kept.len().max(1))) {
                                Some((pool, _)) => pool.account().unwrap().clone(),
                                None => root.clone(),
                            },
                        };
                        let source = Wrapped(counting.clone());
                        let pool =
                            Pool::builder().account(&account).source(source).build().unwrap();
                        pool.alloc_bytes(dice.below(9000));
                        if dice.once_in(2) {
                            pool.alloc_bytes(30_000);
                        }
                        let to = dice.below(THREADS);
                        match dice.below(4) {
                            0 => kept.push((pool, account)),
                            // The receiver may have ended already.
                            1 | 2 => drop(senders[to].send((pool, account))),
                            _ => {
                                drop(account);
                                drop(pool);
                            }
                        }
                        while let Ok((mut pool, account)) = inbox.try_recv() {
                            if dice.once_in(3) {
                                pool.reset();
                            }
                            if dice.once_in(2) {
                                drop(account);
                                pool.alloc(1_u64);
                            } else {
                                kept.push((pool, account));
                            }
                        }
                        if kept.len() > 20 {
                            kept.truncate(dice.below(20));
                        }
                        if dice.once_in(50) {
                            Account::settle();
                        }
                    }
                })
            })
            .collect();
        drop(senders);
        for worker in workers {
            worker.join().unwrap_or_else(|payload| panic!("{}", message(&*payload)));
        }
        done.store(true, SeqCst);
    });
    assert!(snapshots.load(SeqCst) > 0);
    assert_eq!(counting.bytes(), 0);
    for account in [&root, &shared, &common] {
        assert_eq!((account.held(), account.live()), (0, 0), "{}", account.path());
    }
    let left: Vec<_> = root.snapshot().children.into_iter().map(|child| child.name).collect();
    assert_eq!(left, ["shared", "common"], "accounts that nobody has any more");
}

/// A source that is shared by counting.
struct Wrapped(Arc<Counting>);

// SAFETY: every call goes to a source that keeps the promises.
unsafe impl BlockSource for Wrapped {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.0.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.release(block, layout) }
    }
}

#[test]
fn accounts_end_before_and_after_the_thread_they_belong_to() {
    // Each way in which the owner's thread, the pools and the handles may go one after another.
    for order in 0..8 {
        let root = Account::root("root");
        let child = root.child("child");
        let ready = Barrier::new(2);
        let go = Barrier::new(2);
        thread::scope(|scope| {
            let (send, receive) = mpsc::channel();
            let (child_here, ready, go) = (child.clone(), &ready, &go);
            let owner = scope.spawn(move || {
                let pools = [Pool::on(&child_here), Pool::on(&child_here), Pool::on(&child_here)];
                for pool in &pools {
                    pool.alloc_bytes(20_000);
                }
                drop(child_here);
                let [first, second, third] = pools;
                send.send(second).unwrap();
                let third = (order & 4 != 0).then_some(third);
                ready.wait();
                go.wait();
                drop(first);
                drop(third);
            });
            ready.wait();
            let pool = receive.recv().unwrap();
            assert_eq!(child.live(), if order & 4 != 0 { 3 } else { 2 });
            if order & 1 == 0 {
                drop(child);
                if order & 2 == 0 {
                    drop(pool);
                    go.wait();
                    owner.join().unwrap();
                } else {
                    go.wait();
                    owner.join().unwrap();
                    drop(pool);
                }
            } else {
                go.wait();
                owner.join().unwrap();
                assert_eq!(child.live(), 1);
                if order & 2 == 0 {
                    drop(pool);
                    drop(child);
                } else {
                    drop(child);
                    drop(pool);
                }
            }
        });
        assert_eq!((root.held(), root.snapshot().children.len()), (0, 0), "order {order}");
        let closed = root.snapshot().closed;
        assert_eq!((closed.len(), closed[0].created), (1, 3), "order {order}");
    }
}

#[test]
fn a_pool_in_a_thread_local_may_end_after_the_threads_other_affairs() {
    // Dropped in a destructor of the thread, before or after the crate's own.
    thread_local!(static LAST: RefCell<Vec<Pool>> = const { RefCell::new(Vec::new()) });
    let root = Account::root("root");
    for early in [true, false] {
        let child = root.child("child");
        let here = child.clone();
        let thread = thread::spawn(move || {
            if early {
                LAST.with_borrow_mut(|_| ());
            }
            let pool = Pool::on(&here);
            pool.alloc_bytes(30_000);
            pool.defer(|| {
                let pool = Pool::new();
                pool.alloc_bytes(30_000);
            });
            LAST.with_borrow_mut(|last| last.extend([pool, Pool::on(&here), Pool::new()]));
        });
        // Joining waits for destructors of thread-locals; the end of a scope would not.
        thread.join().unwrap();
        assert_eq!((child.held(), child.live(), child.created()), (0, 0, 2));
    }
    assert_eq!(root.snapshot().children.len(), 0);
}

#[test]
fn a_limit_that_is_changed_while_others_charge_does_not_make_up_figures() {
    let root = Account::root("root").with_limit(Some(1 << 30));
    let child = root.child("child");
    let done = AtomicBool::new(false);
    let worst = Mutex::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..1_000_000 {
                let limit = if round % 2 == 0 { None } else { Some(1 << 30) };
                root.set_limit(limit);
                child.set_limit(limit);
            }
            done.store(true, SeqCst);
        });
        let charging = scope.spawn(|| {
            while !done.load(SeqCst) {
                let pool = Pool::on(&child);
                pool.alloc_bytes(30_000);
            }
        });
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let seen = root.held().max(child.held());
                let mut worst = worst.lock().unwrap();
                *worst = seen.max(*worst);
            }
        });
        // Joined, so that what the thread had in reserve is back.
        charging.join().unwrap();
    });
    assert_eq!((root.held(), child.held()), (0, 0));
    assert!(root.peak() < 1 << 30, "a peak of {} bytes", root.peak());
    assert!(child.peak() < 1 << 30, "a peak of {} bytes", child.peak());
    let worst = *worst.lock().unwrap();
    assert!(worst < 1 << 30, "{worst} bytes were held, it said");
}

#[test]
fn a_tree_may_be_walked_while_its_accounts_come_and_go() {
    const CONNECTIONS: usize = 40;
    let rounds = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
    /// Lets others know that a thread is not there any more, be it by a panic.
    struct Gone<'a>(&'a AtomicBool);
    impl Drop for Gone<'_> {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let root = Account::root("root");
    let (done, gone) = (AtomicBool::new(false), AtomicBool::new(false));
    let walks = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _gone = Gone(&gone);
            while !done.load(SeqCst) {
                let mut open = 0;
                root.walk(|depth, seen| match seen {
                    cenote::inspect::Seen::Account(account) => {
                        open += 1;
                        let name = ["root", "worker", "connection", "request"][depth];
                        assert_eq!(account.name(), name);
                        // Reading must be sound whatever happens to the account meanwhile.
                        assert!(account.held() <= root.peak() + (1 << 20));
                    }
                    cenote::inspect::Seen::Closed(left) => assert!(left.accounts() > 0),
                });
                assert!(open <= 1 + 3 * (1 + 2 * CONNECTIONS) + 2 * CONNECTIONS);
                walks.fetch_add(1, SeqCst);
            }
        });
        let workers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let worker = root.child("worker");
                    let mut connections = std::collections::VecDeque::new();
                    for round in 0..rounds {
                        let connection = worker.child("connection");
                        // Held by its pool alone, as one that is kept in a map.
                        let request = Pool::on(&connection.child("request"));
                        request.alloc(round);
                        connections.push_back((connection, request));
                        if connections.len() == CONNECTIONS {
                            connections.pop_front();
                        }
                    }
                    connections.clear();
                    // What the walk kept a moment longer waits in this thread's mail.
                    while root.live() + worker.live() > 0 || walks.load(SeqCst) == 0 {
                        assert!(!gone.load(SeqCst), "nobody walks any more");
                        thread::yield_now();
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, SeqCst);
    });
    assert!(walks.load(SeqCst) > 0);
    let (mut open, mut requests) = (0, 0);
    root.walk(|_, seen| match seen {
        cenote::inspect::Seen::Account(_) => open += 1,
        cenote::inspect::Seen::Closed(left) if left.name() == "request" => {
            requests += left.created();
        }
        cenote::inspect::Seen::Closed(_) => {}
    });
    assert_eq!(open, 1, "every account closed");
    assert_eq!(requests, 3 * rounds as u64, "and left its figures");
    assert_eq!(root.held(), 0);
}

#[test]
fn a_thread_that_is_at_its_end_may_still_make_pools_on_accounts_of_nobody() {
    /// Makes a pool when the thread has ended for the crate.
    struct AtTheEnd(Account);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let late = self.0.child("late");
            let pools = [Pool::on(&late), Pool::on(&late)];
            pools[0].alloc_bytes(30_000);
            assert_eq!((late.live(), late.created()), (2, 2));
            assert!(late.held() >= 30_000);
            drop(pools);
            assert_eq!((late.live(), late.held()), (0, 0));
        }
    }
    thread_local!(static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) });
    let root = Account::root("root");
    let here = root.clone();
    let thread = thread::spawn(move || {
        // First here, so that it is dropped after what the crate has of the thread.
        LAST.with_borrow_mut(|last| *last = Some(AtTheEnd(here.clone())));
        Pool::on(&here.child("usual")).alloc_bytes(30_000);
    });
    thread.join().unwrap();
    let mut closed: Vec<_> =
        root.snapshot().closed.into_iter().map(|left| (left.name, left.created)).collect();
    closed.sort();
    assert_eq!(closed, [("late".to_owned(), 2), ("usual".to_owned(), 1)]);
    assert_eq!(root.held(), 0);
}

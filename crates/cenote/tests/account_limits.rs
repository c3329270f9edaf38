//! Proves that a limit refuses only what is not there: not what idle threads keep in reserve, nor
//! what a charge would take that is refused itself; and that peaks are of what was held.

mod common;

use cenote::{Account, AllocError, BlockSource, Faulty, Pool, System};
use common::{Counting, Dice, seed};
use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, mpsc};
use std::thread;

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

fn pool(account: &Account) -> Pool<System> {
    Pool::builder().account(account).source(System).build().unwrap()
}

/// Threads that have served a small request each, and now wait for the next one.
fn with_idle_threads(account: &Account, count: usize, f: impl FnOnce()) {
    thread::scope(|scope| {
        let (served, all_served) = mpsc::channel();
        let mut next_requests = Vec::new();
        for _ in 0..count {
            let (next, requests) = mpsc::channel::<()>();
            next_requests.push(next);
            let served = served.clone();
            scope.spawn(move || {
                Pool::on(account).alloc_bytes(1000);
                served.send(()).unwrap();
                // Ends when nobody can send one any more.
                assert!(requests.recv().is_err());
                // What was taken meanwhile is not paid with.
                Pool::on(account).alloc_bytes(1000);
            });
        }
        (0..count).for_each(|_| all_served.recv().unwrap());
        f();
        drop(next_requests);
    });
}

#[test]
fn what_idle_threads_keep_in_reserve_is_refused_to_nobody() {
    common::plain();
    // Of as many bytes as the limit allows so many can be had.
    for (threads, limit) in [(1, 1 << 20), (64, 4 << 20), (512, 8 << 20)] {
        for below in ["child", "root", "shared"] {
            if threads > 64 && below != "child" {
                continue;
            }
            let root = Account::root("root");
            let account = match below {
                "root" => root.clone(),
                "child" => root.child("child"),
                _ => root.shared_child("shared"),
            };
            for limited in [&root, &account] {
                limited.set_limit(Some(limit));
                with_idle_threads(&account, threads, || {
                    assert_eq!((account.held(), root.held()), (0, 0));
                    let pool = pool(&account);
                    let all = pool.try_alloc_layout(bytes(limit));
                    assert!(all.is_ok(), "{threads} threads, {below}: {}", all.unwrap_err());
                    assert_eq!((account.held(), root.held()), (limit, limit));
                    let error = pool.try_alloc_layout(bytes(100)).unwrap_err();
                    assert!(error.to_string().contains(&format!("{limit} held")), "{error}");
                });
                assert_eq!((account.held(), root.held()), (0, 0));
                limited.set_limit(None);
            }
        }
    }
}

/// What threads have in reserve they could go on with, a quantum each, whatever the limit had become.
#[test]
fn a_limit_that_was_lowered_is_passed_by_no_threads_reserve() {
    common::plain();
    let root = Account::root("root").with_limit(Some(64 << 20));
    let (shared, child) = (root.shared_child("shared"), root.child("child"));
    for (lowered, charged) in
        [(&root, &root), (&root, &child), (&root, &shared), (&shared, &shared)]
    {
        thread::scope(|scope| {
            let (ended, lives) = mpsc::channel();
            let threads = [(); 3].map(|()| {
                let (go_on, goes_on) = mpsc::channel();
                let ended = ended.clone();
                scope.spawn(move || {
                    while goes_on.recv().is_ok() {
                        let refused = pool(charged).try_alloc_bytes(3000).err();
                        ended.send(refused.and_then(|error| error.account().cloned())).unwrap();
                    }
                });
                go_on
            });
            for (limit, refuses) in [(64 << 20, None), (1000, Some(lowered)), (64 << 20, None)] {
                lowered.set_limit(Some(limit));
                threads.iter().for_each(|go_on| go_on.send(()).unwrap());
                for _ in 0..3 {
                    assert_eq!(lives.recv().unwrap().as_ref(), refuses, "{limit}");
                }
            }
        });
        assert_eq!(root.held(), 0);
    }
}

#[test]
fn what_is_taken_of_a_reserve_is_not_paid_with() {
    // Threads that pay from their reserves all the time, and one that calls them in again and again.
    const LIMIT: usize = 6 << 20;
    const THREADS: usize = 4;
    let rounds = if cfg!(debug_assertions) { 500 } else { 10_000 };
    let counting = Counting::new();
    let root = Account::root("root").with_limit(Some(LIMIT));
    let (done, had) = (AtomicBool::new(false), AtomicUsize::new(0));
    let first = seed("reserves");
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (counting, root, done) = (&counting, &root, &done);
            scope.spawn(move || {
                let mut dice = Dice::new(first.wrapping_add(number as u64));
                let account = match number % 3 {
                    0 => root.clone(),
                    1 => root.child("own"),
                    _ => root.shared_child("shared"),
                };
                while !done.load(SeqCst) {
                    let pool = Pool::builder().account(&account).source(counting).build().unwrap();
                    for _ in 0..dice.below(6) {
                        let _ = pool.try_alloc_layout(bytes(1 + dice.below(9000)));
                    }
                    if dice.once_in(64) {
                        thread::yield_now();
                    }
                }
            });
        }
        let account = root.child("greedy");
        for _ in 0..rounds {
            let pool = Pool::builder().account(&account).source(&counting).build().unwrap();
            // All but what the others can have at once at the very most, and half of it.
            let most = LIMIT - THREADS * (64 << 10);
            let all = pool.try_alloc_layout(bytes(most));
            assert!(all.is_ok(), "{}", all.unwrap_err());
            had.fetch_add(1, SeqCst);
            while pool.try_alloc_layout(bytes(4000)).is_ok() {}
            assert!(counting.most() <= LIMIT, "{} bytes were out at once", counting.most());
            assert!(root.peak() <= LIMIT, "{} bytes at most, it says", root.peak());
        }
        done.store(true, SeqCst);
    });
    assert_eq!(had.load(SeqCst), rounds);
    assert!(counting.most() > LIMIT - (64 << 10), "{}", counting.most());
    assert_eq!((root.held(), counting.bytes()), (0, 0));
}

/// Small requests of some threads while others ask for what will be refused.
fn beside_refusals(root: &Account, small: &Account, large: &Account, size: usize, rounds: usize) {
    let done = AtomicBool::new(false);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                while !done.load(SeqCst) {
                    pool(large).try_alloc_layout(bytes(size)).unwrap_err();
                }
            });
        }
        let threads = [(); 2].map(|()| {
            scope.spawn(|| {
                start.wait();
                (0..rounds).filter(|_| pool(small).try_alloc_layout(bytes(3000)).is_err()).count()
            })
        });
        let refused = threads.map(|thread| thread.join().unwrap());
        done.store(true, SeqCst);
        assert_eq!(refused, [0, 0], "of {rounds} each were refused");
    });
    let limit = [root, small, large].iter().filter_map(|account| account.limit()).min().unwrap();
    for account in [small, large] {
        assert!(account.peak() <= limit, "peak of {}: {}", account.path(), account.peak());
    }
    assert_eq!(root.held(), 0);
}

#[test]
fn a_charge_that_is_refused_further_up_makes_no_other_fail_and_no_peak() {
    let rounds = if cfg!(debug_assertions) { 4_000 } else { 100_000 };
    // The shared account has room for both, or for one of them; the root for the small ones alone.
    for limits in [(1 << 20, 2 << 20), (100_000, 110_000), (1 << 20, 1 << 20)] {
        let root = Account::root("root").with_limit(Some(limits.0));
        let shared = root.shared_child("shared").with_limit(Some(limits.1));
        beside_refusals(&root, &shared, &shared, limits.0 + 1, rounds);
    }
    // One between them refuses.
    let root = Account::root("root").with_limit(Some(1 << 20));
    let middle = root.shared_child("middle").with_limit(Some(100_000));
    let shared = middle.shared_child("shared");
    beside_refusals(&root, &shared, &shared, 200_000, rounds);
    // One below refuses: nothing stands above for a moment, either.
    let root = Account::root("root").with_limit(Some(100_000));
    let low = root.shared_child("low").with_limit(Some(95_000));
    beside_refusals(&root, &root, &low, 96_000, rounds);
    // Another thread's own.
    let root = Account::root("root").with_limit(Some(100_000));
    let owned = root.child("owned").with_limit(Some(100_000));
    drop(Pool::on(&owned));
    beside_refusals(&root, &owned, &owned, 150_000, rounds);
}

/// So many small charges by so many threads, of accounts of every kind, beside large ones of which
/// most are refused by an account above; how many of the small ones were.
fn refused_beside_large_ones(threads: usize, charges: usize) -> usize {
    let root = Account::root("root").with_limit(Some(4 << 20));
    let shared = root.shared_child("shared").with_limit(Some(8 << 20));
    let below = shared.shared_child("below").with_limit(Some(8 << 20));
    // This thread's, which takes no part: all others charge it by the counters for others.
    let owned = below.child("owned").with_limit(Some(8 << 20));
    drop(Pool::on(&owned));
    let (refused, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // Fit one at a time beside the small ones; or never.
        let large: Vec<_> = [(&shared, 3 << 20), (&below, 3 << 20), (&owned, 5 << 20)]
            .into_iter()
            .map(|(account, size)| {
                let over = &over;
                scope.spawn(move || {
                    let mut refused = 0;
                    while !over.load(SeqCst) {
                        refused += usize::from(account.try_reserve(size).is_err());
                    }
                    refused
                })
            })
            .collect();
        let small: Vec<_> = (0..threads)
            .map(|number| {
                let (root, shared, below, owned) = (&root, &shared, &below, &owned);
                let refused = &refused;
                scope.spawn(move || {
                    let own = below.child("own").with_limit(Some(40_000));
                    drop(Pool::on(&own));
                    let account = [&own, shared, owned, below, root][number % 5];
                    let mut reservation = account.reservation();
                    for round in 0..charges.div_ceil(threads) {
                        // Now from what the thread has in reserve, now from the account.
                        let size = 100 + (round * 4999 + number) % 8_000;
                        let failed = reservation.try_grow(size).is_err();
                        refused.fetch_add(usize::from(failed), SeqCst);
                        if round % 3 > 0 {
                            reservation.shrink(reservation.bytes());
                        } else if reservation.bytes() > 16_000 {
                            reservation.shrink(reservation.bytes());
                            Account::settle();
                        }
                    }
                })
            })
            .collect();
        small.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(true, SeqCst);
        let large: usize = large.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(large > 0, "nothing was refused beside them");
    });
    for account in [&root, &shared, &below, &owned] {
        assert_eq!(account.held(), 0);
        assert!(account.peak() <= 4 << 20, "{} of {}", account.peak(), account.path());
    }
    refused.into_inner()
}

#[test]
fn of_a_million_small_charges_none_is_refused_for_what_large_ones_are_refused() {
    let charges = if cfg!(debug_assertions) { 60_000 } else { 1_000_000 };
    for threads in [2, 8, 32] {
        assert_eq!(refused_beside_large_ones(threads, charges), 0, "{threads} threads");
    }
}

#[test]
fn what_is_called_in_for_a_charge_that_is_refused_takes_no_peak_along() {
    let root = Account::root("root").with_limit(Some(4 << 20));
    let charge = |size| root.try_reserve(size).unwrap();
    let (most, mut some) = (charge(990_000), charge(10_000));
    // The thread keeps it, and the account knows nothing of it.
    some.shrink(10_000);
    // What the thread keeps goes back for this one, which has no room all the same.
    root.try_reserve((4 << 20) - 990_000 + 1).unwrap_err();
    assert_eq!(root.held(), 990_000);
    assert!(root.peak() >= 1_000_000, "{}", root.peak());
    drop(most);
}

/// Has no memory for what is large, and does something else on the account meanwhile.
struct Failing<'a>(&'a Account);

// SAFETY: what it has is `System`'s.
unsafe impl BlockSource for Failing<'_> {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        if layout.size() < 1 << 20 {
            return System.acquire(layout);
        }
        // Goes back, past any reserve: a moment at which peaks are noticed.
        for large in [300_000, 100] {
            let use_it = || assert!(pool(self.0).try_alloc_layout(bytes(large)).is_ok());
            use_it();
            thread::scope(|scope| _ = scope.spawn(use_it));
        }
        assert!(self.0.peak() < 1 << 20 && self.0.held() < 1 << 20);
        Err(AllocError::out_of_memory(layout.size()))
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

#[test]
fn what_the_system_has_not_is_no_peak() {
    for size in [1 << 20, 64 << 40] {
        let root = Account::root("root");
        let owned = root.child("owned");
        drop(Pool::on(&owned));
        let below = owned.shared_child("below");
        for account in [&root, &root.shared_child("shared"), &owned, &below] {
            let source = Failing(account);
            let failing = Pool::builder().account(account).source(&source).build().unwrap();
            failing.try_alloc_layout(bytes(size)).unwrap_err();
            for account in [account, &root] {
                let most = account.peak();
                assert!((300_000..1 << 20).contains(&most), "peak of {}: {most}", account.path());
                assert_eq!(account.held(), 0, "{}", account.path());
            }
        }
    }
    // And the system itself.
    let root = Account::root("root");
    let pool = Pool::on(&root);
    if pool.try_alloc_layout(bytes(1 << 46)).is_err() {
        assert!(root.peak() < 1 << 20, "{}", root.peak());
    }
}

/// A pool on the lowest of four accounts: the root, of which this thread has enough in reserve for
/// what is asked for in these tests, and three that are this thread's own.
fn with_a_chain(f: impl FnOnce(&[Account; 4], &Pool<&Faulty<System>>, &Faulty<System>)) {
    common::plain();
    let root = Account::root("root");
    let worker = root.child("worker");
    let connection = worker.child("connection");
    let request = connection.child("request");
    let accounts = [root, worker, connection, request];
    let source = Faulty::new(System);
    // All that is asked for is a large object.
    let pool = Pool::builder().first_block(4096).largest_block(4096).large_threshold(2048);
    let pool = pool.account(&accounts[3]).source(&source).build().unwrap();
    pool.alloc(1_u8);
    f(&accounts, &pool, &source);
    drop(pool);
    assert_eq!(accounts.each_ref().map(Account::held), [0; 4], "each got back what it was charged");
}

#[test]
fn a_charge_that_is_refused_half_way_up_is_undone_in_the_accounts_below() {
    with_a_chain(|accounts, pool, _| {
        for limited in accounts {
            limited.set_limit(Some(limited.held() + 9_000));
            if limited.parent().is_none() {
                // What is in reserve was charged to it under the limit before.
                Account::settle();
            }
            for size in [9_001, 10_000, 60_000, 1 << 40] {
                let error = pool.try_alloc_layout(bytes(size)).unwrap_err();
                assert_eq!(error.account(), Some(limited), "{size} bytes");
                let held = accounts.each_ref().map(Account::held);
                let by = limited.path();
                assert_eq!(held, [pool.held_bytes(); 4], "{by} has refused {size} bytes");
            }
            limited.set_limit(None);
            pool.try_alloc_layout(bytes(9_001)).unwrap();
        }
    });
}

#[test]
fn what_a_source_has_not_is_charged_nowhere() {
    with_a_chain(|accounts, pool, source| {
        for size in [9_000, 100_000, 1 << 20] {
            source.fail_after(0, true);
            assert!(pool.try_alloc_layout(bytes(size)).unwrap_err().account().is_none());
            let held = accounts.each_ref().map(Account::held);
            assert_eq!(held, [pool.held_bytes(); 4], "{size} bytes");
            source.recover();
            pool.try_alloc_layout(bytes(size)).unwrap();
        }
    });
}

#[test]
fn an_object_that_its_source_cannot_grow_in_place_is_charged_for_what_it_gets_elsewhere() {
    with_a_chain(|accounts, pool, source| {
        let check = || {
            let held = accounts.each_ref().map(Account::held);
            assert_eq!(held, [pool.held_bytes(); 4]);
        };
        let (old, new) = (bytes(1 << 20), bytes(3 << 20));
        let object = pool.alloc_layout(old);
        check();
        source.fail_after(0, true);
        // SAFETY: it came from this pool with that layout.
        assert!(unsafe { pool.try_grow(object, old, new) }.is_err());
        check();
        source.recover();
        // SAFETY: it is as it was.
        let object = unsafe { pool.try_grow(object, old, new) }.unwrap();
        check();
        // SAFETY: nothing uses it, and that is what it was grown to.
        unsafe { pool.dealloc(object, new) };
        check();
    });
}

#[test]
fn an_object_that_grows_in_place_is_charged_for_what_it_grew_by_and_goes_back_so() {
    common::plain();
    let root = Account::root("root");
    let child = root.child("child");
    for others in [0, 3] {
        let pool = pool(&child);
        // Among others it is in the table, and in a place of its own without any.
        (0..others).for_each(|_| _ = pool.alloc_layout(bytes(300_000)));
        let mut object = pool.alloc_layout(bytes(1 << 20));
        for mib in 2..8 {
            let (old, new) = (bytes((mib - 1) << 20), bytes(mib << 20));
            // SAFETY: it came from this pool, and was last grown to the old layout.
            object = unsafe { pool.try_grow(object, old, new) }.unwrap();
            assert_eq!([child.held(), root.held()], [pool.held_bytes(); 2], "{mib} MiB");
        }
        drop(pool);
        assert_eq!([child.held(), root.held()], [0; 2], "with {others} others");
    }
}

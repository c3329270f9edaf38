//! What loom checks of accounts: every order in which the steps of two or three threads can
//! follow each other, and every value that a load may see under the memory model. A node that is
//! freed while another thread may still use it, freed twice or never, makes a model fail.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p cenote --lib account::model`

use super::Account;
use crate::System;
use crate::debug::Watch;
use crate::inspect::Seen;
use crate::supply::Supply;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;
use loom::model::Builder;
use loom::thread::{self, JoinHandle};

/// Checks a model. Threads are interrupted three times at most in one run, or as often as the variable
/// `LOOM_MAX_PREEMPTIONS` says: beyond that there are very many orders, and hardly a mistake
/// needs more.
fn check(model: impl Fn() + Sync + Send + 'static) {
    check_to(3, model);
}

/// As [`check`], with so many interruptions.
pub(super) fn check_to(interruptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.max_branches = 10_000;
    builder.preemption_bound = builder.preemption_bound.or(Some(interruptions));
    builder.check(move || {
        model();
        crate::thread::ends();
    });
}

/// A thread that has come to its end when it is joined.
pub(super) fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    thread::spawn(move || {
        let result = f();
        crate::thread::ends();
        result
    })
}

/// What every pool has: it counts as one on the account, and takes its blocks there.
pub(super) type PoolOn = Supply<System>;

pub(super) fn pool_on(account: &Account) -> PoolOn {
    Supply::new("model", System, Some(account), false, Watch::DEFAULT)
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

/// A block that another thread may give back.
pub(super) struct Block(NonNull<u8>, Layout);

// SAFETY: the block is its holder's alone.
unsafe impl Send for Block {}

pub(super) fn take(pool: &PoolOn, size: usize) -> Option<Block> {
    pool.take(bytes(size)).ok().map(|start| Block(start, bytes(size)))
}

pub(super) fn give(pool: &PoolOn, block: Block) {
    // SAFETY: taken from this pool, or one on the same account, with this layout.
    unsafe { pool.give(block.0, block.1) }
}

/// How many accounts have closed under this one.
fn closed(account: &Account) -> u64 {
    account.closed().iter().map(|history| history.sums.accounts).sum()
}

#[test]
fn of_two_threads_only_one_gets_the_last_room_of_a_shared_account() {
    check(|| {
        // So small a limit has no quanta: every charge is exact.
        let root = Account::root("root").with_limit(Some(5000));
        let threads = [(); 2].map(|()| {
            let root = root.clone();
            spawn(move || {
                let pool = pool_on(&root);
                take(&pool, 3000).map(|block| (pool, block))
            })
        });
        let taken: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(taken.iter().flatten().count(), 1);
        assert_eq!(root.held(), 3000);
        for (pool, block) in taken.into_iter().flatten() {
            give(&pool, block);
        }
        assert_eq!((root.held(), root.live(), root.created()), (0, 0, 2));
    });
}

#[test]
fn reserves_of_threads_that_end_are_all_back() {
    check(|| {
        let root = Account::root("root").with_limit(Some(64 << 20));
        let threads = [(); 2].map(|()| {
            let root = root.clone();
            spawn(move || {
                let pool = pool_on(&root);
                let block = take(&pool, 4096).unwrap();
                give(&pool, block);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((root.held(), root.live()), (0, 0));
        // Reserves included: nobody has one any more.
        let pool = pool_on(&root);
        assert!(take(&pool, (64 << 20) + 1).is_none());
        let all = take(&pool, 64 << 20).unwrap();
        give(&pool, all);
    });
}

#[test]
fn an_account_that_its_owner_and_another_thread_charge_ends_with_nothing_held() {
    // Many steps: with three it takes minutes.
    check_to(2, || {
        let root = Account::root("root");
        let child = root.child("child").with_limit(Some(1 << 20));
        let threads = [100, 1000].map(|size| {
            let child = child.clone();
            spawn(move || {
                let pool = pool_on(&child);
                let block = take(&pool, size).unwrap();
                give(&pool, block);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((child.held(), child.live(), child.created()), (0, 0, 2));
        assert_eq!(child.recycled(), 1100);
        assert!((1000..=1100).contains(&child.peak()), "{}", child.peak());
        drop(child);
        Account::settle();
        assert_eq!((closed(&root), root.held()), (1, 0));
    });
}

#[test]
fn a_pool_made_on_one_thread_and_dropped_on_another_frees_its_account_once() {
    check(|| {
        let root = Account::root("root");
        let child = root.child("child");
        let maker = spawn(move || {
            let pool = pool_on(&child);
            let block = take(&pool, 64);
            drop(child);
            (pool, block)
        });
        let (pool, block) = maker.join().unwrap();
        let dropper = spawn(move || {
            if let Some(block) = block {
                give(&pool, block);
            }
        });
        dropper.join().unwrap();
        assert_eq!((closed(&root), root.held()), (1, 0));
    });
}

#[test]
fn the_last_handle_may_go_elsewhere_while_the_owner_makes_and_drops_pools() {
    check(|| {
        let root = Account::root("root");
        let child = root.child("child");
        let first = pool_on(&child);
        let other = spawn(move || drop(child));
        drop(first);
        other.join().unwrap();
        // The owner reads its mail now at the latest.
        Account::settle();
        assert_eq!(closed(&root), 1);
    });
}

#[test]
fn the_last_handle_may_go_while_the_owner_ends() {
    check(|| {
        let root = Account::root("root");
        let child = root.child("child");
        let handle = child.clone();
        let owner = spawn(move || {
            let pool = pool_on(&child);
            drop(child);
            drop(pool);
        });
        let other = spawn(move || drop(handle));
        owner.join().unwrap();
        other.join().unwrap();
        assert_eq!(closed(&root), 1);
    });
}

#[test]
fn an_account_that_its_ending_owner_and_another_thread_release_at_once_keeps_its_count() {
    for left_by_the_owner in [false, true] {
        check(move || {
            let root = Account::root("root");
            let child = root.child("child");
            let mut pool = pool_on(&child);
            if left_by_the_owner {
                let made = child.clone();
                let (one, other) = spawn(move || (pool_on(&made), pool_on(&made))).join().unwrap();
                drop((pool, one));
                pool = other;
            }
            let other = spawn(move || {
                // Waits in the mail that the owner reads at its end. A handle comes and goes then.
                drop(child);
                drop(pool.account().unwrap().clone());
                pool
            });
            crate::thread::ends();
            let pool = other.join().unwrap();
            assert_eq!(closed(&root), 0, "there is a pool on it");
            drop(pool);
            assert_eq!(closed(&root), 1);
        });
    }
}

#[test]
fn an_account_under_one_of_the_same_thread_may_close_while_that_thread_ends() {
    check(|| {
        let root = Account::root("root");
        let worker = root.child("worker");
        let leaf = worker.child("leaf");
        let handle = leaf.clone();
        let owner = spawn(move || {
            drop(pool_on(&worker));
            let pool = pool_on(&leaf);
            let block = take(&pool, 64).unwrap();
            drop((worker, leaf));
            give(&pool, block);
        });
        drop(handle);
        owner.join().unwrap();
        assert_eq!((closed(&root), root.held()), (1, 0));
    });
}

#[test]
fn a_pool_and_the_last_handle_may_go_at_once_on_threads_that_are_not_the_owner() {
    check(|| {
        let root = Account::root("root");
        let child = root.child("child");
        let pool = pool_on(&child);
        let dropper = spawn(move || drop(pool));
        let other = spawn(move || drop(child));
        dropper.join().unwrap();
        other.join().unwrap();
        Account::settle();
        assert_eq!(closed(&root), 1);
    });
}

#[test]
fn a_handle_made_through_a_pool_while_the_last_one_goes_keeps_the_account() {
    check(|| {
        let root = Account::root("root");
        let child = root.child("child");
        let pool = pool_on(&child);
        let maker = spawn(move || {
            let again = pool.account().unwrap().clone();
            drop(pool);
            assert_eq!(again.name(), "child");
            drop(again);
        });
        drop(child);
        maker.join().unwrap();
        Account::settle();
        assert_eq!(closed(&root), 1);
    });
}

#[test]
fn of_two_threads_that_make_the_first_pools_one_becomes_the_owner() {
    check(|| {
        let root = Account::root("root");
        let child = root.child("child");
        let threads = [(); 2].map(|()| {
            let child = child.clone();
            spawn(move || drop(pool_on(&child)))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((child.live(), child.created()), (0, 2));
        drop(child);
        assert_eq!(closed(&root), 1);
    });
}

#[test]
fn an_account_may_close_while_others_read_the_tree() {
    check(|| {
        let root = Account::root("root");
        let child = root.child("child");
        let dropper = spawn(move || {
            drop(pool_on(&child));
            drop(child);
        });
        let mut seen = 0;
        root.walk(|depth, at| seen += usize::from(depth == 1 && matches!(at, Seen::Account(_))));
        assert!(seen <= 1, "{seen}");
        dropper.join().unwrap();
        Account::settle();
        assert_eq!(closed(&root), 1);
    });
}

#[test]
fn what_a_reader_sees_held_is_never_more_than_what_was_charged() {
    check(|| {
        let root = Account::root("root").with_limit(Some(64 << 20));
        let charged = root.clone();
        let charger = spawn(move || {
            let pool = pool_on(&charged);
            let block = take(&pool, 4096).unwrap();
            give(&pool, block);
        });
        let held = root.held();
        assert!(held <= 4096 + (64 << 10), "{held}");
        charger.join().unwrap();
        assert_eq!(root.held(), 0);
    });
}

#[test]
fn a_reserve_is_paid_with_or_called_in_and_never_both() {
    const LIMIT: usize = 1 << 20;
    const QUANTUM: usize = LIMIT / 64;
    check(|| {
        let root = Account::root("root").with_limit(Some(LIMIT));
        let idle = root.clone();
        let ready = std::sync::Arc::new(loom::sync::Notify::new());
        let told = ready.clone();
        let payer = spawn(move || {
            let pool = pool_on(&idle);
            let first = take(&pool, 64).unwrap();
            told.notify();
            // By plain stores, or not at all.
            let second = take(&pool, QUANTUM / 2);
            (pool, first, second)
        });
        ready.wait();
        // Even if it was woken for nothing. Its reserve is needed, or else there would be room.
        let pool = pool_on(&root);
        let most = take(&pool, LIMIT - 64 - QUANTUM / 4);
        let (other, first, second) = payer.join().unwrap();
        // One of them was first, and none was refused by the other's leavings.
        assert_eq!(usize::from(most.is_some()) + usize::from(second.is_some()), 1);
        let held = match &most {
            Some(_) => LIMIT - QUANTUM / 4,
            None => 64 + QUANTUM / 2,
        };
        assert_eq!(root.held(), held);
        assert!(root.peak() <= LIMIT);
        give(&other, first);
        for (pool, block) in [(&pool, most), (&other, second)] {
            if let Some(block) = block {
                give(pool, block);
            }
        }
        assert_eq!(root.held(), 0);
    });
}

#[test]
fn two_who_call_reserves_in_and_one_who_frees_into_its_own_come_to_the_sum() {
    const LIMIT: usize = 1 << 20;
    check_to(2, || {
        let root = Account::root("root").with_limit(Some(LIMIT));
        let idle = root.clone();
        let ready = std::sync::Arc::new(loom::sync::Notify::new());
        let told = ready.clone();
        let freer = spawn(move || {
            let pool = pool_on(&idle);
            let block = take(&pool, 4096).unwrap();
            told.notify();
            give(&pool, block);
            let again = take(&pool, 64);
            (pool, again)
        });
        ready.wait();
        let pool = pool_on(&root);
        let most = take(&pool, LIMIT - 4096);
        assert!(most.is_some(), "nobody has more than the rest");
        let (other, again) = freer.join().unwrap();
        assert!(again.is_some());
        assert_eq!(root.held(), LIMIT - 4096 + 64);
        // To the byte.
        let rest = take(&pool, 4096 - 64);
        assert!(rest.is_some());
        assert_eq!(root.held(), LIMIT);
        for block in [most, rest].into_iter().flatten() {
            give(&pool, block);
        }
        if let Some(block) = again {
            give(&other, block);
        }
        assert_eq!(root.held(), 0);
    });
}

#[test]
fn of_two_charges_of_a_shared_account_the_one_that_is_refused_above_makes_no_other_fail() {
    check(|| {
        let root = Account::root("root").with_limit(Some(5000));
        let shared = root.shared_child("shared").with_limit(Some(6000));
        let same = shared.clone();
        let refused = spawn(move || {
            let pool = pool_on(&same);
            assert!(take(&pool, 5500).is_none());
        });
        let pool = pool_on(&shared);
        let block = take(&pool, 1000).expect("there is room");
        refused.join().unwrap();
        assert_eq!((shared.peak(), root.peak()), (1000, 1000));
        give(&pool, block);
        assert_eq!((shared.held(), root.held()), (0, 0));
    });
}

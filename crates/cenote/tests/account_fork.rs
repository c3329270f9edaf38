//! Proves that in the child of a fork charging and making pools wait for nothing that another
//! thread had at the fork.
#![cfg(unix)]

mod common;

use cenote::{Account, ChunkPool, CountedPool, Pool, SharedPool};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(child: i32, status: *mut i32, options: i32) -> i32;
    safe fn alarm(seconds: u32) -> u32;
    safe fn _exit(status: i32) -> !;
}

/// Forks, has the child do something, and tells whether it did so in time.
fn in_a_child(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child uses nothing but pools on accounts that were there, and the allocator, which
    // is made for that, and leaves by `_exit`.
    let child = unsafe { fork() };
    if child == 0 {
        alarm(20);
        _exit(i32::from(!f()));
    }
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    unsafe { waitpid(child, &raw mut status, 0) };
    status == 0
}

/// A pool of each kind, on this account.
fn use_pools(account: &Account) -> bool {
    let (pool, counted, chunks) =
        (Pool::on(account), CountedPool::on(account), ChunkPool::on(account));
    let shared = SharedPool::try_on(account);
    pool.try_alloc_zeroed_bytes(100_000).is_ok()
        && counted.try_alloc([1_u64; 20]).is_ok()
        && chunks.try_alloc_layout(std::alloc::Layout::new::<[u64; 9]>()).is_ok()
        && shared.is_ok_and(|shared| shared.try_alloc([1_u64; 20]).is_ok())
}

/// Forks while other threads charge, are refused, settle and read.
fn forks(children: usize, prepare: impl Fn(&Account) + Sync) {
    let process = Account::root("process").with_limit(Some(64 << 20));
    let worker = process.child("worker");
    let done = AtomicBool::new(false);
    let hung = thread::scope(|scope| {
        for number in 0..4 {
            let (process, done) = (&process, &done);
            scope.spawn(move || {
                let shared = process.shared_child("load").with_limit(Some(1 << 20));
                while !done.load(SeqCst) {
                    if let Ok(pool) = SharedPool::try_on(process) {
                        _ = pool.try_alloc_str("x");
                    }
                    let pool = Pool::on(&shared);
                    assert!(pool.try_alloc_bytes(2 << 20).is_err());
                    if number % 2 == 0 {
                        assert!(process.snapshot().held_bytes < 64 << 20);
                    }
                    Account::settle();
                }
            });
        }
        // Each from a thread that never charged, as a server's main thread that forks.
        let child = || {
            let forks = || {
                prepare(&process);
                in_a_child(|| use_pools(&worker) && use_pools(&process))
            };
            thread::scope(|scope| scope.spawn(forks).join().unwrap())
        };
        let hung = (0..children).filter(|_| !child()).count();
        done.store(true, SeqCst);
        hung
    });
    assert_eq!(hung, 0, "of {children} children");
}

#[test]
fn a_child_whose_thread_never_charged_makes_pools_and_charges() {
    forks(200, |_| ());
}

#[test]
fn a_child_whose_thread_has_a_reserve_of_an_account_that_others_read_charges_another() {
    forks(200, |process| {
        Pool::on(&process.shared_child("elsewhere")).alloc_str("leaves a reserve");
    });
}

#[test]
fn a_child_may_have_what_threads_that_it_has_not_kept_in_reserve() {
    common::plain();
    let process = Account::root("process").with_limit(Some(4 << 20));
    let (served, go_on) = (std::sync::Barrier::new(17), std::sync::Barrier::new(17));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                Pool::on(&process).alloc_str("leaves a reserve");
                served.wait();
                go_on.wait();
            });
        }
        served.wait();
        let all = std::alloc::Layout::from_size_align(4 << 20, 16).unwrap();
        let whole = in_a_child(|| {
            let pool = Pool::builder().account(&process).source(cenote::System).build();
            pool.is_ok_and(|pool| pool.try_alloc_layout(all).is_ok() && process.held() == 4 << 20)
        });
        go_on.wait();
        assert!(whole, "all of it is nobody's");
    });
}

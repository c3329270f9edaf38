//! Proves that at steady state pools make no call to the system allocator: not for a request's
//! whole life on an account four levels deep, not for a reset, a child or a large table; and
//! that accounts give back all that they took.
//!
//! A program of its own, since it replaces the global allocator by one that counts.

mod common;

use allocator_api2::vec::Vec as PoolVec;
use cenote::{Account, Blocks, Pool};
use hashbrown::{DefaultHashBuilder, HashMap};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicIsize, AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

struct Counting;

thread_local!(static CALLS: Cell<u64> = const { Cell::new(0) });
static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.fetch_add(layout.size() as isize, SeqCst);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        BYTES.fetch_sub(layout.size() as isize, SeqCst);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time: they look at the bytes of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many calls to the system allocator `f` makes on this thread.
fn calls(f: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    f();
    CALLS.get() - before
}

fn four_deep() -> Account {
    Account::root("process")
        .with_limit(Some(1 << 30))
        .child("worker")
        .child("connection")
        .child("request")
        .with_limit(Some(1 << 20))
}

static CLEANED: AtomicU32 = AtomicU32::new(0);

fn fill(pool: &Pool) {
    for number in 0..10_u64 {
        black_box(pool.alloc(number));
        black_box(pool.alloc_str("a header's value, of some length"));
        black_box(pool.alloc_slice_fill_with(8, |i| i as u32));
        black_box(pool.alloc_fmt(format_args!("{number:>20}/{}", number * 3)));
    }
    let mut list = PoolVec::new_in(pool);
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), pool);
    for number in 0..60_u64 {
        list.push(number);
        map.insert(number, list.len());
    }
    assert_eq!((list.len(), map.len()), (60, 60));
    pool.defer(|| {
        CLEANED.fetch_add(1, SeqCst);
    });
}

#[test]
fn the_counter_counts() {
    let _alone = alone();
    assert_eq!(calls(|| drop(black_box(Box::new(1)))), 2);
}

#[test]
fn a_thousand_requests_after_warm_up_make_no_call_to_the_system_allocator() {
    common::plain();
    let _alone = alone();
    let request = four_deep();
    let life = || {
        let pool = Pool::on(&request);
        fill(&pool);
    };
    (0..10).for_each(|_| life());
    let cleaned = CLEANED.load(SeqCst);
    assert_eq!(calls(|| (0..1000).for_each(|_| life())), 0);
    assert_eq!(CLEANED.load(SeqCst) - cleaned, 1000);
    assert_eq!((request.created(), request.live(), request.held()), (1010, 0, 0));
}

#[test]
fn what_accounts_remember_of_one_kind_below_them_takes_no_memory_of_its_own() {
    common::plain();
    let _alone = alone();
    let worker = Account::root("worker");
    let mut connections = Vec::with_capacity(1000);
    // But for runs of blocks, or one block for each where there are no runs.
    let blocks = if cfg!(cenote_asan) { 1000 } else { 10 };
    let made = calls(|| {
        for _ in 0..1000 {
            let connection = worker.child("connection");
            for _ in 0..3 {
                drop(Pool::on(&connection.child("request")));
            }
            connections.push(connection);
        }
    });
    assert!(made < blocks + 30, "{made}");
    assert!(connections.iter().all(|connection| connection.snapshot().closed[0].created == 3));
    connections.clear();
    assert_eq!(worker.snapshot().closed[0].closed[0].created, 3000);
}

#[test]
fn a_thousand_resets_after_warm_up_make_none_either() {
    common::plain();
    let _alone = alone();
    let request = four_deep();
    let mut pool = Pool::on(&request);
    let mut life = || {
        fill(&pool);
        pool.reset();
    };
    (0..10).for_each(|_| life());
    assert_eq!(calls(|| (0..1000).for_each(|_| life())), 0);
}

#[test]
fn children_and_large_objects_that_the_cache_has_make_none() {
    common::plain();
    let _alone = alone();
    let request = four_deep();
    let parent = Pool::on(&request);
    let life = || {
        let child = parent.child();
        child.alloc_bytes(30_000);
        child.alloc_zeroed_bytes(60_000);
        fill_child(&child);
    };
    (0..10).for_each(|_| life());
    assert_eq!(calls(|| (0..1000).for_each(|_| life())), 0);
}

fn fill_child(child: &Pool<&Blocks>) {
    for number in 0..200_u64 {
        black_box(child.alloc([number; 10]));
    }
}

#[test]
fn making_and_dropping_a_pool_that_stays_empty_makes_none_from_the_start() {
    let _alone = alone();
    assert_eq!(calls(|| drop(black_box(Pool::new()))), 0);
}

#[test]
fn a_refusal_makes_none() {
    let _alone = alone();
    let request = four_deep();
    let pool = Pool::on(&request);
    pool.alloc(1);
    assert!(pool.try_alloc_bytes(2 << 20).is_err());
    let refuse = || assert!(pool.try_alloc_bytes(black_box(2 << 20)).is_err());
    assert_eq!(calls(|| (0..1000).for_each(|_| refuse())), 0);
}

#[test]
fn threads_pools_and_accounts_that_are_gone_leave_no_byte_behind() {
    let _alone = alone();
    let round = || {
        let root = Account::root("root");
        let shared = root.shared_child("shared");
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let (root, shared) = (root.clone(), shared.clone());
                thread::spawn(move || {
                    let mine = root.child(format!("thread {number}"));
                    let mut sent = Vec::new();
                    for request in 0..100 {
                        let account = mine.child("request");
                        let pool = Pool::on(if request % 3 == 0 { &shared } else { &account });
                        pool.alloc_bytes(30_000);
                        if request % 5 == 0 {
                            sent.push((pool, account));
                        }
                    }
                    sent
                })
            })
            .collect();
        let sent: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        // The owners of these are gone, and so are all handles but theirs.
        drop((root, shared));
        for (number, (pool, account)) in sent.into_iter().enumerate() {
            if number % 2 == 0 {
                drop(account);
                drop(pool);
            } else {
                drop(pool);
                drop(account);
            }
        }
        Account::settle();
        Blocks::trim();
    };
    round();
    let before = BYTES.load(SeqCst);
    (0..20).for_each(|_| round());
    let gained = BYTES.load(SeqCst) - before;
    // The test harness may print; twenty lost accounts would be six thousand bytes.
    assert!(gained < 2048, "{gained} bytes are still out");
}

//! Proves that who looks at a shared pool without keeping it sees what is there, on any thread
//! and while others allocate; that it neither keeps the pool nor makes its end wait; and that the
//! pool's memory stays in place until the look is over.

mod common;

use allocator_api2::vec::Vec as PoolVec;
use cenote::{Account, Pool, SharedPool, WeakSharedPool};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;

fn seen() -> (Account, SharedPool) {
    let account = Account::root("seen");
    let pool = SharedPool::try_on(&account).unwrap();
    (account, pool)
}

#[test]
fn a_look_tells_what_the_pool_tells() {
    common::unwatched();
    let account = Account::root("seen");
    let builder = SharedPool::builder().name("asked for").first_block(1024).shared().unwrap();
    let pool = builder.try_build_on(&account).unwrap();
    let line = line!() - 1;
    let weak = pool.downgrade();
    for number in 0..200_u64 {
        pool.alloc(number);
    }
    pool.alloc_str("packed at the other end");
    let large = pool.alloc_layout(std::alloc::Layout::new::<[u8; 100_000]>());
    pool.alloc_bytes(50_000);
    pool.defer(|| {});
    weak.look(|look| {
        assert_eq!((look.name(), look.figures().handles), ("asked for", 1));
        assert_eq!((look.created_at().file(), look.created_at().line()), (file!(), line));
        assert_eq!(look.account(), Some(&account));
        assert_eq!(
            {
                let figures = look.figures();
                (figures.held_bytes, figures.used_bytes)
            },
            (pool.held_bytes(), pool.used_bytes())
        );
        assert_eq!(look.figures().held_bytes, account.held());
        let (snapshot, own) = (look.snapshot(), pool.snapshot());
        assert_eq!(snapshot.to_string(), own.to_string());
        assert_eq!(
            (look.figures().blocks, look.figures().large, look.figures().cleanups),
            (snapshot.blocks.len(), 2, 1)
        );
        assert!(snapshot.large[0] >= 100_000 && snapshot.large[1] >= 50_000);
        let told: usize = snapshot.blocks.iter().map(|block| block.size).sum::<usize>()
            + snapshot.large.iter().sum::<usize>()
            + snapshot.large_table_bytes;
        assert_eq!(told, look.figures().held_bytes);
    })
    .unwrap();
    // SAFETY: from this pool with this layout, and not used any more.
    unsafe { pool.dealloc(large, std::alloc::Layout::new::<[u8; 100_000]>()) };
    assert_eq!(weak.look(|look| look.figures().large), Some(1));
    assert_eq!(weak.look(|look| look.figures().held_bytes), Some(account.held()));
}

#[test]
fn a_thousand_large_objects_are_all_told() {
    common::unwatched();
    let (_account, pool) = seen();
    for number in 0..1000 {
        pool.alloc_bytes(20_000 + number);
    }
    let snapshot = pool.downgrade().look(|look| look.snapshot()).unwrap();
    assert_eq!(snapshot.large.len(), pool.downgrade().look(|look| look.figures().large).unwrap());
    let blocks: usize = snapshot.blocks.iter().map(|block| block.size).sum();
    let large: usize = snapshot.large.iter().sum();
    assert_eq!(blocks + large + snapshot.large_table_bytes, pool.held_bytes());
}

#[test]
fn a_way_to_look_keeps_nothing() {
    let (account, pool) = seen();
    let weak = pool.downgrade();
    pool.alloc_bytes(100_000);
    drop(pool);
    assert!(weak.is_gone() && weak.upgrade().is_none());
    assert_eq!(weak.look(|_| ()), None);
    assert_eq!((account.held(), account.live()), (0, 0));
    // Nor does a copy of it, and it is no handle.
    let (account, pool) = seen();
    let ways = [pool.downgrade(), pool.downgrade().clone()];
    assert_eq!(pool.handles(), 1);
    drop(pool);
    assert_eq!((account.held(), account.live()), (0, 0));
    assert!(ways.iter().all(WeakSharedPool::is_gone));
}

#[test]
fn a_handle_can_be_had_again_while_there_is_one() {
    let (account, pool) = seen();
    let weak = pool.downgrade();
    let mut list = PoolVec::new_in(weak.upgrade().unwrap());
    list.push(7);
    drop(pool);
    assert_eq!((list[0], weak.look(|look| look.figures().handles)), (7, Some(1)));
    drop(list);
    assert!(weak.upgrade().is_none());
    assert_eq!(account.held(), 0);
}

#[test]
fn a_pool_that_ends_under_a_look_has_run_its_cleanups_and_goes_back_after_it() {
    common::unwatched();
    let (account, pool) = seen();
    pool.alloc_bytes(100_000);
    let cleaned = Arc::new(AtomicBool::new(false));
    let (done, held) = (cleaned.clone(), pool.held_bytes());
    pool.defer(move || done.store(true, SeqCst));
    let weak = pool.downgrade();
    let (go, wait) = mpsc::channel::<SharedPool>();
    let ended = thread::spawn(move || drop(wait.recv().unwrap()));
    let after = weak
        .look(|look| {
            assert_eq!(look.figures().held_bytes, held);
            go.send(pool).unwrap();
            // The thread does not wait for this look.
            ended.join().unwrap();
            assert!(cleaned.load(SeqCst));
            // Nothing new can be begun, but this one goes on.
            assert!(weak.is_gone() && weak.look(|_| ()).is_none() && weak.upgrade().is_none());
            assert_eq!(
                (look.figures().large, look.figures().cleanups, look.figures().handles),
                (0, 0, 0)
            );
            assert_eq!(look.snapshot().blocks.len(), look.figures().blocks);
            account.held()
        })
        .unwrap();
    assert!(after > 0 && after < held);
    assert_eq!((account.held(), account.live()), (0, 0));
}

#[test]
fn a_look_that_panics_is_over() {
    let (account, pool) = seen();
    let weak = pool.downgrade();
    let end = AssertUnwindSafe(|| {
        weak.look(|_| {
            drop(pool);
            panic!("while looking")
        })
    });
    assert!(catch_unwind(end).is_err());
    assert_eq!((account.held(), account.live()), (0, 0));
}

#[test]
fn a_cleanup_may_look_at_its_own_pool() {
    common::unwatched();
    let (account, pool) = seen();
    let weak = pool.downgrade();
    let (tell, told) = mpsc::channel();
    pool.defer(move || {
        let seen = weak.look(|look| (look.figures().handles, look.snapshot().held_bytes));
        // A handle that must not be would end the pool a second time.
        let handle = weak.upgrade().map(std::mem::forget);
        tell.send((seen, handle.is_none())).unwrap();
    });
    pool.alloc_bytes(100_000);
    drop(pool);
    let (seen, ended) = told.recv().unwrap();
    assert!(seen.is_some_and(|(handles, held)| handles == 0 && held >= 4096) && ended);
    assert_eq!(account.held(), 0);
}

#[test]
fn many_look_while_pools_come_grow_and_go() {
    const POOLS: usize = 300;
    let account = Account::root("busy");
    let ways = Arc::new(std::sync::Mutex::new(Vec::<WeakSharedPool>::new()));
    let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let lookers: Vec<_> = (0..2)
        .map(|_| {
            let (ways, stop, looks) = (ways.clone(), stop.clone(), looks.clone());
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let some: Vec<_> = ways.lock().unwrap().clone();
                    for weak in some {
                        let seen = weak.look(|look| {
                            let snapshot = look.snapshot();
                            for block in &snapshot.blocks {
                                let parts = block.header + block.used + block.packed + block.free;
                                assert_eq!(parts, block.size);
                            }
                            let figures = look.figures();
                            assert!(figures.used_bytes <= figures.held_bytes);
                            snapshot.blocks.len()
                        });
                        looks.fetch_add(usize::from(seen.is_some()), SeqCst);
                    }
                }
            })
        })
        .collect();
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (account, ways) = (account.clone(), ways.clone());
            thread::spawn(move || {
                for round in 0..POOLS {
                    let pool = SharedPool::try_on(&account).unwrap();
                    let mine = {
                        let mut ways = ways.lock().unwrap();
                        ways.retain(|weak| !weak.is_gone());
                        ways.push(pool.downgrade());
                        pool.clone()
                    };
                    let other = thread::spawn(move || {
                        let list: Vec<_> = (0..round).map(|n| mine.alloc([n; 9])).collect();
                        assert!(list.iter().enumerate().all(|(n, value)| value[8] == n));
                    });
                    let mut large = PoolVec::new_in(pool.clone());
                    for number in 0..20_000_u32 {
                        large.push(number);
                    }
                    pool.own(vec![round; 10]);
                    drop((large, pool));
                    other.join().unwrap();
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    stop.store(true, SeqCst);
    lookers.into_iter().for_each(|looker| looker.join().unwrap());
    assert!(looks.load(SeqCst) > 0);
    assert_eq!((account.held(), account.live()), (0, 0));
}

#[test]
fn a_look_ends_a_pool_whose_source_is_another_pool() {
    common::unwatched();
    // A source that is borrowed, and not `'static`.
    let below = cenote::Locked::new(Pool::new());
    {
        let builder = Pool::builder().source(&below).shared().unwrap();
        let pool = builder.try_build().unwrap();
        let weak = pool.downgrade();
        thread::scope(|scope| {
            let looked = weak.look(|look| {
                scope.spawn(move || drop(pool)).join().unwrap();
                look.figures().held_bytes
            });
            assert_eq!(looked, Some(4096));
        });
        assert!(weak.is_gone());
    }
}

//! A `Buddy` under pools: limits, faults, nesting, threads, and what it looks like then.

mod common;

use cenote::{Account, BlockSource, Buddy, Faulty, Locked, Pool};
use std::alloc::Layout;

#[test]
fn pools_share_a_region_and_leave_it_whole() {
    common::at_once();
    let buddy = Buddy::builder().page(256).heap(1 << 20).unwrap();
    let fresh = buddy.snapshot();
    for round in 0..50_usize {
        let mut pools: Vec<_> = (0..8)
            .map(|_| Pool::builder().first_block(256).source(&buddy).build().unwrap())
            .collect();
        for (index, pool) in pools.iter_mut().enumerate() {
            let numbers = pool.alloc_slice_fill_with(100 * index + round, |i| i as u64 ^ 7);
            assert!(numbers.iter().enumerate().all(|(i, &n)| n == i as u64 ^ 7));
            let large = pool.try_alloc_zeroed_bytes(20_000 + round).unwrap();
            assert!(large.iter().all(|&byte| byte == 0));
            large.fill(0xff);
            if index % 3 == 0 {
                pool.reset();
            }
        }
        let held: usize = pools.iter().map(Pool::held_bytes).sum();
        assert!(buddy.used_bytes() >= held, "{} used, {held} held", buddy.used_bytes());
    }
    assert_eq!(buddy.snapshot(), fresh);
}

#[test]
fn a_full_region_is_an_error_and_a_limit_too() {
    common::at_once();
    common::plain();
    let buddy = Buddy::heap(64 << 10).unwrap();
    let account = Account::root("limited").with_limit(Some(24 << 10));
    let pool = Pool::builder().account(&account).source(&buddy).build().unwrap();
    let mut bytes = 0;
    let error = loop {
        match pool.try_alloc_zeroed_bytes(1000) {
            Ok(_) => bytes += 1000,
            Err(error) => break error,
        }
    };
    assert_eq!(error.account(), Some(&account));
    assert!(bytes > 16_000 && account.held() <= 24 << 10);
    assert_eq!(account.held(), buddy.used_bytes());

    let other = Pool::builder().source(&buddy).build().unwrap();
    let error = loop {
        match other.try_alloc_zeroed_bytes(1000) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.account().is_none());
    assert_eq!(buddy.free_bytes(), 0, "filled to the last page");
    drop(pool);
    assert!(other.try_alloc_zeroed_bytes(1000).is_ok());
    drop(other);
    assert_eq!((account.held(), buddy.largest_free()), (0, 64 << 10));
}

#[test]
fn every_fault_on_the_way_is_survived() {
    common::at_once();
    let buddy = Buddy::heap(1 << 20).unwrap();
    let source = Faulty::new(&buddy);
    for forever in [false, true] {
        for calls in 0.. {
            source.fail_after(calls, forever);
            let before = source.faults();
            {
                let pool = Pool::builder().source(&source).build().unwrap();
                for size in [10, 5000, 100, 40_000, 3000, 70_000] {
                    if let Ok(bytes) = pool.try_alloc_zeroed_bytes(size) {
                        bytes.fill(1);
                    }
                }
            }
            source.recover();
            assert_eq!(buddy.largest_free(), 1 << 20);
            if source.faults() == before {
                break;
            }
        }
    }
}

#[test]
fn a_region_in_a_region_in_a_pool() {
    common::at_once();
    let pages = Buddy::heap(4 << 20).unwrap();
    {
        let pool = Pool::builder().source(&pages).build().unwrap();
        let cells = Buddy::builder().page(64).source(&pool).heap(100_000).unwrap();
        let layout = Layout::from_size_align(64, 64).unwrap();
        let blocks: Vec<_> = std::iter::from_fn(|| cells.acquire(layout).ok()).collect();
        assert!(blocks.len() * 64 == cells.bytes() && cells.bytes() >= 100_000 - 64);
        for block in blocks {
            // SAFETY: the block is ours.
            unsafe { block.write_bytes(9, 64) };
            // SAFETY: acquired with this layout, and released once.
            unsafe { cells.release(block, layout) };
        }
    }
    assert_eq!(pages.largest_free(), 4 << 20);
}

#[test]
fn a_locked_region_serves_pools_on_many_threads() {
    common::at_once();
    let pages = Locked::new(Buddy::heap(8 << 20).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let pages = &pages;
            scope.spawn(move || {
                for round in 0..200 {
                    let pool = Pool::builder().source(pages).build().unwrap();
                    let mine = pool.alloc_slice_fill_with(2000, |i| i as u64 * thread + round);
                    std::thread::yield_now();
                    assert!((0..).zip(mine).all(|(i, n)| *n == i * thread + round));
                }
            });
        }
    });
    assert_eq!(pages.with(|buddy| (buddy.used_bytes(), buddy.largest_free())), (0, 8 << 20));
}

#[test]
fn a_picture_shows_every_order_where_its_blocks_lie() {
    common::at_once();
    let buddy = Buddy::builder().name("pages").heap(11 << 12).unwrap();
    let take = |pages: usize| {
        let layout = Layout::from_size_align(pages << 12, 1).unwrap();
        buddy.acquire(layout).unwrap()
    };
    let (one, four, two) = (take(1), take(4), take(2));
    let expected = "\
pages: 44 KiB in pages of 4096 B, 28 KiB used, 16 KiB free, largest free 16 KiB
  order     block   free   used
      3    32 KiB      0      0  |                                                       |
      2    16 KiB      1      1  |[##################][..................]               |
      1    8192 B      0      1  |                                        [########]     |
      0    4096 B      0      1  |                                                  [###]|
";
    assert_eq!(buddy.snapshot().to_string(), expected);
    for block in [one, four, two] {
        // SAFETY: acquired above, and freed once.
        unsafe { buddy.free(block) }.unwrap();
    }
    let rows: Vec<_> = buddy.snapshot().orders.iter().map(|o| (o.order, o.free, o.used)).collect();
    assert_eq!(rows, [(0, 1, 0), (1, 1, 0), (2, 0, 0), (3, 1, 0)]);
}

#[test]
fn a_picture_of_many_pages_joins_neighbours() {
    common::at_once();
    let buddy = Buddy::builder().page(64).heap(64 * 256).unwrap();
    let layout = Layout::from_size_align(64, 1).unwrap();
    let blocks: Vec<_> = std::iter::from_fn(|| buddy.acquire(layout).ok()).collect();
    assert_eq!(buddy.snapshot().bar(0, 64), "#".repeat(64));
    for block in blocks.into_iter().filter(|block| block.addr().get() / 64 % 2 == 0) {
        // SAFETY: acquired above, and freed once.
        unsafe { buddy.free(block) }.unwrap();
    }
    assert_eq!(buddy.snapshot().bar(0, 64), "+".repeat(64));
    assert_eq!(buddy.snapshot().bar(99, 64), "");
    for width in 0..300 {
        assert!(buddy.snapshot().bar(0, width).len() <= width.max(1));
    }
}

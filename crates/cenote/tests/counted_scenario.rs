//! The scenario that a counted pool is known by, from beginning to end: what its monitor must
//! show after each step.

mod common;

use cenote::inspect::CountedSnapshot;
use cenote::{Account, CountedPool};
use std::alloc::Layout;
use std::ptr::NonNull;

const PAGE: usize = 4096;

fn small(size: usize) -> Layout {
    Layout::from_size_align(size, 32).unwrap()
}

/// What holds for the monitor at every moment.
fn monitor(title: &str, pool: &CountedPool) -> CountedSnapshot {
    let snapshot = pool.snapshot();
    println!("-- {title}\n{snapshot}");
    for block in &snapshot.blocks {
        assert_eq!(block.size, PAGE);
        assert_eq!(block.header + block.used + block.packed + block.free, PAGE, "{title}");
        if block.references == 0 {
            assert_eq!((block.used, block.packed, block.failures), (0, 0, 0), "{title}");
        }
    }
    let current = snapshot.blocks.iter().filter(|block| block.current).count();
    assert_eq!(current, usize::from(!snapshot.blocks.is_empty()), "{title}");
    let blocks = snapshot.blocks.len() * PAGE;
    let large: usize = snapshot.large.iter().sum();
    assert_eq!(snapshot.held_bytes, blocks + large + snapshot.bookkeeping_bytes, "{title}");
    snapshot
}

fn free_all(pool: &CountedPool, objects: Vec<NonNull<u8>>) {
    for object in objects {
        // SAFETY: an object of this pool that nothing refers to.
        unsafe { pool.free(object) }.unwrap();
    }
}

#[test]
fn the_scenario_plays_as_it_is_told() {
    common::plain();
    let account = Account::root("scenario");
    let mut pool = CountedPool::builder().page(PAGE).account(&account).build().unwrap();
    assert_eq!(monitor("create", &pool).held_bytes, 0);

    let objects: Vec<_> = (0..30).map(|_| pool.alloc_layout(small(512))).collect();
    let after = monitor("512 bytes, 30 times", &pool);
    // Seven to a page: 4096 less a header of 48, rounded up to 32, is seven times 512 and more.
    assert_eq!(after.blocks.len(), 5);
    assert_eq!(after.references(), 30);
    let counts: Vec<_> = after.blocks.iter().map(|block| block.references).collect();
    assert_eq!(counts, [7, 7, 7, 7, 2]);
    assert!(objects.iter().all(|object| object.addr().get().is_multiple_of(32)));

    free_all(&pool, objects);
    let after = monitor("all 30 freed", &pool);
    assert_eq!(after.blocks.len(), 5, "all are kept, for what comes next");
    for block in &after.blocks {
        assert_eq!((block.references, block.free), (0, PAGE - block.header));
    }

    let zeros: Vec<_> = (0..50).map(|_| pool.alloc_zeroed(small(32))).collect();
    for zero in &zeros {
        // SAFETY: 32 bytes, zeroed.
        assert_eq!(unsafe { zero.cast::<[u8; 32]>().read() }, [0; 32]);
    }
    let after = monitor("zeroed 32 bytes, 50 times", &pool);
    assert_eq!((after.references(), after.blocks.len()), (50, 5), "in a block that was reused");

    let threes: Vec<_> = (0..50).map(|_| pool.alloc_packed(3)).collect();
    let after = monitor("3 bytes, 50 times", &pool);
    assert_eq!((after.references(), after.blocks.len()), (100, 5));
    assert_eq!(after.blocks.iter().map(|block| block.packed).sum::<usize>(), 150);

    let large: Vec<_> = (0..10).map(|_| pool.alloc_layout(small(5120))).collect();
    let after = monitor("5120 bytes, 10 times", &pool);
    assert_eq!(after.large.len(), 10);
    assert!(after.large.iter().all(|&size| size >= 5120));
    assert_eq!(after.references(), 100, "a large object is no block's");

    free_all(&pool, large);
    let after = monitor("all large freed", &pool);
    assert_eq!((after.large.len(), after.references()), (0, 100));
    let objects: Vec<_> = zeros.into_iter().chain(threes).collect();
    assert_eq!(objects.len(), 100);

    pool.reset();
    let after = monitor("reset", &pool);
    assert_eq!((after.references(), after.used_bytes), (0, 0));
    assert_eq!(after.blocks.len(), 5);

    for _ in 0..100 {
        pool.alloc_layout(small(256));
    }
    let after = monitor("256 bytes, 100 times", &pool);
    assert_eq!(after.references(), 100);
    // 15 to a page: the sixteenth would need the header's bytes.
    assert_eq!(after.blocks.len(), 7);

    drop(pool);
    assert_eq!((account.held(), account.live()), (0, 0), "destroy gives all back");
}

#[test]
fn sizes_below_a_page_or_no_multiple_of_it_become_a_page() {
    for size in [0, 1, 80, 4095, 4096, 4097, 5000, 8191, 10_000] {
        assert_eq!(CountedPool::with_size(size).page_bytes(), PAGE, "{size}");
    }
    assert_eq!(CountedPool::with_size(2 * PAGE).page_bytes(), 2 * PAGE);
    assert_eq!(CountedPool::with_size(usize::MAX - PAGE + 1).page_bytes(), 1 << 20);
}

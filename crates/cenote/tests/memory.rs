//! Proves what becomes of a pool's memory: large objects come and go without driving growth,
//! secrets leave it as zeros, a reset keeps what is needed and forgets what was not, and
//! children and pools upon pools give back what they took.

mod common;

use cenote::{Account, AllocError, BlockSource, Faulty, Pool, System};
use common::{Counting, Ledger};
use std::alloc::Layout;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

#[test]
fn ten_bytes_a_megabyte_and_eight_kilobytes_hold_little_more_than_that() {
    let pool = Pool::new();
    pool.alloc([0_u8; 10]);
    pool.alloc_bytes(1 << 20);
    pool.alloc_bytes(8 << 10);
    assert!(pool.held_bytes() < (1 << 20) + (32 << 10), "{}", pool.held_bytes());
    // Nor do later blocks grow for it.
    pool.alloc_bytes(9 << 10);
    assert!(pool.held_bytes() < (1 << 20) + (64 << 10), "{}", pool.held_bytes());
}

#[test]
fn large_objects_freed_early_give_their_bytes_back_in_any_order() {
    common::plain();
    let ledger = Ledger::new();
    let account = Account::root("large");
    let mut pool = Pool::builder().account(&account).source(&ledger).build().unwrap();
    pool.alloc(1_u64);
    for order in 0..4 {
        let layout = |i: usize| Layout::from_size_align(20_000 + i, 1 << (i % 8)).unwrap();
        let mut objects: Vec<_> = (0..200).map(|i| (i, pool.alloc_layout(layout(i)))).collect();
        for &(i, start) in &objects {
            // SAFETY: the object has so many bytes.
            unsafe { start.write_bytes(i as u8, 20_000 + i) };
        }
        assert_eq!((account.held(), pool.held_bytes()), (ledger.bytes(), ledger.bytes()));
        match order {
            0 => {}
            1 => objects.reverse(),
            _ => objects.sort_by_key(|&(i, _)| (i * 7919 * order) % 211),
        }
        let mut before = ledger.bytes();
        for (n, &(i, start)) in objects.iter().enumerate() {
            // SAFETY: the object has so many bytes, all written.
            let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), 20_000 + i) };
            assert!(bytes.iter().all(|&byte| byte == i as u8));
            if n % 2 == 0 {
                // SAFETY: nothing refers to the object any more.
                assert!(unsafe { pool.free_large(start) });
            } else {
                // SAFETY: likewise, and that was its layout.
                unsafe { pool.dealloc(start, layout(i)) };
            }
            // And something of the table that they are found in, now and then.
            assert!(ledger.bytes() <= before - (20_000 + i));
            assert_eq!(pool.held_bytes(), ledger.bytes());
            before = ledger.bytes();
            // SAFETY: there is no such object any more.
            assert!(!unsafe { pool.free_large(start) });
        }
        assert_eq!(account.held(), ledger.bytes());
    }
    pool.reset();
    assert_eq!(ledger.bytes(), 4096);
}

#[test]
fn a_large_object_stays_findable_when_it_grows_to_a_smaller_alignment() {
    common::plain();
    let ledger = Ledger::new();
    let pool = Pool::builder().large_threshold(1024).source(&ledger).build().unwrap();
    // Fills the block, so that what follows is large: 1008 + 64 is above the threshold.
    pool.alloc([0_u64; 64]);
    while pool.snapshot().blocks[0].free > 0 {
        pool.alloc(0_u64);
    }
    let old = Layout::from_size_align(1008, 64).unwrap();
    let start = pool.alloc_layout(old);
    assert_eq!(pool.snapshot().large, [1008]);
    // SAFETY: the object is of this layout; the new one has as many bytes.
    let start = unsafe { pool.try_grow(start, old, Layout::from_size_align(1008, 8).unwrap()) };
    // SAFETY: nothing uses it any more, and this is what it was last grown to.
    unsafe { pool.dealloc(start.unwrap(), Layout::from_size_align(1008, 8).unwrap()) };
    assert_eq!(pool.snapshot().large, [0_usize; 0], "its bytes did not come back");
    assert!(pool.snapshot().blocks.iter().all(|block| block.packed <= block.size));
}

/// Looks at blocks when they are released: everything must have been zeroed.
#[derive(Default)]
struct Inspector {
    seen: Cell<usize>,
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl BlockSource for Inspector {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let block = System.acquire(layout)?;
        // SAFETY: just taken, with this size.
        unsafe { block.write_bytes(0xEE, layout.size()) };
        Ok(block)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block has so many bytes, all written, and nobody uses it.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == 0), "a secret left the pool");
        self.seen.set(self.seen.get() + layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

#[test]
fn a_pool_for_secrets_gives_back_zeros_only() {
    common::plain();
    let inspector = Inspector::default();
    let make = || {
        let builder = Pool::builder().first_block(256).largest_block(4096).zero_on_release(true);
        builder.source(&inspector).build().unwrap()
    };
    let mut pool = make();
    let secret = |pool: &Pool<&Inspector>| {
        for i in 0..300 {
            pool.alloc_str("correct horse battery staple");
            pool.alloc([i; 5]);
        }
        pool.own(vec![1, 2, 3]);
        pool.alloc_slice_copy(&[0x55_u8; 50_000]);
        let freed = NonNull::from(pool.alloc_slice_copy(&[0x77_u8; 60_000])).cast();
        // SAFETY: nothing refers to it any more.
        assert!(unsafe { pool.free_large(freed) });
        let child = pool.child();
        child.alloc_slice_copy(&[0x99_u8; 1000]);
        drop(child);
    };
    secret(&pool);
    let before = inspector.seen.get();
    assert!(before >= 60_000 + 1000);
    pool.reset();
    // What was kept is zeroed as well: a new object shows nothing of the old ones.
    let fresh = pool.alloc_layout(Layout::from_size_align(200, 8).unwrap());
    // SAFETY: 200 bytes of a block that the source had written, and the pool wiped.
    let fresh = unsafe { std::slice::from_raw_parts(fresh.as_ptr(), 200) };
    assert_eq!(fresh, [0; 200]);
    secret(&pool);
    drop(pool);
    assert!(inspector.seen.get() > 2 * before);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let pool = make();
        secret(&pool);
        panic!("with secrets in the pool");
    }));
    assert_eq!(common::message(&*outcome.unwrap_err()), "with secrets in the pool");
}

#[test]
fn zeroed_memory_is_zero_also_where_an_earlier_owner_wrote() {
    let dirty = || {
        let pool = Pool::new();
        pool.alloc_slice_copy(&[0xFF_u8; 4000]);
        pool.alloc_slice_copy(&[0xFF_u8; 30_000]);
    };
    dirty();
    let pool = Pool::new();
    assert!(pool.alloc_zeroed_bytes(2000).iter().all(|&byte| byte == 0));
    for layout in [(1500, 64), (30_000, 8), (100_000, 4096)] {
        let layout = Layout::from_size_align(layout.0, layout.1).unwrap();
        let start = pool.alloc_zeroed(layout);
        // SAFETY: zeroed memory of that size.
        let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        dirty();
    }
}

#[test]
fn a_reset_keeps_what_a_steady_load_needs_so_that_it_asks_for_no_more() {
    common::plain();
    let counting = Counting::new();
    let faulty = Faulty::new(&counting);
    for load in [100, 3000, 20_000, 60_000] {
        let mut pool = Pool::builder().source(&faulty).build().unwrap();
        let fill = |pool: &Pool<_>| {
            for _ in 0..load / 50 {
                pool.alloc([0_u8; 48]);
            }
        };
        for _ in 0..4 {
            fill(&pool);
            pool.reset();
        }
        assert_eq!(pool.used_bytes(), 0);
        assert!(pool.held_bytes() > 0, "load {load}");
        let calls = faulty.calls();
        for _ in 0..100 {
            fill(&pool);
            pool.reset();
        }
        assert_eq!(faulty.calls(), calls, "load {load}");
        assert!(pool.held_bytes() <= 4 * load + 4096, "{} for {load}", pool.held_bytes());
    }
    assert_eq!(counting.bytes(), 0);
}

#[test]
fn what_a_burst_needed_is_given_back_after_some_resets_with_little_use() {
    common::plain();
    let counting = Counting::new();
    let mut pool = Pool::builder().source(&counting).build().unwrap();
    for _ in 0..10_000 {
        pool.alloc([0_u64; 8]);
    }
    pool.reset();
    let after_burst = counting.bytes();
    assert!(after_burst > 256 << 10, "{after_burst}");
    let mut resets = 0;
    while counting.bytes() > 4096 {
        pool.alloc([0_u64; 8]);
        pool.reset();
        resets += 1;
        assert!(resets < 200, "{} bytes held still", counting.bytes());
    }
    // Not at the first quiet moment either: the next burst would pay for it.
    assert!(resets > 3, "{resets}");
}

#[test]
fn a_child_has_blocks_of_its_own_and_its_parents_sizes_and_account() {
    common::plain();
    let ledger = Ledger::new();
    let account = Account::root("family");
    let parent =
        Pool::builder().first_block(512).account(&account).source(&ledger).build().unwrap();
    let text = parent.alloc_str("stays");
    let held = account.held();
    {
        let child = parent.child();
        assert_eq!(child.account(), Some(&account));
        child.alloc(1_u64);
        assert_eq!(child.held_bytes(), 512);
        let grandchild = child.child();
        grandchild.alloc_bytes(50_000);
        assert_eq!(account.live(), 3);
        let all = parent.held_bytes() + child.held_bytes() + grandchild.held_bytes();
        assert_eq!((account.held(), ledger.bytes()), (all, all));
    }
    assert_eq!((account.held(), ledger.bytes(), account.live()), (held, held, 1));
    assert_eq!(text, "stays");
}

#[test]
fn a_pool_may_stand_on_another_pool() {
    let ledger = Ledger::new();
    let ground = Pool::builder().source(&ledger).build().unwrap();
    {
        let mut upper = Pool::builder().first_block(256).source(&ground).build().unwrap();
        for round in 0..20 {
            let numbers = upper.alloc_slice_fill_with(100 + round, |i| i);
            let large = upper.alloc_slice_fill_iter(0..10_000_u32);
            assert!(numbers.iter().copied().eq(0..100 + round));
            assert!(large.iter().copied().eq(0..10_000));
            upper.reset();
        }
        assert!(upper.held_bytes() <= ground.used_bytes());
    }
    assert_eq!(ground.held_bytes(), ledger.bytes());
    drop(ground);
    assert_eq!(ledger.blocks(), 0);
}

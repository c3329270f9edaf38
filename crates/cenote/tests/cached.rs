//! A cache over a source of one's own keeps what pools give back, and only that.
#![cfg(feature = "std")]

mod common;

use cenote::{Account, BlockSource, Blocks, Buddy, Cached, CountedPool, Faulty, Pool, System};
use std::alloc::Layout;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn pools_one_after_the_other_use_the_same_blocks() {
    common::plain();
    let source = Faulty::new(System);
    let cached = Cached::new(&source, 1 << 20);
    for _ in 0..100 {
        let pool = Pool::builder().source(&cached).build().unwrap();
        pool.alloc_zeroed_bytes(3000);
        pool.alloc_zeroed_bytes(6000);
    }
    assert_eq!(source.calls(), 2);
    assert_eq!(cached.trim(), 4096 + 8192);
    assert_eq!((cached.trim(), cached.cached_bytes()), (0, 0));
}

#[test]
fn the_cap_bounds_what_is_kept() {
    common::at_once();
    let source = Buddy::heap(1 << 20).unwrap();
    let cached = Cached::new(&source, 3 * 4096);
    let blocks: Vec<_> = (0..20).map(|_| cached.acquire(layout(4096, 16)).unwrap()).collect();
    assert_eq!(source.used_bytes(), 20 * 4096);
    for block in blocks {
        // SAFETY: acquired with this layout, released once.
        unsafe { cached.release(block, layout(4096, 16)) };
    }
    assert_eq!(source.used_bytes(), 3 * 4096);
    drop(cached);
    assert_eq!(source.used_bytes(), 0);
}

#[test]
fn what_is_kept_makes_way_when_the_source_has_no_more() {
    let source = Buddy::heap(64 << 10).unwrap();
    let cached = Cached::new(&source, 64 << 10);
    let small: Vec<_> = (0..16).map(|_| cached.acquire(layout(4096, 16)).unwrap()).collect();
    for block in small {
        // SAFETY: acquired with this layout, released once.
        unsafe { cached.release(block, layout(4096, 16)) };
    }
    assert_eq!(source.free_bytes(), 0);
    let whole = cached.acquire(layout(64 << 10, 16)).unwrap();
    assert_eq!(cached.cached_bytes(), 0);
    // SAFETY: acquired with this layout, released once.
    unsafe { cached.release(whole, layout(64 << 10, 16)) };
}

#[test]
fn a_block_is_charged_as_what_the_source_spends_on_it() {
    common::plain();
    let source = Buddy::heap(1 << 20).unwrap();
    let cached = Cached::new(&source, 1 << 20);
    for size in [1, 255, 256, 257, 4096, 5000, Blocks::LARGEST, Blocks::LARGEST + 1] {
        for align in [1, 16, 64, 4096] {
            let fit = cached.fit(layout(size, align));
            assert!(fit >= size && fit >= 4096);
            assert_eq!(cached.fit(layout(fit, align)), fit);
        }
    }
    let account = Account::root("region");
    let pool = Pool::builder().first_block(256).account(&account).source(&cached).build().unwrap();
    pool.alloc(1_u8);
    pool.alloc_zeroed_bytes(100_000);
    assert_eq!(account.held(), pool.held_bytes());
    assert_eq!(account.held(), source.used_bytes(), "not 256 bytes of a page of 4096");
    drop(pool);
    cached.trim();
    assert_eq!((account.held(), source.used_bytes()), (0, 0));
}

#[test]
fn aligned_blocks_are_kept_apart_and_stay_aligned() {
    let cached = Cached::new(System, 1 << 20);
    for _ in 0..3 {
        for align in [8, 4096, 16, 64] {
            let block = cached.acquire(layout(4096, align)).unwrap();
            assert_eq!(block.addr().get() % align, 0);
            // SAFETY: acquired with this layout, released once.
            unsafe { cached.release(block, layout(4096, align)) };
        }
    }
    let pool = CountedPool::builder().source(&cached).build().unwrap();
    let text = pool.alloc_str("its blocks are aligned to their size");
    assert!(text.starts_with("its"));
}

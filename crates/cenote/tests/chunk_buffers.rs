//! Objects somewhat larger than a page: the newest frees of them are remembered.

mod common;

use cenote::misuse::{BadFreeKind, OnBadFree};
use cenote::{Account, ChunkPool};
use std::alloc::Layout;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

#[test]
fn a_buffer_that_was_freed_is_the_next_one_of_its_size() {
    common::plain();
    let pool = ChunkPool::new();
    for size in [1_500, 2_048, 2_200, 4_096, 8_000, 16_384] {
        let buffer = pool.alloc_layout(layout(size));
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.dealloc(buffer, layout(size)) };
        assert!(pool.is_empty());
        let next = pool.alloc_layout(layout(size - 100));
        assert_eq!(next, buffer);
        // SAFETY: likewise.
        unsafe { pool.free(next) }.unwrap();
        assert!(pool.is_empty());
    }
}

#[test]
fn an_over_aligned_buffer_is_aligned_after_any_number_of_others() {
    common::plain();
    let pool = ChunkPool::new();
    for _ in 0..20 {
        let buffer = pool.alloc_layout(layout(4_000));
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.dealloc(buffer, layout(4_000)) };
        let aligned = Layout::from_size_align(4_000, 4096).unwrap();
        let page = pool.alloc_layout(aligned);
        assert!(page.addr().get().is_multiple_of(4096));
        // SAFETY: likewise.
        unsafe { pool.dealloc(page, aligned) };
    }
}

#[test]
fn no_more_than_128_kib_of_a_size_are_kept_and_none_once_settled() {
    common::plain();
    let account = Account::root("buffers");
    let pool = ChunkPool::on(&account);
    for size in [2_048, 4_096, 8_192, 16_384, 32_768] {
        let buffers: Vec<_> = (0..100).map(|_| pool.alloc_layout(layout(size))).collect();
        for buffer in buffers {
            // SAFETY: of this pool, and not used any more.
            unsafe { pool.dealloc(buffer, layout(size)) };
        }
        let table = pool.snapshot().table_bytes;
        assert_eq!(pool.held_bytes(), table, "a snapshot settles");
        let buffers: Vec<_> = (0..100).map(|_| pool.alloc_layout(layout(size))).collect();
        for buffer in buffers {
            // SAFETY: likewise.
            unsafe { pool.free(buffer) }.unwrap();
        }
        let kept = pool.held_bytes() - table;
        let most = if size <= 16_384 { 16.min(131_072 / size) * size } else { 0 };
        assert!(kept >= most && kept <= most + 4096, "{kept} bytes of {size}, not {most}");
        pool.settle();
        assert_eq!((pool.stat().blocks, pool.stat().size), (0, 0));
    }
    drop(pool);
    assert_eq!(account.held(), 0);
}

#[test]
fn what_is_only_remembered_is_not_what_memory_is_refused_for() {
    common::plain();
    let account = Account::root("tight").with_limit(Some(80 << 10));
    let pool = ChunkPool::on(&account);
    let buffers: Vec<_> = (0..4).map(|_| pool.alloc_layout(layout(8_192))).collect();
    for buffer in buffers {
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.free(buffer) }.unwrap();
    }
    assert!(account.held() >= 32 << 10);
    let all = pool.try_alloc_layout(layout(64 << 10)).unwrap();
    // SAFETY: likewise.
    unsafe { pool.free(all) }.unwrap();
    // Nor for a cluster.
    let buffers: Vec<_> = (0..4).map(|_| pool.alloc_layout(layout(8_192))).collect();
    for buffer in buffers {
        // SAFETY: likewise.
        unsafe { pool.free(buffer) }.unwrap();
    }
    pool.try_alloc_layout(layout(100)).unwrap();
}

#[test]
fn a_buffer_freed_twice_is_noticed_while_it_is_remembered_and_later() {
    common::plain();
    let pool = ChunkPool::config().on_bad_free(OnBadFree::Return).build().unwrap();
    let buffer = pool.alloc_layout(layout(5_000));
    let other = pool.alloc_layout(layout(5_000));
    // SAFETY: of this pool, and not used any more.
    unsafe { pool.dealloc(buffer, layout(5_000)) };
    for _ in 0..3 {
        // SAFETY: there is nothing any more; that is to be noticed.
        let error = unsafe { pool.free(buffer) }.unwrap_err();
        assert_eq!(error.kind(), BadFreeKind::Double);
        // SAFETY: likewise; that it is noticed here shows by what follows.
        unsafe { pool.dealloc(buffer, layout(5_000)) };
    }
    let (one, two) = (pool.alloc_layout(layout(5_000)), pool.alloc_layout(layout(5_000)));
    assert!(one != two && one != other && two != other);
    // SAFETY: of this pool, and not used any more.
    unsafe { pool.free(one) }.unwrap();
    pool.settle();
    // SAFETY: there is nothing any more; that is to be noticed.
    assert_eq!(unsafe { pool.free(one) }.unwrap_err().kind(), BadFreeKind::Foreign);
}

#[test]
fn with_no_frees_to_remember_each_goes_back_at_once() {
    common::plain();
    let account = Account::root("at once");
    let wiping = ChunkPool::config().account(&account).zero_on_release(true).build().unwrap();
    let plain = ChunkPool::config().account(&account).newest_frees(0).build().unwrap();
    for pool in [wiping, plain] {
        let buffer = pool.alloc_layout(layout(5_000));
        let held = account.held();
        // SAFETY: of this pool, and not used any more.
        unsafe { pool.dealloc(buffer, layout(5_000)) };
        assert!(account.held() + 8_192 <= held);
    }
}

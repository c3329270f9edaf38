//! Mistakes that other pools and allocators had, and that this library could have had: each
//! a test, with where it was known from.
//!
//! | mistake | where | test |
//! |---|---|---|
//! | a grown object is copied with its new size | bumpalo, RUSTSEC-2020-0006; rlsf 0.1.1 | `growing_copies_the_old_bytes_only` |
//! | an iterator outlives its arena | bumpalo, RUSTSEC-2022-0078 | `compile_fail/collection_outlives_pool.rs` |
//! | a region that is tiny, empty or no multiple of anything | linked_list_allocator, RUSTSEC-2022-0063 | `regions_of_any_small_size_at_any_address_work_or_are_refused` |
//! | results that are aligned too little | obstack, RUSTSEC-2020-0040; mimalloc, RUSTSEC-2022-0094 | `every_alignment_is_kept_in_every_way_to_memory` |
//! | an arena's header read before it was written | static-alloc, RUSTSEC-2025-0042 | `memory_full_of_rubbish_is_as_good_as_zeroes` |
//! | a panic in a user's code leads to a second drop | arenavec, RUSTSEC-2021-0040 | `panics` |
//! | objects of one arena are taken for another's | compact_arena, RUSTSEC-2019-0015 | `a_free_in_another_pool_of_the_same_kind_is_noticed` |
//! | `Send` and `Sync` without a bound | toolshed, RUSTSEC-2020-0136; syncpool; unicycle; bump-scope 2.3.3 | `pools_are_send_only_if_their_sources_are` |
//! | a frame pushed at each level of a merge | buddy_system_allocator 6a89f48 | `no_page_is_handed_out_twice_whatever_is_merged` |
//! | a merge beyond the largest order | buddy_system_allocator a51e890 | `nothing_merges_beyond_the_largest_block` |
//! | sizes of 16 MiB and more share bits with tags | talc 5.0.3 | `regions_and_gaps_of_many_megabytes_are_kept_apart` |
//! | a wrong size of chunk with an aligned base; a free of an outer object | bump-scope | `a_child_may_free_and_grow_nothing_of_its_parents_by_accident` |
//! | a fit to the last byte loses the rest of the list | wee_alloc #106, RUSTSEC-2022-0054 | `exact_fits_for_ever_need_no_more_memory` |
//! | an iterator that allocates in the arena it fills | rustc #67001 | `an_iterator_that_allocates_meanwhile_interlaces_nothing` |
//! | a sum that wraps in release builds only | bytes, RUSTSEC-2026-0007; APR CVE-2009-2412; PostgreSQL CVE-2026-6473 | `sizes` |
//! | null from an allocator becomes a `Box` | rkyv, RUSTSEC-2026-0001 | `out_of_memory` |
//! | a user's `Drop` panics before the node is unlinked | lru, RUSTSEC-2026-0253 | `panics` |
//! | a slot shows what its last owner left | wasmtime, RUSTSEC-2022-0075 | `zeroed_memory_is_zero_whatever_was_there` |
//! | handlers added while a pool is destroyed never run | nginx, njs | `cleanups_may_allocate_register_look_up_and_run_others` in `panics` |
//! | a reset leaves cleanups that point into reused memory | nginx | `a_reset_leaves_no_cleanup_behind` |
//! | the pool's own log lies in the freed block | nginx b94eb1dfe, HAProxy f9eba78fb | `a_pool_may_own_what_it_needs_to_end` |
//! | a sibling is lost when the list is cut in the middle | talloc cf986f2, d4d14b1 | `children_that_end_in_any_order_lose_no_sibling` |
//! | a double free is found, and then ignored | njs `njs_mp_free` | `a_free_in_another_pool_of_the_same_kind_is_noticed`, `chunk_misuse` |
//! | a debugging mode breaks what worked | HAProxy b5ba09ed5, APR 258fe58e7, njs 280d1129 | the whole test-suite, at each level |

mod common;

use cenote::debug::Levels;
use cenote::misuse::{BadFreeKind, OnBadFree};
use cenote::{
    Account, AllocError, BlockSource, Buddy, ChunkPool, CountedPool, Pool, RegionError, System,
};
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Gives blocks full of rubbish, at the very end of an allocation: under a checker, a byte read
/// too much is noticed.
#[derive(Default)]
struct Tight(Cell<usize>);

// SAFETY: every call goes to `System` unchanged.
unsafe impl BlockSource for Tight {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let block = System.acquire(layout)?;
        // SAFETY: just acquired with this size.
        unsafe { block.write_bytes(0xEE, layout.size()) };
        self.0.set(self.0.get() + 1);
        Ok(block)
    }
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.0.set(self.0.get() - 1);
        // SAFETY: the caller's promise.
        unsafe { System.release(block, layout) }
    }
}

#[test]
fn growing_copies_the_old_bytes_only() {
    // The old object is the last of its allocation: reading its new size would read beyond.
    let source = Tight::default();
    for (old, new) in [(1, 2), (100, 4000), (5000, 5001), (20_000, 60_000), (16, 100_000)] {
        let (old, new) = (layout(old, 8), layout(new, 8));
        let pool = Pool::builder().levels(Levels::PASSTHROUGH).source(&source).build().unwrap();
        let chunks =
            ChunkPool::config().levels(Levels::PASSTHROUGH).source(&source).build().unwrap();
        let (a, b) = (pool.alloc_zeroed(old), chunks.alloc_zeroed(old));
        // SAFETY: from this pool with this layout.
        let a = unsafe { pool.try_grow(a, old, new) }.unwrap();
        // SAFETY: from this pool with this layout.
        let b = unsafe { chunks.try_grow(b, old, new) }.unwrap();
        for object in [a, b] {
            for at in [0, old.size() - 1] {
                // SAFETY: within the object.
                assert_eq!(unsafe { object.as_ptr().wrapping_add(at).read() }, 0);
            }
            // SAFETY: within the object, written by the source.
            let last = unsafe { object.as_ptr().wrapping_add(new.size() - 1).read() };
            assert_eq!(last, 0xEE, "what is new was copied from somewhere");
        }
    }
    assert_eq!(source.0.get(), 0);
}

#[test]
fn regions_of_any_small_size_at_any_address_work_or_are_refused() {
    common::at_once();
    let mut memory = vec![MaybeUninit::<u8>::uninit(); 5000];
    let mut made = 0;
    for start in (0..80).chain([255, 256, 257, 4095]) {
        for bytes in (0..700).step_by(7).chain([0, 1, 255, 256, 257, 511, 512, 513]) {
            let region = &mut memory[start..(start + bytes).min(5000)];
            let (first, past) = (region.as_ptr().addr(), region.as_ptr().addr() + region.len());
            let Ok(buddy) = Buddy::builder().page(64).over(region) else { continue };
            made += 1;
            let mut out = Vec::new();
            while let Ok(block) = buddy.acquire(layout(64, 64)) {
                assert!(block.addr().get() >= first && block.addr().get() + 64 <= past);
                assert_eq!(block.addr().get() % 64, 0);
                // SAFETY: so many bytes are ours.
                unsafe { block.write_bytes(0xFF, 64) };
                out.push(block);
            }
            assert_eq!(out.len() * 64, buddy.bytes());
            for block in out {
                // SAFETY: acquired with this layout.
                unsafe { buddy.release(block, layout(64, 64)) };
            }
            assert_eq!(buddy.free_bytes(), buddy.bytes());
        }
    }
    assert!(made > 1000, "{made}");
    for bytes in [0, 1, 4095] {
        assert!(matches!(Buddy::heap(bytes), Err(RegionError::Config(_))), "{bytes}");
    }
}

#[test]
fn every_alignment_is_kept_in_every_way_to_memory() {
    #[derive(Clone, Copy)]
    #[repr(align(128))]
    struct Wide(#[allow(dead_code)] u8);
    let (pool, counted) = (Pool::new(), CountedPool::new());
    let is_at = |address: usize, align: usize| assert_eq!(address % align, 0);
    for _ in 0..50 {
        pool.alloc_str("odd");
        counted.alloc_packed(3);
        is_at(std::ptr::from_ref(pool.alloc(Wide(1))).addr(), 128);
        is_at(pool.alloc_slice_copy(&[Wide(1); 3]).as_ptr().addr(), 128);
        is_at(pool.alloc_slice_fill_iter((0..5).map(Wide)).as_ptr().addr(), 128);
        is_at(pool.own_wide().addr(), 128);
        is_at(std::ptr::from_ref(&*counted.alloc(Wide(1))).addr(), 128);
        is_at(counted.alloc_slice_copy(&[Wide(1); 3]).as_ptr().addr(), 128);
        let mut grown = allocator_api2::vec::Vec::new_in(&pool);
        (0..9).for_each(|n| grown.push(Wide(n)));
        is_at(grown.as_ptr().addr(), 128);
    }
    trait OwnWide {
        fn own_wide(&self) -> *const Wide;
    }
    impl OwnWide for Pool {
        fn own_wide(&self) -> *const Wide {
            self.own(Wide(1))
        }
    }
}

#[test]
fn memory_full_of_rubbish_is_as_good_as_zeroes() {
    let source = Tight::default();
    {
        let mut pool = Pool::builder().first_block(256).source(&source).build().unwrap();
        let mut chunks = ChunkPool::config().cluster_size(4096).page_size(512).min_chunk_size(16);
        chunks = chunks.classes_between(1);
        let mut chunks = chunks.source(&source).build().unwrap();
        let counted = CountedPool::builder().source(&source).build().unwrap();
        for round in 0..3 {
            for n in 0..300_usize {
                assert_eq!(*pool.alloc(n), n);
                chunks.alloc_layout(layout(n % 600, 8));
                assert_eq!(*counted.alloc(n), n);
            }
            assert_eq!(pool.snapshot().cleanups, 0);
            assert!(pool.alloc_zeroed_bytes(300).iter().all(|byte| *byte == 0), "{round}");
            pool.reset();
            chunks.reset();
        }
    }
    assert_eq!(source.0.get(), 0);
}

#[test]
fn a_free_in_another_pool_of_the_same_kind_is_noticed() {
    let counted = || CountedPool::builder().on_bad_free(OnBadFree::Return).build().unwrap();
    let chunks = || ChunkPool::config().on_bad_free(OnBadFree::Return).build().unwrap();
    let (a, b) = (counted(), counted());
    let (c, d) = (chunks(), chunks());
    for size in [1, 8, 100, 1024, 5000, 100_000] {
        let (one, two) = (a.alloc_layout(layout(size, 8)), c.alloc_layout(layout(size, 8)));
        b.alloc_layout(layout(size, 8));
        d.alloc_layout(layout(size, 8));
        // SAFETY: the mistake is to be noticed: another pool's.
        assert_eq!(unsafe { b.free(one) }.unwrap_err().kind(), BadFreeKind::Foreign);
        // SAFETY: likewise.
        assert_eq!(unsafe { d.free(two) }.unwrap_err().kind(), BadFreeKind::Foreign);
        // SAFETY: its own.
        assert!(unsafe { a.free(one) }.is_ok());
        // SAFETY: its own.
        assert!(unsafe { c.free(two) }.is_ok());
        // SAFETY: the mistake is to be noticed: it is free.
        assert!(unsafe { c.free(two) }.is_err());
    }
}

#[test]
fn pools_are_send_only_if_their_sources_are() {
    // What is not must not compile: `compile_fail` has those. What is must.
    fn is_send<T: Send>() {}
    is_send::<Pool>();
    is_send::<CountedPool>();
    is_send::<ChunkPool>();
    is_send::<Pool<System>>();
    is_send::<Pool<&'static cenote::Locked<Buddy<'static>>>>();
    is_send::<Buddy<'static>>();
}

#[test]
fn no_page_is_handed_out_twice_whatever_is_merged() {
    common::at_once();
    let buddy = Buddy::builder().page(64).heap(64 * 64).unwrap();
    let page = layout(64, 64);
    // All pages out; back in every stride, so that merges of every depth come about; out again.
    for stride in [1, 3, 5, 7, 11, 13, 31, 63] {
        let mut out: Vec<NonNull<u8>> = (0..64).map(|_| buddy.acquire(page).unwrap()).collect();
        out.sort_unstable();
        assert!(out.windows(2).all(|pair| pair[0] != pair[1]), "{stride}");
        for n in 0..64 {
            // SAFETY: acquired with this layout, and each once, since the stride is odd.
            unsafe { buddy.release(out[n * stride % 64], page) };
        }
        assert_eq!(buddy.largest_free(), 64 * 64);
    }
}

#[test]
fn nothing_merges_beyond_the_largest_block() {
    common::at_once();
    let buddy = Buddy::builder().page(64).largest_block(256).heap(1024).unwrap();
    let whole = layout(256, 256);
    let out: Vec<_> = (0..4).map(|_| buddy.acquire(whole).unwrap()).collect();
    assert!(buddy.acquire(layout(64, 64)).is_err());
    for block in out {
        // SAFETY: acquired with this layout.
        unsafe { buddy.release(block, whole) };
    }
    assert_eq!((buddy.largest_free(), buddy.free_bytes()), (256, 1024));
    assert!(buddy.acquire(layout(512, 64)).is_err());
}

#[test]
fn regions_and_gaps_of_many_megabytes_are_kept_apart() {
    common::at_once();
    let buddy = Buddy::heap(256 << 20).unwrap();
    let mut out = Vec::new();
    for megabytes in [16, 1, 32, 17, 2, 64, 15] {
        let asked = layout(megabytes << 20, 4096);
        let block = buddy.acquire(asked).unwrap();
        let fit = buddy.fit(asked);
        for &(start, size, _) in &out {
            let apart = block.addr().get() >= start + size || block.addr().get() + fit <= start;
            assert!(apart, "{megabytes} MiB");
        }
        out.push((block.addr().get(), fit, (block, asked)));
    }
    // Gaps of many megabytes between what stays.
    for (_, _, (block, asked)) in out {
        // SAFETY: acquired with this layout.
        unsafe { buddy.release(block, asked) };
    }
    assert_eq!(buddy.largest_free(), 256 << 20);
}

#[test]
fn a_child_may_free_and_grow_nothing_of_its_parents_by_accident() {
    // With a level on it is noticed, and the process ends.
    common::plain();
    let parent = Pool::builder().first_block(256).build().unwrap();
    for align in [1, 8, 16, 64, 1024] {
        let mine = parent.alloc_layout(layout(40, align));
        let before = parent.used_bytes();
        {
            let child = parent.child();
            child.alloc_layout(layout(40, align));
            // SAFETY: the parent's, by mistake: nothing may come of it.
            unsafe { child.dealloc(mine, layout(40, align)) };
            assert_eq!(parent.used_bytes(), before);
        }
        let next = parent.alloc_layout(layout(40, align));
        assert!(next.addr().get().abs_diff(mine.addr().get()) >= 40);
        assert_eq!(next.addr().get() % align, 0, "the parent's window is as aligned as before");
    }
}

#[test]
fn exact_fits_for_ever_need_no_more_memory() {
    // What is kept in quarantine is more at times.
    common::plain();
    let account = Account::root("exact");
    let (counted, chunks) = (CountedPool::on(&account), ChunkPool::on(&account));
    let mut most = 0;
    for round in 0..200 {
        // Blocks and pages filled to the last byte, and emptied.
        let objects: Vec<_> = (0..64).map(|_| counted.alloc_layout(layout(4048, 8))).collect();
        let pages: Vec<_> = (0..200).map(|_| chunks.alloc_layout(layout(1024, 8))).collect();
        for object in objects {
            // SAFETY: from this pool, and not used any more.
            unsafe { counted.free(object) }.unwrap();
        }
        for page in pages {
            // SAFETY: from this pool, and not used any more.
            unsafe { chunks.free(page) }.unwrap();
        }
        if round == 3 {
            most = account.peak();
        }
    }
    assert_eq!(account.peak(), most, "it grew");
}

#[test]
fn an_iterator_that_allocates_meanwhile_interlaces_nothing() {
    let (pool, counted) = (Pool::new(), CountedPool::new());
    let others = RefCell::new(Vec::new());
    let first = pool.alloc_slice_fill_iter((0..500_usize).inspect(|&n| {
        others.borrow_mut().push(pool.alloc_slice_fill_with(3, |_| n + 1_000_000));
    }));
    assert!(first.iter().enumerate().all(|(at, n)| at == *n));
    assert!(others.borrow().iter().enumerate().all(|(n, words)| **words == [n + 1_000_000; 3]));
    let mut boxes = Vec::new();
    let second = counted.alloc_slice_fill_iter((0..500_usize).inspect(|&n| {
        boxes.push(counted.alloc([n; 3]));
    }));
    assert!(second.iter().enumerate().all(|(at, n)| at == *n));
    assert!(boxes.iter().enumerate().all(|(n, words)| **words == [n; 3]));
}

#[test]
fn zeroed_memory_is_zero_whatever_was_there() {
    let (mut pool, counted, mut chunks) = (Pool::new(), CountedPool::new(), ChunkPool::new());
    for size in [1, 7, 64, 1000, 4000, 20_000, 100_000] {
        let layout = layout(size, 8);
        let old =
            [pool.alloc_layout(layout), counted.alloc_layout(layout), chunks.alloc_layout(layout)];
        for object in old {
            // SAFETY: so many bytes are ours.
            unsafe { object.write_bytes(0xFF, size) };
        }
        pool.reset();
        // SAFETY: from this pool, and not used any more.
        unsafe { counted.free(old[1]) }.unwrap();
        chunks.reset();
        let new =
            [pool.alloc_zeroed(layout), counted.alloc_zeroed(layout), chunks.alloc_zeroed(layout)];
        for object in new {
            // SAFETY: so many bytes were written.
            let bytes = unsafe { std::slice::from_raw_parts(object.as_ptr(), size) };
            assert!(bytes.iter().all(|byte| *byte == 0), "{size}");
        }
    }
}

#[test]
fn a_reset_leaves_no_cleanup_behind() {
    let ran = Arc::new(AtomicUsize::new(0));
    let mut pool = Pool::new();
    for round in 1..=20 {
        for _ in 0..10 {
            let ran = ran.clone();
            pool.defer(move || {
                ran.fetch_add(1, SeqCst);
            });
        }
        pool.reset();
        assert_eq!(ran.load(SeqCst), 10 * round);
        // Written over by what comes next, if anything still pointed there.
        pool.alloc_slice_fill_with(300, |n| usize::MAX - n);
        pool.reset();
        assert_eq!(ran.load(SeqCst), 10 * round);
    }
}

#[test]
fn a_pool_may_own_what_it_needs_to_end() {
    // A log in the pool, used by what runs at the pool's end.
    struct Log(Vec<String>, Arc<AtomicUsize>);
    impl Drop for Log {
        fn drop(&mut self) {
            self.1.fetch_add(self.0.len(), SeqCst);
        }
    }
    let lines = Arc::new(AtomicUsize::new(0));
    let pool = Pool::new();
    let log = pool.own(Log(Vec::new(), lines.clone()));
    (0..100).for_each(|n| log.0.push(format!("line {n}")));
    let account = Account::root("owned");
    let handle = pool.own(account.clone());
    assert_eq!(handle.child("kept").with_limit(Some(1)).limit(), Some(1));
    drop(pool);
    assert_eq!((lines.load(SeqCst), account.held()), (100, 0));
}

#[test]
fn children_that_end_in_any_order_lose_no_sibling() {
    let parent = Pool::new();
    let account = Account::root("parents");
    for order in 0..24_usize {
        let mut children: Vec<_> = (0..4).map(|n| (n, parent.child())).collect();
        let mut accounts: Vec<_> = (0..4).map(|n| account.child(format!("{n}"))).collect();
        for step in 0..4 {
            for (n, child) in &children {
                assert_eq!(*child.alloc(*n), *n);
            }
            assert_eq!(account.snapshot().all().count(), 1 + accounts.len());
            let next = (order >> step) % children.len();
            children.remove(next);
            accounts.remove(next);
        }
    }
}

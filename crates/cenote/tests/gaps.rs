//! Proves that in builds for AddressSanitizer what is behind each object of each pool is forbidden
//! ground, as near as 8 bytes allow, and that what is the object's is not.
#![cfg(cenote_asan)]

use cenote::{BlockSource, Buddy, ChunkPool, CountedPool, Pool, SharedPool};
use std::alloc::Layout;
use std::ptr::NonNull;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn poisoned(address: *const u8) -> bool {
    unsafe extern "C" {
        fn __asan_address_is_poisoned(address: *const u8) -> i32;
    }
    // SAFETY: only asks about the address.
    unsafe { __asan_address_is_poisoned(address) != 0 }
}

/// All of the object may be touched, and the byte behind it may not.
fn check(object: NonNull<u8>, size: usize, what: &str) {
    let start = object.as_ptr();
    assert!((0..size).all(|at| !poisoned(start.wrapping_add(at))), "{what}: {size} bytes");
    for beyond in 0..8 {
        assert!(poisoned(start.wrapping_add(size + beyond)), "{what}: {size} and {beyond}");
    }
}

/// Objects of all sizes up to 100, at small and large alignments, with neighbours.
fn check_all(what: &str, take: impl Fn(Layout) -> NonNull<u8>) {
    let mut objects = Vec::new();
    for align in [1, 8, 16, 64] {
        for size in 1..100 {
            objects.push((take(layout(size, align)), size));
        }
    }
    for (object, size) in objects {
        check(object, size, what);
    }
}

#[test]
fn behind_each_object_of_each_pool_is_a_gap() {
    let pool = Pool::new();
    check_all("pool", |layout| pool.alloc_layout(layout));
    let pool = CountedPool::new();
    check_all("counted", |layout| pool.alloc_layout(layout));
    check_all("packed in counted", |layout| pool.alloc_packed(layout.size()));
    let pool = ChunkPool::new();
    check_all("chunk", |layout| pool.alloc_layout(layout));
    let pool = SharedPool::new();
    check_all("shared", |layout| pool.alloc_layout(layout));
}

#[test]
fn packed_bytes_have_their_gap_towards_what_was_packed_before() {
    let pool = Pool::new();
    let texts: Vec<&mut [u8]> = (1..200).map(|size| pool.alloc_zeroed_bytes(size)).collect();
    for text in texts {
        check(NonNull::from(&mut *text).cast(), text.len(), "packed");
    }
}

#[test]
fn large_objects_have_a_gap_although_their_blocks_are_rounded() {
    for size in [20_000, 65_520, 65_536, 100_001] {
        let pool = Pool::new();
        check(pool.alloc_layout(layout(size, 8)), size, "large in pool");
        let pool = SharedPool::new();
        check(pool.alloc_layout(layout(size, 8)), size, "large in shared");
        let pool = ChunkPool::new();
        check(pool.alloc_layout(layout(size, 8)), size, "large in chunk");
    }
}

#[test]
fn what_of_a_block_of_a_region_was_not_asked_for_is_forbidden() {
    let buddy = Buddy::heap(1 << 20).unwrap();
    for size in [1, 100, 4000, 5000] {
        check(buddy.acquire(layout(size, 1)).unwrap(), size, "region");
    }
}

#[test]
fn objects_that_grow_and_shrink_take_their_gap_along() {
    let pool = Pool::new();
    let object = pool.alloc_layout(layout(20, 8));
    // SAFETY: of this pool and layout; the new one is not smaller.
    let object = unsafe { pool.try_grow(object, layout(20, 8), layout(500, 8)) }.unwrap();
    check(object, 500, "grown");
    // SAFETY: likewise, and not larger.
    let object = unsafe { pool.try_shrink(object, layout(500, 8), layout(33, 8)) }.unwrap();
    check(object, 33, "shrunk");
    let next = pool.alloc_layout(layout(8, 8));
    assert_eq!(next.addr().get() - object.addr().get(), 40 + 16);

    let pool = SharedPool::new();
    let object = pool.alloc_layout(layout(20, 8));
    // SAFETY: as above.
    let object = unsafe { pool.try_grow(object, layout(20, 8), layout(500, 8)) }.unwrap();
    check(object, 500, "grown in shared");
    // SAFETY: as above.
    let object = unsafe { pool.try_shrink(object, layout(500, 8), layout(33, 8)) }.unwrap();
    check(object, 33, "shrunk in shared");
}

#[test]
fn an_object_that_is_freed_by_its_address_alone_is_forbidden_as_a_whole() {
    let pool = CountedPool::new();
    let (first, second) = (pool.alloc_layout(layout(100, 8)), pool.alloc_layout(layout(20, 8)));
    // SAFETY: from this pool, and not used any more.
    unsafe { pool.free(first) }.unwrap();
    assert!((0..100).all(|at| poisoned(first.as_ptr().wrapping_add(at))));
    check(second, 20, "its neighbour");
}

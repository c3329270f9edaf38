//! Objects that outgrow their blocks, round after round: what a pool remembers of them.

mod common;

use cenote::{Account, Blocks, Pool, System};
use std::alloc::Layout;
use std::ptr::NonNull;

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// Grows an object by doubling; how often it moved. Its bytes are looked at each time.
fn grow_to<S: cenote::BlockSource>(pool: &Pool<S>, most: usize) -> (NonNull<u8>, usize) {
    let mut size = 32;
    let mut at = pool.alloc_layout(bytes(size));
    let mut moves = 0;
    // SAFETY: so many bytes are the object's.
    unsafe { at.write_bytes(0xA5, size) };
    while size < most {
        // SAFETY: the object is of this pool, with that size.
        let to = unsafe { pool.try_grow(at, bytes(size), bytes(2 * size)) }.unwrap();
        moves += usize::from(to != at);
        at = to;
        // SAFETY: the first half was written, as it was before it grew.
        let old = unsafe { std::slice::from_raw_parts(at.as_ptr(), size) };
        assert!(old.iter().all(|&byte| byte == 0xA5));
        // SAFETY: so many bytes are the object's now.
        unsafe { at.write_bytes(0xA5, 2 * size) };
        size *= 2;
    }
    (at, moves)
}

#[test]
fn a_vector_that_grows_as_the_last_one_did_is_not_moved_any_more() {
    common::plain();
    let mut pool = Pool::new();
    let (_, first) = grow_to(&pool, 128 << 10);
    pool.reset();
    let (_, second) = grow_to(&pool, 128 << 10);
    assert!(first > 3, "{first} moves while nothing was known");
    assert_eq!(second, 0, "moves in one block");
}

#[test]
fn the_room_of_a_vector_that_is_freed_before_the_reset_is_kept_for_the_next() {
    common::plain();
    let mut pool = Pool::new();
    let mut moved = Vec::new();
    for _ in 0..100 {
        let (at, moves) = grow_to(&pool, 128 << 10);
        moved.push(moves);
        // SAFETY: the object is of this pool, with that size, and used no more.
        unsafe { pool.dealloc(at, bytes(128 << 10)) };
        pool.reset();
    }
    assert!(moved[0] > 3, "{} moves while nothing was known", moved[0]);
    assert!(moved[2..].iter().all(|&moves| moves == 0), "{moved:?}");
    // And let go when no such vector comes any more.
    for _ in 0..100 {
        pool.reset();
    }
    assert!(pool.held_bytes() < 64 << 10, "{} bytes held", pool.held_bytes());
}

#[test]
fn two_that_grow_in_turn_move_once_each_beyond_their_blocks() {
    common::plain();
    let mut pool = Pool::new();
    for round in 0..4 {
        let mut sizes = [32; 2];
        let mut at = sizes.map(|size| pool.alloc_layout(bytes(size)));
        let mut far_moves = 0;
        while sizes[1] < 128 << 10 {
            for (at, size) in at.iter_mut().zip(&mut sizes) {
                // SAFETY: the object is of this pool, with that size.
                let to = unsafe { pool.try_grow(*at, bytes(*size), bytes(2 * *size)) }.unwrap();
                *size *= 2;
                far_moves += usize::from(to != *at && *size > 64 << 10);
                *at = to;
            }
        }
        assert!(round == 0 || far_moves <= 2, "round {round}: {far_moves} moves beyond 64 KiB");
        pool.reset();
    }
}

#[test]
fn what_is_not_needed_any_more_is_not_held_for_long() {
    common::plain();
    let mut pool = Pool::new();
    grow_to(&pool, 128 << 10);
    pool.reset();
    for _ in 0..200 {
        pool.alloc(1_u64);
        pool.reset();
    }
    pool.alloc(1_u64);
    assert_eq!(pool.held_bytes(), 4096);
    pool.reset();
    // Nor is there a guess left: an object that is moved gets what it asks for.
    let small = pool.alloc_layout(bytes(64));
    pool.alloc(0_u8);
    // SAFETY: the object is of this pool, with that size.
    unsafe { pool.try_grow(small, bytes(64), bytes(20_000)) }.unwrap();
    assert_eq!(pool.snapshot().large, [20 << 10]);
}

#[test]
fn a_guess_is_never_what_a_limit_refuses_for() {
    common::plain();
    let account = Account::root("tight");
    let mut pool = Pool::builder().account(&account).source(System).build().unwrap();
    grow_to(&pool, 128 << 10);
    pool.reset();
    // Room for 20,000 bytes of one object, and not for what the last round would make it.
    account.set_limit(Some(account.held() + (48 << 10)));
    let small = pool.alloc_layout(bytes(64));
    pool.alloc(0_u8);
    // SAFETY: the object is of this pool, with that size.
    unsafe { pool.try_grow(small, bytes(64), bytes(20_000)) }.unwrap();
    assert_eq!(account.refused(), 0);
}

#[test]
fn under_a_limit_that_is_near_nothing_is_taken_on_a_guess() {
    common::plain();
    // One block for all that a round needed.
    let account = Account::root("process").child("near").with_limit(Some(400 << 10));
    let mut pool = Pool::builder().account(&account).source(System).build().unwrap();
    grow_to(&pool, 128 << 10);
    pool.reset();
    pool.alloc(1_u64);
    assert!(account.held() < 100 << 10, "{} bytes held", account.held());
    // Room for what outgrows its block.
    let account = Account::root("process").child("near");
    let mut pool = Pool::builder().account(&account).source(System).build().unwrap();
    grow_to(&pool, 128 << 10);
    pool.reset();
    account.set_limit(Some(account.held() + (400 << 10)));
    let small = pool.alloc_layout(bytes(64));
    pool.alloc(0_u8);
    // SAFETY: the object is of this pool, with that size.
    unsafe { pool.try_grow(small, bytes(64), bytes(20_000)) }.unwrap();
    assert!(pool.snapshot().large.iter().sum::<usize>() <= 20_000, "{:?}", pool.snapshot().large);
}

#[test]
fn guesses_end_at_what_the_thread_caches() {
    common::plain();
    let mut pool = Pool::new();
    grow_to(&pool, 4 << 20);
    pool.reset();
    let small = pool.alloc_layout(bytes(64));
    pool.alloc(0_u8);
    // SAFETY: the object is of this pool, with that size.
    unsafe { pool.try_grow(small, bytes(64), bytes(20_000)) }.unwrap();
    assert!(pool.held_bytes() <= 2 * Blocks::LARGEST, "{} bytes", pool.held_bytes());
}

#[test]
fn one_that_shrank_gives_back_what_it_was_given_on_a_guess() {
    common::plain();
    let mut pool = Pool::builder().largest_block(16 << 10).build().unwrap();
    grow_to(&pool, 128 << 10);
    pool.reset();
    let small = pool.alloc_layout(bytes(64));
    pool.alloc(0_u8);
    // SAFETY: the object is of this pool, with that size.
    let large = unsafe { pool.try_grow(small, bytes(64), bytes(20_000)) }.unwrap();
    let before = pool.held_bytes();
    // SAFETY: likewise.
    unsafe { pool.try_shrink(large, bytes(20_000), bytes(19_000)) }.unwrap();
    assert!(pool.held_bytes() < before, "{} bytes of {before}", pool.held_bytes());
}

//! What a chunk pool gives back while it has objects: clusters that are kept empty, and the memory of
//! free pages in others.

#![cfg(feature = "std")]

use cenote::{BlockSource, ChunkPool};
use std::alloc::Layout;
use std::ptr::NonNull;

mod common;
use common::{Counting, Dice};

/// An object that takes a page of 4 KiB, and is full of a number.
struct Object(NonNull<u8>, u8);

const LAYOUT: Layout = Layout::new::<[u8; 3_000]>();

impl Object {
    fn new<S: BlockSource>(pool: &ChunkPool<S>, number: usize) -> Self {
        let object = Self(pool.alloc_layout(LAYOUT), number as u8);
        // SAFETY: of this size, and nobody else's.
        unsafe { object.0.write_bytes(object.1, LAYOUT.size()) };
        object
    }

    fn is_whole(&self) -> bool {
        // SAFETY: written as a whole when it was made.
        let bytes = unsafe { NonNull::slice_from_raw_parts(self.0, LAYOUT.size()).as_ref() };
        bytes.iter().all(|byte| *byte == self.1)
    }

    fn free<S: BlockSource>(self, pool: &ChunkPool<S>) {
        assert!(self.is_whole());
        // SAFETY: from this pool, and not used any more.
        unsafe { pool.dealloc(self.0, LAYOUT) };
    }
}

fn pool() -> ChunkPool {
    ChunkPool::config().page_size(4096).min_chunk_size(128).build().unwrap()
}

#[cfg(all(target_os = "linux", not(miri), not(cenote_asan)))]
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A cache that has shrunk to a twentieth, in every cluster a little.
#[cfg(all(target_os = "linux", not(miri), not(cenote_asan)))]
#[test]
fn the_memory_of_free_pages_goes_back_though_every_cluster_has_an_object() {
    common::plain();
    const MANY: usize = 20_000;
    let pool = pool();
    let (mut stay, mut go) = (Vec::with_capacity(MANY), Vec::with_capacity(MANY));
    let before = resident();
    for number in 0..MANY {
        let object = Object::new(&pool, number);
        if number % 20 == 0 { stay.push(object) } else { go.push(object) }
    }
    let peak = resident() - before;
    go.drain(..).for_each(|object| object.free(&pool));
    let (held, full) = (pool.held_bytes(), resident() - before);
    assert!(full > peak / 2, "{full} of {peak}: nothing to trim");
    let trimmed = pool.trim();
    let left = resident() - before;
    assert!(trimmed > peak / 2, "{trimmed} of {peak}");
    // A page each, one for what is known of each cluster, and what caches may keep.
    assert!(left < MANY / 20 * 2 * 4096 + (8 << 20), "{left} of {peak} bytes, {held} held");
    assert!(stay.iter().all(Object::is_whole));
    // All of it can be used again.
    let again: Vec<_> = (0..MANY).map(|number| Object::new(&pool, number)).collect();
    assert!(stay.iter().all(Object::is_whole));
    again.into_iter().chain(stay).for_each(|object| object.free(&pool));
}

#[test]
fn clusters_that_are_kept_empty_go_back_and_are_counted() {
    common::plain();
    let source = Counting::new();
    let config = ChunkPool::config().page_size(4096).min_chunk_size(128);
    let pool = config.source(&source).build().unwrap();
    let first = Object::new(&pool, 1);
    first.free(&pool);
    let held = pool.held_bytes();
    assert!(held > 0 && source.bytes() == held, "one cluster is kept");
    assert_eq!(pool.trim(), held);
    assert_eq!((pool.held_bytes(), source.bytes(), pool.trim()), (0, 0, 0));
    // What it has is left alone, whatever the source can do.
    let object = Object::new(&pool, 2);
    let held = pool.held_bytes();
    assert_eq!((pool.trim(), pool.held_bytes()), (0, held));
    assert!(object.is_whole());
    object.free(&pool);
}

/// Trimmed at any moment, no object changes, and none is in the way of another.
#[test]
fn objects_of_all_sizes_are_whole_however_often_it_is_trimmed() {
    let pool = pool();
    let mut dice = Dice::new(11);
    let mut live: Vec<(NonNull<u8>, Layout, u8)> = Vec::new();
    for turn in 0..6_000_usize {
        if dice.below(100) == 0 {
            pool.trim();
        }
        if live.len() > 300 || (dice.below(2) == 0 && !live.is_empty()) {
            let place = dice.below(live.len());
            let (start, layout, mark) = live.swap_remove(place);
            // SAFETY: written as a whole when it was made.
            let bytes = unsafe { NonNull::slice_from_raw_parts(start, layout.size()).as_ref() };
            assert!(bytes.iter().all(|byte| *byte == mark), "turn {turn}");
            // SAFETY: from this pool with this layout, and not used any more.
            unsafe { pool.dealloc(start, layout) };
        } else {
            let layout = Layout::from_size_align(1 + dice.below(6_000), 8).unwrap();
            let start = pool.alloc_layout(layout);
            // SAFETY: of this size, and nobody else's.
            unsafe { start.write_bytes(turn as u8, layout.size()) };
            live.push((start, layout, turn as u8));
        }
    }
    for (start, layout, _) in live {
        // SAFETY: from this pool with this layout, and not used any more.
        unsafe { pool.dealloc(start, layout) };
    }
    pool.trim();
    assert!(pool.is_empty());
}

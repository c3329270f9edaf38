//! Collections in a chunk pool: whatever they do, they end where they began.

#![cfg(feature = "allocator-api2")]

mod common;

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use cenote::{ChunkPool, Faulty};
use common::{Dice, Ledger};
use hashbrown::DefaultHashBuilder;
use hashbrown::HashMap;
use std::collections::BTreeMap;

type Map<'p, S, V> = HashMap<u64, V, DefaultHashBuilder, &'p ChunkPool<S>>;

#[test]
fn maps_of_vectors_of_boxes_come_and_go() {
    let ledger = Ledger::new();
    let pool = ChunkPool::config().source(&ledger).build().unwrap();
    let mut dice = Dice::new(11);
    {
        let mut map: Map<'_, _, Vec<Box<u64, _>, _>> = HashMap::new_in(&pool);
        let mut model: BTreeMap<u64, std::vec::Vec<u64>> = BTreeMap::new();
        for _ in 0..40_000 {
            let key = dice.below(500) as u64;
            match dice.below(10) {
                0..=5 => {
                    let value = dice.next();
                    let vector = map.entry(key).or_insert_with(|| Vec::new_in(&pool));
                    vector.push(Box::new_in(value, &pool));
                    model.entry(key).or_default().push(value);
                }
                6 | 7 => {
                    let popped = map.get_mut(&key).and_then(Vec::pop).map(|value| *value);
                    assert_eq!(popped, model.get_mut(&key).and_then(std::vec::Vec::pop));
                }
                8 => {
                    if let Some(vector) = map.get_mut(&key) {
                        vector.shrink_to_fit();
                    }
                }
                _ => {
                    let removed = map.remove(&key).map(|vector| vector.len());
                    assert_eq!(removed, model.remove(&key).map(|vector| vector.len()));
                }
            }
        }
        assert_eq!(map.len(), model.len());
        for (key, values) in &model {
            assert!(map[key].iter().map(|value| **value).eq(values.iter().copied()));
        }
        assert!(!pool.is_empty());
    }
    assert!(pool.is_empty());
    drop(pool);
    assert_eq!(ledger.blocks(), 0);
}

#[test]
fn a_vector_grows_through_chunks_pages_and_blocks() {
    let pool = ChunkPool::new();
    let mut bytes = Vec::new_in(&pool);
    for n in 0..100_000_u32 {
        bytes.push(n as u8);
    }
    bytes.truncate(10);
    bytes.shrink_to_fit();
    assert!(bytes.iter().copied().eq(0..10));
    assert_eq!(pool.stat().blocks, 1);
    drop(bytes);
    assert!(pool.is_empty());
}

#[test]
fn values_without_bytes_and_of_large_alignment_are_boxed() {
    #[repr(align(4096))]
    struct Aligned(u8);
    let pool = ChunkPool::new();
    let unit = Box::new_in((), &pool);
    let aligned = Box::new_in(Aligned(7), &pool);
    assert_eq!((&raw const *aligned).addr() % 4096, 0);
    assert_eq!(aligned.0, 7);
    // By way of a reference, whose pointer is good for the value only.
    let leaked = Box::leak(Box::new_in([1_u8; 20], &pool));
    leaked[19] = 2;
    // SAFETY: leaked from a box in this pool, just before.
    drop(unsafe { Box::from_raw_in(leaked, &pool) });
    let again = Box::new_in([3_u8; 32], &pool);
    assert_eq!(again[31], 3);
    drop((unit, aligned, again));
    assert!(pool.is_empty());
}

#[test]
fn a_vector_survives_that_memory_runs_out() {
    let source = Faulty::new(cenote::System);
    let pool = ChunkPool::config().source(&source).build().unwrap();
    let mut numbers = Vec::new_in(&pool);
    let mut refused = 0;
    for n in 0..20_000_u64 {
        if n % 3 == 0 {
            source.fail_after(0, false);
        }
        if numbers.try_reserve(1).is_err() {
            refused += 1;
            source.recover();
            numbers.try_reserve(1).unwrap();
        }
        numbers.push(n);
    }
    assert!(refused > 0);
    assert!(numbers.iter().copied().eq(0..20_000));
}

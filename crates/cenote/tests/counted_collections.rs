//! Collections in a counted pool: they must do there what they do elsewhere, and leave
//! nothing behind.

#![cfg(feature = "allocator-api2")]

mod common;

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec as PoolVec;
use cenote::{CountedPool, Faulty, System};
use common::{Dice, Ledger, seed};
use hashbrown::{DefaultHashBuilder, HashMap};

#[test]
fn vectors_of_all_sizes_churn_beside_each_other() {
    let ledger = Ledger::new();
    let pool = CountedPool::builder().source(&ledger).build().unwrap();
    let mut dice = Dice::new(seed("vectors"));
    let mut pairs: Vec<(PoolVec<u32, _>, Vec<u32>)> = Vec::new();
    for _ in 0..20_000 {
        if pairs.len() < 20 {
            pairs.push((PoolVec::new_in(&pool), Vec::new()));
        }
        let place = dice.below(pairs.len());
        let (ours, theirs) = &mut pairs[place];
        match dice.below(8) {
            0 => {
                ours.shrink_to_fit();
            }
            1 => {
                let len = dice.below(theirs.len() + 1);
                ours.truncate(len);
                theirs.truncate(len);
            }
            2 => {
                let more: Vec<u32> = (0..dice.below(3000)).map(|n| n as u32).collect();
                ours.extend_from_slice(&more);
                theirs.extend_from_slice(&more);
            }
            3 => {
                assert_eq!(ours.as_slice(), theirs.as_slice());
                pairs.swap_remove(place);
            }
            _ => {
                for _ in 0..dice.below(30) {
                    let number = dice.next() as u32;
                    ours.push(number);
                    theirs.push(number);
                }
            }
        }
        assert!(pool.live() <= pairs.len());
    }
    for (ours, theirs) in &pairs {
        assert_eq!(ours.as_slice(), theirs.as_slice());
    }
    drop(pairs);
    assert_eq!(pool.live(), 0);
    drop(pool);
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn maps_of_boxes_churn() {
    let pool = CountedPool::new();
    let mut dice = Dice::new(seed("maps"));
    let mut ours = HashMap::with_hasher_in(DefaultHashBuilder::default(), &pool);
    let mut theirs = std::collections::HashMap::new();
    for _ in 0..30_000 {
        let key = dice.below(700);
        if dice.once_in(3) {
            assert_eq!(
                ours.remove(&key).map(|text: Box<String, _>| Box::into_inner(text)),
                theirs.remove(&key)
            );
        } else {
            let value = format!("{}", dice.next());
            let before = ours.insert(key, Box::new_in(value.clone(), &pool));
            assert_eq!(before.map(Box::into_inner), theirs.insert(key, value));
        }
        assert_eq!(pool.live(), ours.len() + usize::from(ours.capacity() > 0));
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().all(|(key, text)| theirs.get(key) == Some(&**text)));
    drop(ours);
    assert_eq!(pool.live(), 0);
    pool.trim();
    assert_eq!(pool.held_bytes(), 0);
}

/// A search tree whose nodes are boxes in the pool: freed in another order than made.
struct Tree<'p> {
    key: u64,
    sides: [Option<cenote::CountedBox<'p, Tree<'p>>>; 2],
}

impl<'p> Tree<'p> {
    fn insert(&mut self, pool: &'p CountedPool, key: u64) -> bool {
        if key == self.key {
            return false;
        }
        match &mut self.sides[usize::from(key > self.key)] {
            Some(side) => side.insert(pool, key),
            empty => {
                *empty = Some(pool.alloc(Tree { key, sides: [None, None] }));
                true
            }
        }
    }

    fn count(&self) -> usize {
        1 + self.sides.iter().flatten().map(|side| side.count()).sum::<usize>()
    }
}

#[test]
fn a_tree_of_boxes_counts_each_of_its_nodes() {
    common::plain();
    let pool = CountedPool::new();
    let mut dice = Dice::new(seed("tree"));
    let mut root = pool.alloc(Tree { key: dice.next(), sides: [None, None] });
    for _ in 0..5000 {
        root.insert(&pool, dice.next());
    }
    assert_eq!(pool.live(), root.count());
    root.sides[0] = None;
    assert_eq!(pool.live(), root.count());
    drop(root);
    assert_eq!(pool.live(), 0);
    assert!(pool.held_bytes() <= 5 * 4096 + 256);
}

#[test]
fn a_vector_that_cannot_grow_keeps_what_it_has() {
    common::plain();
    let source = Faulty::new(System);
    let pool = CountedPool::builder().source(&source).build().unwrap();
    let mut numbers = PoolVec::new_in(&pool);
    numbers.extend_from_slice(&[7_u64; 400]);
    source.fail_after(0, true);
    assert!(numbers.try_reserve(10_000).is_err());
    assert_eq!(numbers.as_slice(), [7; 400]);
    source.recover();
    numbers.resize(10_000, 8);
    assert_eq!((numbers[399], numbers[400]), (7, 8));
    numbers.truncate(3);
    numbers.shrink_to_fit();
    assert_eq!((numbers.as_slice(), pool.snapshot().large.len()), (&[7_u64; 3][..], 0));
}

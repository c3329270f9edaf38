//! The standard library's own collections in pools, by its own trait: where that is stable, or nightly's
//! with the feature `nightly`.

#![cfg(cenote_allocator)]
#![cfg_attr(cenote_allocator_unstable, feature(allocator_api))]

use cenote::{Account, ChunkPool, CountedPool, Pool, SharedPool};
use std::alloc::Allocator;

/// Vectors that grow and shrink, and a box.
fn used(alloc: impl Allocator + Clone) {
    let mut list = Vec::new_in(alloc.clone());
    for number in 0..5000_u64 {
        list.push(number);
    }
    assert!(list.iter().copied().eq(0..5000));
    list.truncate(7);
    list.shrink_to_fit();
    assert_eq!((list.as_slice(), list.capacity()), (&[0, 1, 2, 3, 4, 5, 6][..], 7));
    let boxed = Box::new_in([1_u128; 9], alloc.clone());
    let nested = vec![Vec::with_capacity_in(3, alloc)];
    drop(list);
    assert_eq!((*boxed, nested[0].capacity()), ([1; 9], 3));
    let mut nested = nested;
    nested[0].extend([String::from("of malloc's")]);
}

#[test]
fn vectors_and_boxes_lie_in_every_pool() {
    let account = Account::root("pools");
    used(&Pool::on(&account));
    used(&CountedPool::on(&account));
    used(&ChunkPool::on(&account));
    used(SharedPool::try_on(&account).unwrap());
    assert!(account.peak() >= 40_000, "they lay in pools: {}", account.peak());
    assert_eq!((account.held(), account.live()), (0, 0));
}

#[test]
fn what_an_account_refuses_is_an_error() {
    let account = Account::root("small").with_limit(Some(20_000));
    let pool = Pool::on(&account);
    let mut list: Vec<u8, _> = Vec::new_in(&pool);
    list.extend([1, 2, 3]);
    assert!(list.try_reserve(100_000).is_err());
    assert_eq!((list.as_slice(), account.refused()), (&[1, 2, 3][..], 1));
}

#[test]
fn a_vector_keeps_the_pool_that_its_handle_is_of() {
    let pool = SharedPool::new();
    let mut list = Vec::new_in(pool.clone());
    drop(pool);
    list.extend(0..1000);
    let other = std::thread::spawn(move || list.iter().sum::<i32>());
    assert_eq!(other.join().unwrap(), 499_500);
}

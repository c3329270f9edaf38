//! Proves that the collections of allocator-api2 and hashbrown work in a `&Pool`: they keep
//! their contents, grow in place where that can be, fail with an error at a limit, and give
//! their memory back.

mod common;

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box as PoolBox;
use allocator_api2::vec::Vec as PoolVec;
use cenote::{Account, BlockSource, Pool};
use common::{Dice, Ledger, seed};
use hashbrown::{DefaultHashBuilder, HashMap};
use std::alloc::Layout;
use std::cell::Cell;

#[test]
fn a_vec_that_grows_alone_never_copies_while_the_block_has_room() {
    common::plain();
    let pool = Pool::builder().first_block(64 << 10).build().unwrap();
    pool.alloc(1_u8);
    let mut list = PoolVec::new_in(&pool);
    list.push(0_u64);
    let start = list.as_ptr();
    let mut grown = 0;
    let mut capacity = list.capacity();
    // 4096 of 8 bytes: half the block, to which the capacity doubles last.
    for number in 1..4096 {
        list.push(number);
        grown += u32::from(list.capacity() != capacity);
        capacity = list.capacity();
        assert_eq!(list.as_ptr(), start, "copied at {number}");
    }
    assert!(grown >= 8, "it grew only {grown} times");
    assert!(list.iter().copied().eq(0..4096));
    assert_eq!(pool.snapshot().blocks.len(), 1);
    // Growing has cost nothing beyond the vec's own bytes.
    assert_eq!(pool.used_bytes(), 8 + capacity * 8);
    list.shrink_to_fit();
    assert_eq!((list.as_ptr(), pool.used_bytes()), (start, 8 + 4096 * 8));
    drop(list);
    assert_eq!(pool.used_bytes(), 8);
}

#[test]
fn two_vecs_growing_in_turn_keep_their_contents() {
    let pool = Pool::new();
    let (mut one, mut two) = (PoolVec::new_in(&pool), PoolVec::new_in(&pool));
    for number in 0..20_000_u32 {
        one.push(number);
        if number % 3 == 0 {
            two.push(u64::from(number) << 20);
        }
    }
    assert!(one.iter().copied().eq(0..20_000));
    assert!(two.iter().copied().eq((0..20_000).step_by(3).map(|n| n << 20)));
}

#[test]
fn a_try_reserve_over_a_limit_is_an_error_and_the_pool_lives() {
    let account = Account::root("vec").with_limit(Some(64 << 10));
    let pool = Pool::on(&account);
    let mut list = PoolVec::new_in(&pool);
    list.extend_from_slice(&[7_u8; 1000]);
    assert!(list.try_reserve(1 << 20).is_err());
    assert!(list.try_reserve(isize::MAX as usize - 5000).is_err());
    assert!(list.try_reserve(usize::MAX).is_err());
    assert_eq!((list.len(), account.refused() > 0), (1000, true));
    assert!(list.iter().all(|&byte| byte == 7));
    list.push(8);
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &pool);
    map.insert(1_u64, 2_u64);
    assert!(map.try_reserve(1 << 20).is_err());
    assert_eq!((map.get(&1), list[1000]), (Some(&2), 8));
    assert_eq!(*pool.alloc(5), 5);
}

#[test]
fn large_vectors_come_and_go_without_leaking() {
    common::plain();
    let ledger = Ledger::new();
    let pool = Pool::builder().source(&ledger).build().unwrap();
    pool.alloc(1_u8);
    let mut steady = 0;
    for round in 0..100 {
        let mut list = PoolVec::new_in(&pool);
        for number in 0..50_000_u32 {
            list.push(number);
        }
        assert!(list.iter().copied().eq(0..50_000));
        list.truncate(20_000);
        list.shrink_to_fit();
        assert!(list.iter().copied().eq(0..20_000));
        drop(list);
        if round == 1 {
            steady = ledger.bytes();
        }
    }
    // Its large pieces have all come back, and its small ones are used again.
    assert_eq!(ledger.bytes(), steady);
    assert!(steady <= 128 << 10, "{steady}");
}

#[test]
fn a_map_in_a_pool_is_a_map() {
    let pool = Pool::new();
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &pool);
    let mut model = std::collections::BTreeMap::new();
    let mut dice = Dice::new(seed("map"));
    for _ in 0..20_000 {
        let key = dice.below(500);
        if dice.once_in(3) {
            assert_eq!(map.remove(&key), model.remove(&key));
        } else {
            let value = pool.alloc_fmt(format_args!("value {key}"));
            assert_eq!(map.insert(key, &*value).is_some(), model.insert(key, &*value).is_some());
        }
    }
    assert_eq!(map.len(), model.len());
    for (key, value) in &model {
        assert_eq!(map[key], *value);
    }
    map.shrink_to_fit();
    for (key, value) in &model {
        assert_eq!(map[key], *value);
    }
}

#[test]
fn a_box_in_a_pool_drops_its_value_and_gives_its_memory_back() {
    common::plain();
    struct Bell<'a>(&'a Cell<u32>, [u64; 4]);
    impl Drop for Bell<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let (rings, pool) = (Cell::new(0), Pool::new());
    let one = PoolBox::new_in(Bell(&rings, [1; 4]), &pool);
    let two = PoolBox::new_in(Bell(&rings, [2; 4]), &pool);
    assert_eq!((one.1, two.1, pool.used_bytes()), ([1; 4], [2; 4], 80));
    drop(two);
    assert_eq!((rings.get(), pool.used_bytes()), (1, 40));
    let large = PoolBox::new_in([3_u64; 10_000], &pool);
    assert_eq!(large[9_999], 3);
    let held = pool.held_bytes();
    drop(large);
    assert!(pool.held_bytes() <= held - 80_000);
    drop(one);
    assert_eq!((rings.get(), pool.used_bytes()), (2, 0));
}

#[test]
fn collections_of_values_without_bytes_cost_nothing() {
    let pool = Pool::new();
    let mut list = PoolVec::new_in(&pool);
    list.resize(100_000, ());
    let boxed = PoolBox::new_in((), &pool);
    assert_eq!((list.len(), *boxed, pool.held_bytes()), (100_000, (), 0));
}

#[test]
fn a_collection_may_be_kept_in_the_pool_that_it_is_in() {
    let pool = Pool::new();
    let inner = pool.alloc(PoolVec::new_in(&pool));
    for number in 0..100 {
        inner.push(pool.alloc(number));
    }
    assert!(inner.iter().map(|number| **number).eq(0..100));
}

#[test]
fn a_collection_works_in_a_child_and_in_a_pool_upon_a_pool() {
    fn check<S: BlockSource>(pool: &Pool<S>) {
        let mut list = PoolVec::new_in(pool);
        for number in 0..3000_u64 {
            list.push(number);
        }
        assert!(list.iter().copied().eq(0..3000));
    }
    let ground = Pool::new();
    check(&ground.child());
    check(&Pool::builder().source(&ground).build().unwrap());
}

#[test]
fn as_an_allocator_a_pool_keeps_the_traits_promises() {
    let ledger = Ledger::new();
    let pool = Pool::builder().source(&ledger).build().unwrap();
    let mut dice = Dice::new(seed("allocator"));
    for _ in 0..3000 {
        let old = dice.layout();
        let start = (&pool).allocate(old).unwrap();
        assert_eq!((start.len(), start.addr().get() % old.align()), (old.size(), 0));
        // SAFETY: fresh memory of that size.
        unsafe { start.cast::<u8>().write_bytes(9, old.size()) };
        let align = dice.align();
        let more = Layout::from_size_align(old.size() + dice.size(), align).unwrap();
        // SAFETY: of that allocator and layout; `more` is not smaller.
        let grown = unsafe { (&pool).grow_zeroed(start.cast(), old, more) }.unwrap();
        assert_eq!((grown.len(), grown.addr().get() % align), (more.size(), 0));
        // SAFETY: so many bytes, of which the first were written and the others zeroed.
        let bytes = unsafe { std::slice::from_raw_parts(grown.as_ptr().cast::<u8>(), more.size()) };
        assert!(bytes[..old.size()].iter().all(|&byte| byte == 9));
        assert!(bytes[old.size()..].iter().all(|&byte| byte == 0));
        let less = Layout::from_size_align(dice.below(old.size() + 1), dice.align()).unwrap();
        // SAFETY: of that allocator and layout; `less` is not larger.
        let shrunk = unsafe { (&pool).shrink(grown.cast(), more, less) }.unwrap();
        assert_eq!(shrunk.addr().get() % less.align(), 0);
        // SAFETY: so many bytes, all written.
        let bytes =
            unsafe { std::slice::from_raw_parts(shrunk.as_ptr().cast::<u8>(), less.size()) };
        assert!(bytes.iter().all(|&byte| byte == 9));
        // SAFETY: of that allocator and layout.
        unsafe { (&pool).deallocate(shrunk.cast(), less) };
    }
    assert_eq!(pool.snapshot().large, [0_usize; 0]);
    assert_eq!(pool.held_bytes(), ledger.bytes());
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn the_collections_of_allocator_api2_0_4_work_as_well() {
    use allocator_api2_04::{boxed::Box, vec::Vec};
    let pool = Pool::new();
    let mut list = Vec::new_in(&pool);
    list.push(0_u32);
    let start = list.as_ptr();
    for number in 1..100 {
        list.push(number);
    }
    assert_eq!((list.as_ptr(), list.len()), (start, 100));
    assert!(list.iter().copied().eq(0..100));
    let boxed = Box::new_in([1_u8; 100], &pool);
    assert_eq!(boxed[99], 1);
    let account = Account::root("vec").with_limit(Some(8192));
    let pool = Pool::on(&account);
    let mut list = Vec::<u8, _>::new_in(&pool);
    assert!(list.try_reserve(100_000).is_err());
    list.push(1);
}

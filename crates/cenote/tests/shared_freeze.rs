//! Proves that `Bytes` from a pool are what was put in, are not copied, keep the pool for as
//! long as any part of them is there, on any thread, and no longer.

#![cfg(feature = "bytes")]

mod common;

use allocator_api2::boxed::Box as PoolBox;
use allocator_api2::vec::Vec as PoolVec;
use bytes::{Buf, Bytes};
use cenote::{Account, AllocError, Chain, Freeze, Kept, Pool, SharedBuffer, SharedPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

/// A pool on an account of its own, to see when it ends.
fn seen() -> (Account, SharedPool) {
    let account = Account::root("frozen");
    let pool = SharedPool::try_on(&account).unwrap();
    (account, pool)
}

#[test]
fn a_buffer_is_frozen_where_it_is_and_keeps_the_pool_to_the_last_part() {
    let (account, pool) = seen();
    let mut buffer = SharedBuffer::new(pool.clone());
    for number in 0..1000_u32 {
        buffer.try_extend_from_slice(&number.to_le_bytes()).unwrap();
    }
    let place = buffer.as_ptr();
    let bytes = buffer.freeze();
    assert_eq!((bytes.as_ptr(), bytes.len()), (place, 4000));
    drop(pool);
    let mut middle = bytes.slice(40..44);
    drop(bytes);
    assert_eq!((account.live(), middle.get_u32_le()), (1, 10));
    drop(middle);
    assert_eq!((account.live(), account.held()), (0, 0));
}

#[test]
fn room_that_a_buffer_has_left_goes_back_when_it_is_frozen() {
    common::plain();
    let (_account, pool) = seen();
    let mut buffer = SharedBuffer::try_with_capacity(pool.clone(), 2000).unwrap();
    buffer.try_extend_from_slice(b"0123456789").unwrap();
    let bytes = buffer.freeze();
    assert_eq!(pool.used_bytes(), 16);
    // What comes into that room is not freed with the bytes.
    let number = pool.alloc(7_u64);
    drop(bytes);
    let other = pool.alloc(8_u64);
    assert_eq!((*number, *other), (7, 8));
    // Nothing at all is nothing.
    assert!(SharedBuffer::new(pool.clone()).freeze().is_empty());
}

#[test]
fn texts_slices_vectors_and_boxes_are_frozen() {
    let (account, pool) = seen();
    let text = Kept::<_, str>::try_new(pool.clone(), |pool| pool.try_alloc_str("text")).unwrap();
    let slice = Kept::try_new(pool.clone(), |pool| pool.try_alloc_slice_copy(b"slice")).unwrap();
    let mut vec = PoolVec::new_in(pool.clone());
    vec.extend_from_slice(b"vector");
    let boxed: PoolBox<[u8], SharedPool> = vec.clone().into_boxed_slice();
    let frozen = [
        text.freeze(),
        slice.freeze(),
        vec.freeze(),
        boxed.freeze(),
        pool.try_freeze_copy(b"copy").unwrap(),
        pool.try_freeze_fmt(format_args!("{}", 12)).unwrap(),
        pool.try_freeze(|pool| pool.try_alloc_zeroed_bytes(3)).unwrap(),
    ];
    drop(pool);
    let expected: [&[u8]; 7] = [b"text", b"slice", b"vector", b"vector", b"copy", b"12", b"\0\0\0"];
    assert_eq!(frozen.each_ref().map(|bytes| &bytes[..]), expected);
    assert_eq!(account.live(), 1);
    drop(frozen);
    assert_eq!((account.live(), account.held()), (0, 0));
}

#[test]
fn a_whole_pool_becomes_bytes_with_a_chain_in_it() {
    let account = Account::root("chain");
    let cleaned = Arc::new(AtomicUsize::new(0));
    let pool = Pool::on(&account);
    let counter = cleaned.clone();
    pool.defer(move || {
        counter.fetch_add(1, SeqCst);
    });
    let bytes = pool
        .try_freeze(|pool| {
            let mut chain = Chain::new(pool);
            chain.try_push(b"static ")?;
            chain.try_push_copy(b"copied ")?;
            for number in 0..500 {
                chain.write_bytes(format!("{number},").as_bytes())?;
            }
            chain.into_slice()
        })
        .unwrap();
    assert!(bytes.starts_with(b"static copied 0,1,2,"));
    assert!(bytes.ends_with(b",498,499,"));
    let copy = bytes.clone();
    let bytes = thread::spawn(move || bytes.slice(7..13)).join().unwrap();
    drop(copy);
    assert_eq!((&bytes[..], account.live(), cleaned.load(SeqCst)), (&b"copied"[..], 1, 0));
    thread::spawn(move || drop(bytes)).join().unwrap();
    assert_eq!((account.live(), account.held(), cleaned.load(SeqCst)), (0, 0, 1));
}

#[test]
fn a_chain_of_one_buffer_is_not_copied_and_an_empty_one_is_empty() {
    let pool = Pool::new();
    let text = pool.alloc_str("alone").as_bytes();
    let mut chain = Chain::new(&pool);
    chain.push(text);
    assert_eq!(chain.into_slice().unwrap().as_ptr(), text.as_ptr());
    assert!(Chain::new(&pool).into_slice().unwrap().is_empty());
}

#[test]
fn a_chain_in_a_shared_pool_is_frozen_by_way_of_a_scratch_pool() {
    let (account, pool) = seen();
    let bytes = pool
        .scratch()
        .try_freeze(|scratch| {
            let mut chain = Chain::new(scratch);
            chain.write_bytes(&[b'x'; 3000])?;
            chain.try_push_front(b"head")?;
            chain.into_slice()
        })
        .unwrap();
    drop(pool);
    assert_eq!((bytes.len(), account.live()), (3004, 1));
    drop(bytes);
    assert_eq!((account.live(), account.held()), (0, 0));
}

#[test]
fn a_chain_in_a_shared_pool_is_frozen_and_keeps_it() {
    let (account, pool) = seen();
    let bytes = pool
        .try_freeze_chain(|chain| {
            chain.try_push(b"static ")?;
            let text = chain.pool().try_alloc_str("in the pool ")?;
            chain.try_push(text.as_bytes())?;
            chain.try_push_copy(b"copied ")?;
            for number in 0..500 {
                chain.write_bytes(format!("{number},").as_bytes())?;
            }
            chain.advance(7);
            chain.try_push_front(b"> ")
        })
        .unwrap();
    drop(pool);
    assert!(bytes.starts_with(b"> in the pool copied 0,1,2,") && bytes.ends_with(b"498,499,"));
    let part = thread::spawn(move || bytes.slice(2..8)).join().unwrap();
    assert_eq!((&part[..], account.live()), (&b"in the"[..], 1));
    drop(part);
    assert_eq!((account.live(), account.held()), (0, 0));
}

#[test]
fn a_frozen_chain_of_one_buffer_is_not_copied_and_one_of_none_is_empty() {
    let (account, pool) = seen();
    let mut place = std::ptr::null();
    let bytes = pool
        .try_freeze_chain(|chain| {
            let text = chain.pool().try_alloc_str("alone")?;
            place = text.as_ptr();
            chain.try_push(text.as_bytes())
        })
        .unwrap();
    assert_eq!((&bytes[..], bytes.as_ptr()), (&b"alone"[..], place));
    assert!(pool.try_freeze_chain(|_| Ok::<(), AllocError>(())).unwrap().is_empty());
    // What fails keeps nothing: not while it is built, nor when it is brought together.
    let error = pool.try_freeze_chain(|chain| {
        chain.try_push(b"in vain")?;
        Err(AllocError::out_of_memory(7))
    });
    assert_eq!((error.unwrap_err().size(), pool.handles()), (7, 2));
    drop((bytes, pool));
    assert_eq!(account.held(), 0);
    let tight = Account::root("tight").with_limit(Some(8192));
    let pool = SharedPool::try_on(&tight).unwrap();
    let error = pool.try_freeze_chain(|chain| {
        let text = &*chain.pool().try_alloc_slice_copy(&[b'x'; 3000])?;
        (0..3).try_for_each(|_| chain.try_push(text))
    });
    assert_eq!(error.unwrap_err().account(), Some(&tight));
    assert_eq!(pool.handles(), 1);
}

#[test]
fn a_chain_in_a_shared_pool_goes_from_thread_to_thread() {
    let (_account, pool) = seen();
    let mut chain = Chain::with_buffers(&pool, 4, 100).unwrap();
    for number in 0..4_u8 {
        chain = thread::scope(|scope| {
            let write = move || {
                chain.write_bytes(&[number; 150]).unwrap();
                chain.push_copy(b".");
                chain
            };
            scope.spawn(write).join().unwrap()
        });
        // Others allocate meanwhile.
        pool.alloc([number; 50]);
    }
    let mut sent = Vec::new();
    assert_eq!(chain.write_to(&mut sent).unwrap(), 4 * 151);
    let expected: Vec<u8> =
        (0..4).flat_map(|number| [vec![number; 150], vec![b'.']].concat()).collect();
    assert_eq!(sent, expected);
}

#[test]
fn what_fails_leaves_the_pool_to_others() {
    let account = Account::root("tight").with_limit(Some(4096));
    let pool = SharedPool::try_on(&account).unwrap();
    assert!(pool.try_freeze_copy(&[0; 8000]).is_err());
    let error = pool.try_freeze(|_| Err::<_, &str>("no")).unwrap_err();
    assert_eq!((error, pool.handles()), ("no", 1));
    let pool = Pool::on(&account);
    assert!(pool.try_freeze(|pool| pool.try_alloc_bytes(8000).map(|_| &[][..])).is_err());
    assert_eq!(account.live(), 1);
}

#[test]
fn bytes_of_one_pool_go_to_many_threads() {
    let (account, pool) = seen();
    let all: Vec<Bytes> = (0..100_u8)
        .map(|number| pool.try_freeze_copy(&[number; 100]))
        .collect::<Result<_, AllocError>>()
        .unwrap();
    drop(pool);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let all = all.clone();
            thread::spawn(move || {
                for (number, bytes) in all.into_iter().enumerate() {
                    assert!(bytes.iter().all(|&byte| usize::from(byte) == number));
                }
            })
        })
        .collect();
    drop(all);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((account.live(), account.held()), (0, 0));
}

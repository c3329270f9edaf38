//! Slices without bytes, of every alignment, in pools in every state: they are aligned and take
//! nothing, nothing moves for their sake, and their addresses, which may be those of something
//! else, free and change nothing.

mod common;

use cenote::debug::{Levels, MARKED};
use cenote::{BlockSource, Buddy, Buffer, Chain, Kept, Pool, SharedPool};
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::rc::Rc;

/// What a pool shows of itself.
fn figures<S: BlockSource>(pool: &Pool<S>) -> (usize, usize, usize, Vec<[usize; 4]>) {
    let snapshot = pool.snapshot();
    let blocks =
        snapshot.blocks.iter().map(|block| [block.size, block.used, block.packed, block.free]);
    (pool.held_bytes(), pool.used_bytes(), snapshot.large.len(), blocks.collect())
}

/// The address, which is to be good for a reference.
fn seen<T>(slice: &mut [T], length: usize) -> NonNull<u8> {
    assert_eq!((slice.len(), size_of_val(slice)), (length, 0));
    let start = NonNull::from(slice).cast::<T>();
    assert!(start.is_aligned(), "{start:?} for an alignment of {}", align_of::<T>());
    start.cast()
}

macro_rules! of_alignments {
    ($pool:ident, $found:ident, $($align:literal)*) => {$({
        #[derive(Clone, Copy)]
        #[repr(align($align))]
        struct Unit;
        #[derive(Clone, Copy)]
        #[repr(align($align))]
        #[allow(dead_code, reason = "there is none")]
        struct Item([u8; $align]);
        let starts = [
            seen($pool.alloc_slice_copy::<Item>(&[]), 0),
            seen($pool.try_alloc_slice_copy(&[Unit; 5]).unwrap(), 5),
            seen($pool.alloc_slice_clone::<Item>(&[]), 0),
            seen($pool.try_alloc_slice_clone(&[Unit; 7]).unwrap(), 7),
            seen($pool.alloc_slice_fill_with::<Item>(0, |_| unreachable!()), 0),
            seen($pool.try_alloc_slice_fill_with(9, |_| Unit).unwrap(), 9),
            seen($pool.alloc_slice_fill_iter(std::iter::empty::<Item>()), 0),
            seen($pool.try_alloc_slice_fill_iter([Unit; 11]).unwrap(), 11),
            seen($pool.try_alloc_slice_copy::<Unit>(&[Unit; usize::MAX]).unwrap(), usize::MAX),
        ];
        $found.extend(starts.map(|start| (start, $align)));
    })*};
}

/// Every call that makes a slice of nothing; addresses and alignments.
fn every_slice<S: BlockSource>(pool: &Pool<S>) -> Vec<(NonNull<u8>, usize)> {
    let mut found = Vec::new();
    of_alignments!(pool, found, 1 2 4 8 16 32 64 4096);
    let mut text = |text: &mut str| {
        assert_eq!(text, "");
        found.push((NonNull::from(text).cast(), 1));
    };
    text(pool.alloc_str(""));
    text(pool.try_alloc_str("").unwrap());
    text(pool.alloc_fmt(format_args!("")));
    text(pool.try_alloc_fmt(format_args!("{}{}", "", String::new())).unwrap());
    found.push((seen(pool.alloc_bytes(0), 0), 1));
    found.push((seen(pool.try_alloc_bytes(0).unwrap(), 0), 1));
    found.push((seen(pool.alloc_zeroed_bytes(0), 0), 1));
    found.push((seen(pool.try_alloc_zeroed_bytes(0).unwrap(), 0), 1));
    found.push((seen(Buffer::new(pool).into_slice(), 0), 1));
    assert_eq!(pool.alloc_bytes_in_window(0), None);
    found
}

/// Frees and resizes slices of nothing, as collections would.
fn check<S: BlockSource>(what: &str, pool: &Pool<S>) {
    let before = figures(pool);
    let found = every_slice(pool);
    assert_eq!(figures(pool), before, "{what}: slices of nothing took something");
    for &(start, align) in &found {
        let nothing = Layout::from_size_align(0, align).unwrap();
        // SAFETY: from this pool with this layout.
        let same = unsafe { pool.try_shrink(start, nothing, nothing) }.unwrap();
        assert_eq!(same, start);
        // SAFETY: likewise, and not used any more.
        unsafe { pool.dealloc(start, nothing) };
    }
    assert_eq!(figures(pool), before, "{what}: what was freed was something");
    // Grown, each has memory of its own.
    let grown: Vec<_> = found
        .iter()
        .zip(1_u8..)
        .map(|(&(start, align), tag)| {
            let old = Layout::from_size_align(0, align).unwrap();
            let new = Layout::from_size_align(24, align).unwrap();
            // SAFETY: from this pool with this layout, and the new one is not smaller.
            let grown = unsafe { pool.try_grow(start, old, new) }.unwrap();
            assert!(grown.addr().get().is_multiple_of(align), "{what}: aligned to {align}");
            // SAFETY: so many bytes are there.
            unsafe { grown.write_bytes(tag, 24) };
            (grown, new, tag)
        })
        .collect();
    for &(start, _, tag) in &grown {
        // SAFETY: an object of so many bytes, all of them written.
        let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), 24) };
        assert!(bytes.iter().all(|&byte| byte == tag), "{what}: {bytes:?} for {tag}");
    }
    for (start, layout, _) in grown.into_iter().rev() {
        // SAFETY: from this pool, of this layout by now; nobody uses it any more.
        unsafe { pool.dealloc(start, layout) };
    }
}

/// A pool in each state that it can be in, with objects that must stay as they are.
fn every_state<S: BlockSource>(what: &str, make: impl Fn() -> Pool<S>) {
    let in_state = |state: &str| format!("{what}, {state}");
    check(&in_state("empty"), &make());

    // What is at both ends of the window, and a large object.
    let pool = make();
    let (low, high) = (pool.alloc(0x11_u64), pool.alloc_str("high"));
    check(&in_state("in use"), &pool);
    let large = pool.alloc_slice_fill_with(5000, |at| at as u64);
    check(&in_state("with a large object"), &pool);
    pool.alloc_bytes(3);
    check(&in_state("with an odd end"), &pool);
    for _ in 0..3 {
        // The window closes from above.
        let blocks = pool.snapshot().blocks;
        if let Some(active) = blocks.iter().find(|block| block.active) {
            // As many as there is room for with the gap that they have in checkers' builds.
            let gap = if MARKED { 16 } else { 0 };
            pool.alloc_bytes(active.free.saturating_sub(gap)).fill(MaybeUninit::new(0xee));
            assert_eq!(pool.snapshot().blocks.len(), blocks.len());
        }
        check(&in_state("full of bytes"), &pool);
        pool.alloc_slice_fill_with(300, |at| at as u64);
        check(&in_state("with several blocks"), &pool);
    }
    assert_eq!((*low, &*high), (0x11, "high"));
    assert!(large.iter().copied().eq(0..5000));
    let child = pool.child();
    check(&in_state("a child"), &child);
    child.alloc(1_u8);
    check(&in_state("a child in use"), &child);
    drop(child);

    let mut pool = pool;
    for round in 0..40 {
        pool.reset();
        check(&in_state("reset"), &pool);
        if round % 10 == 0 {
            pool.alloc_bytes(100_000);
            pool.alloc_slice_fill_with(2000, |at| at as u32);
        }
    }
}

#[test]
fn they_take_nothing_in_a_plain_pool_in_any_state() {
    common::unwatched();
    every_state("plain", Pool::new);
    let small = || Pool::builder().first_block(256).largest_block(256).build().unwrap();
    every_state("with small blocks", small);
    every_state("wiped", || Pool::builder().zero_on_release(true).build().unwrap());
}

#[test]
fn they_take_nothing_in_a_pool_whose_blocks_lie_side_by_side() {
    common::unwatched();
    let region = Buddy::heap(16 << 20).unwrap();
    every_state("in a region", || Pool::builder().source(&region).build().unwrap());
    let under = Pool::new();
    every_state("over a pool", || Pool::builder().source(&under).build().unwrap());
}

#[test]
fn they_take_nothing_in_a_watched_pool_at_any_level() {
    let levels = [
        Levels::POISON,
        Levels::CANARY,
        Levels::PASSTHROUGH,
        Levels::GUARD,
        Levels::QUARANTINE,
        Levels::ALL,
    ];
    for levels in levels {
        let make = || Pool::builder().levels(levels).build().unwrap();
        every_state(&format!("watched for {levels}"), make);
    }
}

#[test]
fn an_address_that_another_object_has_too_frees_nothing() {
    common::plain();
    let under = Pool::builder().first_block(1 << 16).build().unwrap();
    let pool = Pool::builder().first_block(4096).source(&under).build().unwrap();
    let small = pool.alloc(7_u64);
    // As large as to be a neighbour of the block, beyond its end.
    let large = pool.alloc_slice_fill_with(4000, |at| at as u64);
    let empty = pool.alloc_str("");
    assert_eq!(empty.as_ptr().addr(), large.as_ptr().addr(), "what this test is about");
    let (held, start) = (pool.held_bytes(), NonNull::from(&mut *empty).cast::<u8>());
    for align in [1, 2, 4, 8] {
        let nothing = Layout::from_size_align(0, align).unwrap();
        // SAFETY: an object of no bytes, which nobody uses.
        unsafe { pool.dealloc(start, nothing) };
        // SAFETY: likewise.
        unsafe { pool.try_shrink(start, nothing, nothing) }.unwrap();
    }
    assert_eq!(pool.held_bytes(), held);
    let one = Layout::new::<u8>();
    let nothing = Layout::from_size_align(0, 1).unwrap();
    // SAFETY: an object of no bytes, which nobody uses.
    let grown = unsafe { pool.try_grow(start, nothing, one) }.unwrap();
    assert_ne!(grown.addr().get(), large.as_ptr().addr());
    // SAFETY: one byte is there.
    unsafe { grown.write(0xff) };
    assert_eq!(*small, 7);
    assert!(large.iter().copied().eq(0..4000));
}

#[test]
fn chains_and_kept_texts_of_nothing_are_as_empty_as_they_were() {
    for used in [false, true] {
        let pool = Rc::new(Pool::new());
        if used {
            pool.alloc(1_u64);
        }
        let mut chain = Chain::new(&*pool);
        chain.push(pool.alloc_slice_copy(b""));
        chain.push_copy(b"");
        chain.try_push_front(pool.alloc_zeroed_bytes(0)).unwrap();
        chain.write_bytes(b"").unwrap();
        assert_eq!((chain.len(), chain.buffers().count()), (0, 0));
        chain.push_copy(b"a");
        chain.push(pool.alloc_str("").as_bytes());
        chain.write_bytes(b"b").unwrap();
        assert_eq!(chain.into_slice().unwrap(), b"ab");
        assert_eq!(Chain::with_buffers(&*pool, 0, 100).unwrap().into_slice().unwrap(), b"");
        let mut chain = Chain::with_buffers(&*pool, 3, 0).unwrap();
        chain.write_bytes(b"late").unwrap();
        assert_eq!(chain.into_slice().unwrap(), b"late");
        let kept = Kept::try_new(pool.clone(), |pool| pool.try_alloc_str("")).unwrap();
        drop(pool);
        assert_eq!(&*kept, "");
        assert_eq!(&*Kept::map(kept, |text| &mut text[0..]), "");
    }
    let shared = SharedPool::new();
    assert_eq!(
        (shared.alloc_str(""), shared.alloc_slice_copy::<u64>(&[]).len()),
        (&mut *String::new(), 0)
    );
}

#[cfg(feature = "bytes")]
#[test]
fn frozen_they_are_empty_bytes() {
    use cenote::Freeze;
    for used in [false, true] {
        let pool = Pool::new();
        if used {
            pool.alloc_str("used");
        }
        let bytes = pool.try_freeze(|pool| pool.try_alloc_slice_copy(b"").map(|bytes| &*bytes));
        let bytes = std::thread::spawn(move || bytes.unwrap().clone()).join().unwrap();
        assert!(bytes.is_empty() && bytes.slice(0..0).is_empty());
        let shared = SharedPool::new();
        let text = Kept::try_new(shared.clone(), |pool| pool.try_alloc_str("")).unwrap();
        assert!(text.freeze().is_empty());
    }
}

#[test]
fn the_next_bytes_lie_where_they_would_have_lain() {
    common::plain();
    let pool = Pool::new();
    let one = NonNull::from(pool.alloc_str("one")).cast::<u8>();
    let low = NonNull::from(pool.alloc(1_u64));
    every_slice(&pool);
    let two = NonNull::from(pool.alloc_str("two")).cast::<u8>();
    let next = NonNull::from(pool.alloc(2_u64));
    assert_eq!(two.addr().get() + 3, one.addr().get());
    assert_eq!(low.addr().get() + 8, next.addr().get());
    // SAFETY: nothing refers to it any more; that is its size.
    unsafe { pool.dealloc(two, Layout::from_size_align(3, 1).unwrap()) };
    let again = pool.alloc_str("2nd");
    assert_eq!(again.as_ptr().addr(), two.addr().get());
}

//! What a counted pool promises, one statement at a time.

mod common;

use cenote::{
    Account, AllocError, BlockSource, CleanupKey, CountedBox, CountedPool, Faulty, Pool, System,
};
use common::{Counting, Ledger, message};
use std::alloc::Layout;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

fn counts<S: BlockSource>(pool: &CountedPool<S>) -> Vec<usize> {
    pool.snapshot().blocks.iter().map(|block| block.references).collect()
}

fn free<S: BlockSource>(pool: &CountedPool<S>, objects: impl IntoIterator<Item = NonNull<u8>>) {
    for object in objects {
        // SAFETY: callers give live objects that nothing refers to.
        unsafe { pool.free(object) }.unwrap();
    }
}

#[test]
fn an_empty_pool_holds_nothing_and_nothing_has_an_address() {
    let source = Counting::new();
    let pool = CountedPool::builder().source(&source).build().unwrap();
    for align in [1, 8, 64, 4096, 2 << 20] {
        let layout = Layout::from_size_align(0, align).unwrap();
        let start = pool.alloc_layout(layout);
        assert!(start.addr().get().is_multiple_of(align));
        // SAFETY: nothing has no memory, so this does nothing.
        unsafe { pool.dealloc(start, layout) };
    }
    assert_eq!(*pool.alloc(()), ());
    assert_eq!(pool.alloc_str("").len() + pool.alloc_slice_copy::<u64>(&[]).len(), 0);
    assert_eq!((source.blocks(), pool.held_bytes(), pool.live()), (0, 0, 0));
    assert!(pool.snapshot().blocks.is_empty());
    assert_eq!(pool.trim(), 0);
}

#[test]
fn freeing_the_last_object_gives_the_block_back_to_its_first_byte() {
    common::plain();
    let pool = CountedPool::new();
    let first = pool.alloc_layout(layout(100));
    let more = [pool.alloc_layout(layout(8)), pool.alloc_packed(3)];
    free(&pool, [first]);
    free(&pool, more);
    assert_eq!(pool.alloc_layout(layout(3000)), first);
    assert_eq!(counts(&pool), [1]);
}

#[test]
fn the_newest_object_gives_its_bytes_back_by_pointer_and_by_layout() {
    common::plain();
    let pool = CountedPool::new();
    let kept = pool.alloc_layout(layout(16));
    let used = pool.used_bytes();
    for size in [8, 24, 1000] {
        let aligned = pool.alloc_layout(layout(size));
        free(&pool, [aligned]);
        assert_eq!(pool.used_bytes(), used, "aligned, by pointer");
        let packed = pool.alloc_packed(size);
        free(&pool, [packed]);
        assert_eq!(pool.used_bytes(), used, "packed, by pointer");
    }
    // By layout, a whole row of them.
    let row: Vec<_> = (1..20).map(|n| (pool.alloc_layout(layout(n)), layout(n))).collect();
    let bytes = Layout::from_size_align(7, 1).unwrap();
    let packed: Vec<_> = (1..20).map(|_| (pool.alloc_packed(7), bytes)).collect();
    for (object, layout) in row.into_iter().chain(packed).rev() {
        // SAFETY: live, of this layout.
        unsafe { pool.dealloc(object, layout) };
    }
    assert_eq!(pool.used_bytes(), used);
    assert_eq!(counts(&pool), [1]);
    free(&pool, [kept]);
}

#[test]
fn an_emptied_block_is_used_next_when_the_current_one_is_full() {
    common::plain();
    let pool = CountedPool::new();
    let objects: Vec<_> = (0..14).map(|_| pool.alloc_layout(layout(512))).collect();
    assert_eq!(counts(&pool), [7, 7]);
    let third = pool.alloc_layout(layout(512));
    free(&pool, objects[..7].iter().copied());
    assert_eq!(counts(&pool), [0, 7, 1]);
    assert!(pool.snapshot().blocks[2].current, "the current one is filled to its end");
    let more: Vec<_> = (0..7).map(|_| pool.alloc_layout(layout(512))).collect();
    assert_eq!(counts(&pool), [1, 7, 7]);
    assert!(pool.snapshot().blocks[0].current);
    // One that is full or empty is left at once.
    free(&pool, [more[6]]);
    assert_eq!(counts(&pool), [0, 7, 7]);
    free(&pool, objects[7..].iter().copied());
    assert_eq!(counts(&pool), [0, 0, 7]);
    assert!(pool.snapshot().blocks[1].current);
    free(&pool, [third]);
    free(&pool, more[..6].iter().copied());
    assert_eq!(counts(&pool), [0, 0, 0]);
}

#[test]
fn the_rest_of_an_older_block_is_used_before_a_new_one_is_taken() {
    common::plain();
    let pool = CountedPool::new();
    let first = pool.alloc_layout(layout(2000));
    let second = pool.alloc_layout(layout(3000));
    assert_eq!(counts(&pool), [1, 1]);
    // Fits only into what is left of the first.
    let third = pool.alloc_layout(layout(2000));
    assert_eq!(third.addr().get() & !4095, first.addr().get() & !4095);
    assert_eq!(counts(&pool), [2, 1]);
    free(&pool, [first, second, third]);
}

#[test]
fn a_block_that_failed_six_times_is_tried_again_once_it_was_empty() {
    common::plain();
    let account = Account::root("process").child("shut");
    let pool = CountedPool::on(&account);
    let first = pool.alloc_layout(layout(2500));
    let mut others: Vec<_> = (0..7).map(|_| pool.alloc_layout(layout(2200))).collect();
    let failures: Vec<_> = pool.snapshot().blocks.iter().map(|block| block.failures).collect();
    assert_eq!(failures, [6, 6, 5, 4, 3, 2, 1, 0]);
    others.extend((0..7).map(|_| pool.alloc_layout(layout(4048 - 2200))));
    assert_eq!(counts(&pool), [1, 2, 2, 2, 2, 2, 2, 2]);
    // 1548 bytes are left in the first, but it is not looked at any more.
    let late = pool.alloc_layout(layout(1500));
    assert_eq!(counts(&pool), [1, 2, 2, 2, 2, 2, 2, 2, 1]);
    // Unless there is nothing else.
    account.set_limit(Some(account.held()));
    let rest = [2500, 1500].map(|size| pool.alloc_layout(layout(size)));
    assert_eq!(counts(&pool), [2, 2, 2, 2, 2, 2, 2, 2, 2]);
    assert_eq!(account.refused(), 0, "nobody was told of a limit");
    account.set_limit(None);
    free(&pool, [first]);
    free(&pool, rest);
    let block = &pool.snapshot().blocks[0];
    assert_eq!((block.references, block.failures, block.free), (0, 0, 4048));
    free(&pool, others);
    free(&pool, [late]);
    assert_eq!(counts(&pool), [0; 5], "the current one and four more are kept");
}

#[test]
fn so_many_empty_blocks_are_kept_as_were_asked_for() {
    common::plain();
    for keep in [0, 1, 4, 100] {
        let source = Counting::new();
        let mut pool = CountedPool::builder().keep_empty(keep).source(&source).build().unwrap();
        let objects: Vec<_> = (0..20).map(|_| pool.alloc_layout(layout(4000))).collect();
        assert_eq!(counts(&pool), [1; 20]);
        free(&pool, objects);
        let kept = 20.min(keep + 1);
        assert_eq!(counts(&pool), vec![0; kept]);
        for _ in 0..20 {
            pool.alloc_layout(layout(4000));
        }
        pool.reset();
        assert_eq!(counts(&pool), vec![0; kept]);
        assert_eq!(pool.held_bytes(), source.bytes());
        assert!(pool.trim() >= kept * 4096);
        assert_eq!((source.bytes(), pool.held_bytes()), (0, 0));
        assert_eq!(*pool.alloc(7), 7);
    }
}

#[test]
fn one_block_needs_no_table_and_the_table_of_many_goes_with_them() {
    common::plain();
    let pool = CountedPool::new();
    let one = pool.alloc_layout(layout(4000));
    assert_eq!(pool.held_bytes(), 4096);
    let many: Vec<_> = (0..1000).map(|_| pool.alloc_layout(layout(4000))).collect();
    assert!(pool.snapshot().bookkeeping_bytes >= 8000);
    free(&pool, many);
    assert!(pool.snapshot().bookkeeping_bytes <= 1024);
    free(&pool, [one]);
    pool.trim();
    assert_eq!(pool.held_bytes(), 0);
}

#[test]
fn an_object_is_large_when_it_does_not_fit_into_a_block_and_only_then() {
    common::plain();
    let pool = CountedPool::new();
    let fits = pool.alloc_layout(layout(4096 - 48));
    assert_eq!((pool.snapshot().large.len(), counts(&pool)), (0, vec![1]));
    let large = pool.alloc_layout(layout(4096 - 47));
    assert_eq!(pool.snapshot().large.len(), 1);
    let packed = [pool.alloc_packed(4096 - 48), pool.alloc_packed(4096 - 47)];
    assert_eq!((pool.snapshot().large.len(), counts(&pool)), (2, vec![1, 1]));
    let wide = Layout::from_size_align(2048, 2048).unwrap();
    let aligned = pool.alloc_layout(wide);
    assert_eq!((pool.snapshot().large.len(), pool.live()), (2, 5));
    let page = pool.alloc_layout(Layout::from_size_align(8, 4096).unwrap());
    assert_eq!(pool.snapshot().large.len(), 3, "a header is where it would have to be");
    free(&pool, [fits, large, aligned, page]);
    free(&pool, packed);
    assert_eq!((pool.live(), pool.snapshot().large.len()), (0, 0));
}

#[test]
fn objects_that_change_size_cross_from_block_to_large_and_back() {
    common::plain();
    let pool = CountedPool::new();
    let kept = pool.alloc_str("kept");
    let mut at = pool.alloc_layout(layout(8));
    let mut old = layout(8);
    let sizes = [8, 16, 1000, 4048, 4049, 20_000, 19_000, 5000, 4048, 100, 8, 5000, 8];
    for (step, &size) in sizes.iter().enumerate() {
        let new = layout(size);
        at = if size >= old.size() {
            // SAFETY: the object, of its layout.
            unsafe { pool.try_grow(at, old, new) }.unwrap()
        } else {
            // SAFETY: likewise.
            unsafe { pool.try_shrink(at, old, new) }.unwrap()
        };
        if step > 0 {
            // SAFETY: eight bytes that were written, and kept.
            assert_eq!(unsafe { at.cast::<u64>().read() }, step as u64 - 1);
        }
        // SAFETY: inside the object.
        unsafe { at.cast::<u64>().write(step as u64) };
        assert_eq!(pool.snapshot().large.len(), usize::from(size > 4048), "{size}");
        assert_eq!(pool.live(), 2);
        old = new;
    }
    // An object that is large for its alignment becomes small without it.
    let wide = Layout::from_size_align(100, 8192).unwrap();
    // SAFETY: the object, of its layout.
    let moved = unsafe { pool.try_grow(at, old, wide) }.unwrap();
    assert_eq!(pool.snapshot().large.len(), 1);
    // SAFETY: likewise.
    let back = unsafe { pool.try_shrink(moved, wide, layout(100)) }.unwrap();
    assert_eq!(pool.snapshot().large.len(), 0);
    // Also when it grows at the same time.
    let wide = Layout::from_size_align(100, 4096).unwrap();
    // SAFETY: likewise.
    let moved = unsafe { pool.try_grow(back, layout(100), wide) }.unwrap();
    // SAFETY: likewise.
    let back = unsafe { pool.try_grow(moved, wide, layout(200)) }.unwrap();
    assert_eq!(pool.snapshot().large.len(), 0);
    // SAFETY: likewise.
    let back = unsafe { pool.try_shrink(back, layout(200), layout(100)) }.unwrap();
    // SAFETY: likewise; nothing is left of it.
    let nothing = unsafe { pool.try_shrink(back, layout(100), layout(0)) }.unwrap();
    assert_eq!((nothing.addr().get(), pool.live()), (8, 1));
    drop(kept);
    assert_eq!(pool.live(), 0);
}

#[test]
fn the_newest_object_grows_and_shrinks_in_place() {
    common::plain();
    let pool = CountedPool::new();
    let at = pool.alloc_layout(layout(8));
    // SAFETY: the object, of its layout.
    let grown = unsafe { pool.try_grow(at, layout(8), layout(4000)) }.unwrap();
    assert_eq!((at, pool.used_bytes()), (grown, 4000));
    // SAFETY: likewise.
    let shrunk = unsafe { pool.try_shrink(at, layout(4000), layout(10)) }.unwrap();
    assert_eq!((at, pool.used_bytes()), (shrunk, 16));
    let other = pool.alloc_layout(layout(8));
    // SAFETY: likewise.
    let moved = unsafe { pool.try_grow(at, layout(10), layout(100)) }.unwrap();
    assert_ne!(moved, at);
    assert_eq!(counts(&pool), [2]);
    free(&pool, [moved, other]);
}

#[test]
fn impossible_sizes_are_errors_and_change_nothing() {
    // With a limit, so that nobody asks the system for them.
    let account = Account::root("process").child("sizes").with_limit(Some(1 << 20));
    let pool = CountedPool::on(&account);
    let largest = Layout::from_size_align(isize::MAX as usize, 1).unwrap();
    assert!(pool.try_alloc_layout(largest).is_err());
    assert!(pool.try_alloc_zeroed(largest).is_err());
    for size in [usize::MAX, isize::MAX as usize, isize::MAX as usize + 1, 1 << 60] {
        assert!(pool.try_alloc_packed(size).is_err(), "{size}");
        assert!(pool.try_alloc_bytes(size).is_err());
        assert!(pool.try_alloc_slice_fill_with(size, |_| 1_u64).is_err());
    }
    // The sanitizer's allocator does not refuse such an alignment, but ends the process.
    if !cfg!(cenote_asan) {
        let widest = Layout::from_size_align(1, 1 << 62).unwrap();
        assert!(pool.try_alloc_layout(widest).is_err());
    }
    let kept = pool.alloc_layout(layout(8));
    // SAFETY: the object, of its layout.
    assert!(unsafe { pool.try_grow(kept, layout(8), largest) }.is_err());
    assert_eq!(pool.live(), 1);
    let panic = catch_unwind(AssertUnwindSafe(|| pool.alloc_packed(usize::MAX))).unwrap_err();
    assert!(message(&*panic).contains("larger than any can be"));
}

#[test]
fn at_the_limit_every_byte_there_is_is_used_and_what_is_kept_is_let_go() {
    common::plain();
    let account = Account::root("process").child("small").with_limit(Some(3 * 4096 + 512));
    let pool = CountedPool::on(&account);
    // Blocks that are not tried any more have room for these.
    let parts = [2500, 2500, 2500].map(|size| pool.alloc_layout(layout(size)));
    for _ in 0..8 {
        assert!(pool.try_alloc_layout(layout(2500)).is_err());
    }
    let fillers = [1500; 3].map(|size| pool.alloc_layout(layout(size)));
    let error = pool.try_alloc_layout(layout(100)).unwrap_err();
    assert_eq!(error.account(), Some(&account));
    assert_eq!(account.held(), 3 * 4096 + 256, "three blocks, and a table of two");
    // Empty blocks that are kept for later make way for a large object.
    free(&pool, parts);
    free(&pool, fillers);
    assert_eq!(counts(&pool), [0, 0, 0]);
    let large = pool.alloc_layout(layout(8000));
    assert_eq!(account.held(), 8192);
    free(&pool, [large]);
}

#[test]
fn a_block_whose_table_cannot_be_had_goes_back() {
    common::plain();
    let ledger = Ledger::new();
    let source = Faulty::new(&ledger);
    let pool = CountedPool::builder().source(&source).build().unwrap();
    let first = pool.alloc_layout(layout(4000));
    source.fail_after(1, true);
    assert!(pool.try_alloc_layout(layout(4000)).is_err());
    assert_eq!((ledger.blocks(), ledger.bytes()), (1, 4096));
    source.recover();
    let second = pool.alloc_layout(layout(4000));
    assert_eq!(ledger.blocks(), 3);
    free(&pool, [first, second]);
}

#[test]
fn a_reset_frees_all_and_runs_the_cleanups_newest_first() {
    let ledger = Ledger::new();
    let mut pool = CountedPool::builder().source(&ledger).build().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |what: usize| {
        let order = order.clone();
        move || order.lock().unwrap().push(what)
    };
    for what in 1..=3 {
        pool.defer(note(what));
        CountedBox::leak(pool.alloc_str(&"text".repeat(what * 700)));
    }
    pool.defer(note(100)).cancel();
    let early = pool.defer_keyed(CleanupKey::new("early", 1), note(50));
    assert!(early.is_pending());
    assert!(pool.cleanup(CleanupKey::new("early", 1)).unwrap().run());
    assert!(!early.is_pending());
    assert!(!early.run(), "run already");
    pool.reset();
    assert_eq!(*order.lock().unwrap(), [50, 3, 2, 1]);
    assert_eq!((pool.live(), pool.snapshot().large.len()), (0, 0));
    assert_eq!(pool.held_bytes(), ledger.bytes());
    pool.defer(note(4));
    drop(pool);
    assert_eq!(*order.lock().unwrap(), [50, 3, 2, 1, 4]);
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn bookkeeping_never_holds_a_block_back() {
    common::plain();
    let pool = CountedPool::new();
    let objects: Vec<_> = (0..100)
        .map(|n| {
            pool.defer(|| ());
            pool.own(vec![n]);
            let _ = pool.alloc_layout(layout(5000));
            pool.alloc_layout(layout(500))
        })
        .collect();
    assert_eq!(pool.snapshot().references(), 100);
    assert_eq!(pool.snapshot().cleanups, 200);
    free(&pool, objects);
    let snapshot = pool.snapshot();
    assert!(snapshot.blocks.iter().all(|block| block.free == 4096 - block.header));
    assert_eq!(snapshot.large.len(), 100);
}

#[test]
fn a_handle_of_a_cleanup_that_is_over_does_not_reach_the_next_in_its_place() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let pool = CountedPool::new();
    let key = CleanupKey::new("key", 1);
    let mut stale = Vec::new();
    for _ in 0..1000 {
        let first = pool.defer_keyed(key, || {
            RUNS.fetch_add(1, SeqCst);
        });
        let second = pool.cleanup(key).unwrap();
        assert!(first.cancel());
        stale.push(second);
    }
    // Their memory has been used again and again.
    assert!(pool.held_bytes() < 4096, "{}", pool.held_bytes());
    let live = pool.defer(|| {
        RUNS.fetch_add(1, SeqCst);
    });
    assert!(stale.iter().all(|cleanup| !cleanup.is_pending()));
    assert!(!stale.into_iter().any(|cleanup| cleanup.run()));
    assert_eq!(RUNS.load(SeqCst), 0);
    assert!(live.run());
    assert_eq!(RUNS.load(SeqCst), 1);
}

#[test]
fn cleanups_of_all_sizes_take_each_others_place() {
    fn check<const N: usize>(pool: &CountedPool, mark: u8) -> cenote::Cleanup<'_> {
        let bytes = [mark; N];
        pool.defer(move || {
            assert_eq!(bytes, [mark; N]);
            RAN.fetch_add(1, SeqCst);
        })
    }
    static RAN: AtomicUsize = AtomicUsize::new(0);
    let pool = CountedPool::new();
    let mut dice = common::Dice::new(9);
    let mut pending = Vec::new();
    for mark in 0..20_000 {
        pending.push(match dice.below(5) {
            0 => check::<0>(&pool, mark as u8),
            1 => check::<40>(&pool, mark as u8),
            2 => check::<200>(&pool, mark as u8),
            3 => check::<1000>(&pool, mark as u8),
            _ => check::<6000>(&pool, mark as u8),
        });
        if pending.len() > 20 {
            let place = dice.below(pending.len());
            assert!(pending.swap_remove(place).run());
        }
    }
    assert_eq!(RAN.load(SeqCst), 20_000 - 20);
    // Of the largest, only those that have the room.
    let other = CountedPool::new();
    for round in 0..20 {
        let small = check::<20_000>(&other, round);
        assert!(small.cancel());
        let (large, small) = (check::<40_000>(&other, round), check::<20_000>(&other, round));
        assert!(small.run() && large.run());
    }
    assert_eq!(other.held_bytes(), (20 << 10) + (40 << 10), "a block for each");
    assert_eq!(RAN.swap(20_000 - 20, SeqCst), 20_020);
    // What the most that were ever pending at once need, and not what passed through.
    assert!(pool.held_bytes() <= 24 * (8 << 10), "{}", pool.held_bytes());
    drop(pending);
    drop(pool);
    assert_eq!(RAN.load(SeqCst), 20_000);
}

#[test]
fn a_cleanup_may_use_the_pool_and_a_panicking_one_stops_nothing() {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = |add: usize| {
        let ran = ran.clone();
        move || _ = ran.fetch_add(add, SeqCst)
    };
    let mut pool = CountedPool::new();
    pool.defer(count(1));
    pool.defer(|| panic!("in a cleanup"));
    let (last, wide) = (count(10), [7_u8; 3000]);
    pool.defer_with(move |pool| {
        assert_eq!(wide, [7; 3000], "a closure of any size");
        CountedBox::leak(pool.alloc_slice_copy(&wide));
        pool.defer(last);
    });
    let panic = catch_unwind(AssertUnwindSafe(|| pool.reset())).unwrap_err();
    assert_eq!(message(&*panic), "in a cleanup");
    assert_eq!((ran.load(SeqCst), pool.live()), (11, 0));
    assert_eq!(*pool.alloc(1), 1);
}

#[test]
fn what_is_owned_is_dropped_with_the_pool_wherever_that_is() {
    #[repr(align(256))]
    struct Wide(&'static AtomicUsize);
    impl Drop for Wide {
        fn drop(&mut self) {
            assert!(std::ptr::from_ref(self).addr().is_multiple_of(256));
            self.0.fetch_add(1, SeqCst);
        }
    }
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    let mut pool = CountedPool::new();
    for _ in 0..10 {
        let wide = pool.own(Wide(&DROPS));
        assert!(std::ptr::from_mut(wide).addr().is_multiple_of(256));
    }
    assert_eq!(*pool.own(7), 7);
    pool.reset();
    assert_eq!(DROPS.load(SeqCst), 10);
    pool.own(Wide(&DROPS));
    CountedBox::leak(pool.alloc(Wide(&DROPS)));
    std::thread::spawn(move || drop(pool)).join().unwrap();
    assert_eq!(DROPS.load(SeqCst), 11, "what is leaked is not dropped");
}

#[test]
fn secrets_are_gone_when_their_block_empties_and_before_memory_leaves() {
    common::plain();
    /// Checks that what comes back is zero.
    #[derive(Default)]
    struct Clean(Cell<usize>);
    // SAFETY: every call goes to `System` unchanged.
    unsafe impl BlockSource for Clean {
        fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
            let block = System.acquire(layout)?;
            // SAFETY: the block has so many bytes.
            unsafe { block.write_bytes(0x5A, layout.size()) };
            Ok(block)
        }
        unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
            // SAFETY: all bytes were written, when it went out.
            let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            self.0.set(self.0.get() + 1);
            // SAFETY: the caller's promise, passed on.
            unsafe { System.release(block, layout) }
        }
    }
    let source = Clean::default();
    let mut pool = CountedPool::builder().zero_on_release(true).source(&source).build().unwrap();
    let secret = pool.alloc([0x77_u8; 100]);
    let place = NonNull::from(&*secret);
    drop(secret);
    // A sanitizer would rightly object.
    if !cfg!(cenote_asan) {
        // SAFETY: memory of the pool, which was written; nothing is there now.
        assert_eq!(unsafe { place.cast::<[u8; 100]>().read() }, [0; 100]);
    }
    for round in 0..3 {
        for _ in 0..30 {
            CountedBox::leak(pool.alloc([0x77_u8; 1000]));
        }
        CountedBox::leak(pool.alloc([0x77_u8; 10_000]));
        pool.own(String::from("secret"));
        if round == 1 {
            pool.reset();
        }
    }
    pool.reset();
    // A block that a reset keeps is wiped as well.
    let again = pool.alloc_layout(layout(4000));
    // SAFETY: so many bytes, which the pool has written.
    assert_eq!(unsafe { again.cast::<[u8; 4000]>().read() }, [0; 4000]);
    free(&pool, [again]);
    pool.trim();
    drop(pool);
    assert!(source.0.get() > 10);
}

#[test]
fn a_box_drops_its_value_once_whatever_happens_to_it() {
    struct Rings(&'static AtomicUsize);
    impl Drop for Rings {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    static RINGS: AtomicUsize = AtomicUsize::new(0);
    let make = || Rings(&RINGS);
    let pool = CountedPool::new();
    drop(pool.alloc(make()));
    assert_eq!((RINGS.load(SeqCst), pool.live()), (1, 0));
    let inner = CountedBox::into_inner(pool.alloc(make()));
    assert_eq!((RINGS.load(SeqCst), pool.live()), (1, 0));
    drop(inner);
    let raw = CountedBox::into_raw(pool.alloc(make()));
    assert_eq!((RINGS.load(SeqCst), pool.live()), (2, 1));
    // SAFETY: just given up, of this pool.
    drop(unsafe { CountedBox::from_raw(&pool, raw) });
    assert_eq!((RINGS.load(SeqCst), pool.live()), (3, 0));
    drop(pool.alloc_slice_fill_with(5, |_| make()));
    drop(pool.alloc_slice_fill_iter((0..500).filter(|n| n % 100 == 0).map(|_| make())));
    assert_eq!((RINGS.load(SeqCst), pool.live()), (13, 0));
    std::mem::forget(pool.alloc(make()));
    assert_eq!((RINGS.load(SeqCst), pool.live()), (13, 1));

    // A value that panics when it is dropped is freed all the same.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let bomb = pool.alloc((Bomb, 1_u64));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(bomb))).is_err());
    assert_eq!(pool.live(), 1);
}

#[test]
fn what_is_half_made_is_dropped_and_freed_when_its_maker_panics() {
    let drops = Arc::new(AtomicUsize::new(0));
    struct Rings(Arc<AtomicUsize>);
    impl Drop for Rings {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let pool = CountedPool::new();
    let maker = |at: usize| {
        let drops = drops.clone();
        move |n: usize| if n == at { panic!("at {n}") } else { Rings(drops.clone()) }
    };
    assert!(catch_unwind(AssertUnwindSafe(|| pool.alloc_with(|| maker(0)(0)))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| pool.alloc_slice_fill_with(9, maker(5)))).is_err());
    assert_eq!(drops.load(SeqCst), 5);
    let many = (0..100).filter(|n| n % 2 == 0).map(maker(60));
    assert!(catch_unwind(AssertUnwindSafe(|| pool.alloc_slice_fill_iter(many))).is_err());
    assert_eq!(drops.load(SeqCst), 35);
    assert_eq!(pool.live(), 0);

    struct Grumpy;
    impl std::fmt::Display for Grumpy {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            Err(std::fmt::Error)
        }
    }
    let error = pool.try_alloc_fmt(format_args!("so far {Grumpy}")).unwrap_err();
    assert!(error.to_string().contains("after 7 bytes"));
    assert_eq!(pool.live(), 0);
}

#[test]
fn a_display_that_uses_the_pool_does_not_disturb_the_text_it_is_part_of() {
    common::plain();
    struct Nested<'p>(&'p CountedPool);
    impl std::fmt::Display for Nested<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let inner = self.0.alloc_fmt(format_args!("<{}>", "inner".repeat(100)));
            f.write_str(&inner)
        }
    }
    let pool = CountedPool::new();
    let text = pool.alloc_fmt(format_args!("a{}b{}c", Nested(&pool), Nested(&pool)));
    let expected = format!("a<{0}>b<{0}>c", "inner".repeat(100));
    assert_eq!(&*text, expected);
    let long = pool.alloc_fmt(format_args!("{:>20000}", 1));
    assert_eq!((long.len(), pool.snapshot().large.len()), (20_000, 1));
    drop((text, long));
    assert_eq!(pool.live(), 0);
}

#[test]
fn pools_stand_on_each_other() {
    let ledger = Ledger::new();
    let below = CountedPool::builder().page(64 << 10).source(&ledger).build().unwrap();
    {
        let child = below.child();
        assert_eq!(child.page_bytes(), 64 << 10);
        let counted = CountedPool::builder().source(&below).build().unwrap();
        let pool = Pool::builder().source(&counted).build().unwrap();
        let text = pool.alloc_str("two pools down");
        let number = child.alloc(7);
        assert_eq!((&*text, *number), ("two pools down", 7));
        assert!(below.live() > 0 && counted.live() > 0);
    }
    assert_eq!(below.live(), 0);
    drop(below);
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn the_monitor_draws_every_block() {
    common::plain();
    let pool = CountedPool::builder().name("monitor").build().unwrap();
    let objects: Vec<_> = (0..10).map(|_| pool.alloc_layout(layout(512))).collect();
    let bytes = pool.alloc_packed(500);
    let large = pool.alloc_layout(layout(10_000));
    let text = pool.snapshot().to_string();
    println!("{text}");
    assert!(text.starts_with("monitor: "));
    assert!(text.contains("refs    7") && text.contains("refs    4  failures 0  current"));
    assert!(text.contains("[H####") && text.contains("======]") && text.contains("large  1"));
    free(&pool, objects);
    free(&pool, [bytes, large]);
    assert!(pool.snapshot().to_string().contains("refs    0"));
}

#[test]
fn a_pool_may_move_and_go_to_another_thread_with_all_that_is_in_it() {
    fn sent<T: Send>(value: T) -> T {
        value
    }
    let pool = CountedPool::new();
    let text = CountedBox::leak(pool.alloc_str("moves along")).as_ptr();
    let early = Arc::new(AtomicUsize::new(0));
    let count = early.clone();
    pool.defer_keyed(CleanupKey::new("early", 1), move || {
        count.fetch_add(1, SeqCst);
    });
    let boxed = Box::new(sent(pool));
    // SAFETY: leaked, so in the pool's block until its reset.
    assert_eq!(unsafe { text.read() }, b'm');
    let back = std::thread::scope(|scope| {
        let work = scope.spawn(move || {
            drop(boxed.alloc([7_u8; 3000]));
            assert!(boxed.cleanup(CleanupKey::new("early", 1)).unwrap().run());
            boxed
        });
        work.join().unwrap()
    });
    assert_eq!((back.live(), early.load(SeqCst)), (1, 1));
}

//! What each level of `cenote::debug` finds, in each pool, and that nothing is found where
//! nothing is wrong.

mod common;

use cenote::debug::Levels;
use cenote::misuse::{BadFreeKind, Misuse, OnBadFree, on_misuse};
use cenote::{
    Account, BlockSource, Buddy, ChunkPool, CountedPool, Faulty, Pool, SharedPool, System,
};
use std::alloc::Layout;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Once;

std::thread_local! {
    /// What is done besides when something is reported on this thread.
    static HOOK: std::cell::Cell<Option<fn()>> = const { std::cell::Cell::new(None) };
    /// What was reported on this thread.
    static TOLD: RefCell<Vec<BadFreeKind>> = const { RefCell::new(Vec::new()) };
}

/// From now on reports go to the thread that they are made on.
fn listen() {
    static ONCE: Once = Once::new();
    fn note(misuse: &Misuse<'_>) {
        TOLD.with_borrow_mut(|told| told.push(misuse.error.kind()));
        if let Some(hook) = HOOK.get() {
            hook();
        }
    }
    ONCE.call_once(|| on_misuse(note));
    TOLD.with_borrow_mut(Vec::clear);
}

fn told() -> Vec<BadFreeKind> {
    TOLD.with_borrow_mut(core::mem::take)
}

/// The three pools, as far as levels concern them.
trait Watched {
    fn make(levels: Levels) -> Self;
    fn make_on(levels: Levels, account: &Account) -> Self;
    fn take(&self, layout: Layout) -> NonNull<u8>;
    /// # Safety
    /// As for the pool's `dealloc`; or a mistake that is to be found.
    unsafe fn give(&self, object: NonNull<u8>, layout: Layout);
    fn clear(&mut self);
    fn on(&self) -> Levels;
}

macro_rules! watched {
    ($pool:ident, $builder:ident, $policy:ident) => {
        impl Watched for $pool {
            fn make(levels: Levels) -> Self {
                $pool::$builder().levels(levels).$policy(OnBadFree::Report).build().unwrap()
            }
            fn make_on(levels: Levels, account: &Account) -> Self {
                let builder = $pool::$builder().levels(levels).$policy(OnBadFree::Report);
                builder.account(account).build().unwrap()
            }
            fn take(&self, layout: Layout) -> NonNull<u8> {
                self.try_alloc_layout(layout).unwrap()
            }
            unsafe fn give(&self, object: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise.
                unsafe { self.dealloc(object, layout) }
            }
            fn clear(&mut self) {
                self.reset();
            }
            fn on(&self) -> Levels {
                self.levels()
            }
        }
    };
}
watched!(Pool, builder, on_misuse);
watched!(CountedPool, builder, on_bad_free);
watched!(ChunkPool, config, on_bad_free);

/// Runs a test of any pool for all three.
macro_rules! for_each_pool {
    ($($name:ident)*) => {$(
        mod $name {
            #[test]
            fn in_a_pool() {
                super::checks::$name::<cenote::Pool>();
            }
            #[test]
            fn in_a_counted_pool() {
                super::checks::$name::<cenote::CountedPool>();
            }
            #[test]
            fn in_a_chunk_pool() {
                super::checks::$name::<cenote::ChunkPool>();
            }
        }
    )*};
}
for_each_pool! {
    objects_are_as_asked_at_every_level
    new_and_freed_memory_is_filled_by_poison
    a_byte_beyond_an_object_is_found_when_it_is_freed
    a_byte_beyond_an_object_is_found_at_the_reset
    a_write_after_the_free_is_found_when_the_quarantine_ends
    a_free_of_what_is_in_quarantine_is_a_double_one
    what_is_in_quarantine_is_not_handed_out_again
    quarantine_gives_way_to_a_limit
    an_account_is_charged_for_all_and_credited_for_all
}

/// All sets of levels.
fn sets() -> impl Iterator<Item = Levels> {
    let each =
        [Levels::POISON, Levels::CANARY, Levels::PASSTHROUGH, Levels::GUARD, Levels::QUARANTINE];
    (0..32_u32).map(move |bits| {
        let on = (0..5).filter(|bit| bits >> bit & 1 == 1).map(|bit| each[bit as usize]);
        on.fold(Levels::NONE, |all, one| all | one)
    })
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// So many bytes behind an address.
fn beyond(object: NonNull<u8>, bytes: usize) -> *mut u8 {
    object.as_ptr().wrapping_add(bytes)
}

mod checks {
    use super::*;

    pub(super) fn objects_are_as_asked_at_every_level<P: Watched>() {
        listen();
        for levels in sets() {
            let mut pool = P::make(levels);
            for size in [1, 7, 8, 100, 1024, 4095, 4096, 4097, 20_000, 100_000] {
                for align in [1, 8, 16, 64, 4096, 65536] {
                    let layout = layout(size, align);
                    let object = pool.take(layout);
                    assert_eq!(object.addr().get() % align, 0, "{levels} {layout:?}");
                    // SAFETY: so many bytes are ours.
                    unsafe { object.write_bytes(7, size) };
                    if size % 2 == 0 {
                        // SAFETY: from this pool with this layout.
                        unsafe { pool.give(object, layout) };
                    }
                }
            }
            pool.clear();
            pool.take(layout(10, 1));
            assert_eq!(pool.on(), levels);
        }
        assert!(told().is_empty());
    }

    pub(super) fn new_and_freed_memory_is_filled_by_poison<P: Watched>() {
        let pool = P::make(Levels::POISON | Levels::QUARANTINE);
        let object = pool.take(layout(40, 8));
        // SAFETY: poison has written them.
        let read = |at: usize| unsafe { beyond(object, at).read_volatile() };
        assert!((0..40).all(|at| read(at) == 0xa5));
        // SAFETY: from this pool with this layout.
        unsafe { pool.give(object, layout(40, 8)) };
        if !cfg!(cenote_asan) {
            assert!((0..40).all(|at| read(at) == 0x5a), "it is kept, so it can still be looked at");
        }
    }

    pub(super) fn a_byte_beyond_an_object_is_found_when_it_is_freed<P: Watched>() {
        if cfg!(cenote_asan) {
            return; // The sanitizer ends the program before.
        }
        listen();
        for size in [1, 24, 4000, 5000] {
            let pool = P::make(Levels::CANARY);
            let object = pool.take(layout(size, 1));
            // SAFETY: the mistake is to be found; the memory behind is the pool's.
            unsafe { beyond(object, size).write(0) };
            // SAFETY: from this pool with this layout.
            unsafe { pool.give(object, layout(size, 1)) };
            assert_eq!(told(), [BadFreeKind::Overrun], "{size}");
        }
    }

    pub(super) fn a_byte_beyond_an_object_is_found_at_the_reset<P: Watched>() {
        if cfg!(cenote_asan) {
            return;
        }
        listen();
        let mut pool = P::make(Levels::CANARY);
        pool.take(layout(24, 8));
        let object = pool.take(layout(24, 8));
        // SAFETY: the mistake is to be found; the memory behind is the pool's.
        unsafe { beyond(object, 39).write(0) };
        pool.clear();
        assert_eq!(told(), [BadFreeKind::Overrun]);
        pool.take(layout(24, 8));
        drop(pool);
        assert!(told().is_empty());
    }

    pub(super) fn a_write_after_the_free_is_found_when_the_quarantine_ends<P: Watched>() {
        if cfg!(cenote_asan) {
            return;
        }
        listen();
        let pool = P::make(Levels::QUARANTINE);
        let object = pool.take(layout(100, 8));
        // SAFETY: from this pool with this layout.
        unsafe { pool.give(object, layout(100, 8)) };
        // SAFETY: the mistake is to be found; the memory is the pool's.
        unsafe { beyond(object, 50).write(1) };
        assert!(told().is_empty());
        drop(pool);
        assert_eq!(told(), [BadFreeKind::Written]);
    }

    pub(super) fn a_free_of_what_is_in_quarantine_is_a_double_one<P: Watched>() {
        listen();
        let pool = P::make(Levels::QUARANTINE);
        let object = pool.take(layout(100, 8));
        // SAFETY: from this pool with this layout.
        unsafe { pool.give(object, layout(100, 8)) };
        // SAFETY: the mistake is to be found.
        unsafe { pool.give(object, layout(100, 8)) };
        assert_eq!(told(), [BadFreeKind::Double]);
    }

    pub(super) fn what_is_in_quarantine_is_not_handed_out_again<P: Watched>() {
        listen();
        let pool = P::make(Levels::QUARANTINE);
        let mut freed = Vec::new();
        for _ in 0..400 {
            let object = pool.take(layout(100, 8));
            assert!(!freed.contains(&object));
            // SAFETY: from this pool with this layout.
            unsafe { pool.give(object, layout(100, 8)) };
            freed.push(object);
        }
        // But not for ever.
        for _ in 0..10_000 {
            let object = pool.take(layout(5000, 8));
            // SAFETY: from this pool with this layout.
            unsafe { pool.give(object, layout(5000, 8)) };
        }
        assert!(told().is_empty());
    }

    pub(super) fn quarantine_gives_way_to_a_limit<P: Watched>() {
        listen();
        let account = Account::root("levels").with_limit(Some(64 << 10));
        let pool = P::make_on(Levels::QUARANTINE | Levels::CANARY, &account);
        for _ in 0..1000 {
            let object = pool.take(layout(9000, 8));
            // SAFETY: from this pool with this layout.
            unsafe { pool.give(object, layout(9000, 8)) };
        }
        drop(pool);
        assert_eq!((account.held(), told()), (0, vec![]));
    }

    pub(super) fn an_account_is_charged_for_all_and_credited_for_all<P: Watched>() {
        for levels in sets() {
            let account = Account::root("levels");
            let mut pool = P::make_on(levels, &account);
            for round in 0..3 {
                for size in [10, 100, 5000, 70_000] {
                    let object = pool.take(layout(size, 8));
                    assert!(account.held() >= size);
                    if round != 1 {
                        // SAFETY: from this pool with this layout.
                        unsafe { pool.give(object, layout(size, 8)) };
                    }
                }
                pool.clear();
            }
            drop(pool);
            assert_eq!(account.held(), 0, "{levels}");
        }
    }
}

#[test]
fn a_free_of_what_is_no_object_is_told_where_others_live() {
    listen();
    let pool = Pool::builder().levels(Levels::CANARY).on_misuse(OnBadFree::Report).build().unwrap();
    let object = pool.alloc_layout(layout(100, 8));
    let inside = NonNull::new(beyond(object, 8)).unwrap();
    // SAFETY: the mistake is to be found: nothing begins there.
    unsafe { pool.dealloc(inside, layout(92, 8)) };
    let mut mine = 0_u64;
    // SAFETY: likewise: it is on the stack.
    unsafe { pool.dealloc(NonNull::from(&mut mine).cast(), layout(8, 8)) };
    assert_eq!(told(), [BadFreeKind::Interior, BadFreeKind::Foreign]);
}

#[test]
fn growing_and_shrinking_keeps_contents_and_finds_no_fault() {
    listen();
    for levels in sets() {
        let counted = CountedPool::make(levels);
        let mut numbers = allocator_api2::vec::Vec::new_in(&counted);
        (0..10_000_u32).for_each(|n| numbers.push(n));
        numbers.truncate(10);
        numbers.shrink_to_fit();
        assert_eq!(numbers[..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let pool = Pool::make(levels);
        let text = pool.alloc_fmt(format_args!("{:>5000}|{}", 1, "x".repeat(3000)));
        assert_eq!((text.len(), text.find('|')), (8001, Some(5000)));
        let words = pool.alloc_slice_fill_iter((0..1000).filter(|n| n % 3 == 0));
        assert_eq!((words.len(), words[333]), (334, 999));
    }
    assert!(told().is_empty());
}

#[test]
fn every_fault_of_the_source_is_an_error_and_loses_nothing() {
    for levels in sets().step_by(3) {
        for forever in [false, true] {
            for after in 0.. {
                let account = Account::root("faults");
                let source = Faulty::new(System);
                let pool = Pool::builder()
                    .levels(levels)
                    .source(&source)
                    .account(&account)
                    .build()
                    .unwrap();
                source.fail_after(after, forever);
                let failed = (1..20).filter(|n| pool.try_alloc_zeroed_bytes(n * 500).is_err());
                let failed = failed.count() as u64;
                let faults = source.faults();
                source.recover();
                assert!(pool.try_alloc(1_u64).is_ok());
                drop(pool);
                assert_eq!(account.held(), 0);
                if faults == 0 {
                    break;
                }
                // Without a level, a block that was refused may be had in a smaller size.
                assert!(failed >= 1 || levels.is_none());
            }
        }
    }
}

#[test]
fn objects_of_a_watched_pool_may_come_from_a_region() {
    common::at_once();
    listen();
    let buddy = Buddy::heap(1 << 20).unwrap();
    for levels in sets() {
        let pool = Pool::builder().levels(levels).source(&buddy).build().unwrap();
        for size in [10, 5000, 9000] {
            pool.alloc_zeroed(layout(size, 8));
        }
        let child = pool.child();
        child.alloc(1_u64);
        assert_eq!(child.levels(), levels);
    }
    assert_eq!((buddy.used_bytes(), told()), (0, vec![]));
}

#[test]
fn impossible_sizes_are_errors_at_every_level() {
    for levels in sets() {
        let pool = Pool::make(levels);
        for less in [0, 1, 7, 15, 16, 31, 4095, 4096, 8191] {
            for shift in [0, 3, 4, 12, 21] {
                let align = 1 << shift;
                let Ok(layout) = Layout::from_size_align(isize::MAX as usize - less, align) else {
                    continue;
                };
                assert!(pool.try_alloc_layout(layout).is_err(), "{levels} {layout:?}");
            }
        }
        assert_eq!(pool.held_bytes(), 0);
    }
}

#[test]
fn a_source_that_counts_gets_back_what_it_gave() {
    struct Exact(RefCell<Vec<(usize, Layout)>>);
    // SAFETY: every call goes to `System` unchanged.
    unsafe impl BlockSource for Exact {
        fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, cenote::AllocError> {
            let block = System.acquire(layout)?;
            self.0.borrow_mut().push((block.addr().get(), layout));
            Ok(block)
        }
        unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
            let mut out = self.0.borrow_mut();
            let known = out.iter().position(|known| *known == (block.addr().get(), layout));
            out.swap_remove(known.expect("a block as it went out"));
            // SAFETY: the caller's promise.
            unsafe { System.release(block, layout) }
        }
    }
    for levels in sets() {
        let source = Exact(RefCell::default());
        let pool = ChunkPool::config().levels(levels).source(&source).build().unwrap();
        let objects: Vec<_> = (0..200).map(|n| pool.alloc_layout(layout(n * 50, 16))).collect();
        for object in objects.iter().step_by(3) {
            // SAFETY: from this pool, and not used any more.
            unsafe { pool.free(*object) }.unwrap();
        }
        drop(pool);
        assert_eq!(source.0.borrow().len(), 0);
    }
}

#[test]
fn what_is_watched_goes_past_every_cache() {
    // A cache would keep the block, and give out a larger one than was asked for.
    let before = cenote::Blocks::cached_bytes();
    let pool = Pool::builder().levels(Levels::PASSTHROUGH).source(cenote::Blocks).build().unwrap();
    let shared = cenote::SharedBlocks;
    let other = Pool::builder().levels(Levels::PASSTHROUGH).source(shared).build().unwrap();
    let cached = cenote::Cached::new(System, 1 << 20);
    let third = Pool::builder().levels(Levels::PASSTHROUGH).source(&cached).build().unwrap();
    for object in [layout(300, 8), layout(5000, 8)] {
        let objects =
            (pool.alloc_layout(object), other.alloc_layout(object), third.alloc_layout(object));
        // SAFETY: from this pool with this layout.
        unsafe { pool.dealloc(objects.0, object) };
        // SAFETY: from this pool with this layout.
        unsafe { other.dealloc(objects.1, object) };
        // SAFETY: from this pool with this layout.
        unsafe { third.dealloc(objects.2, object) };
    }
    assert_eq!((cenote::Blocks::cached_bytes(), cached.cached_bytes()), (before, 0));
}

#[test]
fn levels_of_a_shared_pool_find_what_those_of_a_pool_do() {
    if cfg!(cenote_asan) {
        // It ends the process at the first mistake.
        return;
    }
    listen();
    let watched = |levels| {
        let builder = SharedPool::builder().levels(levels).on_misuse(OnBadFree::Report);
        builder.shared().unwrap().try_build().unwrap()
    };
    let pool = watched(Levels::CANARY);
    let (object, other) = (pool.alloc_layout(layout(40, 8)), pool.alloc_layout(layout(40, 8)));
    assert_eq!(pool.levels(), Levels::CANARY);
    assert_eq!(pool.used_bytes(), 80);
    // SAFETY: none of the object's: it is what the canary is for, in memory of the pool's.
    unsafe { beyond(object, 40).write(7) };
    // SAFETY: likewise.
    unsafe { beyond(other, 40).write(7) };
    // SAFETY: from this pool with this layout.
    unsafe { pool.dealloc(object, layout(40, 8)) };
    assert_eq!(told(), [BadFreeKind::Overrun]);
    let (last, scratch) = (pool.clone(), pool.scratch());
    assert_eq!(scratch.levels(), Levels::CANARY);
    drop(scratch);
    drop(pool);
    assert!(told().is_empty());
    drop(last);
    assert_eq!(told(), [BadFreeKind::Overrun], "at the end, what is still there");

    let pool = watched(Levels::QUARANTINE);
    let object = pool.alloc_layout(layout(40, 8));
    // SAFETY: from this pool with this layout.
    unsafe { pool.dealloc(object, layout(40, 8)) };
    // SAFETY: a mistake, in memory that is kept.
    unsafe { object.write(1) };
    // SAFETY: another one, which is told and does nothing.
    unsafe { pool.dealloc(object, layout(40, 8)) };
    assert_eq!(told(), [BadFreeKind::Double]);
    drop(pool);
    assert_eq!(told(), [BadFreeKind::Written]);
}

#[test]
fn who_is_told_of_a_shared_pools_misuse_may_use_the_pool() {
    if cfg!(cenote_asan) {
        // It ends the process at the first mistake.
        return;
    }
    use std::cell::Cell;
    thread_local! {
        static POOL: RefCell<Option<SharedPool>> = const { RefCell::new(None) };
        static MADE: Cell<usize> = const { Cell::new(0) };
    }
    listen();
    let builder = SharedPool::builder().levels(Levels::CANARY).on_misuse(OnBadFree::Report);
    let pool = builder.shared().unwrap().try_build().unwrap();
    POOL.set(Some(pool.clone()));
    HOOK.set(Some(|| {
        POOL.with_borrow(|pool| {
            if let Some(pool) = pool {
                pool.alloc(1_u64);
                MADE.set(MADE.get() + 1);
            }
        });
    }));
    let object = pool.alloc_layout(layout(40, 8));
    // SAFETY: none of the object's: it is what the canary is for.
    unsafe { beyond(object, 40).write(7) };
    // SAFETY: from this pool with this layout.
    unsafe { pool.dealloc(object, layout(40, 8)) };
    assert_eq!((told(), MADE.get()), (vec![BadFreeKind::Overrun], 1));
    HOOK.set(None);
    POOL.set(None);
}

#[test]
fn levels_of_a_region_find_what_can_be_found_in_one() {
    if cfg!(cenote_asan) {
        // It ends the process at the first mistake.
        return;
    }
    listen();
    let watched = |levels| {
        Buddy::builder().levels(levels).on_bad_free(OnBadFree::Report).heap(1 << 20).unwrap()
    };
    assert_eq!(watched(Levels::PASSTHROUGH | Levels::GUARD).levels(), Levels::NONE);

    let buddy = watched(Levels::CANARY | Levels::POISON);
    let (first, second) = (buddy.acquire(layout(5000, 8)).unwrap(), buddy.acquire(layout(1, 1)));
    // SAFETY: a block of so many bytes.
    let last = unsafe { first.add(4999) };
    // SAFETY: likewise; they are filled.
    assert_eq!(unsafe { last.read() }, 0xa5, "fresh memory is filled");
    assert_eq!(buddy.capacity(first), Some(8192));
    // SAFETY: none of the object's: it is what the canary is for.
    unsafe { beyond(first, 5000).write(7) };
    // SAFETY: acquired so.
    assert_eq!(unsafe { buddy.free(first) }, Ok(8192));
    assert_eq!(told(), [BadFreeKind::Overrun]);
    // SAFETY: as above.
    unsafe { beyond(second.unwrap(), 1).write(7) };
    assert_eq!((buddy.used_bytes(), buddy.largest_free()), (4096, 512 << 10));
    drop(buddy);
    assert_eq!(told(), [BadFreeKind::Overrun], "at the end, what is still there");

    let buddy = watched(Levels::QUARANTINE);
    let block = buddy.acquire(layout(5000, 8)).unwrap();
    // SAFETY: not the block's layout, which is told and does nothing.
    unsafe { buddy.release(block, layout(1, 1)) };
    assert_eq!(told(), [BadFreeKind::Layout]);
    // SAFETY: acquired so.
    unsafe { buddy.release(block, layout(5000, 8)) };
    assert_eq!(buddy.capacity(block), None);
    // SAFETY: a mistake, which is told and does nothing.
    unsafe { buddy.release(block, layout(5000, 8)) };
    assert_eq!(told(), [BadFreeKind::Double]);
    // SAFETY: a mistake, in memory that is kept.
    unsafe { block.write(1) };
    // What is kept is given back before memory is refused.
    let all = buddy.acquire(layout(1 << 20, 8)).unwrap();
    assert_eq!(told(), [BadFreeKind::Written]);
    // SAFETY: acquired so.
    assert_eq!(unsafe { buddy.free(all) }, Ok(1 << 20));
}

#[test]
fn what_is_written_after_a_reset_is_found_at_the_next() {
    if cfg!(cenote_asan) {
        // It ends the process at the first mistake.
        return;
    }
    fn check<P: Watched>() {
        let mut pool = P::make(Levels::QUARANTINE);
        let object = pool.take(layout(40, 8));
        pool.clear();
        // SAFETY: a mistake, in memory that is kept.
        unsafe { object.write(1) };
        assert!(told().is_empty());
        pool.clear();
        assert_eq!(told(), [BadFreeKind::Written]);
        drop(pool);
        assert!(told().is_empty());
    }
    listen();
    check::<Pool>();
    check::<CountedPool>();
    check::<ChunkPool>();
}

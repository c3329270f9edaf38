//! Proves what a shared pool promises on one thread: objects apart from each other and in
//! place, memory back when the last handle goes and not before, limits, large objects,
//! cleanups, and the collections in it.

mod common;

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box as PoolBox;
use allocator_api2::vec::Vec as PoolVec;
use cenote::{Account, Kept, Pool, SharedBuffer, SharedPool, SharedPoolBuilder};
use common::{Counting, Dice, Ledger, message, seed};
use hashbrown::{DefaultHashBuilder, HashMap};
use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

fn over<S: cenote::BlockSource + Clone>(source: S) -> SharedPoolBuilder<'static, S> {
    Pool::builder().source(source).shared().unwrap()
}

#[test]
fn blocks_go_back_with_the_last_handle_and_not_before() {
    common::plain();
    let counting = Counting::new();
    let pool = over(&counting).try_build().unwrap();
    let text = pool.alloc_str("here");
    let other = pool.clone();
    let third = other.clone();
    assert_eq!((pool.handles(), counting.blocks()), (3, 1));
    assert_eq!(text, "here");
    drop(pool);
    let late = other.alloc_slice_fill_with(5000, |index| index);
    assert_eq!((late[4999], other.handles()), (4999, 2));
    drop(other);
    assert!(counting.blocks() >= 2);
    drop(third);
    assert_eq!((counting.blocks(), counting.bytes()), (0, 0));
}

#[test]
fn its_state_takes_a_part_of_the_first_block_and_nothing_else() {
    common::plain();
    let counting = Counting::new();
    for first in [256, 512, 1024, 4096, 65536] {
        let builder = Pool::builder().source(&counting).first_block(first).shared().unwrap();
        let pool = builder.try_build().unwrap();
        assert_eq!((counting.blocks(), counting.bytes()), (1, first));
        assert_eq!((pool.held_bytes(), pool.used_bytes()), (first, 0));
        // Some two hundred bytes, as the documentation says.
        let block = &pool.snapshot().blocks[0];
        let state = first - block.header - block.free;
        assert!((100..=224).contains(&state), "{state}");
        pool.alloc(1_u64);
        pool.alloc_str("abc");
        assert_eq!(pool.used_bytes(), 8 + 3);
        assert_eq!(counting.blocks(), 1);
    }
    assert_eq!(counting.blocks(), 0);
}

/// What was put somewhere, to be found there unchanged.
struct Object {
    start: NonNull<u8>,
    layout: Layout,
    fill: u8,
}

impl Object {
    fn new(start: NonNull<u8>, layout: Layout, fill: u8) -> Self {
        let object = Self { start, layout, fill };
        object.write();
        object
    }

    fn write(&self) {
        // SAFETY: the object's own bytes.
        unsafe { self.start.write_bytes(self.fill, self.layout.size()) };
    }

    fn holds(&self, bytes: usize) -> bool {
        // SAFETY: the object's own bytes, which were written.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), bytes) };
        bytes.iter().all(|&byte| byte == self.fill)
    }
}

#[test]
fn objects_that_come_grow_shrink_and_go_are_apart_and_unchanged() {
    let mut dice = Dice::new(seed("shared pool"));
    for _ in 0..20 {
        let ledger = Ledger::new();
        let account = Account::root("account");
        let pool = over(&ledger).try_build_on(&account).unwrap();
        let mut objects: Vec<Object> = Vec::new();
        for step in 0..600 {
            let fill = step as u8;
            match dice.below(10) {
                0..=4 => {
                    let layout = dice.layout();
                    let start = pool.try_alloc_layout(layout).unwrap();
                    assert!(start.addr().get().is_multiple_of(layout.align()));
                    assert!(layout.size() == 0 || ledger.covers(start.addr().get(), layout.size()));
                    objects.push(Object::new(start, layout, fill));
                }
                5 => {
                    let bytes = pool.try_alloc_zeroed_bytes(dice.size()).unwrap();
                    assert!(bytes.iter().all(|&byte| byte == 0));
                    let layout = Layout::for_value(bytes);
                    objects.push(Object::new(NonNull::from(bytes).cast(), layout, fill));
                }
                6..=7 if !objects.is_empty() => {
                    // The newest more often than chance would have it.
                    let last = objects.len() - 1;
                    let index = if dice.once_in(2) { last } else { dice.below(objects.len()) };
                    let object = objects.swap_remove(index);
                    assert!(object.holds(object.layout.size()));
                    // SAFETY: of this pool and layout, and not used any more.
                    unsafe { pool.dealloc(object.start, object.layout) };
                }
                _ if !objects.is_empty() => {
                    let last = objects.len() - 1;
                    let index = if dice.once_in(2) { last } else { dice.below(objects.len()) };
                    let object = &mut objects[index];
                    let (old, wanted) = (object.layout, dice.size());
                    let new = Layout::from_size_align(wanted, dice.align()).unwrap();
                    let moved = if new.size() >= old.size() {
                        // SAFETY: of this pool and layout; the new size is not smaller.
                        unsafe { pool.try_grow(object.start, old, new) }
                    } else {
                        // SAFETY: of this pool and layout; the new size is not larger.
                        unsafe { pool.try_shrink(object.start, old, new) }
                    };
                    object.start = moved.unwrap();
                    object.layout = new;
                    assert!(object.start.addr().get().is_multiple_of(new.align()));
                    assert!(object.holds(old.size().min(new.size())));
                    object.write();
                }
                _ => {}
            }
        }
        assert!(objects.iter().all(|object| object.holds(object.layout.size())));
        let mut places: Vec<_> = objects
            .iter()
            .filter(|object| object.layout.size() > 0)
            .map(|object| (object.start.addr().get(), object.layout.size()))
            .collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        assert_eq!((pool.held_bytes(), account.held()), (ledger.bytes(), ledger.bytes()));
        assert!(pool.used_bytes() >= places.iter().map(|(_, size)| size).sum());
        drop(pool);
        assert_eq!((ledger.blocks(), account.held(), account.live()), (0, 0, 0));
    }
}

#[test]
fn the_newest_object_grows_and_shrinks_where_it_is_and_is_freed() {
    common::plain();
    let pool = SharedPool::new();
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let start = pool.alloc_layout(layout(100));
    // SAFETY: of this pool and layout; the new size is not smaller.
    assert_eq!(unsafe { pool.try_grow(start, layout(100), layout(1000)) }.unwrap(), start);
    // SAFETY: of this pool and layout; the new size is not larger.
    assert_eq!(unsafe { pool.try_shrink(start, layout(1000), layout(10)) }.unwrap(), start);
    assert_eq!(pool.used_bytes(), 16);
    // SAFETY: of this pool and layout, and not used any more.
    unsafe { pool.dealloc(start, layout(10)) };
    assert_eq!(pool.used_bytes(), 0);
    let oldest = pool.alloc_layout(layout(8));
    let older = pool.alloc_layout(layout(8));
    let newer = pool.alloc_layout(layout(8));
    assert_eq!(oldest, start);
    // SAFETY: of this pool and layout; it is not the newest, so its room does not come back.
    unsafe { pool.dealloc(oldest, layout(8)) };
    assert_eq!(pool.used_bytes(), 24);
    // SAFETY: of this pool and layout.
    let moved = unsafe { pool.try_grow(older, layout(8), layout(64)) }.unwrap();
    assert!(moved > newer);
}

#[test]
fn large_objects_come_and_go_and_leave_the_account_as_it_was() {
    common::plain();
    let account = Account::root("large");
    let pool = SharedPool::try_on(&account).unwrap();
    let layout = Layout::from_size_align(100_000, 64).unwrap();
    for _ in 0..3 {
        let start = pool.try_alloc_layout(layout).unwrap();
        assert!(account.held() > 100_000);
        assert_eq!(pool.snapshot().large.len(), 1);
        // SAFETY: of this pool and layout.
        unsafe { pool.dealloc(start, layout) };
        assert!(account.held() < 10_000);
    }
    pool.alloc_bytes(50_000);
    drop(pool);
    assert_eq!((account.held(), account.live()), (0, 0));
}

#[test]
fn over_a_limit_the_error_names_the_account_and_everything_is_as_it_was() {
    common::plain();
    let account = Account::root("service").child("request").with_limit(Some(64 << 10));
    let pool = SharedPool::try_on(&account).unwrap();
    let text = pool.try_alloc_str("still there").unwrap();
    let held = account.held();
    let error = pool.try_alloc_bytes(100_000).unwrap_err();
    assert_eq!(error.account().map(|account| account.path()), Some("service/request".to_owned()));
    assert_eq!((account.held(), account.refused(), &*text), (held, 1, "still there"));
    // Nearly all of a limit can be used.
    while pool.try_alloc([0_u8; 64]).is_ok() {}
    assert!(account.held() > 60 << 10, "{}", account.held());
    let caught = catch_unwind(AssertUnwindSafe(|| pool.alloc([0_u8; 64])[0]));
    assert!(message(&*caught.unwrap_err()).contains("service/request"));
    drop(pool);
    assert_eq!((account.held(), account.live()), (0, 0));
    let none = Account::root("none").with_limit(Some(100));
    assert!(SharedPool::try_on(&none).is_err());
    assert_eq!((none.held(), none.live()), (0, 0));
}

#[test]
fn near_a_limit_a_smaller_first_block_is_taken() {
    common::plain();
    let account = Account::root("small").with_limit(Some(1000));
    let pool = SharedPool::try_on(&account).unwrap();
    assert_eq!(pool.held_bytes(), 512);
}

#[test]
fn sizes_that_cannot_be_are_errors() {
    let pool = SharedPool::new();
    let largest = Layout::from_size_align(isize::MAX as usize - 4096, 4096).unwrap();
    assert!(pool.try_alloc_layout(largest).is_err());
    assert!(pool.try_alloc_bytes(usize::MAX).is_err());
    assert!(pool.try_alloc_slice_fill_with(usize::MAX / 4, |_| 0_u64).is_err());
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn every_way_in_gives_what_was_put_in() {
    #[derive(Clone, Debug, PartialEq)]
    struct Nothing;
    let pool = SharedPool::new();
    let number = pool.alloc(7_u32);
    let wide = pool.alloc([1_u128; 2]);
    let nothing = pool.alloc(Nothing);
    let copied = pool.alloc_slice_copy(&[1_u16, 2, 3]);
    let cloned = pool.alloc_slice_clone(&["a".to_owned(), "b".to_owned()]);
    let filled = pool.alloc_slice_fill_with(4, |index| index * index);
    let gathered = pool.alloc_slice_fill_iter((0..100).filter(|number| number % 7 == 0));
    let text = pool.alloc_str("text");
    let formatted = pool.alloc_fmt(format_args!("{}-{:>5}", 1, "x"));
    let nested = pool.alloc_with(|| (pool.alloc(1_u8), 2_u8));
    assert!(std::ptr::from_ref(wide).addr().is_multiple_of(align_of::<u128>()));
    assert_eq!((*number, *wide, nothing), (7, [1, 1], &mut Nothing));
    assert_eq!((copied, filled), (&mut [1, 2, 3][..], &mut [0, 1, 4, 9][..]));
    assert_eq!((cloned.len(), gathered.len(), gathered[14]), (2, 15, 98));
    assert_eq!((text, formatted), (&mut *String::from("text"), &mut *String::from("1-    x")));
    assert_eq!((*nested.0, nested.1), (1, 2));
    for text in cloned {
        drop(std::mem::take(text));
    }
    assert!(pool.try_alloc_slice_copy::<u8>(&[]).unwrap().is_empty());
}

#[test]
fn cleanups_run_newest_first_when_the_last_handle_goes_and_a_panic_stops_none() {
    let order = Arc::new(Mutex::new(Vec::new()));
    struct Dropped(u32, Arc<Mutex<Vec<u32>>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
            assert!(self.0 != 2, "the second");
        }
    }
    let counting = Counting::new();
    let pool = over(&counting).try_build().unwrap();
    for number in 0..5 {
        let owned = pool.own(Dropped(number, order.clone()));
        assert_eq!(owned.0, number);
    }
    let noted = order.clone();
    pool.defer(move || noted.lock().unwrap().push(100));
    let other = pool.clone();
    drop(pool);
    assert!(order.lock().unwrap().is_empty());
    assert_eq!(other.snapshot().cleanups, 6);
    let caught = catch_unwind(AssertUnwindSafe(|| drop(other)));
    assert_eq!(message(&*caught.unwrap_err()), "the second");
    assert_eq!(*order.lock().unwrap(), [100, 4, 3, 2, 1, 0]);
    assert_eq!(counting.blocks(), 0);
}

#[test]
fn what_cannot_be_kept_is_dropped_not_run() {
    let account = Account::root("tight").with_limit(Some(512));
    let pool = SharedPool::try_on(&account).unwrap();
    while pool.try_alloc(1_u64).is_ok() {}
    let held = Arc::new(());
    let inner = held.clone();
    assert!(pool.try_defer(move || panic!("{inner:?} must not run")).is_err());
    assert!(pool.try_own(held.clone()).is_err());
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn collections_with_a_handle_outlive_every_other_handle() {
    let account = Account::root("collections");
    let pool = SharedPool::try_on(&account).unwrap();
    let mut list = PoolVec::new_in(pool.clone());
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), pool.clone());
    let boxed = PoolBox::new_in(String::from("dropped"), pool.clone());
    drop(pool);
    for number in 0..10_000_u64 {
        list.push(number);
        map.insert(number, number * 2);
    }
    assert!(list.iter().copied().eq(0..10_000));
    assert!((0..10_000).all(|number| map[&number] == number * 2));
    list.truncate(10);
    list.shrink_to_fit();
    drop(map);
    assert_eq!((list.len(), boxed.as_str()), (10, "dropped"));
    drop(boxed);
    assert_eq!(account.live(), 1);
    drop(list);
    assert_eq!((account.live(), account.held()), (0, 0));
}

#[test]
fn a_vec_that_grows_alone_is_never_copied_while_the_block_has_room() {
    common::plain();
    let pool = Pool::builder().first_block(64 << 10).shared().unwrap().try_build().unwrap();
    let mut list = PoolVec::new_in(&pool);
    list.push(0_u64);
    let start = list.as_ptr();
    for number in 1..4096 {
        list.push(number);
        assert_eq!(list.as_ptr(), start, "copied at {number}");
    }
    drop(list);
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn a_try_reserve_over_a_limit_is_an_error() {
    let account = Account::root("vec").with_limit(Some(64 << 10));
    let pool = SharedPool::try_on(&account).unwrap();
    let mut list = PoolVec::new_in(pool.clone());
    list.extend_from_slice(&[7_u8; 1000]);
    assert!(list.try_reserve(1 << 20).is_err());
    assert!(list.try_reserve(usize::MAX).is_err());
    assert!(list.iter().all(|&byte| byte == 7));
    let zeroed = pool.allocate_zeroed(Layout::new::<[u64; 9]>()).unwrap();
    // SAFETY: so many bytes, just written.
    assert!(unsafe { zeroed.as_ref() }.iter().all(|&byte| byte == 0));
}

#[test]
fn a_scratch_pool_stands_on_it_and_keeps_it() {
    let account = Account::root("request");
    let pool = SharedPool::try_on(&account).unwrap();
    let scratch = pool.scratch();
    let numbers = scratch.alloc_slice_fill_with(1000, |index| index as u32);
    assert_eq!(scratch.account(), None);
    drop(pool);
    assert_eq!((numbers[999], account.live()), (999, 1));
    let held = account.held();
    scratch.alloc_slice_fill_with(100_000, |index| index as u64);
    assert!(account.held() >= held + 800_000);
    drop(scratch);
    assert_eq!((account.held(), account.live()), (0, 0));
}

#[test]
fn a_kept_value_keeps_the_pool() {
    let account = Account::root("kept");
    let pool = SharedPool::try_on(&account).unwrap();
    let mut kept = Kept::try_new(pool.clone(), |pool| pool.try_alloc(41)).unwrap();
    drop(pool);
    *kept += 1;
    let kept = std::thread::spawn(move || kept).join().unwrap();
    assert_eq!((*kept, account.live()), (42, 1));
    drop(kept);
    assert_eq!((account.live(), account.held()), (0, 0));
}

#[test]
fn a_buffer_takes_what_is_written_and_says_what_stopped_it() {
    common::plain();
    use std::io::Write;
    let account = Account::root("buffer").with_limit(Some(64 << 10));
    let pool = SharedPool::try_on(&account).unwrap();
    let mut buffer = SharedBuffer::new(pool.clone());
    for number in 0..2000 {
        write!(buffer, "{number:>5}").unwrap();
    }
    assert_eq!(buffer.len(), 10_000);
    assert!(buffer.ends_with(b" 1998 1999"));
    assert!(buffer.take_failure().is_none());
    let failed = loop {
        if let Err(error) = buffer.write_all(&[b'x'; 1000]) {
            break error;
        }
    };
    assert_eq!(failed.kind(), std::io::ErrorKind::OutOfMemory);
    let failure = buffer.take_failure().unwrap();
    assert_eq!(failure.account().map(|account| account.name()), Some("buffer"));
    assert!(buffer.len() >= 20_000, "{}", buffer.len());
    buffer.clear();
    buffer.try_extend_from_slice(b"again").unwrap();
    assert_eq!(&*buffer, b"again");
    drop(pool);
    drop(buffer);
    assert_eq!((account.live(), account.held()), (0, 0));
}

#[test]
fn a_display_that_hides_a_want_of_memory_from_a_buffer_is_an_error_all_the_same() {
    /// Goes on where it cannot write.
    struct Hides;
    impl std::fmt::Display for Hides {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let _ = f.write_str(&"x".repeat(32 << 10));
            f.write_str(" and on")
        }
    }
    let account = Account::root("buffer").with_limit(Some(16 << 10));
    let mut buffer = SharedBuffer::new(SharedPool::try_on(&account).unwrap());
    let error = buffer.try_extend_fmt(format_args!("begun{Hides}")).unwrap_err();
    assert_eq!(error.account(), Some(&account));
    assert_eq!(&*buffer, b"begun and on");
    assert!(buffer.take_failure().is_none(), "the call itself told it");
}

#[test]
fn secrets_are_wiped_before_the_blocks_go_back() {
    common::plain();
    use std::cell::RefCell;
    /// Notes what is in blocks that come back.
    #[derive(Default)]
    struct Watching(RefCell<Vec<u8>>);
    // SAFETY: every call goes to `System` unchanged.
    unsafe impl cenote::BlockSource for Watching {
        fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, cenote::AllocError> {
            let block = cenote::System.acquire(layout)?;
            // SAFETY: the block was just taken, with this size.
            unsafe { block.write_bytes(0, layout.size()) };
            Ok(block)
        }
        unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
            // SAFETY: so many bytes, all written when it was acquired.
            let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
            self.0.borrow_mut().extend_from_slice(bytes);
            // SAFETY: the caller's promise, passed on.
            unsafe { cenote::System.release(block, layout) }
        }
    }
    for wipe in [false, true] {
        let watching = Watching::default();
        let builder = Pool::builder().source(&watching).zero_on_release(wipe).shared().unwrap();
        let pool = builder.try_build().unwrap();
        pool.alloc_str("password");
        drop(pool);
        let seen = watching.0.borrow().windows(8).any(|window| window == b"password");
        assert_eq!(seen, !wipe);
    }
}

#[test]
fn a_source_that_fails_at_any_step_leaves_nothing_behind() {
    let mut failed = 0;
    for step in 0.. {
        let counting = Counting::new();
        let faulty = cenote::Faulty::new(&counting);
        faulty.fail_after(step, true);
        let work = || -> Result<(), cenote::AllocError> {
            let pool = over(&faulty).try_build()?;
            for size in [100, 5_000, 40_000, 9_000, 200_000, 30_000, 60_000] {
                pool.try_alloc_slice_fill_with(size, |_| 1_u8)?;
                pool.try_own(vec![size])?;
            }
            Ok(())
        };
        let outcome = work();
        assert_eq!((outcome.is_err(), counting.blocks()), (faulty.faults() > 0, 0));
        if outcome.is_ok() {
            break;
        }
        failed += 1;
    }
    assert!(failed >= 6, "{failed} steps");
}

#[test]
fn a_snapshot_shows_each_block_and_what_is_in_it() {
    common::plain();
    let builder = Pool::builder().name("request").first_block(1024).shared().unwrap();
    let pool = builder.try_build().unwrap();
    pool.alloc([0_u8; 100]);
    pool.alloc_str("0123456789");
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.name.as_str(), snapshot.held_bytes), ("request", 1024));
    assert_eq!(snapshot.used_bytes, 104 + 10);
    let block = &snapshot.blocks[0];
    assert_eq!(block.header + block.used + block.free + block.packed, block.size);
    assert_eq!(block.packed, 10);
    assert!(snapshot.created_at.contains("shared_pool.rs"));
    assert!(snapshot.to_string().contains("request: 1024 B held"));
    assert!(format!("{pool:?}").contains("handles: 1"));
}

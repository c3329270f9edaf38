//! Who is told of refusals and of misuse may use any pool: it is told when the operation is over.
//! And a refusal is told once, where nobody has another way.

#![cfg(all(feature = "std", feature = "allocator-api2"))]

use cenote::debug::Levels;
use cenote::misuse::{self, Misuse, OnBadFree};
use cenote::{
    Account, AllocError, BlockSource, Buddy, Cached, ChunkPool, CountedBox, CountedPool, Locked,
    Pool, SharedPool, System,
};
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::Once;

type Act = Box<dyn FnMut()>;

thread_local! {
    /// What the hooks do on this thread: what they were told, and an act for the next time.
    static REFUSED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static MISUSED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
}

fn act() {
    // Taken out, so that one who is told because of it finds nothing to do.
    let act = ACT.with(RefCell::take);
    if let Some(mut act) = act {
        act();
    }
}

fn refused(error: &AllocError) {
    REFUSED.with_borrow_mut(|told| told.push(error.to_string()));
    act();
}

fn misused(misuse: &Misuse<'_>) {
    MISUSED.with_borrow_mut(|told| told.push(misuse.to_string()));
    act();
}

fn listen() {
    // How much pools ask for, and how often, is counted; what is freed under a pool is read again.
    cenote::debug::set_thread_levels(Some(Levels::NONE));
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        Account::on_refused(refused);
        misuse::on_misuse(misused);
    });
    REFUSED.take();
    MISUSED.take();
    ACT.take();
}

/// Does this when next told, once.
fn when_told(act: impl FnMut() + 'static) {
    ACT.set(Some(Box::new(act)));
}

fn has_acted() -> bool {
    ACT.with_borrow(Option::is_none)
}

fn leaked<T>(value: T) -> &'static T {
    // A checker of leaks looks for what nothing leads to.
    static KEPT: std::sync::Mutex<Vec<usize>> = std::sync::Mutex::new(Vec::new());
    let value: &'static T = Box::leak(Box::new(value));
    KEPT.lock().unwrap_or_else(|error| error.into_inner()).push(std::ptr::from_ref(value).addr());
    value
}

/// A pool with a block of 64 KiB, on an account that then gives nothing more.
fn parent(account: &Account) -> &'static Pool {
    leaked(Pool::builder().account(account).first_block(64 << 10).build().unwrap())
}

/// Fills a pool until so many bytes and a few are left.
fn leave(pool: &Pool, left: usize) {
    for size in [32 << 10, 16 << 10, 8 << 10, 4096, 1024, 256] {
        while pool.held_bytes() - pool.used_bytes() > size + left {
            pool.alloc_bytes(size);
        }
    }
}

#[test]
fn who_is_told_of_a_refusal_may_use_the_pool_that_was_refused_on_a_pool() {
    listen();
    let account = Account::root("root").child("service");
    let parent = parent(&account);
    parent.alloc(1_u8);
    let child: &'static Pool<&'static Pool> =
        leaked(Pool::builder().source(parent).build().unwrap());
    // The child's first block, with some room left; its next one is to have 8 KiB.
    child.alloc_slice_fill_with(480, |_| 5_u64);
    account.set_limit(Some(0));
    leave(parent, 2500);
    let told = leaked(Cell::new(None));
    when_told(move || told.set(Some(child.alloc_slice_fill_with(8, |_| 0x1111_u64))));
    // A block of 8 KiB is refused, one of 1 KiB is not: nobody was refused anything.
    let second = child.try_alloc_slice_fill_with(64, |_| 2_u64).expect("less will do");
    assert!(!has_acted() && account.refused() == 0 && REFUSED.take().is_empty());
    // Now nothing will do.
    let error = loop {
        match child.try_alloc_slice_fill_with(200, |_| 3_u64) {
            Ok(more) => assert!(more.iter().all(|&word| word == 3)),
            Err(error) => break error,
        }
    };
    assert_eq!(account.refused(), 1);
    assert_eq!(REFUSED.take(), [error.to_string()]);
    let note = told.take().expect("told");
    for _ in 0..20 {
        let _ = child.try_alloc_slice_fill_with(8, |_| 0x9999_u64);
    }
    assert!(note.iter().all(|&word| word == 0x1111));
    assert!(second.iter().all(|&word| word == 2));
}

#[test]
fn who_is_told_of_a_refusal_may_use_a_counted_pool_that_stands_on_the_refused_one() {
    listen();
    let account = Account::root("root").child("service");
    let parent = parent(&account);
    parent.alloc(1_u8);
    let counted: &'static CountedPool<&'static Pool> =
        leaked(CountedPool::builder().source(parent).build().unwrap());
    let fill = |bytes: usize| counted.alloc_slice_fill_with(bytes / 8, |_| 5_u64);
    let mut keep = vec![fill(2544), fill(1600)];
    keep.extend((0..6).map(|_| fill(3800)));
    keep.push(fill(2096));
    account.set_limit(Some(0));
    leave(parent, 1500);
    let told = leaked(Cell::new(None));
    when_told(move || {
        told.set(counted.try_alloc_slice_fill_with(8, |_| 0x1111_u64).ok().map(CountedBox::leak));
    });
    // The first of these fits into an old block once nothing more is to be had.
    let mut tries = 0;
    while !has_acted() {
        tries += 1;
        keep.extend(counted.try_alloc_slice_fill_with(100, |_| 2_u64));
        assert!(tries < 100);
    }
    assert_eq!((account.refused(), REFUSED.take().len()), (1, 1));
    let note = told.take().expect("there is room for that");
    for _ in 0..200 {
        keep.extend(counted.try_alloc_slice_fill_with(8, |_| 0x9999_u64));
    }
    assert!(note.iter().all(|&word| word == 0x1111));
}

#[test]
fn who_is_told_of_a_refusal_may_use_a_chunk_pool_that_stands_on_the_refused_one() {
    listen();
    let account = Account::root("root").child("service");
    let parent = parent(&account);
    parent.alloc(1_u8);
    let config = ChunkPool::config().cluster_size(8192).page_size(512).page_alignment(64);
    let chunks: &'static ChunkPool<&'static Pool> = leaked(config.source(parent).build().unwrap());
    let layout = Layout::new::<[u64; 8]>();
    let mut live = vec![chunks.alloc_layout(layout)];
    account.set_limit(Some(0));
    leave(parent, 300);
    let told = leaked(Cell::new(None));
    when_told(move || told.set(chunks.try_alloc_layout(Layout::new::<[u64; 32]>()).err()));
    let error = loop {
        match chunks.try_alloc_layout(layout) {
            Ok(chunk) => live.push(chunk),
            Err(error) => break error,
        }
    };
    assert!(has_acted());
    assert_eq!(error.account(), Some(&account));
    // The hook was refused as well; that is counted, and told after it.
    assert!(told.take().is_some_and(|error| error.account() == Some(&account)));
    assert_eq!((account.refused(), REFUSED.take().len()), (2, 2));
    live.sort_unstable();
    assert!(live.windows(2).all(|two| two[1].addr().get() - two[0].addr().get() >= 64));
}

#[test]
fn who_is_told_of_a_refusal_may_use_the_shared_pool_and_its_scratch() {
    listen();
    let account = Account::root("root").child("request").with_limit(Some(4096));
    let pool: &'static SharedPool =
        leaked(SharedPool::builder().account(&account).shared().unwrap().try_build().unwrap());
    let scratch: &'static Pool<SharedPool> = leaked(pool.scratch());
    let first = scratch.try_alloc_slice_fill_with(100, |_| 1_u64).unwrap();
    let told = leaked(Cell::new((None, None)));
    when_told(move || {
        let one = scratch.try_alloc_slice_fill_with(8, |_| 0x1111_u64).ok();
        let two = pool.try_alloc_slice_fill_with(8, |_| 0x2222_u64).ok();
        told.set((one, two));
    });
    assert!(pool.try_alloc_zeroed_bytes(5000).is_err(), "not under the lock, or this would wait");
    assert!(has_acted());
    let (one, two) = told.take();
    let more = scratch.try_alloc_slice_fill_with(8, |_| 3_u64).unwrap();
    assert!(one.is_some_and(|words| words.iter().all(|&word| word == 0x1111)));
    assert!(two.is_some_and(|words| words.iter().all(|&word| word == 0x2222)));
    assert!(first.iter().all(|&word| word == 1) && more.iter().all(|&word| word == 3));
}

#[test]
fn a_panic_of_who_is_told_goes_no_further_and_leaves_all_pools_whole() {
    listen();
    let account = Account::root("root").with_limit(Some(8192));
    let pool: &'static Pool = leaked(Pool::on(&account));
    pool.alloc(1_u64);
    when_told(|| panic!("by who is told"));
    let error = pool.try_alloc_zeroed_bytes(9000).unwrap_err();
    assert!(has_acted());
    assert_eq!((error.account(), account.refused()), (Some(&account), 1));
    // Through an allocator, which must not unwind.
    when_told(|| panic!("by who is told"));
    let mut list = allocator_api2::vec::Vec::<u8, _>::new_in(pool);
    assert!(list.try_reserve(9000).is_err());
    assert!(has_acted());
    list.extend_from_slice(b"still good");
    // Of a bad free.
    let chunks = ChunkPool::config().on_bad_free(OnBadFree::Report).build().unwrap();
    let object = chunks.alloc_layout(Layout::new::<u64>());
    when_told(|| panic!("by who is told"));
    // SAFETY: nothing is at this address but a local, which is not freed.
    assert!(unsafe { chunks.free(NonNull::from(&mut 0_u64).cast()) }.is_err());
    assert!(has_acted() && MISUSED.take().len() == 1);
    // SAFETY: an object of this pool that nothing uses.
    assert!(unsafe { chunks.free(object) }.is_ok());
    assert_eq!(list, b"still good");
}

#[test]
fn one_call_that_fails_is_one_refusal_however_much_it_tries() {
    listen();
    let account = Account::root("root").child("request").with_limit(Some(64 << 10));
    let told = |expected: &[&AllocError]| {
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(REFUSED.take(), expected);
    };
    let mut refusals = 0;
    let mut counts = |more| {
        refusals += more;
        assert_eq!(account.refused(), refusals);
    };
    let pool = Pool::on(&account);
    // A text that grows until it is refused, with all that it tries on the way.
    let error = pool.try_alloc_fmt(format_args!("{0:1$}{0:1$}{0:1$}", "", 40_000)).unwrap_err();
    told(&[&error]);
    counts(1);
    drop(pool);
    let pool = Pool::on(&account);
    // An iterator of which nobody knows how far it goes.
    let error = pool.try_alloc_slice_fill_iter((0..).take_while(|n| *n < 50_000_u64)).unwrap_err();
    told(&[&error]);
    counts(1);
    drop(pool);
    let pool = SharedPool::try_on(&account).unwrap();
    let mut buffer = cenote::SharedBuffer::new(pool.clone());
    let error = loop {
        if let Err(error) = buffer.try_extend_from_slice(&[7; 100]) {
            break error;
        }
    };
    told(&[&error]);
    counts(1);
    // The same through `fmt::Write`, by a `Display` that hides it.
    assert!(buffer.try_extend_fmt(format_args!("{:5000}", "")).is_err());
    assert_eq!(REFUSED.take().len(), 1);
    counts(1);
    drop((buffer, pool));
    let error = SharedPool::try_on(&account.child("x").with_limit(Some(100))).unwrap_err();
    told(&[&error]);
    let counted = CountedPool::on(&account);
    let error = counted.try_alloc_slice_fill_iter((0..).take_while(|n| *n < 50_000_u64));
    told(&[&error.err().unwrap()]);
    counts(1);
    drop(counted);
    let chunks = ChunkPool::on(&account);
    let error = chunks.try_alloc_layout(Layout::new::<[u8; 70_000]>()).unwrap_err();
    told(&[&error]);
    counts(1);
    // A call that fails for others' sake passes the error on, and it is the same one refusal.
    fn passes(pool: &ChunkPool) -> Result<(), AllocError> {
        pool.try_alloc_layout(Layout::new::<[u8; 70_000]>())?;
        Ok(())
    }
    let error = passes(&chunks).unwrap_err();
    told(&[&error.clone()]);
    counts(1);
}

#[test]
fn what_a_pool_on_pools_is_refused_is_counted_where_it_was_and_once() {
    listen();
    let account = Account::root("root").child("deep").with_limit(Some(20_000));
    let first = Pool::on(&account);
    let second = ChunkPool::config().cluster_size(8192).page_size(512).page_alignment(64);
    let second = second.source(&first).build().unwrap();
    let third = CountedPool::builder().source(&second).build().unwrap();
    let fourth = Pool::builder().source(&third).build().unwrap();
    fourth.alloc(1_u64);
    let error = fourth.try_alloc_zeroed_bytes(30_000).unwrap_err();
    assert_eq!(error.account(), Some(&account));
    assert_eq!((REFUSED.take(), account.refused()), (vec![error.to_string()], 1));
    let mut list = allocator_api2::vec::Vec::<u8, _>::new_in(&fourth);
    assert!(list.try_reserve(30_000).is_err());
    assert_eq!((REFUSED.take().len(), account.refused()), (1, 2));
}

#[test]
fn what_is_tried_quietly_is_neither_counted_nor_told() {
    listen();
    let account = Account::root("root").child("request").with_limit(Some(8192));
    let pool = Pool::on(&account);
    let tried = Account::try_quietly(|| pool.try_alloc_zeroed_bytes(9000));
    assert!(REFUSED.take().is_empty() && account.refused() == 0);
    // It may still become a refusal, where it is passed on by one who has no other way.
    assert_eq!(tried.unwrap_err().account(), Some(&account));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Account::try_quietly(|| pool.alloc_zeroed_bytes(9000).len())
    }));
    assert!(panicked.is_err() && REFUSED.take().is_empty());
    assert!(pool.try_alloc_zeroed_bytes(9000).is_err());
    assert_eq!((REFUSED.take().len(), account.refused()), (1, 1));
}

#[test]
fn one_who_is_refused_while_told_does_not_go_on_for_ever() {
    listen();
    let account = Account::root("root").child("request").with_limit(Some(8192));
    let pool: &'static Pool = leaked(Pool::on(&account));
    fn again(pool: &'static Pool) {
        when_told(move || again(pool));
        assert!(pool.try_alloc_zeroed_bytes(9000).is_err());
    }
    let before = Account::untold_refusals();
    again(pool);
    ACT.take();
    assert_eq!(REFUSED.take().len(), 2, "what telling has led to is told, and no more than that");
    assert_eq!(account.refused(), 3);
    assert!(Account::untold_refusals() > before);
}

/// Gives nothing back, and says nothing about it; asks another pool for more than that may.
struct Asking {
    other: &'static Pool,
    times: Cell<usize>,
}

// SAFETY: all blocks are `System`'s; the other pool does not stand on this source.
unsafe impl BlockSource for Asking {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        for _ in 0..self.times.get() {
            assert!(self.other.try_alloc_zeroed_bytes(10_000).is_err());
        }
        System.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.release(block, layout) }
    }
}

#[test]
fn what_a_source_is_refused_by_others_is_told_when_the_operation_over_it_is_over() {
    listen();
    let account = Account::root("root").child("other").with_limit(Some(4096));
    let other: &'static Pool = leaked(Pool::on(&account));
    let source = leaked(Asking { other, times: Cell::new(1) });
    let pool: &'static Pool<&'static Asking> =
        leaked(Pool::builder().source(source).build().unwrap());
    let told = leaked(Cell::new(None));
    when_told(move || told.set(Some(pool.alloc_slice_fill_with(8, |_| 0x1111_u64))));
    let first = pool.alloc_slice_fill_with(100, |_| 2_u64);
    assert!(has_acted(), "told although the operation found its memory");
    let second = pool.alloc_slice_fill_with(100, |_| 3_u64);
    assert!(told.take().is_some_and(|words| words.iter().all(|&word| word == 0x1111)));
    assert!(first.iter().all(|&word| word == 2) && second.iter().all(|&word| word == 3));
    assert_eq!((REFUSED.take().len(), account.refused()), (1, 1));
    // More than there is room for is counted.
    source.times.set(20);
    let before = Account::untold_refusals();
    pool.alloc_zeroed_bytes(60_000);
    assert_eq!((REFUSED.take().len(), account.refused()), (16, 21));
    assert!(Account::untold_refusals() >= before + 4);
}

#[test]
fn who_is_told_of_a_bad_free_under_a_lock_may_use_what_it_guards() {
    listen();
    let buddy = Buddy::builder().on_bad_free(OnBadFree::Report).heap(1 << 20).unwrap();
    let pages: &'static Locked<Buddy<'static>> = leaked(Locked::new(buddy));
    let layout = Layout::from_size_align(4096, 16).unwrap();
    let block = pages.acquire(layout).unwrap();
    // SAFETY: acquired so; it is not used.
    unsafe { pages.release(block, layout) };
    let told = leaked(Cell::new(None));
    let hear = move || when_told(move || told.set(Some(pages.with(|buddy| buddy.used_bytes()))));
    hear();
    // SAFETY: it is free already, which the region notices.
    unsafe { pages.release(block, layout) };
    assert_eq!((told.take(), MISUSED.take().len()), (Some(0), 1));
    hear();
    // SAFETY: likewise.
    assert!(pages.with(|buddy| unsafe { buddy.free(block) }).is_err());
    assert_eq!((told.take(), MISUSED.take().len()), (Some(0), 1));
    // By way of a cache over it, when a pool over that one ends. Checkers see that it reads its header
    // in what is free by then.
    if cenote::debug::MARKED {
        return;
    }
    let cached: &'static Cached<&'static Locked<Buddy<'static>>> = leaked(Cached::new(pages, 0));
    let pool = Pool::builder().source(cached).build().unwrap();
    let object = pool.alloc(7_u64);
    let block = NonNull::from(object).cast::<u8>();
    let at = pages.with(|buddy| buddy.bytes());
    assert!(at > 0 && block.addr().get() != 0);
    let start = block.map_addr(|at| (at.get() & !4095).try_into().unwrap());
    // SAFETY: the pool's only block, in which nothing is used any more; the pool will free it again.
    assert!(pages.with(|buddy| unsafe { buddy.free(start) }).is_ok());
    when_told(move || {
        drop(Pool::builder().source(cached).build().map(|pool| *pool.alloc(1_u8)));
        told.set(Some(pages.with(|buddy| buddy.used_bytes())));
    });
    drop(pool);
    assert_eq!((told.take(), MISUSED.take().len()), (Some(0), 1));
}

#[test]
fn who_is_told_of_a_write_after_a_free_may_trim_the_pool() {
    if cenote::debug::MARKED {
        // A checker sees the write itself.
        return;
    }
    listen();
    let levels = Levels::QUARANTINE | Levels::POISON;
    let pool = CountedPool::builder().levels(levels).on_bad_free(OnBadFree::Report);
    let pool: &'static CountedPool = leaked(pool.build().unwrap());
    let layout = Layout::new::<[u64; 10]>();
    let freed: Vec<_> = (0..10).map(|_| pool.alloc_layout(layout)).collect();
    for &object in &freed {
        // SAFETY: an object of this pool that nothing uses.
        assert!(unsafe { pool.free(object) }.is_ok());
        // SAFETY: none: it is what is to be found. The memory is kept, and nobody else's.
        unsafe { object.cast::<u64>().write(1) };
    }
    let acted = leaked(Cell::new(0));
    when_told(move || {
        acted.set(acted.get() + 1);
        pool.trim();
        let object = pool.alloc_layout(layout);
        // SAFETY: just allocated, and not used.
        assert!(unsafe { pool.free(object) }.is_ok());
        pool.trim();
    });
    pool.trim();
    assert_eq!((acted.get(), MISUSED.take().len()), (1, 10));
    assert_eq!(pool.live(), 0);
}

#[test]
fn who_is_told_of_wrong_frees_while_a_page_is_taken_may_use_the_chunk_pool() {
    if cfg!(debug_assertions) {
        // Debug builds look at each free at once.
        return;
    }
    listen();
    let config = ChunkPool::config().cluster_size(8192).page_size(512).page_alignment(64);
    let pool: &'static ChunkPool = leaked(config.on_bad_free(OnBadFree::Report).build().unwrap());
    let layout = Layout::new::<[u64; 8]>();
    let mut live: Vec<_> = (0..30).map(|_| pool.alloc_layout(layout)).collect();
    let twice = live.pop().unwrap();
    for _ in 0..2 {
        // SAFETY: none for the second: it is what is to be found.
        unsafe { pool.dealloc(twice, layout) };
    }
    let told = leaked(RefCell::new(Vec::new()));
    when_told(move || told.borrow_mut().extend((0..40).map(|_| pool.alloc_layout(layout).addr())));
    // Pages for another class: what is remembered of the first is put back before.
    let other = Layout::new::<[u64; 32]>();
    let others: Vec<_> = (0..40).map(|_| pool.alloc_layout(other)).collect();
    assert!(has_acted() && MISUSED.take().len() == 1);
    let mut all: Vec<_> = live.iter().map(|at| (at.addr().get(), 64)).collect();
    all.extend(told.borrow().iter().map(|at| (at.get(), 64)));
    all.extend(others.iter().map(|at| (at.addr().get(), 256)));
    all.sort_unstable();
    assert!(all.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0));
}

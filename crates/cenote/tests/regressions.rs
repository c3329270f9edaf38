//! Mistakes that were made here once, each as the test that would have noticed it.

mod common;

use allocator_api2::vec::Vec as PoolVec;
use cenote::{
    Account, AllocError, BlockSource, Blocks, ChunkPool, CleanupKey, CountedPool, Faulty, Pool,
    SharedPool, System,
};
use std::alloc::Layout;
use std::cell::Cell;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// A source that hands out memory without gaps, and takes nothing back: what lies right behind
/// a block is the next thing taken.
struct Dense {
    memory: Box<[Cell<MaybeUninit<u8>>]>,
    taken: Cell<usize>,
}

const DENSE: usize = 1 << 20;

impl Dense {
    fn new() -> Self {
        let memory = (0..DENSE).map(|_| Cell::new(MaybeUninit::uninit())).collect();
        Self { memory, taken: Cell::new(0) }
    }

    /// What is taken next begins at a multiple of `align`.
    fn skip_to(&self, align: usize) {
        let base = self.memory.as_ptr().addr();
        self.taken.set((base + self.taken.get()).next_multiple_of(align) - base);
    }
}

// SAFETY: disjoint parts of memory that is never given to anyone else.
unsafe impl BlockSource for Dense {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.skip_to(layout.align());
        let start = self.taken.get();
        if start + layout.size() > DENSE {
            return Err(AllocError::out_of_memory(layout.size()));
        }
        self.taken.set(start + layout.size());
        let memory = NonNull::from(&*self.memory).cast::<u8>();
        // SAFETY: inside the memory, which is cells, and so may be written through.
        Ok(unsafe { memory.add(start) })
    }

    unsafe fn release(&self, _: NonNull<u8>, _: Layout) {}
}

fn tight_pool(source: &Dense) -> Pool<&Dense> {
    Pool::builder()
        .first_block(4096)
        .largest_block(4096)
        .large_threshold(2048)
        .source(source)
        .build()
        .unwrap()
}

#[test]
fn nothing_at_a_blocks_end_is_not_the_large_object_right_behind_it() {
    let source = Dense::new();
    let pool = tight_pool(&source);
    pool.alloc_layout(layout(5000, 8));
    source.skip_to(4096);
    pool.alloc(1_u8);
    let empty = pool.alloc_layout(layout(0, 4096));
    let large = pool.alloc_layout(layout(5000, 8));
    // SAFETY: `empty` came from this pool with that layout.
    let grown = unsafe { pool.try_grow(empty, layout(0, 4096), layout(100, 4096)) }.unwrap();
    assert_ne!(grown, large);
    // SAFETY: nothing uses it.
    assert!(unsafe { pool.free_large(large) }, "it is still there");
}

#[test]
fn a_large_object_right_behind_the_block_in_use_is_not_the_newest_of_its_bytes() {
    common::plain();
    let source = Dense::new();
    let pool = tight_pool(&source);
    pool.alloc_layout(layout(5000, 8));
    source.skip_to(4096);
    pool.alloc(1_u8);
    // It begins where the window ends, as the newest of the packed bytes would.
    let size = 5000;
    let large = pool.alloc_layout(layout(size, 8));
    // SAFETY: it came from this pool with that layout.
    unsafe { pool.dealloc(large, layout(size, 8)) };
    // SAFETY: nothing uses it.
    assert!(!unsafe { pool.free_large(large) }, "it was freed as a large one");
    let text = NonNull::from(pool.alloc_str("in the block")).cast::<u8>();
    let gone = large.addr().get()..large.addr().get() + size;
    assert!(!gone.contains(&text.addr().get()), "the pool has given that memory back");
    assert!(pool.snapshot().blocks.iter().all(|b| b.header + b.used + b.free + b.packed == b.size));
}

#[test]
fn a_large_object_that_becomes_small_by_its_alignment_leaves_the_large_ones() {
    let source = Dense::new();
    let pool = tight_pool(&source);
    pool.alloc_layout(layout(5000, 8));
    source.skip_to(4096);
    pool.alloc(1_u8);
    let rest = 4096 - 32 - 8;
    let full = pool.alloc_layout(layout(rest, 8));
    // 2000 bytes, and 64 for the alignment: large, and right behind the block.
    let large = pool.alloc_layout(layout(2000, 64));
    // SAFETY: it came from this pool with that layout.
    let grown = unsafe { pool.try_grow(large, layout(2000, 64), layout(2000, 8)) }.unwrap();
    // SAFETY: likewise, with the layout it was grown to.
    unsafe { pool.dealloc(grown, layout(2000, 8)) };
    let next = pool.alloc_layout(layout(16, 8));
    let block = full.addr().get()..full.addr().get() + rest;
    assert!(next.addr().get() < block.start || next.addr().get() > block.end + 16);
    assert!(pool.snapshot().blocks.iter().all(|b| b.header + b.used + b.free + b.packed == b.size));
}

#[test]
fn a_block_of_no_bytes_is_refused_by_the_system() {
    assert!(System.acquire(Layout::new::<()>()).is_err());
    assert!(Faulty::new(System).acquire(Layout::new::<()>()).is_err());
}

#[test]
fn a_fault_at_the_first_block_is_not_swallowed() {
    let source = Faulty::new(System);
    let pool = Pool::builder().source(&source).build().unwrap();
    source.fail_after(0, false);
    assert!(pool.try_alloc(1_u64).is_err());
    assert_eq!((source.faults(), source.calls()), (1, 1));
    assert!(pool.try_alloc(1_u64).is_ok());
}

#[test]
fn handles_made_and_dropped_through_a_pool_for_ever_do_not_free_its_account() {
    // More often than the bias of one handle fitted into the count that keeps the account.
    let rounds: u32 = if cfg!(debug_assertions) { 1 << 20 } else { 1 << 24 };
    let root = Account::root("root");
    let account = root.child("kept");
    let pool = Pool::on(&account);
    let (done, wait) = channel();
    let other = thread::spawn(move || {
        drop(account);
        for _ in 0..rounds {
            drop(pool.account().unwrap().clone());
        }
        drop(Pool::on(pool.account().unwrap()));
        assert_eq!(pool.account().unwrap().name(), "kept");
        assert_eq!(pool.account().unwrap().live(), 1);
        pool.try_alloc(1).unwrap();
        done.send(()).unwrap();
        drop(pool);
    });
    // This thread owns the account, and makes or drops none until then.
    wait.recv().unwrap();
    other.join().unwrap();
    Account::settle();
    assert!(root.snapshot().children.is_empty());
    assert_eq!(root.held(), 0);
}

#[test]
fn the_peak_of_an_account_whose_handle_went_first_is_remembered() {
    common::plain();
    let root = Account::root("root");
    let account = root.child("request");
    let pool = Pool::on(&account);
    pool.alloc(1);
    drop(account);
    drop(pool);
    let snapshot = root.snapshot();
    assert!(snapshot.children.is_empty());
    assert_eq!(snapshot.closed[0].name, "request");
    assert_eq!(snapshot.closed[0].peak_bytes, 4096);
}

#[test]
fn the_peak_is_remembered_of_what_other_threads_charged() {
    let root = Account::root("root");
    let account = root.child("child");
    let here = Pool::on(&account);
    let there = Pool::on(&account);
    thread::spawn(move || {
        there.alloc_zeroed_bytes(10 << 20);
    })
    .join()
    .unwrap();
    assert!(account.peak() >= 10 << 20, "{}", account.peak());
    assert_eq!(account.held(), 0);
    drop(here);
    assert!(account.peak() >= 10 << 20);
}

#[test]
fn a_limit_set_while_others_charge_leaves_no_trace_in_the_figures() {
    let root = Account::root("root");
    let account = root.child("child");
    let owner = Pool::on(&account);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..200_000 {
                account.set_limit((round % 2 == 1).then_some(1 << 20));
                assert!(account.held() <= 1 << 20);
            }
            stop.store(true, Relaxed);
        });
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let pool = Pool::on(&account);
                let _ = pool.try_alloc(1_u8);
            }
        });
    });
    assert!(account.peak() <= 1 << 20, "{}", account.peak());
    assert_eq!(account.held(), 0);
    drop(owner);
}

#[test]
fn a_long_chain_of_accounts_ends_without_recursion() {
    let mut account = Account::root("root");
    for _ in 0..300_000 {
        account = account.child("next");
    }
    let pool = Pool::on(&account);
    pool.alloc(1);
    drop(pool);
    drop(account);
}

#[repr(align(64))]
struct Wide([u8; 64]);

/// Cancels a cleanup, keeps its handle, and registers others, which may be put in its place.
macro_rules! a_handle_stays_over {
    ($pool:expr, $cancelled_is_wide:expr) => {
        let pool = $pool;
        let key = CleanupKey::new("stale", 1);
        let register = |wide: bool| {
            // Ones wherever one may look for the cancelled cleanup's ticket, which is 1.
            let (aligned, words) = (Wide([1; 64]), [1_u64; 11]);
            if wide {
                pool.defer_keyed(key, move || {
                    black_box(&aligned.0);
                })
            } else {
                pool.defer_keyed(key, move || {
                    black_box(&words);
                })
            }
        };
        let stale = register($cancelled_is_wide);
        assert!(pool.cleanup(key).unwrap().cancel());
        for _ in 0..100 {
            register(!$cancelled_is_wide);
            assert!(!stale.is_pending());
        }
        assert!(!stale.run());
    };
}

#[test]
fn a_handle_of_a_cancelled_cleanup_never_finds_another_in_its_memory() {
    a_handle_stays_over!(CountedPool::new(), true);
    a_handle_stays_over!(CountedPool::new(), false);
    a_handle_stays_over!(ChunkPool::new(), true);
    a_handle_stays_over!(ChunkPool::new(), false);
}

#[test]
fn a_collection_can_shrink_at_the_limit() {
    let shrink = |allocator: &dyn Fn(&Account) -> usize| {
        let account = Account::root("full");
        assert!(allocator(&account) >= 40_000);
    };
    macro_rules! shrinks_in {
        ($pool:ty) => {
            shrink(&|account| {
                let pool = <$pool>::on(account);
                let mut bytes = PoolVec::with_capacity_in(100_000, &pool);
                bytes.resize(40_000, 1_u8);
                account.set_limit(Some(account.held()));
                // Would abort the process if it failed.
                bytes.shrink_to_fit();
                assert!(bytes.iter().all(|&byte| byte == 1));
                bytes.len()
            })
        };
    }
    shrinks_in!(Pool);
    shrinks_in!(CountedPool);
    shrinks_in!(ChunkPool);
}

#[test]
fn a_growing_text_uses_what_a_limit_leaves_when_twice_as_much_is_refused() {
    common::plain();
    let account = Account::root("tight").with_limit(Some(48_000));
    let pool = Pool::builder().source(System).account(&account).build().unwrap();
    let items = pool.try_alloc_slice_fill_iter((0..17_000).filter(|_| true).map(|i| i as u8));
    assert_eq!(items.unwrap().len(), 17_000);
}

#[test]
fn a_block_from_the_cache_may_be_written_to_by_whoever_takes_it() {
    // Only AddressSanitizer noticed: what is in the cache is marked as free for it.
    for _ in 0..3 {
        let layout = layout(4000, 64);
        let block = Blocks.acquire(layout).unwrap();
        // SAFETY: fresh memory of so many bytes.
        unsafe { block.write_bytes(7, layout.size()) };
        // SAFETY: just taken with this layout.
        unsafe { Blocks.release(block, layout) };
    }
}

#[test]
fn a_large_object_of_a_shared_pool_that_becomes_small_by_its_alignment_leaves_the_large_ones() {
    let account = Account::root("shared");
    let pool = SharedPool::try_on(&account).unwrap();
    for (old, new) in [
        (layout(13_000, 4096), layout(14_000, 8)),
        (layout(13_000, 4096), layout(13_000, 8)),
        (layout(10_000, 8192), layout(12_000, 16)),
        (layout(100, 1 << 15), layout(104, 8)),
    ] {
        let mut held = 0;
        for round in 0..4 {
            let start = pool.alloc_layout(old);
            // SAFETY: it came from this pool with that layout.
            let grown = unsafe { pool.try_grow(start, old, new) }.unwrap();
            // SAFETY: likewise, with the layout it was grown to.
            unsafe { pool.dealloc(grown, new) };
            assert_eq!(pool.figures().large, 0, "{old:?} became {new:?}, round {round}");
            held = if round == 0 { account.held() } else { held };
            assert!(account.held() <= held + 65536, "{old:?} became {new:?}");
        }
    }
}

//! Proves what runs at a pool's end: everything registered, once, the newest first, whatever
//! panics, wherever the pool has been moved meanwhile, and with the memory given back.

mod common;

use cenote::{Account, CleanupKey, Faulty, Pool, System};
use common::{Counting, message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

/// What has happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u32>>>);

impl Log {
    fn note(&self, number: u32) {
        self.0.lock().unwrap().push(number);
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// How many closures and values still refer to this.
    fn others(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    fn noting(&self, number: u32) -> impl FnOnce() + Send + 'static {
        let log = self.clone();
        move || log.note(number)
    }
}

struct Bell(Log, u32);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

#[test]
fn cleanups_run_once_the_newest_first_at_reset_and_at_drop() {
    let log = Log::default();
    let mut pool = Pool::new();
    for round in 0..3 {
        for number in 0..100 {
            if number % 3 == 0 {
                pool.own(Bell(log.clone(), number));
            } else {
                pool.defer(log.noting(number));
            }
        }
        assert_eq!(log.take(), []);
        if round < 2 {
            pool.reset();
            assert_eq!(log.take(), (0..100).rev().collect::<Vec<_>>());
            pool.reset();
            assert_eq!(log.take(), []);
        }
    }
    drop(pool);
    assert_eq!(log.take(), (0..100).rev().collect::<Vec<_>>());
    assert_eq!(log.others(), 0);
}

#[test]
fn a_value_that_is_owned_may_be_used_and_is_dropped_with_what_it_became() {
    let log = Log::default();
    let mut pool = Pool::new();
    let list = pool.own(vec![Bell(log.clone(), 1)]);
    list.push(Bell(log.clone(), 2));
    let wide = pool.own([Bell(log.clone(), 3), Bell(log.clone(), 4)]);
    wide[0].1 = 30;
    assert_eq!(list.len(), 2);
    pool.reset();
    assert_eq!(log.take(), [30, 4, 1, 2]);
}

#[test]
fn a_cancelled_cleanup_never_runs_and_lets_go_of_what_it_captured() {
    let log = Log::default();
    let pool = Pool::new();
    let first = pool.defer(log.noting(1));
    let second = pool.defer(log.noting(2));
    let third = pool.defer(log.noting(3));
    assert!(second.is_pending());
    assert!(second.cancel());
    assert_eq!(log.others(), 2);
    assert!(third.run());
    assert_eq!((log.take(), log.others()), (vec![3], 1));
    assert!(first.is_pending());
    assert_eq!(pool.snapshot().cleanups, 1);
    drop(pool);
    assert_eq!((log.take(), log.others()), (vec![1], 0));
}

#[test]
fn of_two_handles_on_one_cleanup_only_the_first_does_something() {
    let log = Log::default();
    let pool = Pool::new();
    let key = CleanupKey::new("kind", 1);
    let made = pool.defer_keyed(key, log.noting(1));
    let found = pool.cleanup(key).unwrap();
    let again = pool.cleanup(key).unwrap();
    assert!(found.run());
    assert!(!made.is_pending());
    assert!(!made.cancel());
    assert!(!again.run());
    assert!(pool.cleanup(key).is_none());
    assert_eq!(log.take(), [1]);
}

#[test]
fn a_key_finds_the_newest_of_its_kind_and_number() {
    let log = Log::default();
    let pool = Pool::new();
    for number in 0..4_u32 {
        pool.defer_keyed(CleanupKey::new("lock", u64::from(number / 2)), log.noting(number));
        pool.defer_keyed(CleanupKey::new("", 7), log.noting(100 + number));
        pool.defer(log.noting(200 + number));
    }
    let run = |kind, number| pool.cleanup(CleanupKey::new(kind, number)).map(|found| found.run());
    assert_eq!(run("lock", 2), None);
    assert_eq!(run("lok", 0), None);
    // An empty kind is no key, not even for those registered with one.
    assert_eq!((run("", 0), run("", 7)), (None, None));
    assert_eq!([run("lock", 0), run("lock", 0), run("lock", 0)], [Some(true), Some(true), None]);
    assert_eq!(log.take(), [1, 0]);
    drop(pool);
    assert_eq!(log.take(), [203, 103, 3, 202, 102, 2, 201, 101, 200, 100]);
}

#[test]
fn a_key_may_be_made_of_text_that_is_elsewhere() {
    /// Another place than the literal below, whatever the compiler merges.
    static ELSEWHERE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let pool = Pool::new();
    let elsewhere = ELSEWHERE.get_or_init(|| String::from("lock"));
    pool.defer_keyed(CleanupKey::new(elsewhere, 1), || ());
    assert!(pool.cleanup(CleanupKey::new("lock", 1)).is_some());
}

#[test]
fn what_is_registered_during_cleanup_runs_right_after_what_registered_it() {
    let log = Log::default();
    let mut pool = Pool::new();
    pool.defer(log.noting(1));
    let here = log.clone();
    pool.defer_with(move |pool| {
        here.note(2);
        let inner = here.clone();
        pool.defer_with(move |pool| {
            inner.note(3);
            pool.own(Bell(inner.clone(), 4));
        });
        pool.own(Bell(here.clone(), 5));
    });
    pool.defer(log.noting(6));
    pool.reset();
    assert_eq!(log.take(), [6, 2, 5, 3, 4, 1]);
    assert_eq!((pool.snapshot().cleanups, log.others()), (0, 0));
}

#[test]
fn a_cleanup_may_run_or_cancel_those_that_are_older() {
    let log = Log::default();
    let pool = Pool::new();
    for number in 0..6 {
        pool.defer_keyed(CleanupKey::new("n", number), log.noting(number as u32));
    }
    let here = log.clone();
    pool.defer_with(move |pool| {
        assert!(pool.cleanup(CleanupKey::new("n", 2)).unwrap().run());
        assert!(pool.cleanup(CleanupKey::new("n", 4)).unwrap().cancel());
        here.note(100);
    });
    drop(pool);
    assert_eq!(log.take(), [2, 100, 5, 3, 1, 0]);
}

#[test]
fn a_cleanup_may_allocate_much_from_its_pool() {
    let counting = Arc::new(Counting::new());
    #[derive(Clone)]
    struct Shared(Arc<Counting>);
    // SAFETY: every call goes to a source that keeps the promises.
    unsafe impl cenote::BlockSource for Shared {
        fn acquire(
            &self,
            layout: std::alloc::Layout,
        ) -> Result<std::ptr::NonNull<u8>, cenote::AllocError> {
            self.0.acquire(layout)
        }
        unsafe fn release(&self, block: std::ptr::NonNull<u8>, layout: std::alloc::Layout) {
            // SAFETY: the caller's promise, passed on.
            unsafe { self.0.release(block, layout) }
        }
    }
    let mut pool =
        Pool::builder().first_block(256).source(Shared(counting.clone())).build().unwrap();
    let log = Log::default();
    let here = log.clone();
    pool.defer_with(move |pool| {
        let numbers = pool.alloc_slice_fill_iter(0..50_000_u64);
        let texts: Vec<_> = (0..100).map(|n| pool.alloc_fmt(format_args!("text {n}"))).collect();
        assert!(numbers.iter().copied().eq(0..50_000));
        assert_eq!(*texts[99], *"text 99");
        here.note(1);
    });
    pool.reset();
    assert_eq!((log.take(), pool.used_bytes()), (vec![1], 0));
    drop(pool);
    assert_eq!(counting.bytes(), 0);
}

#[test]
fn a_panic_in_any_one_cleanup_keeps_no_other_from_running_and_reaches_the_caller() {
    const COUNT: u32 = 8;
    for bad in 0..COUNT {
        for by_reset in [true, false] {
            let counting = Counting::new();
            let account = Account::root("root");
            let builder = Pool::builder().first_block(256).account(&account);
            let mut pool = builder.source(&counting).build().unwrap();
            let log = Log::default();
            for number in 0..COUNT {
                pool.alloc_bytes(200);
                pool.alloc_bytes(40_000);
                let here = log.clone();
                pool.defer(move || {
                    here.note(number);
                    assert_ne!(number, bad, "cleanup {number} fails");
                });
            }
            let payload = if by_reset {
                let payload = catch_unwind(AssertUnwindSafe(|| pool.reset())).unwrap_err();
                assert_eq!(pool.used_bytes(), 0);
                assert_eq!(pool.held_bytes(), counting.bytes());
                pool.alloc(1);
                drop(pool);
                payload
            } else {
                catch_unwind(AssertUnwindSafe(|| drop(pool))).unwrap_err()
            };
            assert!(message(&*payload).contains(&format!("cleanup {bad} fails")));
            assert_eq!(log.take(), (0..COUNT).rev().collect::<Vec<_>>());
            assert_eq!((counting.bytes(), account.held(), account.live()), (0, 0, 0));
            assert_eq!(log.others(), 0);
        }
    }
}

#[test]
fn when_all_cleanups_panic_all_have_run_and_the_first_panic_is_told() {
    let log = Log::default();
    let pool = Pool::new();
    for number in 0..5 {
        let here = log.clone();
        pool.defer(move || {
            here.note(number);
            panic!("panic {number}");
        });
    }
    let payload = catch_unwind(AssertUnwindSafe(|| drop(pool))).unwrap_err();
    assert_eq!(message(&*payload), "panic 4");
    assert_eq!(log.take(), [4, 3, 2, 1, 0]);
}

#[test]
fn cleanups_run_and_may_panic_while_the_thread_is_unwinding() {
    let counting = Counting::new();
    let log = Log::default();
    let payload = catch_unwind(AssertUnwindSafe(|| {
        let pool = Pool::builder().source(&counting).build().unwrap();
        pool.alloc_bytes(40_000);
        for number in 0..5 {
            let here = log.clone();
            pool.defer(move || {
                here.note(number);
                assert!(number % 2 == 0, "in a cleanup");
            });
        }
        panic!("first of all");
    }));
    // An abort, or the wrong message, would be the other outcomes.
    assert_eq!(message(&*payload.unwrap_err()), "first of all");
    assert_eq!(log.take(), [4, 3, 2, 1, 0]);
    assert_eq!(counting.bytes(), 0);
}

#[test]
fn a_panic_in_a_cleanup_that_is_run_early_reaches_its_caller_and_it_counts_as_run() {
    let log = Log::default();
    let pool = Pool::new();
    pool.defer(log.noting(1));
    let here = log.clone();
    let bad = pool.defer(move || {
        here.note(2);
        panic!("early");
    });
    let payload = catch_unwind(AssertUnwindSafe(|| bad.run())).unwrap_err();
    assert_eq!(message(&*payload), "early");
    drop(pool);
    assert_eq!(log.take(), [2, 1]);
}

#[test]
#[cfg_attr(cenote_asan, ignore = "what its drop panicked with is forgotten, which is a leak")]
fn a_payload_whose_own_drop_panics_is_no_abort() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a payload's drop");
        }
    }
    let pool = Pool::new();
    pool.defer(|| std::panic::panic_any(Bomb));
    pool.defer(|| panic!("the first"));
    let payload = catch_unwind(AssertUnwindSafe(|| drop(pool))).unwrap_err();
    assert_eq!(message(&*payload), "the first");
}

#[test]
fn a_pool_that_moved_runs_its_cleanups_with_itself_where_it_is() {
    common::plain();
    let log = Log::default();
    let pool = Pool::builder().name("wanderer").build().unwrap();
    let here = log.clone();
    pool.defer_with(move |pool| {
        assert_eq!((pool.name(), pool.snapshot().large.len()), ("wanderer", 1));
        assert_eq!(*pool.alloc(9), 9);
        here.note(1);
    });
    let moved = Box::new(pool);
    moved.alloc_bytes(100_000);
    let mut moved = vec![*moved, Pool::new()];
    moved.swap(0, 1);
    drop(moved);
    assert_eq!(log.take(), [1]);
}

#[test]
fn a_pool_dropped_on_another_thread_runs_its_cleanups_there() {
    let pool = Pool::new();
    let here = thread::current().id();
    let log = Log::default();
    let noted = log.clone();
    pool.defer(move || noted.note(u32::from(thread::current().id() != here)));
    pool.own(Bell(log.clone(), 7));
    thread::spawn(move || drop(pool)).join().unwrap();
    assert_eq!(log.take(), [7, 1]);
}

#[test]
fn a_cleanup_that_finds_no_memory_is_not_called_but_dropped() {
    common::plain();
    for calls in 0..2 {
        let log = Log::default();
        let faulty = Faulty::new(System);
        let pool = Pool::builder().first_block(256).source(&faulty).build().unwrap();
        while pool.held_bytes() < 256 || pool.snapshot().blocks[0].free >= 16 {
            pool.alloc(1_u64);
        }
        faulty.fail_after(0, true);
        match calls {
            0 => assert!(pool.try_defer(log.noting(1)).is_err()),
            _ => assert!(pool.try_own(Bell(log.clone(), 2)).is_err()),
        }
        faulty.recover();
        assert_eq!(log.others(), 0);
        assert_eq!(log.take(), if calls == 0 { vec![] } else { vec![2] });
        drop(pool);
        assert_eq!(log.take(), []);
    }
}

#[test]
fn over_aligned_closures_and_values_are_aligned_when_they_run() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    #[repr(align(512))]
    struct Wide(u8);
    impl Drop for Wide {
        fn drop(&mut self) {
            assert_eq!(std::ptr::from_ref(self).addr() % 512, 0);
            RUNS.fetch_add(u32::from(self.0), SeqCst);
        }
    }
    let pool = Pool::new();
    pool.alloc(1_u8);
    pool.own(Wide(1));
    let inside = Wide(10);
    pool.defer(move || {
        // All of it, not only the byte.
        let inside = inside;
        assert_eq!(inside.0, 10);
    });
    drop(pool);
    assert_eq!(RUNS.load(SeqCst), 11);
}

#[test]
fn closures_without_captures_and_with_many_run_alike() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let pool = Pool::new();
    fn add(count: u32) {
        RUNS.fetch_add(count, SeqCst);
    }
    pool.defer(|| add(1));
    let much = [1_u32; 500];
    pool.defer(move || add(much.iter().sum()));
    // Larger than any block the pool takes: a large object of its own.
    let huge = vec![1_u8; 10].into_boxed_slice();
    let more = [2_u32; 20_000];
    pool.defer(move || add(more[19_999] + u32::from(huge[9])));
    drop(pool);
    assert_eq!(RUNS.load(SeqCst), 1 + 500 + 3);
}

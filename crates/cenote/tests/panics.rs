//! A panic in the k-th of n things that a pool runs for its user, for all k, and calls of the
//! pool from inside them: the rest run, once, in order; nothing is leaked or dropped twice.

mod common;

use cenote::{Account, ChunkPool, CountedPool, Pool};
use common::{Counting, message};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// How many of each there are.
const N: usize = 7;

type Log = Arc<Mutex<Vec<usize>>>;

/// Notes its drop, and panics then if it is the one to.
struct Noted {
    number: usize,
    log: Log,
    panics: bool,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.log.lock().unwrap_or_else(|e| e.into_inner()).push(self.number);
        assert!(!self.panics, "drop {}", self.number);
    }
}

fn notes(log: &Log) -> Vec<usize> {
    log.lock().unwrap_or_else(|e| e.into_inner()).clone()
}

fn newest_first() -> Vec<usize> {
    (0..N).rev().collect()
}

/// Both ends of a pool, for each pool.
macro_rules! at_the_end {
    ($name:ident, $builder:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn a_panic_in_any_cleanup_lets_the_others_run_once_and_in_order() {
                for reset in [true, false] {
                    for k in 0..N {
                        let source = Counting::new();
                        let log = Log::default();
                        let mut pool = $builder.source(&source).build().unwrap();
                        for number in 0..N {
                            let log = log.clone();
                            pool.defer(move || {
                                log.lock().unwrap_or_else(|e| e.into_inner()).push(number);
                                assert!(number != k, "cleanup {number}");
                            });
                        }
                        let end =
                            AssertUnwindSafe(|| if reset { pool.reset() } else { drop(pool) });
                        let panic = catch_unwind(end).unwrap_err();
                        assert_eq!(message(&*panic), format!("cleanup {k}"));
                        assert_eq!(notes(&log), newest_first());
                        // A pool that was reset was dropped with the closure.
                        assert_eq!((source.blocks(), Arc::strong_count(&log)), (0, 1));
                    }
                }
            }

            #[test]
            fn a_panic_in_any_destructor_lets_the_others_run_once_and_in_order() {
                for reset in [true, false] {
                    for k in 0..N {
                        let source = Counting::new();
                        let log = Log::default();
                        let mut pool = $builder.source(&source).build().unwrap();
                        for number in 0..N {
                            pool.own(Noted { number, log: log.clone(), panics: number == k });
                        }
                        let end =
                            AssertUnwindSafe(|| if reset { pool.reset() } else { drop(pool) });
                        let panic = catch_unwind(end).unwrap_err();
                        assert_eq!(message(&*panic), format!("drop {k}"));
                        assert_eq!(notes(&log), newest_first());
                        assert_eq!((source.blocks(), Arc::strong_count(&log)), (0, 1));
                    }
                }
            }

            #[test]
            fn panics_in_all_of_them_are_as_good_as_one() {
                let source = Counting::new();
                let log = Log::default();
                let mut pool = $builder.source(&source).build().unwrap();
                for number in 0..N {
                    pool.own(Noted { number, log: log.clone(), panics: true });
                }
                let panic = catch_unwind(AssertUnwindSafe(|| pool.reset())).unwrap_err();
                assert_eq!(message(&*panic), format!("drop {}", N - 1), "the first one goes on");
                assert_eq!(notes(&log), newest_first());
                // And it can be used again.
                pool.own(Noted { number: N, log: log.clone(), panics: false });
                drop(pool);
                assert_eq!(notes(&log).last(), Some(&N));
                assert_eq!((source.blocks(), Arc::strong_count(&log)), (0, 1));
            }
        }
    };
}
at_the_end!(in_a_pool, Pool::builder());
at_the_end!(in_a_counted_pool, CountedPool::builder());
at_the_end!(in_a_chunk_pool, ChunkPool::config());

/// A clone that panics when it is its turn, and counts those that live.
struct Turns<'a> {
    left: &'a Cell<usize>,
    live: &'a Cell<isize>,
}

impl<'a> Turns<'a> {
    fn new(left: &'a Cell<usize>, live: &'a Cell<isize>) -> Self {
        assert!(left.get() > 0, "its turn");
        left.set(left.get() - 1);
        live.set(live.get() + 1);
        Self { left, live }
    }
}

impl Clone for Turns<'_> {
    fn clone(&self) -> Self {
        Self::new(self.left, self.live)
    }
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

#[test]
fn a_panic_in_any_clone_element_or_item_drops_what_was_made_and_no_more() {
    for k in 0..N {
        for way in 0..6 {
            let (left, live) = (Cell::new(N), Cell::new(0));
            let mut pool = Pool::builder().first_block(256).build().unwrap();
            let counted = CountedPool::new();
            let originals: Vec<Turns<'_>> = (0..N).map(|_| Turns::new(&left, &live)).collect();
            left.set(k);
            let made = catch_unwind(AssertUnwindSafe(|| match way {
                0 => drop(pool.alloc_slice_clone(&originals)),
                1 => drop(pool.alloc_slice_fill_with(N, |_| Turns::new(&left, &live))),
                2 => drop(pool.alloc_slice_fill_iter((0..N).map(|_| Turns::new(&left, &live)))),
                3 => drop(counted.alloc_slice_clone(&originals)),
                4 => drop(counted.alloc_slice_fill_with(N, |_| Turns::new(&left, &live))),
                _ => drop(counted.alloc_slice_fill_iter((0..N).map(|_| Turns::new(&left, &live)))),
            }));
            assert_eq!(message(&*made.unwrap_err()), "its turn");
            assert_eq!(live.get(), N as isize, "way {way}, {k}");
            // What is allocated next is whole.
            assert_eq!(pool.alloc_slice_fill_with(100, |n| n)[99], 99);
            assert_eq!((counted.live(), counted.alloc(7).to_string()), (0, "7".to_owned()));
            pool.reset();
        }
    }
}

#[test]
fn a_panic_in_a_value_being_made_leaves_nothing_behind() {
    let account = Account::root("made");
    let (pool, counted, chunks) =
        (Pool::on(&account), CountedPool::on(&account), ChunkPool::on(&account));
    for _ in 0..N {
        for way in 0..4 {
            let made = catch_unwind(AssertUnwindSafe(|| match way {
                0 => drop(pool.alloc_with::<[u64; 40]>(|| panic!("made"))),
                1 => drop(counted.alloc_with::<[u64; 40]>(|| panic!("made"))),
                2 => drop(counted.alloc_with::<[u64; 4000]>(|| panic!("made"))),
                _ => drop(pool.alloc_fmt(format_args!("{:?}", Refuses))),
            }));
            assert!(made.is_err());
        }
    }
    assert_eq!((counted.live(), chunks.is_empty()), (0, true));
    drop((pool, counted, chunks));
    assert_eq!(account.held(), 0);
}

struct Refuses;

impl std::fmt::Debug for Refuses {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("made")
    }
}

#[test]
fn cleanups_may_allocate_register_look_up_and_run_others() {
    let log = Log::default();
    let mut pool = Pool::new();
    let note = |number: usize| {
        let log = log.clone();
        move || log.lock().unwrap().push(number)
    };
    pool.defer(note(0));
    let (first, again) = (note(1), log.clone());
    pool.defer_with(move |pool| {
        first();
        // Registered while the pool ends: it runs as well, next.
        pool.defer(move || again.lock().unwrap().push(2));
        let text = pool.alloc_fmt(format_args!("{}", "x".repeat(100_000)));
        assert_eq!(text.len(), 100_000);
        assert_eq!(*pool.own(5), 5);
    });
    pool.reset();
    assert_eq!(notes(&log), [1, 2, 0]);
    pool.reset();
    assert_eq!(notes(&log), [1, 2, 0], "once each");
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn a_pool_that_a_cleanup_owns_ends_inside_it() {
    let log = Log::default();
    let inner = Pool::new();
    inner.own(Noted { number: 1, log: log.clone(), panics: false });
    let mut outer = Pool::new();
    let owned = outer.own(inner);
    owned.alloc(3);
    outer.own(Noted { number: 2, log: log.clone(), panics: false });
    outer.reset();
    assert_eq!(notes(&log), [2, 1]);
}

#[test]
fn a_value_being_made_may_use_its_pool_in_every_way_that_a_shared_one_can_be_used() {
    let pool = Pool::builder().first_block(256).build().unwrap();
    let seen = RefCell::new(Vec::new());
    let made = pool.alloc_with(|| {
        for n in 0..100_usize {
            seen.borrow_mut().push(pool.alloc([n; 10]));
        }
        pool.defer(|| ());
        pool.own(String::from("owned"));
        drop(allocator_api2::vec::Vec::<u64, _>::with_capacity_in(10_000, &pool));
        let nested = pool.alloc_with(|| pool.alloc_with(|| 8_u8));
        [**nested; 64]
    });
    assert_eq!(*made, [8; 64]);
    assert!(seen.borrow().iter().enumerate().all(|(n, words)| **words == [n; 10]));

    let counted = CountedPool::new();
    let outer = counted.alloc_with(|| {
        let freed = counted.alloc([1_u64; 30]);
        drop(freed);
        counted.alloc(2_u64)
    });
    assert_eq!((**outer, counted.live()), (2, 2));
}

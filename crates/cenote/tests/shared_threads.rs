//! Proves that threads may use a shared pool at once: what they get is theirs alone, the
//! memory goes back once and only when the last of them is done, and all figures end at zero.

mod common;

use allocator_api2::vec::Vec as PoolVec;
use cenote::{Account, Pool, SharedPool};
use common::{Counting, Dice, seed};
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(debug_assertions) { 6_000 } else { 40_000 };

/// An object that is full of a number that only its owner has.
struct Mine {
    start: NonNull<u64>,
    words: usize,
    number: u64,
}

impl Mine {
    fn layout(words: usize) -> Layout {
        Layout::array::<u64>(words).unwrap()
    }

    fn write(&self) {
        // SAFETY: the object's words, which nobody else has.
        let words = unsafe { slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.words) };
        words.fill(MaybeUninit::new(self.number));
    }

    fn check(&self, words: usize) {
        // SAFETY: the object's words, which were written.
        let words = unsafe { slice::from_raw_parts(self.start.as_ptr(), words) };
        assert!(words.iter().all(|&word| word == self.number));
    }
}

fn work<S: cenote::BlockSource>(pool: &SharedPool<S>, me: u64, mut dice: Dice) {
    let mut kept: Vec<Mine> = Vec::new();
    for round in 0..ROUNDS as u64 {
        let number = me << 48 | round;
        let most = if dice.once_in(200) { 6_000 } else { 24 };
        let words = 1 + dice.below(most);
        let start = pool.try_alloc_layout(Mine::layout(words)).unwrap().cast();
        let mut mine = Mine { start, words, number };
        mine.write();
        if dice.once_in(3) {
            let more = words + dice.below(16);
            let (old, new) = (Mine::layout(words), Mine::layout(more));
            // SAFETY: of this pool and layout; the new one is not smaller.
            let grown = unsafe { pool.try_grow(mine.start.cast(), old, new) }.unwrap();
            (mine.start, mine.words) = (grown.cast(), more);
            mine.check(words);
            mine.write();
        }
        if dice.once_in(4) {
            let less = 1 + dice.below(mine.words);
            let (old, new) = (Mine::layout(mine.words), Mine::layout(less));
            // SAFETY: of this pool and layout; the new one is not larger.
            let shrunk = unsafe { pool.try_shrink(mine.start.cast(), old, new) }.unwrap();
            (mine.start, mine.words) = (shrunk.cast(), less);
            mine.check(less);
        }
        let text = pool.try_alloc_fmt(format_args!("{me}:{round}")).unwrap();
        if dice.once_in(8) {
            kept.push(mine);
        } else {
            mine.check(mine.words);
            // SAFETY: of this pool and layout, and not used any more.
            unsafe { pool.dealloc(mine.start.cast(), Mine::layout(mine.words)) };
        }
        assert_eq!(text, &format!("{me}:{round}"));
        if kept.len() > 64 {
            let at = dice.below(kept.len());
            let old = kept.swap_remove(at);
            old.check(old.words);
            // SAFETY: of this pool and layout, and not used any more.
            unsafe { pool.dealloc(old.start.cast(), Mine::layout(old.words)) };
        }
    }
    for mine in &kept {
        mine.check(mine.words);
    }
}

#[test]
fn what_threads_get_at_once_is_theirs_alone() {
    let seed = seed("shared threads");
    static SOURCE: Counting = Counting::new();
    let source = &SOURCE;
    let account = Account::root("shared");
    // Small blocks, so that threads meet at their ends often.
    let builder = Pool::builder().source(source).first_block(512).largest_block(8 << 10);
    let builder = builder.large_threshold(4 << 10).shared().unwrap();
    let pool = builder.try_build_on(&account).unwrap();
    let start = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS as u64)
        .map(|me| {
            let (pool, start) = (pool.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                work(&pool, me, Dice::new(seed ^ me << 32));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((pool.handles(), account.held()), (1, source.bytes()));
    drop(pool);
    Account::settle();
    assert_eq!((source.blocks(), account.held(), account.live()), (0, 0, 0));
}

#[test]
fn the_last_of_many_handles_ends_the_pool_once() {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    let account = Account::root("handles");
    for round in 0..300 {
        let pool = SharedPool::try_on(&account).unwrap();
        pool.defer(|| {
            ENDED.fetch_add(1, SeqCst);
        });
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|me| {
                let (pool, start) = (pool.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    let mine = pool.clone();
                    drop(pool);
                    let mut list = PoolVec::new_in(mine.clone());
                    list.extend((0..100).map(|number| number + me));
                    drop(mine);
                    assert_eq!(list[99], 99 + me);
                })
            })
            .collect();
        drop(pool);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(ENDED.load(SeqCst), round + 1);
    }
    assert_eq!(account.live(), 0);
}

#[test]
fn a_limit_holds_however_many_threads_ask_at_once() {
    common::unwatched();
    let account = Account::root("service").shared_child("request").with_limit(Some(256 << 10));
    let pool = SharedPool::try_on(&account).unwrap();
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    match pool.try_alloc([0_u64; 30]) {
                        Ok(_) => {}
                        Err(error) => {
                            assert_eq!(error.account().map(|a| a.name()), Some("request"));
                            refused.fetch_add(1, SeqCst);
                        }
                    }
                }
            });
        }
    });
    assert!(refused.load(SeqCst) > 0);
    assert!(account.peak() <= 256 << 10, "{}", account.peak());
    assert!(pool.used_bytes() > 200 << 10, "{}", pool.used_bytes());
}

#[test]
fn a_pool_made_on_one_thread_ends_on_another() {
    let root = Account::root("process");
    for _ in 0..200 {
        let pool = SharedPool::try_on(&root.child("request")).unwrap();
        pool.own(vec![1, 2, 3]);
        pool.alloc_bytes(100_000);
        thread::spawn(move || drop(pool)).join().unwrap();
    }
    Account::settle();
    assert_eq!(root.held(), 0);
}

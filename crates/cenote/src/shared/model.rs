//! What loom checks: every order in which two or three threads' steps can follow each other,
//! and every value that a load may see under the memory model.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p cenote --lib shared::model`

use super::SharedPool;
use super::window::Window;
use crate::{AllocError, BlockSource, Pool, System};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// A window over words of which loom notes who reads and writes them, and whether that was
/// ordered: 8 bytes of the window are one word.
struct Watched {
    window: Window,
    words: Vec<Word>,
}

/// A word of which loom notes who reads and writes it, and whether that was ordered.
#[derive(Default)]
struct Word(UnsafeCell<usize>);

// SAFETY: loom's cells complain if they are used by two threads at once.
unsafe impl Sync for Word {}
// SAFETY: likewise.
unsafe impl Send for Word {}

impl Word {
    fn set(&self, number: usize) {
        // SAFETY: loom checks that nobody else has it.
        self.0.with_mut(|word| unsafe { *word = number });
    }

    fn get(&self) -> usize {
        // SAFETY: likewise.
        self.0.with(|word| unsafe { *word })
    }

    fn count(&self) {
        self.set(self.get() + 1);
    }
}

impl Watched {
    fn new(words: usize) -> Arc<Self> {
        let words: Vec<_> = (0..words).map(|_| Word::default()).collect();
        Arc::new(Self { window: Window::new(0, words.len() * 8), words })
    }

    /// Writes to an object's words and reads them back.
    fn own(&self, offset: usize, words: usize, number: usize) {
        for word in &self.words[offset / 8..offset / 8 + words] {
            word.set(number);
        }
        thread::yield_now();
        for word in &self.words[offset / 8..offset / 8 + words] {
            assert_eq!(word.get(), number);
        }
    }
}

#[test]
fn objects_placed_at_once_from_both_ends_are_apart() {
    loom::model(|| {
        let watched = Watched::new(4);
        let other = watched.clone();
        let thread = thread::spawn(move || {
            for number in [11, 12] {
                if let Some(offset) = other.window.place_down(8) {
                    other.own(offset, 1, number);
                }
            }
        });
        for number in [1, 2] {
            if let Some(offset) = watched.window.place_up(0, 16, 8) {
                watched.own(offset, 2, number);
            }
        }
        thread.join().unwrap();
        let (last, end) = watched.window.ends();
        assert!(last <= end && end <= 32);
    });
}

#[test]
fn what_one_thread_frees_another_may_have() {
    loom::model(|| {
        let watched = Watched::new(2);
        let work = |watched: &Watched, number: usize| {
            for _ in 0..2 {
                if let Some(offset) = watched.window.place_up(0, 8, 8) {
                    watched.own(offset, 1, number);
                    watched.window.resize(offset, 8, 0);
                }
            }
        };
        let other = watched.clone();
        let thread = thread::spawn(move || work(&other, 7));
        work(&watched, 9);
        thread.join().unwrap();
    });
}

#[test]
fn an_object_grows_and_shrinks_only_while_it_is_the_newest() {
    loom::model(|| {
        let watched = Watched::new(4);
        let other = watched.clone();
        let thread = thread::spawn(move || {
            if let Some(offset) = other.window.place_up(0, 8, 8) {
                other.own(offset, 1, 5);
            }
        });
        let offset = watched.window.place_up(0, 8, 8).expect("there is room for both");
        watched.own(offset, 1, 3);
        if watched.window.resize(offset, 8, 24) {
            watched.own(offset, 3, 4);
            if watched.window.resize(offset, 24, 8) {
                watched.own(offset, 1, 6);
            }
        }
        thread.join().unwrap();
    });
}

/// Counts the blocks that are out. Its counters are not loom's: they order nothing.
struct Counting(&'static AtomicUsize);

// SAFETY: every call goes to `System` unchanged.
unsafe impl BlockSource for Counting {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let block = System.acquire(layout)?;
        self.0.fetch_add(1, SeqCst);
        Ok(block)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.0.fetch_sub(1, SeqCst);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

impl Clone for Counting {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

fn pool(out: &'static AtomicUsize) -> SharedPool<Counting> {
    let builder = Pool::builder().source(Counting(out)).first_block(1024).largest_block(1024);
    builder.shared().unwrap().try_build().unwrap()
}

#[test]
fn threads_that_need_a_new_block_at_once_get_what_is_theirs() {
    static OUT: AtomicUsize = AtomicUsize::new(0);
    loom::model(|| {
        let pool = pool(&OUT);
        // So that the next objects do not all fit.
        while pool.state().current().room() >= 200 {
            pool.alloc([0_u64; 2]);
        }
        let other = pool.clone();
        let thread = thread::spawn(move || {
            let mine = other.alloc([1_u64; 14]);
            assert_eq!(*mine, [1; 14]);
        });
        let (one, two) = (pool.alloc([2_u64; 14]), pool.alloc([3_u64; 14]));
        thread.join().unwrap();
        assert_eq!((*one, *two), ([2; 14], [3; 14]));
        drop(pool);
        assert_eq!(OUT.load(SeqCst), 0);
    });
}

#[test]
fn the_last_handle_sees_all_that_others_did_and_ends_the_pool_once() {
    static OUT: AtomicUsize = AtomicUsize::new(0);
    loom::model(|| {
        /// Written by the thread that puts it in, after that, and by the last one of all.
        struct Value(Arc<Word>);
        impl Drop for Value {
            fn drop(&mut self) {
                self.0.count();
            }
        }
        let pool = pool(&OUT);
        let cells = [0, 1].map(|_| Arc::new(Word::default()));
        let (handle, cell) = (pool.clone(), cells[0].clone());
        let thread = thread::spawn(move || {
            let again = handle.clone();
            drop(handle);
            again.own(Value(cell)).0.count();
        });
        pool.own(Value(cells[1].clone())).0.count();
        drop(pool);
        thread.join().unwrap();
        assert_eq!(OUT.load(SeqCst), 0);
        for cell in cells {
            assert_eq!(cell.get(), 2);
        }
    });
}

#[test]
fn a_look_sees_a_pool_that_is_there_whoever_ends_it() {
    static OUT: AtomicUsize = AtomicUsize::new(0);
    loom::model(|| {
        let pool = pool(&OUT);
        let cell = Arc::new(Word::default());
        let (weak, written) = (pool.downgrade(), cell.clone());
        let thread = thread::spawn(move || {
            let seen = weak.look(|look| {
                // Blocks that had gone back could not be counted.
                let before = OUT.load(SeqCst);
                let figures = {
                    let figures = look.figures();
                    (figures.held_bytes, figures.used_bytes)
                };
                thread::yield_now();
                (before.min(OUT.load(SeqCst)), figures)
            });
            if let Some((out, (held, used))) = seen {
                assert_eq!((out, held), (1, 1024));
                assert!(used < held);
            }
        });
        pool.alloc([1_u64; 2]);
        pool.defer(move || written.count());
        drop(pool);
        // Its cleanup has run, whoever looks at it.
        assert_eq!(cell.get(), 1);
        thread.join().unwrap();
        assert_eq!(OUT.load(SeqCst), 0);
    });
}

#[test]
fn who_looks_makes_a_handle_of_it_or_finds_it_ended_and_it_ends_once() {
    static OUT: AtomicUsize = AtomicUsize::new(0);
    loom::model(|| {
        let pool = pool(&OUT);
        let cell = Arc::new(Word::default());
        let (weak, written) = (pool.downgrade(), cell.clone());
        pool.defer(move || written.count());
        let thread = thread::spawn(move || {
            if let Some(handle) = weak.upgrade() {
                assert_eq!(*handle.alloc(7_u64), 7);
            }
        });
        drop(pool);
        thread.join().unwrap();
        assert_eq!(OUT.load(SeqCst), 0);
        assert_eq!(cell.get(), 1);
    });
}

#[test]
fn two_who_look_and_an_end_give_the_blocks_back_once() {
    static OUT: AtomicUsize = AtomicUsize::new(0);
    loom::model(|| {
        let pool = pool(&OUT);
        let weak = pool.downgrade();
        let looks = [weak.clone(), weak].map(|weak| {
            thread::spawn(move || {
                if let Some(out) = weak.look(|look| look.figures().held_bytes.min(OUT.load(SeqCst)))
                {
                    assert_eq!(out, 1);
                }
            })
        });
        drop(pool);
        looks.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(OUT.load(SeqCst), 0);
    });
}

#[test]
fn who_looks_finds_every_block_that_it_finds_whole() {
    static OUT: AtomicUsize = AtomicUsize::new(0);
    loom::model(|| {
        let pool = pool(&OUT);
        while pool.state().current().room() >= 200 {
            pool.alloc([0_u64; 2]);
        }
        let weak = pool.downgrade();
        let thread = thread::spawn(move || {
            let figures = weak.look(|look| {
                let figures = look.figures();
                (figures.held_bytes, figures.used_bytes)
            });
            if let Some((held, used)) = figures {
                assert!(held == 1024 || held == 2048, "{held}");
                assert!(used < held);
            }
        });
        pool.alloc([1_u64; 30]);
        thread.join().unwrap();
        drop(pool);
        assert_eq!(OUT.load(SeqCst), 0);
    });
}

#[test]
fn two_who_ask_for_a_way_to_look_get_the_same() {
    static OUT: AtomicUsize = AtomicUsize::new(0);
    loom::model(|| {
        let pool = pool(&OUT);
        let other = pool.clone();
        let thread = thread::spawn(move || other.downgrade());
        let mine = pool.downgrade();
        let theirs = thread.join().unwrap();
        assert!(!mine.is_gone() && !theirs.is_gone());
        drop(pool);
        assert!(mine.is_gone() && theirs.is_gone());
        assert_eq!(OUT.load(SeqCst), 0);
    });
}

/// A source by which loom notes what a block's way back is ordered with.
#[derive(Clone)]
struct Ordered {
    /// Read by those who look, written when a block goes back.
    looked: Arc<Word>,
    /// Written by the pool's end, read when a block goes back.
    cleaned: Arc<Word>,
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl BlockSource for Ordered {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        System.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.looked.count();
        assert_eq!(self.cleaned.get(), 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

#[test]
fn blocks_go_back_after_what_was_seen_of_them_and_after_the_pools_end() {
    loom::model(|| {
        let [looked, cleaned] = [0, 0].map(|_| Arc::new(Word::default()));
        let source = Ordered { looked: looked.clone(), cleaned: cleaned.clone() };
        let builder = Pool::builder().source(source).first_block(1024).largest_block(1024);
        let pool = builder.shared().unwrap().try_build().unwrap();
        pool.defer(move || cleaned.count());
        let (weak, seen) = (pool.downgrade(), looked.clone());
        let thread = thread::spawn(move || {
            weak.look(|_| {
                assert_eq!(seen.get(), 0);
            });
        });
        drop(pool);
        thread.join().unwrap();
        assert_eq!(looked.get(), 1);
    });
}

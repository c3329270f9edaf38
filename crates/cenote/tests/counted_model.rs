//! Proves `CountedPool` against a model: after tens of thousands of random operations every
//! live object has the bytes that were put into it, lies where it should and overlaps no
//! other; every block counts exactly the objects in it; what the pool says it holds is what
//! its source gave and its account was charged; and with faults and limits anywhere a failure
//! is an error that loses nothing.

mod common;

use cenote::{Account, BlockSource, Cleanup, CountedPool, Faulty};
use common::{Dice, Ledger, seed};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;

/// Objects up to this size are written and checked in full, larger ones at both ends.
const WHOLE: usize = 16 << 10;

#[derive(Clone, Copy)]
struct Object {
    start: NonNull<u8>,
    layout: Layout,
    mark: u64,
}

fn byte(mark: u64, index: usize) -> u8 {
    (mark as u8) ^ (mark >> 8) as u8 ^ index as u8 ^ (index >> 8) as u8
}

/// The indices that are written and checked in an object of `size` bytes.
fn indices(size: usize) -> impl Iterator<Item = usize> {
    let head = if size <= WHOLE { size } else { 256 };
    (0..head).chain(size.saturating_sub(256).max(head)..size)
}

impl Object {
    fn write(&self) {
        for index in indices(self.layout.size()) {
            // SAFETY: inside the object.
            let at = unsafe { self.start.add(index) };
            // SAFETY: the object is the model's own.
            unsafe { at.write(byte(self.mark, index)) };
        }
    }

    /// Checks the bytes below `size` that were written when the object had its present size.
    fn check(&self, size: usize) {
        assert!(self.start.addr().get().is_multiple_of(self.layout.align()), "{:?}", self.layout);
        for index in indices(self.layout.size()).take_while(|&index| index < size) {
            // SAFETY: inside the object.
            let at = unsafe { self.start.add(index) };
            // SAFETY: written by `write`.
            assert_eq!(unsafe { at.read() }, byte(self.mark, index), "{index} {:?}", self.layout);
        }
    }
}

/// Which objects there should be, and where.
struct Model {
    page: usize,
    objects: Vec<Object>,
    /// Where objects begin, and their length.
    map: BTreeMap<usize, usize>,
    /// How many objects begin in each page-aligned page, large ones not among them.
    counts: BTreeMap<usize, usize>,
    large: usize,
    marks: u64,
}

impl Model {
    fn new(page: usize) -> Self {
        let (objects, map, counts) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { page, objects, map, counts, large: 0, marks: 0 }
    }

    /// The rule for what is large: it does not fit into an empty block with its header.
    fn is_large(&self, layout: Layout) -> bool {
        48_usize.next_multiple_of(layout.align()) + layout.size().next_multiple_of(8) > self.page
    }

    fn count(&mut self, object: &Object, in_: bool) {
        if self.is_large(object.layout) {
            self.large = if in_ { self.large + 1 } else { self.large - 1 };
            return;
        }
        let page = object.start.addr().get() & !(self.page - 1);
        let count = self.counts.entry(page).or_default();
        *count = if in_ { *count + 1 } else { *count - 1 };
        if *count == 0 {
            self.counts.remove(&page);
        }
    }

    fn enter(&mut self, start: NonNull<u8>, layout: Layout) {
        self.marks += 1;
        let object = Object { start, layout, mark: self.marks };
        if layout.size() != 0 {
            let (from, to) = (start.addr().get(), start.addr().get() + layout.size());
            let below = self.map.range(..to).next_back();
            assert!(below.is_none_or(|(&at, &len)| at + len <= from), "overlap at {from:#x}");
            self.map.insert(from, layout.size());
            self.count(&object, true);
        }
        object.write();
        self.objects.push(object);
    }

    fn leave(&mut self, place: usize) -> Object {
        let object = self.objects.swap_remove(place);
        if object.layout.size() != 0 {
            self.map.remove(&object.start.addr().get());
            self.count(&object, false);
        }
        object
    }

    /// The pool, block by block, against the model.
    fn compare<S: BlockSource>(&self, pool: &CountedPool<S>) {
        let snapshot = pool.snapshot();
        let mut found: Vec<_> = snapshot.blocks.iter().map(|block| block.references).collect();
        found.retain(|&count| count != 0);
        found.sort_unstable();
        let mut expected: Vec<_> = self.counts.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(snapshot.large.len(), self.large);
        assert_eq!(pool.live(), self.map.len());
        assert_eq!(snapshot.held_bytes, pool.held_bytes());
        assert!(snapshot.used_bytes <= snapshot.held_bytes);
        for block in &snapshot.blocks {
            assert_eq!(block.header + block.used + block.packed + block.free, block.size);
            assert!(block.references != 0 || block.free == block.size - block.header);
        }
    }
}

struct Run<'a, S: BlockSource> {
    pool: &'a CountedPool<S>,
    model: Model,
    dice: Dice,
    failures: usize,
}

impl<S: BlockSource> Run<'_, S> {
    fn layout(&mut self) -> Layout {
        let size = match self.dice.below(400) {
            0 => self.dice.below(3 << 20),
            1..=20 => self.dice.size(),
            _ => self.dice.below(400),
        };
        let align = self.dice.align();
        Layout::from_size_align(size, align).unwrap()
    }

    fn alloc(&mut self) {
        let layout = self.layout();
        let pool = self.pool;
        let (got, layout) = match self.dice.below(6) {
            0 => {
                let layout = Layout::from_size_align(layout.size(), 1).unwrap();
                (pool.try_alloc_packed(layout.size()), layout)
            }
            1 => {
                let got = pool.try_alloc_zeroed(layout);
                if let Ok(start) = got {
                    for index in indices(layout.size()) {
                        // SAFETY: inside the object.
                        let at = unsafe { start.add(index) };
                        // SAFETY: zeroed.
                        assert_eq!(unsafe { at.read() }, 0);
                    }
                }
                (got, layout)
            }
            2 => {
                let text = "x".repeat(layout.size().min(9000));
                let made = pool.try_alloc_fmt(format_args!("{text}{}", 1));
                let layout = Layout::from_size_align(text.len() + 1, 1).unwrap();
                (made.map(|made| cenote::CountedBox::into_raw(made).cast()), layout)
            }
            _ => (pool.try_alloc_layout(layout), layout),
        };
        match got {
            Ok(start) => self.model.enter(start, layout),
            Err(_) => self.failures += 1,
        }
    }

    fn free(&mut self) {
        // Mostly the oldest or the newest, as messages are.
        let count = self.model.objects.len();
        let place = match self.dice.below(4) {
            0 => count - 1,
            1 => 0,
            _ => self.dice.below(count),
        };
        let object = self.model.leave(place);
        object.check(object.layout.size());
        if object.layout.size() != 0 && self.dice.once_in(2) {
            // SAFETY: a live object that nothing refers to.
            unsafe { self.pool.free(object.start) }.unwrap();
        } else {
            // SAFETY: likewise, of this layout.
            unsafe { self.pool.dealloc(object.start, object.layout) };
        }
    }

    fn resize(&mut self) {
        let count = self.model.objects.len();
        let place = if self.dice.once_in(2) { count - 1 } else { self.dice.below(count) };
        let object = self.model.leave(place);
        let align = if self.dice.once_in(8) { self.dice.align() } else { object.layout.align() };
        let (old, grow) = (object.layout.size(), self.dice.once_in(2));
        let size = match grow {
            true if old < 64 << 10 => old + self.dice.below(2 * old + 64),
            true => old,
            false => self.dice.below(old + 1),
        };
        let new = Layout::from_size_align(size, align).unwrap();
        // Only what is written whole can be checked at another size.
        let known = if old.max(size) <= WHOLE { old.min(size) } else { 0 };
        let got = if grow {
            // SAFETY: a live object of this layout, and the new size is not smaller.
            unsafe { self.pool.try_grow(object.start, object.layout, new) }
        } else {
            // SAFETY: likewise, not larger.
            unsafe { self.pool.try_shrink(object.start, object.layout, new) }
        };
        match got {
            Ok(start) => {
                Object { start, layout: new, mark: object.mark }.check(known);
                self.model.enter(start, new);
            }
            Err(_) => {
                self.failures += 1;
                object.check(old);
                self.model.enter(object.start, object.layout);
            }
        }
    }

    fn step(&mut self, most: usize) {
        let count = self.model.objects.len();
        match self.dice.below(100) {
            _ if count == 0 => self.alloc(),
            0 => {
                self.pool.trim();
            }
            1..=20 => self.resize(),
            _ if self.dice.below(most) > count => self.alloc(),
            _ => self.free(),
        }
    }
}

fn run(what: &str, page: usize, keep: usize, wipe: bool, steps: usize) {
    let ledger = Ledger::new();
    let account = Account::root("process").child("model");
    let mut pool = CountedPool::builder()
        .page(page)
        .keep_empty(keep)
        .zero_on_release(wipe)
        .account(&account)
        .source(&ledger)
        .build()
        .unwrap();
    let mut dice = Dice::new(seed(what));
    for _ in 0..4 {
        let mut run = Run { pool: &pool, model: Model::new(page), dice: dice.clone(), failures: 0 };
        let mut pending: Vec<Cleanup<'_>> = Vec::new();
        let most = 2 * (20 + run.dice.below(200));
        for step in 0..steps / 4 {
            run.step(most);
            run.model.compare(&pool);
            assert_eq!(pool.held_bytes(), ledger.bytes());
            assert_eq!(pool.held_bytes(), account.held());
            if run.dice.once_in(16) {
                pending.push(pool.defer(move || assert!(step < steps)));
            } else if run.dice.once_in(16) && !pending.is_empty() {
                let place = run.dice.below(pending.len());
                let cleanup = pending.swap_remove(place);
                assert!(if run.dice.once_in(2) { cleanup.run() } else { cleanup.cancel() });
            }
            if step % 512 == 0 {
                run.model.objects.iter().for_each(|object| object.check(object.layout.size()));
            }
        }
        assert_eq!(run.failures, 0);
        if run.dice.once_in(2) {
            while !run.model.objects.is_empty() {
                run.free();
            }
            assert_eq!(pool.live(), 0);
        }
        dice = run.dice;
        drop(pending);
        pool.reset();
        assert_eq!(pool.live(), 0);
        assert!(pool.held_bytes() <= (keep + 1) * page + 4096);
        assert_eq!(pool.held_bytes(), ledger.bytes());
    }
    drop(pool);
    assert_eq!((ledger.bytes(), account.held()), (0, 0));
}

#[test]
fn pages_of_4096_follow_the_model() {
    common::plain();
    run("pages of 4096", 4096, 4, false, common::operations(50_000));
}

#[test]
fn small_pages_that_are_wiped_and_never_kept_follow_the_model() {
    common::plain();
    run("small pages", 1024, 0, true, common::operations(30_000));
}

#[test]
fn large_pages_follow_the_model() {
    common::plain();
    run("large pages", 64 << 10, 2, false, common::operations(30_000));
}

#[test]
fn with_faults_and_a_limit_every_failure_is_an_error_that_loses_nothing() {
    common::plain();
    let ledger = Ledger::new();
    let source = Faulty::new(&ledger);
    let account = Account::root("process").child("limited").with_limit(Some(200 << 10));
    let pool = CountedPool::builder().account(&account).source(&source).build().unwrap();
    let dice = Dice::new(seed("faults"));
    let mut run = Run { pool: &pool, model: Model::new(4096), dice, failures: 0 };
    for _ in 0..common::operations(40_000) {
        if run.dice.once_in(8) {
            source.fail_after(run.dice.below(3) as u64, run.dice.once_in(3));
        } else if run.dice.once_in(3) {
            source.recover();
        }
        run.step(400);
        run.model.compare(&pool);
        assert_eq!(pool.held_bytes(), ledger.bytes());
        assert_eq!(pool.held_bytes(), account.held());
        assert!(account.held() <= 200 << 10);
    }
    let met = [run.failures as u64, source.faults(), account.refused()];
    assert!(met.iter().all(|&count| count > 20), "{met:?}");
    source.recover();
    while !run.model.objects.is_empty() {
        run.free();
    }
    drop(pool);
    assert_eq!((ledger.bytes(), account.held()), (0, 0));
}

//! Each pool over each source: any pool may stand on any source, and pools on pools. One model
//! runs over all of the combinations, with limits and with faults: objects keep their bytes,
//! lie where they should and overlap no other; what a pool says it holds is what its account
//! is charged; and when the pool is gone, its source has everything back.

mod common;

use cenote::{
    Account, AllocError, BlockSource, Blocks, Buddy, ChunkPool, CountedPool, Faulty, Pool, System,
};
use common::{Dice, Ledger, seed};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;

const STEPS: usize = 2_500;
const LIMIT: usize = 1 << 20;

/// What the model needs of a pool.
trait Subject {
    fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;
    fn zeroed(&self, layout: Layout) -> Result<NonNull<u8>, AllocError>;
    /// # Safety
    /// A live object of this pool and layout; nothing uses it any more.
    unsafe fn free(&self, start: NonNull<u8>, layout: Layout);
    /// # Safety
    /// A live object of this pool and layout `old`.
    unsafe fn resize(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError>;
    fn held(&self) -> usize;
    fn reset(&mut self);
}

macro_rules! subject {
    ($pool:ident) => {
        impl<S: BlockSource> Subject for $pool<S> {
            fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
                self.try_alloc_layout(layout)
            }
            fn zeroed(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
                self.try_alloc_zeroed(layout)
            }
            unsafe fn free(&self, start: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise is the same.
                unsafe { self.dealloc(start, layout) }
            }
            unsafe fn resize(
                &self,
                start: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<u8>, AllocError> {
                if new.size() >= old.size() {
                    // SAFETY: the caller's promise is the same; it is not smaller.
                    unsafe { self.try_grow(start, old, new) }
                } else {
                    // SAFETY: the caller's promise is the same; it is smaller.
                    unsafe { self.try_shrink(start, old, new) }
                }
            }
            fn held(&self) -> usize {
                self.held_bytes()
            }
            fn reset(&mut self) {
                $pool::reset(self);
            }
        }
    };
}
subject!(Pool);
subject!(CountedPool);
subject!(ChunkPool);

struct Object {
    start: NonNull<u8>,
    layout: Layout,
    mark: u8,
}

impl Object {
    fn write(&self) {
        if self.layout.size() != 0 {
            // SAFETY: the object has so many bytes, and is the model's own.
            unsafe { self.start.write_bytes(self.mark, self.layout.size()) };
        }
    }

    /// The first `size` bytes are as they were written.
    fn check(&self, size: usize) {
        assert!(self.start.addr().get().is_multiple_of(self.layout.align()));
        // SAFETY: the object has as many bytes, all written.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), size) };
        assert!(bytes.iter().all(|&byte| byte == self.mark), "{:?}", self.layout);
    }
}

#[derive(Default)]
struct Model {
    objects: Vec<Object>,
    map: BTreeMap<usize, usize>,
    marks: u8,
    failures: usize,
}

impl Model {
    fn enter(&mut self, start: NonNull<u8>, layout: Layout) {
        let (from, to) = (start.addr().get(), start.addr().get() + layout.size());
        if layout.size() != 0 {
            let below = self.map.range(..to).next_back();
            assert!(below.is_none_or(|(&at, &len)| at + len <= from), "overlap at {from:#x}");
            self.map.insert(from, layout.size());
        }
        self.marks = self.marks.wrapping_add(1);
        let object = Object { start, layout, mark: self.marks };
        object.write();
        self.objects.push(object);
    }

    fn leave(&mut self, place: usize) -> Object {
        let object = self.objects.swap_remove(place);
        if object.layout.size() != 0 {
            self.map.remove(&object.start.addr().get());
        }
        object
    }

    fn layout(dice: &mut Dice) -> Layout {
        let size = match dice.below(100) {
            0 => dice.below(100_000),
            1..=10 => dice.below(6000),
            _ => dice.below(300),
        };
        let align = if dice.once_in(40) { 1 << dice.below(14) } else { 1 << dice.below(5) };
        Layout::from_size_align(size, align).unwrap()
    }

    fn step(&mut self, pool: &impl Subject, dice: &mut Dice) {
        let count = self.objects.len();
        match dice.below(10) {
            0..=1 if count > 0 => {
                let object = self.leave(dice.below(count));
                let size = dice.below(2 * object.layout.size() + 32);
                let new = Layout::from_size_align(size, object.layout.align()).unwrap();
                let kept = size.min(object.layout.size());
                // SAFETY: a live object of this layout.
                match unsafe { pool.resize(object.start, object.layout, new) } {
                    Ok(start) => {
                        Object { start, layout: new, mark: object.mark }.check(kept);
                        self.enter(start, new);
                    }
                    Err(_) => {
                        self.failures += 1;
                        object.check(object.layout.size());
                        self.enter(object.start, object.layout);
                    }
                }
            }
            _ if count == 0 || dice.below(120) > count => {
                let layout = Self::layout(dice);
                let zeroed = dice.once_in(4);
                match if zeroed { pool.zeroed(layout) } else { pool.alloc(layout) } {
                    Ok(start) => {
                        if zeroed {
                            Object { start, layout, mark: 0 }.check(layout.size());
                        }
                        self.enter(start, layout);
                    }
                    Err(_) => self.failures += 1,
                }
            }
            _ => {
                let object = self.leave(dice.below(count));
                object.check(object.layout.size());
                // SAFETY: a live object of this layout, which is forgotten.
                unsafe { pool.free(object.start, object.layout) };
            }
        }
    }
}

/// Runs the model over a pool. `trouble` may let the source fail from now on, or no more.
fn model<P: Subject>(
    what: &str,
    mut pool: P,
    account: &Account,
    dice: &mut Dice,
    trouble: &dyn Fn(&mut Dice),
) {
    let mut failures = 0;
    for _ in 0..2 {
        let mut model = Model::default();
        for _ in 0..STEPS {
            if dice.once_in(16) {
                trouble(dice);
            }
            model.step(&pool, dice);
            assert_eq!(pool.held(), account.held(), "{what}");
            assert!(account.held() <= LIMIT, "{what}");
        }
        model.objects.iter().for_each(|object| object.check(object.layout.size()));
        failures += model.failures;
        pool.reset();
        assert_eq!(pool.held(), account.held(), "{what}");
    }
    // A limit is met by a request that is larger.
    let error = pool.alloc(Layout::from_size_align(2 * LIMIT, 8).unwrap()).unwrap_err();
    assert!(error.account() == Some(account) || failures > 0, "{what}: {error}");
    drop(pool);
    assert_eq!((account.held(), account.live()), (0, 0), "{what}");
    println!("  {what}: {failures} failures met");
}

/// The table: each pool over this source.
fn each_pool_over<S: BlockSource + Copy>(
    name: &str,
    source: S,
    dice: &mut Dice,
    trouble: &dyn Fn(&mut Dice),
) {
    let process = Account::root("process");
    let account = || process.child("composed").with_limit(Some(LIMIT));
    let (a, b, c, d, e) = (account(), account(), account(), account(), account());
    let pool = Pool::builder().source(source).account(&a).build().unwrap();
    model(&format!("Pool over {name}"), pool, &a, dice, trouble);
    let small = Pool::builder().first_block(256).source(source).account(&b).build().unwrap();
    model(&format!("small Pool over {name}"), small, &b, dice, trouble);
    let counted = CountedPool::builder().source(source).account(&c).build().unwrap();
    model(&format!("CountedPool over {name}"), counted, &c, dice, trouble);
    let wiped = CountedPool::builder().page(1024).keep_empty(0).zero_on_release(true);
    let wiped = wiped.source(source).account(&d).build().unwrap();
    model(&format!("small, wiped CountedPool over {name}"), wiped, &d, dice, trouble);
    let chunks = ChunkPool::config().source(source).account(&e).build().unwrap();
    model(&format!("ChunkPool over {name}"), chunks, &e, dice, trouble);
}

fn none(_: &mut Dice) {}

#[test]
fn each_pool_over_the_system_and_the_cache() {
    let mut dice = Dice::new(seed("plain sources"));
    each_pool_over("Blocks", Blocks, &mut dice, &none);
    each_pool_over("System", System, &mut dice, &none);
}

#[test]
fn each_pool_over_a_source_with_faults() {
    let mut dice = Dice::new(seed("faults"));
    let ledger = Ledger::new();
    let faulty = Faulty::new(&ledger);
    each_pool_over("Faulty", &faulty, &mut dice, &|dice| {
        if dice.once_in(2) {
            faulty.fail_after(dice.below(3) as u64, dice.once_in(2));
        } else {
            faulty.recover();
        }
    });
    assert!(faulty.faults() > 50, "{}", faulty.faults());
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn each_pool_over_a_pool() {
    let mut dice = Dice::new(seed("over Pool"));
    let ledger = Ledger::new();
    let below = Pool::builder().source(&ledger).build().unwrap();
    each_pool_over("&Pool", &below, &mut dice, &none);
    drop(below);
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn each_pool_over_a_counted_pool() {
    let mut dice = Dice::new(seed("over CountedPool"));
    let ledger = Ledger::new();
    for page in [4 << 10, 64 << 10] {
        let below = CountedPool::builder().page(page).source(&ledger).build().unwrap();
        each_pool_over("&CountedPool", &below, &mut dice, &none);
        assert_eq!(below.live(), 0, "all objects are back");
        drop(below);
        assert_eq!(ledger.bytes(), 0);
    }
}

#[test]
fn each_pool_over_a_chunk_pool() {
    let mut dice = Dice::new(seed("over ChunkPool"));
    let ledger = Ledger::new();
    let below = ChunkPool::config().source(&ledger).build().unwrap();
    each_pool_over("&ChunkPool", &below, &mut dice, &none);
    assert!(below.is_empty(), "all objects are back");
    drop(below);
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn each_pool_over_a_region_with_room_and_over_one_without() {
    common::at_once();
    let mut dice = Dice::new(seed("over Buddy"));
    for bytes in [8 << 20, 256 << 10] {
        let below = Buddy::heap(bytes).unwrap();
        each_pool_over(&format!("&Buddy of {bytes}"), &below, &mut dice, &none);
        assert_eq!(below.used_bytes(), 0, "all blocks are back");
    }
}

#[test]
fn pools_on_pools_on_pools_with_faults_at_the_bottom() {
    let mut dice = Dice::new(seed("towers"));
    let ledger = Ledger::new();
    let faulty = Faulty::new(&ledger);
    let trouble = |dice: &mut Dice| {
        if dice.once_in(2) {
            faulty.fail_after(dice.below(3) as u64, dice.once_in(2));
        } else {
            faulty.recover();
        }
    };
    let counted = CountedPool::builder().page(64 << 10).source(&faulty).build().unwrap();
    let chunks = ChunkPool::config().source(&counted).build().unwrap();
    let pool = Pool::builder().source(&chunks).build().unwrap();
    each_pool_over("Pool over ChunkPool over CountedPool", &pool, &mut dice, &trouble);
    drop(pool);
    let upper = CountedPool::builder().source(&chunks).build().unwrap();
    each_pool_over("CountedPool over ChunkPool over CountedPool", &upper, &mut dice, &trouble);
    assert_eq!(upper.live(), 0);
    drop(upper);
    assert!(chunks.is_empty());
    drop(chunks);
    assert_eq!(counted.live(), 0);
    drop(counted);
    assert_eq!(ledger.bytes(), 0);
}

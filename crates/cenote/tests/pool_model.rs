//! Proves `Pool` against a model: after tens of thousands of random operations every object
//! that is live has the bytes that were put into it, lies where it should and overlaps no
//! other; what the pool says it holds is what its source gave and its account was charged;
//! and with faults and limits anywhere a failure is an error that loses nothing.

mod common;

use cenote::{Account, AllocError, BlockSource, CleanupKey, Faulty, Pool};
use common::{Dice, Ledger, seed};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock, Mutex};

/// An object that the model knows.
struct Object {
    start: NonNull<u8>,
    layout: Layout,
    /// What its bytes are made from.
    mark: u64,
    /// Whether it may be freed, grown and shrunk by its layout.
    raw: bool,
}

/// Bytes without a pattern, for objects to be filled from.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dice = Dice::new(7);
    (0..(PIECE + SHIFTS) / 8).flat_map(|_| dice.next().to_le_bytes()).collect()
});
const PIECE: usize = 64 << 10;
const SHIFTS: usize = 4096;

impl Object {
    /// The object's bytes, as they should be, in pieces.
    fn pieces(&self, size: usize) -> impl Iterator<Item = (NonNull<u8>, &'static [u8])> {
        let mark = self.mark as usize;
        (0..size).step_by(PIECE).map(move |from| {
            let shift = (mark * 97 + from / PIECE * 13) % SHIFTS;
            let length = PIECE.min(size - from);
            // SAFETY: inside the object.
            (unsafe { self.start.add(from) }, &NOISE[shift..shift + length])
        })
    }

    fn write(&self) {
        for (start, bytes) in self.pieces(self.layout.size()) {
            // SAFETY: inside the object, which is the model's own.
            unsafe { start.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        }
    }

    fn check(&self) {
        self.check_first(self.layout.size());
    }

    fn check_first(&self, size: usize) {
        let address = self.start.addr().get();
        assert!(address.is_multiple_of(self.layout.align()), "{:?} at {address:#x}", self.layout);
        for (start, bytes) in self.pieces(size) {
            // SAFETY: inside the object, and written.
            let found = unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes.len()) };
            assert!(found == bytes, "{:?} has other bytes now", self.layout);
        }
    }
}

/// What a pool should hold, and do at its end.
struct Model<'l> {
    ledger: &'l Ledger,
    objects: Vec<Object>,
    /// Where the objects with bytes begin, and their length.
    map: BTreeMap<usize, usize>,
    live: usize,
    marks: u64,
    /// Cleanups that are pending, the oldest first; and what has run.
    pending: Vec<u64>,
    ran: Arc<Mutex<Vec<u64>>>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Wide(#[allow(dead_code, reason = "bytes are bytes")] [u8; 64]);

struct Rings(u64, Arc<Mutex<Vec<u64>>>);

impl Drop for Rings {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

impl<'l> Model<'l> {
    fn new(ledger: &'l Ledger) -> Self {
        Self {
            ledger,
            objects: Vec::new(),
            map: BTreeMap::new(),
            live: 0,
            marks: 0,
            pending: Vec::new(),
            ran: Arc::default(),
        }
    }

    /// A new object: inside the source's blocks, and apart from all others.
    fn add(&mut self, start: NonNull<u8>, layout: Layout, raw: bool) {
        self.marks += 1;
        let object = Object { start, layout, mark: self.marks, raw };
        self.insert(&object);
        object.write();
        object.check();
        self.objects.push(object);
    }

    fn add_value<T>(&mut self, value: &mut [T], raw: bool) {
        let layout = Layout::for_value(value);
        self.add(NonNull::from(value).cast(), layout, raw);
    }

    fn insert(&mut self, object: &Object) {
        let (start, size) = (object.start.addr().get(), object.layout.size());
        if size == 0 {
            return;
        }
        assert!(self.ledger.covers(start, size), "{:?} is outside of all blocks", object.layout);
        if let Some((at, length)) = self.map.range(..start + size).next_back() {
            assert!(at + length <= start, "{:?} overlaps another object", object.layout);
        }
        self.map.insert(start, size);
        self.live += size;
    }

    fn remove(&mut self, object: &Object) {
        if object.layout.size() > 0 {
            let length = self.map.remove(&object.start.addr().get());
            assert_eq!(length, Some(object.layout.size()));
            self.live -= object.layout.size();
        }
    }

    /// An object to be freed or changed, checked before.
    fn pick(&mut self, dice: &mut Dice) -> Option<Object> {
        if self.objects.is_empty() {
            return None;
        }
        // Often one of the newest: there the pool can do something about it.
        let range = if dice.once_in(2) { self.objects.len() } else { self.objects.len().min(3) };
        let index = self.objects.len() - 1 - dice.below(range);
        if !self.objects[index].raw {
            return None;
        }
        let object = self.objects.remove(index);
        object.check();
        self.remove(&object);
        Some(object)
    }

    fn check_all(&self) {
        self.objects.iter().for_each(Object::check);
    }

    fn live_bytes(&self) -> usize {
        self.live
    }

    fn check_figures<S: BlockSource>(&self, pool: &Pool<S>) {
        let (held, used) = (pool.held_bytes(), pool.used_bytes());
        assert!(self.live_bytes() <= used && used <= held, "{used} used of {held}");
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.held_bytes, snapshot.used_bytes), (held, used));
        assert_eq!(snapshot.cleanups, self.pending.len());
        for block in &snapshot.blocks {
            let parts = block.header + block.used + block.free + block.packed;
            assert_eq!(parts, block.size, "{block}");
        }
    }

    /// The pool was reset or dropped.
    fn end(&mut self) {
        self.objects.clear();
        self.map.clear();
        self.live = 0;
        let mut ran = self.ran.lock().unwrap();
        self.pending.reverse();
        assert_eq!(*ran, self.pending, "cleanups, the newest first");
        ran.clear();
        self.pending.clear();
    }
}

/// One random operation; what failed, if it did.
fn step<S: BlockSource>(
    pool: &Pool<S>,
    model: &mut Model<'_>,
    dice: &mut Dice,
) -> Result<(), AllocError> {
    let count = dice.below(40);
    match dice.below(24) {
        0 => model.add_value(std::slice::from_mut(pool.try_alloc(0_u64)?), false),
        1 => model.add_value(std::slice::from_mut(pool.try_alloc(0_u8)?), false),
        2 => model.add_value(std::slice::from_mut(pool.try_alloc([0_u16; 5])?), false),
        3 => model.add_value(std::slice::from_mut(pool.try_alloc([0_u32; 33])?), false),
        4 => model.add_value(std::slice::from_mut(pool.try_alloc(0_u128)?), false),
        5 => model.add_value(std::slice::from_mut(pool.try_alloc(Wide([0; 64]))?), false),
        6 => model.add_value(std::slice::from_mut(pool.try_alloc_with(|| [0_u64; 9])?), false),
        7 => model.add_value(pool.try_alloc_slice_fill_with(count, |i| i as u32)?, true),
        8 => {
            model.add_value(pool.try_alloc_slice_fill_iter((0..count * 9).map(|i| i as u16))?, true)
        }
        9 => {
            // No hint, and other objects in between.
            let mut between = Vec::new();
            let items = (0..count as u64).filter(|number| {
                if number % 5 == 4 {
                    between.extend(pool.try_alloc(0_u32).map(NonNull::from));
                }
                true
            });
            let made = pool.try_alloc_slice_fill_iter(items);
            let made = made.map(|made| {
                assert!(made.iter().copied().eq(0..count as u64));
                NonNull::from(made)
            });
            for value in between {
                model.add(value.cast(), Layout::new::<u32>(), true);
            }
            let mut made = made?;
            // SAFETY: just made; nothing else refers to it.
            model.add_value(unsafe { made.as_mut() }, true);
        }
        10 => model.add_value(pool.try_alloc_slice_copy(&vec![0_u64; count])?, true),
        11 => model.add_value(pool.try_alloc_slice_clone(&vec![String::new(); count])?, false),
        12 => {
            let text = "x".repeat(dice.size());
            let copy = pool.try_alloc_str(&text)?;
            assert_eq!(*copy, *text);
            // SAFETY: from now on the model takes it for bytes.
            model.add_value(unsafe { copy.as_bytes_mut() }, true);
        }
        13 => {
            let (number, text) = (dice.next(), "y".repeat(dice.below(500)));
            let made = pool.try_alloc_fmt(format_args!("{number:x}{text}{number:>30}"))?;
            assert_eq!(*made, *format!("{number:x}{text}{number:>30}"));
            // SAFETY: likewise.
            model.add_value(unsafe { made.as_bytes_mut() }, true);
        }
        14 => model.add_value(pool.try_alloc_bytes(dice.size())?, true),
        15 => {
            let zeros = pool.try_alloc_zeroed_bytes(dice.size())?;
            assert!(zeros.iter().all(|&byte| byte == 0));
            model.add_value(zeros, true);
        }
        16 => {
            let layout = dice.layout();
            model.add(pool.try_alloc_layout(layout)?, layout, true);
        }
        17 => {
            let layout = dice.layout();
            let start = pool.try_alloc_zeroed(layout)?;
            // SAFETY: zeroed memory of that size.
            let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            model.add(start, layout, true);
        }
        18 => {
            if let Some(object) = model.pick(dice) {
                // SAFETY: of this pool and layout; the model has forgotten it.
                unsafe { pool.dealloc(object.start, object.layout) };
            }
        }
        19 => {
            if let Some(object) = model.pick(dice) {
                let more = object.layout.size() + dice.size();
                return resize(pool, model, dice, object, more, true);
            }
        }
        20 => {
            if let Some(object) = model.pick(dice) {
                let less = dice.below(object.layout.size() + 1);
                return resize(pool, model, dice, object, less, false);
            }
        }
        21 => {
            if let Some(object) = model.pick(dice) {
                // One without bytes may lie where a large one begins.
                let has_bytes = object.layout.size() != 0;
                // SAFETY: the model has forgotten it, and it has bytes.
                if !(has_bytes && unsafe { pool.free_large(object.start) }) {
                    model.insert(&object);
                    model.objects.push(object);
                }
            }
        }
        22 => {
            model.marks += 1;
            let (mark, ran) = (model.marks, model.ran.clone());
            match dice.below(4) {
                0 => {
                    if let Err(error) = pool.try_own(Rings(mark, ran)).map(drop) {
                        // The value is dropped then, at once.
                        assert_eq!(model.ran.lock().unwrap().pop(), Some(mark));
                        return Err(error);
                    }
                }
                1 => {
                    pool.try_defer(move || ran.lock().unwrap().push(mark))?;
                }
                2 => {
                    let key = CleanupKey::new("mark", mark);
                    pool.try_defer_keyed(key, move || ran.lock().unwrap().push(mark))?;
                    assert!(pool.cleanup(key).is_some_and(|cleanup| cleanup.is_pending()));
                }
                _ => {
                    let cleanup = pool.try_defer(move || ran.lock().unwrap().push(mark))?;
                    assert!(cleanup.is_pending());
                    assert!(if dice.once_in(2) { cleanup.cancel() } else { cleanup.run() });
                    model.ran.lock().unwrap().retain(|&other| other != mark);
                    return Ok(());
                }
            }
            model.pending.push(mark);
        }
        _ => {
            let mut chain = cenote::Chain::new(pool);
            let mut sent = String::new();
            for part in 0..count {
                let text = format!("{part},{}", "z".repeat(part));
                if part % 3 == 0 {
                    chain.try_push_copy(text.as_bytes())?;
                } else if write!(chain, "{text}").is_err() {
                    return Err(chain.take_failure().expect("memory is all that can fail"));
                }
                sent.push_str(&text);
            }
            assert_eq!(chain.buffers().collect::<Vec<_>>().concat(), sent.as_bytes());
        }
    }
    Ok(())
}

/// Grows or shrinks an object, which is as it was if that fails.
fn resize<S: BlockSource>(
    pool: &Pool<S>,
    model: &mut Model<'_>,
    dice: &mut Dice,
    mut object: Object,
    size: usize,
    grow: bool,
) -> Result<(), AllocError> {
    let align = if dice.once_in(4) { dice.align() } else { object.layout.align() };
    let new = Layout::from_size_align(size, align).unwrap();
    let outcome = if grow {
        // SAFETY: of this pool and layout, not smaller, and nothing else uses it.
        unsafe { pool.try_grow(object.start, object.layout, new) }
    } else {
        // SAFETY: of this pool and layout, not larger, and nothing else uses it.
        unsafe { pool.try_shrink(object.start, object.layout, new) }
    };
    let kept = object.layout.size().min(size);
    if let Ok(start) = outcome {
        (object.start, object.layout) = (start, new);
    }
    model.insert(&object);
    if outcome.is_ok() {
        object.check_first(kept);
        object.write();
    }
    object.check();
    model.objects.push(object);
    outcome.map(drop)
}

/// Random operations on one pool until it is to be reset; `child` is called now and then.
fn session<S: BlockSource>(
    pool: &Pool<S>,
    model: &mut Model<'_>,
    dice: &mut Dice,
    steps: usize,
    mut failing: impl FnMut(&mut Dice, Result<(), AllocError>),
    mut child: impl FnMut(&Pool<S>, &mut Dice),
) {
    for number in 0..steps {
        let outcome = step(pool, model, dice);
        failing(dice, outcome);
        if number % 32 == 0 {
            model.check_figures(pool);
        }
        if number % 2048 == 0 {
            model.check_all();
        }
        // Not too much at once: checking all of it takes time.
        if model.live_bytes() > 8 << 20 {
            break;
        }
        if dice.once_in(600) {
            child(pool, dice);
        }
    }
    model.check_figures(pool);
    model.check_all();
}

struct Sizes {
    first: usize,
    largest: usize,
    threshold: usize,
}

impl Sizes {
    fn any(dice: &mut Dice) -> Self {
        let first = 256 << dice.below(9);
        let largest = (first << dice.below(9)).min(1 << 20);
        let threshold = 64 + dice.below(largest / 2 - 63);
        Self { first, largest, threshold }
    }
}

/// One pool through several resets, moved between them.
fn life(dice: &mut Dice, steps: usize, faults: bool) {
    let ledger = Ledger::new();
    let faulty = Faulty::new(&ledger);
    let root = Account::root("root");
    let account = root.child("pool");
    let sizes = Sizes::any(dice);
    let mut pool = Pool::builder()
        .first_block(sizes.first)
        .largest_block(sizes.largest)
        .large_threshold(sizes.threshold)
        .zero_on_release(dice.once_in(4))
        .account(&account)
        .source(&faulty)
        .build()
        .unwrap();
    let mut model = Model::new(&ledger);
    let (mut left, mut met) = (steps, 0);
    while left > 0 {
        let now = (1 + dice.below(steps / 2)).min(left);
        left -= now;
        let (mut errors, mut refused, mut faulted) = (0, root.refused(), faulty.faults());
        let failing = |dice: &mut Dice, outcome: Result<(), AllocError>| {
            let (refusals, faults_now) = (root.refused() + account.refused(), faulty.faults());
            if let Err(error) = outcome {
                errors += 1;
                assert!(faults, "nothing was to fail: {error}");
                match error.account() {
                    Some(by) => assert!(*by == root || *by == account, "{error}"),
                    None => assert!(faults_now > faulted, "{error} without a fault"),
                }
            }
            (refused, faulted) = (refusals, faults_now);
            assert_eq!(account.held(), ledger.bytes());
            if faults && dice.once_in(40) {
                match dice.below(6) {
                    0 => faulty.fail_after(dice.below(4) as u64, false),
                    1 => faulty.fail_after(dice.below(4) as u64, true),
                    2 => account.set_limit(Some(account.held() + dice.below(100_000))),
                    3 => root.set_limit(Some(account.held() + dice.below(100_000))),
                    _ => {
                        faulty.recover();
                        account.set_limit(None);
                        root.set_limit(None);
                    }
                }
            }
        };
        let child = |parent: &Pool<_>, dice: &mut Dice| {
            let child = parent.child();
            let mut inner = Model::new(&ledger);
            session(&child, &mut inner, dice, 200, |_, _| (), |_, _| ());
            assert_eq!(account.held(), ledger.bytes());
            assert_eq!(ledger.bytes(), parent.held_bytes() + child.held_bytes());
            drop(child);
            inner.end();
            assert_eq!(ledger.bytes(), parent.held_bytes());
        };
        session(&pool, &mut model, dice, now, failing, child);
        met += errors;
        assert_eq!(pool.held_bytes(), ledger.bytes());
        assert_eq!((account.held(), root.held()), (ledger.bytes(), ledger.bytes()));
        // It may be somewhere else from now on.
        pool = *Box::new(pool);
        model.check_all();
        faulty.recover();
        account.set_limit(None);
        root.set_limit(None);
        // Usable, whatever has failed before.
        model.add_value(std::slice::from_mut(pool.alloc([7_u64; 30])), false);
        pool.reset();
        model.end();
        assert_eq!((pool.used_bytes(), pool.held_bytes()), (0, ledger.bytes()));
    }
    assert!(!faults || met > 0 || steps < 2000, "no fault met in {steps} steps");
    session(&pool, &mut model, dice, 100, |_, outcome| outcome.unwrap(), |_, _| ());
    drop(pool);
    model.end();
    assert_eq!((ledger.blocks(), account.held(), account.live()), (0, 0, 0));
}

#[test]
fn a_pool_does_what_a_simple_model_says() {
    let first = seed("pool");
    for case in 0..common::operations(120_000) as u64 / 20_000 {
        life(&mut Dice::new(first.wrapping_add(case)), 20_000, false);
    }
}

#[test]
fn with_faults_and_limits_anywhere_nothing_is_lost() {
    let first = seed("faults");
    for case in 0..common::operations(120_000) as u64 / 20_000 {
        life(&mut Dice::new(first.wrapping_add(case)), 20_000, true);
    }
}

#[test]
fn short_lives_of_many_shapes_do_too() {
    let first = seed("short lives");
    for case in 0..common::operations(36_000) as u64 / 120 {
        life(&mut Dice::new(first.wrapping_add(case)), 120, case % 2 == 1);
    }
}

/// Every call of the source fails once, one after the other, in the same run of operations.
#[test]
fn each_single_allocation_from_the_source_may_fail() {
    common::plain();
    let first = seed("each single one");
    for forever in [false, true] {
        let mut fail_at = 0;
        loop {
            let ledger = Ledger::new();
            let faulty = Faulty::new(&ledger);
            let mut pool = Pool::builder().first_block(256).largest_block(1024);
            pool = pool.large_threshold(400);
            let mut pool = pool.source(&faulty).build().unwrap();
            faulty.fail_after(fail_at, forever);
            let mut model = Model::new(&ledger);
            let mut dice = Dice::new(first);
            for _ in 0..400 {
                let (held, used) = (pool.held_bytes(), pool.used_bytes());
                let figures = model.objects.len();
                if step(&pool, &mut model, &mut dice).is_err() {
                    assert!(pool.held_bytes() >= held && pool.used_bytes() >= used.min(held));
                    assert!(model.objects.len() >= figures);
                    break;
                }
            }
            model.check_all();
            model.check_figures(&pool);
            assert_eq!(pool.held_bytes(), ledger.bytes());
            let met = faulty.faults() > 0;
            faulty.recover();
            session(&pool, &mut model, &mut dice, 50, |_, outcome| outcome.unwrap(), |_, _| ());
            pool.reset();
            model.end();
            drop(pool);
            assert_eq!(ledger.blocks(), 0);
            if !met {
                assert!(fail_at > 20, "only {fail_at} calls of the source");
                break;
            }
            fail_at += 1;
        }
    }
}

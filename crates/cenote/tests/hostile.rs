//! Code of the program's that the library calls, made hostile: hooks, closures, iterators, `Clone`,
//! `Drop`, `Display`, cleanups and block sources. Each call in turn does harm, of each kind: it
//! allocates, frees, trims, makes and ends accounts, sets limits, looks at everything, or panics,
//! over every pool over every source. A map of what is live, and the bytes in it, say whether any
//! two objects overlap, or any changed; at the end accounts hold nothing.

#![cfg(all(feature = "std", feature = "allocator-api2"))]

mod common;
#[path = "hostile/subjects.rs"]
mod subjects;
#[path = "hostile/world.rs"]
mod world;

use cenote::debug::Levels;
use cenote::misuse::{self, OnBadFree};
use cenote::{
    Account, AllocError, BlockSource, Blocks, Buddy, Cached, ChunkPool, CountedPool, Faulty,
    Locked, Pool, SharedBlocks, SharedPool, System,
};
use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Once;
use subjects::{chunks, shared};
use world::{HARMS, Harm, Meant, Subject, World, called, called_by_a_pool};

/// Steps of a run.
const STEPS: usize = 40;

/// The seed is a fixed one unless `CENOTE_SEED` gives another; `CENOTE_TIMES` runs with so many.
fn seeds() -> impl Iterator<Item = u64> {
    let number = |name, otherwise| match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => otherwise,
    };
    let (first, times) = (number("CENOTE_SEED", 12), number("CENOTE_TIMES", 1));
    println!("hostile: CENOTE_SEED={first} CENOTE_TIMES={times}");
    first..first + times
}

/// A source of the program's: calls what it may call, and asks other pools.
#[derive(Clone, Copy)]
struct Foreign;

// SAFETY: every block is `System`'s; what is called uses nothing that stands on this.
unsafe impl BlockSource for Foreign {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        called_by_a_pool();
        System.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        called_by_a_pool();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

/// What goes when a run is over, the newest first.
#[derive(Default)]
struct Leaked(Vec<(usize, Box<dyn FnOnce()>)>);

impl Leaked {
    /// Keeps a value; when it goes, so many pools are left.
    fn keep<T: 'static>(&mut self, left: usize, value: T) -> &'static T {
        let place = Box::into_raw(Box::new(value));
        // SAFETY: just made so, and dropped once, when nobody refers to it.
        self.0.push((left, Box::new(move || drop(unsafe { Box::from_raw(place) }))));
        // SAFETY: it stays until the run is over.
        unsafe { &*place }
    }
}

/// How a run is set up: the pool, and what it stands on.
type Setup = fn(&Rc<World>, &mut Leaked);

fn add<T: Subject + 'static>(world: &World, leaked: &mut Leaked, pool: T) -> &'static T {
    let pool = leaked.keep(world.pools.borrow().len(), pool);
    world.pools.borrow_mut().push(pool);
    pool
}

/// Makes the subject over a source. Over a pool it is on no account, so that what refuses is the
/// account of that one, in the middle of the subject's operation.
fn subject<S: BlockSource + Clone + 'static>(
    which: usize,
    levels: Levels,
    world: &World,
    leaked: &mut Leaked,
    source: S,
) {
    let none = Account::root("none");
    let account = if world.pools.borrow().is_empty() { &world.account } else { &none };
    let plain = || Pool::builder().on_misuse(OnBadFree::Report).levels(levels).account(account);
    match which {
        0 => {
            let pool = plain().first_block(512).source(source).build().unwrap();
            add(world, leaked, pool);
        }
        1 => {
            let builder = CountedPool::builder().on_bad_free(OnBadFree::Report);
            let builder = builder.levels(levels).account(account);
            add(world, leaked, builder.source(source).build().unwrap());
        }
        2 => {
            let config = ChunkPool::config().levels(levels).account(account);
            add(world, leaked, chunks(config.source(source)));
        }
        _ => {
            let builder = plain().source(source).shared().unwrap();
            add(world, leaked, shared(&builder));
        }
    }
}

macro_rules! setups {
    ($($levels:expr, $which:literal: $name:ident;)*) => {
        [$((concat!(stringify!($name), " ", stringify!($which), " ", stringify!($levels)),
            (|world, leaked| $name($which, $levels, world, leaked)) as Setup),)*]
    };
}

fn system(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    subject(which, levels, world, leaked, System);
}

fn blocks(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    subject(which, levels, world, leaked, Blocks);
}

fn shared_blocks(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    subject(which, levels, world, leaked, SharedBlocks);
}

fn foreign(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    subject(which, levels, world, leaked, Foreign);
}

fn region() -> Buddy<'static> {
    Buddy::builder().on_bad_free(OnBadFree::Report).heap(1 << 20).unwrap()
}

fn buddy(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let source = leaked.keep(0, region());
    subject(which, levels, world, leaked, source);
}

fn locked(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let source = leaked.keep(0, Locked::new(region()));
    let source = leaked.keep(0, Cached::new(source, 16 << 10));
    subject(which, levels, world, leaked, source);
}

fn cached(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let under = Pool::builder().account(&world.account).build().unwrap();
    let under = add(world, leaked, under);
    let source = leaked.keep(1, Cached::new(under, 8 << 10));
    subject(which, levels, world, leaked, source);
}

fn faulty(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let source = leaked.keep(0, Faulty::new(Foreign));
    subject(which, levels, world, leaked, source);
    source.fail_after(6, false);
}

fn pool(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let under = Pool::builder().account(&world.account).first_block(16 << 10).build().unwrap();
    let under = add(world, leaked, under);
    subject(which, levels, world, leaked, under);
}

fn counted(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let under = CountedPool::builder().on_bad_free(OnBadFree::Report).account(&world.account);
    let under = add(world, leaked, under.page(16 << 10).build().unwrap());
    subject(which, levels, world, leaked, under);
}

fn chunk(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let under = add(world, leaked, chunks(ChunkPool::config().account(&world.account)));
    subject(which, levels, world, leaked, under);
}

fn scratch(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let builder = SharedPool::builder().account(&world.account).shared().unwrap();
    let under = add(world, leaked, shared(&builder));
    if which == 0 {
        add(world, leaked, under.scratch());
    } else {
        subject(which, levels, world, leaked, under.clone());
    }
}

fn deep(which: usize, levels: Levels, world: &Rc<World>, leaked: &mut Leaked) {
    let first = add(world, leaked, Pool::on(&world.account));
    let second = add(world, leaked, chunks(ChunkPool::config().source(first)));
    let third = CountedPool::builder().on_bad_free(OnBadFree::Report).source(second);
    let third = add(world, leaked, third.build().unwrap());
    subject(which, levels, world, leaked, third);
}

/// One run: how often the program's code was called, and whether it did harm.
fn run(setup: Setup, seed: u64, harm: Option<(usize, Harm)>) -> (usize, bool) {
    let world = World::new(seed, harm);
    let mut leaked = Leaked::default();
    let meant = |outcome: Result<(), Box<dyn std::any::Any + Send>>| {
        if let Err(payload) = outcome
            && !payload.is::<Meant>()
        {
            std::panic::resume_unwind(payload);
        }
    };
    setup(&world, &mut leaked);
    for _ in 0..STEPS {
        meant(catch_unwind(AssertUnwindSafe(|| world.step())));
    }
    world.check_all();
    // The ends: cleanups and destructors run, and are hostile too.
    while let Some((left, end)) = leaked.0.pop() {
        // What goes is not to be used by what runs at its end.
        world.forget(left);
        meant(catch_unwind(AssertUnwindSafe(end)));
        world.check_all();
    }
    assert_eq!(world.account.held(), 0, "all went back");
    let figures = (world.calls(), world.done.get());
    world::end();
    figures
}

/// Harm at each call in turn, until there is none. Of each kind, if `all`; else of one kind after
/// the other.
fn hunt(name: &str, setup: Setup, seed: u64, all: bool) -> usize {
    let mut runs = 0;
    let (calls, _) = run(setup, seed, None);
    assert!(calls > 0 || name.contains("chunk"), "{name}: nothing was called");
    for at in 0.. {
        let mut done = false;
        for (index, &harm) in HARMS.iter().enumerate() {
            if !all && index != (at + seed as usize) % HARMS.len() {
                continue;
            }
            let outcome = catch_unwind(|| run(setup, seed, Some((at, harm))));
            let Ok((_, harmed)) = outcome else {
                panic!("{name}: seed {seed}, {harm:?} at call {at}");
            };
            done |= harmed;
            runs += 1;
        }
        if !done {
            return runs;
        }
    }
    runs
}

#[test]
fn whoever_is_called_may_do_what_he_likes_and_no_two_objects_overlap() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        Account::on_refused(|_| called());
        misuse::on_misuse(|_| called());
    });
    const NONE: Levels = Levels::NONE;
    const KEPT: Levels = Levels::QUARANTINE;
    let setups = setups! {
        NONE, 0: system; NONE, 1: system; NONE, 2: system; NONE, 3: system;
        NONE, 0: blocks; NONE, 1: blocks; NONE, 2: blocks; NONE, 3: shared_blocks;
        NONE, 0: foreign; NONE, 1: foreign; NONE, 2: foreign; NONE, 3: foreign;
        NONE, 0: buddy; NONE, 1: buddy; NONE, 2: buddy; NONE, 3: buddy;
        NONE, 0: locked; NONE, 1: locked; NONE, 2: locked; NONE, 3: locked;
        NONE, 0: cached; NONE, 1: cached; NONE, 2: cached; NONE, 3: cached;
        NONE, 0: faulty; NONE, 1: faulty; NONE, 2: faulty; NONE, 3: faulty;
        NONE, 0: pool; NONE, 1: pool; NONE, 2: pool; NONE, 3: pool;
        NONE, 0: counted; NONE, 1: counted; NONE, 2: counted; NONE, 3: counted;
        NONE, 0: chunk; NONE, 1: chunk; NONE, 2: chunk; NONE, 3: chunk;
        NONE, 0: scratch; NONE, 1: scratch; NONE, 2: scratch; NONE, 3: scratch;
        NONE, 0: deep; NONE, 1: deep; NONE, 2: deep; NONE, 3: deep;
        KEPT, 0: blocks; KEPT, 1: blocks; KEPT, 2: blocks; KEPT, 3: blocks;
        KEPT, 0: pool; KEPT, 1: pool; KEPT, 2: chunk; KEPT, 3: foreign;
    };
    let mut runs = 0;
    for seed in seeds() {
        let all = std::env::var_os("CENOTE_TIMES").is_some();
        runs += setups.iter().map(|(name, setup)| hunt(name, *setup, seed, all)).sum::<usize>();
    }
    println!("runs: {runs}");
}

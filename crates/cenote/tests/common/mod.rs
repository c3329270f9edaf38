//! What the test programs share: sources that keep books, and a source of chance that can be
//! repeated.

#![allow(dead_code, reason = "each test program uses a part")]

use cenote::{AllocError, BlockSource, System};
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Counts what is out, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    bytes: AtomicUsize,
    blocks: AtomicUsize,
    most: AtomicUsize,
}

impl Counting {
    pub(crate) const fn new() -> Self {
        Self { bytes: AtomicUsize::new(0), blocks: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks.load(SeqCst)
    }

    /// The most bytes that were ever out at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl BlockSource for Counting {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let block = System.acquire(layout)?;
        self.blocks.fetch_add(1, SeqCst);
        let now = self.bytes.fetch_add(layout.size(), SeqCst) + layout.size();
        self.most.fetch_max(now, SeqCst);
        Ok(block)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.blocks.fetch_sub(1, SeqCst);
        self.bytes.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

/// Writes down every block with its layout: what comes back must be what went out.
///
/// Fills a block with rubbish when it goes out and when it comes back, so that whoever counts
/// on old contents is found out.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    out: RefCell<BTreeMap<usize, Layout>>,
    bytes: Cell<usize>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub(crate) fn blocks(&self) -> usize {
        self.out.borrow().len()
    }

    /// Where the blocks of this layout are that are out.
    pub(crate) fn blocks_of(&self, layout: Layout) -> Vec<usize> {
        let out = self.out.borrow();
        out.iter().filter(|(_, of)| **of == layout).map(|(&at, _)| at).collect()
    }

    /// Whether these bytes are all inside one block that is out.
    pub(crate) fn covers(&self, start: usize, size: usize) -> bool {
        let out = self.out.borrow();
        let below = out.range(..=start).next_back();
        below.is_some_and(|(&at, layout)| start + size <= at + layout.size())
    }
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl BlockSource for Ledger {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let block = System.acquire(layout)?;
        // SAFETY: the block was just taken, with this size.
        unsafe { block.write_bytes(0xA5, layout.size()) };
        let before = self.out.borrow_mut().insert(block.addr().get(), layout);
        assert_eq!(before, None, "the system gave a block twice");
        self.bytes.set(self.bytes.get() + layout.size());
        Ok(block)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let known = self.out.borrow_mut().remove(&block.addr().get());
        assert_eq!(known, Some(layout), "a block came back that did not go out like this");
        self.bytes.set(self.bytes.get() - layout.size());
        // SAFETY: the caller lets go of the block, which has this size.
        unsafe { block.write_bytes(0xDD, layout.size()) };
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

/// Chance that can be repeated: SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A size: mostly small, now and then up to 64 KiB, with the edges of powers of two
    /// more often than chance would have them.
    pub(crate) fn size(&mut self) -> usize {
        match self.below(20) {
            0 => 0,
            1..=12 => self.below(200),
            13..=16 => self.below(4096),
            17 => self.below(64 << 10) + 1,
            _ => (1usize << self.below(17)).wrapping_add(self.below(3)).wrapping_sub(1),
        }
    }

    /// An alignment: mostly that of ordinary types, now and then up to 4096, seldom 2 MiB.
    pub(crate) fn align(&mut self) -> usize {
        match self.below(200) {
            0 => 2 << 20,
            1..=30 => 1 << self.below(13),
            _ => 1 << self.below(5),
        }
    }

    pub(crate) fn layout(&mut self) -> Layout {
        Layout::from_size_align(self.size(), self.align()).expect("small enough")
    }
}

/// The seed of a run: another each time, unless `CENOTE_SEED` gives one. Printed, so that a
/// failure can be repeated.
pub(crate) fn seed(what: &str) -> u64 {
    let seed = match std::env::var("CENOTE_SEED") {
        Ok(text) => text.parse().expect("CENOTE_SEED is a number"),
        Err(_) => {
            let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
            now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
        }
    };
    println!("{what}: CENOTE_SEED={seed}");
    seed
}

/// What a panic was raised with, as text.
pub(crate) fn message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// States that the test is about pools in which no level is on (see `cenote::debug`), whatever
/// the process's levels are, and which have no gaps between objects in checkers' builds: it asserts
/// where objects lie, or what a pool holds, to the byte.
pub(crate) fn plain() {
    cenote::debug::set_thread_levels(Some(cenote::debug::Levels::NONE));
    // SAFETY: called first in a test, whose thread is its own; where it has pools that other
    // threads use, these call it as well.
    unsafe { cenote::debug::set_thread_gaps(false) };
}

/// States that the test is about pools in which no level is on, gaps or not: for those that other
/// threads use as well.
pub(crate) fn unwatched() {
    cenote::debug::set_thread_levels(Some(cenote::debug::Levels::NONE));
}

/// States that the test is about a region in which a freed block is free at once, whatever the
/// process's levels are: at all of them but `quarantine`, which keeps freed blocks from merging.
pub(crate) fn at_once() {
    use cenote::debug::Levels;
    let on = cenote::debug::levels();
    let others = [Levels::POISON, Levels::CANARY, Levels::PASSTHROUGH, Levels::GUARD];
    let others = others.into_iter().filter(|level| on.contains(*level));
    let others = others.fold(Levels::NONE, |all, level| all | level);
    cenote::debug::set_thread_levels(Some(others));
}

/// How many operations a model is to run: `n`, or as many times that as `CENOTE_TIMES` says.
/// Printed, so that they can be summed up.
pub(crate) fn operations(n: usize) -> usize {
    let times = match std::env::var("CENOTE_TIMES") {
        Ok(text) => text.parse().expect("CENOTE_TIMES is a number"),
        Err(_) => 1,
    };
    println!("operations: {}", n * times);
    n * times
}

//! Who made which pools: figures by call site and size, for the status page.
//!
//! A worker's pools are made in some thirty places. Each place, with each size it asks for, has
//! an entry in a table; a pool remembers its entry, so nothing is looked up again. Figures are
//! updated when pools and blocks come and go, never when a small object is placed.
//!
//! nginx uses its pools on one thread, and there a figure is updated by a plain load and store.
//! Modules may use pools on other threads, too: these add to figures of their own, atomically,
//! and what is read is the sum. (cenote's accounts do the same for trees with limits; here there
//! is neither, and a request's pool is to cost a few instructions.)

use crate::abi::POOL_ALIGNMENT;
use crate::block;
use cenote::size;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// More places than this are counted together.
const PLACES: usize = 256;
/// Leaves as many of an address's bits as number the places.
const SHIFT: u32 = usize::BITS - PLACES.trailing_zeros();

static CREATORS: [Creator; PLACES] = [const { Creator::new() }; PLACES];
/// Those for which there was no room.
static OTHERS: Creator = Creator::new();

/// Counters that one thread, or all others, add to.
struct Side {
    created: AtomicUsize,
    gone: AtomicUsize,
    held: AtomicUsize,
    peak: AtomicUsize,
    /// Blocks after the first of their pools.
    later: AtomicUsize,
    large: AtomicUsize,
    cleanups: AtomicUsize,
    refused: AtomicUsize,
}

/// One of the counters.
type Counter = fn(&Side) -> &AtomicUsize;

/// A place in the program that makes pools of one size.
pub(crate) struct Creator {
    /// The address that `ngx_create_pool` returned to.
    caller: AtomicUsize,
    /// The size it asked for; 0: nobody's entry.
    size: AtomicUsize,
    /// What the first block takes.
    bytes: AtomicUsize,
    near: Side,
    far: Side,
}

/// The figures of a [`Creator`] at one moment.
pub(crate) struct Figures {
    pub(crate) caller: usize,
    pub(crate) size: usize,
    pub(crate) live: usize,
    pub(crate) created: usize,
    pub(crate) held: usize,
    pub(crate) peak: usize,
    pub(crate) blocks: usize,
    pub(crate) large: usize,
    pub(crate) cleanups: usize,
    pub(crate) refused: usize,
}

/// What a pool has beyond its first block.
#[derive(Clone, Copy)]
pub(crate) struct More {
    pub(crate) bytes: usize,
    pub(crate) blocks: u32,
    pub(crate) large: u32,
    pub(crate) cleanups: u32,
}

impl Side {
    const fn new() -> Self {
        Self {
            created: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            later: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            cleanups: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }
}

/// Adds to a counter that this thread alone writes.
#[inline(always)]
fn bump(counter: &AtomicUsize, more: usize) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Creator {
    const fn new() -> Self {
        Self {
            caller: AtomicUsize::new(0),
            size: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            near: Side::new(),
            far: Side::new(),
        }
    }

    /// The entry of this place and size, which is not 0, and what a first block of it takes; 0
    /// for a size that there is no memory for.
    #[inline(always)]
    pub(crate) fn of(caller: usize, size: usize) -> (&'static Self, usize) {
        let mixed = caller ^ size.rotate_left(20);
        let home = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> SHIFT;
        let first = &CREATORS[home];
        if first.caller.load(Relaxed) == caller && first.size.load(Relaxed) == size {
            return (first, first.bytes.load(Relaxed));
        }
        Self::search(caller, size, home)
    }

    #[cold]
    #[inline(never)]
    fn search(caller: usize, size: usize, home: usize) -> (&'static Self, usize) {
        let bytes = size::total(size, 0, 0, POOL_ALIGNMENT).map_or(0, block::class);
        let near = block::near();
        for step in 0..PLACES {
            let entry = &CREATORS[(home + step) % PLACES];
            let taken = entry.size.load(Relaxed);
            if taken == size && entry.caller.load(Relaxed) == caller {
                return (entry, bytes);
            }
            if taken == 0 {
                // Entries are the main thread's to make; a size nobody can have is worth none.
                if !near || bytes == 0 {
                    break;
                }
                entry.caller.store(caller, Relaxed);
                entry.bytes.store(bytes, Relaxed);
                entry.size.store(size, Relaxed);
                return (entry, bytes);
            }
        }
        (&OTHERS, bytes)
    }

    /// A pool was made, of one block of so many bytes.
    #[inline(always)]
    pub(crate) fn made(&self, bytes: usize, near: bool) {
        if near {
            bump(&self.near.created, 1);
            bump(&self.near.held, bytes);
        } else {
            self.far_more(|side| &side.created, 1);
            self.far_more(|side| &side.held, bytes);
        }
    }

    /// A pool is gone, with its one block of so many bytes.
    #[inline(always)]
    pub(crate) fn gone(&self, bytes: usize, near: bool) {
        if near {
            bump(&self.near.gone, 1);
            self.near_less(bytes);
        } else {
            self.far_more(|side| &side.gone, 1);
            self.far_less(bytes);
        }
    }

    /// A peak is there before bytes go, or when somebody looks.
    #[inline(always)]
    fn near_less(&self, bytes: usize) {
        let held = self.near.held.load(Relaxed);
        if held > self.near.peak.load(Relaxed) {
            self.near.peak.store(held, Relaxed);
        }
        self.near.held.store(held.wrapping_sub(bytes), Relaxed);
    }

    #[cold]
    #[inline(never)]
    fn far_more(&self, counter: Counter, more: usize) {
        counter(&self.far).fetch_add(more, Relaxed);
    }

    #[cold]
    #[inline(never)]
    fn far_less(&self, bytes: usize) {
        let held = self.far.held.fetch_sub(bytes, Relaxed);
        if held as isize > 0 {
            self.far.peak.fetch_max(held, Relaxed);
        }
    }

    fn add(&self, counter: Counter, more: usize) {
        if block::near() { bump(counter(&self.near), more) } else { self.far_more(counter, more) }
    }

    fn less_bytes(&self, bytes: usize) {
        if block::near() { self.near_less(bytes) } else { self.far_less(bytes) }
    }

    /// A pool gave back what it had beyond its first block.
    #[cold]
    #[inline(never)]
    pub(crate) fn lost(&self, more: More) {
        self.less_bytes(more.bytes);
        self.add(|side| &side.later, (more.blocks as usize).wrapping_neg());
        self.add(|side| &side.large, (more.large as usize).wrapping_neg());
        self.add(|side| &side.cleanups, (more.cleanups as usize).wrapping_neg());
    }

    /// A pool took another block.
    pub(crate) fn took_block(&self, bytes: usize) {
        self.add(|side| &side.later, 1);
        self.add(|side| &side.held, bytes);
    }

    /// A large object was made.
    pub(crate) fn took_large(&self, bytes: usize) {
        self.add(|side| &side.large, 1);
        self.add(|side| &side.held, bytes);
    }

    /// A large object was freed.
    pub(crate) fn freed_large(&self, bytes: usize) {
        self.add(|side| &side.large, 1_usize.wrapping_neg());
        self.less_bytes(bytes);
    }

    /// A cleanup was added.
    pub(crate) fn added_cleanup(&self) {
        self.add(|side| &side.cleanups, 1);
    }

    /// There was no memory.
    #[cold]
    pub(crate) fn was_refused(&self) {
        self.add(|side| &side.refused, 1);
    }

    fn sum(&self, counter: Counter) -> usize {
        let sum = counter(&self.near).load(Relaxed).wrapping_add(counter(&self.far).load(Relaxed));
        // While other threads are at work, what goes may be seen before what came.
        if sum as isize >= 0 { sum } else { 0 }
    }

    fn figures(&self) -> Figures {
        let created = self.sum(|side| &side.created);
        let live = created.saturating_sub(self.sum(|side| &side.gone));
        // Peaks of different threads may have been at different times; together they are no less
        // than what there was.
        self.less_bytes(0);
        Figures {
            caller: self.caller.load(Relaxed),
            size: self.size.load(Relaxed),
            live,
            created,
            held: self.sum(|side| &side.held),
            peak: self.sum(|side| &side.peak),
            blocks: live + self.sum(|side| &side.later),
            large: self.sum(|side| &side.large),
            cleanups: self.sum(|side| &side.cleanups),
            refused: self.sum(|side| &side.refused),
        }
    }
}

/// The figures of every place that ever made a pool, or tried to.
pub(crate) fn all() -> impl Iterator<Item = Figures> {
    let used = |figures: &Figures| figures.created > 0 || figures.refused > 0;
    CREATORS.iter().chain([&OTHERS]).map(Creator::figures).filter(used)
}

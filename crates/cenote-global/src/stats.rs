//! [`Stats`]: how much memory there is, and where.

use crate::classes::{CLASSES, COUNT};
use crate::{huge, large, pages, thread};

/// One class of small objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Bytes of each object, as they are rounded up to.
    pub size: usize,
    /// Objects that were allocated and not freed. Frees of another thread's objects are told to its
    /// heap in batches; up to 64 of each thread may still count as live.
    pub live: usize,
    /// Places for objects that are free in runs of pages which the class has, those that threads
    /// have at hand included.
    pub cached: usize,
}

/// Memory in bytes, see [`stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Of objects that were allocated and not freed, as their sizes are rounded up to.
    pub live: usize,
    /// How many objects those are.
    pub objects: usize,
    /// That nobody else can have: pages with objects, and mappings of single objects. At least
    /// `live`.
    pub held: usize,
    /// Of free pages that may still be in memory, until they are given back.
    pub cached: usize,
    /// Address space of segments and of single objects' mappings.
    pub mapped: usize,
    /// Objects above 1 MiB, each a mapping of its own: how many and how many bytes.
    pub huge: (usize, usize),
    /// Objects above 32 KiB and up to 1 MiB: how many and how many bytes.
    pub large: (usize, usize),
    /// Each class of smaller ones.
    pub classes: [ClassStats; COUNT],
}

/// How much memory there is, and where. Asks no thread: figures are exact while none is at work.
///
/// Takes each heap's lock for as long as it takes to walk over its runs with free places.
///
/// ```
/// let before = cenote_global::stats();
/// assert!(before.held >= before.live);
/// ```
#[must_use]
pub fn stats() -> Stats {
    let (mapped, used) = pages::mapped_and_used();
    let (huge, large) = (huge::count_and_bytes(), large::count_and_bytes());
    let mut classes = [ClassStats::default(); COUNT];
    for (stats, class) in classes.iter_mut().zip(&CLASSES) {
        stats.size = class.size as usize;
    }
    thread::each_heap(|heap| {
        for (class, stats) in classes.iter_mut().enumerate() {
            let (taken, free) = heap.chunks(class);
            stats.live += taken.saturating_sub(free);
            stats.cached += free;
        }
    });
    let small = classes.iter().map(|class| class.size * class.live).sum::<usize>();
    let count = classes.iter().map(|class| class.live).sum::<usize>();
    Stats {
        live: small + large.1 + huge.1,
        objects: count + large.0 + huge.0,
        held: used + huge.1,
        cached: pages::dirty(),
        mapped: mapped + huge.1,
        huge,
        large,
        classes,
    }
}

//! The mistakes, for anything that gives memory: see `main.rs`.

use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;

pub(crate) const MISTAKES: [&str; 10] = [
    "overflow",
    "overflow-into-free",
    "use-after-free",
    "use-after-reset",
    "use-after-destroy",
    "double-free",
    "foreign-free",
    "uninitialised",
    "leak",
    "none",
];

/// Four words.
const OBJECT: Layout = Layout::new::<[u64; 4]>();

/// What all pools can do.
pub(crate) trait Memory {
    fn take(&self, layout: Layout) -> NonNull<u8>;
    /// # Safety
    /// As for the pool; or a mistake.
    unsafe fn give(&self, object: NonNull<u8>, layout: Layout);
    /// Whether there is such a thing.
    fn reset(&mut self) -> bool;
    /// The smallest object that may be freed by itself: four words, as others, unless the pool
    /// frees only large ones.
    fn freeable(&self) -> Layout {
        OBJECT
    }
}

/// Writes an object's first words.
fn fill(at: NonNull<u8>, value: u64) {
    for index in 0..4 {
        let word = at.cast::<u64>().as_ptr().wrapping_add(index);
        // SAFETY: an object of four words at least; or a mistake.
        unsafe { word.write_volatile(value) };
    }
}

/// Reads an object's first words, and does something that depends on them.
fn read(at: NonNull<u8>) -> bool {
    let word = |index| at.cast::<u64>().as_ptr().wrapping_add(index);
    // SAFETY: an object of four words at least; or a mistake.
    let sum = (0..4).map(|index| unsafe { word(index).read_volatile() }).fold(0, u64::wrapping_add);
    if black_box(sum) > 10 { black_box(true) } else { black_box(false) }
}

/// `false`: this pool cannot be used wrongly so.
pub(crate) fn make<M: Memory>(mistake: &str, mut pool: M, other: M) -> bool {
    let frees = ["use-after-free", "double-free", "foreign-free", "uninitialised", "none"];
    let object = if frees.contains(&mistake) { pool.freeable() } else { OBJECT };
    let (first, second) = (pool.take(object), pool.take(object));
    fill(first, 1);
    fill(second, 2);
    match mistake {
        // The first is followed by the second, where nothing keeps them apart.
        "overflow" => {
            // SAFETY: none: it belongs to the other object, or to nobody.
            unsafe { first.as_ptr().wrapping_add(object.size()).write_volatile(7) };
        }
        "overflow-into-free" => {
            // SAFETY: none: it belongs to nobody.
            unsafe { second.as_ptr().wrapping_add(object.size()).write_volatile(7) };
        }
        "use-after-free" => {
            // SAFETY: from this pool; what follows is the mistake.
            unsafe { pool.give(second, object) };
            fill(second, 3);
        }
        "use-after-reset" => {
            if !pool.reset() {
                return false;
            }
            fill(first, 3);
        }
        "use-after-destroy" => {
            drop(pool);
            fill(first, 3);
            return true;
        }
        "double-free" => {
            // SAFETY: from this pool.
            unsafe { pool.give(second, object) };
            // SAFETY: none: it is free.
            unsafe { pool.give(second, object) };
        }
        "foreign-free" => {
            let foreign = other.take(object);
            // SAFETY: none: it is another pool's.
            unsafe { pool.give(foreign, object) };
        }
        "uninitialised" => {
            // Memory that was used before: to the process it has been written.
            // SAFETY: from this pool.
            unsafe { pool.give(second, object) };
            let fresh = pool.take(object);
            read(fresh);
        }
        "leak" => {
            core::mem::forget(pool);
            return true;
        }
        _ => {
            read(first);
            // SAFETY: from this pool.
            unsafe { pool.give(second, object) };
        }
    }
    drop(pool);
    true
}

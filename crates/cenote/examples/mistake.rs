//! Makes one mistake in one pool, on purpose: what checkers are themselves checked with.
//!
//! ```sh
//! cargo run --example mistake pool use-after-reset
//! ```
//!
//! Without a checker most of these do nothing that can be seen, which is the trouble with them.
//! `cargo xtask trust` runs each under each checker, and wants every one to be found by one at
//! least.

use cenote::{BlockSource, Buddy, ChunkPool, CountedPool, Pool};
use std::alloc::Layout;
use std::hint::black_box;
use std::process::ExitCode;
use std::ptr::NonNull;

const POOLS: [&str; 4] = ["pool", "counted", "chunk", "buddy"];
const MISTAKES: [&str; 9] = [
    "overflow",
    "use-after-free",
    "use-after-reset",
    "use-after-destroy",
    "double-free",
    "foreign-free",
    "uninitialised",
    "leak",
    "none",
];

/// What all pools can do.
trait Memory {
    fn take(&self, layout: Layout) -> NonNull<u8>;
    /// # Safety
    /// As for the pool; or a mistake.
    unsafe fn give(&self, object: NonNull<u8>, layout: Layout);
    /// Whether there is such a thing.
    fn reset(&mut self) -> bool;
    /// What is behind an object and not its own, given two that follow each other.
    fn behind(&self, first: NonNull<u8>, _second: NonNull<u8>) -> *mut u8 {
        first.as_ptr().wrapping_add(object().size())
    }
}

impl Memory for Pool {
    fn take(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_layout(layout)
    }
    unsafe fn give(&self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, or mistake.
        unsafe { self.dealloc(object, layout) }
    }
    fn reset(&mut self) -> bool {
        Pool::reset(self);
        true
    }
}

impl Memory for CountedPool {
    fn take(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_layout(layout)
    }
    unsafe fn give(&self, object: NonNull<u8>, _layout: Layout) {
        // SAFETY: the caller's promise, or mistake.
        let _ = unsafe { self.free(object) };
    }
    fn reset(&mut self) -> bool {
        CountedPool::reset(self);
        true
    }
}

impl Memory for ChunkPool {
    fn take(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_layout(layout)
    }
    unsafe fn give(&self, object: NonNull<u8>, _layout: Layout) {
        // SAFETY: the caller's promise, or mistake.
        let _ = unsafe { self.free(object) };
    }
    fn reset(&mut self) -> bool {
        ChunkPool::reset(self);
        true
    }
}

impl Memory for Buddy<'static> {
    fn take(&self, layout: Layout) -> NonNull<u8> {
        self.acquire(layout).expect("the region has room")
    }
    unsafe fn give(&self, object: NonNull<u8>, _layout: Layout) {
        // SAFETY: the caller's promise, or mistake.
        let _ = unsafe { self.free(object) };
    }
    fn reset(&mut self) -> bool {
        false
    }
    /// A block is a page here, and what is behind the second is free.
    fn behind(&self, _first: NonNull<u8>, second: NonNull<u8>) -> *mut u8 {
        second.as_ptr().wrapping_add(self.page())
    }
}

/// Four words; so is the object behind it, of which `overflow` writes the first one.
fn object() -> Layout {
    Layout::new::<[u64; 4]>()
}

/// Writes an object's words.
fn fill(at: NonNull<u8>, value: u64) {
    for index in 0..4 {
        let word = at.cast::<u64>().as_ptr().wrapping_add(index);
        // SAFETY: an object of four words; or a mistake.
        unsafe { word.write_volatile(value) };
    }
}

/// Reads an object's words, and does something that depends on them.
fn read(at: NonNull<u8>) -> bool {
    let word = |index| at.cast::<u64>().as_ptr().wrapping_add(index);
    // SAFETY: an object of four words; or a mistake.
    let sum = (0..4).map(|index| unsafe { word(index).read_volatile() }).fold(0, u64::wrapping_add);
    if black_box(sum) > 10 { black_box(true) } else { black_box(false) }
}

/// `false`: this pool cannot be used wrongly so.
fn make<M: Memory>(mistake: &str, mut pool: M, other: M) -> bool {
    let (first, second) = (pool.take(object()), pool.take(object()));
    fill(first, 1);
    fill(second, 2);
    match mistake {
        "overflow" => {
            // SAFETY: none: it belongs to the other object, or to nobody.
            unsafe { pool.behind(first, second).write_volatile(7) };
        }
        "use-after-free" => {
            // SAFETY: from this pool; what follows is the mistake.
            unsafe { pool.give(second, object()) };
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
            unsafe { pool.give(second, object()) };
            // SAFETY: none: it is free.
            unsafe { pool.give(second, object()) };
        }
        "foreign-free" => {
            let foreign = other.take(object());
            // SAFETY: none: it is another pool's.
            unsafe { pool.give(foreign, object()) };
        }
        "uninitialised" => {
            // Memory that was used before: to the process it has been written.
            // SAFETY: from this pool.
            unsafe { pool.give(second, object()) };
            let fresh = pool.take(object());
            read(fresh);
        }
        "leak" => {
            core::mem::forget(pool);
            return true;
        }
        _ => {
            read(first);
            // SAFETY: from this pool.
            unsafe { pool.give(second, object()) };
        }
    }
    drop(pool);
    true
}

fn buddy() -> Buddy<'static> {
    Buddy::heap(1 << 20).expect("there is a megabyte")
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (pool, mistake) = (arguments.next(), arguments.next());
    let (pool, mistake) = (pool.as_deref().unwrap_or(""), mistake.as_deref().unwrap_or(""));
    if !POOLS.contains(&pool) || !MISTAKES.contains(&mistake) {
        eprintln!("usage: mistake {} {}", POOLS.join("|"), MISTAKES.join("|"));
        return ExitCode::from(2);
    }
    let made = match pool {
        "pool" => make(mistake, Pool::new(), Pool::new()),
        "counted" => make(mistake, CountedPool::new(), CountedPool::new()),
        "chunk" => make(mistake, ChunkPool::new(), ChunkPool::new()),
        _ => make(mistake, buddy(), buddy()),
    };
    // 3: there is no such mistake to be made.
    if made { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

//! Makes one mistake in one pool, on purpose: what checkers are themselves checked with.
//!
//! ```sh
//! cargo run --example mistake pool use-after-reset
//! ```
//!
//! Without a checker most of these do nothing that can be seen, which is the trouble with them.
//! `cargo xtask trust` runs each under each checker, and wants every one to be found by one at
//! least. (Those through the C ABI are made by the example `c_mistake` of `cenote-c`.)

mod make;

use cenote::{BlockSource, Buddy, ChunkPool, CountedPool, Pool, SharedPool};
use make::{MISTAKES, Memory, make};
use std::alloc::Layout;
use std::process::ExitCode;
use std::ptr::NonNull;

const POOLS: [&str; 5] = ["pool", "counted", "chunk", "shared", "buddy"];

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

/// A shared pool has no reset: it ends with its last handle.
impl Memory for SharedPool {
    fn take(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_layout(layout)
    }
    unsafe fn give(&self, object: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, or mistake.
        unsafe { self.dealloc(object, layout) }
    }
    fn reset(&mut self) -> bool {
        false
    }
}

/// A region has no reset. Its blocks are pages; what is asked for is less.
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
        "shared" => make(mistake, SharedPool::new(), SharedPool::new()),
        _ => make(mistake, buddy(), buddy()),
    };
    // 3: there is no such mistake to be made.
    if made { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

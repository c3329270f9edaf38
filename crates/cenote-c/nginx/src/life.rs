//! A pool's beginning, reset and end.

use crate::abi::{Log, POOL_ALIGNMENT, Pool, PoolData, ngx_pagesize};
use crate::block::{self, Extra, Live};
use crate::creator::{Creator, More};
use crate::{cleanup, large, log};
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// nginx's head in the first block.
const HEAD: usize = size_of::<Pool>();
/// The smallest pool, as nginx has it; less is raised to it.
const SMALLEST: usize = 112;

/// What `CENOTE_DEBUG` asks for; read once, since nginx clears the environment of its workers,
/// which inherit this instead.
static DEBUG: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const PLAIN: u8 = 1;
const PASSTHROUGH: u8 = 2;

#[inline(always)]
fn passthrough() -> bool {
    match DEBUG.load(Relaxed) {
        PLAIN => false,
        PASSTHROUGH => true,
        _ => find_debug(),
    }
}

#[cold]
fn find_debug() -> bool {
    let asked = std::env::var_os("CENOTE_DEBUG").unwrap_or_default();
    let wanted = asked.as_encoded_bytes().split(|byte| *byte == b',');
    let on = wanted.into_iter().any(|word| word == b"passthrough");
    DEBUG.store(if on { PASSTHROUGH } else { PLAIN }, Relaxed);
    on
}

/// A pool of one block of `size` bytes, or null. A size below the smallest is raised to that, and
/// one that is no multiple of 16 is rounded up: the block has the room.
#[inline(always)]
pub(crate) fn create(wanted: usize, log: *mut Log, caller: usize) -> *mut Pool {
    let wanted = wanted.max(SMALLEST);
    let (creator, bytes) = Creator::of(caller, wanted);
    if bytes == 0 {
        log::memory_failed(log, wanted);
        creator.was_refused();
        return ptr::null_mut();
    }
    let seen = passthrough();
    // SAFETY: a class, as the creator has it.
    let (memory, near) = unsafe { block::take(bytes, seen, log) };
    let Some(memory) = memory else {
        creator.was_refused();
        return ptr::null_mut();
    };
    creator.made(bytes, near);
    let extra = Extra::new(bytes);
    extra.creator.set(Some(creator));
    extra.passthrough.set(seen);
    // SAFETY: just taken.
    unsafe { block::write_extra(memory, extra) };

    // SAFETY: nginx's own variable, which it sets once, on the thread that it makes pools on.
    let page = unsafe { ngx_pagesize };
    // The class is at least the size, rounded.
    let size = (wanted + (POOL_ALIGNMENT - 1)) & !(POOL_ALIGNMENT - 1);
    let start = memory.as_ptr();
    let pool = memory.cast::<Pool>();
    let last = start.map_addr(|addr| addr + HEAD);
    // Where objects have memory of their own the window is parked, in the head, where none ends.
    let (last, end) =
        if seen { (start, start) } else { (last, start.map_addr(|addr| addr + size)) };
    let head = Pool {
        d: PoolData {
            last: Cell::new(last),
            end: Cell::new(end),
            next: Cell::new(ptr::null_mut()),
            failed: Cell::new(0),
        },
        max: Cell::new((wanted - HEAD).min(page.wrapping_sub(1))),
        current: Cell::new(pool.as_ptr()),
        chain: Cell::new(ptr::null_mut()),
        large: Cell::new(ptr::null_mut()),
        cleanup: Cell::new(ptr::null_mut()),
        log: Cell::new(log),
    };
    // SAFETY: the block is larger than the head, aligned, and nobody else's.
    unsafe { pool.write(head) };
    pool.as_ptr()
}

/// Runs the cleanups, frees the large objects, and gives all blocks but the first back; that one
/// is empty again.
///
/// nginx leaves the cleanups on the list, in memory that is handed out again. Their objects are
/// gone, so they run, as at the pool's end.
pub(crate) fn reset(pool: Live) {
    cleanup::run_all(pool);
    large::free_all(pool);
    let (head, extra) = (pool.head(), pool.extra());
    give_later_blocks(pool);
    head.d.next.set(ptr::null_mut());
    head.d.failed.set(0);
    head.current.set(pool.as_ptr());
    head.chain.set(ptr::null_mut());
    if !extra.passthrough.get() {
        head.d.last.set(pool.block().as_ptr().map_addr(|addr| addr + HEAD));
    }
    lose(pool);
}

/// Forgets what the pool had beyond its first block.
#[inline(always)]
fn lose(pool: Live) {
    let extra = pool.extra();
    let more = More {
        bytes: extra.more.replace(0),
        blocks: extra.later.replace(0),
        large: extra.large.replace(0),
        cleanups: extra.cleanups.replace(0),
    };
    if (more.blocks | more.large | more.cleanups) != 0
        && let Some(creator) = extra.creator.get()
    {
        creator.lost(more);
    }
}

/// Runs the cleanups, and gives everything back.
#[inline(always)]
pub(crate) fn destroy(pool: Live) {
    cleanup::run_all(pool);
    if log::debugging() {
        // Before anything is freed: the log may lie in the pool.
        log_end(pool);
    }
    large::free_all(pool);
    if !pool.head().d.next.get().is_null() {
        give_later_blocks(pool);
    }
    lose(pool);
    let extra = pool.extra();
    let (bytes, seen, creator) = (extra.bytes.get(), extra.passthrough.get(), extra.creator.get());
    // SAFETY: taken so by `create`; this is the pool's end.
    let near = unsafe { block::give(pool.block(), bytes, seen) };
    if let Some(creator) = creator {
        creator.gone(bytes, near);
    }
}

/// The lines about what is freed.
#[cold]
#[inline(never)]
extern "C" fn log_end(pool: Live) {
    let log = pool.head().log.get();
    for (object, _) in large::records(&pool) {
        log::debug_address(log, c"free: %p", object);
    }
    let mut next = Some(pool.block().cast::<PoolData>());
    while let Some(block) = next {
        // SAFETY: a block of this pool.
        let data = unsafe { block.as_ref() };
        let unused = data.end.get().addr().saturating_sub(data.last.get().addr());
        log::debug_block(log, block.as_ptr().cast(), unused);
        next = data.following();
    }
}

/// Gives all blocks but the first back.
#[inline(never)]
extern "C" fn give_later_blocks(pool: Live) {
    let mut next = pool.head().d.following();
    while let Some(block) = next {
        // SAFETY: a block of this pool.
        next = unsafe { block.as_ref() }.following();
        give_later(block.cast());
    }
}

fn give_later(block: NonNull<u8>) {
    // SAFETY: a block of a live pool.
    let bytes = unsafe { block::extra(block) }.bytes.get();
    // SAFETY: `pool` took it so, and it is the pool's no more. Pools whose objects have memory of
    // their own have no later blocks.
    unsafe { block::give(block, bytes, false) };
}

//! The small path: an object in the first block that has room for it, or in a new one.

use crate::abi::{Pool, PoolData};
use crate::block::{self, Extra, Live};
use crate::{large, window};
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// Bytes of nginx's head in a block after the first.
pub(crate) const BLOCK_HEAD: usize = size_of::<PoolData>();

/// How large blocks grow, in bytes; those of pools that begin with larger ones stay as they are.
const MOST: usize = 64 << 10;

/// How many counted failures a block has before `current` may pass it.
const FAILURES: usize = 4;

/// An object of `size` bytes. Null where there is no memory.
///
/// About a dozen instructions, with two branches, where the current block has room.
#[inline(always)]
pub(crate) fn alloc(pool: Live, size: usize, align: usize) -> *mut u8 {
    if size <= pool.head().max.get() { small(pool, size, align) } else { large::alloc(pool, size) }
}

/// The same for what is at most the pool's `max`.
#[inline(always)]
pub(crate) fn small(pool: Live, size: usize, align: usize) -> *mut u8 {
    match pool.current().place(size, align) {
        Some(place) => place,
        None => {
            cenote::begins_a_line();
            elsewhere(pool, size, align)
        }
    }
}

/// In a later block, or in a new one; or, in a pool whose window is parked, for itself.
///
/// A C function, like all that the small path ends in: it cannot unwind, so it can be jumped to.
#[cold]
#[inline(never)]
extern "C" fn elsewhere(pool: Live, size: usize, align: usize) -> *mut u8 {
    if pool.extra().passthrough.get() {
        return large::alloc(pool, size);
    }
    let mut next = pool.current().following();
    while let Some(block) = next {
        // SAFETY: a block of this pool.
        let block = unsafe { block.as_ref() };
        if let Some(place) = block.place(size, align) {
            return place;
        }
        next = block.following();
    }
    in_new_block(pool, size, align)
}

fn in_new_block(pool: Live, size: usize, align: usize) -> *mut u8 {
    let extra = pool.extra();
    let bytes = window::grown(extra.bytes.get(), extra.later.get() + 1, MOST);
    // SAFETY: at least the first block's bytes, at most those or `MOST`.
    let (memory, _) = unsafe { block::take(bytes, false, pool.head().log.get()) };
    let Some(memory) = memory else {
        return refused(pool);
    };
    // SAFETY: just taken.
    unsafe { block::write_extra(memory, Extra::new(bytes)) };
    let start = memory.as_ptr();
    let data = memory.cast::<PoolData>();
    // SAFETY: the block is larger than its head, aligned, and nobody else's.
    unsafe {
        data.write(PoolData {
            last: Cell::new(start.map_addr(|addr| addr + BLOCK_HEAD)),
            end: Cell::new(start.map_addr(|addr| addr + bytes)),
            next: Cell::new(ptr::null_mut()),
            failed: Cell::new(0),
        });
    }
    append(pool, data);
    extra.later.set(extra.later.get() + 1);
    extra.more.set(extra.more.get() + bytes);
    if let Some(creator) = extra.creator.get() {
        creator.took_block(bytes);
    }
    // SAFETY: just written.
    let place = unsafe { data.as_ref() }.place(size, align);
    // There is room: `max` is less than any of the pool's blocks.
    place.unwrap_or(ptr::null_mut())
}

/// Puts a new block behind the last one. Those that were tried in vain count a failure, and the
/// one after the last that has too many becomes the current one.
fn append(pool: Live, new: NonNull<PoolData>) {
    let mut block = NonNull::from(pool.current());
    loop {
        // SAFETY: a block of this pool.
        let data = unsafe { block.as_ref() };
        let Some(next) = data.following() else {
            data.next.set(new.as_ptr().cast::<Pool>());
            return;
        };
        let failed = data.failed.get();
        data.failed.set(failed + 1);
        if failed > FAILURES {
            pool.head().current.set(next.as_ptr().cast());
        }
        block = next;
    }
}

/// There was no memory, which has been logged.
#[cold]
pub(crate) fn refused(pool: Live) -> *mut u8 {
    if let Some(creator) = pool.extra().creator.get() {
        creator.was_refused();
    }
    ptr::null_mut()
}
